"""One upstream's connections, kept alive."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from .connection import Connection
from .response import Broken, Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

WATCH_S = 0.1
KEPT_S = 55.0  # idle connections are let go before most servers do it


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
        self._kept: deque[Connection] = deque()
        self._connections: set[Connection] = set()
        self._watching = False
        self._closed = False

    async def send(self, head: bytes, body: bytes, *, whole: bool = False, once: bool = False) -> Response:
        """Send a request and return the answer once its head has come, or all of it; `Broken` if it does not.

        `once` never sends it twice, not even where a kept connection turns out to be closed: it may have been read.
        """
        connection = self._taken() if not once else None
        if connection is not None:
            try:
                return await connection.exchange(head, body, whole=whole)
            except Broken as stale:
                # A kept connection that ends before a byte of the answer was closed while idle: that is nobody's fault.
                if not (stale.before and stale.kind == "cut"):
                    raise
        connection = await self._opened()
        return await connection.exchange(head, body, whole=whole)

    def close(self) -> None:
        """Drop every connection."""
        self._closed = True
        for connection in list(self._connections):
            connection.drop()

    def _taken(self) -> Connection | None:
        now = asyncio.get_running_loop().time()
        while self._kept:
            connection = self._kept.pop()  # the one used last: those not needed grow old and go
            if connection.usable and now - connection.idle_since < KEPT_S:
                return connection
            connection.drop()
        return None

    async def _opened(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect):
                _, connection = await loop.create_connection(
                    lambda: Connection(self, loop),
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
        self._connections.add(connection)
        if why := self._refuses(connection.peer):
            connection.drop()
            raise Broken("connect", why, before=True)
        return connection

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that silent upstreams are noticed: one timer for all, not one for each call."""
        if not self._watching:
            self._watching = True
            loop.call_later(WATCH_S, self._watch, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watching = False
        now = loop.time()
        active = [connection for connection in self._connections if connection.active]
        for connection in active:
            connection.look(now)
        if active:
            self.watch(loop)

    def back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end; those that grew old go."""
        if self._closed:
            connection.drop()
            return
        self._kept.append(connection)
        while self._kept and not (self._kept[0].usable and connection.idle_since - self._kept[0].idle_since < KEPT_S):
            self._kept.popleft().drop()

    def gone(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)


def head_of(method: str, target: str, host: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Write a request's head as far as it is the same for every request; its length and an empty line end it."""
    lines = [f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n".encode("latin-1")]
    return b"".join([*lines, *(b"%b: %b\r\n" % pair for pair in headers)])
