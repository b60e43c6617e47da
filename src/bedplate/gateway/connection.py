"""One upstream's connections, kept alive: HTTP/1.1 on asyncio and httptools, for the one thing a gateway does with it.

A general client spends more on a call than all of governance does (docs/adr/0013): this one sends a request whose
bytes are ready, hands the answer on as it comes, and knows nothing of redirects, cookies or proxies.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from bedplate.errors import BedplateError

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

MAX_ANSWER = 64 << 20  # bytes, unpacked
MAX_HEAD = 64 << 10
HIGH_WATER = 256 << 10  # bytes that wait for our client before the upstream is made to wait
WATCH_S = 0.1
KEPT_S = 55.0  # idle connections are let go before most servers do it
EMPTY: Mapping[str, str] = {}


class Broken(BedplateError):
    """The exchange failed. `before` tells that no byte of an answer had come, so that it may be tried again."""

    code = "upstream-failed"

    def __init__(self, kind: str, message: str, *, before: bool) -> None:
        super().__init__(message)
        self.kind = kind  # connect, timeout, garbage, cut, too-large
        self.before = before


class Response:
    """An answer whose head has come. Read it whole, or iterate over its bytes; then it gives its connection back."""

    __slots__ = ("_over", "_wire", "headers", "status")

    def __init__(self, wire: _Wire, status: int, headers: Mapping[str, str]) -> None:
        self._wire = wire
        self._over = False  # its connection is not its own any more
        self.status = status
        self.headers = headers

    async def read(self, limit: int = MAX_ANSWER) -> bytes:
        """Return the whole body; `Broken` if it is longer than `limit` bytes, is cut off, or does not come."""
        wire = self._wire
        try:
            parts: list[bytes] = []
            size = 0
            while True:
                while wire.parts:
                    part = wire.next_part()
                    size += len(part)
                    if size > limit:
                        raise Broken("too-large", f"the upstream sent more than {limit} bytes", before=False)
                    parts.append(part)
                if wire.failure is not None:
                    raise wire.failure
                if wire.complete:
                    return parts[0] if len(parts) == 1 else b"".join(parts)
                await wire.more()
        finally:
            self.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        wire = self._wire
        try:
            while True:
                if self._over:
                    raise Broken("cut", "the answer was let go", before=False)
                if wire.parts:
                    yield wire.all_parts()
                    continue
                if wire.failure is not None:
                    raise wire.failure
                if wire.complete:
                    return
                await wire.more()
        finally:
            self.close()  # may come late, when whoever iterated is collected

    def close(self) -> None:
        """Give the connection back, or drop it if the answer was not read to its end."""
        if not self._over:
            self._over = True
            self._wire.finish()


class Pool:
    """The connections to one origin. Times in seconds; `idle` is how long the upstream may be silent.

    `refuses` says why not to speak to the address that the host's name resolved to, "" where it may be.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        *,
        connect: float,
        first: float,
        idle: float,
        total: float = 3600,
        refuses: Callable[[str], str] = lambda _address: "",
    ) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._connect, self.first, self.idle, self.total = connect, first, idle, total
        self._refuses = refuses
        self._kept: deque[_Wire] = deque()
        self._wires: set[_Wire] = set()
        self._watching = False
        self._closed = False

    async def send(self, head: bytes, body: bytes, *, whole: bool = False) -> Response:
        """Send a request and return the answer once its head has come, or all of it; `Broken` if it does not."""
        wire = self._taken()
        if wire is not None:
            try:
                return await wire.exchange(head, body, whole=whole)
            except Broken as stale:
                # A kept connection that ends before a byte of the answer was closed while idle: that is nobody's fault.
                if not (stale.before and stale.kind == "cut"):
                    raise
        wire = await self._opened()
        return await wire.exchange(head, body, whole=whole)

    def close(self) -> None:
        """Drop every connection."""
        self._closed = True
        for wire in list(self._wires):
            wire.drop()

    def _taken(self) -> _Wire | None:
        now = asyncio.get_running_loop().time()
        while self._kept:
            wire = self._kept.pop()  # the one used last: those not needed grow old and go
            if wire.usable and now - wire.idle_since < KEPT_S:
                return wire
            wire.drop()
        return None

    async def _opened(self) -> _Wire:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect):
                _, wire = await loop.create_connection(
                    lambda: _Wire(self, loop),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except TimeoutError:
            raise Broken("timeout", f"no connection within {self._connect:g} s", before=True) from None
        except OSError as wrong:  # ssl's errors among them
            why = getattr(wrong, "reason", None) or wrong.strerror or type(wrong).__name__
            raise Broken("connect", f"no connection: {why}", before=True) from None
        self._wires.add(wire)
        if why := self._refuses(wire.peer):
            wire.drop()
            raise Broken("connect", why, before=True)
        return wire

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that silent upstreams are noticed: one timer for all, not one for each call."""
        if not self._watching:
            self._watching = True
            loop.call_later(WATCH_S, self._watch, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watching = False
        now = loop.time()
        active = [wire for wire in self._wires if wire.active]
        for wire in active:
            wire.look(now)
        if active:
            self.watch(loop)

    def _back(self, wire: _Wire) -> None:
        if self._closed:
            wire.drop()
            return
        self._kept.append(wire)
        while self._kept and not (self._kept[0].usable and wire.idle_since - self._kept[0].idle_since < KEPT_S):
            self._kept.popleft().drop()

    def _gone(self, wire: _Wire) -> None:
        self._wires.discard(wire)


class _Wire(asyncio.Protocol):
    """One connection: one exchange at a time."""

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self._pool, self._loop = pool, loop
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self.parts: deque[bytes] = deque()
        self.failure: Broken | None = None
        self.complete = False
        self.idle_since = 0.0
        self.active = False
        self._paused = False
        self._open = False
        self._reset()

    def _reset(self) -> None:
        self._headers: dict[str, str] = {}
        self._status = 0
        self._head_size = 0
        self._headed = False
        self._whole = False
        self._held = 0
        self._unpack: Any = None
        self._unpacked = 0
        self._due = self._end = 0.0
        self._unasked = self._keeps = False
        self.complete = False
        self.failure = None

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return self._open and self._transport is not None and not self._transport.is_closing()

    @property
    def peer(self) -> str:
        """The address it is connected to."""
        return str(self._transport.get_extra_info("peername")[0]) if self._transport is not None else ""

    async def exchange(self, head: bytes, body: bytes, *, whole: bool) -> Response:
        """Send one request; returns when the answer's head has come, or with `whole` all of it."""
        self._reset()
        self._whole = whole
        self.active = True
        self._parser = httptools.HttpResponseParser(self)
        transport = self._transport
        if transport is None or not self.usable:
            self.drop()
            raise Broken("cut", "the upstream closed the connection before it was asked", before=True)
        if len(body) < HIGH_WATER:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        now = self._loop.time()
        self._due, self._end = now + self._pool.first, now + self._pool.total
        self._pool.watch(self._loop)
        try:
            while not self._headed:
                if self.failure is not None:
                    raise self.failure  # noqa: TRY301  whoever fails drops the connection
                await self.more()
        except BaseException:
            self.drop()
            raise
        return Response(self, self._status, self._headers)

    async def more(self) -> None:
        """Wait until anything has changed."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def next_part(self) -> bytes:
        """Take the next bytes of the body."""
        part = self.parts.popleft()
        self._taken(len(part))
        return part

    def all_parts(self) -> bytes:
        """Take all bytes of the body that are here."""
        if len(self.parts) == 1:
            return self.next_part()
        part = b"".join(self.parts)
        self.parts.clear()
        self._taken(len(part))
        return part

    def _taken(self, size: int) -> None:
        self._held -= size
        if self._paused and self._held < HIGH_WATER // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
            self._due = self._loop.time() + self._pool.idle  # it was we who made it wait

    def finish(self) -> None:
        """Keep the connection if the answer was read to its end, and drop it otherwise."""
        if not self.active:
            return
        self.active = False
        clean = self.complete and self.failure is None and not (self.parts or self._paused or self._unasked)
        if clean and self.usable and self._keeps:
            self.idle_since = self._loop.time()
            self._parser = None
            self._pool._back(self)  # noqa: SLF001  the two are one thing
        else:
            self.drop()

    def drop(self) -> None:
        """Close at once; nothing more is read."""
        if self.active:
            self._fail(Broken("cut", "the connection was let go", before=False))
        self.active = False
        self.parts.clear()
        if self._transport is not None:
            self._transport.abort()
        self._pool._gone(self)  # noqa: SLF001  as above
        self._wake()

    def look(self, now: float) -> None:
        """Give up if the upstream was silent for too long."""
        if now >= self._end:
            self._fail(Broken("timeout", "the upstream did not end its answer in time", before=not self._headed))
            self._wake()
        if now >= self._due and not (self._paused or (self.parts and self._headed and not self._whole)):
            self._fail(Broken("timeout", "the upstream was silent for too long", before=not self._headed))
            self._wake()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]  # of TCP: it can write
        self._open = True

    def data_received(self, data: bytes) -> None:
        """Take bytes of an answer; what comes unasked ends the connection."""
        if not self.active or self._parser is None:
            self.drop()
            return
        if self.complete:  # what belongs to the answer may still be read
            self._unasked = True
            if self._transport is not None:
                self._transport.abort()
            return
        self._due = self._loop.time() + self._pool.idle
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as wrong:
            inner = wrong.__context__
            not_http = Broken("garbage", "the answer is not HTTP", before=False)
            self._fail(inner if isinstance(inner, Broken) else not_http)
        if not self._headed:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._fail(Broken("garbage", f"the answer's head is larger than {MAX_HEAD} bytes", before=False))
        if self._held > HIGH_WATER:
            self._full()
        if self.failure is not None or (self._headed and not self._whole) or self.complete:
            self._wake()

    def _full(self) -> None:
        """Make the upstream wait for our reader; where all of it is waited for, give up at the limit."""
        if self._whole:
            if self._held > MAX_ANSWER:
                self._fail(Broken("too-large", f"the upstream sent more than {MAX_ANSWER} bytes", before=False))
        elif not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Let the connection close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End what waits: an answer without a length is complete now, any other was cut off."""
        self._open = False
        self._pool._gone(self)  # noqa: SLF001  as above
        if self.active and not self.complete:
            endless = self._headed and "content-length" not in self._headers and exc is None
            if endless and "chunked" not in self._headers.get("transfer-encoding", ""):
                self.on_message_complete()
            else:
                nothing = not self._headed and self._head_size == 0
                why = "before it answered" if nothing else "in the middle of its answer"
                self._fail(Broken("cut", f"the upstream closed the connection {why}", before=nothing))
        self._wake()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """Note an answer that nobody asked for: its connection is not kept, and nothing of it is read."""
        self._unasked = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        if not self._unasked:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note that the head is here; 1xx heads are passed over."""
        self._status = self._parser.get_status_code()
        if self._unasked or self._status < 200:  # noqa: PLR2004  informational
            return
        packed = self._headers.get("content-encoding", "identity").lower()
        if packed in {"gzip", "deflate"}:
            self._unpack = zlib.decompressobj(47)
        elif packed not in {"identity", ""}:
            why = f"the answer is packed as {packed[:40]}, which was not asked for"
            self._fail(Broken("garbage", why, before=False))
        self._headed = True

    def on_body(self, body: bytes) -> None:
        """Keep bytes of the body until they are taken."""
        if self._unasked:
            return
        if self._unpack is not None:
            try:
                body = self._unpack.decompress(body, MAX_ANSWER - self._unpacked + 1)
            except zlib.error:
                self._fail(Broken("garbage", "the answer cannot be unpacked", before=False))
                return
            self._unpacked += len(body)
            if self._unpacked > MAX_ANSWER:
                self._fail(Broken("too-large", f"the answer unpacks to more than {MAX_ANSWER} bytes", before=False))
                return
        if body:
            self.parts.append(body)
            self._held += len(body)

    def on_message_complete(self) -> None:
        """Note that the answer is whole."""
        if self._headed:
            if self._unpack is not None and not self._unpack.eof:
                self._fail(Broken("cut", "the packed answer is cut off", before=False))
                return
            self.complete = True
            self._keeps = self._parser.should_keep_alive()  # the parser forgets it with the message
        else:
            self._headers = {}  # of an informational head

    # waiting

    def _fail(self, failure: Broken) -> None:
        if self.failure is None and not self.complete:
            self.failure = failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def head_of(method: str, target: str, host: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Write a request's head as far as it is the same for every request; its length and an empty line end it."""
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n".encode("latin-1")]
    return b"".join([*lines, *(b"%b: %b\r\n" % pair for pair in headers)])
