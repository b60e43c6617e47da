"""Several serving processes on one socket: replaced when they die or hang, ended together, never left behind."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from bedplate.errors import Conflict

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    Work = Callable[[socket.socket, Callable[[], None]], None]

ENDS_S = 15  # from being told to end to being ended: answers under way, then what has to be written
HEALTHY_S = 30  # a process that starts on a busy machine must not be taken for one that hangs
BEAT_S = 1.0
LOOK_S = 0.2
AGAIN_S = 0.5  # before a process that died is replaced: one that dies at once must not take the whole machine
BACKLOG = 2048  # connections that may wait
ALIVE, SERVING = b"alive", b"serving"
STOPPING = (signal.SIGTERM, signal.SIGINT)
SPAWN = multiprocessing.get_context("spawn")
log = logging.getLogger(__name__)


class Process:
    """One serving process, as its supervisor sees it."""

    def __init__(self, work: Work, sock: socket.socket) -> None:
        self._line, theirs = SPAWN.Pipe(duplex=False)
        self._process = SPAWN.Process(target=_worked, args=(work, sock, theirs))
        self._process.start()
        theirs.close()  # or the supervisor would wait for a word from itself
        self._heard = time.monotonic()
        self.serving = False

    @property
    def sentinel(self) -> int:
        """What becomes ready when it ends."""
        return self._process.sentinel

    @property
    def pid(self) -> int | None:
        """Its id."""
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        """How it ended; None while it has not, the negative signal if it was killed."""
        return self._process.exitcode

    def well(self) -> bool:
        """Take in what it said since the last time; tell whether it is alive, and said anything lately."""
        with suppress(OSError, EOFError):  # it ended
            while self._line.poll():
                self.serving = self._line.recv_bytes() == SERVING or self.serving
                self._heard = time.monotonic()
        return self._process.is_alive() and time.monotonic() - self._heard < HEALTHY_S

    def tell_to_end(self) -> None:
        """Let it answer what is under way, and no more."""
        self._process.terminate()

    def ended(self, until: float) -> bool:
        """Wait for its end, but no longer than to this moment (monotonic seconds)."""
        self._process.join(max(0.0, until - time.monotonic()))
        return not self._process.is_alive()

    def kill(self) -> None:
        """End it at once, if it has not ended: what it has acknowledged is durable."""
        self._process.kill()
        self._process.join()
        self._line.close()


class Supervisor:
    """Has `count` processes do `work`, which is given the socket and what to call once it serves.

    `ready` is called once, as soon as any of them serves.
    """

    def __init__(self, count: int, work: Work, sock: socket.socket, ready: Callable[[], None]) -> None:
        self._count, self._work, self._sock, self._ready = count, work, sock, ready
        self._processes: list[Process] = []
        self._served = self._stopping = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; returns once every process has ended. `Conflict` if none can begin."""
        for number in STOPPING:
            signal.signal(number, self._stop)
        try:
            for _ in range(self._count):
                self._processes.append(Process(self._work, self._sock))
            while not self._stopping:
                wait([process.sentinel for process in self._processes], LOOK_S)
                self._look()
        finally:
            self._end()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _look(self) -> None:
        self._sock.listen(BACKLOG)  # a process that begins to listen makes the queue short: see `launch`
        for place, process in enumerate(self._processes):
            well = process.well()
            if process.serving and not self._served:
                self._served = True
                self._ready()
            if not well and not self._stopping:
                self._processes[place] = self._instead_of(process)

    def _instead_of(self, process: Process) -> Process:
        process.kill()
        if not self._served and (process.exitcode or 0) > 0:
            raise Conflict("the server did not start", hint="the log above says why")
        log.warning("bedplate.process.died", extra={"pid": process.pid, "exit": process.exitcode})
        time.sleep(AGAIN_S)
        return Process(self._work, self._sock)

    def _end(self) -> None:
        for process in self._processes:
            process.tell_to_end()
        until = time.monotonic() + ENDS_S
        for process in self._processes:
            if not process.ended(until):
                log.warning("bedplate.process.killed", extra={"pid": process.pid, "after_s": ENDS_S})
            process.kill()


def _worked(work: Work, sock: socket.socket, line: Connection) -> None:
    """Be one of the processes."""
    threading.Thread(target=_watched, args=(line,), name="supervisor-watch", daemon=True).start()

    def serving() -> None:
        with suppress(OSError):  # nobody is left to hear it; the thread sees to that
            line.send_bytes(SERVING)

    with suppress(KeyboardInterrupt):  # Ctrl-C reaches every process of a terminal
        work(sock, serving)


def _watched(line: Connection) -> None:
    """Give signs of life; end when there is no supervisor any more, for nobody else would end this process."""
    supervisor = multiprocessing.parent_process()
    while supervisor is not None and supervisor.is_alive():
        with suppress(OSError):
            line.send_bytes(ALIVE)
        supervisor.join(BEAT_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ENDS_S)
    os._exit(1)
