"""One JSON-RPC message of MCP, read strictly: what is judged is what is sent on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BODY = 16 << 20
STATELESS = "2026-07-28"  # the revision from which every request stands alone
PARSE, INVALID, UNKNOWN, PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
MISMATCH = -32020  # headers that say otherwise than the body (2026-07-28)
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
TASKS = "io.modelcontextprotocol/tasks"
ACTION, RUN, KEY, TASK, DRY = (f"io.bedplate/{name}" for name in ("action", "run", "key", "task", "dry-run"))
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}  # what `Mcp-Name` repeats

_decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode
Id = str | int | None


class Refused(InvalidInput):
    """A message that is not taken, with JSON-RPC's code for it and the status of HTTP."""

    def __init__(self, code: int, message: str, *, id: Id = None, status: int = 400, hint: str = "") -> None:  # noqa: A002  JSON-RPC's word
        super().__init__(message, hint=hint)
        self.rpc, self.id, self.status = code, id, status

    def body(self) -> bytes:
        """Return it as JSON-RPC has it."""
        said = f"{self.message}; {self.hint}" if self.hint else self.message
        return encode({"jsonrpc": "2.0", "id": self.id, "error": {"code": self.rpc, "message": said}})


@dataclass(slots=True)
class Message:
    """A request, a notification (no id), or a client's answer to a server's request (no method)."""

    body: dict[str, Any]
    method: str = ""
    id: Id = None
    asks: bool = False  # it has an id and a method
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def meta(self) -> dict[str, Any]:
        """What the message says of itself."""
        found = self.params.get("_meta")
        return found if isinstance(found, dict) else {}

    @property
    def stateless(self) -> bool:
        """Whether it stands alone, as from 2026-07-28 on."""
        return isinstance(self.meta.get(VERSION), str)

    @property
    def capabilities(self) -> dict[str, Any]:
        """What a client that stands alone says that it can do."""
        found = self.meta.get(CAPABILITIES)
        return found if isinstance(found, dict) else {}

    @property
    def tasks(self) -> bool:
        """Whether its client takes a handle in the place of a result."""
        extensions = self.capabilities.get("extensions")
        return isinstance(self.params.get("task"), dict) or (isinstance(extensions, dict) and TASKS in extensions)

    @property
    def elicits(self) -> bool:
        """Whether its client asks its user what a server wants to know, and then asks again."""
        return self.stateless and isinstance(self.capabilities.get("elicitation"), dict)

    def said(self, name: str) -> str:
        """Return one of our own words in `_meta`; "" if it is not there."""
        found = self.meta.get(name, "")
        if not isinstance(found, str) or len(found) > 100_000:  # noqa: PLR2004  a task in words
            raise Refused(PARAMS, f"`_meta` {name} must be text", id=self.id)
        return found

    def result(self, result: Mapping[str, Any]) -> bytes:
        """Return an answer to it."""
        told = {"resultType": "complete", **result} if self.stateless else result
        return encode({"jsonrpc": "2.0", "id": self.id, "result": told})

    def failed(self, text: str) -> bytes:
        """Return a tool's answer that it failed, for the model to read."""
        return self.result({"content": [{"type": "text", "text": text}], "isError": True})


def read(content: bytes) -> Message:
    """Read one message; `Refused` says what is wrong with it."""
    if len(content) > MAX_BODY:
        raise Refused(INVALID, f"the body is larger than {MAX_BODY} bytes", status=413)
    try:
        body = _decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as wrong:
        raise Refused(PARSE, f"the body is not JSON: {wrong}") from None
    if isinstance(body, list):
        raise Refused(INVALID, "batches are not taken", hint="send one message at a time")
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0":
        raise Refused(INVALID, "the body is no JSON-RPC 2.0 message")
    ident, method, params = body.get("id"), body.get("method"), body.get("params", {})
    if ident is not None and (isinstance(ident, bool) or not isinstance(ident, str | int)):
        raise Refused(INVALID, "`id` must be text or a whole number")
    if method is None:
        if ident is None or ("result" in body) == ("error" in body):
            raise Refused(INVALID, "the message has neither a method nor a result")
        return Message(body, id=ident)
    if not isinstance(method, str):
        raise Refused(INVALID, "`method` must be text", id=ident)
    if not isinstance(params, dict):
        raise Refused(PARAMS, "`params` must be an object", id=ident)
    return Message(body, method, ident, "id" in body and ident is not None, params)


def agree(message: Message, headers: Mapping[str, str]) -> None:
    """Refuse headers that say otherwise than the body: whoever routes by them must not be misled."""
    told = headers.get("mcp-method")
    if told is not None and told != message.method:
        raise Refused(MISMATCH, f"the header Mcp-Method says {told!r}, the body {message.method!r}", id=message.id)
    named = NAMED.get(message.method)
    told = headers.get("mcp-name")
    if told is not None and named is not None and told != message.params.get(named):
        raise Refused(MISMATCH, f"the header Mcp-Name says {told!r}, and the body otherwise", id=message.id)
    told, said = headers.get("mcp-protocol-version"), message.meta.get(VERSION)
    if told is not None and said is not None and told != said:
        raise Refused(MISMATCH, f"the header MCP-Protocol-Version says {told!r}, the body {said!r}", id=message.id)
