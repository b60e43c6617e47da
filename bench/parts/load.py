"""Load on one server: by `wrk` where it is installed, otherwise by connections of our own; the same for everything."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable

WRK = shutil.which("wrk")
GENERATOR = f"wrk ({WRK})" if WRK else "asyncio, in the process of the benchmark (wrk is not installed)"
SCRIPT = Path(__file__).with_name("load.lua")
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of one run. Latencies in milliseconds; `wrong` are answers other than 2xx, and broken connections."""

    calls: int
    seconds: float
    p50: float
    p99: float
    wrong: int

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds


def load(port: int, key: str, body: bytes, connections: int, seconds: float) -> Figures:
    """Make the same call over and over on kept connections, each waiting for its answer before it asks again."""
    if WRK is None:
        return asyncio.run(_own(port, key, body, connections, seconds))
    with tempfile.NamedTemporaryFile() as file:
        file.write(body)
        file.flush()
        # wrk takes whole seconds only; SIGINT ends it early, with its figures.
        command = [WRK, "-t1", f"-c{connections}", "-d600s", "--timeout", "60s", "-s", str(SCRIPT)]
        told = {**os.environ, "BENCH_BODY": file.name, "BENCH_KEY": key}
        with subprocess.Popen(
            [*command, f"http://127.0.0.1:{port}{PATH}"], env=told, stdout=subprocess.PIPE, text=True
        ) as running:
            time.sleep(seconds)
            running.send_signal(2)
            said = running.communicate(timeout=90)[0]
    line = next((line for line in said.splitlines() if line.startswith("FIGURES")), "")
    if not line:
        raise ConnectionError("nothing answers there, or wrk failed")
    calls, duration, p50, p99, wrong = map(int, line.split()[1:])
    return Figures(calls, duration / 1e6, p50 / 1e3, p99 / 1e3, wrong)


def request(key: str, body: bytes) -> bytes:
    """Return the exact bytes of one call."""
    lines = [
        f"POST {PATH} HTTP/1.1",
        "host: 127.0.0.1",
        "content-type: application/json",
        f"authorization: Bearer {key}",
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Caller(asyncio.Protocol):
    """One connection that asks again as soon as it is answered; `answered` gets (status, asked at, answered at)."""

    def __init__(self, content: bytes, answered: Callable[[int, float, float], None]) -> None:
        self._content = content
        self._answered = answered
        self._asked = 0.0
        self.stopped = False
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._ask()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Count the answer, and ask again."""
        self._answered(self._parser.get_status_code(), self._asked, time.perf_counter())
        if self.stopped:
            self._transport.close()
        else:
            self._parser = httptools.HttpResponseParser(self)
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the server closed it."""
        self.lost = self.lost or exc is not None or not self.stopped

    def stop(self) -> None:
        """Ask no more; what is asked is thrown away."""
        self.stopped = True
        self._transport.abort()

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._transport.write(self._content)


async def callers(
    port: int, key: str, body: bytes, connections: int, answered: Callable[[int, float, float], None]
) -> list[Caller]:
    """Open connections that call until each is stopped."""
    loop, content = asyncio.get_running_loop(), request(key, body)
    opened = [loop.create_connection(lambda: Caller(content, answered), "127.0.0.1", port) for _ in range(connections)]
    return [caller for _, caller in await asyncio.gather(*opened)]


async def _own(port: int, key: str, body: bytes, connections: int, seconds: float) -> Figures:
    spent: list[float] = []
    statuses: list[int] = []

    def answered(status: int, asked: float, at: float) -> None:
        spent.append(at - asked)
        statuses.append(status)

    began = time.perf_counter()
    calling = await callers(port, key, body, connections, answered)
    await asyncio.sleep(seconds)
    for caller in calling:
        caller.stop()
    took = time.perf_counter() - began
    spent.sort()
    wrong = sum(not 200 <= s < 300 for s in statuses) + sum(caller.lost for caller in calling)
    at = [1000 * spent[len(spent) * share // 100] if spent else 0.0 for share in (50, 99)]
    return Figures(len(spent), took, at[0], at[1], wrong)
