"""Vendors: the register, their reviews, and what stops if one stops."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from bedplate.document import parse
from bedplate.errors import Denied, InvalidInput
from bedplate.gateway.cost import readable
from bedplate.paths.concentration import DAYS, concentration
from bedplate.portfolio.views import use_cases
from bedplate.vendors import actions, views
from bedplate.vendors.vendor import VendorFile, end_of
from bedplate.wire import FileBody, VendorReview

from .portfolio import model_in_force
from .session import At, Me

router = APIRouter(tags=["vendors"])
Id = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,62}$")]


@router.get("/vendors")
def listed(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """List the register, with what is due."""
    return {"vendors": [v.plain() for v in views.vendors(at.engine, at.clock())]}


@router.get("/vendors/concentration")
def concentrated(at: At, me: Me, days: Annotated[int, Query(ge=1, le=366)] = DAYS) -> dict[str, Any]:
    """Say what stops if a vendor stops, and what share of calls, spend and value goes through each."""
    found = concentration(at.engine, at.follower.snapshot.recipes, at.workshop.upstreams, at.clock(), days)
    return found.plain(money=reads_cost(at, me.person))


@router.get("/vendors/{name}")
def one(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return one vendor, with its reviews."""
    found = views.vendor_named(at.engine, name, at.clock())
    return {**found.plain(), "reviews": views.reviews(at.engine, name)}


@router.post("/vendors/plan")
def plan(at: At, me: Me, body: FileBody) -> dict[str, Any]:  # noqa: ARG001  as above
    """Say what an entry of the register would change."""
    file = _checked(at, body)
    before = next((v for v in views.vendors(at.engine, at.clock()) if v.id == file.id), None)
    changed = before is None or before.entry != file.model_dump()
    return {"kind": "vendor", "id": file.id, "new": before is None, "changed": changed}


@router.post("/vendors")
def register(at: At, me: Me, body: FileBody) -> dict[str, Any]:
    """Register a vendor, or change its entry."""
    file = _checked(at, body)
    actions.register(at.governor, me.person, file, views.relying(at.engine, file.id))
    at.follower.look()
    return one(at, me, file.id)


@router.post("/vendors/{name}/reviews")
def review(at: At, me: Me, name: Id, body: VendorReview) -> dict[str, Any]:
    """Review a vendor: keep it until the next review, or end it."""
    try:
        due = end_of(body.next)
    except ValueError:
        raise InvalidInput(f"next: {body.next!r} is not a day", hint="write it like 2027-01-31") from None
    outcome: actions.Outcome = "kept" if body.outcome == "kept" else "ended"
    actions.review(at.governor, me.person, name, outcome, body.notes, due, views.relying(at.engine, name))
    at.follower.look()
    return one(at, me, name)


def reads_cost(at: At, person: str) -> bool:
    """Tell whether somebody may read what every domain spends."""
    try:
        return readable(at.model(), person) is None
    except Denied:
        return False


def _checked(at: At, body: FileBody) -> VendorFile:
    model, now = model_in_force(at), at.clock()
    known = {v.id for v in views.vendors(at.engine, now)}
    return actions.check_vendor(parse(body.text, body.name), model, known, {u.id for u in use_cases(at.engine)}, now)
