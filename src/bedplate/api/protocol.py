"""The gateway's paths on uvicorn's own connections, without an ASGI application between: half the cost of a call.

Everything else of a connection stays uvicorn's: parsing (httptools), limits, keep-alive, pipelining, TLS, shutdown. A
request for one of the protocols' paths gets a `GatewayCycle` instead of an ASGI cycle; all others are served as ever.
`api.chat` serves the same paths on any ASGI server, and a differential test holds the two together.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from bedplate.gateway.call import MAX_BODY
from bedplate.gateway.dialects import SERVED

from .chat import MAX_DRAINED, NO_KEY, TOO_LARGE, UNFORESEEN, length_of, refusal, secret_of

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import AsyncGenerator

    from bedplate.gateway.dialect import Dialect
    from bedplate.gateway.door import Door
    from bedplate.gateway.session import Answer, Headers

MAX_HEAD = 64 << 10  # bytes of a request's head
BY_PATH: dict[bytes, Dialect] = {path.encode(): dialect for path, dialect in SERVED.items()}
JSON_HEAD = b"content-type: application/json\r\ncontent-length: %d\r\n"
EVENTS_HEAD = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-store\r\ntransfer-encoding: chunked\r\n"
)
log = logging.getLogger("uvicorn.error")


class SafeProtocol(HttpToolsProtocol):
    """One client's connection in the safe mode: uvicorn's, but what trails a body is no header (RFC 9110, 6.5.1).

    uvicorn adds it to those that the application is yet to read, and so a key could come behind a body.
    """

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._headed = False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        if not self._headed:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Serve the request."""
        self._headed = True
        super().on_headers_complete()


class GatewayProtocol(SafeProtocol):
    """One client's connection in the fast mode."""

    cycle: Any  # uvicorn's, or ours: it has what the connection asks of one
    pipeline: deque[tuple[Any, Any]]
    answering: GatewayCycle | None = None  # whose turn it is, while others may wait behind it

    def __init__(self, *args: Any, **more: Any) -> None:  # noqa: ANN401  uvicorn's own
        super().__init__(*args, **more)
        app: Any = self.app
        while app is not None and not hasattr(app, "door"):
            app = getattr(app, "app", None)  # uvicorn wraps what it is given
        self._door: Door | None = getattr(app, "door", None)

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Keep the target, as far as a head may go."""
        self._grown(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, as far as a head may go."""
        self._grown(len(name) + len(value))
        super().on_header(name, value)

    def _grown(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD:
            raise ValueError("the head of the request is too large")  # uvicorn answers 400 and closes

    def on_headers_complete(self) -> None:
        """Serve the protocols' paths here, and hand on everything else."""
        self._headed = True
        dialect = BY_PATH.get(self.url.partition(b"?")[0])
        door = self._door
        if dialect is None or door is None or self.parser.get_method() != b"POST" or self.parser.should_upgrade():
            super().on_headers_complete()
            return
        keep = self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        before = self.cycle
        cycle = GatewayCycle(self, door, dialect, keep_alive=keep)
        self.cycle = cycle
        if self.transport.is_closing():
            return  # what comes behind a last request is not read
        if before is None or before.response_complete:
            cycle.begin()
        else:  # pipelined: its turn comes when what was asked before is answered
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, None))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if isinstance(self.cycle, GatewayCycle):
            self.cycle.take(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Begin to answer."""
        if isinstance(self.cycle, GatewayCycle):
            self.cycle.complete()
        else:
            super().on_message_complete()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401  uvicorn's own types, or ours
        if isinstance(cycle, GatewayCycle):
            cycle.begin()
        else:
            super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is being answered: the upstream is stopped, and what happened so far is on record."""
        cycles = [self.answering, self.cycle, *(cycle for cycle, _ in self.pipeline)]
        super().connection_lost(exc)
        for cycle in cycles:
            if isinstance(cycle, GatewayCycle):
                cycle.left()


class GatewayCycle:
    """One request for a protocol's path, and its answer."""

    def __init__(self, protocol: GatewayProtocol, door: Door, dialect: Dialect, *, keep_alive: bool) -> None:
        self._protocol, self._door, self._dialect = protocol, door, dialect
        self._transport, self._flow = protocol.transport, protocol.flow
        self._headers = protocol.headers
        self._expects = protocol.expect_100_continue
        self._secret = ""
        self._body: bytes | bytearray = b""
        self._size = 0
        self._whole = False
        self._task: asyncio.Task[None] | None = None
        self.current = False
        # What the connection asks of a cycle:
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _NOBODY

    def take(self, body: bytes) -> None:
        """Take a piece of the body. What is too large is thrown away, up to a bound, so that the client reads why."""
        if self.response_complete:
            return
        self._size += len(body)
        if self._size > MAX_BODY:
            self._body = b""
            if self._size > MAX_DRAINED and self.current:
                self._too_large()
        elif not self._body:
            self._body = body
        else:  # not a list of its pieces: there may be as many as there are bytes
            if type(self._body) is bytes:
                self._body = bytearray(self._body)
            self._body += body
        if not self.current and self._size > HIGH_WATER_LIMIT:
            self._flow.pause_reading()

    def begin(self) -> None:
        """Note that its turn has come. What is refused for its head alone is refused before its body is here."""
        self.current = True
        self._protocol.answering = self
        self._secret = secret_of(self._headers)
        if not self._secret:
            content = refusal(self._dialect, 401, NO_KEY, "unauthenticated")
            self._send(401, [("www-authenticate", "Bearer")], content)
            return
        if length_of(self._headers) > MAX_DRAINED:
            self._too_large()
            return
        if self._expects:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.start_if_ready()

    def complete(self) -> None:
        """Note that the request is whole."""
        self._whole = True
        self.start_if_ready()

    def start_if_ready(self) -> None:
        """Answer, once the request is whole and what was asked before it is answered."""
        if not (self._whole and self.current) or self._task is not None or self.response_complete:
            if self.current and not self._whole:
                self._flow.resume_reading()
            return
        if self._size > MAX_BODY:
            self._too_large()
            return
        body, self._body = bytes(self._body), b""
        task = self._protocol.loop.create_task(self._answered(self._secret, body))
        self._task = task
        tasks = self._protocol.tasks
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def left(self) -> None:
        """Stop: the client is gone."""
        self.disconnected = True
        if self._task is not None and not self.response_complete:
            self._task.cancel()

    async def _answered(self, secret: str, body: bytes) -> None:
        try:
            answer = await self._door.complete(secret, body, self._dialect, self._headers)
            if answer.events is not None:
                await self._stream(answer)
            elif not self.disconnected:
                self._send(answer.status, answer.headers, answer.content or b"")
                if self._flow.write_paused:
                    await self._flow.drain()
        except asyncio.CancelledError:
            if not self.disconnected:
                raise
        except Exception:
            log.exception(UNFORESEEN)
            if self.response_complete or self._begun:
                self._transport.close()
            else:
                self.keep_alive = False
                self._send(500, [], refusal(self._dialect, 500, UNFORESEEN, "internal"))

    _begun = False

    async def _stream(self, answer: Answer) -> None:
        self._begun = True
        transport, flow = self._transport, self._flow
        async with aclosing(cast("AsyncGenerator[bytes, None]", answer.events)) as events:
            head = [STATUS_LINE[answer.status], *self._dated(), EVENTS_HEAD, *_lines(answer.headers)]
            transport.write(b"".join([*head, b"" if self.keep_alive else b"connection: close\r\n", b"\r\n"]))
            async for event in events:
                if self.disconnected:
                    return
                if event:
                    transport.write(b"%x\r\n%b\r\n" % (len(event), event))
                if flow.write_paused:
                    await flow.drain()
        transport.write(b"0\r\n\r\n")
        self._done()

    def _too_large(self) -> None:
        self.keep_alive = False
        self._send(413, [], refusal(self._dialect, 413, TOO_LARGE, "request-too-large"))

    def _send(self, status: int, headers: Headers, content: bytes) -> None:
        close = b"" if self.keep_alive else b"connection: close\r\n"
        head = [STATUS_LINE[status], *self._dated(), JSON_HEAD % len(content), *_lines(headers)]
        self._transport.write(b"".join([*head, close, b"\r\n", content]))
        self._done()

    def _dated(self) -> list[bytes]:
        """Return the headers that the server adds to every answer: the date, which it writes anew each second."""
        return [b"%b: %b\r\n" % pair for pair in self._protocol.server_state.default_headers]

    def _done(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self._transport.close()
        self._protocol.on_response_complete()


class _Nobody:
    """An event that nobody waits for."""

    def set(self) -> None:
        """Do nothing."""


_NOBODY = _Nobody()


def _lines(headers: Headers) -> list[bytes]:
    """Write headers; what would end a line is left out, whoever sent it."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if text.count("\n") != len(headers) or text.count("\r") != len(headers) or "\0" in text:
        clean = [(n, v) for n, v in headers if not any(c in n + v for c in "\r\n\0")]
        text = "".join([f"{name}: {value}\r\n" for name, value in clean])
    return [text.encode("latin-1", "replace")]
