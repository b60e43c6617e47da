"""Reads: releases of a use case, and the bundle behind a digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, func, select

from bedplate.errors import NotFound
from bedplate.store import tables as t
from bedplate.store.reads import read_blob, read_evidence

from .bundle import Bundle, read
from .tables import release

if TYPE_CHECKING:
    from collections.abc import Iterable


def releases(engine: Engine, subject: str) -> list[dict[str, Any]]:
    """List a use case's releases, newest first."""
    query = select(release).where(release.c.subject == subject).order_by(release.c.number.desc())
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def proven(engine: Engine, digests: Iterable[str], now: int) -> dict[tuple[str, str], tuple[int, int]]:
    """Return by subject and release how many pieces of evidence are proven now, and how many there are; in one read."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    with engine.connect() as connection:
        for row in connection.execute(select(t.evidence).where(t.evidence.c.digest.in_(sorted(set(digests))))):
            holds, every = found.get((row.subject, row.digest), (0, 0))
            found[row.subject, row.digest] = (holds + (row.outcome == "proven" and now < row.expires), every + 1)
    return found


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
