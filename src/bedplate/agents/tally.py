"""What breakers count: rows in the file of the runs, so that all processes of a host count together.

A window is cut into slots; what is older than the window goes a slot at a time. Each function works within the
transaction whose connection it is given. `slot` is the moment at which the slot begins.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bedplate.kernel.clock import SECOND

if TYPE_CHECKING:
    import apsw

SLOTS = 10  # of a window
STREAK = -1  # the slot of a count that no time ends
OCTAVE = 4  # latency is counted in steps of a quarter of an octave: 19 %
P95 = 95
Key = tuple[str, str, str]  # subject, scope, measure


def slot_of(at: int, within_s: int) -> int:
    """Return the slot of a moment, in a window of so many seconds."""
    width = within_s * SECOND // SLOTS
    return at - at % width


def add(db: apsw.Connection, key: Key, slot: int, good: int, bad: int, part: int = 0) -> None:
    """Count."""
    db.execute(
        "INSERT INTO tally VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET good = good + excluded.good, "
        "bad = bad + excluded.bad",
        (*key, slot, part, good, bad),
    )


def within(db: apsw.Connection, key: Key, at: int, within_s: int) -> tuple[int, int]:
    """Return the good and the bad of the window that ends at a moment."""
    first = slot_of(at, within_s) - (SLOTS - 1) * (within_s * SECOND // SLOTS)
    order = "SELECT total(good), total(bad) FROM tally WHERE subject = ? AND scope = ? AND measure = ? AND slot >= ?"
    row: Any = db.execute(order, (*key, max(0, first))).fetchone()
    return int(row[0]), int(row[1])


def share(db: apsw.Connection, key: Key, at: int, within_s: int, *, bad: bool) -> tuple[int, int]:
    """Count one more, and return how many were bad, and how many there were."""
    add(db, key, slot_of(at, within_s), int(not bad), int(bad))
    good, wrong = within(db, key, at, within_s)
    return wrong, good + wrong


def streak(db: apsw.Connection, key: Key, *, bad: bool) -> int:
    """Count one more bad one, or begin anew with a good one; return how many bad ones there are in a row."""
    row: Any = db.execute(
        "INSERT INTO tally VALUES (?, ?, ?, ?, 0, 0, ?) ON CONFLICT DO UPDATE SET "
        "bad = CASE WHEN excluded.bad THEN bad + 1 ELSE 0 END RETURNING bad",
        (*key, STREAK, int(bad)),
    ).fetchone()
    return int(row[0])


def duration(db: apsw.Connection, key: Key, slot: int, micros: int) -> None:
    """Count how long something took."""
    add(db, key, slot, 1, 0, int(OCTAVE * math.log2(max(1, micros))))


def p95(db: apsw.Connection, key: Key, first: int, last: int) -> tuple[int, int]:
    """Return the 95th percentile, in microseconds, of the slots from `first` on and before `last`, and of how many."""
    order = (
        "SELECT part, sum(good) FROM tally WHERE subject = ? AND scope = ? AND measure = ? AND slot >= ? AND slot < ? "
        "GROUP BY part ORDER BY part"
    )
    parts: list[Any] = db.execute(order, (*key, first, last)).fetchall()
    count = sum(n for _, n in parts)
    below = 0
    for part, n in parts:
        below += n
        if below * 100 >= count * P95:
            return int(2 ** ((part + 1) / OCTAVE)), count
    return 0, 0


def clear(db: apsw.Connection, key: Key) -> None:
    """Forget what was counted: what was wrong before says nothing about now."""
    db.execute("DELETE FROM tally WHERE subject = ? AND scope = ? AND measure = ?", key)


def first(db: apsw.Connection, subject: str, agent: str, sort: str, what: str, at: int) -> bool:
    """Tell whether an agent meets this for the first time; from now on it does not."""
    db.execute("INSERT INTO met VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", (subject, agent, sort, what, at))
    return bool(db.changes())


def met_since(db: apsw.Connection, subject: str, agent: str, sort: str, since: int, *, after: str) -> int:
    """Count what an agent met for the first time since a moment, and after it first met what is sorted `after`."""
    order = (
        "SELECT count(*) FROM met WHERE subject = ? AND agent = ? AND sort = ? AND at > max(?, coalesce("
        "(SELECT min(at) FROM met WHERE subject = ? AND agent = ? AND sort = ?), 0))"
    )
    row: Any = db.execute(order, (subject, agent, sort, since, subject, agent, after)).fetchone()
    return int(row[0])


def prune(db: apsw.Connection, before: int) -> None:
    """Forget slots that began before a moment. What an agent has met is never forgotten."""
    db.execute("DELETE FROM tally WHERE slot > 0 AND slot < ?", (before,))
    db.execute("DELETE FROM met WHERE sort = 'run' AND at < ?", (before,))
