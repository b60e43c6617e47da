"""Reads: what waits and waited, the ways of use cases and their deliveries; and all of it told as one flow."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, func, select

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import DAY

from .dora import FAILED_WITHIN, Delivery, Dora, Way, dora
from .queue import WEEK, Line, Queue, Spread, Wait, lines, queues
from .tables import delivery, milestone, wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.model import OperatingModel

WEEKS, FEWEST_WEEKS, MOST_WEEKS = 26, 4, 104
MOST_DAYS = 365
# The waits that were read last, by database: up to which event, since when, and what. Thousands, that seldom change.
_READ: WeakKeyDictionary[Engine, tuple[int, int, tuple[Wait, ...]]] = WeakKeyDictionary()
LAYERS = ("ended", "live", "in approval", "in the making", "in acceptance")  # of the diagram, from below


@dataclass(frozen=True, slots=True)
class Flow:
    """How decisions flow: every step, every queue, and how many use cases stood where at the end of each week."""

    now: int
    weeks: int
    lines: tuple[Line, ...]
    queues: tuple[Queue, ...]
    ends: tuple[int, ...]  # of the weeks, microseconds
    layers: Mapping[str, tuple[int, ...]]  # use cases by where they stand, a number a week

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values; spans of time are whole microseconds."""
        return {
            "now": self.now,
            "weeks": self.weeks,
            "steps": [line_plain(line) for line in self.lines],
            "queues": [queue_plain(queue) for queue in self.queues],
            "use_cases": {"ends": list(self.ends), **{name: list(counts) for name, counts in self.layers.items()}},
        }


@dataclass(frozen=True, slots=True)
class Passed:
    """What is read for a span of weeks that end now: once, for everything that is told of it."""

    now: int
    weeks: int
    waits: Sequence[Wait]
    ways: Sequence[Way]


def passed(engine: Engine, now: int, weeks: int = WEEKS) -> Passed:
    """Read what waits or ended in so many weeks, and how far every use case came; `InvalidInput` for too many weeks."""
    return Passed(now, weeks, waits(engine, now - checked_weeks(weeks) * WEEK), ways(engine))


def flow(read: Passed, model: OperatingModel | None) -> Flow:
    """Tell how decisions flow."""
    now, weeks, found = read.now, read.weeks, read.waits
    since = now - weeks * WEEK
    ends = tuple(since + (n + 1) * WEEK for n in range(weeks))
    layers = _layers(read.ways, ends)
    told = lines(found, now, since, clocks(model))
    return Flow(now, weeks, tuple(told), tuple(queues(found, now, weeks)), ends, layers)


def delivered(engine: Engine, read: Passed, within_days: int = FAILED_WITHIN) -> list[Dora]:
    """Tell how fast change is delivered and how often it fails, by domain, all together first."""
    if not 1 <= within_days <= MOST_DAYS:
        raise InvalidInput(f"a change fails within 1 to {MOST_DAYS} days, not {within_days}")
    live = deliveries(engine, read.now - read.weeks * WEEK)
    return dora(read.ways, live, read.waits, read.now, read.weeks, within_days)


def checked_weeks(weeks: int) -> int:
    """Return a number of weeks that makes sense; `InvalidInput` otherwise."""
    if not FEWEST_WEEKS <= weeks <= MOST_WEEKS:
        raise InvalidInput(f"{weeks} weeks cannot be told", hint=f"choose {FEWEST_WEEKS} to {MOST_WEEKS} weeks")
    return weeks


def clocks(model: OperatingModel | None) -> dict[str, int]:
    """Return how many days each body has for a decision, of those that the operating model gives a clock."""
    bodies = model.sections.get("bodies", {}) if model is not None else {}
    if not isinstance(bodies, dict):
        return {}
    return {str(body): int(str(part["decides_within_days"])) for body, part in bodies.items() if isinstance(part, dict)}


def waits(engine: Engine, since: int) -> list[Wait]:
    """List every wait that goes on, or ended since then. What was read is kept until something begins or ends."""
    c = wait.c
    columns = (c.stream, c.subject, c.step, c.what, c.body, c.domain, c.tier, c.began, c.ended, c.outcome)
    with engine.connect() as connection:
        newest = int(connection.execute(select(func.max(c.last_seq))).scalar_one_or_none() or 0)
        seq, from_then, known = _READ.get(engine, (-1, 0, ()))
        if seq != newest or not from_then <= since <= from_then + WEEK:
            found = connection.execute(select(*columns).where((c.ended == 0) | (c.ended >= since)))
            known = tuple(map(Wait._make, cast("Sequence[tuple[Any, ...]]", found.all())))
            _READ[engine] = newest, since, known
    return [w for w in known if not w.ended or w.ended >= since]


def ways(engine: Engine) -> list[Way]:
    """List the way of every use case."""
    c = milestone.c
    columns = (c.subject, c.domain, c.tier, c.proposed, c.accepted, c.asked, c.live, c.ended)
    with engine.connect() as connection:
        return [*map(Way._make, connection.execute(select(*columns)).all())]


def deliveries(engine: Engine, since: int) -> list[Delivery]:
    """List every release that went live since then."""
    c = delivery.c
    columns = (c.subject, c.release, c.round, c.domain, c.built, c.live, c.failed, c.why)
    with engine.connect() as connection:
        return [*map(Delivery._make, connection.execute(select(*columns).where(c.live >= max(since, 1))).all())]


def line_plain(line: Line) -> dict[str, Any]:
    """Return a step as JSON-ready values."""
    return asdict(line)


def queue_plain(queue: Queue) -> dict[str, Any]:
    """Return a queue as JSON-ready values."""
    return {**asdict(queue), "growing": queue.growth.growing, "waiting_now": queue.now}


def dora_plain(found: Dora) -> dict[str, Any]:
    """Return a domain's delivery as JSON-ready values."""
    return asdict(found)


def days(spread: Spread) -> tuple[float | None, ...]:
    """Return the percentiles in days, to a tenth."""
    return tuple(None if p is None else round(p / DAY, 1) for p in (spread.p50, spread.p85, spread.p95))


def _layers(found: Sequence[Way], ends: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Count, at each moment, how many use cases had come how far; whoever ended has left every queue."""
    never = max(ends, default=0) + 1
    reached: list[list[int]] = [[], [], [], [], []]
    for way in found:
        at = way.ended or never
        for place, moment in enumerate((way.ended, way.live, way.asked, way.accepted, way.proposed)):
            at = min(at, moment or never)
            reached[place].append(at)
    for moments in reached:
        moments.sort()
    counts = [[bisect_right(moments, end) for end in ends] for moments in reached]
    below = [[0] * len(ends), *counts]
    return {
        name: tuple(have - less for have, less in zip(counts[place], below[place], strict=True))
        for place, name in enumerate(LAYERS)
    }
