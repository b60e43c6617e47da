"""What months are worth, with intervals, and when a stop rule fires: arithmetic alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bedplate.kernel.clock import DAY
from bedplate.portfolio.benefit import (
    Amount,
    Hypothesis,
    Known,
    StopRule,
    benefit,
    days_of,
    fell_short,
    month_at,
    month_of,
    period,
    quantile,
    series,
    together,
    total,
)

OF = Hypothesis("minutes a question", 20, 5, 400, 60)  # 360,000 cents a month
OCTOBER = month_of("2026-10")
RULE = StopRule(2, 50, "retire")


def at(text: str) -> int:
    return days_of(month_of(text))[0] * DAY


def known(**measures: tuple[int, int, int]) -> Known:
    return Known(measures)


def test_a_measured_level_counts_as_often_as_calls_were_answered_with_students_interval() -> None:
    amount, basis = benefit(OF, Known({"level": (7_500, 240, 3_000)}, calls=390))
    assert basis == "measured"
    assert amount.cents == 12.5 * 390 * 60
    margin = stats.t.ppf(0.975, 239) * 3 / 240**0.5 * 390 * 60
    assert amount.above == amount.below == pytest.approx(margin, abs=1)
    assert amount.sure


def test_a_count_goes_before_calls_and_at_least_those_that_were_measured_happened() -> None:
    assert benefit(OF, known(level=(10_000, 8, 0), count=(100_000, 0, 0)))[0].cents == 10 * 100 * 60
    assert benefit(OF, known(level=(10_000, 8, 0)))[0] == Amount(10 * 8 * 60, bare=10 * 8 * 60)


def test_an_imported_benefit_counts_as_it_is_and_a_loss_below_zero() -> None:
    amount, basis = benefit(OF, known(benefit=(-1_250_500, 100, 4_000), level=(1, 0, 0)))
    assert (amount.cents, basis) == (-125_050, "imported")
    assert amount.below == pytest.approx(stats.t.ppf(0.975, 99) * 400 * 10, abs=1)


def test_calls_alone_are_an_estimate_of_which_only_the_helpful_count() -> None:
    amount, basis = benefit(OF, Known(calls=100, share=(800, 700, 880)))
    assert (amount.cents, amount.low, amount.high, basis) == (72_000, 63_000, 79_200, "estimated")
    assert benefit(OF, Known(calls=100)) == (Amount(90_000, bare=90_000), "estimated")
    assert benefit(OF, Known())[1] == "none"


def test_the_month_of_going_live_is_forecast_by_its_days_and_none_after_its_end() -> None:
    live = at("2026-08") + 15 * DAY
    months = series(OF, {}, live, month_of("2026-10"), at("2026-12") + 1)
    assert [(m.period, m.forecast) for m in months] == [
        ("2026-08", 360_000 * 15 // 31),
        ("2026-09", 360_000),
        ("2026-10", 360_000),
        ("2026-11", 0),
    ]


def test_a_month_that_is_not_over_is_shown_and_not_counted() -> None:
    there = {OCTOBER: known(benefit=(1_000_000, 0, 0)), OCTOBER + 1: known(benefit=(5_000_000, 0, 0))}
    months = series(OF, there, 0, None, at("2026-11") + DAY)
    assert [m.over for m in months] == [True, False]
    assert total(months).realised.cents == 100_000


def test_a_stop_rule_fires_once_enough_whole_months_are_over_and_below() -> None:
    live = at("2026-07") + 3 * DAY
    first = month_at(live) + 1
    there = {month_of("2026-08"): known(benefit=(1_000_000, 0, 0))}
    early = series(OF, there, live, None, at("2026-09") + DAY)
    assert fell_short(RULE, early, first) is None
    late = series(OF, there, live, None, at("2026-10") + DAY)
    found = fell_short(RULE, late, first)
    assert found is not None
    assert (found.realised.cents, found.forecast, found.percent) == (100_000, 720_000, 13)
    enough = {month_of("2026-08"): known(benefit=(3_600_000, 0, 0))}  # exactly half
    assert fell_short(RULE, series(OF, enough, live, None, at("2026-10") + DAY), first) is None


@given(st.integers(2, 5_000))
def test_the_quantile_is_students(n: int) -> None:
    assert quantile(n) == pytest.approx(stats.t.ppf(0.975, n - 1), rel=2e-4)


@given(st.lists(st.tuples(st.integers(-(10**9), 10**9), st.integers(0, 10**8), st.integers(0, 10**8))))
def test_margins_add_as_squares_do_and_never_more_than_they_do(parts: list[tuple[int, int, int]]) -> None:
    found = together(Amount(cents, below, above) for cents, below, above in parts)
    assert found.cents == sum(p[0] for p in parts)
    assert max((p[1] for p in parts), default=0) <= found.below <= sum(p[1] for p in parts)
    assert found.above**2 <= sum(p[2] ** 2 for p in parts) < (found.above + 1) ** 2


@given(st.integers(month_of("1970-01"), month_of("9998-12")))
def test_months_are_read_as_they_are_written(number: int) -> None:
    assert month_of(period(number)) == number
    first, last = days_of(number)
    assert month_at(first * DAY) == month_at(last * DAY + DAY - 1) == number


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "26-10", "2026-1", "2026/10", "", "٢٠٢٦-10", "1969-12"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 2026-10"):
        month_of(text)
