"""The journal added up by day: every record once, whatever ends in the middle."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, select, update

from bedplate.errors import Tampered
from bedplate.gateway import usage as module
from bedplate.gateway.cells import Counted
from bedplate.gateway.tables import usage as table
from bedplate.gateway.tables import usage_cursor
from bedplate.gateway.usage import COUNTS, Usage, day_of, day_text
from bedplate.kernel.clock import DAY, SECOND, rfc3339
from bedplate.kernel.event import canonical
from bedplate.store.journal import Journal
from bedplate.store.record import Record
from bedplate.store.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = 20_000 * DAY + DAY // 2  # 2024-10-04
HR = "usecase/hr-policy-assistant"
PLAIN = {
    "v": 1,
    "kind": "call.completed",
    "use_case": HR,
    "key": "key/abc",
    "route": "live",
    "release": "r1",
    "model": "gpt-4o-mini",
    "verdict": "allow",
    "status": "ok",
    "findings": [],
    "tokens_in": 0,
    "tokens_out": 0,
}


class Ledgerless:
    """Shards of a folder, with a journal that writes each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journals: dict[str, Journal] = {}
        self.files: dict[str, Shard] = {}
        self._ids = count()

    def call(self, shard: str = "shard-0", at: int = NOON, **fields: Any) -> None:
        """Record one call."""
        if shard not in self.journals:
            path = self.folder / f"{shard}.db"
            self.journals[shard] = Journal.open(path, shard=shard)
            self.files[shard] = Shard(path)
        entry = {**PLAIN, "started": rfc3339(at), "ended": rfc3339(at + SECOND), **fields}
        name = f"call-{next(self._ids)}"
        record = Record(name, canonical({"id": name, **entry}), at, "u", str(entry["kind"]), "v", "s")
        self.journals[shard].append_sync(record)

    def close(self) -> None:
        for file in self.files.values():
            file.close()
        for journal in self.journals.values():
            journal.close()


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[Ledgerless]:
    made = Ledgerless(tmp_path)
    yield made
    made.close()


@pytest.fixture
def used(engine: Engine, shards: Ledgerless) -> Usage:
    return Usage(engine, lambda: shards.files)


def rows(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(select(table).order_by(*table.primary_key.columns))
        return [dict(row._mapping) for row in found]


def test_calls_are_added_up_by_day_and_by_what_they_were(engine: Engine, used: Usage, shards: Ledgerless) -> None:
    priced: dict[str, Any] = {
        "tokens_in": 100,
        "cached_in": 40,
        "tokens_out": 10,
        "cost_nano": 21_000,
        "price": "genai-prices/1/o/m",
    }
    for _ in range(2):
        shards.call(**priced, dialect="chat")
    shards.call(**priced, dialect="messages")
    shards.call(at=NOON + DAY, **priced, dialect="chat")
    assert used.roll("shard-0") == 4
    found = [(r["day"], r["dialect"], r["calls"], r["tokens_in"], r["cached_in"], r["cost_nano"]) for r in rows(engine)]
    assert found == [
        (20_000, "chat", 2, 200, 80, 42_000),
        (20_000, "messages", 1, 100, 40, 21_000),
        (20_001, "chat", 1, 100, 40, 21_000),
    ]
    assert used.differs() == []


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"tokens_in": 5, "tokens_out": 6, "price": "contract/x/1"}, {"calls": 1}),
        ({"tokens_in": 5, "tokens_out": 6, "price": "unknown"}, {"calls": 1, "unpriced": 1}),
        ({"tokens_in": 5, "tokens_out": 6}, {"calls": 1, "unpriced": 1}),
        ({}, {"calls": 1}),
        ({"kind": "call.refused", "verdict": "deny", "status": "refused", "findings": ["a", "b"]}, {"refused": 1}),
        ({"kind": "call.failed", "status": "failed"}, {"calls": 1, "failed": 1}),
        ({"kind": "call.aborted", "status": "aborted"}, {"calls": 1}),
    ],
)
def test_what_a_record_counts_as(
    engine: Engine, used: Usage, shards: Ledgerless, fields: dict[str, Any], counts: dict[str, int]
) -> None:
    shards.call(**fields)
    used.roll("shard-0")
    (row,) = rows(engine)
    assert {n: row[n] for n in ("calls", "refused", "failed", "unpriced") if row[n]} == counts
    assert row["findings"] == len(fields.get("findings", ()))


def test_an_intent_is_no_call_and_neither_is_what_is_no_call(engine: Engine, used: Usage, shards: Ledgerless) -> None:
    shards.call(kind="call.intent", tokens_in=100)
    shards.call(kind="feedback.given")
    assert used.roll("shard-0") == 2
    assert rows(engine) == []


def test_nothing_is_added_twice(engine: Engine, used: Usage, shards: Ledgerless) -> None:
    shards.call(tokens_in=7)
    assert (used.waiting("shard-0"), used.roll("shard-0"), used.roll("shard-0")) == (1, 1, 0)
    shards.call(tokens_in=7)
    assert Usage(engine, lambda: shards.files).roll("shard-0") == 1
    assert used.waiting("shard-0") == 0
    assert [r["tokens_in"] for r in rows(engine)] == [14]


def test_of_two_that_add_up_the_same_records_one_does(engine: Engine, used: Usage, shards: Ledgerless) -> None:
    shards.call(tokens_in=7)
    sums = module._sums("shard-0", [entry for _, entry in shards.files["shard-0"].entries(0, 10)])
    assert used._write("shard-0", 0, sums, 1)
    assert not Usage(engine, lambda: shards.files)._write("shard-0", 0, sums, 1)
    assert [r["tokens_in"] for r in rows(engine)] == [7]


def test_what_fails_in_the_middle_is_done_again(
    engine: Engine, used: Usage, shards: Ledgerless, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards.call(tokens_in=7)

    def fails(*_: object) -> dict[str, int]:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_values", fails)
        with pytest.raises(OSError, match="gone"):
            used.roll("shard-0")
    assert rows(engine) == []
    assert used.roll("shard-0") == 1
    assert [r["tokens_in"] for r in rows(engine)] == [7]


def test_no_more_than_was_asked_for_is_added_at_once(used: Usage, shards: Ledgerless) -> None:
    for _ in range(5):
        shards.call()
    assert [used.roll("shard-0", 2) for _ in range(4)] == [2, 2, 1, 0]


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["shard-0", "shard-1"]),
        st.integers(0, 3),
        st.sampled_from([HR, "usecase/other"]),
        st.sampled_from(["live", "evaluation"]),
        st.integers(0, 50),
    ),
    max_size=30,
)


@given(CALLS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whenever_it_is_added_up_the_sums_are_those_of_the_records(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, calls: list[tuple[str, int, str, str, int]]
) -> None:
    with engine.connect() as connection, connection.begin():
        connection.execute(delete(table))
        connection.execute(delete(usage_cursor))
    shards = Ledgerless(tmp_path_factory.mktemp("journal"))
    used = Usage(engine, lambda: shards.files)
    try:
        for number, (shard, day, subject, route, tokens) in enumerate(calls):
            shards.call(shard, NOON + day * DAY, use_case=subject, route=route, tokens_in=tokens)
            if number % 7 == 3:
                used.roll(shard)
        for shard in shards.files:
            told = {
                subject: Counted(
                    20_003,
                    2024 * 12 + 9,
                    *(sum(c) for c in zip(*_amounts(calls, shard, subject, {3}), strict=True)),
                    *(sum(c) for c in zip(*_amounts(calls, shard, subject, {0, 1, 2}), strict=True)),
                )
                for subject in {c[2] for c in calls if c[0] == shard and c[3] == "live"}
            }
            assert used.counted(shard, NOON + 3 * DAY) == told
            used.roll(shard)
            assert used.counted(shard, NOON + 3 * DAY) == told, "added up or not yet: it is on record"
        assert used.differs() == []
        assert sum(r["tokens_in"] for r in rows(engine)) == sum(c[4] for c in calls)
    finally:
        shards.close()


def _amounts(calls: list[tuple[str, int, str, str, int]], shard: str, subject: str, days: set[int]) -> list[Any]:
    found = [(1, c[4], 0) for c in calls if (c[0], c[2], c[3]) == (shard, subject, "live") and c[1] in days]
    return [(0, 0, 0), *found]


def test_the_month_begins_on_its_first_day(used: Usage, shards: Ledgerless) -> None:
    first = day_of("2024-10-01") * DAY
    shards.call(at=first - 1, tokens_in=1)
    shards.call(at=first, tokens_in=10)
    shards.call(at=NOON, tokens_in=100)
    (found,) = used.counted("shard-0", NOON).values()
    assert (found.tokens, found.before_tokens) == (100, 10)


@pytest.mark.parametrize("column", COUNTS)
def test_a_changed_sum_is_found(engine: Engine, used: Usage, shards: Ledgerless, column: str) -> None:
    shards.call(tokens_in=7)
    used.roll("shard-0")
    with engine.connect() as connection, connection.begin():
        connection.execute(update(table).values({column: table.c[column] + 1}))
    assert used.differs() == [f"shard-0: {HR} on 2024-10-04 is not what its records add up to"]


def test_a_removed_sum_and_a_cursor_beyond_the_end_are_found(engine: Engine, used: Usage, shards: Ledgerless) -> None:
    shards.call()
    used.roll("shard-0")
    with engine.connect() as connection, connection.begin():
        connection.execute(delete(table))
        connection.execute(update(usage_cursor).values(next=5))
    assert len(used.differs()) == 2


def test_a_record_that_cannot_be_read_is_named(used: Usage, shards: Ledgerless) -> None:
    shards.call(started="yesterday")
    with pytest.raises(Tampered, match="shard-0"):
        used.roll("shard-0")


def test_days_are_written_and_read_as_dates() -> None:
    assert (day_text(20_000), day_of("2024-10-04"), day_text(0)) == ("2024-10-04", 20_000, "1970-01-01")
