"""The gate in front of one MCP server: what may pass to it, and what of its answers may pass back."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from bedplate.agents.toolcall import READ, Outcome, ToolCall
from bedplate.errors import BedplateError
from bedplate.kernel.clock import SECOND, rfc3339

from .message import ACTION, DRY, INVALID, KEY, PARAMS, RUN, TASK, UNKNOWN, Message, Refused, encode
from .pin import pin_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bedplate.agents.charter import Server, Tool
    from bedplate.agents.door import AgentDoor
    from bedplate.agents.token import Actor
    from bedplate.agents.toolcall import Ruling

    Listing = Callable[[], Awaitable[list[dict[str, Any]]]]

log = logging.getLogger(__name__)
PASSING = frozenset(
    {"initialize", "ping", "logging/setLevel", "server/discover", "subscriptions/listen", "tools/list"}
    | {"resources/list", "resources/templates/list", "prompts/list"}
)
READING = frozenset({"resources/read", "resources/subscribe", "resources/unsubscribe"})
OWN_TASKS = frozenset({"tasks/get", "tasks/result", "tasks/cancel", "tasks/update"})
ASKS = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
MAX_RUNS = 10_000
PINS_FOR_S = 300  # what a server listed holds that long, unless it says that it changed
HOUR = 3600 * SECOND
POLL_MS = 5_000
ACT = "act-"  # how our tasks are called: by their actions


@dataclass(slots=True)
class Passage:
    """A message on its way: what goes to the server, and what is to be looked at in its answer."""

    message: Message
    body: bytes
    actor: Actor
    ruling: Ruling | None = None
    writes: bool = False  # it may have changed something by the time it fails
    began: float = field(default_factory=time.monotonic)


class Gate:
    """One server's gate for everybody who calls it here."""

    def __init__(self, door: AgentDoor, server: str) -> None:
        self._door = door
        self._server = server
        self._begun: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._pins: dict[str, tuple[dict[str, str], float]] = {}  # by session

    # On the way to the server

    async def asked(self, actor: Actor, message: Message, session: str, run: str, listing: Listing) -> Passage | bytes:
        """Judge one message: what passes, or what is answered in the server's place; or `Refused`."""
        if not message.method or message.method.startswith("notifications/"):
            return Passage(message, encode(message.body), actor)
        if message.method in OWN_TASKS and str(message.params.get("taskId", "")).startswith(ACT):
            return await self._task(actor, message, session, listing)
        if message.method == "tools/call":
            return await self._call(actor, message, session, run, listing)
        if message.method in PASSING or message.method in OWN_TASKS:
            return Passage(message, encode(message.body), actor)
        if message.method in READING:
            self._may(actor, message, "resources", message.params.get("uri"))
        elif message.method == "prompts/get":
            self._may(actor, message, "prompts", message.params.get("name"))
        elif message.method == "completion/complete":
            ref = message.params.get("ref")
            ref = ref if isinstance(ref, dict) else {}
            kind = "prompts" if ref.get("type") == "ref/prompt" else "resources"
            self._may(actor, message, kind, ref.get("name") if kind == "prompts" else ref.get("uri"))
        else:
            raise Refused(UNKNOWN, f"{message.method} is not let through here", id=message.id, status=404)
        return Passage(message, encode(message.body), actor)

    async def _call(self, actor: Actor, message: Message, session: str, run: str, listing: Listing) -> Passage | bytes:
        name, arguments = message.params.get("name"), message.params.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise Refused(PARAMS, "tools/call needs a `name` and `arguments`", id=message.id)
        tool = self._door.tools(actor, self._server).get(name)
        if tool is not None and (why := await self._unpinned(tool, name, session, listing)):
            return message.failed(why)
        call = ToolCall(
            await self._run(actor, message, session, run),
            f"{self._server}/{name}",
            arguments,
            message.said(KEY),
            message.meta.get(DRY) is True,
        )
        return await self._ruled(actor, message, call, tool)

    async def _ruled(self, actor: Actor, message: Message, call: ToolCall, tool: Tool | None) -> Passage | bytes:
        ruling = await self._door.propose(actor, call)
        if ruling.replayed:
            return message.result(_result_of(ruling))
        if ruling.verdict == "deny":
            return message.failed(_sentence(ruling))
        if ruling.verdict == "ask":
            return self._parked(message, ruling)
        if tool is None:
            return message.failed("the release changed meanwhile; call again")
        params = {**message.params, "arguments": ruling.arguments}
        params.pop("task", None)
        if tool.kind != READ:
            params["_meta"] = {**message.meta, ACTION: ruling.action}
        elif ACTION in message.meta:
            params["_meta"] = {name: value for name, value in message.meta.items() if name != ACTION}
        return Passage(message, encode({**message.body, "params": params}), actor, ruling, tool.kind != READ)

    def _parked(self, message: Message, ruling: Ruling) -> bytes:
        """Tell that people are asked: by a handle, by a question to the client's user, or in words."""
        why = "; ".join(why for _, why, _ in ruling.reasons)
        text = f"APPROVAL_REQUIRED id={ruling.approval} action={ruling.action}: {why}. "
        text += "People are asked; call again later with the same arguments."
        if message.tasks:
            return message.result(self._handle(message, ruling, "working", text))
        if message.elicits:
            schema = {"type": "object", "properties": {"again": {"type": "boolean", "title": "Look again now"}}}
            params = {"mode": "form", "message": text, "requestedSchema": schema}
            asked = {"approval": {"method": "elicitation/create", "params": params}}
            return encode(
                {
                    "jsonrpc": "2.0",
                    "id": message.id,
                    "result": {
                        "resultType": "input_required",
                        "inputRequests": asked,
                        "requestState": ruling.action,
                    },
                }
            )
        return message.failed(text)

    # Handles of what waits

    def _handle(self, message: Message, ruling: Ruling, status: str, text: str = "") -> dict[str, Any]:
        now = rfc3339(self._door.parts.clock())
        told: dict[str, Any] = {"taskId": ruling.action, "status": status, "createdAt": now, "lastUpdatedAt": now}
        if text:
            told["statusMessage"] = text
        if message.stateless:
            return {**told, "ttlMs": 86_400_000, "pollIntervalMs": POLL_MS, "resultType": "task"}
        return {"task": {**told, "ttl": 86_400_000, "pollInterval": POLL_MS}}

    async def _task(self, actor: Actor, message: Message, session: str, listing: Listing) -> Passage | bytes:
        """Answer about a handle of ours: once people agreed, asking about it carries it out."""
        ruling = await self._door.state(actor, str(message.params["taskId"]))
        if message.method == "tasks/cancel":
            raise Refused(INVALID, "people are asked; let them refuse it, or its time pass", id=message.id)
        if message.method == "tasks/update":
            return message.result({})
        waiting = await self._door.parked(actor, ruling.action)
        if ruling.verdict == "ask" and waiting is not None and waiting.state == "granted":
            call = ToolCall(ruling.run, ruling.tool, waiting.first, waiting.key)
            name = ruling.tool.partition("/")[2]
            tool = self._door.tools(actor, self._server).get(name)
            if tool is not None and (why := await self._unpinned(tool, name, session, listing)):
                return message.failed(why)
            asked = Message(
                {"jsonrpc": "2.0", "id": message.id, "method": "tools/call"},
                "tools/call",
                message.id,
                asks=True,
                params={"name": name, "arguments": waiting.first, **({"_meta": message.meta} if message.meta else {})},
            )
            passage = await self._ruled(actor, asked, call, tool)
            if isinstance(passage, Passage):
                passage.message = message  # whose answer it becomes: a task's, with the result in it
                return passage
            ruling = await self._door.state(actor, ruling.action)
        if ruling.verdict == "ask":
            return message.result(self._flat(message, self._handle(message, ruling, "working")))
        return message.result(self._done(message, ruling, _result_of(ruling)))

    def _flat(self, message: Message, told: dict[str, Any]) -> dict[str, Any]:
        if message.stateless:
            return {**told, "resultType": "complete"}
        task: dict[str, Any] = told["task"]
        return task

    def _done(self, message: Message, ruling: Ruling, result: dict[str, Any]) -> dict[str, Any]:
        if message.method == "tasks/result":
            return result
        told = self._flat(message, self._handle(message, ruling, "completed"))
        return {**told, "result": result} if message.stateless else told

    # On the way back

    def unasked(self, actor: Actor, method: str) -> str:
        """Say why a server may not ask this of the agent's client; "" if it may."""
        if method == "ping":
            return ""
        charter, asks = self._door.charter(actor), ASKS.get(method, "")
        server = charter.servers.get(self._server) if charter is not None else None
        if asks and server is not None and asks in server.asks:
            return ""
        fix = f"name {asks} under servers.{self._server}.asks in agents.yaml, and release" if asks else "leave it out"
        return f"{self._server} may not ask the client for {method}; {fix}"

    def _wants(self, passage: Passage, result: object) -> str:
        """Say what a server wants of the client before it goes on, and may not want; "" if nothing."""
        wanted = result.get("inputRequests") if isinstance(result, dict) else None
        found = wanted.values() if isinstance(wanted, dict) else ()
        methods = [str(one.get("method", "")) if isinstance(one, dict) else "" for one in found]
        return next((why for method in methods if (why := self.unasked(passage.actor, method))), "")

    async def answered(self, passage: Passage, answer: dict[str, Any], session: str) -> bytes | None:
        """Look at the answer to a message: filter lists, note what a call came to. None: it passes as it came."""
        message, result = passage.message, answer.get("result")
        if why := self._wants(passage, result):
            await self.lost(passage, why, reached=True)
            return message.failed(why)
        if passage.ruling is not None:
            await self._settled(passage, answer)
            if message.method in OWN_TASKS and isinstance(result, dict):
                return message.result(self._done(message, passage.ruling, result))
            return None
        if not isinstance(result, dict):
            return None
        if message.method == "tools/list":
            return encode(
                {**answer, "result": {**result, "tools": self._listed(passage.actor, result, session, message)}}
            )
        for method, kind, name in (
            ("resources/list", "resources", "uri"),
            ("resources/templates/list", "resources", "uriTemplate"),
            ("prompts/list", "prompts", "name"),
        ):
            if message.method == method:
                key = "resourceTemplates" if name == "uriTemplate" else kind
                found = result.get(key)
                rows = [r for r in found if isinstance(r, dict)] if isinstance(found, list) else []
                shown = [r for r in rows if self._allowed(passage.actor, kind, r.get(name))]
                return encode({**answer, "result": {**result, key: shown}})
        return None

    async def lost(self, passage: Passage, why: str, *, reached: bool) -> None:
        """Note that a call got no answer; `reached`: it may have been carried out all the same."""
        if passage.ruling is not None:
            status = "unknown" if reached and passage.ruling.state == "intended" else "error"
            outcome = Outcome(status, None, why, transport=True, latency_us=_since(passage))  # type: ignore[arg-type]  # one of both
            try:
                await self._door.settle(passage.actor, passage.ruling.action, outcome)
            except BedplateError as fault:
                log.warning("mcp.outcome_not_recorded", extra={"action": passage.ruling.action, "why": fault.message})

    def forget(self, session: str) -> None:
        """Forget what a server listed: it says that it changed."""
        self._pins.pop(session, None)

    async def _settled(self, passage: Passage, answer: Mapping[str, Any]) -> None:
        ruling, result = passage.ruling, answer.get("result")
        if ruling is None:
            return
        if isinstance(result, dict):
            failed = result.get("isError") is True
            outcome = Outcome("error" if failed else "ok", result, latency_us=_since(passage))
        else:
            error = answer.get("error")
            said = str(error.get("message", "")) if isinstance(error, dict) else "the answer is neither"
            outcome = Outcome("error", None, said[:4_000], latency_us=_since(passage))
        await self._door.settle(passage.actor, ruling.action, outcome)

    def _listed(self, actor: Actor, result: Mapping[str, Any], session: str, message: Message) -> list[dict[str, Any]]:
        found = result.get("tools")
        rows = (
            [t for t in found if isinstance(t, dict) and isinstance(t.get("name"), str)]
            if isinstance(found, list)
            else []
        )
        known, _ = self._pins.get(session, ({}, 0.0))
        first = not message.params.get("cursor")
        seen = {**({} if first else known), **{str(t["name"]): pin_of(t) for t in rows}}
        self._remember(session, seen)
        return [t for t in rows if self._shown(actor, t)]

    def _shown(self, actor: Actor, tool: Mapping[str, Any]) -> bool:
        known = self._door.tools(actor, self._server).get(str(tool["name"]))
        if known is None:
            return False
        if (pin := pin_of(tool)) != known.digest:
            log.warning("mcp.tool_changed", extra={"tool": known.name, "pinned": known.digest, "found": pin})
            return False
        return True

    # Small things

    async def _unpinned(self, tool: Tool, name: str, session: str, listing: Listing) -> str:
        """Say why a tool is not the one that was released; "" if it is."""
        if not tool.digest:
            return f"{tool.name} has no pin in the release: bedplate agents pin, and release"
        known, at = self._pins.get(session, ({}, 0.0))
        if time.monotonic() - at > PINS_FOR_S or name not in known:
            known = {str(t["name"]): pin_of(t) for t in await listing() if isinstance(t.get("name"), str)}
            self._remember(session, known)
        if name not in known:
            return f"the server has no tool {name} any more; see tools/list"
        if known[name] != tool.digest:
            log.warning("mcp.tool_changed", extra={"tool": tool.name, "pinned": tool.digest, "found": known[name]})
            return (
                f"the description of {tool.name} changed since it was released, which makes it another tool: "
                "look at it, pin it anew (bedplate agents pin), and release"
            )
        return ""

    def _remember(self, session: str, pins: dict[str, str]) -> None:
        if len(self._pins) > MAX_RUNS:
            self._pins.clear()
        self._pins[session] = (pins, time.monotonic())

    async def _run(self, actor: Actor, message: Message, session: str, header: str) -> str:
        named = message.said(RUN) or header
        run = named or (f"mcp-{session}" if session else f"mcp-{actor.key[4:]}-{self._door.parts.clock() // HOUR}")
        known = (actor.subject, actor.agent, run)
        if known not in self._begun:
            await self._door.begin(actor, run=run, task=message.said(TASK))
            self._begun[known] = None
            if len(self._begun) > MAX_RUNS:
                self._begun.popitem(last=False)
        return run

    def _may(self, actor: Actor, message: Message, kind: str, name: object) -> None:
        if not isinstance(name, str) or not self._allowed(actor, kind, name):
            raise Refused(
                INVALID,
                f"{actor.agent} may not read {name!r} of {self._server}",
                id=message.id,
                status=403,
                hint=f"name it under servers.{self._server}.{kind} in agents.yaml, and release",
            )

    def _allowed(self, actor: Actor, kind: str, name: object) -> bool:
        charter = self._door.charter(actor)
        server: Server | None = charter.servers.get(self._server) if charter is not None else None
        if server is None or charter is None or actor.agent not in charter.agents or not isinstance(name, str):
            return False
        patterns = server.resources if kind == "resources" else server.prompts
        return any(fnmatchcase(name, _pattern(p)) for p in patterns)


def _pattern(said: str) -> str:
    """Let only a `*` at the end stand for more; all else is itself."""
    stem, rest = (said[:-1], "*") if said.endswith("*") else (said, "")
    return "".join(f"[{c}]" if c in "*?[" else c for c in stem) + rest


def _result_of(ruling: Ruling) -> dict[str, Any]:
    """Return what a step came to as a tool's result: what the server said, or what a person answered."""
    if isinstance(ruling.result, dict) and "content" in ruling.result:
        return dict(ruling.result)
    if ruling.verdict == "deny":
        return {"content": [{"type": "text", "text": _sentence(ruling)}], "isError": True}
    text = ruling.result if isinstance(ruling.result, str) else encode(ruling.result).decode()
    return {"content": [{"type": "text", "text": text}], "isError": ruling.state == "error"}


def _sentence(ruling: Ruling) -> str:
    return "DENIED: " + " ".join(f"{why} ({control}). Fix: {fix}." for control, why, fix in ruling.reasons)


def _since(passage: Passage) -> int:
    return int((time.monotonic() - passage.began) * 1_000_000)
