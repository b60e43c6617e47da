"""Agents when something breaks: people at odds, hosts that change, clocks that jump, and death at every step."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.agents.acting import AGENTS, SECRET, Acting, acting, controls

from bedplate.agents.door import AgentDoor
from bedplate.agents.repetition import IN_HAND
from bedplate.agents.toolcall import ToolCall
from bedplate.agents.views import trips
from bedplate.bootstrap import open_installation
from bedplate.config import Settings
from bedplate.errors import BedplateError, Denied, NotFound, Unavailable
from bedplate.incidents.views import incidents
from bedplate.kernel.clock import DAY, SECOND
from bedplate.paths.agentwatch import RECOVER_EVERY, AgentWatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import House

    from bedplate.agents.toolcall import Ruling

RETRIES = 10_000


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def tier() -> int:
    return 2


@pytest.fixture
def agent(house: House, tmp_path: Path, tier: int) -> Iterator[Acting]:
    with acting(house, tmp_path / "data", tier) as found:
        found.begin()
        yield found


# People


def test_of_two_who_fetch_an_agreement_at_once_one_gets_it(agent: Acting) -> None:
    asked = agent.pay(key="roof")
    agent.agree(asked.approval)
    agent.at.follower.look()
    call = ToolCall("run-1", "bank/pay", {"amount": 2000, "payee": "Ada Ltd"}, "roof")

    async def both() -> list[Ruling | BaseException]:
        return await asyncio.gather(*(agent.door.propose(agent.payer, call) for _ in range(8)), return_exceptions=True)

    found = [r for r in asyncio.run(both()) if not isinstance(r, BaseException)]
    assert [r.verdict for r in found].count("allow") == 1
    assert {r.verdict for r in found} <= {"allow", "ask"}
    assert len(agent.records("act.intent")) == 1
    assert len(agent.house.events("agents.action.performed")) == 1
    agent.house.sound()


def test_of_two_who_agree_at_once_both_count_and_it_is_spent_once(agent: Acting) -> None:
    asked = agent.pay()
    done = []
    for voter in ("hanna.osei", "hanna.osei"):
        with suppress(BedplateError):
            done.append(agent.agree(asked.approval, voter))
    assert done.count("granted") >= 1
    assert agent.pay().verdict == "allow"
    assert len(agent.house.events("agents.action.performed")) == 1


def test_who_lost_the_seat_between_question_and_answer_cannot_agree(agent: Acting) -> None:
    asked = agent.pay()
    swap = {"domain.approver@people": "domain.sponsor@people", "domain.sponsor@people": "domain.approver@people"}
    people = agent.house.model_file(lambda text: re.sub("|".join(swap), lambda found: swap[found[0]], text))
    agent.house.apply(people)
    with pytest.raises(Denied):
        agent.agree(asked.approval, "hanna.osei")
    assert agent.pay().verdict == "ask"
    assert agent.agree(asked.approval, "gwen.parry") == "granted"
    assert agent.pay().verdict == "allow"


# Hosts


def test_a_run_is_refused_clearly_on_a_host_that_does_not_know_it(agent: Acting, tmp_path: Path) -> None:
    asked = agent.pay(key="roof")
    agent.agree(asked.approval)
    other = open_installation(Settings(data=tmp_path / "other", database=agent.house.database.url), agent.clock)
    try:
        other.follower.look()
        actor = other.agents.identified(SECRET)
        call = ToolCall("run-1", "bank/pay", {"amount": 2000, "payee": "Ada Ltd"}, "roof")
        with pytest.raises(NotFound, match="begin one"):
            asyncio.run(other.agents.propose(actor, call))
        asyncio.run(other.agents.begin(actor, run="run-1", task="Pay Ada Ltd 2000 EUR for the roof."))
        told = asyncio.run(other.agents.propose(actor, call))
        assert controls(told) == ["run-here"]
    finally:
        asyncio.run(other.close())
    let = agent.pay(key="roof")
    assert let.verdict == "allow", "where it was begun it goes on"
    assert len(agent.house.events("agents.action.performed")) == 1


# Clocks


@pytest.mark.parametrize("granted", [False, True])
def test_a_clock_that_jumps_over_the_time_of_a_question_is_a_no(agent: Acting, granted: bool) -> None:  # noqa: FBT001
    asked = agent.pay()
    if granted:
        agent.agree(asked.approval)
    agent.clock.advance(30 * DAY)
    assert controls(agent.pay()) == ["expired"]
    if not granted:
        with pytest.raises(BedplateError):
            agent.agree(asked.approval, "hanna.osei")
    agent.house.governor.expire()
    agent.clock.advance(-30 * DAY)
    assert agent.pay().verdict == "deny", "what expired stays so, whatever the clock says then"
    assert agent.records("act.intent") == []


# The database


def test_while_the_database_is_gone_nothing_that_waits_goes_through_and_nothing_is_lost(agent: Acting) -> None:
    asked = agent.pay()
    agent.agree(asked.approval)
    call = ToolCall("run-1", "bank/pay", {"amount": 2000, "payee": "Ada Ltd"})
    with closing(sqlite3.connect(agent.house.database.path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="database"):
            asyncio.run(agent.door.propose(agent.payer, call))
        assert agent.records("act.intent") == []
    let = agent.pay()
    assert (let.verdict, let.action) == ("allow", asked.action)


# Agents that do not listen


@pytest.mark.parametrize("different", [False, True], ids=["the same", "each another"])
def test_an_agent_that_ignores_a_denial_ten_thousand_times_costs_little(agent: Acting, different: bool) -> None:  # noqa: FBT001
    async def again_and_again() -> list[Ruling]:
        made = []
        for number in range(RETRIES):
            arguments = {"n": number} if different else {}
            made.append(await agent.door.propose(agent.payer, ToolCall("run-1", "bank/archive", arguments)))
            if number % 500 == 0:
                agent.at.follower.look()
        return made

    started = time.monotonic()
    found = asyncio.run(again_and_again())
    took = time.monotonic() - started
    assert {r.verdict for r in found} == {"deny"}
    assert "breaker-closed" in controls(found[-1])
    assert [t["signal"] for t in trips(agent.at.engine, is_open=True)] != []
    run = agent.at.runs.run("run-1")
    assert run is not None
    assert run.denied == RETRIES
    records = len(agent.records("act.denied"))
    print(f"\n{RETRIES} in {took:.1f} s, {records} records, {run.steps} steps")  # noqa: T201  the figure
    assert took < 60
    assert records <= 50
    assert run.steps <= 50


# Death at every step

STEPS = 20
PLAN = [("bank/pay", {"amount": 1100 + n, "payee": "Ada Ltd"}) if n % 5 == 4 else ("bank/note", {"text": f"n{n}"})
        for n in range(STEPS)]  # fmt: skip
KILLS = ("asked", "agreed", "let", "done", "told")  # after each of these, in each step
ROOMY = AGENTS.replace("actions_per_run: 12", "actions_per_run: 100").replace("9000 EUR", "900000 EUR")


class Killed(BaseException):
    """kill -9: nothing of what the process knew is left."""


class Runner:
    """A runner of steps that knows nothing but its plan: whatever it did before its death, the door must tell it."""

    def __init__(self, agent: Acting, kill: tuple[int, str] | None) -> None:
        self._agent = agent
        self._kill = kill
        self.bank: list[str] = []  # what was really done

    def live(self) -> None:
        """Go through the plan once, or die where it is told to."""
        for number, (tool, arguments) in enumerate(PLAN):
            self._step(number, tool, arguments)

    def _step(self, number: int, tool: str, arguments: dict[str, Any]) -> None:
        name = f"step-{number}"
        ruling = self._agent.ask(tool, name, **arguments)
        if ruling.verdict == "ask" and ruling.state == "parked":
            self._die(number, "asked")
            self._agent.agree(ruling.approval)
            self._die(number, "agreed")
            ruling = self._agent.ask(tool, name, **arguments)
        elif ruling.verdict == "ask":  # in hand: of the one who died
            self._agent.clock.advance(IN_HAND)
            ruling = self._agent.ask(tool, name, **arguments)
        if ruling.verdict == "deny":
            assert controls(ruling) == ["outcome-known"], ruling
            truth = "ok" if ruling.action in self.bank else "error"
            self._agent.door.concluded(ruling.action, truth)  # a person looked
            if truth == "error":
                return self._step_anew(number, tool, arguments)
            ruling = self._agent.ask(tool, name, **arguments)
            assert ruling.replayed
        if ruling.replayed:
            return None
        assert ruling.verdict == "allow", ruling
        self._die(number, "let")
        if not (tool == "bank/note" and ruling.action in self.bank):  # it is idempotent: it knows the action's id
            self.bank.append(ruling.action)
        self._die(number, "done")
        self._agent.done(ruling, {"n": number})
        self._die(number, "told")
        return None

    def _step_anew(self, number: int, tool: str, arguments: dict[str, Any]) -> None:
        ruling = self._agent.ask(tool, f"step-{number}-anew", **arguments)
        if ruling.verdict == "ask":
            self._agent.agree(ruling.approval)
            ruling = self._agent.ask(tool, f"step-{number}-anew", **arguments)
        assert ruling.verdict == "allow", ruling
        self.bank.append(ruling.action)
        self._agent.done(ruling, {"n": number})

    def _die(self, number: int, after: str) -> None:
        if self._kill == (number, after):
            self._kill = None
            raise Killed


@pytest.mark.parametrize("tier", [2, 3])
@pytest.mark.parametrize("after", KILLS)
def test_kill_9_at_every_transition_does_nothing_twice_and_loses_no_approval(
    house: House, tmp_path: Path, tier: int, after: str
) -> None:
    with acting(house, tmp_path / "data", tier, ROOMY) as agent:
        for number in range(STEPS):
            if after in {"asked", "agreed"} and number % 5 != 4:
                continue
            agent.clock.advance(SECOND)
            agent.begin(f"run-{number}", "Note n, and pay Ada Ltd 1104, 1109, 1114 and 1119 EUR.")
            before = len(agent.house.events("kernel.approval.asked"))
            runner = Runner(agent, (number, after))
            with pytest.raises(Killed):
                runner.live()
            agent.at.agents = AgentDoor(agent.door.parts)  # nothing in memory is left of the server either
            runner.live()
            assert len(runner.bank) == len(set(runner.bank)) == STEPS, (number, after)
            asked = len(agent.house.events("kernel.approval.asked")) - before
            undone = after == "let" and number % 5 == 4
            anew = undone  # who died before it was done must be agreed to once more: nobody else may know
            assert asked == 4 + anew, (number, after)
            assert agent.house.events("kernel.approval.voided") == []
            asyncio.run(agent.door.end(agent.payer, agent.run, "done"))
        agent.house.sound()


@pytest.mark.parametrize("tier", [2, 4])
def test_what_a_dead_process_had_in_hand_is_unknown_on_record_and_in_high_tiers_an_incident(
    house: House, tmp_path: Path, tier: int
) -> None:
    with acting(house, tmp_path / "data", tier) as agent:
        agent.begin()
        let = agent.pay(50, key="bill")
    at = open_installation(Settings(data=tmp_path / "data", database=house.database.url), house.clock)
    at.follower.look()
    try:
        again = Acting(house, at, agent.subject)
        again.clock.advance(RECOVER_EVERY)
        for _ in range(2):
            AgentWatch(at).recover(again.clock())
        assert [e["action"] for e in again.records("act.unknown")] == [let.action]
        causes = [i["cause"] for i in incidents(at.engine, agent.subject)]
        assert causes == ([f"action/unknown/{let.action}"] if tier == 4 else [])
        told = again.pay(50, key="bill")
        assert "outcome-known" in controls(told)
        again.done(let, {"paid": 1})
        assert again.state(let.action).state == "ok", "an answer may come late"
    finally:
        asyncio.run(at.close())
