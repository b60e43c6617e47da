"""What a use case will have used by the end of the month, from the days it has behind it.

Method: the last 28 complete days since its first use, days without use being nought. Days further than three robust
deviations (1.4826 × the median distance) from the median count as that far away, so that one accident does not set the
expectation. With two weeks or more, each day to come is expected to be as the mean of its weekday, drawn half-way to
the mean of all; with less, as the mean of all. The interval is of 80 %: 1.28 × the deviation of what is left over,
times √(k + k²/n) for k days to come after n days behind. It says nothing about plans, launches or prices to come.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median
from typing import TYPE_CHECKING

from bedplate.kernel.clock import DAY, EPOCH, MICROSECOND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WINDOW, WEEK = 28, 7  # days
LEAST, LEAST_WEEKLY = 3, 14  # complete days for an expectation, and for one by weekday
FAR = 3.0  # robust deviations
MAD = 1.4826  # makes the median distance of a normal distribution its deviation
Z80 = 1.2816
MONTHS = 12


@dataclass(frozen=True, slots=True)
class Forecast:
    """By the end of the month, in whatever unit the days had; `low` to `high` holds it four times in five.

    `days` are the complete days it is made of; with fewer than three there is no expectation, and all are what is used
    so far. `exhausted` is the day (since the epoch) on which a limit is expected to be used up; 0: not this month.
    """

    so_far: int
    expected: int
    low: int
    high: int
    days: int
    exhausted: int = 0

    @property
    def judged(self) -> bool:
        """Whether there is an expectation at all."""
        return self.days >= LEAST


def forecast(used: Mapping[int, int], today: int, *, limit: int = 0) -> Forecast:
    """Forecast to the end of the month of `today` from what was used on each day (since the epoch); limit 0: none."""
    first, last = month_of(today)
    so_far = sum(amount for day, amount in used.items() if first <= day <= today)
    begun = min((day for day in used if day < today), default=today)
    past = range(max(begun, today - WINDOW), today)
    if len(past) < LEAST:
        return Forecast(so_far, so_far, so_far, so_far, len(past), today if limit and so_far >= limit else 0)
    values = trimmed([used.get(day, 0) for day in past])
    expectation = _weekly(values, past) if len(past) >= LEAST_WEEKLY else [fmean(values)] * WEEK
    spread = _spread(values, past, expectation)
    to_come = list(range(today, last + 1))
    rest = [max(expectation[day % WEEK], float(used.get(day, 0))) for day in to_come]  # today is not over
    before = so_far - used.get(today, 0)
    expected = before + sum(rest)
    ahead = len(to_come)
    margin = Z80 * spread * sqrt(ahead + ahead**2 / len(past))
    exhausted, reached = 0, float(before)
    for day, amount in zip(to_come, rest, strict=True):
        reached += amount
        if limit and reached >= limit and not exhausted:
            exhausted = day
    low = max(float(so_far), expected - margin)
    return Forecast(so_far, round(expected), round(low), round(expected + margin), len(past), exhausted)


def trimmed(values: Sequence[int]) -> list[float]:
    """Draw what is further than three robust deviations from the median to there."""
    middle = float(median(values))
    reach = FAR * MAD * float(median(abs(v - middle) for v in values))
    if reach <= 0:  # more than half of the days are alike: nothing tells how far is far
        return [float(v) for v in values]
    return [min(max(float(v), middle - reach), middle + reach) for v in values]


def month_of(day: int) -> tuple[int, int]:
    """Return the first and the last day of a day's month, since the epoch."""
    moment = EPOCH + day * DAY * MICROSECOND
    first = day - moment.day + 1
    year, month = divmod(moment.year * MONTHS + moment.month, MONTHS)
    after = moment.replace(year=year, month=month + 1, day=1)
    return first, (after - EPOCH).days - 1


def _weekly(values: Sequence[float], past: range) -> list[float]:
    level = fmean(values)
    found = []
    for weekday in range(WEEK):
        own = [v for v, day in zip(values, past, strict=True) if day % WEEK == weekday]
        found.append((fmean(own) + level) / 2 if own else level)
    return found


def _spread(values: Sequence[float], past: range, expectation: Sequence[float]) -> float:
    left = [v - expectation[day % WEEK] for v, day in zip(values, past, strict=True)]
    freedom = len(left) - (WEEK if len(left) >= LEAST_WEEKLY else 1)
    return sqrt(sum(x * x for x in left) / max(freedom, 1))
