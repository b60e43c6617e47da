"""An upstream's answer, as it comes, and how an exchange fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import BedplateError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from .connection import Connection

MAX_ANSWER = 64 << 20  # bytes, unpacked
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

    __slots__ = ("_connection", "_over", "headers", "status")

    def __init__(self, connection: Connection, status: int, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._over = False  # its connection is not its own any more
        self.status = status
        self.headers = headers

    async def read(self, limit: int = MAX_ANSWER) -> bytes:
        """Return the whole body; `Broken` if it is longer than `limit` bytes, is cut off, or does not come."""
        connection = self._connection
        try:
            parts: list[bytes] = []
            size = 0
            while True:
                while connection.parts:
                    part = connection.next_part()
                    size += len(part)
                    if size > limit:
                        raise Broken("too-large", f"the upstream sent more than {limit} bytes", before=False)
                    parts.append(part)
                if connection.failure is not None:
                    raise connection.failure
                if connection.complete:
                    return parts[0] if len(parts) == 1 else b"".join(parts)
                await connection.more()
        finally:
            self.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        connection = self._connection
        try:
            while True:
                if self._over:
                    raise Broken("cut", "the answer was let go", before=False)
                if connection.parts:
                    yield connection.all_parts()
                    continue
                if connection.failure is not None:
                    raise connection.failure
                if connection.complete:
                    return
                await connection.more()
        finally:
            self.close()  # may come late, when whoever iterated is collected

    def close(self) -> None:
        """Give the connection back, or drop it if the answer was not read to its end."""
        if not self._over:
            self._over = True
            self._connection.finish()
