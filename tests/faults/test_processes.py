"""Processes that die, processes beside each other, and a database that does not answer."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.served import HR, RIGHTS, Harbour, Server

from bedplate.errors import BedplateError
from bedplate.people.blank import blank_model
from bedplate.store.note import VerifierKey
from bedplate.store.proof import Proof, verify
from bedplate.store.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECOND = 1.0  # law: what stops a use case is in force on every process within a second


@dataclass
class Acknowledged:
    """What clients were told: call id → digest of the answer that arrived whole."""

    calls: dict[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)


def load(harbour: Harbour, told: Acknowledged, *, stream: bool) -> None:
    """Call again and again on one connection, until told to stop or the server dies."""
    body = json.dumps(served.ask(stream=stream)).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
        % (harbour.keys[HR].encode(), len(body), body)
    )
    end = b"data: [DONE]\n\n" if stream else b"}"
    try:
        with socket.create_connection(("127.0.0.1", int(harbour.url.rpartition(":")[2])), timeout=20) as client:
            while not told.stop.is_set():
                client.sendall(request)
                got = b""
                while not _whole(got, end):
                    piece = client.recv(1 << 16)
                    if not piece:
                        return
                    got += piece
                if stream:
                    while not got.endswith(b"0\r\n\r\n"):
                        piece = client.recv(1 << 16)
                        got += piece
                        if not piece:
                            break
                found = re.search(rb"x-bedplate-call-id: (\S+)", got)
                assert found is not None
                told.calls[found[1].decode()] = hashlib.sha256(_text(got, stream=stream).encode()).hexdigest()
    except OSError:
        return


def _whole(got: bytes, end: bytes) -> bool:
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return len(body) >= int(length[1]) if length is not None else end in body


def _text(got: bytes, *, stream: bool) -> str:
    body = got.partition(b"\r\n\r\n")[2]
    if not stream:
        return str(json.loads(body)["choices"][0]["message"]["content"])
    events = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]
    return "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])


def vote_again_and_again(harbour: Harbour, told: Acknowledged) -> None:
    """Suspend, ask to resume, agree: a change with an approval, over and over."""
    mara, hanna = harbour.person("mara"), harbour.person("hanna")
    try:
        while not told.stop.is_set():
            mara.suspend(RIGHTS, "again")
            harbour.approve(lambda: mara.resume(RIGHTS, "and again"), "jonas", "ruth")
            hanna.me()
    except BedplateError:
        return


def kill_under_load(times: int) -> None:
    data = served.fresh()
    told = Acknowledged()
    for turn in range(times):
        told.stop.clear()
        server = Server(data, seal_every_s="1", tick_ms="50").start()
        harbour = served.harbour(server)
        threads = [threading.Thread(target=load, args=(harbour, told), kwargs={"stream": n % 2 == 0}) for n in range(4)]
        threads.append(threading.Thread(target=vote_again_and_again, args=(harbour, told)))
        before = len(told.calls)
        for thread in threads:
            thread.start()
        _until(lambda before=before: len(told.calls) >= before + 10)  # type: ignore[misc]  # bound as a default
        time.sleep(0.01 * (turn % 7))  # at another moment of its work each time
        server.kill()
        told.stop.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
    with Server(data) as server:
        harbour = served.harbour(server)
        victor = harbour.person("victor")
        assert victor.post("/api/ledger/verify", {})["faults"] == []
        shard = Shard(data / "journal" / "shard-0.db")
        for call, digest in told.calls.items():
            row = shard.get(call)
            assert row is not None, f"{call} was acknowledged and is lost"
            assert json.loads(row.entry)["answer_sha256"] == digest
        shard.close()
        _no_half_approval(harbour)
        assert harbour.call(served.ask())[0] == 200


def _no_half_approval(harbour: Harbour) -> None:
    victor = harbour.person("victor")
    _until(lambda: not victor.approvals("granted"))  # what was granted and not carried out is carried out now
    for approval in victor.approvals("any"):
        events = victor.get("/api/ledger/events", stream=approval["id"])["events"]
        kinds = [e["kind"].removeprefix("kernel.approval.") for e in reversed(events)]
        assert kinds[0] == "asked"
        assert (approval["state"] == "spent") == (kinds[-1] == "spent")
        if "granted" in kinds:
            assert kinds[kinds.index("granted") - 1] == "voted"
    spent = [a for a in victor.approvals("spent") if a["action"] == "incidents.resume"]
    resumed = victor.get("/api/ledger/events", kind="incidents.usecase.resumed", limit=1000)["events"]
    assert len(spent) == len(resumed)


def test_kill_9_under_load_loses_nothing_acknowledged() -> None:
    kill_under_load(3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kill_9_under_load_loses_nothing_acknowledged_in_20_times() -> None:
    kill_under_load(20)


@pytest.mark.slow
def test_two_processes_on_one_folder_agree_within_a_second() -> None:
    data = served.fresh()
    with Server(data) as first, Server(data) as second:
        one, two = served.harbour(first), served.harbour(second)
        leo = one.person("leo")
        made = leo.issue_key(HR, "second")
        key = {"authorization": f"Bearer {made['key']}"}
        body = json.dumps(served.ask()).encode()

        def status(of: Harbour) -> int:
            return served.fetch(of.url, "/v1/chat/completions", "POST", body, key)[0]

        _within(SECOND, lambda: status(two) == 200)
        calls = []
        for harbour in (one, two):
            _, headers, _ = served.fetch(harbour.url, "/v1/chat/completions", "POST", body, key)
            calls.append(headers["x-bedplate-call-id"])
        assert {c["shard"] for c in one.person("victor").calls(limit=10)} == {"shard-0", "shard-1"}

        leo.post(f"/api/keys/{made['id']}/revoke", {"reason": "lost"})
        _within(SECOND, lambda: status(two) == 401)
        assert status(one) == 401

        two.person("hanna").suspend(HR, "a drill")
        _within(SECOND, lambda: one.call(served.ask())[0] == 403)
        assert two.call(served.ask())[0] == 403

        for harbour, call in zip((one, two), calls, strict=True):
            _proved(harbour, call)
    with Server(data) as server:
        harbour = served.harbour(server)
        for call in calls:
            _proved(harbour, call)
        assert harbour.person("victor").post("/api/ledger/verify", {})["faults"] == []


def _proved(harbour: Harbour, call: str) -> None:
    victor = harbour.person("victor")
    keys = [VerifierKey.parse(line) for line in victor.public_keys().split()]
    assert verify(Proof.parse(victor.prove(call)), keys).call["id"] == call


def test_a_standing_that_cannot_be_proved_fresh_stops_tier_3_at_once_and_tier_1_after_its_lease() -> None:
    data = served.fresh()
    _lease_of_tier_1(data, 3000)
    with Server(data) as server:
        harbour = served.harbour(server)
        assert [harbour.call(served.ask(), use_case)[0] for use_case in (HR, RIGHTS)] == [200, 200]
        with closing(sqlite3.connect(data / "bedplate.db", isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode = EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")  # nobody reads it now
            _until(lambda: harbour.call(served.ask(), RIGHTS)[0] == 403)
            status, told = harbour.call(served.ask(), RIGHTS)
            assert (status, told["error"]["reasons"][0]["control"]) == (403, "standing-fresh")
            assert harbour.call(served.ask())[0] == 200

            _until(lambda: served.fetch(server.url, "/readyz")[0] == 503)
            why = json.loads(served.fetch(server.url, "/readyz")[2])
            assert "database does not answer" in " ".join(why["why_not"])
            assert served.fetch(server.url, "/healthz")[0] == 200
            _until(lambda: harbour.call(served.ask())[0] == 403)
        _until(lambda: harbour.call(served.ask(), RIGHTS)[0] == 200)
        assert harbour.call(served.ask())[0] == 200
        assert json.loads(served.fetch(server.url, "/readyz")[2]) == {
            "ready": True,
            "why_not": [],
            "posture": "standard",
        }
        metrics = served.fetch(server.url, "/metrics")[2].decode()
        counted = [line for line in metrics.splitlines() if line.startswith("bedplate_calls_total{")]
        for verdict, ended in (("allow", "ok"), ("deny", "refused")):
            assert any(f'verdict="{verdict}"' in line and f'status="{ended}"' in line for line in counted), counted
        assert re.search(r"bedplate_call_seconds_count\{[^}]*\} [1-9]", metrics)


def _lease_of_tier_1(data: Path, ms: int) -> None:
    """Have the organisation agree to another lease."""
    with Server(data) as server:
        harbour = served.harbour(server)
        text = blank_model("Harbour Mutual", (served.EXAMPLE / "people.yaml").read_text())
        priya = harbour.person("priya")
        changed = text.replace("lease_ms: 30000", f"lease_ms: {ms}", 1)
        harbour.approve(lambda: priya.apply("operating-model", "m.yaml", changed), "jonas")


def test_sigterm_under_load_closes_the_shard_on_record() -> None:
    data = served.fresh()
    told = Acknowledged()
    server = Server(data).start()
    harbour = served.harbour(server)
    threads = [threading.Thread(target=load, args=(harbour, told), kwargs={"stream": n % 2 == 0}) for n in range(4)]
    for thread in threads:
        thread.start()
    _until(lambda: len(told.calls) >= 20)
    server.stop()
    told.stop.set()
    for thread in threads:
        thread.join(30)
    with Server(data) as again:
        victor = served.harbour(again).person("victor")
        events = victor.get("/api/ledger/events", stream="shard/shard-0", limit=1000)["events"]
        assert "closed" in " ".join(e["kind"] for e in events)
        for call, digest in told.calls.items():
            assert victor.call(call)["answer_sha256"] == digest


def _until(true: Callable[[], Any], within: float = 20) -> None:
    _within(within, true)


def _within(seconds: float, true: Callable[[], Any]) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"it did not happen within {seconds:g} s"
        time.sleep(0.01)
