"""A day on which a use case used far more than it does: rare enough to be worth a person's time.

Method: the logarithms of the last 28 complete days, a day of less than the floor counting as the floor, and each
weekday's mean as its level where there are three of it. What is used today is compared with its level; the distance,
in deviations of what the levels leave over (at least 0.2) times the root of 1 + 1/m for a level made of m days, with
the quantile of Student's t for as many degrees of freedom as days less levels. The quantile is that of a budget of
false alarms: one a year over all use cases and both measures, that is 1 / (365 × 2 × use cases) each. Beside that, the
day must reach twice its level. A day is judged while it runs: it only grows, so what is an alarm stays one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist, fmean
from typing import TYPE_CHECKING

from .forecast import WEEK

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW, LEAST = 28, 14  # days looked at, and the fewest that allow a judgement
OF_WEEKDAY = 3  # days of a weekday that give it a level of its own
LEAST_SPREAD = 0.2  # of a logarithm: of steady use not every fifth more is an alarm
TIMES = 2  # what is expected
ALARMS_A_YEAR = 1.0
YEAR = 365
FLOORS: Mapping[str, int] = {"cost": 1_000_000_000, "tokens": 200_000}  # a day: below, nobody needs to look


@dataclass(frozen=True, slots=True)
class Anomaly:
    """What was seen: nano-US-dollars or tokens of the day, what was expected, and the distance in permille."""

    measure: str
    amount: int
    expected: int
    distance_permille: int
    limit_permille: int
    days: int


def judge(measure: str, used: Mapping[int, int], today: int, use_cases: int) -> Anomaly | None:
    """Judge what was used today so far by the days before it; None if it is nothing out of the ordinary.

    `used` maps days (since the epoch) to amounts. With fewer than 14 complete days since the first use nothing is
    judged: budgets stand before that.
    """
    begun = min((day for day in used if day < today), default=today)
    past, floor = range(max(begun, today - WINDOW), today), FLOORS[measure]
    amount = used.get(today, 0)
    if len(past) < LEAST or amount < floor:
        return None
    logs = {day: log(max(used.get(day, 0), floor)) for day in past}
    levels = _levels(logs)
    left = sum((value - levels[day % WEEK][0]) ** 2 for day, value in logs.items())
    freedom = len(past) - len(set(levels))
    level, made_of = levels[today % WEEK]
    spread = max(sqrt(left / freedom), LEAST_SPREAD) * sqrt(1 + 1 / made_of)
    distance, limit = (log(amount) - level) / spread, threshold(freedom, use_cases)
    if distance <= limit or amount < TIMES * exp(level):
        return None
    return Anomaly(measure, amount, round(exp(level)), round(distance * 1000), round(limit * 1000), len(past))


def threshold(freedom: int, use_cases: int) -> float:
    """Return the distance that is passed by chance once a year over all use cases and measures."""
    return student(1 - ALARMS_A_YEAR / (YEAR * len(FLOORS) * max(use_cases, 1)), freedom)


def student(p: float, freedom: int) -> float:
    """Return a far quantile of Student's t, to about a percent (Hill 1970, Algorithm 396, its leading terms)."""
    z = NormalDist().inv_cdf(p)
    a = freedom - 0.5
    b = 48 * a * a
    t = z * (1 + (z * z + 3) / b - (4 * z**6 + 33 * z**4 + 240 * z * z + 855) / (10 * b * (b + 0.8 * z**4 + 100)))
    return sqrt(freedom * (exp(t * t / a) - 1))


def _levels(logs: Mapping[int, float]) -> list[tuple[float, int]]:
    """Return each weekday's level and the days it is made of."""
    every = (fmean(logs.values()), len(logs))
    found = []
    for weekday in range(WEEK):
        own = [value for day, value in logs.items() if day % WEEK == weekday]
        found.append((fmean(own), len(own)) if len(own) >= OF_WEEKDAY else every)
    return found
