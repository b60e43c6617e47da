"""What was promised and what came of it: months in cents, with 95 % intervals, against what they cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isqrt, sqrt
from typing import TYPE_CHECKING, Any, Literal

from bedplate.kernel.clock import DAY, EPOCH, MICROSECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Basis = Literal["imported", "measured", "estimated", "none"]
COSTS = ("tokens", "infrastructure", "people", "licence")
MILLI = 1000
YEAR = 12
# Student's quantile for 95 %, two-sided, by degrees of freedom from 1; beyond the table Fisher's expansion is as exact.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The value hypothesis as it was accepted: units now and then, how many times a month, and cents for a unit."""

    unit: str
    baseline: int
    target: int
    per_month: int
    cents_per_unit: int

    @property
    def monthly_cents(self) -> int:
        """What a whole month promises; never below zero."""
        return max(0, self.baseline - self.target) * self.cents_per_unit * self.per_month


@dataclass(frozen=True, slots=True)
class StopRule:
    """What was agreed when it was accepted: below this share of the forecast after so many months, it is asked."""

    after_months: int
    below_percent: int
    then: Literal["retire", "renew"]


@dataclass(frozen=True, slots=True)
class Amount:
    """Cents, how far its 95 % interval reaches down and up, and how much of it has no interval at all."""

    cents: int = 0
    below: int = 0
    above: int = 0
    bare: int = 0

    @property
    def low(self) -> int:
        """The lower end of the interval."""
        return self.cents - self.below

    @property
    def high(self) -> int:
        """The upper end of the interval."""
        return self.cents + self.above

    @property
    def sure(self) -> bool:
        """Whether the interval is of the whole amount."""
        return not self.bare

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values; an amount without any interval says null."""
        known = bool(self.below or self.above)
        ends = {"low": self.low if known else None, "high": self.high if known else None}
        return {"cents": self.cents, **ends, "without_interval_cents": self.bare}


def together(amounts: Iterable[Amount]) -> Amount:
    """Add amounts up. They are taken to err each for itself: their margins add as squares do."""
    cents = below = above = bare = 0
    for one in amounts:
        cents += one.cents
        below += one.below * one.below
        above += one.above * one.above
        bare += abs(one.bare)
    return Amount(cents, isqrt(below), isqrt(above), bare)


@dataclass(frozen=True, slots=True)
class Known:
    """What is on record of one month: measures in thousandths by metric, calls and thumbs, and cents by kind of cost.

    `share` are the helpful answers in permille with the ends of their 95 % interval; None where nobody said anything.
    """

    measures: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)  # metric → value, n, sd
    calls: int = 0  # answered
    share: tuple[int, int, int] | None = None
    costs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Month:
    """One month of one use case: what it promised, what came of it and on what basis, and what it cost by kind."""

    number: int
    forecast: int
    benefit: Amount
    basis: Basis
    costs: Mapping[str, int]
    over: bool = True

    @property
    def period(self) -> str:
        """The month as it is written, 2026-10."""
        return period(self.number)

    @property
    def cost(self) -> int:
        """All of its costs."""
        return sum(self.costs.values())

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        told: dict[str, Any] = {"period": self.period, "over": self.over, "forecast_cents": self.forecast}
        return {**told, "benefit": self.benefit.plain(), "basis": self.basis, "cost_cents": dict(self.costs)}


@dataclass(frozen=True, slots=True)
class Sum:
    """Months added up. `estimated`: the part of what was realised that nobody measured."""

    forecast: int = 0
    realised: Amount = Amount()
    estimated: int = 0
    costs: Mapping[str, int] = field(default_factory=dict)

    @property
    def cost(self) -> int:
        """All costs."""
        return sum(self.costs.values())

    @property
    def net(self) -> int:
        """What is left when the costs are paid."""
        return self.realised.cents - self.cost

    @property
    def percent(self) -> int | None:
        """The share of the forecast that was realised, rounded down; None where nothing was forecast yet."""
        return self.realised.cents * 100 // self.forecast if self.forecast else None

    @property
    def return_percent(self) -> int | None:
        """What is left for each hundred that was spent; None where nothing was spent."""
        return self.net * 100 // self.cost if self.cost else None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "forecast_cents": self.forecast,
            "realised": self.realised.plain(),
            "estimated_cents": self.estimated,
            "percent_of_forecast": self.percent,
            "cost_cents": {kind: self.costs.get(kind, 0) for kind in COSTS},
            "total_cost_cents": self.cost,
            "net_cents": self.net,
            "return_percent": self.return_percent,
        }


def total(months: Sequence[Month]) -> Sum:
    """Add up the months that are over."""
    forecast = estimated = 0
    costs = dict.fromkeys(COSTS, 0)
    over = [m for m in months if m.over]
    for month in over:
        forecast += month.forecast
        if month.basis == "estimated":
            estimated += month.benefit.cents
        for kind, cents in month.costs.items():
            costs[kind] += cents
    return Sum(forecast, together([m.benefit for m in over]), estimated, costs)


def added(sums: Sequence[Sum]) -> Sum:
    """Add sums of different use cases up."""
    costs = {kind: sum(s.costs.get(kind, 0) for s in sums) for kind in COSTS}
    estimated = sum(s.estimated for s in sums)
    return Sum(sum(s.forecast for s in sums), together(s.realised for s in sums), estimated, costs)


def benefit(of: Hypothesis, known: Known) -> tuple[Amount, Basis]:
    """Say what a month was worth, from the surest that is on record of it.

    An imported benefit counts as it is. A measured level is what a unit of the hypothesis is now: the distance to the
    baseline, as often as calls were answered, or as a count says. Without either, the answered calls that helped are
    taken to have reached the target: an estimate, and said to be one.
    """
    if "benefit" in known.measures:
        milli, n, sd = known.measures["benefit"]
        cents = _rounded(milli, 10)
        margin = round(quantile(n) * sd / 10 * sqrt(n)) if n > 1 and sd else 0
        return Amount(cents, margin, margin, 0 if margin else cents), "imported"
    if "level" in known.measures:
        milli, n, sd = known.measures["level"]
        count = known.measures["count"][0] // MILLI if "count" in known.measures else max(known.calls, n)
        cents = _rounded((of.baseline * MILLI - milli) * count * of.cents_per_unit, MILLI)
        margin = round(quantile(n) * sd * count * of.cents_per_unit / (MILLI * sqrt(n))) if n > 1 and sd else 0
        return Amount(cents, margin, margin, 0 if margin else cents), "measured"
    count = known.measures["count"][0] // MILLI if "count" in known.measures else known.calls
    if not count:
        return Amount(), "none"
    whole = count * max(0, of.baseline - of.target) * of.cents_per_unit
    if known.share is None:
        return Amount(whole, bare=whole), "estimated"
    share, low, high = known.share
    cents = _rounded(whole * share, MILLI)
    return Amount(cents, cents - whole * low // MILLI, _rounded(whole * high, MILLI) - cents), "estimated"


def series(of: Hypothesis, known: Mapping[int, Known], live_at: int, ended: int | None, now: int) -> tuple[Month, ...]:
    """Return every month from the first of which anything is on record, or in which it was live, up to now.

    `live_at` is the moment of going live, 0 if it never did: that month is forecast by its days, later ones whole, up
    to the month it `ended` in. The month that is not over is there only if something is on record of it.
    """
    this = month_at(now)
    first = min([*known, *([month_at(live_at)] if live_at else [])], default=this)
    found = []
    for number in range(first, this + 1):
        have = known.get(number)
        if number == this and have is None:
            break
        amount, basis = benefit(of, have or Known())
        promised = _forecast(of, number, live_at, ended)
        found.append(Month(number, promised, amount, basis, dict(have.costs) if have else {}, over=number < this))
    return tuple(found)


def fell_short(rule: StopRule, months: Sequence[Month], since: int) -> Sum | None:
    """Return the sum of the months from `since` on, if so many are over and they fell short; None otherwise."""
    judged = [m for m in months if m.over and m.number >= since]
    if len(judged) < rule.after_months:
        return None
    found = total(judged)
    short = found.forecast > 0 and found.realised.cents * 100 < rule.below_percent * found.forecast
    return found if short else None


def quantile(n: int) -> float:
    """Return Student's quantile for a 95 % interval of a mean of n (Abramowitz and Stegun, 26.7.5)."""
    freedom = n - 1
    if freedom < 1:
        return 0.0
    if freedom <= len(_T):
        return _T[freedom - 1]
    z, v = _Z, freedom
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return z + terms[0] / v + terms[1] / (v * v) + terms[2] / (v * v * v)


def month_at(micros: int) -> int:
    """Return the month of a moment, counted from January of the year 0."""
    moment = EPOCH + micros * MICROSECOND
    return moment.year * YEAR + moment.month - 1


def period(number: int) -> str:
    """Write a month as `2026-10`."""
    return f"{number // YEAR:04d}-{number % YEAR + 1:02d}"


def month_of(text: str) -> int:
    """Read a month such as `2026-10`; `ValueError` if it is not one."""
    year, dash, month = text.partition("-")
    if not (dash and len(year) == 4 and len(month) == 2 and text.isascii() and (year + month).isdigit()):  # noqa: PLR2004  digits
        raise ValueError(f"{text!r} is not a month; write it like 2026-10")
    if not 1 <= int(month) <= YEAR or int(year) < EPOCH.year:
        raise ValueError(f"{text!r} is not a month; write it like 2026-10")
    return int(year) * YEAR + int(month) - 1


def days_of(number: int) -> tuple[int, int]:
    """Return the first and the last day of a month, since the epoch."""
    ends = [(EPOCH.replace(year=n // YEAR, month=n % YEAR + 1) - EPOCH).days for n in (number, number + 1)]
    return ends[0], ends[1] - 1


def _forecast(of: Hypothesis, number: int, live_at: int, ended: int | None) -> int:
    begun = month_at(live_at)
    if not live_at or number < begun or (ended is not None and number > ended):
        return 0
    if number > begun:
        return of.monthly_cents
    first, last = days_of(number)
    return of.monthly_cents * (last - live_at // DAY) // (last - first + 1)


def _rounded(number: int, by: int) -> int:
    """Divide, to the nearest; halves away from zero."""
    return (abs(number) + by // 2) // by * (1 if number >= 0 else -1)
