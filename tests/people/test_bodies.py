"""Bodies: what is handed over, who must have shown what, and what happens when nobody answers for a use case."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bedplate.document import InvalidDocument
from bedplate.errors import Denied, InvalidInput
from bedplate.incidents.actions import Happening, open_incident
from bedplate.incidents.clock import DUE
from bedplate.incidents.escalation import EVERY, Escalation
from bedplate.incidents.ladder import OWNER
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY, rfc3339
from bedplate.kernel.standing import Rung
from bedplate.people.actions import train
from bedplate.people.owners import vacant
from bedplate.people.raci import DECISIONS, Subject, raci
from bedplate.people.roll import by_person, competence_of_all, handed_over, structures
from bedplate.people.views import trainings
from bedplate.releases.actions import go_live

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import House

    from bedplate.kernel.standing import Standing

LITERACY = """competences:
  - {id: ai-literacy, name: AI literacy, valid_days: 365, needed_by: SEATS, tiers: [1, 4]}
""".replace("SEATS", "[board.*, domain.approver, domain.owner]")
OWNERS = LITERACY.replace("board.*, domain.approver, ", "")


def added(section: str) -> Callable[[str], str]:
    return lambda text: f"{text}\n{section}"


def delegation(house: House, days: int, tier: int = 1, what: str = "release") -> str:
    until = rfc3339(house.clock() + days * DAY)[:10]
    return (
        f"delegations:\n  - {{id: d1, tier: {tier}, what: [{what}], from_body: coe, to_body: domain, "
        f"until: {until}, why: 'the queue is long'}}\n"
    )


def complaints(house: House, section: str) -> list[str]:
    with pytest.raises(InvalidDocument) as wrong:
        house.model_file(added(section))
    return [c.message for c in wrong.value.complaints]


def test_what_is_delegated_is_decided_by_the_domain_until_its_day_is_over(house: House) -> None:
    subject = house.accepted(house.tier(2))
    digest, number = house.built(subject)
    first = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    assert [s.body for s in house.approval(first).stages] == ["coe"]
    house.apply(house.model_file(added(delegation(house, 3, tier=2))))
    second = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    assert [(s.body, s.decides) for s in house.approval(second).stages] == [("domain", "ownership")]
    assert house.approval(first).state == "voided"
    house.clock.advance(5 * DAY)
    third = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    assert [s.body for s in house.approval(third).stages] == ["coe"], "time-boxed"
    house.sound()


def test_an_approval_of_a_delegate_does_not_outlive_the_delegation(house: House) -> None:
    subject = house.accepted(house.tier(2))
    digest, number = house.built(subject)
    house.apply(house.model_file(added(delegation(house, 1, tier=2))))
    asked = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    house.clock.advance(3 * DAY)
    house.governor.vote("hanna.osei", asked, yes=True, reason="")
    again = house.asked(lambda: house.governor.carry_out(house.approval(asked)))
    assert [s.body for s in house.approval(again).stages] == ["coe"]
    assert house.standing(subject).stage == "accepted"


def test_a_vote_needs_what_the_seat_asks_for(house: House) -> None:
    house.apply(house.model_file(added(LITERACY)))
    asked = house.propose()
    with pytest.raises(Denied) as denied:
        house.vote("hanna.osei", asked)
    assert denied.value.controls == ("competent",)
    assert "no record shows it: AI literacy" in denied.value.message
    assert denied.value.hint == "have it recorded: bedplate people train hanna.osei ai-literacy"
    train(house.governor, "priya.raman", "hanna.osei", "ai-literacy", at=house.clock(), evidence="course 4, passed")
    house.clock.advance(365 * DAY)
    late = house.propose()
    with pytest.raises(Denied, match="it lapsed"):
        house.vote("hanna.osei", late)
    train(house.governor, "priya.raman", "hanna.osei", "ai-literacy", at=house.clock(), evidence="course 5, passed")
    assert house.vote("hanna.osei", late).state == "granted"
    house.sound()


def test_a_change_of_the_operating_model_asks_for_the_highest_tiers_competence(house: House) -> None:
    house.apply(house.model_file(added(LITERACY)))
    with pytest.raises(Denied, match=r"ruth\.adeyemi may not decide about tier 4 as board\.chair"):
        house.apply(house.model_file())


@pytest.mark.parametrize(
    ("by", "person", "what", "days", "why"),
    [
        ("priya.raman", "priya.raman", "ai-literacy", 0, "nobody records their own training"),
        ("priya.raman", "nobody.known", "ai-literacy", 0, "nobody in the operating model"),
        ("priya.raman", "hanna.osei", "juggling", 0, "no competence juggling is declared"),
        ("priya.raman", "hanna.osei", "ai-literacy", 1, "a day that has not come"),
        ("leo.fischer", "hanna.osei", "ai-literacy", 0, "people:training:record"),
    ],
)
def test_training_is_recorded_by_whoever_may_about_what_is_known(
    house: House, by: str, person: str, what: str, days: int, why: str
) -> None:
    house.apply(house.model_file(added(LITERACY)))
    with pytest.raises(Denied, match=why):
        train(house.governor, by, person, what, at=house.clock() + days * DAY, evidence="seen")
    assert trainings(house.engine) == []


def test_training_without_evidence_is_none(house: House) -> None:
    with pytest.raises(InvalidInput, match="needs its evidence"):
        train(house.governor, "priya.raman", "hanna.osei", "ai-literacy", at=house.clock(), evidence=" ")


def owner_of(house: House, subject: str) -> tuple[str, str] | None:
    standing: Standing = house.standing(subject)
    return vacant(house.model, standing, None, house.clock())


def test_an_owner_who_leaves_starts_a_clock_and_then_the_use_case_steps_down(house: House) -> None:
    subject = house.live()
    assert owner_of(house, subject) is None
    house.apply(house.model_file(lambda text: text.replace("[domain.owner@people]", "[domain.sponsor@people]")))
    gone = owner_of(house, subject)
    assert gone == ("owner/absent", "mara.quinn holds no owner's seat in people any more")
    open_incident(house.governor, SYSTEM, Happening(subject, gone[1], gone[0], OWNER, b"{}"))
    assert house.standing(subject).rung is Rung.ACT, "nothing went wrong yet"
    house.clock.advance(DUE[OWNER] + EVERY)
    assert Escalation(house.engine, house.governor).round() == 1
    assert house.standing(subject).rung is Rung.PROPOSE


def test_an_owner_whose_competence_lapsed_is_as_good_as_gone(house: House) -> None:
    subject = house.live()
    house.apply(house.model_file(added(OWNERS)))
    assert owner_of(house, subject) == (
        "owner/ai-literacy",
        "mara.quinn, who owns it, lacks a competence: no record shows it: AI literacy",
    )
    house.apply(house.model_file(lambda text: re.sub(r"(?s)  - id: mara.quinn.*?(?=  - id: gwen)", "", text)))
    assert owner_of(house, subject) == (
        "owner/absent",
        "mara.quinn, who owns it, is nobody in the operating model any more",
    )


def test_the_chart_is_what_is_enforced(house: House) -> None:
    subject = house.accepted(house.tier(3))
    standing = house.standing(subject)
    declared = house.governor.catalogue.actions
    lines = {x.action: x for x in raci(house.model, declared.values(), Subject(3, "people", standing.owner), 0)}
    assert set(lines) == {name for name, _ in DECISIONS} <= set(declared)
    release = lines["releases.golive"]
    assert release.responsible == house.model.authority.who("releases:release:build", "people")
    assert release.accountable == ("jonas.weber", "priya.raman", "ruth.adeyemi", "tomas.lindgren")
    assert release.rule.endswith("1 of coe (technical) and 1 of board (business-risk)")
    assert lines["incidents.close"].accountable == ("mara.quinn",)
    digest, number = house.built(subject)
    asked = house.approval(house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number)))
    may = {p for s in asked.stages for p in house.model.authority.voters(s, "people")}
    assert may == set(release.accountable), "who may really vote"


def test_the_roll_says_who_sits_where_and_what_is_handed_over(house: House) -> None:
    sections = f"""bodies:
  board: {{mandate: 'decides about policy and business risk', decides_within_days: 14}}
{LITERACY}stand_ins:
  - {{id: leave, absent: ruth.adeyemi, person: hanna.osei, since: '2026-01-01', until: '2026-01-02', why: leave}}
conflicts:
  - {{person: tomas.lindgren, about: vendor/acme, why: holds shares}}
{delegation(house, 1, tier=2)}"""
    house.apply(house.model_file(added(sections)))
    model, now = house.model, house.clock()
    found = {s["id"]: s for s in structures(model, now)}
    assert list(found) == ["board", "coe", "domain/people", "domain/claims"]
    assert found["board"]["decides_within_days"] == 14
    assert [m["person"] for m in found["board"]["members"]] == ["ruth.adeyemi", "tomas.lindgren"]
    assert found["domain/claims"]["voters"] == ["sofia.brandt"]
    handed = handed_over(model, now)
    assert [d["active"] for d in handed["delegations"]] == [True]
    assert [s["active"] for s in handed["stand_ins"]] == [False]
    assert handed["conflicts"][0]["about"] == "vendor/acme"
    shown = competence_of_all(model, by_person([{"person": "hanna.osei", "competence": "ai-literacy", "at": 1}]), now)
    states = {row["person"]: row["state"] for row in shown}
    assert (states["hanna.osei"], states["mara.quinn"]) == ("lapsed", "missing")
    assert "victor.lam" not in states


def handed(name: str, tier: int, what: str, giver: str, taker: str, until: str = "'2027-01-01'") -> str:
    way = f"from_body: {giver}, to_body: {taker}"
    return f"  - {{id: {name}, tier: {tier}, what: [{what}], {way}, until: {until}, why: 'the queue is long'}}\n"


def leave(name: str, absent: str, person: str, since: str = "2027-01-01", until: str = "2027-01-09") -> str:
    days = f"since: '{since}', until: '{until}'"
    return f"  - {{id: {name}, absent: {absent}, person: {person}, {days}, why: leave}}\n"


RUTH, TOMAS = "ruth.adeyemi", "tomas.lindgren"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "delegations:\n" + handed("a", 3, "release", "board", "coe") + handed("b", 3, "release", "coe", "domain"),
            "circular: what it hands to the coe, 'b' hands on, and it goes on to the domain; keep one",
        ),
        (
            "delegations:\n" + handed("a", 1, "release", "board", "coe"),
            "the board decides nothing about release in tier 1: nothing to hand over",
        ),
        (
            "delegations:\n" + handed("a", 4, "accept", "coe", "domain"),
            "quorum 2 cannot be reached: 1 people may vote in the domain",
        ),
        (
            "stand_ins:\n" + leave("a", RUTH, TOMAS) + leave("b", TOMAS, RUTH, "2027-01-05", "2027-01-20"),
            "circular: tomas.lindgren for ruth.adeyemi for tomas.lindgren; each of them would be absent, and stand in",
        ),
        ("stand_ins:\n" + leave("a", "leo.fischer", RUTH), "leo.fischer has no vote: nobody needs to stand in"),
        ("stand_ins:\n" + leave("a", RUTH, "no.body"), "'no.body' is nobody of `people`"),
        ("conflicts:\n  - {person: no.body, about: domain/people, why: kin}\n", "'no.body' is nobody of `people`"),
        (
            "conflicts:\n  - {person: mara.quinn, about: domain/moon, why: kin}\n",
            "no domain 'moon'; known: claims, people",
        ),
    ],
)
def test_what_could_not_work_is_refused_with_its_place(house: House, section: str, message: str) -> None:
    assert message in complaints(house, section)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("stand_ins:\n" + leave("a", "x", "x"), "for themselves"),
        ("stand_ins:\n" + leave("a", "x", "y", "2027-02-01"), "before it begins"),
        ("delegations:\n" + handed("a", 1, "release", "coe", "coe"), "cannot hand decisions to itself"),
        ("delegations:\n" + handed("a", 1, "release", "coe", "domain", "soon"), "write it like 2027-01-31"),
    ],
)
def test_what_makes_no_sense_is_refused(house: House, section: str, message: str) -> None:
    assert any(message in c for c in complaints(house, section))


def test_a_body_in_which_nobody_sits_is_named(house: House) -> None:
    with pytest.raises(InvalidDocument) as wrong:
        house.model_file(lambda text: re.sub(r"\[board\.\w+\]", "[audit.reader]", text))
    assert any("nobody sits in the board" in c.message for c in wrong.value.complaints)
