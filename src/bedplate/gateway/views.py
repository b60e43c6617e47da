"""Reads: keys, from the database; calls, from the journal's shards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select

from bedplate.errors import NotFound
from bedplate.kernel.clock import parse_rfc3339
from bedplate.store.merkle import leaf_hash
from bedplate.store.seek import Glance, Sought
from bedplate.store.shard import Row, Shard

from .search import MOST_LOOKED, Cursor, Found, Wanted
from .tables import key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FEEDBACK = "feedback.given"  # what was said of a call: a record beside the call's own


def keys(engine: Engine, subject: str) -> list[dict[str, Any]]:
    """List the keys of a use case, newest first; never their text."""
    query = select(key).where(key.c.subject == subject).order_by(key.c.issued_at.desc())
    with engine.connect() as connection:
        return [{k: v for k, v in r._mapping.items() if k != "digest"} for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def key_by_id(engine: Engine, key_id: str) -> dict[str, Any]:
    """Return one key; `NotFound` if there is none."""
    with engine.connect() as connection:
        row = connection.execute(select(key).where(key.c.id == key_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no key {key_id}", hint="list them: bedplate key list USE-CASE")
    return dict(row._mapping)  # noqa: SLF001  as above


@dataclass(frozen=True, slots=True)
class Call:
    """One record of the journal: where it is, its entry, and its content while it was not erased."""

    shard: str
    seq: int
    id: str
    at: int
    leaf: str
    entry: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {"shard": self.shard, "seq": self.seq, "id": self.id, "at": self.at, "leaf": self.leaf, **self.entry}


class Calls:
    """The run-time records of every shard in a folder, read while they are written."""

    def __init__(self, folder: Path, open_content: Callable[[str, bytes], bytes]) -> None:
        self._folder = folder
        self._open = open_content
        self._shards: dict[Path, Shard] = {}

    def shards(self) -> dict[str, Shard]:
        """Return the shards by name, opening those that are new."""
        for path in sorted(self._folder.glob("*.db")):
            if path not in self._shards:
                self._shards[path] = Shard(path)
        return {path.stem: shard for path, shard in self._shards.items()}

    def search(
        self, *, use_case: str = "", verdict: str = "", text: str = "", since: int = 0, limit: int = 100
    ) -> list[Call]:
        """Return matching calls, newest first; intents, and what was said of calls later, are left out."""
        sought = Wanted(subject=use_case, verdict=verdict, text=text, since=since).sought()
        return self._newest(sought, limit)

    def page(self, wanted: Wanted, *, before: str = "", limit: int = 100, most: int = MOST_LOOKED) -> Found:
        """Return one page of calls, newest first, from `before` (the last page's `older`) on.

        About `most` records of each shard are looked at: where they do not fill the page, it is what was found, and
        says so. `InvalidInput` if `before` is no place.
        """
        sought, start = wanted.sought(), Cursor.parse(before) if before else None
        merged: list[tuple[Cursor, Call]] = []
        ends: list[Cursor] = []  # of the shards that hold more
        looked = 0
        for name, shard in self.shards().items():
            rows, place, count = shard.seek(
                sought, before=start.within(name) if start else None, limit=limit + 1, most=most
            )
            looked += count
            merged += [(Cursor(row.at, name, row.seq), _glanced(name, row)) for row in rows]
            if place is not None:
                ends.append(Cursor(place.at, name, place.seq))
        # What is older than where one shard stopped may belong behind something that was not looked at there.
        down = max(ends, default=None)
        seen = sorted((c for c in merged if down is None or c[0] >= down), key=_place, reverse=True)
        calls = [call for _, call in seen[:limit]]
        if len(seen) > limit:
            return Found(calls, seen[limit - 1][0].text(), looked)
        return Found(calls, down.text() if down is not None else "", looked, short=down is not None)

    def feedback(self, call_id: str) -> list[Call]:
        """Return what was said of one call, newest first."""
        call = self.get(call_id)
        about = f'"call":"{call_id}"'
        said = self.feedback_of(call.entry["use_case"], since=0, text=about)
        return [record for record in said if record.entry["call"] == call_id]

    def feedback_of(self, subject: str, since: int = 0, *, text: str = "", limit: int = 1_000) -> list[Call]:
        """Return what was said of a use case's calls since a moment, newest first.

        Feedback is filed under a name of its own in the journal's index, so that few rows are looked at among many.
        """
        return self._newest(Sought(use_case=filed(subject), text=text, since=since), limit)

    def _newest(self, sought: Sought, limit: int) -> list[Call]:
        found: list[Call] = []
        for name, shard in self.shards().items():
            rows, _, _ = shard.seek(sought, limit=limit)
            found += [_glanced(name, row) for row in rows]
        return sorted(found, key=lambda c: (c.at, c.seq), reverse=True)[:limit]

    def find(self, call_id: str) -> tuple[Shard, Row, str]:
        """Return a call's shard, row and shard name; `NotFound` if nothing is on record under this id."""
        for name, shard in self.shards().items():
            row = shard.get(call_id)
            if row is not None:
                return shard, row, name
        raise NotFound(f"no call {call_id} is on record", hint="search: bedplate calls")

    def get(self, call_id: str) -> Call:
        """Return one call; `NotFound` too for what is on record, but about a call."""
        _, row, name = self.find(call_id)
        if row.kind == FEEDBACK:
            raise NotFound(f"{call_id} is feedback about a call", hint=f"see it: bedplate feedback show {call_id}")
        return _call(name, row)

    def said(self, feedback_id: str) -> Call:
        """Return one record of feedback; `NotFound` if there is none."""
        _, row, name = self.find(feedback_id)
        if row.kind != FEEDBACK:
            raise NotFound(f"{feedback_id} is a call, not feedback", hint=f"see it: bedplate call {feedback_id}")
        return _call(name, row)

    def content(self, call_id: str) -> dict[str, Any] | None:
        """Return what was asked and answered; None where nothing was kept or it was erased."""
        _, row, _ = self.find(call_id)
        if not row.content:
            return None
        try:
            return dict(json.loads(self._open(row.id, row.content)))
        except NotFound:
            return None

    def used(self, subject: str, since: int) -> tuple[int, int]:
        """Count the live calls of a use case since a moment, and their tokens."""
        calls = self.search(use_case=subject, verdict="allow", since=since, limit=100_000)
        live = [c.entry for c in calls if c.entry["route"] == "live"]
        return len(live), sum(e["tokens_in"] + e["tokens_out"] for e in live)

    def close(self) -> None:
        """Close every shard that was opened."""
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()


def filed(subject: str) -> str:
    """Return the name under which the journal finds what was said of a use case's calls."""
    return f"feedback/{subject.partition('/')[2]}"


def _call(shard: str, row: Row) -> Call:
    return Call(shard, row.seq, row.id, row.at, row.leaf.hex(), json.loads(row.entry))


def recorded(shard: str, seq: int, entry: bytes) -> Call:
    """Return a call as its entry says it, for who has the entry alone; `at` is when it ended."""
    told = json.loads(entry)
    return Call(shard, seq, told["id"], parse_rfc3339(told["ended"]), leaf_hash(entry).hex(), told)


def _glanced(shard: str, row: Glance) -> Call:
    return Call(shard, row.seq, row.id, row.at, row.leaf.hex(), json.loads(row.entry))


def _place(found: tuple[Cursor, Call]) -> Cursor:
    return found[0]


def summarise(calls: Sequence[Call]) -> dict[str, int]:
    """Count calls by verdict and status."""
    counts: dict[str, int] = {}
    for call in calls:
        for name in (call.entry["verdict"], call.entry["status"]):
            counts[name] = counts.get(name, 0) + 1
    return counts
