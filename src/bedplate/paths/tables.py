"""The read table of published paths."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Integer, Table, Text

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
    Column("last_seq", BigInteger, nullable=False),
)


def _published(connection: Connection, event: Event) -> None:
    data = event.data
    values = {"subject": event.stream, "release": data["release"], "files": json.dumps(data["files"])}
    values |= {"published_by": event.actor, "published_at": event.at, "last_seq": event.seq}
    upsert(connection, path, {"name": data["path"], "version": data["version"]}, values)


PROJECTION = Projection(tables=(path,), handlers={"paths.path.published": _published})
