"""Reading what an MCP server lists, to pin its tools: the digests that go into `agents.yaml`."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.agents.mcp.events import Splitter
from bedplate.agents.mcp.message import CAPABILITIES, STATELESS, VERSION, encode
from bedplate.agents.mcp.pin import pins
from bedplate.errors import InvalidInput, Unreachable
from bedplate.gateway.response import Broken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .toolserver import Served, ToolServers

SESSIONS = "2025-11-25"  # the last revision that begins with a handshake
MOST = 100  # pages of a listing
MAX_ANSWER = 16 << 20
CLIENT = {"name": "bedplate", "version": "1"}


async def listed(server: Served) -> list[dict[str, Any]]:
    """Return the tools of a server, as it lists them to anybody; `Unreachable` says why not."""
    try:
        found = await _pages(server, _alone, {})
        return found if found is not None else await _in_session(server)
    except Broken as broken:
        raise Unreachable(f"{server.name} at {server.url} does not answer: {broken}", hint="see tools.yaml") from None


async def pinned(servers: ToolServers, names: set[str]) -> dict[str, str]:
    """Return the pins of all tools of these servers, by "server/tool"."""
    found: dict[str, str] = {}
    for name in sorted(names):
        server = servers.servers.get(name)
        if server is None:
            known = ", ".join(sorted(servers.servers)) or "none"
            raise InvalidInput(f"tools.yaml has no server {name!r}; known: {known}", hint="add it there")
        found |= {f"{name}/{tool}": pin for tool, pin in pins(await listed(server)).items()}
    return found


def written(text: str, found: Mapping[str, str]) -> tuple[str, list[tuple[str, str, str]]]:
    """Put pins into the text of `agents.yaml`; returns it, and (tool, before, now) of each that differs.

    Comments and order stay. `InvalidInput` names a tool that its server does not list.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415  40 ms that only this needs

    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    whole = yaml.load(text)
    changed = []
    for tool in whole.get("tools") or ():
        name = str(tool["name"])
        if name.startswith("local/"):
            continue
        if name not in found:
            raise InvalidInput(f"the server does not list {name}", hint="take it out of agents.yaml, or mend the name")
        before = str(tool.get("digest", "")).removeprefix("sha256:")
        if before != found[name]:
            tool["digest"] = found[name]
            changed.append((name, before, found[name]))
    out = io.StringIO()
    yaml.dump(whole, out)
    return out.getvalue(), changed


def _alone(params: dict[str, Any]) -> dict[str, Any]:
    return {**params, "_meta": {VERSION: STATELESS, CAPABILITIES: {}, "io.modelcontextprotocol/clientInfo": CLIENT}}


def _plainly(params: dict[str, Any]) -> dict[str, Any]:
    return params


async def _in_session(server: Served) -> list[dict[str, Any]]:
    hello = {"protocolVersion": SESSIONS, "capabilities": {}, "clientInfo": CLIENT}
    told, session = await _asked(server, "initialize", hello, {})
    if told is None:
        raise Unreachable(f"{server.name} at {server.url} speaks no MCP that is known here", hint="see tools.yaml")
    headers = {"mcp-protocol-version": SESSIONS, **({"mcp-session-id": session} if session else {})}
    await _asked(server, "notifications/initialized", {}, headers, note=True)
    found = await _pages(server, _plainly, headers)
    if found is None:
        raise Unreachable(f"{server.name} at {server.url} lists no tools")
    return found


async def _pages(server: Served, dressed: Any, headers: dict[str, str]) -> list[dict[str, Any]] | None:  # noqa: ANN401  one of two functions
    found: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(MOST):
        told, _session = await _asked(server, "tools/list", dressed({"cursor": cursor} if cursor else {}), headers)
        if told is None:
            return None
        rows = told.get("tools")
        found += [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        cursor = str(told.get("nextCursor") or "")
        if not cursor:
            break
    return found


async def _asked(
    server: Served, method: str, params: dict[str, Any], headers: Mapping[str, str], *, note: bool = False
) -> tuple[dict[str, Any] | None, str]:
    body = {"jsonrpc": "2.0", "method": method, "params": params, **({} if note else {"id": 1})}
    own = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
    if "_meta" in params:
        own |= {"mcp-protocol-version": STATELESS, "mcp-method": method}
    pairs = [(name.encode(), value.encode()) for name, value in own.items()]
    answer = await server.send("POST", pairs, encode(body), time.monotonic_ns() // 1000)
    content = await answer.read(MAX_ANSWER)
    session = answer.headers.get("mcp-session-id", "")
    texts = [content]
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        texts = [event.data for event in Splitter().feed(content + b"\n\n")]
    for text in texts:
        try:
            found = msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if isinstance(found, dict) and isinstance(found.get("result"), dict):
            return found["result"], session
    return None, session
