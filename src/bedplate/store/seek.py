"""Finding records in one journal file by what their entries say, newest first, a bounded stretch at a time.

A file has indexes by moment and by use case and moment only. So a stretch of the newest records is taken from the
index, which costs nothing for the records that are not in it, and only these entries are looked into. Content is never
read: a record may hold megabytes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    import apsw

MAX_MOMENT = (1 << 63) - 1
FIRST, GROWTH, LARGEST = 512, 4, 16_384  # records in the first stretch; each is larger than the one before it
_BEFORE = "at >= ? AND at <= ? AND (at < ? OR seq < ?)"


class Place(NamedTuple):
    """Where a record is in the order of its file: `at` in microseconds since the epoch, then `seq`."""

    at: int
    seq: int


class Glance(NamedTuple):
    """One stored record without its content."""

    at: int
    seq: int
    id: str
    leaf: bytes
    entry: bytes


@dataclass(frozen=True, slots=True)
class Sought:
    """What entries must hold; what is left empty matches all.

    `has`: of each group at least one of these bytes. `lacks`: none of these. `text`: this, whatever its ASCII case.
    `least`: a whole number at the top of the entry is at least so much. `since` and `until` are both included.
    """

    use_case: str = ""
    has: tuple[tuple[bytes, ...], ...] = ()
    lacks: tuple[bytes, ...] = ()
    text: str = ""
    least: Mapping[str, int] = field(default_factory=dict)
    since: int = 0
    until: int = MAX_MOMENT


def stretch(db: apsw.Connection, sought: Sought, before: Place, size: int) -> tuple[int, Place | None]:
    """Return how many of the `size` newest records before a place there are, and the last of them; None if all are."""
    where, bound = _span(sought, before)
    index = "rec_by_use_case" if sought.use_case else "rec_by_time"
    newest = f"SELECT at, seq FROM rec INDEXED BY {index} WHERE {where} ORDER BY at DESC, seq DESC LIMIT ?"  # noqa: S608  values are bound
    rows: list[Any] = db.execute(newest, (*bound, size)).fetchall()
    return len(rows), Place(*rows[-1]) if len(rows) == size else None


def matching(db: apsw.Connection, sought: Sought, before: Place, last: Place | None, limit: int) -> list[Glance]:
    """Return up to `limit` records that match, newest first: those before one place down to another, or all."""
    where, bound = _span(sought, before)
    conditions = [where]
    if last is not None:
        conditions.append("at >= ? AND (at > ? OR seq >= ?)")
        bound += [last.at, last.at, last.seq]
    for group in sought.has:
        conditions.append("(" + " OR ".join(["instr(entry, ?)"] * len(group)) + ")")
        bound += group
    for needle in sought.lacks:
        conditions.append("NOT instr(entry, ?)")
        bound.append(needle)
    if sought.text:
        conditions.append("instr(lower(CAST(entry AS TEXT)), lower(?))")
        bound.append(sought.text)
    for name, least in sought.least.items():
        # An eighth of what reading it as JSON costs; SQLite takes the digits that a text begins with.
        conditions.append("CAST(CAST(substr(entry, nullif(instr(entry, ?), 0) + ?, 20) AS TEXT) AS INTEGER) >= ?")
        bound += [b'"%b":' % name.encode(), len(name) + 3, least]
    index = "rec_by_use_case" if sought.use_case else "rec_by_time"
    found = f"SELECT at, seq, id, leaf, entry FROM rec INDEXED BY {index} WHERE {' AND '.join(conditions)}"  # noqa: S608  values are bound
    return [Glance(*row) for row in db.execute(f"{found} ORDER BY at DESC, seq DESC LIMIT ?", (*bound, limit))]


def _span(sought: Sought, before: Place) -> tuple[str, list[str | int | bytes]]:
    at = min(before.at, sought.until)
    seq = before.seq if before.at <= sought.until else MAX_MOMENT
    bound: list[str | int | bytes] = [sought.since, at, at, seq]
    return (f"use_case = ? AND {_BEFORE}", [sought.use_case, *bound]) if sought.use_case else (_BEFORE, bound)
