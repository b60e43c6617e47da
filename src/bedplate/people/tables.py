"""Read tables of accounts and tokens, and two kept tables: password hashes and attempts never enter the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Integer, Table, Text, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

account = Table(
    "account",
    metadata,
    Column("person", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("invited_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
token = Table(
    "token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person", Text, nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("revoked_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
training = Table(
    "training",
    metadata,
    Column("person", Text, primary_key=True),
    Column("competence", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
password = Table("password", metadata, Column("person", Text, primary_key=True), Column("hash", Text, nullable=False))
# Of sign-ins that failed, by digest of account or address. Kept beside the ledger: what is limited is on record there.
attempt = Table(
    "sign_in_attempt",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", BigInteger, nullable=False, index=True),
    Column("until", BigInteger, nullable=False),
)


def _invited(connection: Connection, event: Event) -> None:
    data = event.data
    values = {"name": data["name"], "invited_at": event.at, "last_seq": event.seq}
    upsert(connection, account, {"person": data["person"]}, values)
    _issued(connection, event)


def _issued(connection: Connection, event: Event) -> None:
    data = event.data
    values = {
        "person": data["person"],
        "digest": data["digest"],
        "purpose": data.get("purpose", "invitation"),
        "issued_at": event.at,
        "expires": data["expires"],
        "revoked_at": 0,
        "last_seq": event.seq,
    }
    upsert(connection, token, {"id": data["token"]}, values)


def _revoked(connection: Connection, event: Event) -> None:
    match = token.c.id == event.data["token"]
    connection.execute(update(token).where(match).values(revoked_at=event.at, last_seq=event.seq))


def _trained(connection: Connection, event: Event) -> None:
    data = event.data
    key = {"person": event.stream.partition("/")[2], "competence": data["competence"]}
    values = {"at": data["at"], "evidence": data["evidence"], "by": event.actor}
    upsert(connection, training, key, {**values, "recorded_at": event.at, "last_seq": event.seq})


PROJECTION = Projection(
    tables=(account, token, training),
    handlers={
        "people.training.recorded": _trained,
        "people.account.invited": _invited,
        "people.token.issued": _issued,
        "people.token.revoked": _revoked,
    },
)
