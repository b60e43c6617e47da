"""What of an action is in the database, on each of them: asked, edited, agreed to, refused, over in time, stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.agents.acting import PAYER, controls
from tests.conftest import DATABASES

from bedplate.agents.actions import stop
from bedplate.agents.views import drills, outdated, parked_action, queue, stops
from bedplate.kernel.clock import DAY, SECOND
from bedplate.paths.agentwatch import AgentWatch
from bedplate.paths.drill import drill

if TYPE_CHECKING:
    from tests.agents.acting import Acting


@pytest.fixture(params=DATABASES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_is_agreed_to_is_done_once(agent: Acting) -> None:
    asked = agent.pay(2000)
    rows, total = queue(agent.at.engine, subject=agent.subject)
    assert ([row["approval"] for row in rows], total) == ([asked.approval], 1)
    assert agent.agree(asked.approval) == "granted"
    agent.done(granted := agent.pay(2000), {"paid": 2000})
    assert (granted.verdict, granted.action) == ("allow", asked.action)
    assert parked_action(agent.at.engine, asked.approval)["state"] == "spent"
    assert agent.pay(2000).action != asked.action, "the same again is asked anew"
    agent.house.sound()


def test_what_a_person_edits_is_asked_anew_and_done_as_it_was_edited(agent: Acting) -> None:
    asked = agent.pay(2000)
    arguments = {"amount": 1500, "payee": "Ada Ltd"}
    new = agent.people.edit("leo.fischer", asked.approval, arguments, "less", agent.door.reweighed)
    assert parked_action(agent.at.engine, asked.approval)["now"] == new
    agent.agree(new, *(p for p in agent.voters(new) if p != "leo.fischer"))
    done = agent.pay(2000)
    assert (done.verdict, done.arguments, done.edited) == ("allow", arguments, True)


def test_no_and_silence_are_refusals(agent: Acting) -> None:
    refused, silent = agent.pay(2000), agent.pay(2500)
    agent.agree(refused.approval, agent.voters(refused.approval)[0], yes=False, reason="too much")
    assert "too much" in str(agent.pay(2000).reasons)
    agent.clock.advance(2 * DAY)
    agent.house.governor.expire()
    assert parked_action(agent.at.engine, silent.approval)["state"] == "expired"
    assert agent.pay(2500).verdict == "deny"


def test_a_stop_closes_what_waits_and_a_drill_is_on_record(agent: Acting) -> None:
    watch = AgentWatch(agent.at)
    asked = agent.pay(2000)
    agent.clock.advance(SECOND)
    stop(agent.house.governor, "ruth.adeyemi", agent.subject, agent=PAYER, reason="odd")
    assert controls(agent.pay(50)) == ["act-not-stopped"]
    watch.sweep(agent.clock.now)
    assert outdated(agent.at.engine) == {}
    assert parked_action(agent.at.engine, asked.approval)["state"] not in {"asked", "granted"}
    assert [row["scope"] for row in stops(agent.at.engine, subject=agent.subject, in_force=True)] == [PAYER]
    made = drill(agent.at, "leo.fischer", agent.subject)
    assert [row["scope"] for row in drills(agent.at.engine)] == [made.scope]
    agent.house.sound()
