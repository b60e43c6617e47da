"""Delegations, stand-ins and conflicts of interest: time-boxed, and never more than either party may."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.test_authority import NAMES, PEOPLE, STAGES, question, voted

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.approval import MAY_DECIDE, Stage
from bedplate.kernel.authority import Authority, Ballot, Barred, Interest, Person, Seat, StandIn, ballot
from bedplate.kernel.clock import DAY, day_of
from bedplate.kernel.decision import Case
from bedplate.kernel.governance import interests
from bedplate.kernel.model import Delegation
from bedplate.kernel.standing import Standing
from bedplate.testing import small_model

BOARD = {
    "ann": Person("ann", "Ann", (Seat("board", "chair"),)),
    "bob": Person("bob", "Bob", (Seat("coe", "member"),)),
    "cat": Person("cat", "Cat", (Seat("board", "member"),)),
}
STAND_INS = st.lists(
    st.builds(
        StandIn, st.just("s"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 9), st.integers(1, 12)
    ),
    max_size=4,
).map(tuple)
INTERESTS = st.lists(
    st.builds(
        Interest, st.sampled_from(NAMES), st.sampled_from(["usecase/one", "domain/people", "vendor/x"]), st.just("kin")
    ),
    max_size=3,
).map(tuple)


@given(PEOPLE, STAGES, STAND_INS, INTERESTS, st.lists(st.sampled_from(NAMES), max_size=14), st.integers(0, 12))
def test_nobody_votes_beyond_what_both_may(
    people: dict[str, Person],
    stages: tuple[Stage, ...],
    stand_ins: tuple[StandIn, ...],
    interests: tuple[Interest, ...],
    order: list[str],
    now: int,
) -> None:
    authority = Authority(people, {}, stand_ins=stand_ins, interests=interests)
    approval = question(stages, facts={"owner": "cat"})
    barred = {"ann", "bob", "cat", *(i.person for i in interests)}
    places: list[str] = []
    for who in order:
        cast = ballot(authority, approval, who, now=now, about=frozenset({"vendor/x"}))
        if not isinstance(cast, Ballot):
            continue
        place = cast.absent or who
        assert who not in barred
        assert place not in barred, "a stand-in does not lift what binds the absent"
        assert cast.seat in people[place].seats
        assert place not in places, "each seat's holder counts once"
        if cast.absent:
            assert any(s.absent == place and s.person == who and s.since <= now < s.until for s in stand_ins)
            assert not authority.seat_for(who, stages[cast.stage], "people")
        places.append(place)
        approval = voted(approval, who, replace(cast, seat=Seat(cast.seat.body, cast.place.partition(".")[2])))
    assert len({v.person for v in approval.votes}) == len(approval.votes)


def test_a_stand_in_votes_in_the_place_of_the_absent_and_only_while_it_lasts() -> None:
    authority = Authority(BOARD, {}, stand_ins=(StandIn("leave", "ann", "bob", 5, 9),))
    approval = question((Stage("board", "policy", 2),), requester="dan", owner="eve")
    assert isinstance(ballot(authority, approval, "bob", now=4), Barred)
    assert isinstance(ballot(authority, approval, "bob", now=9), Barred)
    cast = ballot(authority, approval, "bob", now=5)
    assert isinstance(cast, Ballot)
    assert (cast.absent, cast.place) == ("ann", "board.chair for ann")
    after = voted(approval, "bob", replace(cast, seat=Seat("board", "chair for ann")))
    came_back = ballot(authority, after, "ann", now=6)
    assert isinstance(came_back, Barred)
    assert came_back.reason == "somebody voted in ann's place already"
    mine = voted(approval, "ann", Ballot(0, Seat("board", "chair"), solo=False))
    assert isinstance(ballot(authority, mine, "bob", now=6), Barred), "ann has voted herself"


@pytest.mark.parametrize("about", ["usecase/one", "domain/people", "vendor/x"])
def test_a_declared_interest_bars_and_says_why(about: str) -> None:
    authority = Authority(BOARD, {}, interests=(Interest("ann", about, "her brother's firm"),))
    approval = question((Stage("board", "policy"),), requester="dan", owner="eve", facts={"release": "r"})
    standing = Standing("usecase/one").with_facts(kernel__interests={"r": ["vendor/x"], "s": ["vendor/y"]})
    seen = interests(standing, approval)
    assert seen == {"vendor/x"}
    barred = ballot(authority, approval, "ann", about=seen)
    assert isinstance(barred, Barred)
    assert barred.reason == f"ann has declared a conflict of interest about {about}: her brother's firm"
    assert isinstance(ballot(authority, approval, "cat", about=seen), Ballot)
    solo = ballot(replace(authority, posture="solo"), approval, "ann", about=seen)
    assert isinstance(solo, Ballot)
    assert solo.solo, "waived in sight"


def test_what_planes_note_must_be_readable_or_nobody_votes() -> None:
    approval = question((Stage("board", "policy"),), facts={"release": "r"})
    assert interests(None, approval) == frozenset()
    assert interests(Standing("usecase/one").with_facts(kernel__interests={"r": "x"}), approval) == frozenset()
    with pytest.raises(TypeError, match="must be an object"):
        interests(Standing("usecase/one").with_facts(kernel__interests="x"), approval)


DELEGATIONS = st.lists(
    st.builds(
        Delegation,
        st.just("d"),
        st.integers(1, 4),
        st.sets(st.sampled_from(["accept", "release", "resume"]), min_size=1).map(tuple),
        st.sampled_from(["board", "coe"]),
        st.sampled_from(["coe", "domain"]),
        st.integers(0, 10),
    ),
    max_size=3,
).map(tuple)


@given(DELEGATIONS, st.integers(1, 4), st.sampled_from(["accept", "release", "resume"]), st.integers(0, 12))
def test_what_is_handed_over_is_decided_by_the_taker_as_the_takers_own(
    given_: tuple[Delegation, ...], tier: int, what: str, now: int
) -> None:
    model = replace(small_model(), delegations=given_)
    plain, owed = small_model().tiers[tier].approvals[what], model.owed(tier, what, now)
    assert owed, "somebody always decides"
    for stage in owed:
        assert stage.decides in MAY_DECIDE[stage.body], "no body decides what is not its own"
    assert len({(s.body, s.decides) for s in owed}) == len(owed)
    assert max(s.quorum for s in owed) >= max(s.quorum for s in plain)
    if all(d.tier != tier or what not in d.what or now >= d.until for d in given_):
        assert owed == plain


def test_two_stages_that_became_one_body_s_are_one() -> None:
    model = replace(small_model(), delegations=(Delegation("d", 3, ("release",), "board", "coe", 10),))
    assert model.owed(3, "release", 9) == (Stage("coe", "technical"),)
    assert len(model.owed(3, "release", 10)) == 2


def test_a_day_begins_at_midnight_utc() -> None:
    assert day_of("1970-01-02") == DAY
    assert day_of("1970-01-02", after=1) == 2 * DAY
    with pytest.raises(ValueError, match="day"):
        day_of("1970-02-30")


def test_without_a_tier_nobody_is_owed() -> None:
    case = Case(
        Attempt(Action("test.do", "test:it:do", "Do it."), "ann", "usecase/one"),
        0,
        small_model(),
        Standing("usecase/one"),
    )
    with pytest.raises(ValueError, match="nobody to ask"):
        case.owed("release")
    assert case.owed("release", 1) == small_model().tiers[1].approvals["release"]
