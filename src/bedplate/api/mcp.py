"""`/mcp/NAME`: the MCP server of that name, behind its gate. Bytes in, bytes out; only what must be judged is read.

Streamable HTTP of 2025-11-25 (sessions, streams) and 2026-07-28 (every request alone).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from bedplate.agents.mcp.events import Splitter
from bedplate.agents.mcp.gate import Gate, Passage
from bedplate.agents.mcp.message import INTERNAL, INVALID, MAX_BODY, Message, Refused, agree, encode, read
from bedplate.errors import BedplateError, InvalidInput, Unauthenticated
from bedplate.gateway.response import Broken
from bedplate.paths.toolprocess import ToolProcess

from .chat import secret_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Receive, Scope, Send

    from bedplate.agents.door import AgentDoor
    from bedplate.agents.mcp.events import Event
    from bedplate.agents.token import Actor
    from bedplate.paths.toolserver import Answer, Served, ToolServers

log = logging.getLogger(__name__)
ROOT = "/mcp"
MAX_ANSWER = 50 << 20
MAX_SESSIONS = 20_000
ONWARD = (  # of the client's headers, what its server gets; never its credentials
    "accept",
    "content-type",
    "last-event-id",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "traceparent",
)
BACK = ("content-type", "mcp-session-id", "cache-control", "allow")
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
NO_KEY = "send the agent's key or token: Authorization: Bearer bpk_... or bpa_..."
STALE = -32001
CHANGED = "notifications/tools/list_changed"
_decode = msgspec.json.Decoder().decode


class Mcp:
    """Serves every server of `tools.yaml` to agents, each through its gate."""

    def __init__(self, door: AgentDoor, servers: ToolServers) -> None:
        self._door = door
        self._servers = servers
        self._gates = {name: Gate(door, name) for name in servers.servers}
        for name, server in servers.servers.items():
            if isinstance(server, ToolProcess):
                server.changed.append(partial(self._gates[name].forget, ""))
        self._sessions: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()
        self._open: dict[tuple[str, str], Passage] = {}  # calls whose stream ended before their answer, by session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._answered(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        name = request.url.path.removeprefix(f"{ROOT}/").strip("/")
        server = self._servers.servers.get(name)
        message = None
        try:
            self._from_here(request)
            actor = self._actor(request)
            if server is None:
                raise Refused(INVALID, f"no MCP server {name!r} here", status=404, hint="see tools.yaml")  # noqa: TRY301  as all
            if request.method == "POST":
                message = read(await _body(request))
                agree(message, request.headers)
                return await self._posted(request, server, actor, message)
            if request.method in {"GET", "DELETE"}:
                return await self._passed(request, server, actor)
            return Response(None, 405, {"allow": "GET, POST, DELETE"})
        except Refused as refused:
            return Response(refused.body(), refused.status, media_type="application/json")
        except Unauthenticated as error:
            told = {"www-authenticate": "Bearer"}
            return Response(_error(message, INVALID, str(error)), 401, told, "application/json")
        except Broken as broken:
            return Response(_error(message, INTERNAL, f"{name}: {broken}"), 502, media_type="application/json")
        except BedplateError as error:
            status = 400 if isinstance(error, InvalidInput) else 503
            return Response(_error(message, INTERNAL, str(error)), status, media_type="application/json")

    # A message

    async def _posted(self, request: Request, server: Served, actor: Actor, message: Message) -> Response:
        session = request.headers.get("mcp-session-id", "")
        self._own(server, session, actor)
        gate = self._gates[server.name]
        headers = _onward(request)

        async def listing() -> list[dict[str, Any]]:
            return await self._listing(server, headers, message)

        run = request.headers.get("x-bedplate-run", "")
        passage = await gate.asked(actor, message, session, run, listing)
        if isinstance(passage, bytes):
            return Response(passage, 200, media_type="application/json")
        try:
            own = _fitting(headers, passage)
            answer = await server.send("POST", own, passage.body, _now(), once=passage.writes)
        except Broken as broken:
            await gate.lost(passage, str(broken), reached=broken.kind != "connect")
            if passage.ruling is not None:
                return _failed(message, f"{server.name} did not answer: {broken}")
            raise
        except asyncio.CancelledError:  # the client left; what it asked may have been done
            await asyncio.shield(gate.lost(passage, "the client left", reached=True))
            raise
        self._bind(server, answer, actor)
        kind = answer.headers.get("content-type", "")
        if kind.startswith("text/event-stream") and message.asks:
            return StreamingResponse(
                self._streamed(_Way(server, gate, passage, session, headers), answer), answer.status, _back(answer)
            )
        return await self._whole(server, gate, passage, answer, session)

    async def _whole(self, server: Served, gate: Gate, passage: Passage, answer: Answer, session: str) -> Response:
        message = passage.message
        try:
            content = await answer.read(MAX_ANSWER)
        except Broken as broken:
            await gate.lost(passage, str(broken), reached=True)
            return _failed(message, f"{server.name} did not answer: {broken}")
        except asyncio.CancelledError:
            await asyncio.shield(gate.lost(passage, "the client left", reached=True))
            raise
        if not message.asks:
            return Response(content, answer.status, _back(answer))
        found = _answer_in(content)
        if found is None or found.get("id") != message.id or ("result" in found) == ("error" in found):
            why = "what came back is no answer to what was asked"
            if passage.ruling is None and answer.status >= 400:  # noqa: PLR2004  HTTP's own number
                return Response(content, answer.status, _back(answer))
            await gate.lost(passage, why, reached=answer.status < 400)  # noqa: PLR2004  as above
            return _failed(message, f"{server.name}: {why}")
        changed = await gate.answered(passage, found, session)
        return Response(changed if changed is not None else content, answer.status, _back(answer))

    async def _streamed(self, way: _Way, answer: Answer) -> AsyncIterator[bytes]:
        """Hand events on as they come; the one that answers is looked at first."""
        gate, passage, session = way.gate, way.passage, way.session
        try:
            async for raw in way.passed(answer):
                yield raw
            if not way.done and way.resumes and session:  # its answer comes on another stream (SEP-1699)
                self._open[(session, str(passage.message.id))] = passage
                way.done = True
            if not way.done:
                yield await way.broken("the stream ended without an answer")
        except (Broken, InvalidInput) as broken:
            if not way.done:
                yield await way.broken(str(broken))
        finally:
            answer.close()
            if not way.done:  # the client left
                with suppress(asyncio.CancelledError):
                    await asyncio.shield(gate.lost(passage, "the client left", reached=True))

    # A session's stream and end

    async def _passed(self, request: Request, server: Served, actor: Actor) -> Response:
        session = request.headers.get("mcp-session-id", "")
        self._own(server, session, actor)
        answer = await server.send(request.method, _onward(request), b"", _now())
        if request.method == "DELETE":
            self._sessions.pop((server.name, session), None)
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            heard = self._heard(server, answer, session, actor, _onward(request))
            return StreamingResponse(heard, answer.status, _back(answer))
        return Response(await answer.read(MAX_ANSWER), answer.status, _back(answer))

    async def _heard(
        self, server: Served, answer: Answer, session: str, actor: Actor, headers: list[tuple[bytes, bytes]]
    ) -> AsyncIterator[bytes]:
        """Hand a session's stream on. Answers that come on it to calls whose own stream ended are looked at."""
        gate, splitter = self._gates[server.name], Splitter()
        try:
            async for piece in answer:
                for event in splitter.feed(piece):
                    found = _answer_in(event.data)
                    if found is not None and "method" not in found:
                        passage = self._open.pop((session, str(found.get("id"))), None)
                        if passage is None:
                            continue  # nobody asked: it is not let through unseen
                        changed = await gate.answered(passage, found, session)
                        yield event.with_data(changed) if changed is not None else event.raw
                        continue
                    if found is not None and found.get("method") == CHANGED:
                        gate.forget(session)
                    if found is None or not await _refused(server, gate, actor, found, headers):
                        yield event.raw
        except (Broken, InvalidInput) as broken:
            log.warning("mcp.stream_ended", extra={"server": server.name, "why": str(broken)})
        finally:
            answer.close()

    # Small things

    async def _listing(
        self, server: Served, headers: list[tuple[bytes, bytes]], message: Message
    ) -> list[dict[str, Any]]:
        """Ask the server itself what tools it has, as its client would."""
        own = [(name, value) for name, value in headers if name not in {b"mcp-method", b"mcp-name", b"last-event-id"}]
        if message.stateless:
            own.append((b"mcp-method", b"tools/list"))
        found: list[dict[str, Any]] = []
        cursor = ""
        for _ in range(100):
            params: dict[str, Any] = {"_meta": message.meta} if message.stateless else {}
            params |= {"cursor": cursor} if cursor else {}
            body = encode({"jsonrpc": "2.0", "id": "bedplate-pins", "method": "tools/list", "params": params})
            answer = await server.send("POST", own, body, _now())
            content = await answer.read(MAX_ANSWER)
            result = _result_in(content, answer.headers.get("content-type", ""))
            rows = result.get("tools")
            found += [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
            cursor = str(result.get("nextCursor") or "")
            if not cursor:
                break
        return found

    def _actor(self, request: Request) -> Actor:
        secret = secret_of(request.scope["headers"])
        if not secret:
            raise Unauthenticated(NO_KEY)
        return self._door.identified(secret)

    def _from_here(self, request: Request) -> None:
        """Refuse pages of others: a browser that was led here says where it comes from (DNS rebinding)."""
        origin = request.headers.get("origin")
        hosts = {h.encode("idna").decode() if not h.isascii() else h for h in self._servers.hosts}
        host = request.headers.get("host", "")
        if host not in hosts and host.rpartition(":")[0] not in LOCAL and host not in LOCAL and _local(request):
            raise Refused(INVALID, f"the host {host!r} is not served here", status=421, hint="name it in tools.yaml")
        if origin is not None:
            said = origin.partition("://")[2]
            if said not in hosts and said.rpartition(":")[0] not in LOCAL and said not in LOCAL:
                raise Refused(
                    INVALID, f"pages of {origin!r} may not ask here", status=403, hint="name it in tools.yaml"
                )

    def _own(self, server: Served, session: str, actor: Actor) -> None:
        """Refuse a session that another agent began."""
        known = self._sessions.get((server.name, session)) if session else None
        if known is not None and known != (actor.subject, actor.agent):
            raise Refused(STALE, "this session is another's", status=404)

    def _bind(self, server: Served, answer: Answer, actor: Actor) -> None:
        session = answer.headers.get("mcp-session-id", "")
        if session:
            self._sessions[(server.name, session)] = (actor.subject, actor.agent)
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)


class _Way:
    """The way of one answer's events back to whoever asked."""

    def __init__(
        self, server: Served, gate: Gate, passage: Passage, session: str, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self._server, self._headers = server, headers
        self.gate, self.passage, self.session = gate, passage, session
        self.done = False  # its answer has come, or is known not to come
        self.resumes = False  # events have ids, by which a client finds them again

    async def passed(self, answer: Answer) -> AsyncIterator[bytes]:
        """Give what may go on, event by event."""
        splitter, size = Splitter(), 0
        async for piece in answer:
            size += len(piece)
            if size > MAX_ANSWER:
                raise InvalidInput(f"it sent more than {MAX_ANSWER} bytes")
            for event in splitter.feed(piece):
                self.resumes = self.resumes or bool(event.id)
                raw = await self._looked_at(event)
                if raw is not None:
                    yield raw

    async def broken(self, why: str) -> bytes:
        """Note that no answer came, and say so."""
        self.done = True
        await self.gate.lost(self.passage, why, reached=True)
        return _event(_failed_body(self.passage.message, f"{self._server.name}: {why}"))

    async def _looked_at(self, event: Event) -> bytes | None:
        found = _answer_in(event.data)
        if found is None:
            return event.raw
        if "method" in found:
            if found["method"] == CHANGED:
                self.gate.forget(self.session)
            refused = await _refused(self._server, self.gate, self.passage.actor, found, self._headers)
            return None if refused else event.raw
        if found.get("id") != self.passage.message.id or self.done:
            log.warning("mcp.wrong_id", extra={"server": self._server.name})
            return None
        self.done = True
        changed = await self.gate.answered(self.passage, found, self.session)
        return event.with_data(changed) if changed is not None else event.raw


async def _refused(
    server: Served, gate: Gate, actor: Actor, asked: Mapping[str, Any], headers: list[tuple[bytes, bytes]]
) -> bool:
    """Refuse, in the client's place, what a server may not ask of it; False if it may, or asks nothing."""
    why = gate.unasked(actor, str(asked["method"])) if "id" in asked and "method" in asked else ""
    if not why:
        return False
    log.warning("mcp.server_asked", extra={"server": server.name, "method": str(asked["method"])[:200]})
    body = encode({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": INVALID, "message": why}})
    own = [(name, value) for name, value in headers if name not in {b"mcp-method", b"mcp-name", b"last-event-id"}]
    if not any(name == b"content-type" for name, _ in own):
        own.append((b"content-type", b"application/json"))
    with suppress(Broken):
        (await server.send("POST", own, body, _now())).close()
    return True


def _local(request: Request) -> bool:
    """Tell whether it came over this computer's own loopback: there a foreign host's name is a trick."""
    server = request.scope.get("server")
    return server is not None and str(server[0]) in {"127.0.0.1", "::1", "localhost"}


async def _body(request: Request) -> bytes:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused(INVALID, "the body must be application/json", status=415)
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_BODY:
            raise Refused(INVALID, f"the body is larger than {MAX_BODY} bytes", status=413)
    return bytes(content)


def _onward(request: Request) -> list[tuple[bytes, bytes]]:
    own = request.headers
    return [(name.encode(), own[name].encode("latin-1")) for name in ONWARD if name in own]


def _fitting(headers: list[tuple[bytes, bytes]], passage: Passage) -> list[tuple[bytes, bytes]]:
    """Return the headers of what is sent: asking about a handle may carry out the call behind it."""
    if passage.ruling is None or passage.message.method == "tools/call":
        return headers
    name = passage.ruling.tool.partition("/")[2].encode()
    own = {b"mcp-method": b"tools/call", b"mcp-name": name}
    return [(key, own.get(key, value)) for key, value in headers if key != b"mcp-name"] + [(b"mcp-name", name)]


def _back(answer: Answer) -> dict[str, str]:
    return {name: answer.headers[name] for name in BACK if name in answer.headers}


def _answer_in(content: bytes) -> dict[str, Any] | None:
    try:
        found = _decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _result_in(content: bytes, kind: str) -> Mapping[str, Any]:
    """Return the result within an answer, whole or as events; empty where there is none."""
    found = [_answer_in(content)]
    if kind.startswith("text/event-stream"):
        found = [_answer_in(event.data) for event in Splitter().feed(content + b"\n\n")]
    for one in found:
        if one is not None and isinstance(one.get("result"), dict):
            result: dict[str, Any] = one["result"]
            return result
    return {}


def _failed_body(message: Message, why: str) -> bytes:
    return message.failed(why) if message.method == "tools/call" else _error(message, INTERNAL, why)


def _failed(message: Message, why: str) -> Response:
    status = 200 if message.method == "tools/call" else 502
    return Response(_failed_body(message, why), status, media_type="application/json")


def _error(message: Message | None, code: int, why: str) -> bytes:
    return encode({"jsonrpc": "2.0", "id": message.id if message else None, "error": {"code": code, "message": why}})


def _event(body: bytes) -> bytes:
    return b"event: message\r\ndata: " + body + b"\r\n\r\n"


def _now() -> int:
    return time.monotonic_ns() // 1000
