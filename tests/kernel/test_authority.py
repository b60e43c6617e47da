"""Who may do what, and who may agree: the separation of duties, by properties."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.approval import MAY_DECIDE, Approval, Stage, Vote, fold
from bedplate.kernel.authority import OPERATOR, SYSTEM, Authority, Ballot, Barred, Person, Posture, Seat, ballot
from bedplate.kernel.event import Event, Value

NAMES = ("ann", "bob", "cat", "dan", "eve", "fay", "gus")
SEATS = st.sampled_from(
    [Seat(body, role) for body in ("board", "coe") for role in ("chair", "member")]
    + [Seat("domain", role, at) for role in ("owner", "approver", "engineer") for at in ("people", "claims")]
    + [Seat("audit", "reader")]
)
PEOPLE = st.fixed_dictionaries({name: st.lists(SEATS, max_size=3).map(tuple) for name in NAMES}).map(
    lambda seats: {name: Person(name, name.title(), held) for name, held in seats.items()}
)
STAGES = st.lists(
    st.builds(
        Stage,
        st.shared(st.sampled_from(["board", "coe", "domain"]), key="body"),
        st.shared(st.sampled_from(["board", "coe", "domain"]), key="body").map(lambda b: min(MAY_DECIDE[b])),
        st.integers(1, 2),
    )
    | st.sampled_from([Stage("coe", "technical"), Stage("board", "business-risk", 2), Stage("domain", "ownership")]),
    min_size=1,
    max_size=3,
).map(tuple)


def question(stages: tuple[Stage, ...], **changes: object) -> Approval:
    made = Approval("approval/1", "usecase/one", "test.do", "d", "ann", "bob", "people", stages, 0, 10, {})
    return replace(made, **changes)  # type: ignore[arg-type]  # a test's own shorthand


def voted(approval: Approval, who: str, cast: Ballot) -> Approval:
    data: dict[str, Value] = {"stage": cast.stage, "seat": str(cast.seat), "answer": "yes", "reason": "", "solo": "no"}
    after = fold(approval, Event(0, "i", "kernel.approval.voted", approval.id, 2, 1, who, data))
    assert after is not None
    return after


@given(PEOPLE, STAGES, st.lists(st.sampled_from(NAMES), max_size=14), st.sampled_from(NAMES))
def test_votes_are_separated(people: dict[str, Person], stages: tuple[Stage, ...], order: list[str], now: str) -> None:
    authority, approval = Authority(people, {}), question(stages, facts={"owner": "cat"})
    for who in order:
        cast = ballot(authority, approval, who, owner=now)
        if isinstance(cast, Ballot):
            assert who not in {approval.requester, approval.owner, "cat", now}
            assert not cast.solo
            assert who not in {v.person for v in approval.votes}
            stage = approval.stages[cast.stage]
            assert cast.seat in people[who].seats
            assert cast.seat.body == stage.body
            assert cast.seat.body != "domain" or (cast.seat.domain, cast.seat.role) == ("people", "approver")
            approval = voted(approval, who, cast)
        else:
            assert cast.reason
            assert cast.fix.startswith(("who can:", "ask somebody else"))
    for index, stage in enumerate(stages):
        distinct = {v.person for v in approval.votes if v.stage == index}
        assert (len(distinct) >= stage.quorum) == (index not in {i for i, _, _ in approval.missing()})
    assert len({v.person for v in approval.votes}) == len(approval.votes)


@given(PEOPLE, STAGES, st.lists(st.sampled_from(NAMES), min_size=1, max_size=14))
def test_solo_waives_in_sight(people: dict[str, Person], stages: tuple[Stage, ...], order: list[str]) -> None:
    authority, approval = Authority(people, {}, "solo"), question(stages)
    for who in order:
        cast = ballot(authority, approval, who)
        if isinstance(cast, Ballot):
            waived = who in {"ann", "bob"} or who in {v.person for v in approval.votes}
            assert cast.solo == waived
            assert cast.seat.body == approval.stages[cast.stage].body, "solo waives who, never which body"
            approval = voted(approval, who, cast)
    for index, stage in enumerate(stages):
        assert len({v.person for v in approval.votes if v.stage == index}) <= stage.quorum


def test_the_centre_of_excellence_never_takes_a_business_risk_decision() -> None:
    assert {body: sorted(kinds) for body, kinds in MAY_DECIDE.items()} == {
        "board": ["business-risk", "policy"],
        "coe": ["technical"],
        "domain": ["ownership"],
    }
    coe = Authority({"cat": Person("cat", "Cat", (Seat("coe", "chair"),))}, {})
    for decides in ("policy", "business-risk"):
        assert isinstance(ballot(coe, question((Stage("board", decides),)), "cat"), Barred)


def test_whoever_is_barred_is_told_who_can() -> None:
    people = {
        "cat": Person("cat", "Cat", (Seat("coe", "chair"),)),
        "ann": Person("ann", "Ann", (Seat("coe", "member"),)),
    }
    authority, approval = Authority(people, {}), question((Stage("coe", "technical", 2),))
    barred = ballot(authority, approval, "ann")
    assert isinstance(barred, Barred)
    assert (barred.reason, barred.fix) == (
        "ann asked for this; nobody approves their own request",
        "ask somebody else of the body: who can: cat",
    )
    once = voted(approval, "cat", Ballot(0, Seat("coe", "chair"), solo=False))
    again = ballot(authority, once, "cat")
    assert isinstance(again, Barred)
    assert again.reason == "cat has voted already; stages need distinct people"
    assert "nobody yet" in again.fix
    assert isinstance(ballot(replace(authority, posture="solo"), once, "cat"), Barred), "a quorum is distinct people"


PATTERNS = {
    "coe.*": {"coe.chair", "coe.member"},
    "coe.chair": {"coe.chair"},
    "domain.owner": {"domain.owner@people"},
    "domain.*": {"domain.owner@people", "domain.approver@people"},
    "operator": set(),
    "system": set(),
}


@given(st.sampled_from(sorted(PATTERNS)), st.sampled_from(["people", ""]))
def test_a_rule_lets_through_the_seats_it_names_in_their_own_domain(pattern: str, domain: str) -> None:
    seats = [Seat("coe", "chair"), Seat("coe", "member"), Seat("board", "chair"), Seat("domain", "owner", "people")]
    seats += [Seat("domain", "approver", "people"), Seat("domain", "owner", "claims")]
    people = {str(seat): Person(str(seat), "x", (seat,)) for seat in seats}
    authority = Authority(people, {"a:b:c": (pattern,)})
    expected = {s for s in PATTERNS[pattern] if domain or not s.startswith("domain")}
    assert set(authority.who("a:b:c", domain)) == expected
    assert authority.allowed(OPERATOR, "a:b:c", domain) == (pattern == "operator")
    assert authority.allowed(SYSTEM, "a:b:c", domain) == (pattern == "system")
    assert not authority.allowed("stranger", "a:b:c", domain)
    assert not authority.who("other:b:c", domain)


def test_a_seat_votes_in_its_own_body_and_domain_only() -> None:
    held = (Seat("audit", "reader"), Seat("domain", "owner", "people"), Seat("domain", "approver", "claims"))
    authority = Authority({"ann": Person("ann", "Ann", (*held, Seat("board", "member")))}, {})
    assert authority.seat_for("ann", Stage("domain", "ownership"), "people") is None
    assert authority.seat_for("ann", Stage("domain", "ownership"), "claims") == held[2]
    assert authority.seat_for("ann", Stage("coe", "technical"), "people") is None
    assert authority.voters(Stage("board", "policy"), "") == ("ann",)
    assert authority.seat_for("nobody", Stage("board", "policy"), "") is None
    assert str(held[1]) == "domain.owner@people"
    assert set(get_args(Posture)) == {"standard", "solo"}


def test_a_vote_stands_whatever_becomes_of_its_voter() -> None:
    """The fold never looks at who holds a seat now."""
    approval = voted(question((Stage("coe", "technical"),)), "cat", Ballot(0, Seat("coe", "chair"), solo=False))
    assert approval.votes == (Vote("cat", 0, "coe.chair", yes=True, reason="", at=1),)
    assert approval.missing() == ()
