"""The read table of indexed sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Integer, Table, Text

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

source = Table(
    "source",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("passages", Integer, nullable=False),
    Column("files", Integer, nullable=False),
    Column("personal", Text, nullable=False),
    Column("indexed_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)


def _indexed(connection: Connection, event: Event) -> None:
    data = event.data
    values = {
        "name": data["source"],
        "passages": data["passages"],
        "files": data["files"],
        "personal": data["personal"],
    }
    key = {"subject": event.stream, "version": data["version"]}
    upsert(connection, source, key, {**values, "indexed_at": event.at, "last_seq": event.seq})


PROJECTION = Projection(tables=(source,), handlers={"data.source.indexed": _indexed})
