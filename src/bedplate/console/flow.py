"""Flow: what waits for whom and how long, where it leads, how change is delivered, and what delegating would do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError
from bedplate.kernel.clock import DAY, EPOCH, MICROSECOND
from bedplate.paths import bottleneck, relief
from bedplate.people.flow import views
from bedplate.people.flow.dora import FAILED_WITHIN
from bedplate.people.flow.queue import FEW
from bedplate.people.flow.simulation import AHEAD, snippet
from bedplate.people.flow.tables import STEPS
from bedplate.people.flow.views import FEWEST_WEEKS, MOST_WEEKS, WEEKS

from .problem import problem_of
from .visit import Page, Visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from bedplate.people.flow.queue import Queue
    from bedplate.people.flow.views import Flow

LEFT, TOP, WIDTH, HEIGHT = 44.0, 10.0, 506.0, 210.0  # of the plot, in the picture's units
SPANS = (13, 26, 52)  # weeks
COLOURS = {"ended": 7, "live": 2, "in approval": 1, "in the making": 0, "in acceptance": 4}  # by place in the palette
DRAWN = 6  # queues that are drawn; every one is in the table
TICKS = 4


@dataclass(frozen=True, slots=True)
class Area:
    """A layer of the diagram: its name, its colour's number, its outline, and how many there are at the end."""

    name: str
    colour: int
    path: str
    now: int


@dataclass(frozen=True, slots=True)
class Axis:
    """Marks of a picture: (where, text), from the left and from below."""

    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A queue as it is drawn: its past as a line, and what is expected with its band; "" where nothing is."""

    queue: Queue
    line: str
    middle: str
    band: str
    today: float
    axis: Axis


def flow(visit: Visit) -> Response:
    """Show everything that flows; simulating takes seconds and has a page of its own."""
    at = visit.at
    now, model = at.clock(), at.model()
    weeks = _weeks(visit)
    read = views.passed(at.engine, now, weeks)
    found = views.flow(read, model)
    seen = bottleneck.sightings(at.engine, now)
    largest = sorted(found.queues, key=_largest_first)[:DRAWN]
    areas, axis = areas_of(found)
    return visit.show(
        "flow.html",
        flow=found,
        weeks=weeks,
        spans=SPANS,
        steps=STEPS,
        areas=areas,
        axis=axis,
        drawn=[drawn(queue, now) for queue in largest],
        queues=found.queues,
        days=days,
        dates=[_date(end) for end in found.ends],
        narrow=bottleneck.bottlenecks(found.queues, seen),
        seen=seen,
        dora=views.delivered(at.engine, read),
        within=FAILED_WITHIN,
        few=FEW,
    )


def options(visit: Visit) -> Response:
    """Show what delegating each kind of decision to the domains would do, beside how things are."""
    at = visit.at
    now, model = at.clock(), at.model()
    told, problem = None, None
    if model is not None:
        try:
            told = relief.simulate(at.engine, now, model, (), weeks=_weeks(visit))
        except BedplateError as error:
            problem = problem_of(error)
    tiers = sorted({tier for o in told.outcomes for tier in o.tiers}) if told is not None else []
    return visit.show(
        "flow_options.html",
        told=told,
        problem=problem,
        tiers=tiers,
        weeks=_weeks(visit),
        ahead=AHEAD,
        snippet=snippet(told.proposed.delegations, told.until) if told is not None and told.proposed else "",
        most=max((pair[1].high for o in told.outcomes for pair in (o.overall,)), default=1.0) if told else 1.0,
    )


def days(micros: int) -> str:
    """Write a span as days, to a tenth; hours below a day."""
    return f"{micros / DAY:.1f} d" if micros >= DAY else f"{24 * micros / DAY:.0f} h"


def areas_of(found: Flow) -> tuple[list[Area], Axis]:
    """Draw the cumulative-flow diagram: layers on top of each other, from what ended up to what was just proposed."""
    count = len(found.ends)
    most = max((sum(layer[n] for layer in found.layers.values()) for n in range(count)), default=0) or 1
    below = [0] * count
    areas = []
    for name, layer in found.layers.items():
        above = [low + more for low, more in zip(below, layer, strict=True)]
        there = [(_x(n, count - 1), _y(value, most)) for n, value in enumerate(above)]
        back = [(_x(n, count - 1), _y(value, most)) for n, value in enumerate(below)][::-1]
        areas.append(Area(name, COLOURS[name], f"M{_points(there)}L{_points(back)}Z", layer[-1]))
        below = above
    return areas, _axis(found.ends, most)


def drawn(queue: Queue, now: int) -> Drawn:
    """Draw one queue: how many waited at the end of each week, and how many are expected to."""
    past, ahead = queue.waiting, queue.forecast.weeks
    last = len(past) - 1 + len(ahead)
    most = max((*past, *(high for _, _, high in ahead)), default=0) or 1
    line = [(_x(n, last), _y(value, most)) for n, value in enumerate(past)]
    here = line[-1]
    at = [_x(len(past) + n, last) for n in range(len(ahead))]
    low, middle, high = ([(x, _y(week[k], most)) for x, week in zip(at, ahead, strict=True)] for k in range(3))
    ends = [now + (n - len(past) + 1) * 7 * DAY for n in range(last + 1)]
    return Drawn(
        queue,
        f"M{_points(line)}",
        f"M{_points([here, *middle])}" if ahead else "",
        f"M{_points([here, *high, *low[::-1]])}Z" if ahead else "",
        here[0],
        _axis(ends, most),
    )


def _axis(ends: Sequence[int], most: int) -> Axis:
    last = max(len(ends) - 1, 1)
    every = max(1, last // TICKS)
    across = tuple((_x(n, last), _date(ends[n])[5:]) for n in range(0, len(ends), every))
    step = max(1, -(-most // TICKS))
    return Axis(across, tuple((_y(value, most), f"{value:,}") for value in range(0, most + 1, step)))


def _x(place: int, last: int) -> float:
    return round(LEFT + WIDTH * place / max(last, 1), 1)


def _y(value: int, most: int) -> float:
    return round(TOP + HEIGHT * (1 - value / most), 1)


def _points(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x} {y}" for x, y in points)


def _date(moment: int) -> str:
    return (EPOCH + moment * MICROSECOND).date().isoformat()


def _weeks(visit: Visit) -> int:
    return min(MOST_WEEKS, max(FEWEST_WEEKS, visit.number("weeks") or WEEKS))


def _largest_first(queue: Queue) -> tuple[bool, int, str]:
    return queue.structure.startswith("domain/"), -queue.now, queue.structure


PAGES = (Page("/flow", flow), Page("/flow/options", options))
