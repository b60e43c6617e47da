"""The journal's calls added up by day: incrementally, exactly once, and never on the way of a call.

A batch of records and the place up to which they were read are written in one transaction, so that a crash repeats or
loses none. The table is no source of truth: `differs` adds up the shards anew and compares.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, bindparam, func, insert, select, update

from bedplate.errors import Tampered
from bedplate.kernel.clock import DAY, EPOCH, MICROSECOND
from bedplate.store.engine import writing

from .cells import Counted
from .price import UNKNOWN_ID
from .tables import usage, usage_cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bedplate.store.shard import Shard

BATCH = 4_096  # records in a transaction
MOST_TOKENS, MOST_NANO = 1 << 30, 1 << 46  # of one record: whatever somebody says, the sums fit into 63 bits
LIVE = "live"  # the route that budgets count
CANARY = "canary"  # nobody's use: synthetic, and answered in this process
NAMES = ("shard", "day", "subject", "release", "model", "key", "dialect", "route")
COUNTS = ("calls", "refused", "failed", "tokens_in", "cached_in", "tokens_out", "cost_nano", "unpriced", "findings")
_ORDINAL = EPOCH.toordinal()


class Told(msgspec.Struct):
    """What a record says that is added up; what older records do not say is nothing."""

    kind: str = ""
    use_case: str = ""
    started: str = ""
    release: str = ""
    model: str = ""
    key: str = ""
    dialect: str = ""
    route: str = ""
    verdict: str = ""
    status: str = ""
    price: str = ""
    answer_of: str = ""
    tokens_in: int = 0
    cached_in: int = 0
    tokens_out: int = 0
    cost_nano: int = 0
    findings: list[str] = []  # copied for each by msgspec


class Line(NamedTuple):
    """Where a call is counted; `day` is the UTC day it was begun, since the epoch."""

    shard: str
    day: int
    subject: str
    release: str
    model: str
    key: str
    dialect: str
    route: str


Sums = dict[Line, list[int]]
_told = msgspec.json.Decoder(Told)


class Usage:
    """Adds up shards. `shards` returns every shard of the data folder by name, opened for reading."""

    def __init__(self, engine: Engine, shards: Callable[[], Mapping[str, Shard]]) -> None:
        self._engine = engine
        self._shards = shards
        self._known: set[Line] = set()  # lines of the newest days that are in the table

    def waiting(self, shard: str) -> int:
        """Return how many records of a shard are not added up yet."""
        with self._engine.connect() as connection:
            return self._shards()[shard].head().size - _next(connection, shard)

    def roll(self, shard: str, most: int = 16 * BATCH) -> int:
        """Add up what a shard has that is not counted yet, at most so many records; returns how many."""
        file, done = self._shards()[shard], 0
        with self._engine.connect() as connection:
            begun = _next(connection, shard)
        while done < most:
            rows = file.entries(begun + done, min(BATCH, most - done))
            if not rows or not self._write(shard, begun + done, _sums(shard, (entry for _, entry in rows)), len(rows)):
                break
            done += len(rows)
        return done

    def counted(self, shard: str, now: int) -> dict[str, Counted]:
        """Return what a shard has on record of live calls today and before in this month, by subject."""
        day = now // DAY
        moment = EPOCH + day * DAY * MICROSECOND
        month = moment.year * 12 + moment.month - 1
        columns = [usage.c[name] for name in NAMES] + [usage.c[name] for name in COUNTS]
        query = select(*columns).where(usage.c.shard == shard, usage.c.day > day - moment.day, usage.c.route == LIVE)
        with self._engine.connect() as connection:
            begun = _next(connection, shard)
            sums: Sums = {Line(*row[:8]): list(row[8:]) for row in connection.execute(query)}
        file = self._shards().get(shard)
        while file is not None and (rows := file.entries(begun, BATCH)):
            _add(sums, _sums(shard, (entry for _, entry in rows)))
            begun += len(rows)
        found: dict[str, list[int]] = defaultdict(lambda: [0] * 6)
        for line, counts in sums.items():
            if line.route == LIVE and day - moment.day < line.day <= day:
                told = (counts[0], counts[3] + counts[5], counts[6])
                for place, count in enumerate(told, 0 if line.day == day else 3):
                    found[line.subject][place] += count
        return {subject: Counted(day, month, *counts) for subject, counts in found.items()}

    def differs(self) -> list[str]:
        """Add up every shard anew, as far as it is counted, and compare; names what differs. Reads every record."""
        wrong = []
        for name, file in self._shards().items():
            with self._engine.connect() as connection:
                until = _next(connection, name)
                there: Sums = {
                    Line(*row[:8]): list(row[8:])
                    for row in connection.execute(
                        select(*(usage.c[n] for n in (*NAMES, *COUNTS))).where(usage.c.shard == name)
                    )
                }
            anew: Sums = {}
            for first in range(0, until, BATCH):
                rows = file.entries(first, min(BATCH, until - first))
                _add(anew, _sums(name, (entry for _, entry in rows)))
            if until > file.head().size:
                wrong.append(f"{name}: {until} records are counted, and it holds {file.head().size}")
            other = {(x.subject, x.day) for x in anew.keys() | there.keys() if anew.get(x) != there.get(x)}
            wrong += [f"{name}: {who} on {day_text(day)} is not what its records add up to" for who, day in other]
        return sorted(wrong)

    def _write(self, shard: str, begun: int, sums: Sums, count: int) -> bool:
        """Write one batch; False if somebody else has counted from here on meanwhile."""
        with writing(self._engine.connect()) as connection, connection.begin():
            if not _claimed(connection, shard, begun, begun + count):
                return False
            known = [line for line in sums if line in self._known]
            for line in sums.keys() - self._known:
                if connection.execute(_MORE, _values(line, sums[line], "m_", "n_")).rowcount == 0:
                    connection.execute(insert(usage).values(**_values(line, sums[line])))
            if known:
                connection.execute(_MORE, [_values(line, sums[line], "m_", "n_") for line in known])
        newest = max((line.day for line in sums), default=0)
        self._known = {line for line in self._known | sums.keys() if line.day >= newest - 1}
        return True


def used(engine: Engine, first: int, last: int) -> dict[str, tuple[int, int, int]]:
    """Return the live calls, tokens and nano-dollars of days (since the epoch, both included), by subject."""
    columns = [func.sum(usage.c[name]) for name in ("calls", "tokens_in", "tokens_out", "cost_nano")]
    query = select(usage.c.subject, *columns).where(usage.c.day.between(first, last), usage.c.route == LIVE)
    with engine.connect() as connection:
        rows = connection.execute(query.group_by(usage.c.subject)).all()
    return {str(s): (int(calls), int(given) + int(got), int(nano)) for s, calls, given, got, nano in rows}


def day_text(day: int) -> str:
    """Write a day since the epoch as `2026-11-23`."""
    return date.fromordinal(_ORDINAL + day).isoformat()


def day_of(text: str) -> int:
    """Read a day such as `2026-11-23`, since the epoch; `ValueError` if it is not one."""
    return date.fromisoformat(text).toordinal() - _ORDINAL


_MORE = (
    update(usage)
    .where(*(usage.c[name] == bindparam(f"m_{name}") for name in NAMES))
    .values({name: usage.c[name] + bindparam(f"n_{name}") for name in COUNTS})
)


def _values(line: Line, counts: list[int], match: str = "", new: str = "") -> dict[str, str | int]:
    where = {f"{match}{name}": getattr(line, name) for name in NAMES}
    return where | {f"{new}{name}": value for name, value in zip(COUNTS, counts, strict=True)}


def _claimed(connection: Connection, shard: str, begun: int, until: int) -> bool:
    match = (usage_cursor.c.shard == shard, usage_cursor.c.next == begun)
    if connection.execute(update(usage_cursor).where(*match).values(next=until)).rowcount:
        return True
    if begun or connection.execute(select(func.count()).where(usage_cursor.c.shard == shard)).scalar_one():
        return False
    connection.execute(insert(usage_cursor).values(shard=shard, next=until))
    return True


def _next(connection: Connection, shard: str) -> int:
    query = select(usage_cursor.c.next).where(usage_cursor.c.shard == shard)
    return connection.execute(query).scalar_one_or_none() or 0


def _sums(shard: str, entries: Iterable[bytes]) -> Sums:
    sums: Sums = {}
    for entry in entries:
        try:
            told = _told.decode(entry)
            if not told.kind.startswith("call.") or told.kind == "call.intent" or told.route == CANARY:
                continue
            day = day_of(told.started[:10])
        except (msgspec.DecodeError, ValueError) as broken:
            raise Tampered(f"a record of {shard} cannot be read: {broken}") from broken
        line = Line(shard, day, told.use_case, told.release, told.model, told.key, told.dialect, told.route)
        counts = sums.get(line)
        if counts is None:
            counts = sums[line] = [0] * len(COUNTS)
        given = told.answer_of != ""  # counted when it was made, though its answer was held
        made = not given and (told.verdict == "allow" or (told.verdict == "ask" and told.status == "ok"))
        tokens = told.tokens_in + told.tokens_out
        counts[0] += made
        counts[1] += not (made or given)
        counts[2] += told.status == "failed"
        counts[3] += min(told.tokens_in, MOST_TOKENS)
        counts[4] += min(told.cached_in, MOST_TOKENS)
        counts[5] += min(told.tokens_out, MOST_TOKENS)
        counts[6] += min(told.cost_nano, MOST_NANO)
        counts[7] += made and tokens > 0 and told.price in {"", UNKNOWN_ID}
        counts[8] += len(told.findings)
    return sums


def _add(into: Sums, more: Sums) -> None:
    for line, counts in more.items():
        there = into.get(line)
        into[line] = counts if there is None else [a + b for a, b in zip(there, counts, strict=True)]
