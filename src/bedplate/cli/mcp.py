"""MCP over standard input and output, for clients that start servers themselves: a bridge to this one's gate."""

from __future__ import annotations

import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from cyclopts import App, Parameter

from bedplate.errors import InvalidInput

from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

mcp_app = App(name="mcp", help="Reach MCP servers through Bedplate from clients that speak over standard input.")
AT_ONCE = 16
PIECE = 65_536


@mcp_app.command
def stdio(
    name: Annotated[str, Parameter(help="The MCP server, as tools.yaml calls it.")],
    *,
    key_env: Annotated[str, Parameter(help="The variable that holds the agent's key.")] = "BEDPLATE_AGENT_KEY",
    run: Annotated[str, Parameter(help="The run that the calls belong to.")] = "",
    server: Server = THERE,
) -> int:
    """Speak MCP over standard input and output, and have every message judged by the server.

    Put it where a client asks for a command: `bedplate mcp stdio bank`.
    """
    key = os.environ.get(key_env, "")
    if not key:
        raise InvalidInput(f"the variable {key_env} is not set", hint="put the agent's key there, or name another")
    Bridge(f"{server.address}/mcp/{quote(name)}", key, run).serve()
    return 0


class Bridge:
    """Takes lines and gives lines; what is between is the server's."""

    def __init__(self, url: str, key: str, run: str) -> None:
        import urllib3

        self._url = url
        self._pool = urllib3.PoolManager(maxsize=AT_ONCE, retries=False)
        self._headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            **({"x-bedplate-run": run} if run else {}),
        }
        self._session: dict[str, str] = {}
        self._writing = threading.Lock()

    def serve(self) -> None:
        """Go on until standard input ends."""
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for line in sys.stdin.buffer:
                if not line.strip():
                    continue
                if b'"initialize"' in line:
                    self._pass(line)  # the session has to be known before anything else is asked
                else:
                    threads.submit(self._pass, line)

    def _pass(self, line: bytes) -> None:
        told: Any = None
        try:
            told = json.loads(line)
            answer = self._pool.request(
                "POST", self._url, body=line, headers={**self._headers, **self._session}, preload_content=False
            )
            if session := answer.headers.get("mcp-session-id"):
                self._session["mcp-session-id"] = session
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                for data in _events(answer.stream(PIECE)):
                    self._write(data)
            elif content := answer.read():
                self._write(content)
            answer.release_conn()
        except Exception as failed:  # noqa: BLE001  whatever it is, the client must not wait for ever
            ident = told.get("id") if isinstance(told, dict) else None
            error = {"code": -32603, "message": f"{type(failed).__name__}: {failed}"}
            self._write(json.dumps({"jsonrpc": "2.0", "id": ident, "error": error}).encode())

    def _write(self, content: bytes) -> None:
        with self._writing:
            sys.stdout.buffer.write(b" ".join(content.splitlines()) + b"\n")
            sys.stdout.buffer.flush()


def _events(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Give the data of each server-sent event."""
    rest = b""
    for piece in pieces:
        rest += piece.replace(b"\r\n", b"\n")
        while b"\n\n" in rest:
            event, _, rest = rest.partition(b"\n\n")
            data = b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
            if data:
                yield data
