"""Monitors: a measure over recent calls, with a limit. Nothing here knows where calls are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bedplate.kernel.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.event import Value

Measure = Literal["unanswered", "ungrounded", "failed", "thumbs-down", "harm"]
SAID = frozenset({"thumbs-down", "harm"})  # by people, some time after the call
LEAST = 5  # fewer calls prove nothing; the least window a model may set
PERIOD: Mapping[str, int] = {"hourly": DAY // 24, "daily": DAY, "weekly": 7 * DAY}
GROUNDED_FROM = 500  # per mille: half of an answer's sentences cited and borne out


@dataclass(frozen=True, slots=True)
class Seen:
    """What a monitor needs to know of one call."""

    id: str
    at: int
    failed: bool
    unanswered: bool
    grounded_permille: int
    thumb: str = ""  # the newest: up, down or none
    harmed: bool = False


@dataclass(frozen=True, slots=True)
class Monitor:
    """One monitor of a tier. `limit` in per mille; `period` in microseconds."""

    measure: str
    limit: int
    window: int
    period: int

    def due(self, fresh: int, last_at: int, now: int) -> bool:
        """Tell whether to look: a whole window of fresh calls, or the period is over and there is anything new.

        What people say comes later and seldom: of that, five are enough.
        """
        enough = LEAST if self.measure in SAID else self.window
        return fresh >= enough or (fresh > 0 and now - last_at >= self.period)

    def judged(self, calls: Sequence[Seen]) -> list[Seen]:
        """Return those of the calls that the measure can speak of: of thumbs, the calls that have one."""
        return [c for c in calls if c.thumb or self.measure != "thumbs-down"]

    def value(self, calls: Sequence[Seen]) -> int:
        """Return the share of the judged calls, per mille, that the measure counts; 0 for none."""
        judged = self.judged(calls)
        if not judged:
            return 0
        return round(1000 * sum(_counts(self.measure, c) for c in judged) / len(judged))

    def breached(self, calls: Sequence[Seen]) -> bool:
        """Tell whether the value is above the limit. Fewer than five calls prove nothing."""
        return len(self.judged(calls)) >= LEAST and self.value(calls) > self.limit


def monitors_of(parts: Sequence[Mapping[str, Value]]) -> list[Monitor]:
    """Read the monitors that a tier compiles to."""
    return [
        Monitor(
            str(p["measure"]), int(str(p["limit_percent"])) * 10, int(str(p["window_calls"])), PERIOD[str(p["every"])]
        )
        for p in parts
    ]


def _counts(measure: str, call: Seen) -> bool:
    match measure:
        case "unanswered":
            return call.unanswered
        case "failed":
            return call.failed
        case "thumbs-down":
            return call.thumb == "down"
        case "harm":
            return call.harmed
        case "ungrounded":
            return not call.unanswered and call.grounded_permille < GROUNDED_FROM
        case _:
            raise ValueError(f"no measure {measure}")
