"""Bits that flip, records that go missing, disks that fill: named, refused, and never written over."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from tests import served
from tests.served import HR, Harbour, Server

from bedplate.errors import BedplateError
from bedplate.store.note import VerifierKey
from bedplate.store.proof import Proof, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def sealed() -> tuple[Path, dict[str, Any]]:
    """A data folder with calls that were sealed, and one call with its proof."""
    data = served.fresh()
    with Server(data) as server:
        harbour = served.harbour(server)
        for _ in range(5):
            harbour.call(served.ask())
        victor = harbour.person("victor")
        call = victor.calls(limit=3)[-1]
        known = {"call": call, "proof": victor.prove(call["id"]), "keys": victor.public_keys()}
    return data, known


@pytest.fixture
def data(sealed: tuple[Path, dict[str, Any]]) -> Path:
    folder = served.root() / f"damaged-{next(served.SERIAL)}"
    shutil.copytree(sealed[0], folder)
    return folder


@contextmanager
def by_hand(path: Path) -> Iterator[apsw.Connection]:
    """Open a database as somebody who has the disk does: no trigger stops them."""
    with closing(apsw.Connection(str(path))) as db:
        db.set_busy_timeout(10_000)
        triggers = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")]
        with db:
            for name in triggers:
                db.execute(f"DROP TRIGGER {name}")
            yield db


def flip(path: Path, table: str, column: str, seq: int) -> None:
    """Flip one bit in the middle of a value."""
    with by_hand(path) as db:
        [(value,)] = db.execute(f"SELECT {column} FROM {table} WHERE seq = ?", (seq,)).fetchall()  # noqa: S608  ours
        assert isinstance(value, bytes)
        raw = bytearray(value)
        raw[len(raw) // 2] ^= 1
        db.execute(f"UPDATE {table} SET {column} = ? WHERE seq = ?", (bytes(raw), seq))  # noqa: S608  as above


@pytest.mark.parametrize("column", ["entry", "leaf"])
def test_a_flipped_bit_in_the_ledger_makes_it_read_only_and_names_the_event(data: Path, column: str) -> None:
    flip(data / "bedplate.db", "event", column, 7)
    with Server(data) as server:
        harbour = served.harbour(server)
        status, told = harbour.api("POST", f"/api/use-cases/{HR}/suspend", {"reason": "r"}, harbour.token("hanna"))
        assert (status, told["error"]["code"]) in {(503, "unavailable"), (500, "tampered")}
        assert "event 7" in told["error"]["message"]
        ready = served.fetch(server.url, "/readyz")
        assert ready[0] == 503
        assert b"event 7" in ready[2]
        assert _faults(harbour, "event 7")


def test_a_flipped_bit_in_a_record_not_yet_sealed_stops_the_start(data: Path) -> None:
    server = Server(data, tick_ms="3600000").start()  # no round of the worker, so nothing is sealed
    harbour = served.harbour(server)
    seq = harbour.record(_called(harbour))["seq"]
    _called(harbour)
    server.kill()
    flip(data / "journal" / "shard-0.db", "rec", "entry", seq)
    server = Server(data).start(answering=False)

    started = server.answers(30)
    server.kill()

    assert not started
    assert server.process is not None
    assert server.process.returncode not in {0, -9}
    assert f"shard-0 seq {seq}" in server.said()


def test_a_flipped_bit_in_a_sealed_record_is_named_at_the_start_and_by_a_check(data: Path) -> None:
    flip(data / "journal" / "shard-0.db", "rec", "entry", 2)
    with Server(data) as server:
        ready = served.fetch(server.url, "/readyz")
        assert ready[0] == 503
        assert b"shard-0 seq 2" in ready[2]
        assert _faults(served.harbour(server), "shard-0 seq 2")


@pytest.mark.parametrize("where", ["journal", "ledger"])
def test_a_bit_that_flips_while_it_runs_is_named_by_the_next_check(data: Path, where: str) -> None:
    with Server(data) as server:
        harbour = served.harbour(server)
        assert harbour.person("victor").post("/api/ledger/verify", {})["faults"] == []
        if where == "journal":
            flip(data / "journal" / "shard-0.db", "rec", "entry", 2)
            assert _faults(harbour, "shard-0 seq 2")
        else:
            flip(data / "bedplate.db", "event", "entry", 7)
            assert _faults(harbour, "event 7")


LOST: dict[str, tuple[str, tuple[str, ...], str]] = {
    "an event is deleted": ("bedplate.db", ("DELETE FROM event WHERE seq = 7",), "event 7"),
    "two events change places": (
        "bedplate.db",
        (
            "UPDATE event SET seq = 10007 WHERE seq = 7",
            "UPDATE event SET seq = 7 WHERE seq = 8",
            "UPDATE event SET seq = 8 WHERE seq = 10007",
        ),
        "event 7",
    ),
    "a call is deleted": ("journal/shard-0.db", ("DELETE FROM rec WHERE seq = 2",), "seq 2"),
    "two calls change places": (
        "journal/shard-0.db",
        (
            "UPDATE rec SET seq = 10002 WHERE seq = 2",
            "UPDATE rec SET seq = 2 WHERE seq = 3",
            "UPDATE rec SET seq = 3 WHERE seq = 10002",
        ),
        "shard-0",
    ),
    "a standing is raised by hand": (
        "bedplate.db",
        ("UPDATE standing SET body = replace(body, '\"tier\":3', '\"tier\":1')",),
        "standing",
    ),
}


@pytest.mark.parametrize(("file", "statements", "named"), LOST.values(), ids=LOST)
def test_what_is_taken_away_or_moved_is_named(data: Path, file: str, statements: tuple[str, ...], named: str) -> None:
    with Server(data) as server:
        harbour = served.harbour(server)
        with by_hand(data / file) as db:
            for statement in statements:
                db.execute(statement)
        assert _faults(harbour, named)


def test_a_removed_tail_is_named(data: Path) -> None:
    with by_hand(data / "bedplate.db") as db:
        db.execute("DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)")
    with Server(data) as server:
        why = json.loads(served.fetch(server.url, "/readyz")[2])["why_not"]
    assert any("tail" in w for w in why)


def _faults(harbour: Harbour, named: str) -> bool:
    faults = harbour.person("victor").post("/api/ledger/verify", {})["faults"]
    assert any(named in fault for fault in faults), faults
    return True


def test_every_changed_byte_of_a_proof_is_refused(sealed: tuple[Path, dict[str, Any]]) -> None:
    known = sealed[1]
    raw = known["proof"].encode()
    keys = [VerifierKey.parse(line) for line in known["keys"].split()]
    shown = verify(Proof.parse(raw), keys)
    assert shown.call["id"] == known["call"]["id"]
    places = random.Random(7).sample(range(len(raw)), 400)  # noqa: S311  repeatable
    for place in places:
        for bit in (1, 1 << random.Random(place).randrange(1, 8)):  # noqa: S311  as above
            changed = bytearray(raw)
            changed[place] ^= bit
            with pytest.raises(BedplateError):
                verify(Proof.parse(bytes(changed)), keys)
    lines = known["proof"].split("\n")
    for place in range(len(lines) - 1):
        with pytest.raises(BedplateError):
            verify(Proof.parse("\n".join(lines[:place] + lines[place + 1 :])), keys)


def test_another_installations_key_does_not_accept_it(sealed: tuple[Path, dict[str, Any]]) -> None:
    other = served.fresh()
    # A key of one's own: every populated folder has that of its template.
    (other / "keys" / "ledger").unlink()
    from bedplate.bootstrap import signing_key  # noqa: PLC0415

    with pytest.raises(BedplateError, match=r"signed|key"):
        verify(Proof.parse(sealed[1]["proof"]), [signing_key(other).verifier])


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 12 MiB, where one may be mounted."""
    folder = served.root() / f"disk-{next(served.SERIAL)}"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "bedplate-test", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here; tests/gateway/test_door.py raises Full itself")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_503_and_writing_resumes_once_there_is_room(small_disk: Path) -> None:
    data = small_disk / "data"
    shutil.copytree(served.fresh(), data)
    server = Server(data, tick_ms="600000")
    server.log = served.root() / f"full-{next(served.SERIAL)}.log"
    with server.start():
        harbour = served.harbour(server)
        kept = [harbour.record(_called(harbour))["id"]]
        ballast = small_disk / "ballast"
        _fill(ballast)
        statuses = _calls_until(harbour, lambda status: status == 503)
        assert statuses[-1] == 503
        # A short call may still find room where a long one does not.
        told = harbour.call(served.ask("a question of some length " * 100))[1]
        assert told["error"]["code"] in {"disk-full", "unavailable"}
        ballast.unlink()
        assert _calls_until(harbour, lambda status: status == 200)[-1] == 200
        kept.append(_called(harbour))
        assert served.fetch(server.url, "/readyz")[0] == 200
        assert harbour.person("victor").post("/api/ledger/verify", {})["faults"] == []
        assert all(harbour.record(call)["status"] == "ok" for call in kept)


def _called(harbour: Harbour) -> str:
    raw = harbour.openai().chat.completions.with_raw_response.create(
        model="default", messages=[{"role": "user", "content": served.LEAVE}]
    )
    return str(raw.headers["x-bedplate-call-id"])


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def _calls_until(harbour: Harbour, true: Callable[[int], bool]) -> list[int]:
    statuses: list[int] = []
    while not (statuses and true(statuses[-1])) and len(statuses) < 3000:
        statuses.append(harbour.call(served.ask("a question of some length " * 100))[0])
    return statuses
