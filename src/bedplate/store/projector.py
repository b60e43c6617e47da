"""Read tables follow the ledger: in the same transaction as the event, or rebuilt from the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from bedplate.kernel.event import Event, canonical, unseal
from bedplate.kernel.standing import plain

from . import tables as t
from .reads import read_approval, read_standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bedplate.kernel.manifest import Catalogue

    from .tables import Projection

KERNEL_READS: tuple[Table, ...] = (t.standing, t.approval, t.evidence, t.model)


def upsert(connection: Connection, table: Table, key: Mapping[str, object], values: Mapping[str, object]) -> None:
    """Update the row with this key, or insert it. Under the writer's lock the two steps are one."""
    match = [table.c[name] == value for name, value in key.items()]
    if connection.execute(update(table).where(*match).values(**values)).rowcount == 0:
        connection.execute(insert(table).values(**key, **values))


class Projector:
    """Applies events to the kernel's read tables and to every plane's."""

    def __init__(self, catalogue: Catalogue, projections: Iterable[Projection]) -> None:
        self._catalogue = catalogue
        self._projections = tuple(projections)

    @property
    def read_tables(self) -> tuple[Table, ...]:
        """Every table that is a function of the ledger."""
        return KERNEL_READS + tuple(table for p in self._projections for table in p.tables)

    def apply(self, connection: Connection, event: Event) -> None:
        """Bring every read table up to this event."""
        self._standing(connection, event)
        if event.kind.startswith("kernel.approval."):
            self._approval(connection, event)
        elif event.kind == "kernel.evidence.attached":
            _evidence(connection, event)
        elif event.kind == "kernel.model.applied":
            upsert(connection, t.model, {"id": 1}, {"digest": event.data["digest"], "last_seq": event.seq})
        for projection in self._projections:
            handler = projection.handlers.get(event.kind)
            if handler is not None:
                handler(connection, event)

    def rebuild(self, connection: Connection) -> None:
        """Empty the read tables and replay the whole ledger, in the caller's transaction."""
        for table in reversed(self.read_tables):
            connection.execute(delete(table))
        for (entry,) in connection.execute(select(t.event.c.entry).order_by(t.event.c.seq)):
            self.apply(connection, unseal(entry))

    def dump(self, connection: Connection) -> dict[str, list[dict[str, Any]]]:
        """Return every row of every read table in a stable order, to be compared."""
        return {
            table.name: sorted((dict(row._mapping) for row in connection.execute(select(table))), key=repr)  # noqa: SLF001  public by documentation
            for table in self.read_tables
        }

    def _standing(self, connection: Connection, event: Event) -> None:
        before = read_standing(connection, event.stream)
        after = self._catalogue.move(before, event)
        if after is None:
            return
        values = {
            "body": canonical(plain(after)).decode(),
            "owner": after.owner,
            "domain": after.domain,
            "stage": after.stage,
            "tier": after.tier,
            "last_seq": event.seq,
        }
        upsert(connection, t.standing, {"subject": event.stream}, values)

    def _approval(self, connection: Connection, event: Event) -> None:
        after = read_approval(connection, event.stream)  # folds this event too: it is in the table by now
        if after is None:
            return
        values = {
            "subject": after.subject,
            "action": after.action,
            "state": after.state,
            "expires": after.expires,
            "asked_at": after.asked_at,
            "digest": after.digest,
            "last_seq": event.seq,
        }
        upsert(connection, t.approval, {"id": after.id}, values)


def _evidence(connection: Connection, event: Event) -> None:
    data = event.data
    key = {"subject": event.stream, "digest": data["digest"], "control": data["control"]}
    values = {name: data[name] for name in ("outcome", "summary", "expires", "blob")}
    upsert(connection, t.evidence, key, {**values, "at": event.at, "last_seq": event.seq})
