"""Oversight quality: trials of those who answer, rubber stamps, and whose answers count."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from bedplate.agents.actions import look, restore_reviewer
from bedplate.agents.oversight import MANY, reviewers
from bedplate.agents.reviewer import lowered
from bedplate.agents.trial import LATEST, Trials, commitment
from bedplate.errors import Conflict, Denied, InvalidInput
from bedplate.incidents.views import incidents
from bedplate.kernel.clock import SECOND
from bedplate.kernel.standing import Standing
from bedplate.paths.oversight import OversightWatch, quality

if TYPE_CHECKING:
    from tests.agents.acting import Acting

    from bedplate.kernel.approval import Approval

ASSURED = pytest.mark.parametrize("tier", [3, 4])


def planted(agent: Acting, rate: int = 1) -> tuple[OversightWatch, str, Approval | None]:
    """Have one action wait and a trial made of it; returns the watch, the real one, and the trial."""
    watch = OversightWatch(agent.at, trials=Trials(agent.door, rate))
    real = agent.pay().approval
    known = {e.stream for e in agent.house.events("kernel.approval.asked")}
    watch.plan(agent.clock())
    agent.clock.advance((LATEST + 1) * SECOND)
    agent.at.follower.look()
    watch.ask(agent.clock())
    new = [e.stream for e in agent.house.events("kernel.approval.asked") if e.stream not in known]
    return watch, real, agent.house.approval(new[0]) if new else None


def judge(agent: Acting, watch: OversightWatch) -> int:
    agent.at.follower.look()
    return watch.judge(agent.clock())


def standing(agent: Acting, person: str) -> str:
    agent.at.follower.look()
    return lowered(agent.at.follower.snapshot.standings.get(f"person/{person}"))


@ASSURED
def test_a_known_bad_action_looks_like_any_other_and_breaks_a_written_policy(agent: Acting) -> None:
    _, real, trial = planted(agent)
    assert trial is not None
    one, other = agent.house.approval(real), trial
    assert (one.requester, one.stages, one.facts.keys()) == (other.requester, other.stages, other.facts.keys())
    assert one.facts["why"] == other.facts["why"]
    row = agent.people.of(str(trial.facts["action"]))
    assert row is not None
    arguments = agent.people.arguments(row.row)
    assert arguments["payee"] == "Mallory Ltd" or arguments["amount"] > 5000
    assert arguments.keys() == {"amount", "payee"}
    assert "trial" not in str(trial) + str(row.row)


@ASSURED
def test_its_commitment_is_on_the_ledger_before_and_is_opened_after(agent: Acting) -> None:
    watch, _, trial = planted(agent)
    assert trial is not None
    (before,) = agent.house.events("agents.test.planted")
    (asked,) = [e for e in agent.house.events("kernel.approval.asked") if e.stream == trial.id]
    assert before.seq < asked.seq
    assert str(trial.facts["action"]) not in str(before.data)
    agent.agree(trial.id, agent.voters(trial.id)[0], yes=False, reason="too much")
    assert judge(agent, watch) == 1
    (after,) = agent.house.events("agents.test.judged")
    assert commitment(str(after.data["nonce"]), str(trial.facts["action"])) == before.data["commitment"]
    assert standing(agent, str(after.data["person"])) == ""
    assert judge(agent, watch) == 0, "once"


@ASSURED
def test_whoever_agrees_to_it_is_heard_no_more_until_trained_and_an_incident_is_open(agent: Acting) -> None:
    watch, real, trial = planted(agent)
    assert trial is not None
    voters = agent.voters(trial.id)
    agent.agree(trial.id, *voters)
    assert judge(agent, watch) == 1
    assert agent.house.approval(trial.id).state == "voided", "nothing is left to be carried out"
    assert agent.records("act.intent") == []
    for person in voters:
        assert "known-bad" in standing(agent, person)
        with pytest.raises(Denied, match="do not count"):
            agent.agree(real, person)
    asked = agent.house.events("kernel.approval.asked")
    arguments = {"amount": 1, "payee": "Ada Ltd"}
    for person in voters:
        refused = "do not count" if person == voters[0] else "."  # others may have no seat that settles at all
        with pytest.raises(Denied, match=refused):
            agent.people.edit(person, real, arguments, "less", agent.door.reweighed)
        with pytest.raises(Denied, match=refused):
            agent.people.answer(person, real, "no", "because")
        with pytest.raises(Denied, match=refused):
            agent.people.take_over(person, real, "I do it")
    assert agent.house.events("kernel.approval.asked") == asked, "nothing was asked in their name"
    causes = {i["cause"] for i in incidents(agent.at.engine, agent.subject, only_open=True)}
    assert {f"oversight/{person}" for person in voters} <= causes
    with pytest.raises(Denied, match="own"):
        restore_reviewer(agent.house.governor, "priya.raman", "priya.raman", "I read it again")
    by = "jonas.weber" if "jonas.weber" not in voters else "ruth.adeyemi"
    with pytest.raises(InvalidInput, match="how they were trained"):
        restore_reviewer(agent.house.governor, by, voters[0], " ")
    restore_reviewer(agent.house.governor, by, voters[0], "half a day with the examples")
    assert standing(agent, voters[0]) == ""
    agent.agree(real, voters[0])
    with pytest.raises(Conflict, match="count already"):
        restore_reviewer(agent.house.governor, by, voters[0], "again")


@pytest.mark.parametrize("tier", [4])
def test_the_first_of_two_who_agrees_learns_nothing_before_the_second_answered(agent: Acting) -> None:
    watch, _, trial = planted(agent)
    assert trial is not None
    first, *rest = agent.voters(trial.id)
    agent.agree(trial.id, first)
    assert judge(agent, watch) == 0
    agent.agree(trial.id, rest[0], yes=False, reason="no")
    assert judge(agent, watch) == 1
    assert standing(agent, first)
    assert not standing(agent, rest[0])


@ASSURED
def test_no_refusal_of_it_is_held_against_the_agent(agent: Acting) -> None:
    _, _, trial = planted(agent)
    assert trial is not None
    agent.at.vote(agent.voters(trial.id)[0], trial.id, yes=False, reason="never")
    with agent.at.runs.reading() as db:
        assert db.execute("SELECT total(bad) FROM tally WHERE measure LIKE 'refusals%'").get == 0


@pytest.mark.parametrize("tier", [2])
def test_low_tiers_have_no_trials(agent: Acting) -> None:
    assert planted(agent)[2] is None


@ASSURED
def test_there_are_none_where_none_are_wanted(agent: Acting) -> None:
    assert planted(agent, rate=0)[2] is None


@ASSURED
def test_one_in_fifty_is_followed_by_one(agent: Acting) -> None:
    trials = Trials(agent.door)
    count = sum(trials.due(f"approval/{n}") for n in range(20_000))
    assert 300 < count < 500


@ASSURED
def test_no_trial_is_made_of_a_trial(agent: Acting) -> None:
    watch, _, trial = planted(agent)
    assert trial is not None
    watch.plan(agent.clock())
    assert len(agent.house.events("agents.test.planted")) == 1


# Rubber stamps


def stamps(agent: Acting, count: int, *, dwell: int = SECOND) -> str:
    person = ""
    for number in range(count):
        agent.begin(f"run-{number}")
        asked = agent.pay(2000).approval
        (person,) = agent.voters(asked)
        agent.clock.advance(SECOND)
        with suppress(Conflict):
            look(agent.house.governor, person, agent.house.approval(asked))
        agent.clock.advance(dwell)
        agent.agree(asked, person)
        agent.at.follower.look()
    return person


def test_twenty_approvals_without_reading_are_no_oversight(agent: Acting) -> None:
    watch = OversightWatch(agent.at)
    person = stamps(agent, MANY)
    assert watch.measure(agent.clock()) == 1
    assert "within 3 s" in standing(agent, person)
    assert watch.measure(agent.clock()) == 0, "once"
    (incident,) = incidents(agent.at.engine, agent.subject, only_open=True)
    assert incident["cause"] == f"oversight/{person}"
    agent.begin("another")
    with pytest.raises(Denied, match="do not count"):
        agent.agree(agent.pay(2001).approval, person)
    restore_reviewer(agent.house.governor, "jonas.weber", person, "trained")
    agent.at.follower.look()
    assert watch.measure(agent.clock()) == 0, "what was before is settled"


def test_nineteen_say_nothing_yet_and_whoever_reads_is_heard(agent: Acting) -> None:
    watch = OversightWatch(agent.at)
    stamps(agent, MANY - 1)
    assert watch.measure(agent.clock()) == 0
    (found,) = quality(agent.at, agent.clock())
    assert (found.answers, found.stamp_share, found.median_us, found.overrides) == (MANY - 1, 1000, SECOND, 0)


def test_whoever_reads_is_heard(agent: Acting) -> None:
    watch = OversightWatch(agent.at)
    stamps(agent, MANY, dwell=10 * SECOND)
    assert watch.measure(agent.clock()) == 0


def test_training_shown_later_ends_it() -> None:
    facts: dict[str, Any] = {"agents.lowered": {"why": "asleep", "at": 5}}
    assert lowered(Standing("person/x", facts=facts)) == "asleep"
    assert lowered(Standing("person/x", facts={**facts, "people.training": {"ai": 4}})) == "asleep"
    assert lowered(Standing("person/x", facts={**facts, "people.training": {"ai": 6}})) == ""


def test_overrides_are_what_was_not_simply_agreed_to() -> None:
    said = ["yes", "no", "edit", "yes"]
    rows = [
        {"approval": f"a{n}", "person": "x", "seen_at": 1, "answered_at": 9 * SECOND, "answer": a}
        for n, a in enumerate(said)
    ]
    (found,) = reviewers(rows)
    assert (found.overrides, found.stamps) == (500, False)
