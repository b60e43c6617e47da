"""The client for agents: what was said is raised or returned, and what became of it is always said."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.sdk.agent_door import KEY, AgentDoor

from bedplate import errors
from bedplate.sdk import agents as sdk
from bedplate.sdk.agents import Agents, AsyncAgents, Failed, Parked, Refused, current_action
from bedplate.sdk.decorator import governed, running
from bedplate.sdk.ruling import MAX_RESULT, bounded, name_of, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def door() -> Iterator[AgentDoor]:
    with AgentDoor() as serving:
        yield serving


@pytest.fixture
def agents(door: AgentDoor) -> Agents:
    return Agents(door.url, KEY)


class Bank:
    """What a tool would act on."""

    def __init__(self, agents: Agents | AsyncAgents, **how: Any) -> None:
        self.paid: list[tuple[str, int, str]] = []

        @governed("local/pay", agents, **how)
        def pay(to: str, amount: int = 1) -> str:
            self.paid.append((to, amount, current_action()))
            return f"paid {amount}"

        self.pay = pay


def test_allowed_is_done_and_its_outcome_said(door: AgentDoor, agents: Agents) -> None:
    bank = Bank(agents)
    with running(agents, "r", task="pay 5 to LU1"):
        assert bank.pay("LU1", 5) == "paid 5"
        assert bank.pay(to="LU2") == "paid 1"
    [first, second] = bank.paid
    assert first[:2] == ("LU1", 5)
    assert first[2] != second[2]
    assert [(o["action"], o["status"], o["result"]) for o in door.outcomes] == [
        (first[2], "ok", "paid 5"),
        (second[2], "ok", "paid 1"),
    ]
    assert door.asked[1]["arguments"] == {"to": "LU2", "amount": 1}  # rules see what stands by default, too
    assert door.runs["r"].task == "pay 5 to LU1"
    assert door.runs["r"].state == "done"
    assert current_action() == ""


def test_refused(door: AgentDoor, agents: Agents) -> None:
    bank = Bank(agents, run="r")
    with pytest.raises(Refused) as refused:
        bank.pay("BAD", 5)
    assert refused.value.controls == ("payees",)
    assert refused.value.hint == "have it added"
    assert bank.paid == []
    assert door.outcomes == []


def test_parked_then_granted_once_with_what_the_approver_changed(door: AgentDoor, agents: Agents) -> None:
    bank = Bank(agents)
    with pytest.raises(Parked) as parked, running(agents, "r"):
        bank.pay("LU1", 500)
    assert parked.value.approval == door.waiting[0].id
    assert parked.value.wait_s == 1
    assert bank.paid == []
    assert door.runs["r"].state == "running"  # it is to be resumed
    door.say("granted", amount=400)
    for _ in range(3):  # started again and again from its top
        with running(agents, "r", end=False):
            assert bank.pay("LU1", 500) == "paid 400"
    assert [p[:2] for p in bank.paid] == [("LU1", 400)]


def test_refused_and_answered_by_a_person(door: AgentDoor, agents: Agents) -> None:
    bank = Bank(agents)
    for run, said in (("r1", "refused"), ("r2", "answer")):
        with pytest.raises(Parked), running(agents, run):
            bank.pay("LU1", 500 + len(run + said))
        door.say(said, "I paid it by phone")
    with pytest.raises(Refused, match="mara refused it: I paid it by phone"), running(agents, "r1"):
        bank.pay("LU1", 509)
    with running(agents, "r2"):
        assert bank.pay("LU1", 508) == "I paid it by phone"
    assert bank.paid == []


def test_the_same_call_within_a_run_is_two_steps_and_started_again_none(door: AgentDoor, agents: Agents) -> None:
    bank = Bank(agents)
    for _ in range(2):
        with running(agents, "r", end=False):
            bank.pay("LU1", 5)
            bank.pay("LU1", 5)
    assert [p[:2] for p in bank.paid] == [("LU1", 5), ("LU1", 5)]
    assert len(door.asked) == 4


def test_a_failure_is_on_record_and_not_tried_again_as_the_same_step(door: AgentDoor, agents: Agents) -> None:
    tries = []

    @governed("local/pay", agents, key=lambda a: f"step-{a['amount']}")
    def pay(amount: int) -> str:
        tries.append(amount)
        raise ValueError("no such account")

    for wanted in (ValueError, Failed):
        with pytest.raises(wanted, match="no such account"), running(agents, "r"):
            pay(5)
    assert tries == [5]
    assert door.outcomes[0]["status"] == "error"
    assert door.outcomes[0]["transport"] is False


class HttpTimeout(Exception):
    """An exception of a client library that derives from nothing built in."""


@pytest.mark.parametrize(
    ("raised", "status", "transport"),
    [
        (ValueError("x"), "error", False),
        (ConnectionRefusedError("x"), "error", True),  # it never got there
        (ConnectionResetError("x"), "unknown", True),
        (TimeoutError("x"), "unknown", True),
        (HttpTimeout("x"), "unknown", True),
        (KeyboardInterrupt("x"), "unknown", False),
    ],
)
def test_what_an_exception_says_of_the_outcome(
    door: AgentDoor, agents: Agents, raised: BaseException, status: str, *, transport: bool
) -> None:
    @governed("local/pay", agents, run="r")
    def pay(amount: int) -> None:  # noqa: ARG001  a tool has arguments
        raise raised

    with pytest.raises(type(raised)):
        pay(5)
    assert (door.outcomes[0]["status"], door.outcomes[0]["transport"]) == (status, transport)


def test_an_unknown_outcome_is_a_refusal_until_a_person_says_what_happened(door: AgentDoor, agents: Agents) -> None:
    paid = []

    @governed("local/pay", agents)
    def pay(amount: int) -> str:
        paid.append(amount)
        raise TimeoutError("the bank did not answer")

    with pytest.raises(TimeoutError), running(agents, "r"):
        pay(5)
    for _ in range(2):
        with pytest.raises(Refused) as refused, running(agents, "r"):
            pay(5)
        assert refused.value.ruling.unknown
        assert "bedplate actions conclude" in refused.value.hint
    door.conclude("ok", "paid after all")
    with running(agents, "r"):
        assert pay(5) == "paid after all"
    assert paid == [5]


def test_an_unknown_outcome_of_an_idempotent_tool_is_tried_again_under_the_same_name() -> None:
    with AgentDoor(tier=2, idempotent=True) as door:
        agents, names = Agents(door.url, KEY), []

        @governed("local/pay", agents, idempotency="reference")
        def pay(amount: int, reference: str = "") -> str:  # noqa: ARG001  as above
            names.append(reference)
            if len(names) == 1:
                raise TimeoutError
            return "paid"

        with pytest.raises(TimeoutError), running(agents, "r"):
            pay(5)
        with running(agents, "r"):
            assert pay(5) == "paid"
        assert len(names) == 2
        assert len(set(names)) == 1
        assert names[0].startswith("act-")
        assert "reference" not in door.asked[0]["arguments"]


def test_an_outcome_is_said_again_until_the_server_hears_it(
    door: AgentDoor, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "PATIENCE_S", (0.01, 0.01))
    bank = Bank(agents, run="r")
    door.away = 2
    assert bank.pay("LU1", 5) == "paid 5"
    assert [o["status"] for o in door.outcomes] == ["ok"]
    door.away = 3
    with pytest.raises(errors.Unavailable, match="was carried out, but") as lost:
        bank.pay("LU1", 6)
    assert bank.paid[1][2] in lost.value.hint


def test_async_functions_and_their_cancelling(door: AgentDoor) -> None:
    agents, started = AsyncAgents(door.url, KEY), threading.Event()

    @governed("local/pay", agents, run="r")
    async def pay(amount: int) -> str:
        started.set()
        await asyncio.sleep(0 if amount < 10 else 60)
        return f"paid {current_action()}"

    async def cancelled() -> None:
        task = asyncio.create_task(pay(50))
        while not started.is_set():  # noqa: ASYNC110  the tool is what sets it
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert asyncio.run(pay(5)) == f"paid {door.outcomes[0]['action']}"
    started.clear()
    asyncio.run(cancelled())
    assert [o["status"] for o in door.outcomes] == ["ok", "unknown"]
    with pytest.raises(Parked):
        asyncio.run(pay(500))


def test_methods_named_arguments_and_values_that_are_no_json(door: AgentDoor, agents: Agents) -> None:
    class Office:
        @governed("local/book", agents, run="r")
        def book(self, day: dt.date, **more: int) -> tuple[object, ...]:
            return self, day, more

    office = Office()
    day = dt.date(2026, 11, 24)
    assert office.book(day, amount=3) == (office, day, {"amount": 3})
    assert door.asked[0]["arguments"] == {"day": "2026-11-24", "amount": 3}


def bare(*to: str) -> None:
    """Takes arguments that no rule could name."""


def no_reference(to: str) -> None:
    """Has nowhere to put an idempotency key."""


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda agents: governed("local/pay", agents)(bare), "without names"),
        (lambda agents: governed("local/pay", agents, idempotency="ref")(no_reference), "no parameter 'ref'"),
        (lambda agents: Bank(agents).pay("LU1"), "outside of a run"),
        (lambda agents: agents.propose("r", "local/pay", {"amount": float("nan")}), "as JSON"),
    ],
)
def test_what_cannot_work_is_said_where_it_stands(agents: Agents, make: Callable[[Agents], object], said: str) -> None:
    with pytest.raises(errors.InvalidInput, match=said) as wrong:
        make(agents)
    assert wrong.value.hint


def test_what_a_dead_process_had_in_hand_is_given_up_by_the_only_one_there_is(door: AgentDoor) -> None:
    door.lease_s = 60
    dead, other, only = (Agents(door.url, KEY, alone=alone) for alone in (True, False, True))
    dead.begin("r")
    asked = ("r", "local/pay", {"to": "LU1", "amount": 5})
    mine = dead.propose(*asked, key="step")
    assert dead.propose(*asked, key="step").in_hand  # by this very process: it is not dead
    assert other.propose(*asked, key="step").in_hand
    assert only.propose(*asked, key="step").unknown
    assert [(o["action"], o["status"]) for o in door.outcomes] == [(mine.action, "unknown")]
    dead.settle(mine.action, "ok", "it was only slow")
    assert only.propose(*asked, key="step").result == "it was only slow"


def test_keys_runs_tokens_and_states(door: AgentDoor, agents: Agents) -> None:
    with pytest.raises(errors.Unauthenticated):
        Agents(door.url, "bpk_another").begin("r")
    with pytest.raises(errors.NotFound):
        agents.propose("none", "local/pay", {})
    assert agents.token(seconds=60) == ("bpa_short", 60)
    run = agents.begin(task="pay 5")["run"]
    ruling = agents.propose(run, "local/pay", {"amount": 500})
    assert agents.state(ruling.action).approval == ruling.approval
    assert agents.propose(run, "local/pay", {"amount": 500}, dry_run=True).dry_run
    agents.heard_once(run, "a mail", source="mail")
    agents.heard_once(run, "a mail", source="mail")
    assert door.runs[run].texts == [{"text": "a mail", "source": "mail", "trusted": False}]
    agents.end(run, "failed")
    assert agents.timeline(run)["state"] == "failed"
    assert len(agents.timeline(run)["steps"]) == 2

    async def the_same() -> None:
        other = AsyncAgents.over(agents)
        assert await other.token(seconds=60) == ("bpa_short", 60)
        assert (await other.begin(run))["state"] == "failed"
        assert (await other.propose(run, "local/pay", {})).verdict == "deny"
        assert (await other.state(ruling.action)).verdict == "ask"
        await other.heard(run, "another", source="mail")
        await other.heard_once(run, "another", source="mail")
        await other.settle("act-none", "ok", 1)
        await other.end(run)
        assert (await other.timeline(run))["state"] == "done"

    asyncio.run(the_same())


def test_names_and_results_have_their_bounds() -> None:
    assert name_of("thread", "call_1") == "thread/call_1"
    assert len(name_of("t" * 500, "call_1")) <= 200
    assert name_of("t" * 500, "call_1") != name_of("t" * 500, "call_2")
    assert name_of("a\nb").isprintable()
    large = bounded("x" * (MAX_RESULT + 1))
    assert large["truncated"]
    assert len(large["text"]) < MAX_RESULT
    assert plain({"s": {2, 1}, "b": b"x", 3: errors.Denied}) == {"s": [1, 2], "b": "b'x'", "3": str(errors.Denied)}
