"""One group of records on its way into a shard: the statements between BEGIN and COMMIT."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, Conflict, Tampered
from bedplate.store.merkle import Frontier, leaf_hash
from bedplate.store.record import Receipt, Record, Segment
from bedplate.store.shard import COLUMNS, Head

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Mark:
    """A segment whose root is in the ledger, and the frontier at its end."""

    segment: Segment
    frontier: Frontier


class Group:
    """One group on its way into the file: what it will have changed once it is committed."""

    def __init__(self, head: Head, frontier: Frontier) -> None:
        self.head, self.frontier = head, frontier
        self.leaves: list[bytes] = []
        self.marks: list[Mark] = []

    def write(self, db: apsw.Connection, batch: Sequence[Record | Mark]) -> list[Receipt | BedplateError]:
        """Insert the records that are new, move the head, and return each one's outcome."""
        size = self.head.size
        known = _known(db, [item.id for item in batch if isinstance(item, Record)])
        rows: list[tuple[str | int | bytes, ...]] = []
        outcomes = [self._mark(item) if isinstance(item, Mark) else self._record(item, known, rows) for item in batch]
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            db.execute(_insert(len(part)), [value for row in part for value in row])
        self.head = self.head._replace(size=self.frontier.size, frontier=self.frontier.to_bytes())
        db.execute(
            "UPDATE head SET size = ?, frontier = ?, sealed = ?, segments = ?, last_root = ? WHERE id = 1 AND size = ?",
            (*self.head[:3], *self.head[5:], size),
        )
        if db.changes() != 1:
            msg = f"shard {self.head.shard}: something else wrote to it, its size is not {size} any more"
            raise Tampered(msg)
        return outcomes

    def _mark(self, mark: Mark) -> Receipt:
        sealed = mark.segment.first + mark.segment.count
        self.head = self.head._replace(sealed=sealed, segments=self.head.segments + 1, last_root=mark.segment.root)
        self.marks.append(mark)
        return Receipt(self.head.shard, sealed, mark.segment.root)

    def _record(
        self, record: Record, known: dict[str, tuple[int, bytes, bytes]], rows: list[tuple[str | int | bytes, ...]]
    ) -> Receipt | BedplateError:
        if record.id in known:
            seq, leaf, entry = known[record.id]
            if entry == record.entry:
                return Receipt(self.head.shard, seq, leaf)
            return Conflict(f"record {record.id} was already written with another entry", hint="use a new id")
        seq, leaf = self.frontier.size, leaf_hash(record.entry)
        self.frontier.append(leaf)
        self.leaves.append(leaf)
        known[record.id] = (seq, leaf, record.entry)
        rows.append((
            seq, record.id, leaf, record.entry, record.content,
            record.at, record.use_case, record.kind, record.verdict, record.status,
        ))  # fmt: skip
        return Receipt(self.head.shard, seq, leaf)


def _known(db: apsw.Connection, ids: list[str]) -> dict[str, tuple[int, bytes, bytes]]:
    wanted = "SELECT id, seq, leaf, entry FROM rec WHERE id IN (SELECT value FROM json_each(?))"
    return {name: (seq, leaf, entry) for name, seq, leaf, entry in db.execute(wanted, (json.dumps(ids),))}


@functools.cache
def _insert(rows: int) -> str:
    # Many rows to a statement, not executemany: every step gives the interpreter lock away, and beside a busy event
    # loop each one waits a switch interval (5 ms) to get it back.
    # OR ROLLBACK, for else SQLite would copy pages aside to undo one statement; a group is undone as a whole anyway.
    places = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * rows)
    return f"INSERT OR ROLLBACK INTO rec ({COLUMNS}) VALUES {places}"  # noqa: S608 - our own column names
