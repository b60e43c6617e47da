"""Reads: published paths, their versions and siblings, and how long each sibling took to go live."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, func, select

from bedplate.errors import NotFound
from bedplate.kernel.event import unseal
from bedplate.kernel.origin import ended, pre_approval, subject_of
from bedplate.store import tables as t
from bedplate.store.reads import read_blob, read_standing

from . import tables
from .actions import declaration_of
from .path import Path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

ON_THE_WAY = ("portfolio.usecase.proposed", "releases.release.built", "releases.release.live")


@dataclass(slots=True)
class Way:
    """A use case's way from its first proposal to its first live release, in microseconds; 0 where it is not there."""

    subject: str
    proposed_at: int = 0
    live_at: int = 0
    steps: int = 0  # proposals, releases and votes until then

    @property
    def took(self) -> int:
        """How long it took to go live; 0 while it is not."""
        return self.live_at - self.proposed_at if self.live_at else 0


def paths(engine: Engine, now: int = 0) -> list[dict[str, Any]]:
    """List the newest version of every path, with whether its pre-approval holds and how many siblings follow."""
    newest = (
        select(tables.path.c.name, func.max(tables.path.c.version).label("version"))
        .group_by(tables.path.c.name)
        .subquery()
    )
    query = (
        select(tables.path)
        .join(newest, (tables.path.c.name == newest.c.name) & (tables.path.c.version == newest.c.version))
        .order_by(tables.path.c.name)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
        return [
            {
                **_shown(row._mapping),  # noqa: SLF001  public by documentation
                "ended": _ended(connection, row.name, row.version, now),
                **_behind(_siblings(connection, row.name), row.version),
            }
            for row in rows
        ]


def path(engine: Engine, name: str, version: int = 0) -> Path:
    """Return a path with its files; the newest version unless one is named. `NotFound` if there is none."""
    query = select(tables.path).where(tables.path.c.name == name).order_by(tables.path.c.version.desc()).limit(1)
    if version:
        query = query.where(tables.path.c.version == version)
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            which = f"version {version} of the path {name}" if version else f"path {name}"
            raise NotFound(f"there is no {which}", hint="publish one: bedplate path publish USE-CASE")
        files = {file: read_blob(connection, digest).decode() for file, digest in json.loads(row.files).items()}
        declared = declaration_of(read_blob(connection, row.declaration)) if row.declaration else None
    return Path(row.name, row.version, row.release, files, declared, row.digest, row.subject)


def versions(engine: Engine, name: str, now: int) -> list[dict[str, Any]]:
    """List a path's versions, newest first, each with why its pre-approval does not hold, "" where it does."""
    query = select(tables.path).where(tables.path.c.name == name).order_by(tables.path.c.version.desc())
    with engine.connect() as connection:
        found = [
            {**_shown(row._mapping), "ended": _ended(connection, name, row.version, now)}  # noqa: SLF001  as above
            for row in connection.execute(query).all()
        ]
    if not found:
        raise NotFound(f"there is no path {name}", hint="publish one: bedplate path publish USE-CASE")
    return found


def siblings(engine: Engine, name: str) -> list[dict[str, Any]]:
    """List a path's siblings, the first to be live first: version, deviations, lines, and how long each took."""
    with engine.connect() as connection:
        found = _siblings(connection, name)
        ways = _ways(connection, [s["subject"] for s in found])
    for sibling in found:
        way = ways.get(sibling["subject"], Way(sibling["subject"]))
        sibling.update(took=way.took, steps=way.steps, live_at=way.live_at)
    return sorted(found, key=lambda s: (s["live_at"] == 0, s["live_at"], s["subject"]))


def way(engine: Engine, subject: str) -> dict[str, Any]:
    """Return how long one use case took to go live, and in how many steps."""
    with engine.connect() as connection:
        found = _ways(connection, [subject]).get(subject, Way(subject))
    return {**asdict(found), "took": found.took}


def next_version(engine: Engine, name: str) -> int:
    """Return the version that the next publication of a path gets, from 1."""
    query = select(func.max(tables.path.c.version)).where(tables.path.c.name == name)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one_or_none() or 0) + 1


def path_ended(engine: Engine, name: str, version: int, now: int) -> str:
    """Say why the pre-approval of a version does not hold; "" while it does."""
    with engine.connect() as connection:
        return _ended(connection, name, version, now)


def agreed(engine: Engine, name: str, version: int) -> list[dict[str, Any]]:
    """List the bodies that agreed to a version beforehand, and who voted for them."""
    with engine.connect() as connection:
        given = pre_approval(read_standing(connection, subject_of(name)), version)
    parts = given.agreed if given is not None else ()
    return [{"body": s.body, "decides": s.decides, "quorum": s.quorum, "by": sorted(by)} for s, by in parts]


def _shown(row: Any) -> dict[str, Any]:  # noqa: ANN401  a row's mapping
    return {**row, "files": sorted(json.loads(row["files"]))}


def _ended(connection: Connection, name: str, version: int, now: int) -> str:
    origin = read_standing(connection, subject_of(name))
    source = read_standing(connection, str(origin.facts.get("paths.source", ""))) if origin is not None else None
    return ended(origin, source, version, now)


def _behind(found: Sequence[dict[str, Any]], newest: int) -> dict[str, int]:
    return {"siblings": len(found), "behind": sum(s["version"] < newest for s in found)}


def _siblings(connection: Connection, name: str) -> list[dict[str, Any]]:
    """Return each sibling by the release that is live, or else by its newest."""
    standings = t.standing.c
    query = (
        select(tables.sibling, standings.body)
        .join(t.standing, standings.subject == tables.sibling.c.subject)
        .where(tables.sibling.c.path == name)
        .order_by(tables.sibling.c.at)
    )
    found: dict[str, dict[str, Any]] = {}
    for row in connection.execute(query):
        standing = json.loads(row.body)
        known = found.get(row.subject)
        if known is not None and known["release"] == standing["release"]:
            continue
        found[row.subject] = {
            "subject": row.subject,
            "title": standing["title"],
            "stage": standing["stage"],
            "release": row.release,
            "version": row.version,
            "deviations": json.loads(row.deviations),
            "lines": row.lines,
            "written": row.written,
        }
    return [s for s in found.values() if s["stage"] != "retired"]


def _ways(connection: Connection, subjects: Sequence[str]) -> dict[str, Way]:
    moved = select(t.event.c.entry).where(t.event.c.stream.in_(subjects), t.event.c.kind.in_(ON_THE_WAY))
    votes = (
        select(t.approval.c.subject, t.event.c.at)
        .join(t.event, t.event.c.stream == t.approval.c.id)
        .where(t.approval.c.subject.in_(subjects), t.event.c.kind == "kernel.approval.voted")
        .where(t.approval.c.action.in_(("portfolio.accept", "releases.golive")))
    )
    found = {subject: Way(subject) for subject in subjects}
    for (entry,) in connection.execute(moved.order_by(t.event.c.seq)):
        event = unseal(bytes(entry))
        here = found[event.stream]
        if here.live_at:
            continue
        if event.kind == "releases.release.live":
            here.live_at = event.at
        else:
            here.steps += 1
            here.proposed_at = here.proposed_at or event.at
    for subject, at in connection.execute(votes):
        found[subject].steps += not found[subject].live_at or at <= found[subject].live_at
    return found
