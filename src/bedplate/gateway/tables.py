"""The read table of keys. Calls are in the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Table, Text, update

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
    Column("last_seq", BigInteger, nullable=False),
)


def _issued(connection: Connection, event: Event) -> None:
    data = event.data
    values = {"subject": event.stream, "digest": data["digest"], "label": data["label"], "expires": data["expires"]}
    values |= {"issued_by": event.actor, "issued_at": event.at, "revoked_at": 0, "last_seq": event.seq}
    upsert(connection, key, {"id": data["key"]}, values)


def _revoked(connection: Connection, event: Event) -> None:
    match = key.c.id == event.data["key"]
    connection.execute(update(key).where(match).values(revoked_at=event.at, last_seq=event.seq))


PROJECTION = Projection(tables=(key,), handlers={"gateway.key.issued": _issued, "gateway.key.revoked": _revoked})
