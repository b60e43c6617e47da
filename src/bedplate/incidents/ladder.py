"""The ladder: where a breach or a harm leads, by the tier's plan, and an unproven control. Only ever down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.standing import Rung

UNPROVEN = "unproven"  # a control let a synthetic violation pass: nobody was harmed, and nothing measured
ASSURED = 3  # from this tier on an unproven control means that a person decides

if TYPE_CHECKING:
    from bedplate.kernel.model import TierPlan


def rung_after(plan: TierPlan | None, severity: str, now: Rung, open_breaches: int) -> Rung:
    """Return the rung to go to. Each further breach while one is open goes one rung lower than the plan says."""
    if plan is None:
        return Rung.OFF
    if severity == UNPROVEN:
        return min(now, Rung.PROPOSE) if plan.tier >= ASSURED else now
    planned = Rung[plan.ladder.get(severity, "off").upper()]
    return Rung(max(0, min(now, planned - open_breaches)))
