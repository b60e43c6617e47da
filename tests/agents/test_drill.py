"""The drill: how soon a stop is in force in each process, on record and as evidence; nobody is held up by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from tests.agents.acting import PAYER, Acting, controls

from bedplate.agents.drill import Answer, Drills, Result
from bedplate.agents.runstore import RunStore
from bedplate.agents.stop import DRILL_SCOPE, DRILLED, EPOCHS, STOPPED
from bedplate.agents.views import drills, stops
from bedplate.errors import Denied, InvalidInput
from bedplate.paths.agentwatch import AgentWatch
from bedplate.paths.drill import drill
from bedplate.releases.actions import Finding, attach
from bedplate.store.tables import evidence

if TYPE_CHECKING:
    from pathlib import Path

HELD = ("in-force", "late")
"""What a real drill may end as when every door held: how soon it was depends on the machine, which no test judges."""


@pytest.fixture
def tier() -> int:
    return 4


def attached(agent: Acting) -> list[tuple[str, str]]:
    query = select(evidence.c.digest, evidence.c.summary).where(evidence.c.control == "stop-drilled")
    with agent.at.engine.connect() as connection:
        return [(str(r.digest), str(r.summary)) for r in connection.execute(query)]


def test_a_drill_is_on_record_is_evidence_and_holds_nobody_up(agent: Acting) -> None:
    AgentWatch(agent.at)
    waiting = agent.pay(2000)
    made = drill(agent.at, "leo.fischer", agent.subject)
    assert (made.result.outcome in HELD, made.unattached) == (True, "")
    assert {a.point for a in made.result.answers} == {"actions", "calls"}
    [told] = drills(agent.at.engine)
    assert (told["scope"], told["outcome"], told["points"]) == (made.scope, made.result.outcome, 2)
    live = agent.house.standing(agent.subject)
    assert made.releases == (live.release,)
    assert (live.release, made.result.summary) in attached(agent)
    assert live.facts[STOPPED] == {}
    assert live.facts[EPOCHS] == {}
    drilled = live.facts[DRILLED]
    assert isinstance(drilled, dict)
    assert list(drilled) == [DRILL_SCOPE]
    assert stops(agent.at.engine, in_force=True) == []
    assert agent.pay(50).verdict == "allow"
    agent.agree(waiting.approval)
    assert agent.pay(2000).verdict == "allow", "what waited still counts"
    agent.house.sound()


def test_a_real_agent_stays_stopped(agent: Acting) -> None:
    AgentWatch(agent.at)
    made = drill(agent.at, "leo.fischer", agent.subject, PAYER)
    assert made.scope == PAYER
    assert made.result.outcome in HELD
    assert controls(agent.pay(50)) == ["act-not-stopped"]


def test_an_agent_that_there_is_not_is_no_drill(agent: Acting) -> None:
    with pytest.raises(InvalidInput, match="no agent ghost"):
        drill(agent.at, "leo.fischer", agent.subject, "ghost")
    assert drills(agent.at.engine) == []


def test_nobody_asserts_a_drill_but_whoever_may_attach_evidence_can_make_one(agent: Acting) -> None:
    AgentWatch(agent.at)
    digest = agent.house.standing(agent.subject).release
    before = len(attached(agent))
    finding = Finding("stop-drilled", "proven", "it works, believe me", b"")
    with pytest.raises(Denied, match="shown by a drill, not asserted"):
        attach(agent.house.governor, "priya.raman", agent.subject, digest, finding)
    assert len(attached(agent)) == before
    made = drill(agent.at, "priya.raman", agent.subject)
    assert (made.releases, made.unattached) == ((digest,), "")


def test_a_process_that_does_not_answer_fails_it(agent: Acting, tmp_path: Path) -> None:
    AgentWatch(agent.at)
    silent = RunStore(tmp_path / "data" / "agents", "shard-7", agent.clock)
    try:
        made = drill(agent.at, "leo.fischer", agent.subject)
    finally:
        silent.close()
    assert (made.result.outcome, made.result.silent) == ("silent", ("shard-7",))
    assert made.result.ms >= 1_000
    assert any("no answer from shard-7" in summary for _, summary in attached(agent))
    assert drill(agent.at, "leo.fischer", agent.subject).result.outcome in HELD, "it is gone, not silent"


def test_a_door_that_lets_it_through_fails_it(agent: Acting) -> None:
    leaky = Drills(agent.at.runs, agent.door, {"calls": lambda _subject, _agent: False})
    agent.at.follower.moved.append(leaky.moved)
    made = drill(agent.at, "leo.fischer", agent.subject)
    assert made.result.outcome == "passed"
    assert "let through by shard-0 (calls)" in made.result.summary


@pytest.mark.parametrize(
    ("answers", "silent", "outcome"),
    [
        ((Answer("a", "actions", refused=True, ms=1000),), (), "in-force"),
        ((Answer("a", "actions", refused=True, ms=1001),), (), "late"),
        ((Answer("a", "actions", refused=False, ms=1),), (), "passed"),
        ((Answer("a", "actions", refused=True, ms=1),), ("b",), "silent"),
        ((), (), "silent"),
    ],
)
def test_only_what_refused_everywhere_in_time_is_in_force(
    answers: tuple[Answer, ...], silent: tuple[str, ...], outcome: str
) -> None:
    assert Result(answers, silent).outcome == outcome
