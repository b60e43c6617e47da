"""Several serving processes on one port: one standing, one budget, a shard each."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests import served
from tests.served import HR, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour

pytestmark = pytest.mark.slow
SECOND = 1.0  # law: what stops a use case is in force on every process within a second
LINES = 16  # kept connections: enough that both processes have some


@pytest.fixture
def harbour() -> Iterator[Harbour]:
    with Server(served.fresh(), processes="2") as server:
        found = served.harbour(server)
        until = time.monotonic() + 60
        while len(shards(found)) < 2:  # the second may still be starting
            assert time.monotonic() < until, server.said()
            line = Line(found)
            line.call()
            line.close()
        yield found


class Line:
    """A kept connection, which stays with the process that took it."""

    def __init__(self, harbour: Harbour) -> None:
        self._client = socket.create_connection(("127.0.0.1", int(harbour.url.rpartition(":")[2])), timeout=20)
        body = json.dumps(served.ask()).encode()
        told = b"host: h\r\nauthorization: Bearer %s\r\ncontent-length: %d" % (harbour.keys[HR].encode(), len(body))
        self._request = b"POST /v1/chat/completions HTTP/1.1\r\n%b\r\n\r\n%b" % (told, body)

    def call(self) -> int:
        self._client.sendall(self._request)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._client.recv(1 << 16)
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(next(x.split(b":")[1] for x in head.split(b"\r\n") if x.startswith(b"content-length")))
        while len(body) < length:
            body += self._client.recv(1 << 16)
        return int(head.split()[1])

    def close(self) -> None:
        self._client.close()


def shards(harbour: Harbour) -> set[str]:
    return {str(c["shard"]) for c in harbour.person("victor").calls(limit=200)}


def test_a_suspension_is_in_force_in_every_process_within_a_second_under_load(harbour: Harbour) -> None:
    lines = [Line(harbour) for _ in range(LINES)]
    assert {line.call() for line in lines} == {200}
    last: list[float] = []
    stop = threading.Event()

    def load(line: Line) -> None:
        while not stop.is_set():
            if line.call() == 200:
                last.append(time.monotonic())

    threads = [threading.Thread(target=load, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    status, _ = harbour.api("POST", f"/api/use-cases/{HR}/suspend", {"reason": "drill"}, harbour.token("hanna"))
    answered = time.monotonic()
    time.sleep(SECOND + 0.5)
    stop.set()
    for thread in threads:
        thread.join()

    assert status < 300
    assert max(last) - answered < SECOND
    assert {line.call() for line in lines} == {403}
    for line in lines:
        line.close()


def test_figures_of_every_process_are_answered_by_any(harbour: Harbour) -> None:
    lines = [Line(harbour) for _ in range(LINES)]
    for line in lines:
        line.call()
        line.close()
    told: set[str] = set()
    until = time.monotonic() + 60
    while len(told) < 2 and time.monotonic() < until:
        _, _, text = served.fetch(harbour.url, "/metrics")
        found = [x for x in text.decode().splitlines() if x.startswith("bedplate_calls_total{")]
        told = {part for x in found for part in x.split('"') if part.startswith("shard-")}
        time.sleep(0.2)
    assert told == {"shard-0", "shard-1"}
