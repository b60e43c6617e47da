"""The read table of sealed segments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Integer, Table, Text

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

segment = Table(
    "segment",
    metadata,
    Column("shard", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("root", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)


def _sealed(connection: Connection, event: Event) -> None:
    data = event.data
    values = {name: data[name] for name in ("first", "count", "root", "previous")}
    upsert(connection, segment, {"shard": data["shard"], "number": data["number"]}, {**values, "last_seq": event.seq})


PROJECTION = Projection(tables=(segment,), handlers={"kernel.segment.sealed": _sealed})
