"""Who is told of an action that waits, and when: also after restarts, over clock jumps, and when roles change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from tests.agents.acting import Acting, controls

from bedplate.agents.notice import ABOVE, AGAIN, ASKED, NEXT
from bedplate.agents.reminder import inbox
from bedplate.agents.tables import parked
from bedplate.errors import Denied
from bedplate.kernel.clock import SECOND
from bedplate.paths.oversight import OversightWatch

if TYPE_CHECKING:
    from bedplate.installation import Installation

MINUTE = 60 * SECOND


@dataclass
class Post:
    """A teller that keeps what it was told."""

    sent: list[tuple[str, str, str]] = field(default_factory=list)
    fails: bool = False

    def told(self, person: str, text: str, link: str) -> None:
        if self.fails:
            raise ConnectionError("no such host")
        self.sent.append((person, text, link))

    def people(self) -> set[str]:
        found = {person for person, _, _ in self.sent}
        self.sent.clear()
        return found


def step(at: Installation, approval: str) -> int:
    with at.engine.connect() as connection:
        return int(connection.execute(select(parked.c.told).where(parked.c.approval == approval)).scalar_one())


def round_(watch: OversightWatch, agent: Acting, minutes: int = 0) -> None:
    agent.clock.advance(minutes * MINUTE + 10 * SECOND)
    agent.at.follower.look()
    watch.remind(agent.clock())


def plan(agent: Acting) -> tuple[int, int]:
    found = agent.house.model.tiers[agent.house.approval(agent.pay().approval).facts["tier"]]  # type: ignore[index]
    return found.act_escalate_minutes, found.act_minutes


@pytest.mark.parametrize("tier", [2, 3, 4])
def test_people_are_told_step_by_step_and_each_step_once(agent: Acting) -> None:
    asked = agent.pay().approval
    escalate, whole = plan(agent)
    post = Post()
    watch = OversightWatch(agent.at, post)
    round_(watch, agent)
    first = post.people()
    lacking = sum(more for _, _, more in agent.house.approval(asked).missing())
    assert (step(agent.at, asked), len(first)) == (ASKED, lacking)
    assert "mara.quinn" not in first, "she owns it, and cannot agree to it"
    round_(watch, agent)
    assert post.people() == set()
    round_(watch, agent, escalate // 2)
    assert (step(agent.at, asked), post.people()) == (AGAIN, first)
    round_(watch, agent, escalate // 2)
    assert step(agent.at, asked) == NEXT
    assert post.people() >= first
    round_(watch, agent, (whole - escalate) // 2)
    above = post.people()
    assert step(agent.at, asked) == ABOVE
    assert "mara.quinn" in above, "who owns it is told"
    chair = {"domain": "priya.raman"}.get(agent.house.approval(asked).stages[-1].body, "ruth.adeyemi")
    assert chair in above, "who chairs the body above is told"
    round_(watch, agent, 1)
    assert post.people() == set()


@pytest.mark.parametrize("tier", [3])
def test_a_restart_while_it_waits_still_escalates_and_tells_nobody_twice(agent: Acting) -> None:
    asked = agent.pay().approval
    escalate, _ = plan(agent)
    post = Post()
    round_(OversightWatch(agent.at, post), agent)
    assert post.people()
    round_(OversightWatch(agent.at, post), agent)
    assert post.people() == set(), "another process knows what was told"
    round_(OversightWatch(agent.at, post), agent, escalate)
    assert step(agent.at, asked) == NEXT
    assert post.people()


@pytest.mark.parametrize("tier", [3])
def test_a_clock_that_jumps_over_steps_leaves_nobody_out(agent: Acting) -> None:
    asked = agent.pay().approval
    escalate, whole = plan(agent)
    post = Post()
    agent.clock.advance((escalate + (whole - escalate) // 2) * MINUTE)
    round_(OversightWatch(agent.at, post), agent)
    assert step(agent.at, asked) == ABOVE
    told = [person for person, _, _ in post.sent]
    assert len(told) == len(set(told))
    assert {*agent.voters(asked), "mara.quinn"} <= set(told)


@pytest.mark.parametrize("tier", [3])
def test_a_clock_that_is_put_back_tells_nobody_again(agent: Acting) -> None:
    agent.pay()
    escalate, _ = plan(agent)
    post = Post()
    round_(OversightWatch(agent.at, post), agent, escalate)
    post.people()
    round_(OversightWatch(agent.at, post), agent, -escalate)
    assert post.people() == set()


@pytest.mark.parametrize("tier", [3])
def test_a_clock_that_jumps_over_the_end_is_a_no_and_tells_nobody(agent: Acting) -> None:
    asked = agent.pay().approval
    _, whole = plan(agent)
    post = Post()
    round_(OversightWatch(agent.at, post), agent, whole)
    assert post.people() == set()
    agent.at.governor.expire()
    assert agent.house.approval(asked).state == "expired"
    assert controls(agent.pay()) == ["expired"]


@pytest.mark.parametrize("tier", [3])
def test_what_is_answered_is_told_to_nobody(agent: Acting) -> None:
    agent.agree(agent.pay().approval)
    post = Post()
    round_(OversightWatch(agent.at, post), agent)
    assert post.people() == set()


@pytest.mark.parametrize("tier", [3])
def test_whoever_cannot_be_reached_finds_it_in_the_inbox(agent: Acting) -> None:
    asked = agent.pay().approval
    round_(OversightWatch(agent.at, Post(fails=True)), agent)
    (person,) = {e.data["people"][0] for e in agent.house.events("agents.action.reminded")}  # type: ignore[index]
    assert [row["approval"] for row in inbox(agent.at.engine, str(person), agent.clock())] == [asked]
    agent.agree(asked)
    assert inbox(agent.at.engine, str(person), agent.clock()) == []


def swapped(text: str) -> str:
    """Let the approver of the domain and its sponsor change places."""
    text = text.replace("[domain.approver@people]", "[X]").replace(
        "[domain.sponsor@people]", "[domain.approver@people]"
    )
    return text.replace("[X]", "[domain.sponsor@people]")


def test_a_role_that_is_lost_between_asking_and_answering_counts_as_it_was_when_they_answered(agent: Acting) -> None:
    asked = agent.pay().approval
    (voter,) = agent.voters(asked)
    assert voter == "hanna.osei"

    agent.house.apply(agent.house.model_file(swapped))
    with pytest.raises(Denied, match="may not do this"):
        agent.agree(asked, voter)
    assert agent.house.approval(asked).state == "asked"


@pytest.mark.parametrize("tier", [4])
def test_a_vote_stays_when_its_voter_loses_the_role(agent: Acting) -> None:
    asked = agent.pay().approval
    voters = agent.voters(asked)
    assert len(voters) > 1
    assert voters[0] == "hanna.osei"
    agent.agree(asked, voters[0])

    agent.house.apply(agent.house.model_file(swapped))
    assert agent.agree(asked, *voters[1:]) == "granted"
    seats: dict[str, Any] = {vote.person: vote.seat for vote in agent.house.approval(asked).votes}
    assert seats[voters[0]] == "domain.approver@people"
