"""The read table of use cases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, SmallInteger, Table, Text, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

usecase = Table(
    "usecase",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("sponsor", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("bucket", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("impact", Text, nullable=False),
    Column("autonomy", Text, nullable=False),
    Column("tier", SmallInteger, nullable=False),
    Column("value", SmallInteger, nullable=False),
    Column("feasibility", SmallInteger, nullable=False),
    Column("yearly_cents", BigInteger, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("path", Text, nullable=False),  # the golden path it was made from, NAME@VERSION
    Column("decision", Text, nullable=False),  # why it was declined or retired
    Column("proposed_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
_PLAIN = ("title", "owner", "sponsor", "domain", "bucket", "purpose", "impact", "autonomy", "tier")
_SCORES = ("value", "feasibility", "yearly_cents", "spec", "path")


def _proposed(connection: Connection, event: Event) -> None:
    values = {name: event.data[name] for name in _PLAIN + _SCORES}
    values |= {"reasons": json.dumps(event.data["reasons"]), "decision": ""}
    upsert(connection, usecase, {"subject": event.stream}, {**values, "proposed_at": event.at, "last_seq": event.seq})


def _decided(connection: Connection, event: Event) -> None:
    reason = str(event.data.get("reason", ""))
    connection.execute(
        update(usecase).where(usecase.c.subject == event.stream).values(decision=reason, last_seq=event.seq)
    )


PROJECTION = Projection(
    tables=(usecase,),
    handlers={
        "portfolio.usecase.proposed": _proposed,
        "portfolio.usecase.accepted": _decided,
        "portfolio.usecase.declined": _decided,
        "portfolio.usecase.retired": _decided,
    },
)
