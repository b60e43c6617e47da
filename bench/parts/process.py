"""A program under measurement: started, waited for, and what it used so far, its children included (Linux only)."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

PATIENCE_S = 40  # with what is still being answered
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


class Process:
    """A server on a port of its own. A context manager: it ends with SIGTERM, and then without asking."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        log: Path,
        environment: Mapping[str, str] | None = None,
        path: str = "/",
    ) -> None:
        self.port = port
        self._path = path
        self._log = log
        with log.open("wb") as out:
            told = {**os.environ, **(environment or {})}
            self._process = subprocess.Popen(command, env=told, stdout=out, stderr=out, process_group=0)

    def ready(self, within: float = 60) -> Self:
        """Wait until it answers its path with 200; `SystemExit` with the end of its log if it does not."""
        until = time.monotonic() + within
        while time.monotonic() < until and self._process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if get(self.port, self._path)[0] == 200:
                    return self
            time.sleep(0.05)
        self.stop()
        raise SystemExit(f"{self._process.args!r} did not start:\n{self.said()}")

    def said(self) -> str:
        """Return the end of what it printed, and how it ended if it has."""
        code = self._process.poll()
        ended = "" if code is None else f"\nit ended with {code}"
        return self._log.read_text(errors="replace")[-3000:] + ended

    @property
    def pids(self) -> list[int]:
        """Its own id and those of all its descendants."""
        found, i = [self._process.pid], 0
        while i < len(found):
            for task in Path(f"/proc/{found[i]}/task").glob("*/children"):
                with suppress(OSError):
                    found += [int(pid) for pid in task.read_text().split()]
            i += 1
        return found

    def cpu_us(self) -> dict[int, int]:
        """Processor time so far, user and system, in microseconds, by process id."""
        return {pid: _cpu(pid) for pid in self.pids}

    def resident(self) -> dict[int, int]:
        """Resident memory in bytes, by process id."""
        return {pid: _resident(pid) for pid in self.pids}

    def stop(self) -> None:
        """End it, and what it leaves behind."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def get(port: int, path: str) -> tuple[int, bytes]:
    """Make one plain request of a server here."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on now, all different."""
    sockets: list[socket.socket] = []
    try:
        ports = []
        for _ in range(count):
            probe = socket.socket()
            sockets.append(probe)
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
        return ports
    finally:
        for probe in sockets:
            probe.close()


def _cpu(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended
        return 0
    return (int(fields[11]) + int(fields[12])) * TICK_US


def _resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(lines[0].split()[1]) * 1024 if lines else 0
