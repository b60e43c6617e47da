"""The decision: it never allows where anything owed fails, raises, is missing or says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.approval import Approval, Stage
from bedplate.kernel.authority import Authority, Person, Seat
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Allow, Ask, Case, Deny, decide
from bedplate.kernel.standing import Rung, Standing
from bedplate.testing import small_model

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = small_model()
ANN = {"ann": Person("ann", "Ann", (Seat("domain", "owner", "people"),))}
STANDING = Standing("usecase/one", 1, "One", "own", "people", "low", "assistive", 1, "live", "r", Rung.ACT)
STAGES = (Stage("board", "policy"),)


def breaks(_case: Case) -> Finding:
    raise RuntimeError


CHECKS: dict[str, Callable[[Case], Any]] = {
    "pass": lambda _: Pass(),
    "fail": lambda _: Fail("wrong", "mend it"),
    "break": breaks,
    "silent": lambda _: None,
    "truth": lambda _: True,
}


def controls(*outcomes: str) -> tuple[Control, ...]:
    return tuple(Control(f"{o}-{n}", "change", "doc", CHECKS[o], canary) for n, o in enumerate(outcomes))


def canary() -> Case:
    return case()


def case(action: Action | None = None, **changes: Any) -> Case:
    authority = Authority(ANN, {"test:it:do": ("domain.owner",)})
    does = action or Action("test.do", "test:it:do", "Do it.")
    attempt = Attempt(does, changes.pop("actor", "ann"), "usecase/one", changes.pop("facts", {}))
    return replace(Case(attempt, 1_000, replace(MODEL, authority=authority), STANDING), **changes)


@given(
    outcomes=st.lists(st.sampled_from(sorted(CHECKS)), max_size=4),
    actor=st.sampled_from(["ann", "bob", "system", "operator", "key/1", ""]),
    phase=st.sampled_from(["release", "call", "act", "change"]),
    standing=st.sampled_from([STANDING, None, replace(STANDING, tier=0), replace(STANDING, domain="claims")]),
    model=st.sampled_from(["in force", None]),
    registered=st.booleans(),
    asks=st.sampled_from(["nobody", "board", "breaks", "none"]),
    usable=st.sampled_from(["none", "granted", "asked", "expired", "other", "spent"]),
    glass=st.booleans(),
)
def test_an_allowance_is_owed_nothing(
    outcomes: list[str],
    actor: str,
    phase: Any,
    standing: Standing | None,
    model: str | None,
    registered: bool,  # noqa: FBT001  drawn by name
    asks: str,
    usable: str,
    glass: bool,  # noqa: FBT001  as above
) -> None:
    def stages(_case: Case) -> tuple[Stage, ...]:
        if asks == "breaks":
            raise KeyError
        return STAGES if asks == "board" else ()

    action = Action("test.do", "test:it:do", "Do.", phase, registered, stages=None if asks == "nobody" else stages)
    stands = replace(standing, glass_until=2_000 if glass else 0) if standing is not None else None
    given_case = case(action, actor=actor, standing=stands)
    if model is None:
        given_case = replace(given_case, model=None)
    approval = Approval(
        "approval/1", "usecase/one", "test.do", given_case.attempt.digest, "x", "y", "people", STAGES, 0, 9_000, {}
    )
    made = {
        "none": None,
        "granted": replace(approval, state="granted"),
        "asked": approval,
        "expired": replace(approval, state="granted", expires=1_000),
        "other": replace(approval, state="granted", digest="other"),
        "spent": replace(approval, state="spent"),
    }[usable]
    verdict = decide(replace(given_case, approval=made), controls(*outcomes))
    if isinstance(verdict, Allow):
        assert set(outcomes) <= {"pass"}
        assert model is not None
        assert asks != "breaks"
        keyed = phase in {"call", "act"} and actor == "key/1"
        at_home = standing is not None and standing.domain == "people"
        assert keyed or (actor == "ann" and at_home)
        assert not registered or (standing is not None and standing.tier)
        if asks == "board":
            assert usable == "granted" or glass
            assert (verdict.uses, verdict.glass) == (("approval/1", False) if usable == "granted" else ("", True))
        assert verdict.controls == tuple(c.name for c in controls(*outcomes))
    else:
        assert verdict.reasons
        assert all(r.control and r.why and r.fix for r in verdict.reasons)
    if isinstance(verdict, Ask):
        assert asks == "board"
        assert set(outcomes) <= {"pass"}
        assert verdict.stages == STAGES


def test_every_control_that_refuses_is_named() -> None:
    verdict = decide(case(), controls("fail", "pass", "break", "silent"))
    assert isinstance(verdict, Deny)
    assert [r.control for r in verdict.reasons] == ["fail-0", "break-2", "silent-3"]
    assert "RuntimeError" in verdict.reasons[1].why


def test_while_nothing_is_in_force_only_founding_and_ones_own_account_are_possible() -> None:
    plain = Action("test.do", "test:it:do", "Do.", registered=False)
    assert isinstance(decide(case(plain, model=None), ()), Deny)
    assert isinstance(decide(case(replace(plain, founding=("*",)), model=None), ()), Allow)
    own = replace(plain, own=True)
    mine, others = Attempt(own, "ann", "person/ann"), Attempt(own, "ann", "person/bob")
    assert isinstance(decide(replace(case(own), attempt=mine, model=None), ()), Allow)
    assert isinstance(decide(replace(case(own), attempt=others, model=None), ()), Deny)
    assert isinstance(decide(replace(case(own), attempt=mine), controls("fail")), Deny)


def test_whoever_may_not_is_told_who_may() -> None:
    verdict = decide(case(actor="bob"), ())
    assert isinstance(verdict, Deny)
    assert "ann" in verdict.reasons[0].fix
    nobody = replace(case(), model=replace(MODEL, authority=Authority(ANN, {})))
    verdict = decide(nobody, ())
    assert isinstance(verdict, Deny)
    assert "nobody" in verdict.reasons[0].fix


def test_an_approval_given_by_other_bodies_than_are_owed_now_is_asked_for_again() -> None:
    asks = Action("test.do", "test:it:do", "Do.", stages=lambda _: (Stage("coe", "technical"),))
    made = case(asks)
    approval = Approval("a", "usecase/one", "test.do", made.attempt.digest, "x", "y", "people", STAGES, 0, 9_000, {})
    granted = replace(approval, state="granted")
    verdict = decide(replace(made, approval=granted), ())
    assert isinstance(verdict, Ask)
    assert "other bodies" in verdict.reasons[0].why
    elsewhere = replace(granted, stages=(Stage("coe", "technical"),), subject="usecase/two")
    assert isinstance(decide(replace(made, approval=elsewhere), ()), Ask)


@pytest.mark.parametrize(
    ("standing", "facts", "domain"),
    [(STANDING, {}, "people"), (None, {"domain": "claims"}, "claims"), (None, {}, ""), (Standing("x"), {}, "")],
)
def test_the_domain_is_the_subjects_or_the_one_a_proposal_names(
    standing: Standing | None, facts: dict[str, str], domain: str
) -> None:
    made = case(standing=standing, facts=facts)
    assert made.domain == domain
    assert (made.plan is None) == (standing is None or not standing.tier)
    assert replace(made, model=None).plan is None


def test_where_nobody_must_agree_it_goes_ahead() -> None:
    for stages in (None, lambda _: ()):
        action = Action("test.do", "test:it:do", "Do.", stages=stages)
        assert decide(case(action), controls("pass", "pass")) == Allow(("pass-0", "pass-1"))


def test_whoever_must_agree_being_unknown_is_a_denial() -> None:
    verdict = decide(case(Action("test.do", "test:it:do", "Do.", stages=breaks)), ())  # type: ignore[arg-type]  # it raises
    assert isinstance(verdict, Deny)
    assert verdict.reasons[0].control == "approvals"
