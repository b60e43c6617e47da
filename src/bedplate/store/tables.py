"""The kernel's tables. Read tables carry `last_seq` and can be rebuilt from the ledger; kept tables cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bedplate.kernel.event import Event

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

event = Table(
    "event",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("entry", LargeBinary, nullable=False),
    Column("leaf", LargeBinary, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("stream", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    UniqueConstraint("stream", "version"),
    CheckConstraint("length(leaf) = 32", name="leaf"),
    CheckConstraint("length(entry) between 2 and 65535", name="entry"),
    Index(None, "kind", "seq"),
)
head = Table(
    "head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    CheckConstraint("id = 1", name="one"),
)
node = Table(
    "node",
    metadata,
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("index", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)
checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("note", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
blob = Table(
    "blob",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
standing = Table(
    "standing",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("tier", SmallInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
approval = Table(
    "approval",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("asked_at", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),  # of the content that is asked about
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "digest"),
    Index(None, "subject", "action", "state"),
    Index(None, "state", "expires"),
)
evidence = Table(
    "evidence",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("control", Text, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("blob", Text, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
model = Table(
    "model",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Projection:
    """How a plane's read tables follow the ledger: a handler per kind of event."""

    tables: tuple[Table, ...]
    handlers: Mapping[str, Callable[[Connection, Event], None]]
