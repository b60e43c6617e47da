"""The read tables of published paths, and of the releases that were made from them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

path = Table(
    "path",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("files", Text, nullable=False),
    Column("published_by", Text, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("declaration", Text, nullable=False, server_default=""),  # digest; "": published before there was one
    Column("digest", Text, nullable=False, server_default=""),
    Column("approval", Text, nullable=False, server_default=""),
    Column("expires", BigInteger, nullable=False, server_default="0"),
    Column("withdrawn", Text, nullable=False, server_default=""),  # the reason
    Column("last_seq", BigInteger, nullable=False),
)
sibling = Table(
    "sibling",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("release", Text, primary_key=True),
    Column("path", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("deviations", Text, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("written", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "path"),
)


def _published(connection: Connection, event: Event) -> None:
    data = event.data
    values = {"subject": event.stream, "release": data["release"], "files": json.dumps(data["files"])}
    values |= {"published_by": event.actor, "published_at": event.at, "last_seq": event.seq}
    upsert(connection, path, {"name": data["path"], "version": data["version"]}, values)


def _agreed(connection: Connection, event: Event) -> None:
    kept = {name: event.data[name] for name in ("declaration", "digest", "approval", "expires")}
    key = (path.c.name == event.stream.partition("/")[2], path.c.version == event.data["version"])
    connection.execute(update(path).where(*key).values(**kept, last_seq=event.seq))


def _withdrawn(connection: Connection, event: Event) -> None:
    match = [path.c.name == event.stream.partition("/")[2], path.c.digest != ""]
    if event.data["version"]:
        match.append(path.c.version == event.data["version"])
    connection.execute(update(path).where(*match).values(withdrawn=event.data["reason"], last_seq=event.seq))


def _made(connection: Connection, event: Event) -> None:
    data = event.data
    values = {name: data[name] for name in ("path", "version", "lines", "written")}
    values |= {"deviations": json.dumps(data["deviations"]), "at": event.at, "last_seq": event.seq}
    upsert(connection, sibling, {"subject": event.stream, "release": data["release"]}, values)


PROJECTION = Projection(
    tables=(path, sibling),
    handlers={
        "paths.path.published": _published,
        "paths.envelope.agreed": _agreed,
        "paths.path.withdrawn": _withdrawn,
        "paths.sibling.made": _made,
    },
)
