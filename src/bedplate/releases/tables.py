"""The read table of releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

release = Table(
    "release",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),  # built, live, superseded
    Column("built_by", Text, nullable=False),
    Column("built_at", BigInteger, nullable=False),
    Column("live_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "subject", "state"),
)


def _built(connection: Connection, event: Event) -> None:
    values = {"number": event.data["number"], "state": "built", "built_by": event.actor, "built_at": event.at}
    key = {"subject": event.stream, "digest": event.data["release"]}
    upsert(connection, release, key, {**values, "live_at": 0, "last_seq": event.seq})


def _live(connection: Connection, event: Event) -> None:
    mine = release.c.subject == event.stream
    connection.execute(
        update(release).where(mine, release.c.state == "live").values(state="superseded", last_seq=event.seq)
    )
    match = release.c.digest == event.data["release"]
    connection.execute(update(release).where(mine, match).values(state="live", live_at=event.at, last_seq=event.seq))


PROJECTION = Projection(tables=(release,), handlers={"releases.release.built": _built, "releases.release.live": _live})
