"""What is compared, and how: everything under the same load, in turns, so that a busy machine is busy for all."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from .load import Figures, load
from .process import get
from .question import SMALL, body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .process import Process

WARM_CALLS, WARM_S = 100, 15.0
LONGER = 4


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers. `process` is what is charged for it; None is the upstream itself."""

    name: str
    port: int
    key: str = "none"
    process: Process | None = None
    filters: tuple[str, ...] = ()  # what large bodies ask it for
    slow: bool = False  # longer runs, so that enough calls come to an end, and one turn fewer


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load. `seconds` of a turn: quick targets, slow ones."""

    name: str
    connections: int
    seconds: tuple[float, float]
    size: int = SMALL
    stream: bool = False
    paced: bool = False

    @property
    def per(self) -> str:
        """What the processor time is counted by."""
        return "event" if self.paced else "call"

    def body(self, target: Target) -> bytes:
        """Return what is sent to a target."""
        filters = target.filters if self.size > SMALL else ()
        return body(self.size, stream=self.stream, paced=self.paced, guardrails=filters)


@dataclass(slots=True)
class Measured:
    """What came of a target in a scenario, turn by turn."""

    turns: list[Figures] = field(default_factory=list)
    cpu_us: int = 0
    calls: int = 0  # as the upstream counted them, like the events
    events: int = 0

    @property
    def rate(self) -> float:
        """Calls per second."""
        return median(turn.rate for turn in self.turns)

    @property
    def p50(self) -> float:
        """Milliseconds."""
        return median(turn.p50 for turn in self.turns)

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return median(turn.p99 for turn in self.turns)

    @property
    def wrong(self) -> int:
        """Answers other than 2xx, and broken connections."""
        return sum(turn.wrong for turn in self.turns)

    def cpu(self, per: str) -> float:
        """Microseconds of the processor for each call or event."""
        return self.cpu_us / max(1, self.events if per == "event" else self.calls)


def warm(target: Target, upstream: int) -> None:
    """Call a target until it has done everything once, with and without streams; 15 s at most."""
    until = time.monotonic() + WARM_S
    for stream in (False, True):
        began = counts(upstream)[0]
        while counts(upstream)[0] < began + WARM_CALLS and time.monotonic() < until:
            load(target.port, target.key, body(stream=stream), 16, 0.4)


def counts(upstream: int) -> tuple[int, int]:
    """Return how many calls and events the upstream has answered so far."""
    told = json.loads(get(upstream, "/")[1])
    return told["calls"], told["events"]


def turn(found: Measured, scenario: Scenario, target: Target, upstream: int) -> None:
    """Measure a target once more; again and for longer, if hardly a call came to an end."""
    before, used = counts(upstream), _used(target)
    seconds, content = scenario.seconds[target.slow], scenario.body(target)
    figures = load(target.port, target.key, content, scenario.connections, seconds)
    if figures.calls < scenario.connections:
        figures = load(target.port, target.key, content, scenario.connections, LONGER * seconds)
    found.turns.append(figures)
    after = counts(upstream)
    found.cpu_us += _used(target) - used
    found.calls += after[0] - before[0]
    found.events += after[1] - before[1]


def compare(scenario: Scenario, targets: Sequence[Target], upstream: int, turns: int) -> dict[str, Measured]:
    """Measure every target in turns: A B C, A B C; returns what came of each, by name."""
    found = {target.name: Measured() for target in targets}
    for number in range(turns):
        for target in targets:
            if number == 0 or number < turns - target.slow:
                try:
                    turn(found[target.name], scenario, target, upstream)
                except OSError as wrong:
                    said = target.process.said() if target.process is not None else ""
                    raise SystemExit(f"{target.name}, {scenario.name}: {wrong}\n{said}") from None
    return found


def _used(target: Target) -> int:
    return sum(target.process.cpu_us().values()) if target.process is not None else 0
