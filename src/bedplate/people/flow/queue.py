"""Queues of decisions: how long each step takes, what comes and goes a week, whether it grows, and where it leads.

Waits are told from those that ended in the window: decided, or expired undecided. What was voided or cut short by
another body's refusal left the queue, but says nothing of how long a decision takes. What still waits is counted, and
its oldest told, but is in no percentile.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from bedplate.kernel.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WEEK = 7 * DAY
FEW = 5  # waits below which no percentile is told
TOLD = frozenset({"done", "refused", "expired"})  # outcomes that say how long a decision took
DECISIONS = frozenset({"idea", "acceptance", "approval", "resume", "other"})  # steps in which somebody decides
LEAST_WEEKS, LEAST_MOVES = 8, 20  # of history, and arrivals and departures in it, for a forecast
HORIZON = 8  # weeks
PATHS, SEED = 300, 20_261_123
TREND_WEEKS, TREND_LEAST, TREND_P = 12, 3, 0.05  # of the test for growth; at least so many more at its end


class Wait(NamedTuple):  # thousands are read for a page, and a tuple is made five times as fast
    """One wait of a subject for one body; moments are microseconds, `ended` 0 while it goes on."""

    stream: str
    subject: str
    step: str
    what: str
    body: str
    domain: str
    tier: int
    began: int
    ended: int
    outcome: str

    @property
    def structure(self) -> str:
        """Whose queue it stands in: board, coe or domain/ID."""
        return self.body if self.body != "domain" else f"domain/{self.domain}"


@dataclass(frozen=True, slots=True)
class Spread:
    """How long things took, in microseconds: how many there are, and three percentiles, None when they are too few."""

    count: int
    p50: int | None = None
    p85: int | None = None
    p95: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One step at one structure over the window. `late` waits longer now than the body's clock; `kept` did not."""

    structure: str
    step: str
    waiting: int
    arrived: int
    left: int
    waits: Spread
    oldest: int  # microseconds that the oldest has waited by now; 0: none waits
    clock_days: int  # 0: the body has no clock
    late: int
    kept: int  # of `waits.count`, those within the clock


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many will wait at the end of each week to come: low, middle, high. `why`: too little is known to say."""

    weeks: tuple[tuple[int, int, int], ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Growth:
    """Whether a queue grows: how many more wait than so many weeks ago, and how likely chance alone does as much."""

    net: int
    weeks: int
    p: float

    @property
    def growing(self) -> bool:
        """Whether it is more than chance, and more than a handful."""
        return self.weeks >= LEAST_WEEKS and self.net >= TREND_LEAST and self.p <= TREND_P


@dataclass(frozen=True, slots=True)
class Queue:
    """Everything that waits for the decisions of one structure, week by week, the newest week last."""

    structure: str
    arrivals: tuple[int, ...]
    departures: tuple[int, ...]
    waiting: tuple[int, ...]  # at the end of each week
    growth: Growth
    forecast: Forecast

    @property
    def now(self) -> int:
        """How many wait now."""
        return self.waiting[-1] if self.waiting else 0


def spread(times: Sequence[int]) -> Spread:
    """Return percentiles by nearest rank; none of fewer than five."""
    if len(times) < FEW:
        return Spread(len(times))
    ordered = sorted(times)
    return Spread(len(ordered), *(ordered[-(-len(ordered) * percent // 100) - 1] for percent in (50, 85, 95)))


def lines(waits: Iterable[Wait], now: int, since: int, clocks: Mapping[str, int]) -> list[Line]:
    """Tell every step of every structure; `clocks` are days by body, for steps in which it decides."""
    found: dict[tuple[str, str, str], list[Wait]] = defaultdict(list)
    for wait in waits:
        found[wait.body, wait.domain if wait.body == "domain" else "", wait.step].append(wait)
    told = []
    for (body, _, step), mine in sorted(found.items(), key=_by_place):
        structure = mine[0].structure
        days = clocks.get(body, 0) if step in DECISIONS else 0
        times = [w.ended - w.began for w in mine if w.ended and w.outcome in TOLD]
        ages = [now - w.began for w in mine if not w.ended]
        line = Line(
            structure=structure,
            step=step,
            waiting=len(ages),
            arrived=sum(w.began >= since for w in mine),
            left=len(mine) - len(ages),
            waits=spread(times),
            oldest=max(ages, default=0),
            clock_days=days,
            late=sum(age > days * DAY for age in ages) if days else 0,
            kept=sum(time <= days * DAY for time in times) if days else 0,
        )
        told.append(line)
    return told


def queues(waits: Iterable[Wait], now: int, weeks: int) -> list[Queue]:
    """Tell the queue of decisions of every structure, over so many weeks that end now."""
    found: dict[tuple[str, str], list[Wait]] = defaultdict(list)
    for wait in waits:
        if wait.step in DECISIONS:
            found[wait.body, wait.domain if wait.body == "domain" else ""].append(wait)
    return [_queue(mine[0].structure, mine, now, weeks) for _, mine in sorted(found.items(), key=_by_key)]


def _by_place(item: tuple[tuple[str, str, str], list[Wait]]) -> tuple[str, str, str]:
    return item[0]


def _queue(structure: str, waits: Sequence[Wait], now: int, weeks: int) -> Queue:
    since = now - weeks * WEEK
    arrivals, departures = [0] * weeks, [0] * weeks
    before = 0
    for wait in waits:
        if wait.began >= since:
            arrivals[min(weeks - 1, (wait.began - since) // WEEK)] += 1
        else:
            before += 1
        if wait.ended:
            departures[min(weeks - 1, (wait.ended - since) // WEEK)] += 1
    net = [a - d for a, d in zip(arrivals, departures, strict=True)]
    waiting = list(accumulate(net, initial=before))[1:]
    begun = min((w.began for w in waits), default=now)
    known = min(weeks, max(0, (now - begun) // WEEK))  # complete weeks since the first of them came
    history = tuple(zip(arrivals[weeks - known :], departures[weeks - known :], strict=True))
    return Queue(
        structure,
        tuple(arrivals),
        tuple(departures),
        tuple(waiting),
        growth(net[weeks - known :][-TREND_WEEKS:]),
        forecast(history, waiting[-1] if waiting else 0),
    )


def _by_key(item: tuple[tuple[str, str], list[Wait]]) -> tuple[str, str]:
    return item[0]


def growth(net: Sequence[int]) -> Growth:
    """Test whether arrivals exceed departures: an exact sign-flip test of the weekly differences, one-sided.

    Were the queue steady, each week's difference would be as likely the other way round. One bad week alone, however
    bad, has even odds and is no trend.
    """
    total = sum(net)
    sums: dict[int, int] = {0: 1}
    for difference in net:
        flipped: dict[int, int] = defaultdict(int)
        for known, ways in sums.items():
            flipped[known + difference] += ways
            flipped[known - difference] += ways
        sums = flipped
    at_least = sum(ways for known, ways in sums.items() if known >= total)
    return Growth(total, len(net), at_least / 2 ** len(net))


@lru_cache(maxsize=256)  # nothing changes until something comes or goes, or a week ends
def forecast(history: tuple[tuple[int, int], ...], waiting: int, ahead: int = HORIZON) -> Forecast:
    """Forecast a queue from weekly (arrivals, departures), by bootstrap; the interval holds four times in five.

    Each of 300 paths draws a history of its own from the weeks there were, with replacement, which stands for how
    little is known, and from that the weeks to come. The seed is fixed: the same records tell the same.
    """
    moves = sum(a + d for a, d in history)
    if len(history) < LEAST_WEEKS or moves < LEAST_MOVES:
        least = f"{LEAST_WEEKS} weeks with {LEAST_MOVES} arrivals and departures"
        return Forecast(why=f"too little to forecast: {len(history)} weeks with {moves}, it takes {least}")
    chance = random.Random(SEED)  # noqa: S311  repeatable, not secret
    net = [a - d for a, d in history]
    ends: list[list[int]] = [[] for _ in range(ahead)]
    for _ in range(PATHS):
        own = chance.choices(net, k=len(net))
        now = waiting
        for week, step in enumerate(chance.choices(own, k=ahead)):
            now = max(0, now + step)
            ends[week].append(now)
    told = []
    for reached in ends:
        reached.sort()
        told.append((reached[PATHS // 10], reached[PATHS // 2], reached[PATHS - PATHS // 10 - 1]))
    return Forecast(tuple(told))
