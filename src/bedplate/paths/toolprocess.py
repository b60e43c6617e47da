"""An MCP server that speaks over standard input: one process of it, started when it is first asked.

It has one session, which is ours. Clients share it: their requests get ids of our own on the way, and what the server
asks by itself (a client's model, its user, its roots) is refused, for it could not be said of whom.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.agents.mcp.message import encode
from bedplate.gateway.response import Broken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from bedplate.gateway.credential import Credential

log = logging.getLogger(__name__)
REVISION = "2025-11-25"
MAX_LINE = 50 << 20
MAX_SAID = 2_000  # characters of a line of its error output that are logged
PATIENCE_S, MOST_PATIENCE_S = 1.0, 30.0  # between two starts
GRACE_S = 2.0  # to end by itself
CHANGED = "notifications/tools/list_changed"
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")  # of our own environment; nothing else goes to it
JSON = {"content-type": "application/json"}
_decode = msgspec.json.Decoder().decode


class Whole:
    """An answer that is there already."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status = status
        self.headers: Mapping[str, str] = JSON if content else {}
        self._content = content

    async def read(self, limit: int = MAX_LINE) -> bytes:
        """Return it; `Broken` if it is longer than `limit` bytes."""
        if len(self._content) > limit:
            raise Broken("too-large", f"the server sent more than {limit} bytes", before=False)
        return self._content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield it."""
        yield self._content

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class ToolProcess:
    """One server over standard input, asked as those over HTTP are. For one event loop at a time."""

    def __init__(
        self, name: str, command: Sequence[str], secrets: Mapping[str, Credential], *, start_s: float, call_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.name = name
        self.url = " ".join(command)
        self.changed: list[Callable[[], None]] = []  # told when its tools may be others
        self._command = tuple(command)
        self._secrets = secrets
        self._start_s = start_s
        self._call_s = call_s
        self._clock = clock  # seconds
        self._process: asyncio.subprocess.Process | None = None
        self._readers: tuple[asyncio.Task[None], ...] = ()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 0
        self._one: asyncio.Lock | None = None
        self._hello: dict[str, Any] = {}
        self._again_at = 0.0
        self._patience = PATIENCE_S

    async def send(
        self,
        method: str,
        headers: Sequence[tuple[bytes, bytes]],  # noqa: ARG002  of HTTP
        body: bytes,
        now: int,
        *,
        once: bool = False,  # noqa: ARG002  nothing is sent twice here
    ) -> Whole:
        """Hand one message on and return what comes back. `Broken` if that does not; `now`: monotonic µs."""
        if method != "POST":
            return Whole(405, b"")
        message: dict[str, Any] = _decode(body)
        asked = message.get("method")
        if asked is None or asked == "notifications/initialized":
            return Whole(202, b"")  # the session is ours, and nothing of what it asks goes out
        await self._running(now)
        if asked == "initialize":
            return Whole(200, encode({"jsonrpc": "2.0", "id": message.get("id"), "result": self._hello}))
        if "id" not in message:
            await self._write(message)
            return Whole(202, b"")
        answer = await self._asked(message, self._call_s)
        return Whole(200, encode({**answer, "id": message["id"]}))

    def close(self) -> None:
        """End it: asked first, then told, then killed."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        _tell(process.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until:
            if _gone(process.pid):
                return
            time.sleep(0.02)
        _tell(process.pid, signal.SIGKILL)

    # Its life

    async def _running(self, now: int) -> None:
        if self._one is None:
            self._one = asyncio.Lock()
        async with self._one:
            if self._process is not None and self._process.returncode is None:
                return
            if (left := self._again_at - self._clock()) > 0:
                raise Broken("connect", f"it ended, and is started again in {left:.0f} s", before=True)
            await self._start(now)

    async def _start(self, now: int) -> None:
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {name: key.secret(now).decode() for name, key in self._secrets.items()}
        pipe = asyncio.subprocess.PIPE
        self._later()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, limit=MAX_LINE,
                start_new_session=True,
            )  # fmt: skip
        except OSError as wrong:
            raise Broken("connect", f"it cannot be started: {wrong.strerror}", before=True) from None
        self._process = process
        self._readers = tuple(asyncio.create_task(read) for read in (self._read(process), self._complaints(process)))
        hello = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": {"name": "bedplate", "version": "1"}}
        try:
            told = await self._asked({"jsonrpc": "2.0", "method": "initialize", "params": hello}, self._start_s)
            self._hello = dict(told["result"])
            await self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        except (Broken, KeyError, TypeError, ValueError) as wrong:
            _tell(process.pid, signal.SIGKILL)
            raise Broken("connect", f"it does not begin as MCP does: {wrong}", before=True) from None
        self._patience, self._again_at = PATIENCE_S, 0.0
        self._told_changed()

    def _later(self) -> None:
        self._again_at = self._clock() + self._patience
        self._patience = min(self._patience * 2, MOST_PATIENCE_S)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        why = "it ended"
        try:
            while line := await _stream(process.stdout).readline():
                await self._heard(line)
        except ValueError:  # of the stream: the line is longer than its limit
            why = f"it wrote a line of more than {MAX_LINE} bytes"
        except OSError as wrong:
            why = f"it cannot be read: {wrong.strerror}"
        finally:
            _tell(process.pid, signal.SIGKILL)  # also what it started itself
            waiting, self._waiting = self._waiting, {}
            for future in waiting.values():
                if not future.done():
                    future.set_exception(Broken("cut", why, before=False))
            if self._process is process:
                self._later()
            await process.wait()
            log.warning("mcp.process_ended", extra={"server": self.name, "why": why, "code": process.returncode})

    async def _complaints(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ValueError, OSError):
            while line := await _stream(process.stderr).readline():
                said = line.decode("utf-8", "replace").strip()[:MAX_SAID]
                log.info("mcp.process_said", extra={"server": self.name, "said": said})

    # What it says

    async def _heard(self, line: bytes) -> None:
        try:
            found = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            log.warning("mcp.process_garbage", extra={"server": self.name, "bytes": len(line)})
            return
        if found.get("method") == CHANGED:
            self._told_changed()
        if "method" in found:
            if "id" in found:
                await self._refused(found)
            return  # what it tells of its progress reaches nobody
        number = found.get("id")
        future = self._waiting.pop(number, None) if isinstance(number, int) else None
        if future is not None and not future.done():
            future.set_result(found)

    async def _refused(self, asked: Mapping[str, Any]) -> None:
        told: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        if asked["method"] == "ping":
            await self._write({**told, "result": {}})
            return
        error = {"code": -32601, "message": f"{asked['method']} is not let through to clients"}
        await self._write({**told, "error": error})

    def _told_changed(self) -> None:
        for tell in self.changed:
            tell()

    # What it is asked

    async def _asked(self, message: Mapping[str, Any], patience: float) -> dict[str, Any]:
        self._next += 1
        number = self._next
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await self._write({**message, "id": number})
            return await asyncio.wait_for(future, patience)
        except TimeoutError:
            with suppress(Broken):
                told = {"requestId": number, "reason": "nobody waits for it any more"}
                await self._write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": told})
            raise Broken("timeout", f"no answer within {patience:.0f} s", before=False) from None
        finally:
            self._waiting.pop(number, None)

    async def _write(self, message: Mapping[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            raise Broken("connect", "it is closed", before=True)
        try:
            process.stdin.write(encode(dict(message)) + b"\n")
            await process.stdin.drain()
        except OSError:
            raise Broken("cut", "it ended", before=False) from None


def _stream(found: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if found is None:
        raise OSError("it has no such stream")
    return found


def _tell(process: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process, what)


def _gone(process: int) -> bool:
    try:
        return os.waitpid(process, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True  # the loop has seen its end
