"""The MCP servers behind this installation, ready to be asked: one connection pool for each.

Agents and their clients know a server by its name; where it is, and what it asks as a key, only `tools.yaml` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bedplate.gateway.pool import head_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from bedplate.gateway.credential import Credential
    from bedplate.gateway.pool import Pool
    from bedplate.gateway.response import Response


class Answer(Protocol):
    """What a server answered, as far as it has come."""

    @property
    def status(self) -> int:
        """HTTP's."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""

    async def read(self, limit: int) -> bytes:
        """Return it whole; `Broken` if it is longer than `limit` bytes, or does not come."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield it as it comes."""

    def close(self) -> None:
        """Let it go."""


class Served(Protocol):
    """A server by its name, wherever it runs."""

    @property
    def name(self) -> str:
        """Its name in `tools.yaml`."""

    @property
    def url(self) -> str:
        """Where it is, or what starts it."""

    async def send(
        self, method: str, headers: Sequence[tuple[bytes, bytes]], body: bytes, now: int, *, once: bool = False
    ) -> Answer:
        """Send one request and return the answer once it has begun. `Broken` if it does not; `now`: monotonic µs."""

    def close(self) -> None:
        """Let it go."""


@dataclass(frozen=True, slots=True)
class ToolServer:
    """One server over streamable HTTP, ready to be asked."""

    name: str
    url: str
    pool: Pool
    key: Credential
    header: str
    target: str
    authority: str

    async def send(
        self, method: str, headers: Sequence[tuple[bytes, bytes]], body: bytes, now: int, *, once: bool = False
    ) -> Response:
        """Send one request and return the answer once its head has come. `Broken` if it does not; `now`: monotonic µs.

        `once`: it may change something, and is never sent twice.

        The key is put in here, and nothing of the caller's own credentials is among `headers`.
        """
        own = list(headers)
        secret = self.key.secret(now)
        if secret:
            value = b"Bearer " + secret if self.header.lower() == "authorization" else secret
            own.append((self.header.lower().encode(), value))
        head = head_of(method, self.target, self.authority, own)
        length = b"content-length: %d\r\n" % len(body) if method == "POST" else b""
        return await self.pool.send(head + length + b"\r\n", body, once=once)

    def close(self) -> None:
        """Drop every connection."""
        self.pool.close()


@dataclass(frozen=True, slots=True)
class ToolServers:
    """All of them, by name, and the hosts by which browsers may ask."""

    servers: Mapping[str, Served]
    hosts: frozenset[str] = frozenset()

    def close(self) -> None:
        """Drop every connection, and end every process."""
        for server in self.servers.values():
            server.close()


NONE = ToolServers({})
