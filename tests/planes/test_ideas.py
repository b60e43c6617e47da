"""Ideas: proposed, decided within the clock by whoever may, kept with reasons, and begun as use cases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, select

from bedplate.document import Document, InvalidDocument, parse
from bedplate.errors import Conflict, Denied, InvalidInput
from bedplate.kernel.clock import DAY
from bedplate.paths import planning
from bedplate.paths.planning import Setting
from bedplate.people.flow.tables import wait
from bedplate.portfolio import ideas, tables
from bedplate.portfolio.actions import Decision, check_idea, check_use_case, suggest, weigh
from bedplate.portfolio.idea import IdeaFile
from bedplate.portfolio.pool import limits_of

if TYPE_CHECKING:
    from tests.conftest import House

    from bedplate.paths.planning import Table
    from bedplate.portfolio.idea import Idea

TEXT = """\
kind: idea
id: claims-triage
title: Claims triage
domain: claims
purpose: Sorts incoming motor claims by urgency.
bucket: augmentation
value:
  hypothesis: Fewer minutes on reading a claim.
  unit: minutes per claim
  baseline: 14
  target: 5
  per_month: 3200
  cents_per_unit: 75
  uncertain_percent: 20
feasibility:
  technology: {score: 4, low: 3, high: 5, evidence: A trial.}
  people: {score: 3}
  change: {score: 3}
answers: {affects-rights: no, special-data: no, customer-facing: no, regulated-advice: no, acts-alone: no,
  decides-alone: no}
contracts: []
effort_days: 140
cost_cents: 2500000
generative: yes
"""
BODIES = """
bodies:
  board: {mandate: Policy and business risk., decides_within_days: 10}
  coe: {mandate: Technical standards., decides_within_days: 5}
  domain: {mandate: Owns its use cases., decides_within_days: 7}
"""
PORTFOLIO = """
portfolio:
  weights: {value: 40, feasibility: 25, data: 20, control: 15}
  buckets: {efficiency: 50, augmentation: 30, transformation: 20}
  capacity: {person_days: 150, cents: 30000000}
  domains: {claims: {person_days: 145, cents: 30000000}}
  tiers: {"1": 1}
  buckets_are: limits
  within_percent: 10
"""
YES, NO = Decision("taken-up", "It is worth it."), Decision("declined", "Not now.", "When the register passes.")


def file(edit: tuple[str, str] = ("", ""), **changes: Any) -> IdeaFile:
    made = parse(TEXT.replace(*edit) if edit[0] else TEXT, "idea.yaml").read(IdeaFile)
    return IdeaFile.model_validate({**made.model_dump(), **changes})


def proposed(house: House, by: str = "daniel.moreau", **changes: Any) -> Idea:
    what = file(**changes)
    suggest(house.governor, by, what, house.model, ideas.known_idea(house.engine, what.id))
    return ideas.idea(house.engine, what.id)


def decided(house: House, decision: Decision, by: str = "sofia.brandt", name: str = "claims-triage") -> Idea:
    weigh(house.governor, by, ideas.idea(house.engine, name), house.model, decision)
    return ideas.idea(house.engine, name)


def held(house: House) -> Table:
    return planning.table(house.engine, house.model, house.clock())


def test_an_idea_is_decided_with_its_reason_and_a_declined_one_keeps_when_it_comes_back(house: House) -> None:
    found = proposed(house)
    assert (found.state, found.body, found.due) == ("proposed", "domain", house.clock() + 14 * DAY)
    found = decided(house, NO)
    assert (found.state, found.reason, found.condition) == ("declined", "Not now.", "When the register passes.")
    assert (found.decided_by, found.due) == ("sofia.brandt", 0)
    with pytest.raises(Conflict, match="is declined since"):
        decided(house, YES)
    again = proposed(house, effort_days=80)
    assert (again.state, again.condition, again.file.effort_days) == ("proposed", "", 80)
    assert decided(house, YES).state == "taken-up"
    with pytest.raises(Conflict, match="was taken up"):
        proposed(house)
    house.sound()


def test_the_clock_is_the_bodys_and_proposing_anew_does_not_stop_it(house: House) -> None:
    house.apply(house.model_file(lambda text: text + BODIES))
    first = proposed(house)
    assert first.due == house.clock() + 7 * DAY
    house.clock.advance(5 * DAY)
    assert proposed(house, effort_days=90).due == first.due
    house.clock.advance(2 * DAY + 1)
    assert ideas.idea(house.engine, "claims-triage").overdue(house.clock())
    later = decided(house, Decision("deferred", "After the summer.", until="2025-09-01"))
    assert later.state == "deferred"
    assert not later.overdue(house.clock())
    house.clock.advance(200 * DAY)
    assert ideas.idea(house.engine, "claims-triage").overdue(house.clock())
    high = proposed(house, id="high", answers={"affects-rights": "yes"})
    assert (high.body, high.due) == ("coe", house.clock() + 5 * DAY)


def test_nobody_decides_about_their_own_idea_nor_without_a_seat_in_its_bodies(house: House) -> None:
    proposed(house, by="sofia.brandt")
    with pytest.raises(Denied, match="nobody decides about their own idea"):
        decided(house, YES)
    proposed(house, by="daniel.moreau", effort_days=90)
    with pytest.raises(Denied, match="their own idea"):  # who proposed it once stays a proposer
        decided(house, YES)
    with pytest.raises(Denied, match=r"portfolio:idea:decide"):
        decided(house, YES, by="victor.lam")
    with pytest.raises(Denied) as refused:
        decided(house, YES, by="ruth.adeyemi")  # the board accepts no use case of tier 1
    assert "idea-decided-by-its-body" in refused.value.controls
    assert not house.events("portfolio.idea.decided")
    with pytest.raises(Denied, match=r"portfolio:idea:propose"):
        proposed(house, by="mara.quinn", id="elsewhere")  # a seat of another domain


def test_of_two_decisions_at_once_one_is_recorded(house: House) -> None:
    seen = proposed(house)
    weigh(house.governor, "sofia.brandt", seen, house.model, YES)
    with pytest.raises(Conflict, match="meanwhile"):
        weigh(house.governor, "sofia.brandt", seen, house.model, NO)
    assert ideas.idea(house.engine, seen.id).state == "taken-up"


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (Decision("perhaps", "Why not."), "no decision"),
        (Decision("taken-up", " "), "needs its reason"),
        (Decision("declined", "Not now."), "condition under which"),
        (Decision("deferred", "Not now."), "needs the day"),
        (Decision("deferred", "Not now.", until="2020-01-01"), "is past"),
        (Decision("deferred", "Not now.", until="2099-01-01"), "more than 366 days"),
    ],
)
def test_a_decision_that_is_not_whole_is_refused(decision: Decision, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        decision.due(1_750_000_000_000_000)


@pytest.mark.parametrize(
    ("edit", "where", "said"),
    [
        (("domain: claims", "domain: moon"), "idea.yaml:4:1 domain", "no domain 'moon'; known: claims, people"),
        (("contracts: []", "contracts: [ghost]"), "idea.yaml:21:13 contracts.0", "no data contract 'ghost'"),
        (("affects-rights", "affects-moon"), "answers.affects-moon", "no such question"),
        (("target: 5", "target: 50"), "idea.yaml:7:1 value", "benefit would be negative"),
        (("low: 3", "low: 5"), "feasibility.technology", "low 5 ≤ score 4"),
        (("effort_days: 140", "effort: 140"), "effort", "unknown key"),
        (("generative: yes", "generative: yes\nafter: [claims-triage]"), "after.0", "the idea itself"),
    ],
)
def test_bad_input_names_the_place_and_what_is_known(
    edit: tuple[str, str], where: str, said: str, house: House
) -> None:
    with pytest.raises(InvalidDocument) as wrong:
        check_idea(parse(TEXT.replace(*edit), "idea.yaml"), house.model, frozenset())
    assert where in wrong.value.message
    assert said in wrong.value.message


def test_the_draft_of_an_idea_that_was_taken_up_is_a_use_case_that_can_be_planned(house: House) -> None:
    proposed(house, title='Claims: "triage" # 1', purpose="Sorts claims: {all} of them, 100 %.")
    with pytest.raises(Conflict, match="is proposed"):
        planning.draft(held(house), ideas.idea(house.engine, "claims-triage"))
    text = planning.draft(held(house), decided(house, YES))
    made = check_use_case(parse(text, "use-case.yaml"), house.model, frozenset())
    assert (made.id, made.title, made.owner, made.effort_days) == (
        "claims-triage", 'Claims: "triage" # 1', "daniel.moreau", 140,
    )  # fmt: skip


def test_an_idea_is_ranked_balanced_and_chosen_within_the_operating_models_limits(house: House) -> None:
    house.apply(house.model_file(lambda text: text + PORTFOLIO))
    proposed(house)
    proposed(house, id="claims-router", title="Claims routing", effort_days=60, excludes=["nothing-here"])
    table = held(house)
    assert [r.proposal.id for r in table.ranking] == ["claims-router", "claims-triage"]  # a tie, by name
    chosen = planning.choose(table, Setting(hard=False))
    assert [c.id for c in chosen.selected.chosen] == ["claims-router"] or chosen.selected.value > 0
    assert len(chosen.selected.chosen) == 1  # one of tier 1, says the appetite
    assert limits_of(house.model).hard
    assert not planning.choose(table, Setting()).selected.chosen  # augmentation alone is not within 10 % of its limit
    with pytest.raises(InvalidInput, match="nobody says what there is"):
        limits_of(replace(house.model, sections={}))
    one, other, difference = planning.what_if(table, Setting(hard=False), Setting(days=50, hard=False))
    assert (len(one.selected.chosen), len(other.selected.chosen), len(difference.falls)) == (1, 0, 1)
    trap = table.trap(open_too=True)
    assert (trap.generative_permille, trap.unnamed, trap.sprung) == (1000, ("claims-router", "claims-triage"), False)
    assert not table.buckets()[1].count  # nothing was taken up yet
    assert table.buckets(open_too=True)[1].count == 2
    decided(house, YES)
    assert held(house).buckets()[1].days == 140
    assert planning.choose(held(house), Setting(hard=False)).limits.days == 10


def test_an_idea_is_compared_with_use_cases_and_counted_once_it_became_one(house: House) -> None:
    house.accepted()
    twin = file(
        id="hr-bot", title="HR assistant for the policy", purpose="Answers employees' questions about the handbook."
    )
    found = planning.like(house.engine, held(house), twin)
    assert found[0].subject == "usecase/hr-policy-assistant"
    assert "handbook" in found[0].shared
    proposed(house, by="mara.quinn", id="hr-policy-assistant", domain="people")
    assert [p.subject for p in held(house).pool.committed] == ["usecase/hr-policy-assistant"]
    assert held(house).pool.open == ()


def test_movement_over_the_matrix_is_told_by_the_window(house: House) -> None:
    subject = house.accepted()
    house.clock.advance(40 * DAY)
    house.accepted(house.use_case(answers={"affects-rights": "yes"}))
    cases = held(house).cases
    (month,) = planning.movement(house.engine, cases, house.clock(), 30)
    assert (month.case.subject, month.before, month.tier_before) == (subject, ("low", "assistive"), 1)
    (quarter,) = planning.movement(house.engine, cases, house.clock(), 90)
    assert (quarter.before, quarter.tier_before) == (("", ""), 0)
    house.clock.advance(31 * DAY)
    assert planning.movement(house.engine, cases, house.clock(), 30) == []
    house.sound()


def test_use_cases_carry_effort_contracts_and_whether_they_are_generative(house: House) -> None:
    made = house.use_case(effort_days=33, generative="no")
    data = [{**made.data[0].model_dump(), "contract": "handbook"}]
    house.propose(house.use_case(effort_days=33, generative="no", data=data))
    (found,) = held(house).pool.committed
    assert (found.effort_days, found.generative, found.contracts) == (33, False, ("handbook",))
    assert found.feasibility.mid == 800
    text = "kind: use-case\n"
    with pytest.raises(InvalidDocument):
        check_use_case(parse(text, "use-case.yaml"), house.model)
    wrong = Document("u", {**house.use_case(data=data).plain()})
    with pytest.raises(InvalidDocument, match="no data contract 'handbook'"):
        check_use_case(wrong, house.model, frozenset())


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("value: 40", "value: 50"), "the weights sum to 110, not to 100"),
        (("efficiency: 50", "efficiency: 60"), "targets sum to 110"),
        (("claims: {person_days", "moon: {person_days"), "no domain 'moon'"),
        (("{person_days: 150", "{person_days: -1"), "greater than or equal to 0"),
        (("  - {impact: high, autonomy: autonomous, tier: 4}\n", ""), "no cell for high × autonomous"),
    ],
)
def test_an_operating_model_that_cannot_be_weighed_with_is_refused(
    edit: tuple[str, str], said: str, house: House
) -> None:
    with pytest.raises(InvalidDocument) as wrong:
        house.model_file(lambda text: (text + PORTFOLIO).replace(*edit))
    assert said in wrong.value.message


def test_ideas_and_placements_can_be_rebuilt_from_the_ledger(house: House) -> None:
    house.accepted()
    proposed(house)
    with house.engine.begin() as connection:
        connection.execute(delete(tables.placement))
        connection.execute(delete(tables.idea))
        house.ledger.projector.rebuild(connection)
    house.sound()


def test_the_wait_of_an_idea_is_folded_from_its_events(house: House) -> None:
    proposed(house)
    proposed(house, effort_days=90)
    house.clock.advance(3 * DAY)
    decided(house, YES)
    with house.engine.connect() as connection:
        rows = connection.execute(
            select(wait).where(wait.c.stream == "idea/claims-triage").order_by(wait.c.place)
        ).all()
    assert [(r.step, r.body, r.domain) for r in rows] == [("idea", "domain", "claims"), ("tier", "domain", "claims")]
    assert rows[0].ended - rows[0].began == 3 * DAY
    assert rows[1].ended == 0
    house.sound()
