"""Vendors: what stops if one stops, what is due, and one with its terms and reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import Denied, InvalidInput
from bedplate.gateway.cost import readable
from bedplate.paths.concentration import UNKNOWN, concentration
from bedplate.vendors import actions, views
from bedplate.vendors.governance import REVIEW
from bedplate.vendors.vendor import end_of

from .visit import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

    from bedplate.paths.concentration import Concentration

WHEN = {"overdue": "bad", "soon": "warn", "planned": "good", "ended": "mut", "running": "good"}
STATE = {"registered": "mut", "kept": "good", "ended": "bad"}
EFFECT = {"stops": "bad", "degrades": "warn", "unaffected": "mut"}


def vendors(visit: Visit) -> Response:
    """Show concentration, and the register; spend to those who may read everybody's cost."""
    at = visit.at
    register = views.vendors(at.engine, at.clock())
    return visit.show(
        "vendors.html",
        vendors=register,
        found=_concentration(visit),
        money=_reads_cost(visit),
        overdue=sum(v.review == "overdue" for v in register),
        soon=sum(v.review == "soon" or v.terms == "soon" for v in register if v.review != "ended"),
        lapsed=sum(v.terms == "ended" for v in register if v.review != "ended"),
        when=WHEN,
        states=STATE,
        effects=EFFECT,
        unknown=UNKNOWN,
    )


def vendor(visit: Visit) -> Response:
    """Show one vendor."""
    at, name = visit.at, visit.part("id")
    found = views.vendor_named(at.engine, name, at.clock())
    model = at.model()
    return visit.show(
        "vendor.html",
        vendor=found,
        reviews=views.reviews(at.engine, name),
        share=next((s for s in _concentration(visit).shares if s.id == name), None),
        may_review=model is not None and model.authority.allowed(visit.by, REVIEW.needs, ""),
        when=WHEN,
        states=STATE,
        effects=EFFECT,
    )


def review(visit: Visit) -> Response:
    """Put a review on record: kept until the next one, or ended."""
    at, name, said = visit.at, visit.part("id"), visit.said("outcome")
    if said not in {"kept", "ended"}:
        raise InvalidInput("The outcome of a review is kept or ended.", hint="Choose one of the two.")
    try:
        due = end_of(visit.said("next"))
    except ValueError:
        raise InvalidInput("The day of the next review cannot be read.", hint="Write it like 2027-01-31.") from None
    outcome: actions.Outcome = "kept" if said == "kept" else "ended"
    users = views.relying(at.engine, name)
    actions.review(at.governor, visit.by, name, outcome, visit.said("notes"), due, users)
    at.follower.look()
    return visit.go(f"/vendors/{name}")


def _concentration(visit: Visit) -> Concentration:
    at = visit.at
    return concentration(at.engine, at.follower.snapshot.recipes, at.workshop.upstreams, at.clock())


def _reads_cost(visit: Visit) -> bool:
    try:
        return readable(visit.at.model(), visit.by) is None
    except Denied:
        return False


PAGES = (Page("/vendors", vendors), Page("/vendors/{id}", vendor), Page("/vendors/{id}/review", review, "POST"))
