from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import apsw
import pytest

from bedplate.errors import NotFound, Tampered, Unavailable
from bedplate.store import shard as reading
from bedplate.store.journal import Journal, Receipt, Record
from bedplate.store.merkle import leaf_hash
from bedplate.store.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def record(id_: str, entry: bytes = b"") -> Record:
    return Record(id_, entry or f'{{"id":"{id_}"}}'.encode(), 1_000_000, "claims", "llm", "allow", "ok")


def fill(journal: Journal, count: int, start: int = 0) -> list[Receipt]:
    async def every() -> list[Receipt]:
        return await asyncio.gather(*(journal.append(record(f"r{n}")) for n in range(start, start + count)))

    return asyncio.run(every())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shards" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal.open(path, shard="node/boot", on_fatal=lambda _error: None)
    yield journal
    journal.close()


def test_what_was_acknowledged_can_be_read_by_anybody(journal: Journal, path: Path) -> None:
    receipts = fill(journal, 1000)
    assert [receipt.seq for receipt in receipts] == list(range(1000))
    shard = Shard(path)
    assert shard.verify() == (1000, journal.root())
    assert shard.leaves(10, 5) == [receipt.leaf for receipt in receipts[10:15]]
    row = shard.get("r17")
    assert row is not None
    assert (row.seq, row.entry, row.leaf) == (17, b'{"id":"r17"}', leaf_hash(row.entry))
    assert shard.get("nobody") is None
    assert [row.seq for row in shard.rows(998, 10)] == [998, 999]
    assert shard.head() == journal.head
    shard.close()


def test_search_gives_the_newest_first(journal: Journal, path: Path) -> None:
    for number, (use_case, verdict) in enumerate([("a", "allow"), ("b", "deny"), ("a", "deny"), ("a", "allow")]):
        times = [5_000, 9_000, 1_000, 2_000]  # the clock steps back: order is seq
        one = Record(f"s{number}", b'{"Model":"m%d"}' % number, times[number], use_case, "llm", verdict, "ok")
        journal.append_sync(one)
    shard = Shard(path)

    def found(**by: object) -> list[int]:
        return [row.seq for row in shard.search(**by)]  # type: ignore[arg-type]

    assert found() == [3, 2, 1, 0]
    assert found(limit=2) == [3, 2]
    assert found(before=2) == [1, 0]
    assert found(use_case="a", verdict="allow") == [3, 0]
    assert found(kind="tool") == []
    assert found(text="MODEL") == [3, 2, 1, 0]
    assert found(text="m2") == [2]
    assert found(text="%") == []
    assert found(since=5_000) == [1, 0]
    shard.close()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("UPDATE rec SET entry = x'00' WHERE seq = 7", "node/boot seq 7"),
        ("UPDATE rec SET leaf = x'00' WHERE seq = 7", "node/boot seq 7"),
        ("DELETE FROM rec WHERE seq = 7", "node/boot seq 7"),
        ("DELETE FROM rec WHERE seq > 7", "node/boot seq 8"),
        ("UPDATE rec SET seq = 90 WHERE seq = 19", "node/boot seq 19"),
        ("UPDATE head SET size = 19, frontier = x''", "node/boot seq 19"),
        ("UPDATE head SET frontier = zeroblob(64)", "node/boot"),
        ("UPDATE head SET sealed = 21", "journal.db"),
        ("DELETE FROM head", "journal.db"),
        ("DROP TABLE rec", "journal.db"),
    ],
)
def test_tampering_is_named_by_verify_and_at_open(path: Path, damage: str, named: str) -> None:
    journal = Journal.open(path, shard="node/boot")
    fill(journal, 20)
    journal.close()
    db = apsw.Connection(str(path))
    db.execute(damage).fetchall()
    db.close()
    with pytest.raises(Tampered, match=named):
        Shard(path).verify()
    with pytest.raises(Tampered, match=named):
        Journal.open(path, shard="node/boot")


def test_an_index_that_disagrees_is_found(path: Path) -> None:
    journal = Journal.open(path, shard="node/boot")
    fill(journal, 3)
    journal.close()
    data = path.read_bytes()
    assert data.count(b"r1") >= 2
    path.write_bytes(data.replace(b"r1{", b"r9{", 1) if b"r1{" in data else data.replace(b"r1", b"r9", 1))
    with pytest.raises(Tampered):
        Shard(path).verify()


def test_files_that_are_no_journal_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no journal"):
        Shard(tmp_path / "nowhere.db")
    (tmp_path / "text.db").write_text("this is not a database at all, only some text " * 100)
    with pytest.raises(Tampered, match=r"text\.db"):
        Shard(tmp_path / "text.db")
    with pytest.raises(Tampered, match=r"text\.db"):
        Journal.open(tmp_path / "text.db", shard="s")
    with pytest.raises(Unavailable):
        Shard(tmp_path)
    with pytest.raises(Unavailable, match="cannot be opened"):
        Journal.open(tmp_path / "text.db" / "journal.db", shard="s")


def test_an_sqlite_that_loses_commits_is_refused() -> None:
    reading.must_be_safe("3.51.3")
    with pytest.raises(Unavailable, match=r"3\.51\.2"):
        reading.must_be_safe("3.51.2")
