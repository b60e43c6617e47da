"""Read tables of evaluations and measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, insert

from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

evaluation = Table(
    "evaluation",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("suite", Text, nullable=False),
    Column("passed", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("lower_permille", Integer, nullable=False),
    Column("results", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "subject", "seq"),
)
measure = Table(
    "measure",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("monitor", Text, nullable=False),
    Column("permille", Integer, nullable=False),
    Column("limit", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("breach", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "subject", "monitor", "seq"),
)


PROJECTION = Projection(
    tables=(evaluation, measure),
    handlers={
        "models.evaluation.recorded": lambda connection, event: _keep(connection, evaluation, event),
        "models.measure.recorded": lambda connection, event: _keep(connection, measure, event),
    },
)


def _keep(connection: Connection, table: Table, event: Event) -> None:
    row = {"seq": event.seq, "subject": event.stream, "at": event.at, "last_seq": event.seq, **event.data}
    connection.execute(insert(table).values(**row))
