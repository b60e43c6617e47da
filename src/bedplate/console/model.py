"""The operating model in force, readable; its versions; and what a proposed one would change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bedplate.errors import BedplateError, Denied, InvalidInput
from bedplate.kernel.clock import DAY
from bedplate.paths.blast import DAYS, Blast, Ground, blast, proposed
from bedplate.people import views
from bedplate.people.governance import APPLY_MODEL
from bedplate.people.versions import versions
from bedplate.store.reads import read_blob

from .problem import problem_of
from .visit import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

    from bedplate.kernel.approval import Approval

AT_ONCE = 5_000  # records of calls that are replayed while a page waits
SPANS = (7, DAYS, 90)  # days
MOST = 50  # rows of each part
VERSIONS = 20
BODIES = {"board": "Board", "coe": "Centre of Excellence", "domain": "Domains"}


def model(visit: Visit) -> Response:
    """Show the operating model in force, and who agreed to each version."""
    at = visit.at
    current = views.current_model(at.engine)
    read = at.model() if current is not None else None
    bodies: dict[str, list[tuple[str, str, str]]] = {name: [] for name in (*BODIES, "audit")}
    for person in read.authority.people.values() if read is not None else ():
        for seat in person.seats:
            bodies.setdefault(seat.body, []).append((person.id, seat.role, seat.domain))
    return visit.show(
        "model.html",
        current=current,
        model=read,
        plain=current["model"] if current else {},
        bodies=bodies,
        names=BODIES,
        sections=read.sections if read is not None else {},
        today=at.clock() // DAY,
        versions=versions(at.engine, VERSIONS),
        waiting=[a for a in at.approvals("asked") if a.action == APPLY_MODEL.name and a.open(at.clock())],
    )


def radius(visit: Visit) -> Response:
    """Show everything that an operating model that waits would change, calls of a span of days included."""
    approval = visit.at.approval(f"approval/{visit.part('id')}")
    if approval.action != APPLY_MODEL.name:
        raise InvalidInput("this approval is about no operating model", hint="open one of the operating model")
    days = visit.number("days") or DAYS
    found = of(visit, approval, days)
    return visit.show("blast.html", approval=approval, found=found, days=days, spans=SPANS, most=MOST, whole=True)


def section(visit: Visit, approval: Approval) -> dict[str, Any]:
    """Return what the page of an approval shows of it: with calls only where they are few."""
    if approval.action != APPLY_MODEL.name or approval.state not in {"asked", "granted"}:
        return {"found": None, "wrong": None}
    at = visit.at
    since = (at.clock() // DAY - DAYS + 1) * DAY
    waiting = sum(s.head().size - s.first_since(since) for s in at.calls.shards().values())
    days = DAYS if waiting <= AT_ONCE else 0
    try:
        return {"found": of(visit, approval, days), "wrong": None, "days": days, "records": waiting, "most": 10}
    except Denied:
        return {"found": None, "wrong": None}  # nothing is in force that it would change
    except BedplateError as wrong:
        return {"found": None, "wrong": problem_of(wrong), "days": 0}


def of(visit: Visit, approval: Approval, days: int) -> Blast:
    """Compare the model that waits with the one in force; `Denied` while there is none."""
    at = visit.at
    in_force = at.model()
    if in_force is None or views.current_model(at.engine) is None:
        raise Denied("no operating model is in force, so there is nothing it would change", hint="see the approval")
    with at.engine.connect() as connection:
        body = json.loads(read_blob(connection, str(approval.facts["digest"])))
    return blast(Ground(at.engine, at.catalogue, at.calls.shards(), at.clock()), in_force, proposed(body), days)


PAGES = (Page("/model", model), Page("/approvals/{id}/blast", radius))
