"""The read tables of sightings, of what was imported, and of headcounts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Connection, Index, Table, Text, delete, insert, select, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

from .sighting import MAX_HINTS, fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.event import Event

sighting = Table(
    "sighting",
    metadata,
    Column("id", Text, primary_key=True),  # the fingerprint
    Column("kind", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("sources", Text, nullable=False),  # with commas between
    Column("team", Text, nullable=False),
    Column("times", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("reported_at", BigInteger, nullable=False),
    Column("cents", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("hints", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("into_subject", Text, nullable=False),
    Column("settled_by", Text, nullable=False),
    Column("settled_at", BigInteger, nullable=False),
    Column("declared_by", Text, nullable=False),
    Column("declared_at", BigInteger, nullable=False),
    Column("declared_why", Text, nullable=False),
    Column("amnesty", Text, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "state", "first_at"),
)
shadow_import = Table(
    "shadow_import",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
headcount = Table(
    "headcount",
    metadata,
    Column("team", Text, primary_key=True),
    Column("people", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
_UNSETTLED = {
    "state": "new",
    "reason": "",
    "until": 0,
    "into_subject": "",
    "settled_by": "",
    "settled_at": 0,
    "declared_by": "",
    "declared_at": 0,
    "declared_why": "",
    "amnesty": "no",
}


def _reported(connection: Connection, event: Event) -> None:
    source, digest = str(event.data["source"]), str(event.data["digest"])
    items: Any = event.data["items"]
    for item in items:
        _seen(connection, event, source, item)
    if digest:
        values = {"name": event.data["name"], "source": source, "at": event.at, "last_seq": event.seq}
        upsert(connection, shadow_import, {"digest": digest}, values)


def _seen(connection: Connection, event: Event, source: str, item: Mapping[str, Any]) -> None:
    seen = fingerprint(item["kind"], item["what"], item["where"])
    known = connection.execute(select(sighting).where(sighting.c.id == seen)).one_or_none()
    if known is None:
        same = {name: item[name] for name in ("kind", "what", "provider", "team", "times", "cents", "currency")}
        times = {"first_at": item["first"], "last_at": item["last"], "reported_at": event.at}
        values = {**same, **times, "place": item["where"], "sources": source, "hints": json.dumps(item["hints"])}
        connection.execute(insert(sighting).values(id=seen, **values, **_UNSETTLED, last_seq=event.seq))
        return
    sources = dict.fromkeys((*known.sources.split(","), source))
    hints = dict.fromkeys((*item["hints"], *json.loads(known.hints)))
    again = source == "code" and source in known.sources.split(",")  # code is counted as it stands, not added up
    paid = item["currency"] in {known.currency, ""} or not known.currency  # two currencies are not added up
    values = {
        "sources": ",".join(sources),
        "hints": json.dumps(list(hints)[:MAX_HINTS]),
        "provider": known.provider or item["provider"],
        "team": known.team or item["team"],
        "times": item["times"] if again else known.times + item["times"],
        "first_at": min(known.first_at, item["first"]),
        "last_at": max(known.last_at, item["last"]),
        "cents": known.cents + item["cents"] if paid else known.cents,
        "currency": known.currency or item["currency"],
        "last_seq": event.seq,
    }
    connection.execute(update(sighting).where(sighting.c.id == seen).values(**values))


def _declared(connection: Connection, event: Event) -> None:
    data, seen = event.data, event.stream.partition("/")[2]
    said = {"declared_by": event.actor, "declared_at": event.at, "declared_why": data["why"], "team": data["team"]}
    said |= {"amnesty": data["amnesty"], "last_seq": event.seq}
    if connection.execute(update(sighting).where(sighting.c.id == seen).values(**said)).rowcount:
        return
    values = {"kind": data["kind"], "what": data["what"], "place": data["where"], "provider": "", "cents": 0}
    times = {"times": 1, "first_at": event.at, "last_at": event.at, "reported_at": event.at}
    rest = {**_UNSETTLED, **values, **times, "sources": "declared", "currency": "", "hints": "[]"}
    connection.execute(insert(sighting).values(id=seen, **{**rest, **said}))


def _settled(connection: Connection, event: Event) -> None:
    values = {
        "state": event.kind.rpartition(".")[2],
        "reason": event.data["reason"],
        "until": event.data.get("until", 0),
        "into_subject": event.data.get("into", ""),
        "settled_by": event.actor,
        "settled_at": event.at,
        "last_seq": event.seq,
    }
    connection.execute(update(sighting).where(sighting.c.id == event.stream.partition("/")[2]).values(**values))


def _counted(connection: Connection, event: Event) -> None:
    teams: Any = event.data["teams"]
    connection.execute(delete(headcount))
    rows = [{"team": team, "people": people, "last_seq": event.seq} for team, people in teams.items()]
    connection.execute(insert(headcount), rows)


PROJECTION = Projection(
    tables=(sighting, shadow_import, headcount),
    handlers={
        "shadow.sighting.reported": _reported,
        "shadow.sighting.declared": _declared,
        "shadow.sighting.adopted": _settled,
        "shadow.sighting.explained": _settled,
        "shadow.sighting.dismissed": _settled,
        "shadow.headcount.recorded": _counted,
    },
)
