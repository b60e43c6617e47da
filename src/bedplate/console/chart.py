"""Where things stand in the charts: numbered dots on the 2×2, bubbles on value × feasibility."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import cos, sin, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.portfolio.views import UseCase

LEFT, TOP, WIDTH, HEIGHT = 44.0, 10.0, 406.0, 310.0  # of the plot, in the picture's units
TURN = 2.399963  # the golden angle: a sunflower's seeds do not overlap
DOT = 11.0
LEAST, GROWTH = 7.0, 12.0  # of a bubble's radius
NAMED = 12  # bubbles beyond which names would cover each other


@dataclass(frozen=True, slots=True)
class Dot:
    """One use case in a chart. `number` is its row in the table beside the chart."""

    number: int
    case: UseCase
    x: float
    y: float
    radius: float
    state: str
    named: bool = False


def state_of(case: UseCase) -> str:
    """Say in one word how a use case is: live, lowered, suspended, waiting or ended."""
    if case.stage in {"declined", "retired"}:
        return "ended"
    if case.suspended:
        return "suspended"
    if case.stage != "live":
        return "waiting"
    return "lowered" if case.rung != "act" or case.breaches else "live"


def matrix(cases: Sequence[UseCase]) -> list[Dot]:
    """Place every use case in its quadrant of impact × autonomy."""
    cells = [(case.impact == "high", case.autonomy == "autonomous") for case in cases]
    dots = []
    for number, (case, cell, nth) in enumerate(zip(cases, cells, places(cells), strict=True), 1):
        centre = (LEFT + WIDTH * (0.75 if cell[1] else 0.25), TOP + HEIGHT * (0.25 if cell[0] else 0.75))
        x, y = spread(centre, nth, DOT, (WIDTH / 4 - DOT, HEIGHT / 4 - DOT - 12))
        dots.append(Dot(number, case, x, y, DOT, state_of(case)))
    return dots


def bubbles(cases: Sequence[UseCase]) -> list[Dot]:
    """Place every use case by feasibility and value, each 1 to 5; the area is the yearly value."""
    most = max((c.yearly_cents for c in cases), default=0) or 1
    cells = [(case.feasibility, case.value) for case in cases]
    held = Counter(cells)
    dots = []
    for number, (case, cell, nth) in enumerate(zip(cases, cells, places(cells), strict=True), 1):
        centre = (LEFT + WIDTH * (cell[0] - 0.5) / 5, TOP + HEIGHT * (5.5 - cell[1]) / 5)
        radius = LEAST + GROWTH * sqrt(max(0, case.yearly_cents) / most)
        x, y = spread(centre, nth, radius, (WIDTH / 8, HEIGHT / 8))
        named = len(cases) <= NAMED and held[cell] == 1
        dots.append(Dot(number, case, x, y, radius, state_of(case), named=named))
    return sorted(dots, key=_large_first)


def places(cells: Sequence[tuple[object, object]]) -> list[int]:
    """Return, for each, its place among those of its cell; -1 for one that has the cell to itself."""
    held, seen = Counter(cells), Counter[tuple[object, object]]()
    places = []
    for cell in cells:
        places.append(seen[cell] if held[cell] > 1 else -1)
        seen[cell] += 1
    return places


def spread(centre: tuple[float, float], nth: int, radius: float, within: tuple[float, float]) -> tuple[float, float]:
    """Return the place of the nth thing around a centre, kept inside its cell."""
    far = 1.3 * radius * sqrt(nth + 0.5) if nth >= 0 else 0.0
    x, y = far * cos(nth * TURN), far * sin(nth * TURN)
    return (
        round(centre[0] + max(-within[0], min(within[0], x)), 1),
        round(centre[1] + max(-within[1], min(within[1], y)), 1),
    )


def _large_first(dot: Dot) -> float:
    return -dot.radius
