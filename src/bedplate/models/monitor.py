"""Monitors: a measure over recent calls, with a limit. Nothing here knows where calls are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bedplate.kernel.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.event import Value

Measure = Literal["unanswered", "ungrounded", "failed"]
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


@dataclass(frozen=True, slots=True)
class Monitor:
    """One monitor of a tier. `limit` in per mille; `period` in microseconds."""

    measure: str
    limit: int
    window: int
    period: int

    def due(self, fresh: int, last_at: int, now: int) -> bool:
        """Tell whether to look: a whole window of fresh calls, or the period is over and there is anything new."""
        return fresh >= self.window or (fresh > 0 and now - last_at >= self.period)

    def value(self, calls: Sequence[Seen]) -> int:
        """Return the share of calls, per mille, that the measure counts; 0 for none."""
        if not calls:
            return 0
        return round(1000 * sum(_counts(self.measure, c) for c in calls) / len(calls))

    def breached(self, calls: Sequence[Seen]) -> bool:
        """Tell whether the value is above the limit. Fewer than five calls prove nothing."""
        return len(calls) >= 5 and self.value(calls) > self.limit  # noqa: PLR2004  the least window a model may set


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
        case "ungrounded":
            return not call.unanswered and call.grounded_permille < GROUNDED_FROM
        case _:
            raise ValueError(f"no measure {measure}")
