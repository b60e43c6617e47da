"""The read tables of sealed segments, and of what was erased and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, SmallInteger, Table, Text

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event, Value

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
# One call, erased for a reason; or, where `call` is "", so many of a tier between two moments, whose time was over.
erasure = Table(
    "erasure",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("call", Text, nullable=False, index=True),
    Column("tier", SmallInteger, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "subject", "until"),
)


def _sealed(connection: Connection, event: Event) -> None:
    data = event.data
    values = {name: data[name] for name in ("first", "count", "root", "previous")}
    upsert(connection, segment, {"shard": data["shard"], "number": data["number"]}, {**values, "last_seq": event.seq})


def _erased(connection: Connection, event: Event) -> None:
    data = event.data
    values = {"call": data["call"], "tier": 0, "since": 0, "until": 0, "count": data["records"]}
    _erasure(connection, event, {**values, "reason": data["reason"]})


def _expired(connection: Connection, event: Event) -> None:
    values = {name: event.data[name] for name in ("tier", "since", "until", "count")}
    _erasure(connection, event, {**values, "call": "", "reason": f"kept {event.data['keep_days']} days"})


def _erasure(connection: Connection, event: Event, values: dict[str, Value]) -> None:
    more = {"subject": event.stream, "by": event.actor, "at": event.at, "last_seq": event.seq}
    upsert(connection, erasure, {"seq": event.seq}, {**values, **more})


PROJECTION = Projection(
    tables=(segment, erasure),
    handlers={
        "kernel.segment.sealed": _sealed,
        "evidence.content.erased": _erased,
        "evidence.content.expired": _expired,
    },
)
