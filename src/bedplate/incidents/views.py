"""Reads: incidents and their frozen evidence."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Engine, select

from bedplate.errors import NotFound
from bedplate.store.reads import read_blob

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


def incident_by_id(engine: Engine, incident_id: str) -> dict[str, Any]:
    """Return one incident with its frozen evidence; `NotFound` if there is none."""
    with engine.connect() as connection:
        row = connection.execute(select(incident).where(incident.c.id == incident_id)).one_or_none()
        if row is None:
            raise NotFound(f"there is no {incident_id}", hint="list them: bedplate status")
        found = dict(row._mapping)  # noqa: SLF001  as above
        return {**found, "frozen": json.loads(read_blob(connection, row.evidence))}
