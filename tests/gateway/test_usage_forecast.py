"""Where a month leads, and which day is out of the ordinary."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.gateway.anomaly import FLOORS, LEAST, judge, student, threshold
from bedplate.gateway.forecast import Forecast, forecast, month_of, trimmed
from bedplate.gateway.usage import day_of, day_text

MID = day_of("2026-11-15")
DOLLAR = 1_000_000_000
AMOUNTS = st.dictionaries(st.integers(MID - 60, MID), st.integers(0, 10**12))


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        ("2026-11-15", "2026-11-01", "2026-11-30"),
        ("2026-12-31", "2026-12-01", "2026-12-31"),
        ("2028-02-01", "2028-02-01", "2028-02-29"),
    ],
)
def test_a_month_has_its_days(day: str, first: str, last: str) -> None:
    assert tuple(map(day_text, month_of(day_of(day)))) == (first, last)


def test_steady_use_goes_on() -> None:
    found = forecast(dict.fromkeys(range(MID - 28, MID), 100), MID)
    assert (found.so_far, found.expected, found.low, found.high) == (1_400, 3_000, 3_000, 3_000)


def test_weekends_are_expected_as_weekends() -> None:
    used = {day: 10 if day % 7 in {2, 3} else 100 for day in range(MID - 28, MID)}
    found = forecast(used, MID)
    flat = forecast(dict.fromkeys(range(MID - 28, MID), 74), MID)
    rest = [10 if day % 7 in {2, 3} else 100 for day in range(MID, month_of(MID)[1] + 1)]
    halfway = (sum(rest) + flat.expected - flat.so_far) / 2
    assert found.expected - found.so_far == pytest.approx(halfway, rel=0.02)


def test_one_accident_does_not_set_the_expectation() -> None:
    used = {day: 100 + day % 3 for day in range(MID - 28, MID)}
    calm = forecast(used, MID)
    found = forecast(used | {MID - 20: 100_000}, MID)
    assert found.expected == pytest.approx(calm.expected, rel=0.01)


def test_too_few_days_are_no_forecast() -> None:
    found = forecast({MID - 2: 10, MID: 5}, MID)
    assert found == Forecast(15, 15, 15, 15, 2)
    assert not found.judged


@given(AMOUNTS)
def test_a_forecast_is_never_less_than_what_is_used(used: dict[int, int]) -> None:
    found = forecast(used, MID)
    assert found.so_far <= found.low <= found.expected + 1
    assert found.expected <= found.high + 1
    assert found.so_far == sum(n for day, n in used.items() if day >= MID - 14)


def test_a_limit_is_used_up_on_the_day_its_sum_passes_it() -> None:
    used = dict.fromkeys(range(MID - 28, MID), 100)
    assert day_text(forecast(used, MID, limit=2_000).exhausted) == "2026-11-20"
    assert forecast(used, MID, limit=4_000).exhausted == 0
    assert forecast(used, MID, limit=1_000).exhausted == MID


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=28))
def test_trimming_moves_nothing_away_from_the_middle(values: list[int]) -> None:
    for before, after in zip(values, trimmed(values), strict=True):
        assert min(values) <= after <= max(values)
        assert (before - after) * (after - sorted(values)[len(values) // 2]) >= -1e-6 or before == after


def test_the_interval_holds_about_four_times_in_five() -> None:
    rng, held, tries = random.Random(7), 0, 400  # noqa: S311  repeatable
    for _ in range(tries):
        weeks = {
            day: (0.3 if day % 7 in {2, 3} else 1) * math.exp(rng.gauss(0, 0.4)) for day in range(MID - 28, MID + 16)
        }
        true = {day: round(share * DOLLAR) for day, share in weeks.items()}
        found = forecast({day: n for day, n in true.items() if day < MID}, MID)
        held += found.low <= sum(n for day, n in true.items() if day >= MID - 14) <= found.high
    assert 0.7 < held / tries < 0.93


def test_students_t_is_as_in_the_tables() -> None:
    for p, freedom, told in ((0.975, 10, 2.228), (0.999, 20, 3.552), (0.9999, 20, 4.539), (0.995, 30, 2.750)):
        assert student(p, freedom) == pytest.approx(told, rel=0.01)


def test_more_use_cases_are_judged_more_strictly() -> None:
    assert threshold(21, 1) < threshold(21, 10) < threshold(21, 1_000)


def steady(seed: int, noise: float = 0.2, days: int = 28) -> dict[int, int]:
    rng = random.Random(seed)  # noqa: S311  repeatable
    return {day: round(5 * DOLLAR * math.exp(rng.gauss(0, noise))) for day in range(MID - days, MID)}


def test_a_day_of_ten_times_is_an_anomaly() -> None:
    found = judge("cost", steady(1) | {MID: 50 * DOLLAR}, MID, 10)
    assert found is not None
    assert (found.amount, found.days) == (50 * DOLLAR, 28)
    assert found.expected == pytest.approx(5 * DOLLAR, rel=0.3)
    assert found.distance_permille > found.limit_permille


def test_a_day_like_others_is_none() -> None:
    alarms = sum(judge("cost", steady(seed) | {MID: 6 * DOLLAR}, MID, 10) is not None for seed in range(100))
    assert alarms == 0


def test_false_alarms_are_as_rare_as_was_asked_for() -> None:
    """Ten use cases: half an alarm a year for each measure, that is one in 7,300 days; in 3,000 there is hardly any."""
    rng, alarms = random.Random(3), 0  # noqa: S311  repeatable
    for seed in range(3_000):
        amount = round(5 * DOLLAR * math.exp(rng.gauss(0, 0.4)))
        alarms += judge("cost", steady(seed, 0.4) | {MID: amount}, MID, 10) is not None
    assert alarms <= 3


def test_small_amounts_are_never_an_alarm() -> None:
    used = dict.fromkeys(range(MID - 28, MID), 1)
    assert judge("cost", used | {MID: FLOORS["cost"] - 1}, MID, 1) is None
    assert judge("cost", used | {MID: 100 * FLOORS["cost"]}, MID, 1) is not None


def test_a_new_use_case_is_not_judged_yet() -> None:
    used = steady(1, days=LEAST - 1)
    assert judge("cost", used | {MID: 500 * DOLLAR}, MID, 1) is None
    assert judge("cost", steady(1, days=LEAST) | {MID: 500 * DOLLAR}, MID, 1) is not None


def test_an_alarm_stays_one_while_the_day_grows() -> None:
    used = steady(2)
    seen = [judge("cost", used | {MID: n * DOLLAR}, MID, 10) is not None for n in range(1, 60)]
    assert seen == sorted(seen)
    assert seen[-1]
