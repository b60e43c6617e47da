"""Incidents: the list, one with its frozen evidence, closing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput
from bedplate.evidence import views as evidence
from bedplate.incidents import actions, views
from bedplate.incidents.governance import CLOSE

from .home import said
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response


def incidents(visit: Visit) -> Response:
    """List incidents, newest first."""
    only_open = visit.query("state") == "open"
    found = views.incidents(visit.at.engine, only_open=only_open, limit=PAGE)
    return visit.show("incidents.html", incidents=found, state="open" if only_open else "any", full=len(found) == PAGE)


def incident(visit: Visit) -> Response:
    """Show one incident."""
    at, stream = visit.at, f"incident/{visit.part('id')}"
    found = views.incident_by_id(at.engine, stream)
    frozen = dict(found["frozen"])
    calls = frozen.pop("calls", [])
    events = [(e, said(visit, e.kind)) for e in evidence.events(at.engine, stream=stream, limit=PAGE)]
    model, standing = at.model(), at.follower.snapshot.standings.get(found["subject"])
    domain = standing.domain if standing is not None else ""
    return visit.show(
        "incident.html",
        incident=found,
        frozen=frozen,
        calls=calls,
        events=events,
        may_close=model is not None and model.authority.allowed(visit.by, CLOSE.needs, domain),
    )


def close(visit: Visit) -> Response:
    """Close an incident with its resolution; the rung stays where it is."""
    found = views.incident_by_id(visit.at.engine, f"incident/{visit.part('id')}")
    resolution = visit.said("resolution")
    if not resolution:
        raise InvalidInput("Closing an incident needs its resolution.", hint="Say what was found and what was done.")
    actions.close(visit.at.governor, visit.by, found["subject"], found["id"], resolution)
    visit.at.follower.look()
    return visit.go(f"/incidents/{visit.part('id')}")


PAGES = (
    Page("/incidents", incidents),
    Page("/incidents/{id}", incident),
    Page("/incidents/{id}/close", close, "POST"),
)
