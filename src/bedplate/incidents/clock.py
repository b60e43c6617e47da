"""An incident's clock: by when it must be resolved, and when it goes up a step. House defaults, no law's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping

DUE: Mapping[str, int] = {"breach": 7 * DAY, "harm": 2 * DAY, "unproven": 2 * DAY, "owner": 14 * DAY}  # time to resolve


def due(severity: str, opened_at: int) -> int:
    """Return the moment, in microseconds, by which it must be resolved; an unknown severity gets the shortest."""
    return opened_at + _time(severity)


def steps_due(severity: str, due_at: int, now: int) -> int:
    """Return how many steps up it must have gone by now: one once it is overdue, one more each time as long again."""
    return 0 if now <= due_at else 1 + (now - due_at - 1) // _time(severity)


def _time(severity: str) -> int:
    return DUE.get(severity, min(DUE.values()))
