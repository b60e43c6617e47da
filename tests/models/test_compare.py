"""Two runs side by side: what changed, and whether chance explains it."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.models.compare import compare, mcnemar
from bedplate.models.suite import Outcome

CHANGES = st.tuples(st.integers(0, 8), st.integers(0, 8))


def outcome(case: str, *, passed: bool, **more: str) -> Outcome:
    return Outcome(case, passed, "why", tags=(more.pop("tag"),) if "tag" in more else (), **more)  # type: ignore[arg-type]  # texts


def runs(failing: int, passing: int, same: int = 3) -> tuple[list[Outcome], list[Outcome]]:
    names = [(f"f{n}", True, False) for n in range(failing)] + [(f"p{n}", False, True) for n in range(passing)]
    names += [(f"s{n}", True, True) for n in range(same)]
    return [outcome(n, passed=b) for n, b, _ in names], [outcome(n, passed=a) for n, _, a in names]


@given(CHANGES)
def test_mcnemar_counts_the_ways_of_a_fair_coin(changes: tuple[int, int]) -> None:
    """Every sequence of coin tosses is looked at; the formula adds binomial coefficients."""
    failing, passing = changes
    tosses = list(product((0, 1), repeat=failing + passing))
    assert mcnemar(failing, passing) == Fraction(sum(sum(t) >= failing for t in tosses), len(tosses))


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_a_probability_that_falls_with_failures(failing: int, passing: int) -> None:
    p = mcnemar(failing, passing)
    assert 0 < p <= 1
    assert mcnemar(failing + 1, passing) < p


@pytest.mark.parametrize(
    ("failing", "passing", "worse"),
    [(4, 0, False), (5, 0, True), (6, 1, False), (7, 1, True), (0, 9, False), (0, 0, False)],
)
def test_worse_is_what_chance_does_in_fewer_than_one_of_twenty(failing: int, passing: int, worse: bool) -> None:  # noqa: FBT001  a column
    found = compare(*runs(failing, passing))
    assert (len(found.newly_failing), len(found.newly_passing), found.worse) == (failing, passing, worse)
    assert found.shared == failing + passing + 3


def test_a_case_that_must_hold_is_worse_by_itself() -> None:
    before, after = [outcome("a", passed=True, tag="must")], [outcome("a", passed=False, tag="must")]
    found = compare(before, after)
    assert (found.worse, found.must, found.p_millionths) == (True, ("a",), 500_000)
    assert "must hold: a" in found.summary
    assert not compare(after, before).worse


def test_a_case_that_must_hold_and_failed_before_is_not_a_regression() -> None:
    failed = [outcome("a", passed=False, tag="must")]
    assert not compare(failed, failed).worse


def test_other_words_are_a_change_and_no_failure() -> None:
    before = [outcome("a", passed=True, answer="1" * 64), outcome("b", passed=True, answer="2" * 64)]
    after = [outcome("a", passed=True, answer="3" * 64), outcome("b", passed=True, answer="2" * 64)]
    assert compare(before, after).changed == ("a",)


def test_another_case_under_the_same_id_is_not_compared() -> None:
    before = [outcome("a", passed=True, case_digest="1" * 64), outcome("gone", passed=True)]
    after = [outcome("a", passed=False, case_digest="2" * 64), outcome("new", passed=True)]
    found = compare(before, after)
    assert (found.shared, found.newly_failing, found.added, found.removed) == (0, (), ("a", "new"), ("gone",))


def test_results_of_before_cases_were_digested_are_compared_by_id() -> None:
    assert compare([outcome("a", passed=True)], [outcome("a", passed=False, case_digest="2" * 64)]).newly_failing == (
        "a",
    )
