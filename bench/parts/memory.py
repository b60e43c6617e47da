"""Whether memory grows with the number of calls."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import linear_regression
from typing import TYPE_CHECKING

from .compare import counts
from .load import load
from .question import body

if TYPE_CHECKING:
    from .compare import Target

CONNECTIONS = 32
POINTS = 20
WARMING = 0.2  # of the calls: pools, queues and the disk's pages in memory fill up
NOISE_BYTES = 1 << 20  # a page of the allocator here, a piece of the journal there


@dataclass(frozen=True, slots=True)
class Growth:
    """A straight line through resident memory over calls; `error` is the slope's standard error. Bytes."""

    calls: int
    first: int
    last: int
    slope: float
    error: float

    @property
    def flat(self) -> bool:
        """Tell whether what the line rises by may be noise."""
        return self.slope <= 2 * self.error or self.slope * self.calls < NOISE_BYTES


def growth(target: Target, upstream: int, calls: int) -> Growth:
    """Make so many calls, and look at the memory of the target in between; not in the first fifth, while it warms."""
    assert target.process is not None
    points: list[tuple[float, float]] = []
    began, done, seconds = counts(upstream)[0], 0, 0.2
    while done < calls or len(points) < POINTS // 2:
        before = done
        load(target.port, target.key, body(), CONNECTIONS, seconds)
        done = counts(upstream)[0] - began
        if done >= calls * WARMING:
            points.append((float(done), float(sum(target.process.resident().values()))))
        seconds = min(5.0, max(0.1, seconds * calls / POINTS / max(1, done - before)))
    xs, ys = [x for x, _ in points], [y for _, y in points]
    slope, start = linear_regression(xs, ys)
    middle = sum(xs) / len(xs)
    left = sum((y - start - slope * x) ** 2 for x, y in points) / (len(points) - 2)
    error = (left / sum((x - middle) ** 2 for x in xs)) ** 0.5
    return Growth(done, int(ys[0]), int(ys[-1]), slope, error)
