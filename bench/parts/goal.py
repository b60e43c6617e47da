"""What was to be reached, and what was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .scenarios import BARE, BIG, DIRECT, FAST, LITELLM, LOADED, MANY, MOST, ONE, PACED, SAFE, STREAM

if TYPE_CHECKING:
    from .compare import Measured, Scenario
    from .memory import Growth
    from .suspension import Suspended

USE_CASES, KEYS = 1_000, 10_000  # of the loaded installation
LEAST_TIMES, AIM_TIMES, LARGE_TIMES = 60, 100, 40  # of LiteLLM's calls/s
CALL_US, EVENT_US, RESIDENT_MB, ADDED_MS, SUSPENDED_MS = 120, 30, 120, 1.0, 1000
AS_QUICK = 0.95  # less than this share is slower
ARTICLE = {"call": "a call", "event": "an event"}
LEFT_OUT = "this load was left out"


@dataclass(slots=True)
class Found:
    """Everything that was measured in a run."""

    tables: dict[str, dict[str, Measured]] = field(default_factory=dict)  # by scenario, then by target
    growth: Growth | None = None
    resident: dict[str, int] = field(default_factory=dict)  # bytes of the largest process
    suspended: dict[str, Suspended] = field(default_factory=dict)
    loaded: float | None = None  # of the small installation's calls/s


@dataclass(frozen=True, slots=True)
class Goal:
    """Something to be reached. `reached` None: it was not measured."""

    what: str
    figure: str
    reached: bool | None


def goals(found: Found) -> list[Goal]:
    """Say of each figure that was to be reached what it came to."""
    return [
        _times(found, MANY, LITELLM, LEAST_TIMES),
        _times(found, MANY, LITELLM, AIM_TIMES),
        _times(found, BIG, LITELLM, LARGE_TIMES),
        *(_times(found, scenario, BARE, 1) for scenario in (ONE, MANY, MOST, BIG, STREAM)),
        _added(found),
        _spent(found, MANY, CALL_US),
        _spent(found, PACED, EVENT_US),
        *_memory(found),
        _loaded(found),
        *(_suspended(what, seen) for what, seen in found.suspended.items()),
    ]


def _times(found: Found, scenario: Scenario, other: str, least: float) -> Goal:
    rows = found.tables.get(scenario.name, {})
    what = f"calls/s, {scenario.name}: ≥ {least} × {other}"
    if other not in rows or not rows[other].rate:
        return Goal(what, f"{other} was left out, or answered nothing" if rows else LEFT_OUT, reached=None)
    mine, theirs = rows[FAST], rows[other]
    cheaper = theirs.cpu("call") / mine.cpu("call") if mine.cpu_us else 0.0
    figure = f"{mine.rate / theirs.rate:.2f} × (and {cheaper:.2f} × less processor time a call)"
    return Goal(what, figure, mine.rate >= least * theirs.rate)


def _added(found: Found) -> Goal:
    what, rows = f"added p50, {ONE.name}: ≤ {ADDED_MS} ms", found.tables.get(ONE.name)
    if rows is None:
        return Goal(what, LEFT_OUT, reached=None)
    added = rows[FAST].p50 - rows[DIRECT].p50
    return Goal(what, f"{added:.2f} ms", added <= ADDED_MS)


def _spent(found: Found, scenario: Scenario, most: float) -> Goal:
    rows = found.tables.get(scenario.name)
    what = f"processor time of {ARTICLE[scenario.per]}, {scenario.name}: ≤ {most} µs"
    if rows is None:
        return Goal(what, LEFT_OUT, reached=None)
    spent = rows[FAST].cpu(scenario.per)
    return Goal(what, f"{spent:.1f} µs", spent <= most)


def _memory(found: Found) -> list[Goal]:
    lines = []
    if (grown := found.growth) is not None:
        figure = f"{grown.slope:+.1f} ± {2 * grown.error:.1f} bytes a call"
        figure += f", {grown.first / 1e6:.1f} to {grown.last / 1e6:.1f} MB"
        lines.append(Goal(f"memory over {grown.calls:,} calls: flat", figure, grown.flat))
    for name in (FAST, SAFE, LOADED):
        if name in found.resident:
            size = found.resident[name] / 1e6
            lines.append(Goal(f"resident, {name}: ≤ {RESIDENT_MB} MB", f"{size:.0f} MB", size <= RESIDENT_MB))
    return lines


def _loaded(found: Found) -> Goal:
    what = f"{KEYS:,} keys and {USE_CASES:,} use cases: no slower (≥ {AS_QUICK})"
    if found.loaded is None:
        return Goal(what, "see --loaded", reached=None)
    return Goal(what, f"{found.loaded:.2f} of the small one's calls/s", found.loaded >= AS_QUICK)


def _suspended(what: str, seen: Suspended) -> Goal:
    figure = f"{seen.last_ms:.0f} ms after the answer, which took {seen.answer_ms:.0f} ms"
    figure += f" ({seen.served} served, {seen.before:,} calls before, {seen.after:,} refused)"
    reached = seen.last_ms <= SUSPENDED_MS if seen.served >= seen.processes else None
    return Goal(f"suspension under load, {what}: ≤ {SUSPENDED_MS} ms", figure, reached)
