from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from tests.store.powercut import Disk

from bedplate.errors import BedplateError, Conflict, Full, Tampered, Unavailable
from bedplate.store import journal as module
from bedplate.store.journal import Journal, Record
from bedplate.store.merkle import leaf_hash, root_of
from bedplate.store.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Acked = list[tuple[int, str, bytes]]

ROOT = Path(__file__).parents[2]  # the program under test imports the disk from here

WRITER = """
import sys, threading
from pathlib import Path
from bedplate.store.journal import Journal, Record
journal = Journal.open(Path(sys.argv[1]), shard="node/boot")
start = journal.size
lock = threading.Lock()
def call(caller):
    turn = 0
    while True:
        id = f"{start}-{caller}-{turn}"
        receipt = journal.append_sync(Record(id, b'{"id":"%s"}' % id.encode(), turn, "u", "llm", "allow", "ok"))
        with lock:
            sys.stdout.write(f"{receipt.seq} {id} {receipt.leaf.hex()}\\n")
            sys.stdout.flush()
        turn += 1
for caller in range(16):
    threading.Thread(target=call, args=(caller,)).start()
"""

FAILING = """
import sys
from pathlib import Path
import apsw
from bedplate.errors import Unavailable
from bedplate.store.journal import Journal, Record
from tests.store.powercut import Disk
disk = Disk("failing")
journal = Journal.open(Path(sys.argv[1]), shard="node/boot", vfs="failing")
def fail(path):
    raise apsw.IOError("injected")
disk.on_sync = fail
journal.append_sync(Record("a", b"a", 1, "u", "llm", "allow", "ok"))
print("acknowledged")
"""


def record(number: int, size: int = 300) -> Record:
    entry = json.dumps({"n": number, "pad": "x" * size}).encode()
    return Record(f"id-{number}", entry, 1_700_000_000_000_000 + number, "use", "llm", "allow", "ok", b"c" * 50)


@pytest.fixture
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    disk = Disk(f"disk-{abs(hash(request.node.nodeid))}")
    yield disk
    disk.on_sync = disk.on_write = lambda _path: None
    disk.unregister()


def check(path: Path, acked: Acked, shard: str = "node/boot") -> int:
    """Reopen, and compare with what was acknowledged; returns how many records there are."""
    Journal.open(path, shard=shard).close()
    reader = Shard(path)
    size, root = reader.verify()
    rows = reader.rows(0, size)
    assert [row.seq for row in rows] == list(range(size))
    assert root_of(leaf_hash(row.entry) for row in rows) == root
    for seq, id_, leaf in acked:
        assert seq < size, f"acknowledged seq {seq} is lost"
        assert (rows[seq].id, leaf_hash(rows[seq].entry)) == (id_, leaf)
    reader.close()
    return size


def test_no_acknowledged_record_is_lost_under_kill(tmp_path: Path) -> None:
    path, acked = tmp_path / "journal.db", []
    chance = random.Random(1)  # noqa: S311 - repeatable
    for _ in range(20):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(chance.randint(1, 200))]
            os.kill(child.pid, signal.SIGKILL)
            lines += child.stdout.readlines()
        whole = [line.split() for line in lines if line.endswith("\n")]
        acked += [(int(seq), id_, bytes.fromhex(leaf)) for seq, id_, leaf in whole]
        check(path, acked)
    assert len(acked) > 20


def lost_by_power_cuts(disk: Disk, base: Path, cuts: int) -> int:
    """Cut the power at random moments under load; return at how many of them something acknowledged was lost."""
    chance, acked, lost = random.Random(2), [], 0  # noqa: S311 - repeatable
    fatal: list[BaseException] = []
    journal = Journal.open(base / "live" / "journal.db", shard="node/boot", vfs=disk.name, on_fatal=fatal.append)
    stop, counted = threading.Event(), threading.Condition()

    def call(caller: int) -> None:
        turn = 0
        while not stop.is_set():
            one = record(caller * 1_000_000 + turn)
            try:
                receipt = journal.append_sync(one)
            except Unavailable:
                return
            with counted:
                acked.append((receipt.seq, one.id, receipt.leaf))
                counted.notify()
            turn += 1

    callers = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in callers:
        thread.start()
    for number in range(cuts):
        more = len(acked) + chance.randint(1, 60)
        with counted:
            assert counted.wait_for(lambda more=more: len(acked) >= more, timeout=60), fatal  # type: ignore[misc]
            before = list(acked)
        disk.cut(base / str(number), chance)
        try:
            check(base / str(number) / "journal.db", before)
        except (AssertionError, BedplateError):
            lost += 1
        shutil.rmtree(base / str(number))
    stop.set()
    for thread in callers:
        thread.join()
    journal.close()
    assert fatal == []
    return lost


@pytest.mark.parametrize("cuts", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_no_acknowledged_record_is_lost_when_the_power_is_cut(disk: Disk, tmp_path: Path, cuts: int) -> None:
    assert lost_by_power_cuts(disk, tmp_path, cuts) == 0


def test_the_power_cut_test_sees_a_weaker_setting(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DURABILITY", "PRAGMA synchronous = NORMAL")
    assert lost_by_power_cuts(disk, tmp_path, 10) > 0


@pytest.mark.parametrize("call", range(1, 7))
def test_a_failed_sync_ends_it_and_reopening_recovers(disk: Disk, tmp_path: Path, call: int) -> None:
    path, syncs = tmp_path / "journal.db", [0]
    acked: Acked = []
    fatal: list[BaseException] = []
    journal = Journal.open(path, shard="node/boot", vfs=disk.name, on_fatal=fatal.append)

    def fail(_path: str) -> None:
        syncs[0] += 1
        if syncs[0] == call:
            raise apsw.IOError("injected")

    disk.on_sync = fail
    with pytest.raises(Unavailable, match="failed"):  # noqa: PT012
        for number in range(100_000):
            receipt = journal.append_sync(record(number))
            acked.append((receipt.seq, f"id-{number}", receipt.leaf))
    with pytest.raises(Unavailable, match="failed"):
        journal.append_sync(record(1))
    with pytest.raises(Unavailable, match="failed"):
        journal.seal()
    for _ in range(100):  # on_fatal runs after the waiters were told
        if fatal:
            break
        threading.Event().wait(0.01)
    assert [type(error) for error in fatal] == [apsw.IOError]
    assert not journal.healthy
    syncs[0] = call  # no more failures: reopening must find the disk in order, and nothing may have been retried
    journal.close()
    check(path, acked)


def test_by_default_a_failed_sync_ends_the_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING, str(tmp_path / "journal.db")],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (module.EXIT_FATAL, "")
    check(tmp_path / "journal.db", [])


@pytest.mark.parametrize("extended", [0, apsw.SQLITE_IOERR_SHMSIZE])
def test_a_full_disk_refuses_and_recovers_by_itself(disk: Disk, tmp_path: Path, extended: int) -> None:
    path, left = tmp_path / "journal.db", [400]
    acked: Acked = []
    fatal: list[BaseException] = []
    journal = Journal.open(path, shard="node/boot", vfs=disk.name, on_fatal=fatal.append)

    def write(_path: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            if not extended:
                raise apsw.FullError("injected")
            error = apsw.IOError("injected")
            error.extendedresult = extended  # type: ignore[attr-defined]
            raise error

    disk.on_write = write
    refused = 0
    for number in range(3_000):
        if refused == 50:
            left[0] = 1_000_000
        try:
            receipt = journal.append_sync(record(number))
        except Full:
            refused += 1
        else:
            acked.append((receipt.seq, f"id-{number}", receipt.leaf))
        if len(acked) > 300 and refused >= 50:
            break
    assert refused == 50
    assert [seq for seq, _, _ in acked] == list(range(len(acked)))
    assert journal.healthy
    assert fatal == []
    journal.close()
    assert check(path, acked) == len(acked)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal.open(path, shard="node/boot")
    with pytest.raises(Conflict, match=f"by process {os.getpid()}"):
        Journal.open(path, shard="node/boot")
    journal.close()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(Conflict, match=f"by process {child.pid}"):
            Journal.open(path, shard="node/boot")
        child.kill()
        child.stdout.read()


def test_a_writer_that_was_overtaken_stops(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    fatal: list[BaseException] = []
    journal = Journal.open(path, shard="node/boot", on_fatal=fatal.append)
    other = apsw.Connection(str(path))
    other.execute("UPDATE head SET size = 7").fetchall()
    with pytest.raises(Unavailable, match="something else wrote"):
        journal.append_sync(record(1))
    other.close()
    journal.close()
    assert [type(error) for error in fatal] == [Tampered]


def test_somebody_elses_lock_is_not_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.db"
    fatal: list[BaseException] = []
    monkeypatch.setattr("bedplate.store.shard.BUSY_MS", 10)
    journal = Journal.open(path, shard="node/boot", on_fatal=fatal.append)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        journal.append_sync(record(1))
    other.execute("ROLLBACK")
    other.close()
    assert journal.append_sync(record(1)).seq == 0
    journal.close()
    assert fatal == []


def test_a_hung_disk_leaves_a_bounded_queue_and_callers_that_are_told(disk: Disk, tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.db", shard="node/boot", queue=20, batch=5, vfs=disk.name)
    hung, go = threading.Event(), threading.Event()

    def hang(_path: str) -> None:
        hung.set()
        go.wait()

    disk.on_sync = hang
    told: list[BedplateError] = []

    def call(number: int) -> None:
        try:
            journal.append_sync(record(number), timeout=0.5)
        except Unavailable as error:
            told.append(error)

    first = threading.Thread(target=call, args=(0,))
    first.start()
    hung.wait()
    callers = [threading.Thread(target=call, args=(number,)) for number in range(1, 41)]
    for thread in callers:
        thread.start()
    for thread in [first, *callers]:
        thread.join()
    assert sum("queue is full" in str(error) for error in told) == 20
    assert sum("did not commit" in str(error) for error in told) == 21
    assert journal.depth == 20
    disk.on_sync = lambda _path: None
    go.set()
    while journal.depth:
        threading.Event().wait(0.01)
    receipts = [journal.append_sync(record(number)) for number in range(41)]  # late commits and retries are one
    assert sorted(receipt.seq for receipt in receipts) == list(range(41))
    assert journal.size == 41
    journal.close()


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def named(act: Callable[[], object]) -> bool:
    try:
        act()
    except Tampered as error:
        return "shard" in str(error) or "journal.db" in str(error)
    return False


@pytest.mark.parametrize("flips", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_named_or_changes_no_entry(tmp_path: Path, flips: int) -> None:
    path, chance, seen = tmp_path / "sound" / "journal.db", random.Random(3), 0  # noqa: S311 - repeatable
    journal = Journal.open(path, shard="node/boot")
    for number in range(300):
        journal.append_sync(record(number))
    journal.close()
    reader = Shard(path)
    sound = [(row.seq, row.leaf, row.entry) for row in reader.rows(0, 300)]
    reader.close()
    for number in range(flips):
        copy = tmp_path / str(number) / "journal.db"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        flip(copy, chance)
        if named(lambda copy=copy: Shard(copy).verify()):  # type: ignore[misc]
            seen += 1
        else:
            reader = Shard(copy)
            assert [(row.seq, row.leaf, row.entry) for row in reader.rows(0, 300)] == sound
            reader.close()
        shutil.rmtree(copy.parent)
    assert seen > flips / 3
