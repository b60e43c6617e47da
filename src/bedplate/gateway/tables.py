"""Read tables: keys, and the prices in force. Calls are in the journal; what they add up to, in `usage`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, SmallInteger, Table, Text, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

key = Table(
    "key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("issued_by", Text, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("revoked_at", BigInteger, nullable=False),
    Column("agent", Text, nullable=False),  # whose it is; "" where it is for calls only
    Column("last_seq", BigInteger, nullable=False),
)
tariff = Table(
    "tariff",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
# A sum over the journal, not a function of the ledger: `usage.py` writes it, and can make it anew from the shards.
usage = Table(
    "usage",
    metadata,
    Column("shard", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),  # days since the epoch, UTC
    Column("subject", Text, primary_key=True),
    Column("release", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("dialect", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("tokens_in", BigInteger, nullable=False),
    Column("cached_in", BigInteger, nullable=False),
    Column("tokens_out", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("findings", BigInteger, nullable=False),
    Index(None, "day", "subject"),
)
usage_cursor = Table(
    "usage_cursor",
    metadata,
    Column("shard", Text, primary_key=True),
    Column("next", BigInteger, nullable=False),  # the first record that is not in `usage` yet
)


def _issued(connection: Connection, event: Event) -> None:
    data = event.data
    values = {"subject": event.stream, "digest": data["digest"], "label": data["label"], "expires": data["expires"]}
    values |= {"issued_by": event.actor, "issued_at": event.at, "revoked_at": 0, "last_seq": event.seq}
    values["agent"] = data.get("agent", "")
    upsert(connection, key, {"id": data["key"]}, values)


def _revoked(connection: Connection, event: Event) -> None:
    match = key.c.id == event.data["key"]
    connection.execute(update(key).where(match).values(revoked_at=event.at, last_seq=event.seq))


def _priced(connection: Connection, event: Event) -> None:
    values = {"digest": event.data["digest"], "set_by": event.actor, "set_at": event.at, "last_seq": event.seq}
    upsert(connection, tariff, {"id": 1}, values)


PROJECTION = Projection(
    tables=(key, tariff),
    handlers={"gateway.key.issued": _issued, "gateway.key.revoked": _revoked, "gateway.prices.set": _priced},
)
