"""The kill switch, on real serving processes: in force everywhere within a second, and for good until it is lifted."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.agents.acting import PAYER, SECRET, TASK, folder_of, prepared
from tests.served import Server, fetch

from bedplate.agents.actions import conclude, lift, stop
from bedplate.agents.stop import ALL
from bedplate.bootstrap import wall_clock
from bedplate.errors import BedplateError, NeedsApproval
from bedplate.paths.agentwatch import FIRST_DECOYS, AgentWatch
from bedplate.people.actions import invite
from bedplate.sdk import Client
from bedplate.testing import SettableClock
from bedplate.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agents.acting import Acting
    from tests.conftest import House

SECOND = 1.0  # law: a stop is in force on every enforcement point within a second
PEOPLE = ("mara.quinn", "hanna.osei", "leo.fischer", "ruth.adeyemi", "tomas.lindgren", "priya.raman", "jonas.weber")


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(wall_clock())


class Bank:
    """Two serving processes over one installation with a released agent, and what it asks of each of them."""

    def __init__(self, house: House, data: Path, tier: int = 4) -> None:
        self.subject = prepared(house, tier)
        self.use_case = self.subject.partition("/")[2]
        self.codes = {name: invite(house.governor, "operator", name, name).text for name in PEOPLE}
        self.data = folder_of(house, data)
        self.tokens: dict[str, str] = {}

    def server(self, **environment: str) -> Server:
        return Server(self.data, tick_ms="50", **environment)

    def person(self, at: Server, name: str) -> Client:
        """Return a client signed in as this person."""
        if name not in self.tokens:
            client = Client(at.url)
            client.login(code=self.codes[name])
            self.tokens[name] = client.token
        return Client(at.url, self.tokens[name])

    def post(self, at: Server, path: str, body: Any, secret: str = SECRET) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
        status, _, content = fetch(at.url, path, "POST", json.dumps(body).encode(), headers)
        return status, json.loads(content)

    def begin(self, at: Server, run: str = "run-1") -> None:
        assert self.post(at, "/agents/v1/runs", {"run": run, "task": TASK})[0] == 200

    def pay(self, at: Server, amount: int = 50, key: str = "", run: str = "run-1", secret: str = SECRET) -> Any:
        arguments = {"amount": amount, "payee": "Ada Ltd"}
        body = {"run": run, "tool": "bank/pay", "arguments": arguments, "key": key}
        status, told = self.post(at, "/agents/v1/actions", body, secret)
        assert status == 200, told
        return told

    def note(self, at: Server) -> str:
        """Ask for something harmless that no limit counts; returns the verdict."""
        status, told = self.post(at, "/agents/v1/actions", {"run": "run-1", "tool": "bank/balance", "arguments": {}})
        return str(told["verdict"]) if status == 200 else str(status)

    def call(self, at: Server) -> int:
        """Ask a model with the agent's key; returns the status."""
        body = {"model": "default", "messages": [{"role": "user", "content": "How much leave do I get?"}]}
        return self.post(at, "/v1/chat/completions", body)[0]


def within(limit: float, since: float, holds: Callable[[], bool]) -> float:
    """Return how long it took until it held; fail after the limit."""
    while not holds():
        assert time.monotonic() - since < limit, "not in force in time"
    return time.monotonic() - since


@pytest.fixture
def bank(house: House, tmp_path: Path, tier: int) -> Bank:
    return Bank(house, tmp_path / "data", tier)


@pytest.fixture
def tier() -> int:
    return 4


@pytest.mark.parametrize("tier", [1])  # its calls need no evaluation on record
@pytest.mark.parametrize("scope", ["agent", "use-case", "all"])
def test_a_stop_is_in_force_on_every_point_of_every_process_within_a_second(bank: Bank, scope: str) -> None:
    with ExitStack() as stack:
        one, other = (stack.enter_context(bank.server().start()) for _ in range(2))
        bank.begin(one)
        assert [bank.note(at) for at in (one, other)] == ["allow", "allow"]
        assert [bank.call(at) for at in (one, other)] == [200, 200]
        path, body = f"/api/use-cases/{bank.use_case}/stop", {"reason": "odd"}
        if scope == "agent":
            body["agent"] = PAYER
        by = "ruth.adeyemi" if scope == "all" else "mara.quinn"
        person = bank.person(one, by)
        since = time.monotonic()
        person.post("/api/stop" if scope == "all" else path, body)
        took = within(SECOND, since, lambda: bank.note(other) == "deny" and bank.call(other) == 403)
        assert bank.note(one) == "deny"
        assert bank.call(one) == 403
        print(f"\n{scope}: in force on the other process after {took * 1000:.0f} ms")  # noqa: T201  the figure


def test_it_survives_the_death_of_the_server_that_said_it_and_restarts(bank: Bank) -> None:
    with bank.server().start() as other:
        with bank.server().start() as one:
            bank.begin(one)
            assert bank.pay(one)["verdict"] == "allow"
            person = bank.person(one, "mara.quinn")
            since = time.monotonic()
            person.post(f"/api/use-cases/{bank.use_case}/stop", {"reason": "odd", "agent": PAYER})
            one.kill()
        within(SECOND, since, lambda: bank.note(other) == "deny")
    with bank.server().start() as again:
        assert bank.note(again) == "deny"


def test_it_voids_what_people_agreed_to_what_waits_and_tokens(bank: Bank) -> None:
    with bank.server().start() as at:
        bank.begin(at)
        status, made = bank.post(at, "/agents/v1/token", {"seconds": 900})
        assert status == 200
        asked, granted = bank.pay(at, 2000), bank.pay(at, 2500)
        for voter in ("hanna.osei", "ruth.adeyemi"):
            bank.person(at, voter).vote(granted["approval"], "yes", "agreed")
        mara = bank.person(at, "mara.quinn")
        mara.post(f"/api/use-cases/{bank.use_case}/stop", {"reason": "odd", "agent": PAYER})
        assert bank.pay(at, 2500)["verdict"] == "deny"
        assert bank.post(at, "/agents/v1/runs", {}, str(made["token"]))[0] == 401
        with pytest.raises(BedplateError):
            bank.person(at, "hanna.osei").vote(asked["approval"], "yes", "agreed")
        with pytest.raises(NeedsApproval) as needed:
            mara.post(f"/api/use-cases/{bank.use_case}/lift", {"reason": "looked at it", "agent": PAYER})
        for voter in ("hanna.osei", "priya.raman", "jonas.weber", "ruth.adeyemi", "tomas.lindgren"):
            with suppress(BedplateError):
                bank.person(at, voter).vote(needed.value.approval, "yes", "agreed")
        within(SECOND, time.monotonic(), lambda: bank.note(at) == "allow")
        for amount, old in ((2000, asked), (2500, granted)):
            anew = bank.pay(at, amount)
            assert (anew["verdict"], anew["state"]) == ("ask", "parked")
            assert anew["approval"] != old["approval"]
        assert bank.post(at, "/agents/v1/runs", {}, str(made["token"]))[0] == 401, "what was made before stays void"


def test_a_drill_reaches_every_process_and_says_how_soon(bank: Bank) -> None:
    with ExitStack() as stack:
        one, _ = (stack.enter_context(bank.server().start()) for _ in range(2))
        bank.begin(one)
        leo = bank.person(one, "leo.fischer")
        told = leo.post(f"/api/use-cases/{bank.use_case}/drill", {})
        assert told["outcome"] in ("in-force", "late"), told  # how soon is the machine's: bench and the drill say it
        assert {(a["process"], a["point"]) for a in told["answers"]} == {
            (process, point) for process in ("shard-0", "shard-1") for point in ("actions", "calls")
        }
        assert len(told["releases"]) == 1
        assert bank.note(one) == "allow"
        print(f"\ndrill: {told['summary']}")  # noqa: T201  the figure


def test_two_processes_on_one_port_answer_a_drill_each(bank: Bank) -> None:
    with bank.server(processes="2").start() as at:
        leo = bank.person(at, "leo.fischer")

        def answered() -> set[str]:
            told = leo.post(f"/api/use-cases/{bank.use_case}/drill", {})
            return {a["process"] for a in told["answers"]} if told["outcome"] != "silent" else set()

        within(30, time.monotonic(), lambda: answered() == {"shard-0", "shard-1"})  # the second one may still start


# What one process does about it


def test_a_stop_of_everything_closes_what_waits_in_each_use_case(agent: Acting) -> None:
    asked, granted = agent.pay(2000), agent.pay(2500)
    agent.agree(granted.approval)
    stop(agent.house.governor, "ruth.adeyemi", ALL, reason="odd")
    watch = AgentWatch(agent.at)
    watch.sweep(agent.clock())
    assert [agent.house.approval(a.approval).state for a in (asked, granted)] == ["voided", "voided"]
    with pytest.raises(NeedsApproval) as needed:
        lift(agent.house.governor, "priya.raman", ALL, reason="looked at it")
    agent.house.grant(needed.value.approval)
    anew = agent.pay(2000)
    watch.sweep(agent.clock())
    assert agent.house.approval(anew.approval).state == "asked", "it was asked after the stop"
    agent.house.sound()


def test_a_stop_of_one_agent_leaves_the_others(agent: Acting) -> None:
    asked = agent.pay(2000)
    stop(agent.house.governor, "mara.quinn", agent.subject, agent="clerk", reason="odd")
    AgentWatch(agent.at).sweep(agent.clock())
    assert agent.house.approval(asked.approval).state == "asked"
    assert agent.pay(50).verdict == "allow"
    assert agent.at.agents.identified(SECRET).agent == PAYER


def test_the_worker_does_all_of_it(agent: Acting) -> None:
    stop(agent.house.governor, "ruth.adeyemi", ALL, reason="odd")
    agent.at.follower.look()
    worker = Worker(agent.at)
    agent.clock.advance(FIRST_DECOYS)
    agent.at.follower.look()
    worker.start()
    try:
        within(20, time.monotonic(), lambda: bool(agent.records("act.decoy")))
    finally:
        worker.stop()


def test_what_a_person_concluded_elsewhere_is_followed_here(agent: Acting) -> None:
    let = agent.pay(50, key="bill")
    agent.done(let, status="unknown")
    conclude(agent.house.governor, "leo.fischer", agent.subject, let.action, state="ok", reason="asked the bank")
    agent.at.follower.look()
    AgentWatch(agent.at).conclude(agent.clock())
    assert agent.pay(50, key="bill").replayed
