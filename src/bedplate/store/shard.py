"""One journal file, read: opened read-only by any process at any time, also while its writer is at work."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw

from bedplate.errors import NotFound, Tampered, Unavailable
from bedplate.store.merkle import HASH_BYTES, Frontier, leaf_hash
from bedplate.store.seek import FIRST, GROWTH, LARGEST, MAX_MOMENT, Glance, Place, Sought, matching, stretch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SAFE_SQLITE = (3, 51, 3)  # up to 3.51.2, two checkpointing connections can lose commits (the WAL-reset bug)
BUSY_MS = 5_000
TABLES = """
CREATE TABLE rec (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, leaf BLOB NOT NULL, entry BLOB NOT NULL,
  content BLOB NOT NULL, at INTEGER NOT NULL, use_case TEXT NOT NULL, kind TEXT NOT NULL, verdict TEXT NOT NULL,
  status TEXT NOT NULL) STRICT;
CREATE INDEX rec_by_use_case ON rec (use_case, at);
CREATE INDEX rec_by_time ON rec (at);
CREATE TABLE head (id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, frontier BLOB NOT NULL,
  sealed INTEGER NOT NULL, shard TEXT NOT NULL, epoch INTEGER NOT NULL, segments INTEGER NOT NULL,
  last_root BLOB NOT NULL) STRICT;
"""
COLUMNS = "seq, id, leaf, entry, content, at, use_case, kind, verdict, status"


class Row(NamedTuple):
    """One stored record; `seq` is its 0-based place in the shard, `at` microseconds since the epoch."""

    seq: int
    id: str
    leaf: bytes
    entry: bytes
    content: bytes
    at: int
    use_case: str
    kind: str
    verdict: str
    status: str


class Head(NamedTuple):
    """What the shard says of itself: leaves written and sealed, the frontier, segments so far and the last root."""

    size: int
    frontier: bytes
    sealed: int
    shard: str
    epoch: int
    segments: int
    last_root: bytes


def must_be_safe(version: str) -> None:
    """Refuse an SQLite `version` such as "3.51.2" that can lose commits; raises Unavailable."""
    if tuple(int(part) for part in version.split(".")) < SAFE_SQLITE:
        msg = f"SQLite {version} can lose committed records when two connections checkpoint"
        raise Unavailable(msg, hint=f"install an apsw that bundles {'.'.join(map(str, SAFE_SQLITE))} or later")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a file into our errors: Tampered, NotFound or Unavailable, each naming it."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as a journal: {error}"
        raise Tampered(msg, hint="keep the file as evidence and restore the shard") from error
    except (apsw.CantOpenError, apsw.BusyError, apsw.IOError) as error:
        if not path.exists():
            msg = f"there is no journal at {path}"
            raise NotFound(msg) from error
        msg = f"{path} cannot be read now: {error}"
        raise Unavailable(msg) from error


def connect(path: Path, *, flags: int = apsw.SQLITE_OPEN_READONLY, vfs: str | None = None) -> apsw.Connection:
    """Open one connection that never checkpoints by itself; apsw's errors pass through."""
    must_be_safe(apsw.sqlite_lib_version())
    db = apsw.Connection(str(path), flags=flags, vfs=vfs)
    db.set_busy_timeout(BUSY_MS)
    # A close must not checkpoint: after a failed fsync that would be the retry which hides the loss.
    db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    db.execute("PRAGMA temp_store = MEMORY")  # nothing of a record spills into a file of its own
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    return db


def read_head(db: apsw.Connection, path: Path) -> Head:
    """Read the head row; raises Tampered if it is missing or not what a head is made of."""
    columns = ", ".join(Head._fields)
    row = db.execute(f"SELECT {columns} FROM head WHERE id = 1").fetchone()  # noqa: S608 - our own column names
    if row is None:
        msg = f"{path} has no head row"
        raise Tampered(msg)
    head = Head(*row)
    kinds = (int, bytes, int, str, int, int, bytes)
    well = all(isinstance(value, kind) for value, kind in zip(head, kinds, strict=True))
    if not well or not 0 <= head.sealed <= head.size:
        msg = f"{path} has a damaged head row"
        raise Tampered(msg)
    return head


def checked(
    shard: str, rows: Iterable[tuple[int, Any, Any]], first: int, until: int, trusted: int = 0
) -> Iterator[bytes]:
    """Yield the leaves of (seq, leaf, entry) rows that must be exactly first ... until - 1, each recomputed.

    Below `trusted` the stored leaf is taken as it is. Raises Tampered naming the shard and the first seq that is
    missing, surplus or does not hash to its leaf.
    """
    expected = first
    for seq, leaf, entry in rows:
        if seq != expected or seq >= until:
            _wrong(shard, min(seq, expected), "a record is missing" if seq > expected else "a record too many")
        if not isinstance(leaf, bytes) or len(leaf) != HASH_BYTES:
            _wrong(shard, seq, "the leaf is not a hash")
        if seq >= trusted and not (isinstance(entry, bytes) and leaf_hash(entry) == leaf):
            _wrong(shard, seq, "the entry does not hash to its leaf")
        yield leaf
        expected += 1
    if expected != until:
        _wrong(shard, expected, "a record is missing")


def rebuilt(db: apsw.Connection, head: Head, trusted: int = 0) -> tuple[Frontier, bytearray]:
    """Rebuild the frontier from every record; return it as it was at `sealed`, and the leaves after that.

    From `trusted` on every leaf is recomputed from its entry. Raises Tampered naming shard and seq, or only the shard
    when no record is wrong by itself but together they do not give the head's root.
    """
    rows = db.execute("SELECT seq, leaf, CASE WHEN seq >= ? THEN entry END FROM rec ORDER BY seq", (trusted,))
    frontier, sealed, held = Frontier(), Frontier(), bytearray()
    for leaf in checked(head.shard, rows, 0, head.size, trusted):
        frontier.append(leaf)
        if frontier.size == head.sealed:
            sealed = frontier.copy()
        elif frontier.size > head.sealed:
            held += leaf
    if frontier.to_bytes() != head.frontier:
        msg = f"shard {head.shard}: the root of its {head.size} records is not the root in its head"
        raise Tampered(msg)
    return sealed, held


def _wrong(shard: str, seq: int, what: str) -> None:
    msg = f"shard {shard} seq {seq}: {what}"
    raise Tampered(msg, hint="keep the file as evidence and compare with the sealed segments")


class Shard:
    """A journal file opened read-only. Methods may be called from any thread; they wait for each other."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        """Open the file; raises NotFound, Unavailable, or Tampered if it is not a database."""
        self.path = path
        self._lock = threading.Lock()
        with reading(path):
            self._db = connect(path, vfs=vfs)
            self.shard = read_head(self._db, path).shard

    def head(self) -> Head:
        """Return the head as last committed."""
        with self._lock, reading(self.path):
            return read_head(self._db, self.path)

    def get(self, id: str) -> Row | None:  # noqa: A002 - the column's name
        """Return the record with this id, or None."""
        found = self._rows("WHERE id = ?", (id,))
        return found[0] if found else None

    def rows(self, first: int, count: int) -> list[Row]:
        """Return the records first ... first + count - 1, fewer at the end of the shard."""
        return self._rows("WHERE seq >= ? AND seq < ? ORDER BY seq", (first, first + count))

    def entries(self, first: int, count: int) -> list[tuple[int, bytes]]:
        """Return seq and entry of the records first ... first + count - 1, without their content."""
        with self._lock, reading(self.path):
            span = "SELECT seq, entry FROM rec WHERE seq >= ? AND seq < ? ORDER BY seq"
            return [(seq, entry) for seq, entry in self._db.execute(span, (first, first + count))]

    def leaves(self, first: int, count: int) -> list[bytes]:
        """Return the stored 32-byte leaves of the records first ... first + count - 1."""
        with self._lock, reading(self.path):
            span = "SELECT leaf FROM rec WHERE seq >= ? AND seq < ? ORDER BY seq"
            return [leaf for (leaf,) in self._db.execute(span, (first, first + count))]

    def search(
        self,
        *,
        use_case: str = "",
        verdict: str = "",
        kind: str = "",
        without: Sequence[str] = (),
        text: str = "",
        before: int | None = None,
        since: int = 0,
        limit: int = 100,
    ) -> list[Row]:
        """Return up to `limit` matching records, newest (highest seq) first; an empty filter matches all.

        `without` leaves out records of these kinds, `before` is a seq (pass the last row's to get the next page),
        `since` is in microseconds since the epoch, `text` is looked for in the entry's bytes, whatever its ASCII case.
        """
        where: list[str] = ["at >= ?"]
        bound: list[str | int] = [since]
        for column, value in (("use_case", use_case), ("verdict", verdict), ("kind", kind)):
            if value:
                where.append(f"{column} = ?")
                bound.append(value)
        where += ["kind <> ?"] * len(without)
        bound += without
        if text:
            where.append("instr(lower(CAST(entry AS TEXT)), lower(?))")
            bound.append(text)
        if before is not None:
            where.append("seq < ?")
            bound.append(before)
        return self._rows(f"WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?", (*bound, max(limit, 0)))

    def seek(
        self, sought: Sought, *, before: Place | None = None, limit: int = 100, most: int = MAX_MOMENT
    ) -> tuple[list[Glance], Place | None, int]:
        """Return up to `limit` matching records, newest (by moment, then seq) first, from before a place on.

        About `most` records are looked at. The second value is the place to go on from, None if nothing is left; the
        third how many were looked at. Others may read the file in between.
        """
        found: list[Glance] = []
        place: Place | None = before or Place(MAX_MOMENT, MAX_MOMENT)
        looked, size = 0, FIRST
        while place is not None and len(found) < limit and looked < most:
            with self._lock, reading(self.path):
                count, last = stretch(self._db, sought, place, size)
                more = matching(self._db, sought, place, last, limit - len(found)) if count else []
            found += more
            looked, size = looked + count, min(size * GROWTH, LARGEST)
            place = Place(found[-1].at, found[-1].seq) if len(found) == limit else last
        return found, place, looked

    def first_since(self, at: int) -> int:
        """Return the seq of the earliest record of this moment or later; the shard's size if there is none."""
        with self._lock, reading(self.path):
            row = self._db.execute("SELECT seq FROM rec WHERE at >= ? ORDER BY at, seq LIMIT 1", (at,)).fetchone()
            return row[0] if row is not None else read_head(self._db, self.path).size

    def verify(self) -> tuple[int, bytes]:
        """Check the whole shard in one snapshot and return (size, 32-byte root).

        Every leaf is recomputed from its entry, the sequence is contiguous, the root is the head's, and SQLite finds
        its indexes to agree with the table. Raises Tampered naming shard and seq, or the file. A record dropped with
        everything after it and a matching head is only visible against what the ledger holds of this shard.
        """
        with self._lock, reading(self.path), self._db:
            head = read_head(self._db, self.path)
            rebuilt(self._db, head)
            found = self._db.execute("PRAGMA integrity_check(1)").fetchall()
            if found != [("ok",)]:
                msg = f"shard {head.shard}: {self.path} is damaged: {found[0][0]}"
                raise Tampered(msg)
        return head.size, Frontier.from_bytes(head.size, head.frontier).root()

    def check(self, first: int, count: int) -> list[bytes]:
        """Return the leaves of first ... first + count - 1, recomputed; raises Tampered naming shard and seq."""
        with self._lock, reading(self.path):
            span = "SELECT seq, leaf, entry FROM rec WHERE seq >= ? AND seq < ? ORDER BY seq"
            rows = self._db.execute(span, (first, first + count))
            return list(checked(self.shard, rows, first, first + count))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _rows(self, where: str, values: tuple[str | int, ...]) -> list[Row]:
        with self._lock, reading(self.path):
            found = self._db.execute(f"SELECT {COLUMNS} FROM rec {where}", values)  # noqa: S608 - values are bound
            return [Row(*row) for row in found]
