"""One connection to an upstream: HTTP/1.1 on asyncio and httptools, for the one thing a gateway does with it.

A general client spends more on a call than all of governance does (docs/adr/0013): this one sends a request whose
bytes are ready, hands the answer on as it comes, and knows nothing of redirects, cookies or proxies.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any

import httptools

from .response import MAX_ANSWER, Broken, Response

if TYPE_CHECKING:
    from .pool import Pool

MAX_HEAD = 64 << 10
HIGH_WATER = 256 << 10  # bytes that wait for our client before the upstream is made to wait


class Connection(asyncio.Protocol):
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
            self._pool.back(self)
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
        self._pool.gone(self)
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
        self._pool.gone(self)
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
