"""The MCP servers behind this installation, ready to be asked: one connection pool for each.

Agents and their clients know a server by its name; where it is, and what it asks as a key, only `tools.yaml` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.gateway.pool import head_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.gateway.credential import Credential
    from bedplate.gateway.pool import Pool
    from bedplate.gateway.response import Response


@dataclass(frozen=True, slots=True)
class ToolServer:
    """One server, ready to be asked."""

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


@dataclass(frozen=True, slots=True)
class ToolServers:
    """All of them, by name, and the hosts by which browsers may ask."""

    servers: Mapping[str, ToolServer]
    hosts: frozenset[str] = frozenset()

    def close(self) -> None:
        """Drop every connection."""
        for server in self.servers.values():
            server.pool.close()


NONE = ToolServers({})
