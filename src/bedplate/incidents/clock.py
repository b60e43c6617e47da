"""An incident's clock: by when it must be resolved, from its severity. House defaults, no law's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Mapping

DUE: Mapping[str, int] = {"breach": 7 * DAY, "harm": 2 * DAY, "unproven": 2 * DAY}  # time to resolve, by what happened


def due(severity: str, opened_at: int) -> int:
    """Return the moment, in microseconds, by which it must be resolved; an unknown severity gets the shortest."""
    return opened_at + DUE.get(severity, min(DUE.values()))
