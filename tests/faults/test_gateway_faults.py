"""Faults around calls: a full disk, a database that restarts, a process that is killed, resets, a clock that jumps."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import openai
import pytest
from tests import served
from tests.gateway.test_door import Gateway, text
from tests.served import HR, Harbour, RecordingUpstream, Server, events, head

from bedplate.bootstrap import open_engine_and_migrate
from bedplate.config import Settings
from bedplate.kernel.clock import DAY, SECOND
from bedplate.store.shard import Shard
from bedplate.testing import Answers, Cuts, ScriptedUpstream, SettableClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import Postgres

    from bedplate.gateway.snapshot import Key

HOUR = 3600 * SECOND


@dataclass
class Told:
    """What clients were told: call id → digest of the answer that arrived whole; and every other status."""

    calls: dict[str, str] = field(default_factory=dict)
    others: Counter[int] = field(default_factory=Counter)
    stop: threading.Event = field(default_factory=threading.Event)


def again_and_again(harbour: Harbour, told: Told, *, stream: bool) -> None:
    """Call on a new connection each time, so that whichever process is there answers."""
    key = {"authorization": f"Bearer {harbour.keys[HR]}"}
    body = json.dumps(served.ask(stream=stream)).encode()
    while not told.stop.wait(0.005):
        try:
            status, headers, content = served.fetch(harbour.url, "/v1/chat/completions", "POST", body, key)
        except (OSError, http.client.HTTPException):
            continue  # nothing was acknowledged
        if status != 200:
            told.others[status] += 1
        elif not stream:
            said = str(json.loads(content)["choices"][0]["message"]["content"])
            told.calls[headers["x-bedplate-call-id"]] = hashlib.sha256(said.encode()).hexdigest()
        elif content.endswith(b"data: [DONE]\n\n"):
            chunks = [json.loads(line[6:]) for line in content.split(b"\n") if line.startswith(b"data: {")]
            said = "".join(c["delta"].get("content") or "" for e in chunks for c in e["choices"])
            told.calls[headers["x-bedplate-call-id"]] = hashlib.sha256(said.encode()).hexdigest()


@contextmanager
def under_load(harbour: Harbour, told: Told, threads: int = 4) -> Iterator[None]:
    """Call from several threads at once, streams and whole answers, whatever comes of it."""
    running = [
        threading.Thread(target=again_and_again, args=(harbour, told), kwargs={"stream": n % 2 == 0})
        for n in range(threads)
    ]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        told.stop.set()
        for thread in running:
            thread.join(60)
        assert not any(thread.is_alive() for thread in running)


def until(true: Callable[[], Any], within: float = 60) -> Any:
    """Wait until it is true, and return what it was."""
    end = time.monotonic() + within
    while not (found := true()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def on_record(data: Path) -> dict[str, dict[str, Any]]:
    """Return every record of every shard, by call."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((data / "journal").glob("shard-*.db")):
        shard = Shard(path)
        try:
            found |= {row.id: json.loads(row.entry) for row in shard.rows(0, shard.head().size)}
        finally:
            shard.close()
    return found


def nothing_lost(told: Told, records: dict[str, dict[str, Any]]) -> None:
    for call, digest in told.calls.items():
        assert call in records, f"{call} was acknowledged and is lost"
        assert records[call]["answer_sha256"] == digest


def used(harbour: Harbour) -> int:
    lines = harbour.person("leo").get("/api/cost/budgets")["budgets"]
    return next(int(b["used"]) for b in lines if (b["subject"], b["limit"]) == (f"usecase/{HR}", "calls_per_day"))


# A disk that is full


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 16 MiB, where one may be mounted."""
    folder = served.root() / f"disk-{next(served.SERIAL)}"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "bedplate-test", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here; tests/gateway/test_door.py raises Full itself")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_full_under_load_loses_nothing_and_calls_go_on_once_there_is_room(small_disk: Path) -> None:
    data = small_disk / "data"
    shutil.copytree(served.fresh(), data)
    server = Server(data, tick_ms="600000")
    server.log = served.root() / f"full-{next(served.SERIAL)}.log"
    told = Told()
    with server.start():
        harbour = served.harbour(server)
        with under_load(harbour, told):
            until(lambda: len(told.calls) > 20)
            ballast = small_disk / "ballast"
            with ballast.open("wb", buffering=0) as file:
                for size in (1 << 16, 1 << 9):
                    try:
                        while True:
                            file.write(bytes(size))
                    except OSError:
                        continue
            stuck = until(lambda: (found := harbour.call(served.ask()))[0] == 503 and found[1])
            ballast.unlink()
            until(lambda: harbour.call(served.ask())[0] == 200)
            before = len(told.calls)
            until(lambda: len(told.calls) > before + 20)
        assert stuck["error"]["code"] in {"disk-full", "unavailable"}
        until(lambda: served.fetch(server.url, "/readyz")[0] == 200)
        assert harbour.person("victor").post("/api/ledger/verify", {})["faults"] == []
        records = on_record(data)
        nothing_lost(told, records)
        bought = [r for r in records.values() if r["route"] == "live" and r["kind"] == "call.completed"]
        assert used(harbour) >= len(bought), "a call that is on record counts"
    assert "Traceback" not in server.said(), server.said()[-3000:]


# A database that restarts


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(300)
def test_a_database_that_restarts_under_load_loses_nothing_and_calls_go_on(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"restarted_{next(served.SERIAL)}"
    postgres.execute(f"CREATE DATABASE {name}")
    monkeypatch.setenv("BEDPLATE_DATABASE", postgres.url(name))
    data = served.root() / f"data-{next(served.SERIAL)}"
    open_engine_and_migrate(Settings(data=data)).dispose()
    tokens = served.found(data)
    told = Told()
    with Server(data, tick_ms="200") as server:
        keys = served.populate(Harbour(server.url, tokens, {}))
        harbour = Harbour(server.url, tokens, keys)
        with under_load(harbour, told):
            for how in ("fast", "immediate"):
                before = len(told.calls)
                until(lambda before=before: len(told.calls) > before + 20)  # type: ignore[misc]  # bound as a default
                postgres.stop(how)
                time.sleep(1)
                statuses = {harbour.call(served.ask())[0] for _ in range(5)}
                assert statuses <= {200, 403, 503}, "tier 1 goes on for its lease, and says so when it cannot"
                assert served.fetch(server.url, "/healthz")[0] == 200
                postgres.start()
                until(lambda: served.fetch(server.url, "/readyz")[0] == 200)
                until(lambda: harbour.call(served.ask())[0] == 200)
        nothing_lost(told, on_record(data))
        leo = harbour.person("leo")
        key = {"authorization": f"Bearer {leo.issue_key(HR, 'after')['key']}"}
        body = json.dumps(served.ask()).encode()
        until(lambda: served.fetch(server.url, "/v1/chat/completions", "POST", body, key)[0] == 200)
        assert harbour.person("victor").post("/api/ledger/verify", {})["faults"] == []


# A process that is killed


def children(of: int) -> list[int]:
    """Return the serving processes of a supervisor: not the helper that Python itself starts beside them."""
    found = Path(f"/proc/{of}/task/{of}/children").read_text().split()
    return [int(pid) for pid in found if b"spawn_main" in program_of(pid)]


def program_of(pid: str) -> bytes:
    """Return the command line of a process; nothing of one that has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_9_of_one_of_two_processes_under_load_loses_nothing_and_the_other_goes_on() -> None:
    data = served.fresh()
    told = Told()
    with Server(data, processes="2", tick_ms="200") as server:
        harbour = served.harbour(server)
        assert server.process is not None
        supervisor = server.process.pid
        until(lambda: len(children(supervisor)) == 2)
        with under_load(harbour, told, threads=6):
            for turn in range(3):
                before = len(told.calls)
                until(lambda before=before: len(told.calls) > before + 40)  # type: ignore[misc]  # bound as a default
                both = children(supervisor)
                os.kill(both[turn % 2], signal.SIGKILL)
                killed = len(told.calls)
                until(lambda killed=killed: len(told.calls) > killed + 20, 20)  # type: ignore[misc]  # as above
                until(lambda both=both: len(children(supervisor)) == 2 and children(supervisor) != both)  # type: ignore[misc]  # as above
        until(lambda: served.fetch(server.url, "/readyz")[0] == 200)
        assert not told.others, "whoever was left answered every call"
        records = on_record(data)
        nothing_lost(told, records)
        live = [r for r in records.values() if r["route"] == "live" and r["use_case"] == f"usecase/{HR}"]
        counted = sum(r["kind"] in {"call.completed", "call.aborted", "call.failed"} for r in live)
        until(lambda: used(harbour) == counted, 30)  # what only a dead process had reserved is given back
        assert harbour.person("victor").post("/api/ledger/verify", {})["faults"] == []


# An upstream that resets


@pytest.fixture(scope="module")
def upstream() -> Iterator[RecordingUpstream]:
    served.template("remote")  # making it needs an upstream of its own
    with RecordingUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def remote(upstream: RecordingUpstream) -> Iterator[Harbour]:
    with Server(served.fresh("remote"), upstream_url=upstream.url, tick_ms="600000") as server:
        yield served.harbour(server)
    assert "Traceback" not in server.said(), server.said()


def resets(*pieces: bytes) -> Callable[[Any, asyncio.StreamWriter], Any]:
    async def behave(_seen: Any, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        await asyncio.sleep(0.05)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return behave


MESSAGES: Any = served.ask()["messages"]


@pytest.mark.parametrize("sent", [(), (head(content_length="999"), b'{"choices":')], ids=["before", "in the middle"])
def test_an_upstream_that_resets_is_502_and_on_record(
    remote: Harbour, upstream: RecordingUpstream, sent: tuple[bytes, ...]
) -> None:
    upstream.behave = resets(*sent)

    status, told = remote.call(served.ask())

    assert (status, told["error"]["code"]) == (502, "upstream-failed")
    assert remote.record(told["error"]["call_id"])["status"] == "failed"


def test_a_stream_that_is_reset_ends_in_an_error_with_what_came_on_record(
    remote: Harbour, upstream: RecordingUpstream
) -> None:
    upstream.behave = resets(head(kind="text/event-stream"), *events(["26 ", "days"], done=False))
    got: list[str] = []

    def read() -> None:
        stream = remote.openai().chat.completions.create(model="default", messages=MESSAGES, stream=True)
        got.extend(chunk.choices[0].delta.content or "" for chunk in stream)

    with pytest.raises(openai.APIError):
        read()
    assert "".join(got) == "26 days"
    record = dict(remote.person("victor").calls(limit=1)[0])
    assert (record["status"], remote.record(record["id"])["said"]["answer"]) == ("failed", "26 days")


# A clock that jumps


def keep_key(gateway: Gateway) -> None:
    """Let the key outlive whatever the clock does."""
    keys = cast("dict[str, Key]", gateway.snapshot.keys)
    for digest, key in keys.items():
        keys[digest] = replace(key, expires=gateway.clock.now + 10_000 * DAY)


@pytest.mark.parametrize("jump", [-HOUR, HOUR, -DAY, 30 * DAY, -400 * DAY])
@pytest.mark.parametrize("stream", [False, True])
def test_a_clock_that_jumps_while_a_call_is_answered_makes_no_time_negative(jump: int, *, stream: bool) -> None:
    clock = SettableClock()
    upstream = ScriptedUpstream(Answers("one two three"), arrived=lambda _body: clock.advance(jump))
    gateway = Gateway(upstream=upstream, clock=clock)
    keep_key(gateway)

    answer = text(gateway.stream()) if stream else gateway.ask().status

    assert answer == ("one two three " if stream else 200)
    last = gateway.records.last
    assert last["kind"] == "call.completed"
    assert min(last["first_us"], last["latency_us"]) >= 0


@pytest.mark.parametrize("jump", [-HOUR, -DAY, -400 * DAY])
def test_a_clock_that_steps_back_empties_no_budget(jump: int) -> None:
    gateway = Gateway(recipe={"calls_per_day": 3})
    keep_key(gateway)
    assert [gateway.ask().status for _ in range(2)] == [200, 200]

    gateway.clock.advance(jump)

    assert [gateway.ask().status for _ in range(3)] == [200, 403, 403]
    assert gateway.records.last["reasons"][0][0] == "within-budget"


def test_a_key_that_has_ended_by_a_clock_ahead_is_good_again_when_the_clock_is_right() -> None:
    gateway = Gateway()
    assert gateway.ask().status == 200

    gateway.clock.advance(365 * DAY)
    assert gateway.ask().status == 401

    gateway.clock.advance(-365 * DAY)
    assert gateway.ask().status == 200
    assert gateway.budgets.today(f"usecase/{HR}", gateway.clock.now).calls == 2


def test_calls_keep_their_order_whatever_the_clock_does() -> None:
    gateway = Gateway()
    keep_key(gateway)

    for jump in (0, -HOUR, 2 * HOUR, -3 * HOUR, SECOND):
        gateway.clock.advance(jump)
        assert gateway.ask().status == 200

    ids = [entry["id"] for entry in gateway.records.all]
    assert ids == sorted(set(ids))


def test_a_stream_that_breaks_while_the_clock_steps_back_is_on_record() -> None:
    clock = SettableClock()
    gateway = Gateway(
        upstream=ScriptedUpstream(Cuts("one two", after=1), arrived=lambda _b: clock.advance(-HOUR)), clock=clock
    )

    assert text(gateway.stream()) == "one "
    assert gateway.records.last["status"] == "failed"
