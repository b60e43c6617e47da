"""Reads: evaluations and measures of a use case."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Engine, select

from bedplate.store.reads import read_blob

from .tables import evaluation, measure


def evaluations(engine: Engine, subject: str, limit: int = 20) -> list[dict[str, Any]]:
    """List a use case's evaluations, newest first."""
    query = select(evaluation).where(evaluation.c.subject == subject).order_by(evaluation.c.seq.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def outcomes(engine: Engine, results: str) -> list[dict[str, Any]]:
    """Return the kept results of an evaluation, case by case."""
    with engine.connect() as connection:
        return list(json.loads(read_blob(connection, results))["outcomes"])


def measures(engine: Engine, subject: str, monitor: str = "", limit: int = 200) -> list[dict[str, Any]]:
    """List what monitors saw, oldest first; of one monitor, if named."""
    query = select(measure).where(measure.c.subject == subject).order_by(measure.c.seq.desc()).limit(limit)
    if monitor:
        query = query.where(measure.c.monitor == monitor)
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)][::-1]  # noqa: SLF001  as above
