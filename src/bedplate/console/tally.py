"""How many calls there were today: counted once, then only what is new."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bedplate.kernel.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bedplate.gateway.views import Calls
    from bedplate.store.shard import Row, Shard

CHUNK = 1_000
LIVE = b'"route":"live"'  # exact: within text of the canonical entry its quotes would be escaped


@dataclass(frozen=True, slots=True)
class Today:
    """Live calls since midnight, UTC, and how many of them were refused."""

    calls: int
    refused: int


@dataclass(slots=True)
class _Count:
    day: int
    seen: int  # records of the shard that are counted
    calls: int = 0
    refused: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            call = row.kind.startswith("call.") and row.kind != "call.intent"
            if call and row.at // DAY == self.day and LIVE in row.entry:
                self.calls += 1
                self.refused += row.verdict == "deny"


@dataclass(slots=True)
class Tally:
    """Counts over every shard; safe to ask from any thread."""

    calls: Calls
    _counts: dict[str, _Count] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def today(self, now: int) -> Today:
        """Bring the counts up to what is on record now, and return them."""
        day = now // DAY
        with self._lock:
            for name, shard in self.calls.shards().items():
                known = self._counts.get(name)
                if known is None or known.day != day:
                    self._counts[name] = _began(shard, day)
                else:
                    _continued(shard, known)
            counts = [c for c in self._counts.values() if c.day == day]
            return Today(sum(c.calls for c in counts), sum(c.refused for c in counts))


def _began(shard: Shard, day: int) -> _Count:
    count = _Count(day, shard.head().size)
    before = count.seen
    while rows := shard.search(since=day * DAY, before=before, limit=CHUNK):
        count.add(rows)
        before = rows[-1].seq
    return count


def _continued(shard: Shard, count: _Count) -> None:
    while rows := shard.rows(count.seen, CHUNK):
        count.add(rows)
        count.seen = rows[-1].seq + 1
