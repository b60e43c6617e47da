from __future__ import annotations

import asyncio
import random
import sys
import threading
from typing import TYPE_CHECKING

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.powercut import Disk

from bedplate.errors import Conflict, Full, InvalidInput, Tampered, Unavailable
from bedplate.store import shard as reading
from bedplate.store.checkpoint import Checkpointer
from bedplate.store.journal import Journal, Receipt, Record, Segment
from bedplate.store.merkle import EMPTY_ROOT, inclusion_proof, leaf_hash, root_of, verify_inclusion
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


def test_a_new_journal_is_empty(journal: Journal, path: Path) -> None:
    assert (journal.size, journal.sealed, journal.depth, journal.healthy) == (0, 0, 0, True)
    assert journal.root() == EMPTY_ROOT
    assert journal.seal() is None
    assert Shard(path).verify() == (0, EMPTY_ROOT)
    assert path.stat().st_mode & 0o077 == 0


def test_the_same_call_twice_is_one_record(journal: Journal) -> None:
    first = journal.append_sync(record("a"))
    assert journal.append_sync(record("a")) == first
    with pytest.raises(Conflict, match="another entry"):
        journal.append_sync(record("a", b"other"))

    async def at_once() -> list[Receipt | BaseException]:
        calls = [record("b"), record("b"), record("b", b"other"), record("c")]
        return await asyncio.gather(*map(journal.append, calls), return_exceptions=True)

    one, two, three, four = asyncio.run(at_once())
    assert one == two
    assert isinstance(three, Conflict)
    assert isinstance(four, Receipt)
    assert (four.seq, journal.size) == (2, 3)


@pytest.mark.parametrize(
    "bad",
    [
        record(""),
        record("nul\0"),
        record("lone \ud800", b"x"),
        record("long", b"x" * 65_536),
        Record("none", b"", 1, "", "", "", ""),
        Record("text", "text", 1, "", "", "", ""),  # type: ignore[arg-type]
        Record("word", b"x", 1, 7, "", "", ""),  # type: ignore[arg-type]
        Record("before", b"x", -1, "", "", "", ""),
    ],
)
def test_what_no_shard_can_hold_is_refused_alone(journal: Journal, bad: Record) -> None:
    with pytest.raises(InvalidInput):
        journal.append_sync(bad)
    assert journal.append_sync(record("good")).seq == 0


def test_segments_follow_each_other_and_prove_their_records(journal: Journal, path: Path) -> None:
    receipts = fill(journal, 250)
    first = journal.seal(limit=100)
    assert first == Segment("node/boot", 0, 0, 0, 100, root_of(r.leaf for r in receipts[:100]), b"")
    assert journal.seal(limit=100) == first
    journal.mark_sealed(first)
    journal.mark_sealed(first)
    second = journal.seal()
    assert second is not None
    assert (second.number, second.first, second.count, second.previous) == (1, 100, 150, first.root)
    fill(journal, 10, start=250)
    journal.mark_sealed(second)
    assert (journal.sealed, journal.size) == (250, 260)
    nodes = [leaf_hash(row.entry) for row in Shard(path).rows(100, 150)]

    def node(level: int, index: int) -> bytes:
        return root_of(nodes[index << level : (index + 1) << level])

    verify_inclusion(receipts[142].leaf, 42, 150, inclusion_proof(42, 150, node), second.root)


def test_a_segment_that_is_not_next_is_refused(journal: Journal) -> None:
    fill(journal, 20)
    sound = journal.seal(limit=10)
    assert sound is not None
    s = sound
    wrong = [
        Segment("other", s.epoch, s.number, s.first, s.count, s.root, s.previous),
        Segment(s.shard, s.epoch, 1, s.first, s.count, s.root, s.previous),
        Segment(s.shard, s.epoch, s.number, 5, s.count, s.root, s.previous),
        Segment(s.shard, s.epoch, s.number, s.first, 21, s.root, s.previous),
        Segment(s.shard, s.epoch, s.number, s.first, 9, s.root, s.previous),
        Segment(s.shard, s.epoch, s.number, s.first, s.count, b"r" * 32, s.previous),
        Segment(s.shard, s.epoch, s.number, s.first, s.count, s.root, b"p" * 32),
    ]
    for segment in wrong:
        with pytest.raises(Conflict, match="not the next"):
            journal.mark_sealed(segment)
    journal.mark_sealed(sound)
    with pytest.raises(Conflict, match="another root"):
        journal.mark_sealed(wrong[5])
    with pytest.raises(InvalidInput):
        journal.seal(limit=0)


def test_after_a_restart_the_ledgers_segment_can_be_marked(path: Path) -> None:
    journal = Journal.open(path, shard="node/boot")
    fill(journal, 30)
    segment = journal.seal(limit=20)
    assert segment is not None
    journal.close()
    journal = Journal.open(path, shard="node/boot")
    fill(journal, 5, start=30)
    journal.mark_sealed(segment)
    journal.close()
    journal = Journal.open(path, shard="node/boot")
    assert (journal.size, journal.sealed, journal.head.segments) == (35, 20, 1)
    last = journal.seal()
    assert last is not None
    assert last.previous == segment.root
    journal.close()


def test_a_leaf_flipped_in_memory_is_not_sealed(journal: Journal) -> None:
    fill(journal, 20)
    journal._held[7 * 32 + 3] ^= 1
    with pytest.raises(Tampered, match="node/boot seq 7"):
        journal.seal()
    journal._held[7 * 32 + 3] ^= 1
    journal._frontier._edge[0] = b"?" * 32
    with pytest.raises(Tampered, match="root in memory"):
        journal.seal()


def test_a_sealed_record_changed_behind_the_journals_back_is_found_when_sealing(journal: Journal, path: Path) -> None:
    fill(journal, 20)
    db = apsw.Connection(str(path))
    db.execute("UPDATE rec SET entry = x'00' WHERE seq = 3").fetchall()
    db.close()
    with pytest.raises(Tampered, match="node/boot seq 3"):
        journal.seal()


def test_a_shard_is_opened_under_its_own_name(path: Path) -> None:
    Journal.open(path, shard="one").close()
    with pytest.raises(Conflict, match="belongs to shard one"):
        Journal.open(path, shard="two")


def test_a_closed_journal_takes_nothing(path: Path) -> None:
    journal = Journal.open(path, shard="node/boot")
    fill(journal, 3)
    journal.close()
    journal.close()
    assert not journal.healthy
    with pytest.raises(Unavailable, match="closed"):
        journal.append_sync(record("late"))


def test_closing_leaves_the_log_while_a_reader_needs_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reading, "BUSY_MS", 10)
    journal = Journal.open(path, shard="node/boot")
    fill(journal, 3)
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM rec").fetchall()
    fill(journal, 3, start=3)
    journal.close()
    assert "log beside it" in caplog.text
    reader.execute("COMMIT")
    reader.close()
    journal = Journal.open(path, shard="node/boot")
    assert journal.size == 6
    journal.close()


def test_cancelled_callers_break_nothing(journal: Journal) -> None:
    async def every() -> int:
        tasks = [asyncio.create_task(journal.append(record(f"r{n}"))) for n in range(500)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(isinstance(result, Receipt) for result in results)

    assert asyncio.run(every()) == 250
    assert journal.append_sync(record("after")).seq == journal.size - 1


def test_the_log_is_moved_into_the_file_while_the_journal_is_open(journal: Journal, path: Path) -> None:
    before = path.stat().st_size
    fill(journal, 500)
    for _ in range(1000):
        if path.stat().st_size > before:
            break
        threading.Event().wait(0.01)
    assert path.stat().st_size > before


def test_a_loop_that_is_gone_breaks_nothing(path: Path) -> None:
    disk, go = Disk("gone"), threading.Event()
    journal = Journal.open(path, shard="node/boot", vfs="gone")

    def hang(_path: str) -> None:
        go.wait()

    disk.on_sync = hang
    loop = asyncio.new_event_loop()
    task = loop.create_task(journal.append(record("a")))
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    disk.on_sync = lambda _path: None
    go.set()
    assert journal.append_sync(record("b")).seq == 1
    journal.close()
    disk.unregister()


def test_a_refusal_before_the_commit_writes_nothing(path: Path) -> None:
    full = [True]

    def before() -> None:
        if full[0]:
            raise Full("no space for keys")

    journal = Journal.open(path, shard="node/boot", before_commit=before)
    with pytest.raises(Full, match="no space for keys"):
        journal.append_sync(record("a"))
    full[0] = False
    assert journal.append_sync(record("a")).seq == 0
    journal.close()


def test_checkpoints_go_on_after_a_reader_and_stop_at_an_error(path: Path) -> None:
    Journal.open(path, shard="node/boot").close()
    errors: list[BaseException] = []
    failed = threading.Event()

    def on_error(error: BaseException) -> None:
        errors.append(error)
        failed.set()

    writer = apsw.Connection(str(path))
    writer.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM head").fetchall()
    writer.execute("UPDATE head SET epoch = 1").fetchall()
    db = reading.connect(path, flags=apsw.SQLITE_OPEN_READWRITE)
    checkpointer = Checkpointer(db, on_error, every=0.001, long_log=0)
    checkpointer.wake()  # busy: a reader is in the way
    threading.Event().wait(0.1)
    reader.execute("COMMIT")
    threading.Event().wait(0.1)
    assert errors == []
    db.close()
    checkpointer.wake()
    assert failed.wait(10)
    checkpointer.close()
    writer.close()
    reader.close()
    assert [type(error) for error in errors] == [apsw.ConnectionClosedError]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1)), max_size=12)),
        st.tuples(st.just("seal"), st.integers(1, 20)),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(operations=OPERATIONS, seed=st.integers(0, 2**16))
def test_any_history_agrees_with_a_list(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, object]], seed: int
) -> None:
    path = tmp_path_factory.mktemp("model") / "journal.db"
    journal = Journal.open(path, shard="s", batch=4)
    model: dict[str, bytes] = {}
    sealed, last = 0, b""

    async def calls(pairs: list[tuple[int, int]]) -> list[Receipt | BaseException]:
        made = [journal.append(record(f"i{n}", b"entry %d %d" % (n, kind))) for n, kind in pairs]
        return await asyncio.gather(*made, return_exceptions=True)

    for what, argument in operations:
        if what == "append":
            assert isinstance(argument, list)
            random.Random(seed).shuffle(argument)  # noqa: S311 - repeatable
            for (number, kind), answer in zip(argument, asyncio.run(calls(argument)), strict=True):
                entry = b"entry %d %d" % (number, kind)
                known = model.setdefault(f"i{number}", entry)
                if known != entry:
                    assert isinstance(answer, Conflict)
                    continue
                assert isinstance(answer, Receipt)
                assert answer == Receipt("s", list(model).index(f"i{number}"), leaf_hash(entry))
        elif what == "seal":
            assert isinstance(argument, int)
            segment = journal.seal(argument)
            if segment is None:
                assert sealed == len(model)
                continue
            assert (segment.first, segment.previous) == (sealed, last)
            journal.mark_sealed(segment)
            sealed, last = sealed + segment.count, segment.root
        else:
            journal.close()
            journal = Journal.open(path, shard="s", batch=4)
        assert (journal.size, journal.sealed) == (len(model), sealed)
        assert journal.root() == root_of(map(leaf_hash, model.values()))
    journal.close()
    shard = Shard(path)
    assert [(row.id, row.entry) for row in shard.rows(0, 100)] == list(model.items())
    shard.verify()
    shard.close()


def test_many_threads_and_loops_at_once(journal: Journal) -> None:
    sys.setswitchinterval(0.0001)
    threads = [threading.Thread(target=fill, args=(journal, 200, start)) for start in (0, 100, 200, 300)]
    sealed = 0
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        segment = journal.seal(limit=50)
        if segment is not None:
            journal.mark_sealed(segment)
            sealed += segment.count
    for thread in threads:
        thread.join()
    sys.setswitchinterval(0.005)
    assert (journal.size, journal.sealed) == (500, sealed)


def test_a_file_system_without_a_log_is_refused(path: Path) -> None:
    with pytest.raises(Unavailable, match="without a write-ahead log"):
        Journal.open(path, shard="node/boot", vfs="unix-none")
