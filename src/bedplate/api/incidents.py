"""Incidents: list, look into, report, close."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from bedplate.incidents import actions, views
from bedplate.incidents.actions import Happening
from bedplate.kernel.event import canonical
from bedplate.wire import Because, Harm

from .portfolio import Id
from .session import At, Me

router = APIRouter(tags=["incidents"])
IncidentId = Annotated[str, Path(min_length=1, max_length=60)]


@router.get("/incidents")
def incidents(at: At, me: Me, only_open: bool = False) -> dict[str, Any]:  # noqa: ARG001, FBT001, FBT002  signed in; a query flag
    """List incidents, newest first."""
    return {"incidents": views.incidents(at.engine, only_open=only_open)}


@router.get("/incidents/{incident_id}")
def incident(at: At, me: Me, incident_id: IncidentId) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return one incident with its frozen evidence."""
    return views.incident_by_id(at.engine, f"incident/{incident_id}")


@router.post("/use-cases/{name}/harm")
def report(at: At, me: Me, name: Id, body: Harm) -> dict[str, str]:
    """Report harm: opens an incident and lowers the rung by the tier's plan."""
    frozen = canonical({"reported_by": me.person, "details": body.details})
    what = Happening(f"usecase/{name}", body.title, f"person/{me.person}", "harm", frozen)
    opened = actions.open_incident(at.governor, me.person, what)
    at.follower.look()
    return {"incident": opened}


@router.post("/incidents/{incident_id}/close")
def close(at: At, me: Me, incident_id: IncidentId, body: Because) -> dict[str, Any]:
    """Close an incident with its resolution; the rung stays where it is."""
    found = views.incident_by_id(at.engine, f"incident/{incident_id}")
    actions.close(at.governor, me.person, found["subject"], found["id"], body.reason)
    return views.incident_by_id(at.engine, found["id"])
