"""Reads: releases of a use case, and the bundle behind a digest."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, func, select

from bedplate.errors import NotFound
from bedplate.store.reads import read_blob, read_evidence

from .bundle import Bundle, read
from .tables import release


def releases(engine: Engine, subject: str) -> list[dict[str, Any]]:
    """List a use case's releases, newest first."""
    query = select(release).where(release.c.subject == subject).order_by(release.c.number.desc())
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def newest(engine: Engine, subject: str) -> dict[str, Any]:
    """Return the newest release; `NotFound` if there is none."""
    found = releases(engine, subject)
    if not found:
        raise NotFound(f"{subject} has no release yet", hint="build one: bedplate release")
    return found[0]


def next_number(engine: Engine, subject: str) -> int:
    """Return the number that the next new release gets, from 1."""
    query = select(func.max(release.c.number)).where(release.c.subject == subject)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one_or_none() or 0) + 1


def bundle(engine: Engine, digest: str) -> Bundle:
    """Return the bundle kept under a digest."""
    with engine.connect() as connection:
        return read(read_blob(connection, digest))


def evidence(engine: Engine, subject: str, digest: str, now: int) -> list[dict[str, Any]]:
    """List the evidence about a release, with its state now."""
    with engine.connect() as connection:
        found = read_evidence(connection, subject, digest)
    return [
        {
            "control": e.control,
            "state": e.state(now),
            "summary": e.summary,
            "at": e.at,
            "expires": e.expires,
            "blob": e.blob,
        }
        for e in sorted(found.values(), key=lambda e: e.control)
    ]
