"""The ladder: where a breach or a harm leads, by the tier's plan. Only ever down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.standing import Rung

if TYPE_CHECKING:
    from bedplate.kernel.model import TierPlan


def rung_after(plan: TierPlan | None, severity: str, now: Rung, open_breaches: int) -> Rung:
    """Return the rung to go to. Each further breach while one is open goes one rung lower than the plan says."""
    if plan is None:
        return Rung.OFF
    planned = Rung[plan.ladder.get(severity, "off").upper()]
    return Rung(max(0, min(now, planned - open_breaches)))
