"""The read table of incidents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Index, SmallInteger, Table, Text, insert, select, update

from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

incident = Table(
    "incident",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("rung", Text, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("closed_at", BigInteger, nullable=False),
    Column("resolution", Text, nullable=False),
    Column("step", SmallInteger, nullable=False, server_default="0"),  # how far up it went since it was overdue
    Column("told", Text, nullable=False, server_default=""),  # who was told then, by id, with commas between
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "subject", "opened_at"),
)


def _opened(connection: Connection, event: Event) -> None:
    row = {
        "id": event.stream,
        "opened_at": event.at,
        "closed_at": 0,
        "resolution": "",
        "rung": "",
        "step": 0,
        "told": "",
        "last_seq": event.seq,
    }
    connection.execute(insert(incident).values(**row, **event.data))


def _lowered(connection: Connection, event: Event) -> None:
    match = incident.c.id == event.data["incident"]
    connection.execute(update(incident).where(match).values(rung=event.data["rung"], last_seq=event.seq))


def _escalated(connection: Connection, event: Event) -> None:
    match = incident.c.id == event.stream
    before = connection.execute(select(incident.c.told).where(match)).scalar_one_or_none() or ""
    people = event.data["people"]
    names = [*before.split(","), *(str(p) for p in people)] if isinstance(people, list) else before.split(",")
    told = ",".join(dict.fromkeys(name for name in names if name))
    values = {"step": event.data["step"], "told": told, "last_seq": event.seq}
    connection.execute(update(incident).where(match).values(**values))


def _closed(connection: Connection, event: Event) -> None:
    values = {"closed_at": event.at, "resolution": event.data["resolution"], "last_seq": event.seq}
    connection.execute(update(incident).where(incident.c.id == event.stream).values(**values))


PROJECTION = Projection(
    tables=(incident,),
    handlers={
        "incidents.incident.opened": _opened,
        "incidents.rung.lowered": _lowered,
        "incidents.incident.escalated": _escalated,
        "incidents.incident.closed": _closed,
    },
)
