"""Reads: the indexed sources of a use case."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, select

from .tables import source


def sources(engine: Engine, subject: str) -> list[dict[str, Any]]:
    """List the versions of a use case's sources, newest first."""
    query = select(source).where(source.c.subject == subject).order_by(source.c.indexed_at.desc())
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation
