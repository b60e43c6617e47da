"""Months as they are drawn: forecast, realised with its interval, and cost in layers, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.portfolio.benefit import COSTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.portfolio.benefit import Sum

LEFT, TOP, WIDTH, HEIGHT = 64.0, 10.0, 640.0, 220.0  # of the plot, in the picture's units
LEGIBLE = 14  # months beyond which only every second or third is named
STEPS = 4
LAYERS = {"tokens": "l1", "infrastructure": "l2", "people": "l4", "licence": "l3"}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, and the class it is drawn with."""

    x: float
    y: float
    width: float
    height: float
    look: str


@dataclass(frozen=True, slots=True)
class Column:
    """One month. `low` and `high` are where its interval ends, None where it has none; `named` if its name fits."""

    name: str
    sum: Sum
    x: float
    middle: float
    boxes: tuple[Box, ...]
    low: float | None
    high: float | None
    named: bool


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of them, where nought is, and the lines that amounts are read from: y and cents."""

    columns: tuple[Column, ...]
    nought: float
    grid: tuple[tuple[float, int], ...]


def drawing(months: Sequence[tuple[str, Sum]]) -> Drawing:
    """Place months in the picture."""
    ends = [0, 1]
    for _, found in months:
        ends += [found.forecast, found.realised.cents, found.realised.high, found.realised.low, found.cost]
    step = _step(max(ends) - min(ends))
    top, bottom = -(-max(ends) // step) * step, min(ends) // step * step
    lines = range(bottom, top + 1, step)

    def y(cents: float) -> float:
        return round(TOP + (top - cents) * HEIGHT / (top - bottom), 1)

    room = WIDTH / max(1, len(months))
    every = -(-len(months) // LEGIBLE)
    made = []
    for number, (name, found) in enumerate(months):
        x = LEFT + number * room
        boxes = [_box(x + room * 0.12, room * 0.24, y(0), y(found.forecast), "bg fore")]
        look = "b-fan" if found.estimated else "l0"
        boxes.append(_box(x + room * 0.38, room * 0.24, y(0), y(found.realised.cents), look))
        paid = 0
        for kind in COSTS:
            cost = found.costs.get(kind, 0)
            if cost:
                boxes.append(_box(x + room * 0.64, room * 0.24, y(paid), y(paid + cost), LAYERS[kind]))
                paid += cost
        known = bool(found.realised.below or found.realised.above)
        low, high = (y(found.realised.low), y(found.realised.high)) if known else (None, None)
        middle = round(x + room * 0.5, 1)
        made.append(Column(name, found, round(x, 1), middle, tuple(boxes), low, high, number % every == 0))
    return Drawing(tuple(made), y(0), tuple((y(cents), cents) for cents in lines))


def _box(x: float, width: float, one: float, other: float, look: str) -> Box:
    return Box(round(x, 1), min(one, other), round(width, 1), round(abs(one - other), 1), look)


def _step(span: int) -> int:
    """Return a round number of cents, of which about four make up the span."""
    step = 100
    while step * STEPS < span:
        step *= 10
    return next((step // part for part in (5, 2) if step // part * STEPS >= span), step)
