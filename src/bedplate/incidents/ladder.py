"""The ladder: where a breach or a harm leads, by the tier's plan, and whom an incident goes up to. Only ever down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.approval import Body, Stage
from bedplate.kernel.standing import Rung

UNPROVEN = "unproven"  # a control let a synthetic violation pass: nobody was harmed, and nothing measured
OWNER = "owner"  # whoever owns it holds no owner's seat any more, or lacks a competence that it needs
ASSURED = 3  # from this tier on an unproven control means that a person decides

OVERDUE = "overdue"  # what a plan may say on top: where an incident leads that nobody settled in time
BODIES: tuple[Body, ...] = ("domain", "coe", "board")  # each above the one before it

if TYPE_CHECKING:
    from bedplate.kernel.model import OperatingModel, TierPlan


def rung_after(plan: TierPlan | None, severity: str, now: Rung, open_breaches: int) -> Rung:
    """Return the rung to go to. Each further breach while one is open goes one rung lower than the plan says."""
    if plan is None:
        return Rung.OFF
    if severity == OWNER:
        return now  # nothing went wrong yet: the clock runs until somebody answers for it again
    if severity == UNPROVEN:
        return min(now, Rung.PROPOSE) if plan.tier >= ASSURED else now
    planned = Rung[plan.ladder.get(severity, "off").upper()]
    return Rung(max(0, min(now, planned - open_breaches)))


def rung_overdue(plan: TierPlan, severity: str, now: Rung) -> Rung:
    """Return the rung on which an incident leaves a use case that nobody settled in time; the same if none is said.

    Where nobody answers for it, it does not act by itself whatever the plan says.
    """
    planned = plan.ladder.get(OVERDUE, "propose" if severity == OWNER else "")
    return now if not planned else min(now, Rung[planned.upper()])


def above(model: OperatingModel, plan: TierPlan, domain: str, owner: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return to whom an incident goes up, step by step: the body, and its people.

    The first is the body that the tier asks first before the use case may act again, then every body above it. A body
    in which nobody but the owner has a vote is left out.
    """
    stages = plan.approvals["resume"]
    lowest = min(BODIES.index(stage.body) for stage in stages)
    found = []
    for body in BODIES[lowest:]:
        stage = next((s for s in stages if s.body == body), None) or Stage(body, "policy")
        people = tuple(person for person in model.authority.voters(stage, domain) if person != owner)
        if people:
            found.append((body, people))
    return tuple(found)
