"""Reads: published paths."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Engine, func, select

from bedplate.errors import NotFound
from bedplate.store.reads import read_blob

from . import tables
from .path import Path


def paths(engine: Engine) -> list[dict[str, Any]]:
    """List the newest version of every path."""
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
        return [{**r._mapping, "files": sorted(json.loads(r.files))} for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def path(engine: Engine, name: str, version: int = 0) -> Path:
    """Return a path with its files; the newest version unless one is named. `NotFound` if there is none."""
    query = select(tables.path).where(tables.path.c.name == name).order_by(tables.path.c.version.desc()).limit(1)
    if version:
        query = query.where(tables.path.c.version == version)
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"there is no path {name}", hint="publish one: bedplate path publish USE-CASE")
        files = {file: read_blob(connection, digest).decode() for file, digest in json.loads(row.files).items()}
    return Path(row.name, row.version, row.release, files)


def next_version(engine: Engine, name: str) -> int:
    """Return the version that the next publication of a path gets, from 1."""
    query = select(func.max(tables.path.c.version)).where(tables.path.c.name == name)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one_or_none() or 0) + 1
