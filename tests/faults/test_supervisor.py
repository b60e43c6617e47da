"""Several serving processes end together: on SIGTERM, when one hangs, and when their supervisor is killed."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.faults.test_gateway_faults import children
from tests.served import Server

from bedplate.bootstrap import open_engine_and_migrate, open_governor, open_ledger, wall_clock
from bedplate.config import Settings
from bedplate.launch import GRACE_S
from bedplate.people.actions import sign_in
from bedplate.supervisor import ENDS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PAUSE_S = 5.0  # to start and end processes on a busy machine


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(served.fresh(), processes="2") as server:
        found: list[int] = []
        within(60, lambda: len(serving(server)) == 2)
        found += serving(server)
        yield server
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def serving(server: Server) -> list[int]:
    """Return the serving processes of a supervisor that has said that it is up."""
    assert server.process is not None
    of = server.process.pid
    return children(of) if server.process.poll() is None else []


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def answers(server: Server) -> bool:
    """Tell whether anybody listens on its port."""
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    except OSError:
        return False
    return True


def within(seconds: float, true: Callable[[], Any]) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"it did not happen within {seconds:g} s"
        time.sleep(0.02)


def stopped(server: Server) -> float:
    """End it with SIGTERM; returns how long that took."""
    assert server.process is not None
    began = time.monotonic()
    server.process.terminate()
    assert server.process.wait(60) == 0, server.said()
    return time.monotonic() - began


def test_sigterm_leaves_nobody_behind_under_load(server: Server) -> None:
    both, stop = serving(server), threading.Event()

    def load() -> None:
        while not stop.is_set():
            with suppress(OSError, http.client.HTTPException):
                served.fetch(server.url, "/healthz")

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    took = stopped(server)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert took < GRACE_S + PAUSE_S
    assert not [pid for pid in both if alive(pid)]
    assert not answers(server)


def test_sigterm_ends_processes_that_are_starting() -> None:
    data = served.fresh()
    for wait in (0.5, 1.0, 1.5, 2.0):
        server = Server(data, processes="2").start(answering=False)
        assert server.process is not None
        time.sleep(wait)
        started = serving(server)
        server.process.terminate()
        server.process.wait(60)
        assert not [pid for pid in started if alive(pid)]
        assert not answers(server)


def test_a_process_that_dies_while_it_hangs_does_not_hold_up_the_end(server: Server) -> None:
    both = serving(server)
    os.kill(both[0], signal.SIGSTOP)
    time.sleep(1.2)  # it was asked, or awaited, meanwhile
    os.kill(both[0], signal.SIGKILL)
    assert stopped(server) < GRACE_S + PAUSE_S
    assert not [pid for pid in both if alive(pid)]


def test_a_process_that_hangs_is_ended_with_the_others(server: Server) -> None:
    both = serving(server)
    os.kill(both[1], signal.SIGSTOP)
    time.sleep(1.2)
    assert stopped(server) < ENDS_S + PAUSE_S
    assert not [pid for pid in both if alive(pid)]
    assert not answers(server)


def test_a_process_that_dies_is_replaced_and_the_port_answers_meanwhile(server: Server) -> None:
    both = serving(server)
    os.kill(both[0], signal.SIGKILL)
    within(5, lambda: not alive(both[0]))
    for _ in range(20):
        assert served.fetch(server.url, "/healthz")[0] == 200
    within(20, lambda: len(serving(server)) == 2 and both[0] not in serving(server))
    assert both[1] in serving(server), "nobody else was touched"


def test_kill_9_of_the_supervisor_ends_its_processes(server: Server) -> None:
    both = serving(server)
    server.kill()
    within(GRACE_S + PAUSE_S, lambda: not answers(server))
    within(ENDS_S, lambda: not [pid for pid in both if alive(pid)])
    with Server(server.data):
        pass  # and whoever comes next has the folder to itself


def test_a_live_tail_ends_with_the_server(server: Server) -> None:
    session, tails = cookie(server), []
    for _ in range(6):  # enough that both processes have some
        tail = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        tail.request("GET", "/calls/tail/events", headers={"cookie": session})
        answer = tail.getresponse()
        assert answer.status == 200
        assert answer.readline().startswith(b"retry:")
        tails.append((tail, answer))
    took = stopped(server)
    for tail, answer in tails:
        answer.read()  # it ends
        tail.close()
    assert took < GRACE_S + PAUSE_S
    assert "timeout graceful shutdown exceeded" not in server.said(), "nobody had to be cut off"


def cookie(server: Server) -> str:
    """Begin a session in the console, and return its cookie."""
    engine = open_engine_and_migrate(Settings(data=server.data))
    ledger, declared, identities = open_ledger(engine, wall_clock)
    session = sign_in(open_governor(ledger, declared, wall_clock, identities), "victor.lam", "session")
    engine.dispose()
    return f"bedplate_session={session.text}"
