"""How decisions flow: queues, waits and forecast; delivery by domain; and what delegating decisions would do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query

from bedplate.paths import bottleneck, relief
from bedplate.people.flow import views
from bedplate.people.flow.dora import FAILED_WITHIN
from bedplate.people.flow.views import FEWEST_WEEKS, MOST_DAYS, MOST_WEEKS, WEEKS

from .portfolio import model_in_force
from .session import At, Me

router = APIRouter(tags=["flow"])
Weeks = Annotated[int, Query(ge=FEWEST_WEEKS, le=MOST_WEEKS, description="How far back, in weeks that end now.")]
Days = Annotated[int, Query(ge=1, le=MOST_DAYS, description="Within how many days of going live a change fails.")]
Choice = Annotated[str, Query(max_length=40, description="TIER:WHAT or TIER:WHAT:BODY, such as 2:release.")]


@router.get("/flow")
def flow(at: At, me: Me, weeks: Weeks = WEEKS) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Tell every step and queue, what is expected of the queues, and whether a body is the bottleneck."""
    now = at.clock()
    found = views.flow(views.passed(at.engine, now, weeks), at.model())
    seen = bottleneck.sightings(at.engine, now)
    narrow = bottleneck.bottlenecks(found.queues, seen)
    told = [{"body": b.body, **b.plain(), "signalled": b.signalled} for b in narrow]
    return {**found.plain(), "sightings": seen, "bottlenecks": told}


@router.get("/flow/dora")
def dora(at: At, me: Me, weeks: Weeks = WEEKS, within_days: Days = FAILED_WITHIN) -> dict[str, Any]:  # noqa: ARG001  as above
    """Tell lead time, deployments, failed changes and time to restore, by domain; "" is all of them together."""
    found = views.delivered(at.engine, views.passed(at.engine, at.clock(), weeks), within_days)
    return {"weeks": weeks, "within_days": within_days, "domains": [asdict(domain) for domain in found]}


@router.get("/flow/simulation")
def simulation(
    at: At,
    me: Me,  # noqa: ARG001  as above
    delegate: Annotated[list[Choice] | None, Query(max_length=12)] = None,
    *,
    together: bool = False,
    weeks: Weeks = WEEKS,
) -> dict[str, Any]:
    """Simulate delegations to the domains beside how things are; every single one there could be, unless named."""
    model = model_in_force(at)
    return relief.simulate(at.engine, at.clock(), model, delegate or [], weeks=weeks, together=together).plain()
