"""Decoys: forbidden actions are tried on a timer, leave no trace in counters, and one that passes closes the door."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.agents.acting import AGENTS, acting, controls

from bedplate.agents.charter import Charter
from bedplate.agents.decoy import Decoys, decoys
from bedplate.agents.door import AgentDoor
from bedplate.agents.governance import unproven
from bedplate.agents.run import day_of
from bedplate.agents.tables import tripped
from bedplate.document import parse
from bedplate.incidents.actions import suspend
from bedplate.incidents.views import incidents
from bedplate.kernel.clock import SECOND
from bedplate.kernel.control import Pass
from bedplate.kernel.standing import Rung
from bedplate.paths.agentwatch import FIRST_DECOYS, AgentWatch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agents.acting import Acting
    from tests.conftest import House

    from bedplate.agents.decoy import Tried

EACH_TIER = pytest.mark.parametrize("tier", [1, 2, 3, 4])
ALWAYS = {"clerk/unknown-tool", "clerk/other-tool", "payer/unknown-tool", "payer/other-tool", "payer/amount"}


def tried(agent: Acting) -> dict[str, Tried]:
    return {one.name: one for one in asyncio.run(Decoys(agent.door).tried(agent.subject))}


def blunt(agent: Acting, name: str) -> None:
    """Let a control pass everything."""
    found = tuple(replace(c, check=lambda _case: Pass()) if c.name == name else c for c in agent.door.parts.controls)
    agent.at.agents = AgentDoor(replace(agent.door.parts, controls=found))


@EACH_TIER
def test_each_agent_is_tried_with_what_it_must_not_do(agent: Acting, tier: int) -> None:
    found = tried(agent)
    assert set(found) == ALWAYS | ({"payer/tainted"} if tier > 2 else set())
    assert all(one.held for one in found.values()), found


def test_they_are_on_record_as_decoys_and_nowhere_else(agent: Acting) -> None:
    before = agent.at.runs.run("run-1")
    tried(agent)
    records = agent.records()
    assert {(e["kind"], e["route"], e["status"]) for e in records} == {("act.decoy", "decoy", "decoy")}
    assert agent.at.runs.run("run-1") == before
    assert agent.at.runs.runs() == [agent.at.runs.run("run-1")] or len(agent.at.runs.runs()) == 1
    for name in ("payer", "clerk"):
        day = agent.at.runs.day(agent.subject, name, day_of(agent.clock()))
        assert (day.steps, day.actions, day.denied) == (0, 0, 0)
    with agent.at.engine.connect() as connection:
        assert connection.execute(tripped.select()).all() == []
    assert agent.pay(50).verdict == "allow"


@EACH_TIER
@pytest.mark.parametrize(
    ("control", "through"),
    [("tool-permitted", "payer/unknown-tool"), ("tool-policy", "payer/amount")],
)
def test_one_that_passes_closes_the_door_until_it_is_stopped_again(
    agent: Acting, tier: int, control: str, through: str
) -> None:
    sharp = agent.at.agents
    blunt(agent, control)
    watch = AgentWatch(agent.at)
    watch.prove(agent.subject)
    standing = agent.house.standing(agent.subject)
    assert through in unproven(standing)
    assert standing.rung is (Rung.PROPOSE if tier > 2 else Rung.ACT)
    causes = {str(i["cause"]) for i in incidents(agent.at.engine, agent.subject, only_open=True)}
    assert f"decoy/{through}" in causes
    watch.prove(agent.subject)
    assert len(incidents(agent.at.engine, agent.subject)) == len(causes), "one incident for each"
    assert "decoys-fire" in controls(agent.pay(50))
    agent.at.agents = sharp
    AgentWatch(agent.at).prove(agent.subject)
    assert unproven(agent.house.standing(agent.subject)) == []
    assert "decoys-fire" not in controls(agent.pay(50))
    agent.house.sound()


def test_what_is_denied_for_another_reason_is_not_proven(agent: Acting) -> None:
    suspend(agent.house.governor, "mara.quinn", agent.subject, "odd")
    agent.at.follower.look()
    assert all(one.held for one in tried(agent).values()), "every reason is told, so its own is among them"
    blunt(agent, "tool-permitted")
    found = tried(agent)
    assert not found["payer/unknown-tool"].held
    assert "for another reason" in found["payer/unknown-tool"].why


def test_the_timer_waits_and_survives_a_clock_that_is_put_back(agent: Acting) -> None:
    watch = AgentWatch(agent.at)

    def made(after: int) -> int:
        agent.clock.advance(after)
        agent.at.follower.look()
        watch.round(agent.clock())
        return len(agent.records("act.decoy"))

    assert made(FIRST_DECOYS - 1) == 0
    assert made(1) == len(ALWAYS)
    assert made(1) == len(ALWAYS)
    assert made(agent.at.settings.canary_every_s * SECOND) == 2 * len(ALWAYS)
    assert made(-3_600 * SECOND) == 3 * len(ALWAYS)


@EACH_TIER
def test_an_amount_in_cents_with_its_unit_beside_it_is_tried_as_the_tool_writes_it(tier: int) -> None:
    yaml = AGENTS.replace(
        "{argument: amount, unit: EUR}", "{argument: sum.value, unit_argument: sum.currency, minor: 100}"
    )
    charter = Charter.compile(parse(yaml, "agents.yaml"))
    found = {d.name: d for d in decoys(charter, charter.agents["payer"], tier)}
    assert found["payer/amount"].call.arguments == {"sum": {"value": 500_100, "currency": "EUR"}}


def test_such_an_amount_is_stopped(house: House, tmp_path: Path) -> None:
    yaml = AGENTS.replace(
        "{argument: amount, unit: EUR}", "{argument: sum.value, unit_argument: sum.currency, minor: 100}"
    )
    with acting(house, tmp_path / "data", 4, yaml) as agent:
        assert all(one.held for one in tried(agent).values()), tried(agent)


def test_use_cases_take_turns(agent: Acting) -> None:
    assert Decoys(agent.door).due() == [agent.subject]
    assert Decoys(agent.door, most=0).due() == []
