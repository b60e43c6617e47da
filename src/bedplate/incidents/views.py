"""Reads: incidents and their frozen evidence."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Engine, select

from bedplate.errors import NotFound
from bedplate.store.reads import read_blob

from .actions import Late
from .clock import steps_due
from .tables import incident


def incidents(engine: Engine, subject: str = "", *, only_open: bool = False, limit: int = 100) -> list[dict[str, Any]]:
    """List incidents, newest first; of one use case, if named."""
    query = select(incident).order_by(incident.c.opened_at.desc()).limit(limit)
    if subject:
        query = query.where(incident.c.subject == subject)
    if only_open:
        query = query.where(incident.c.closed_at == 0)
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def overdue(engine: Engine, now: int) -> list[Late]:
    """List the open incidents past their time that have steps to go up, the longest overdue first."""
    late = (incident.c.closed_at == 0) & (incident.c.due < now)
    with engine.connect() as connection:
        rows = connection.execute(select(incident).where(late).order_by(incident.c.due, incident.c.id))
        found = [Late(r.id, r.subject, r.severity, r.due, r.step) for r in rows]
    return [one for one in found if one.step < steps_due(one.severity, one.due, now)]


def incident_by_id(engine: Engine, incident_id: str) -> dict[str, Any]:
    """Return one incident with its frozen evidence; `NotFound` if there is none."""
    with engine.connect() as connection:
        row = connection.execute(select(incident).where(incident.c.id == incident_id)).one_or_none()
        if row is None:
            raise NotFound(f"there is no {incident_id}", hint="list them: bedplate incidents")
        found = dict(row._mapping)  # noqa: SLF001  as above
        return {**found, "frozen": json.loads(read_blob(connection, row.evidence))}


def frozen(engine: Engine, subject: str, closed_since: int) -> list[tuple[str, str]]:
    """Return id and frozen evidence, as it was kept, of the incidents that are open, or were closed since then."""
    query = select(incident.c.id, incident.c.evidence).where(incident.c.subject == subject)
    query = query.where((incident.c.closed_at == 0) | (incident.c.closed_at >= closed_since)).order_by(incident.c.id)
    with engine.connect() as connection:
        return [(row.id, read_blob(connection, row.evidence).decode()) for row in connection.execute(query).all()]
