"""Reads: the ledger's events, sealed segments, what was erased and why, and the proof of one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Engine, and_, func, select

from bedplate.errors import NotFound, Tampered, Unavailable
from bedplate.kernel.event import Event, unseal
from bedplate.store import tables as t
from bedplate.store.merkle import inclusion_proof, root_of
from bedplate.store.proof import Proof

from .tables import erasure, segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from bedplate.store.shard import Shard


def events(engine: Engine, *, stream: str = "", kind: str = "", before: int = 0, limit: int = 100) -> list[Event]:
    """List events, newest first; of one stream or kind, or before a sequence number, if given."""
    query = select(t.event.c.entry).order_by(t.event.c.seq.desc()).limit(limit)
    if stream:
        query = query.where(t.event.c.stream == stream)
    if kind:
        query = query.where(t.event.c.kind == kind)
    if before:
        query = query.where(t.event.c.seq < before)
    with engine.connect() as connection:
        return [unseal(bytes(entry)) for entry in connection.execute(query).scalars()]


def event(engine: Engine, seq: int) -> Event:
    """Return one event; `NotFound` beyond the head."""
    with engine.connect() as connection:
        entry = connection.execute(select(t.event.c.entry).where(t.event.c.seq == seq)).scalar_one_or_none()
    if entry is None:
        raise NotFound(f"there is no event {seq}")
    return unseal(bytes(entry))


def size(engine: Engine) -> int:
    """Return how many events there are."""
    with engine.connect() as connection:
        return int(connection.execute(select(t.head.c.size)).scalar_one())


def segments(engine: Engine, shard: str) -> list[dict[str, Any]]:
    """List the sealed segments of a shard, oldest first."""
    query = (
        select(segment, segment.c["count"].label("length")).where(segment.c.shard == shard).order_by(segment.c.number)
    )
    with engine.connect() as connection:
        return [dict(r._mapping) for r in connection.execute(query)]  # noqa: SLF001  public by documentation


def anchored_shards(engine: Engine) -> set[str]:
    """Return the names of the shards of which anything is anchored."""
    with engine.connect() as connection:
        return set(connection.execute(select(segment.c.shard).distinct()).scalars())


def sealed_size(engine: Engine, shard: str) -> int:
    """Return how many records of a shard are anchored."""
    query = select(func.max(segment.c.first + segment.c["count"])).where(segment.c.shard == shard)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one_or_none() or 0)


def erased(engine: Engine, call: str) -> dict[str, Any] | None:
    """Return the first erasure of this one call, for a reason; None if nobody erased it."""
    return _erasure(engine, erasure.c.call == call)


def expired(engine: Engine, subject: str, tier: int, at: int) -> dict[str, Any] | None:
    """Return the first erasure of what was said at that moment in this tier, for its time was over."""
    of_tier = and_(erasure.c.subject == subject, erasure.c.call == "", erasure.c.tier == tier)
    return _erasure(engine, and_(of_tier, erasure.c.since <= at, erasure.c.until >= at))


def erased_calls(engine: Engine) -> list[str]:
    """List every call that was erased for a reason."""
    with engine.connect() as connection:
        return list(connection.execute(select(erasure.c.call).where(erasure.c.call != "").distinct()).scalars())


def prove(
    engine: Engine,
    shard: Shard,
    name: str,
    seq: int,
    entry: bytes,
    anchored: Callable[[int], tuple[int, list[bytes], str]],
) -> Proof:
    """Make the proof of one call: record → segment → ledger event → signed checkpoint.

    `anchored(event_seq)` returns tree size, inclusion proof and note. `Unavailable` while the record is not anchored.
    """
    query = select(segment, segment.c["count"].label("length")).where(
        segment.c.shard == name, segment.c.first <= seq, segment.c.first + segment.c["count"] > seq
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise Unavailable("this call is not anchored yet", hint="it will be within a minute; try again")
    leaves = shard.leaves(row.first, row.length)
    sealed = event(engine, row.last_seq)
    _, path, note = anchored(sealed.seq)
    return Proof(
        call=entry,
        call_index=seq - row.first,
        segment_size=row.length,
        call_path=tuple(inclusion_proof(seq - row.first, row.length, _subtrees(leaves))),
        event=sealed.entry,
        event_index=sealed.seq,
        event_path=tuple(path),
        note=note,
    )


def check_shard(engine: Engine, shard: Shard, name: str) -> int:
    """Verify a shard in itself and against what is anchored; returns its size. `Tampered` names shard and record."""
    anchored = segments(
        engine, name
    )  # first: a shard that is being written may be longer by the next line, not shorter
    length, _ = shard.verify()
    for row in anchored:
        end = row["first"] + row["count"]
        if length < end:
            raise Tampered(f"shard {name} holds {length} records, but {end} were anchored: its tail was removed")
        if root_of(shard.leaves(row["first"], row["count"])).hex() != row["root"]:
            raise Tampered(f"shard {name}, segment {row['number']} (records {row['first']} to {end - 1}) was changed")
    return length


def _erasure(engine: Engine, match: ColumnElement[bool]) -> dict[str, Any] | None:
    with engine.connect() as connection:
        row = connection.execute(select(erasure).where(match).order_by(erasure.c.seq).limit(1)).one_or_none()
    return None if row is None else dict(row._mapping)  # noqa: SLF001  public by documentation


def _subtrees(leaves: list[bytes]) -> Callable[[int, int], bytes]:
    def node(level: int, index: int) -> bytes:
        start = index << level
        return root_of(leaves[start : start + (1 << level)])

    return node
