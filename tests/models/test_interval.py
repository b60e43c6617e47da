"""Wilson's interval against the exact roots of its quadratic, and how many cases a bound needs."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor, isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.models.interval import SCALE, Z_SQUARED, cases_needed, weighted, wilson

COUNTS = st.integers(1, 600).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
WEIGHTS = st.lists(st.tuples(st.integers(1, 100), st.booleans()), min_size=1, max_size=40)
FINE = 10**30


def root(value: Fraction) -> Fraction:
    """A square root to thirty digits, from below."""
    return Fraction(isqrt(value.numerator * value.denominator * FINE**2), value.denominator * FINE)


def slowly(passed: Fraction, total: Fraction) -> tuple[Fraction, Fraction]:
    """The two p with (p̂ - p)² = z²·p·(1 - p)/n, as the quadratic (1 + z²/n)·p² - (2p̂ + z²/n)·p + p̂² = 0 gives them."""
    share, step = passed / total, Fraction(Z_SQUARED, SCALE) / total
    a, b, c = 1 + step, -(2 * share + step), share * share
    spread = root(b * b - 4 * a * c)
    return (-b - spread) / (2 * a), (-b + spread) / (2 * a)


def agrees(found: tuple[int, int], exact: tuple[Fraction, Fraction]) -> bool:
    """Rounded outwards, by at most one where the exact bound is a whole permille or nought."""
    low, high = 1000 * exact[0], 1000 * exact[1]
    return (
        floor(low) - 1 <= found[0] <= low + Fraction(1, FINE)
        and high - Fraction(1, 10**20) <= found[1] <= ceil(high) + 1
    )


@given(COUNTS)
def test_the_bounds_are_the_roots_of_wilsons_quadratic_rounded_outwards(counts: tuple[int, int]) -> None:
    passed, total = counts
    assert agrees(wilson(passed, total), slowly(Fraction(passed), Fraction(total)))


@given(COUNTS)
def test_what_fails_has_the_mirrored_interval(counts: tuple[int, int]) -> None:
    passed, total = counts
    low, high = wilson(passed, total)
    assert wilson(total - passed, total) == (1000 - high, 1000 - low)
    assert 0 <= low <= 1000 * passed // total <= high <= 1000


@given(WEIGHTS)
def test_weights_count_as_kishs_effective_number_of_cases(rows: list[tuple[int, bool]]) -> None:
    held = sum(w for w, passed in rows if passed)
    weight, squares = sum(w for w, _ in rows), sum(w * w for w, _ in rows)
    effective = Fraction(weight * weight, squares)
    found = weighted(held, weight - held, squares)
    assert agrees(found, slowly(effective * held / weight, effective))


@given(WEIGHTS, st.integers(2, 9))
def test_the_unit_of_weight_does_not_matter(rows: list[tuple[int, bool]], times: int) -> None:
    def bounds(factor: int) -> tuple[int, int]:
        held = sum(factor * w for w, passed in rows if passed)
        failed = sum(factor * w for w, passed in rows if not passed)
        return weighted(held, failed, sum(factor * factor * w * w for w, _ in rows))

    assert bounds(1) == bounds(times)


def test_of_nothing_nothing_is_known() -> None:
    assert wilson(0, 0) == (0, 1000)


@given(st.integers(1, 99), st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_so_many_cases_reach_the_bound_and_one_fewer_does_not(percent: int, share: tuple[int, int]) -> None:
    passed, total = share
    needed = cases_needed(passed, total, percent)
    if not needed:
        assert 100 * passed <= percent * total
        return
    wanted = Fraction(percent, 100)
    part = Fraction(passed, total)
    assert slowly(part * needed, Fraction(needed))[0] >= wanted - Fraction(1, 10**9)
    assert needed == 1 or slowly(part * (needed - 1), Fraction(needed - 1))[0] < wanted


@pytest.mark.parametrize(
    ("passed", "total", "percent", "needed"), [(26, 26, 95, 73), (26, 26, 80, 16), (23, 26, 75, 40)]
)
def test_how_many_is_what_the_message_says(passed: int, total: int, percent: int, needed: int) -> None:
    assert cases_needed(passed, total, percent) == needed
