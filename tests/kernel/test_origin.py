"""A pre-approval stands for a vote only while it holds, in its envelope, and by people who could have voted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.approval import Approval, Stage
from bedplate.kernel.authority import Authority, Person, Seat
from bedplate.kernel.decision import Allow, Ask, Case, decide
from bedplate.kernel.origin import made_from, pre_approval, still_owed, unmet
from bedplate.kernel.standing import Rung, Standing
from bedplate.testing import small_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.event import Value

COE, BOARD, DOMAIN = Stage("coe", "technical"), Stage("board", "business-risk"), Stage("domain", "ownership")
OWED = (DOMAIN, COE, BOARD)
GO = Action("test.go", "test:it:go", "Go.", stages=lambda case: still_owed(case, OWED))
SOURCE = Standing("usecase/first", 1, tier=1, stage="live", rung=Rung.ACT)
SIBLING = Standing("usecase/second", 1, "Second", "own", "people", "low", "assistive", 1, "accepted")
LEO = {"leo": Person("leo", "Leo", (Seat("domain", "engineer", "people"),))}
MODEL = replace(small_model(), authority=Authority(LEO, {"test:it:go": ("domain.engineer",)}))
FACTS: Mapping[str, Value] = {"path": "first", "path_version": 1, "path_digest": "d", "deviations": []}
AGREED: list[dict[str, Any]] = [
    {"body": s.body, "decides": s.decides, "quorum": 1, "by": [voter]} for s, voter in zip(OWED, "hjr", strict=True)
]
VERSION: dict[str, Any] = {
    "digest": "d",
    "tier": 2,
    "domain": "people",
    "agreed": AGREED,
    "approval": "approval/1",
    "solo": "no",
    "expires": 2_000,
    "withdrawn": "",
}


def path(**changes: Any) -> Standing:
    return Standing("path/first", facts={"paths.versions": {"1": VERSION | changes}, "paths.source": SOURCE.subject})


def case(*, facts: Mapping[str, Value] = FACTS, origin: Standing | None = None, **changes: Any) -> Case:
    attempt = Attempt(GO, changes.pop("actor", "leo"), "usecase/second", facts)
    known = {"origin": origin or path(), "source": SOURCE}
    return Case(attempt, 1_000, **{"model": MODEL, "standing": SIBLING, **known, **changes})


def test_inside_the_envelope_nobody_is_asked() -> None:
    assert decide(case(), ()) == Allow()
    assert made_from(FACTS) == "; made from the path first, version 1"


ENDED: dict[str, tuple[dict[str, Any], str]] = {
    "deviates": ({"facts": {**FACTS, "deviations": ["budget"]}}, "leaves the path's envelope: budget"),
    "not compared": ({"facts": {k: v for k, v in FACTS.items() if k != "deviations"}}, "not compared"),
    "another version": ({"facts": {**FACTS, "path_version": 2}}, "no pre-approval of version 2"),
    "another content": ({"facts": {**FACTS, "path_digest": "x"}}, "not the one that was agreed to"),
    "higher tier": ({"facts": {**FACTS, "tier": 3}}, "tier 3, and the path's envelope ends at 2"),
    "unknown path": ({"origin": Standing("path/first")}, "no pre-approval"),
    "withdrawn": ({"origin": path(withdrawn="wrong")}, "was withdrawn: wrong"),
    "glass": ({"origin": path(approval="")}, "published without approval"),
    "expired": ({"origin": path(expires=1_000)}, "has expired"),
    "solo": ({"origin": path(solo="yes")}, "posture solo"),
    "retired": ({"source": replace(SOURCE, stage="retired")}, "is retired"),
    "gone": ({"source": None}, "is unknown"),
    "suspended": ({"source": replace(SOURCE, suspended="drill")}, "is suspended: drill"),
    "breach": ({"source": replace(SOURCE, breaches=("i",))}, "an open breach"),
    "lowered": ({"source": replace(SOURCE, rung=Rung.PROPOSE)}, "a lower rung"),
}


@pytest.mark.parametrize(("changes", "why"), ENDED.values(), ids=ENDED)
def test_what_does_not_hold_asks_everybody_and_says_why(changes: dict[str, Any], why: str) -> None:
    verdict = decide(case(**changes), ())
    assert isinstance(verdict, Ask)
    assert verdict.stages == OWED
    assert why in {r.control: r.why for r in verdict.reasons}["pre-approval"]


@given(
    deviations=st.lists(st.text(max_size=5), max_size=2),
    withdrawn=st.sampled_from(["", "wrong"]),
    now=st.integers(0, 4_000),
    stage=st.sampled_from(["live", "retired", "accepted"]),
    suspended=st.sampled_from(["", "drill"]),
    breaches=st.lists(st.just("incident/1"), max_size=1),
    tier=st.integers(0, 4),
    by=st.lists(st.sampled_from(["h", "j", "leo", "own"]), max_size=3),
    quorum=st.integers(1, 3),
    domain=st.sampled_from(["people", "claims"]),
)
def test_no_vote_is_saved_that_the_approvers_could_not_have_given(
    deviations: list[str],
    withdrawn: str,
    now: int,
    stage: str,
    suspended: str,
    breaches: list[str],
    tier: int,
    by: list[str],
    quorum: int,
    domain: str,
) -> None:
    owed = (Stage("domain", "ownership", quorum),)
    agreed = [{"body": "domain", "decides": "ownership", "quorum": 1, "by": by}]
    known = case(
        facts={**FACTS, "deviations": deviations},
        origin=path(withdrawn=withdrawn, agreed=agreed),
        standing=replace(SIBLING, tier=tier, domain=domain),
        source=replace(SOURCE, stage=stage, suspended=suspended, breaches=tuple(breaches)),
    )
    left = still_owed(replace(known, now=now), owed)
    sound = not (deviations or withdrawn or suspended or breaches) and stage == "live" and now < VERSION["expires"]
    could = domain == "people" and len(set(by) - {"leo", "own"}) >= quorum
    assert left == (() if sound and 0 < tier <= VERSION["tier"] and could else owed)


def test_another_body_than_those_that_agreed_is_still_asked() -> None:
    verdict = decide(case(origin=path(agreed=AGREED[:1])), ())
    assert isinstance(verdict, Ask)
    assert verdict.stages == (COE, BOARD)
    moving = decide(case(facts={**FACTS, "domain": "claims"}), ())
    assert isinstance(moving, Ask)
    assert moving.stages == (DOMAIN,)


def test_a_use_case_without_a_path_owes_what_it_always_did() -> None:
    plain = case(facts={}, origin=None)
    assert (unmet(plain), still_owed(plain, OWED), made_from({})) == ("", OWED, "")
    assert pre_approval(None, 1) is None
    assert "deviates: a; b" in made_from({**FACTS, "deviations": ["a", "b"]})


def test_an_approval_that_nothing_waits_for_any_more_is_spent() -> None:
    given = case()
    old = Approval("approval/2", "usecase/second", "test.go", given.attempt.digest, "leo", "", "", OWED, 0, 5_000, {})
    assert decide(replace(given, approval=replace(old, state="granted")), ()) == Allow(uses="approval/2")


def test_in_the_posture_solo_one_person_may_hold_every_part() -> None:
    solo = replace(MODEL, authority=replace(MODEL.authority, posture="solo"))
    parts = [{**part, "by": ["leo"]} for part in AGREED]
    assert decide(case(origin=path(agreed=parts, solo="yes"), model=solo), ()) == Allow()
