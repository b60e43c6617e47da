"""The read tables of vendors, their reviews, and the releases that rely on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Table, Text, delete, insert, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

vendor = Table(
    "vendor",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("spec", Text, nullable=False),  # digest of the whole entry
    Column("reviewer", Text, nullable=False),
    Column("reviewed_by", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("reviewed_at", BigInteger, nullable=False),  # 0 before the first review
    Column("review_due", BigInteger, nullable=False),
    Column("terms_until", BigInteger, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
vendor_review = Table(
    "vendor_review",
    metadata,
    Column("vendor", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("reviewed_by", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
vendor_use = Table(
    "vendor_use",
    metadata,
    Column("vendor", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("release", Text, primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
)


def _registered(connection: Connection, event: Event) -> None:
    data = event.data
    values: dict[str, object] = {name: data[name] for name in ("name", "spec", "reviewer", "review_due", "terms_until")}
    values |= {"registered_at": event.at, "last_seq": event.seq}
    where = vendor.c.id == event.stream.partition("/")[2]
    if connection.execute(update(vendor).where(where).values(**values)).rowcount == 0:
        first = {"id": event.stream.partition("/")[2], "reviewed_by": "", "notes": "", "reviewed_at": 0}
        connection.execute(insert(vendor).values(**first, **values))


def _reviewed(connection: Connection, event: Event) -> None:
    data, known = event.data, event.stream.partition("/")[2]
    values: dict[str, object] = {"reviewed_by": event.actor, "notes": data["notes"], "reviewed_at": event.at}
    values |= {"review_due": data["due"], "last_seq": event.seq}
    connection.execute(update(vendor).where(vendor.c.id == known).values(**values))
    row: dict[str, object] = {"reviewed_by": event.actor, "outcome": data["outcome"], "notes": data["notes"]}
    row |= {"at": event.at, "due": data["due"], "last_seq": event.seq}
    upsert(connection, vendor_review, {"vendor": known, "seq": event.seq}, row)


def _relied(connection: Connection, event: Event) -> None:
    release, targets = event.data["release"], event.data["targets"]
    where = (vendor_use.c.subject == event.stream) & (vendor_use.c.release == release)
    connection.execute(delete(vendor_use).where(where))
    rows = [row for row in targets if isinstance(row, list)] if isinstance(targets, list) else []
    for name in sorted({str(name) for row in rows for name in row[2:]}):
        values = {"vendor": name, "subject": event.stream, "release": release, "last_seq": event.seq}
        connection.execute(insert(vendor_use).values(**values))


PROJECTION = Projection(
    tables=(vendor, vendor_review, vendor_use),
    handlers={
        "vendors.vendor.registered": _registered,
        "vendors.vendor.reviewed": _reviewed,
        "vendors.release.relied": _relied,
    },
)
