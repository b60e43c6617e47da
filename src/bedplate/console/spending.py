"""Money as it is drawn: the days of a span in layers, the month so far with where it leads, and limits as bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.gateway.forecast import month_of
from bedplate.gateway.price import NANO
from bedplate.gateway.usage import day_text
from bedplate.kernel.clock import DAY, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bedplate.gateway.cost import BudgetLine
    from bedplate.gateway.forecast import Forecast
    from bedplate.gateway.limit import Limits

    Daily = Mapping[str, Mapping[int, tuple[int, int, int]]]  # calls, tokens, nano-US-dollars by name and day

MOST_LAYERS = 7  # colours that can be told apart; what costs less than these is drawn as one
OTHERS = "all others"
WIDE = 200  # units of a bar's picture
FARTHEST = 2  # times the limit: what leads further is drawn to there
A_DAY = DAY // SECOND  # seconds


@dataclass(frozen=True, slots=True)
class Layers:
    """Nano-US-dollars by day (since the epoch, every day of the span) and by name, the dearest name first."""

    days: tuple[int, ...]
    names: tuple[str, ...]
    amounts: tuple[tuple[int, ...], ...]  # one for each name, as long as `days`

    @property
    def total(self) -> int:
        """Everything together."""
        return sum(map(sum, self.amounts))

    @property
    def rows(self) -> list[tuple[str, tuple[int, ...], int]]:
        """The same as a table, newest day first: the day, what each name cost, and their sum."""
        told = ((day_text(day), tuple(a[n] for a in self.amounts)) for n, day in enumerate(self.days))
        return [(day, amounts, sum(amounts)) for day, amounts in told][::-1]

    def drawn(self, named: Callable[[str], str]) -> dict[str, Any]:
        """Return columns for the chart: seconds, names, US dollars."""
        return {
            "t": [day * A_DAY for day in self.days],
            "names": [named(name) for name in self.names],
            "values": [[nano / NANO for nano in amounts] for amounts in self.amounts],
        }


def layers(series: Daily, since: int, until: int, grouped: Callable[[str], str]) -> Layers:
    """Put the days since ... until (both included) into layers; `grouped` says to which layer a use case belongs."""
    days = range(since, until + 1)
    sums: dict[str, dict[int, int]] = {}
    for subject, used in series.items():
        there = sums.setdefault(grouped(subject), {})
        for day, (_, _, nano) in used.items():
            if day in days:
                there[day] = there.get(day, 0) + nano
    dearest = sorted(((sum(amounts.values()), name) for name, amounts in sums.items()), key=_dear_first)
    names = [name for cost, name in dearest if cost]
    kept, rest = names[:MOST_LAYERS], names[MOST_LAYERS:]
    amounts = [tuple(sums[name].get(day, 0) for day in days) for name in kept]
    if rest:
        amounts.append(tuple(sum(sums[name].get(day, 0) for name in rest) for day in days))
    return Layers(tuple(days), (*kept, *([OTHERS] if rest else [])), tuple(amounts))


@dataclass(frozen=True, slots=True)
class Month:
    """The cost of this month day by day, added up, and what it comes to: nano-US-dollars. `most` 0: no limit."""

    days: tuple[int, ...]  # up to today
    so_far: tuple[int, ...]
    last: int  # day of the month, since the epoch
    comes: Forecast
    most: int = 0

    @property
    def rows(self) -> list[tuple[str, int, int]]:
        """The same as a table, newest day first: the day, its cost, and the month with it."""
        before = (0, *self.so_far)
        told = zip(self.days, self.so_far, before, strict=False)
        return [(day_text(day), now - then, now) for day, now, then in told][::-1]

    def drawn(self) -> dict[str, Any]:
        """Return columns for the chart: seconds, and US dollars so far, expected, and the interval's two ends."""
        to_come = range(self.days[-1] + 1, self.last + 1) if self.comes.judged else range(0)
        steps = len(to_come)

        def led(end: int) -> list[float | None]:
            begun = self.so_far[-1]
            there = [(begun + (end - begun) * step / steps) / NANO for step in range(1, steps + 1)]
            return [*([None] * (len(self.days) - 1)), begun / NANO, *there] if steps else []

        return {
            "t": [day * A_DAY for day in (*self.days, *to_come)],
            "so_far": [*(nano / NANO for nano in self.so_far), *([None] * steps)],
            "expected": led(self.comes.expected),
            "low": led(self.comes.low),
            "high": led(self.comes.high),
            "most": self.most / NANO,
        }


def month(series: Daily, today: int, comes: Forecast, most: int = 0) -> Month:
    """Add this month's days up."""
    first, last = month_of(today)
    days, so_far, amount = tuple(range(first, today + 1)), [], 0
    for day in days:
        amount += sum(used.get(day, (0, 0, 0))[2] for used in series.values())
        so_far.append(amount)
    return Month(days, tuple(so_far), last, comes, most)


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit as it is drawn: where things end, in units of a picture that is `WIDE` of them."""

    line: BudgetLine
    state: str  # ok, warn, over
    warn: int  # from how much on it warns; 0: never
    used: float  # with what is reserved
    settled: float  # without
    most: float
    warns: float
    low: float
    expected: float
    high: float
    shown: bool  # whether there is a forecast to draw

    @property
    def unit(self) -> str:
        """What is counted: calls, tokens or nano."""
        return self.line.limit.partition("_per_")[0]

    @property
    def span(self) -> str:
        """Of which time: day or month."""
        return self.line.limit.partition("_per_")[2]

    @property
    def percent(self) -> int:
        """How much of the limit is used, rounded down."""
        return 100 * self.line.used // self.line.most


def bar(line: BudgetLine, limits: Limits) -> Bar:
    """Draw a limit: the picture ends at the limit, or where the forecast does if that is further."""
    led = line.forecast if line.forecast is not None and line.forecast.judged else None
    end = max(line.most, line.used, min(led.high, FARTHEST * line.most) if led else 0)
    warn = -(-line.most * limits.warn_percent // 100)

    def place(amount: int) -> float:
        return round(min(amount, end) * WIDE / end, 1)

    return Bar(
        line=line,
        state="over" if line.used >= line.most else "warn" if warn and line.used >= warn else "ok",
        warn=warn,
        used=place(line.used),
        settled=place(max(0, line.used - line.reserved)),
        most=place(line.most),
        warns=place(warn),
        low=place(led.low) if led else 0,
        expected=place(led.expected) if led else 0,
        high=place(led.high) if led else 0,
        shown=led is not None,
    )


def _dear_first(found: tuple[int, str]) -> tuple[int, str]:
    return -found[0], found[1]
