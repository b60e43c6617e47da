"""Anthropic messages: content in blocks, events with names, errors with a type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bedplate.errors import InvalidInput
from bedplate.gateway.dialect import Body, Delta, Piece, Said, Usage, event_bytes, text_of, told, whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MESSAGES = 10_000
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
NAMING = frozenset({"type", "signature", "data", "encrypted_content"})  # whole in each piece


class _Delta(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text_delta"]
    text: str


class _Block(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of a text; one with any other field is read as a whole."""

    type: Literal["content_block_delta"]
    index: int
    delta: _Delta


_block_of = msgspec.json.Decoder(_Block).decode


class Messages:
    """`/v1/messages`."""

    name, path, streams = "messages", "/messages", True

    def check(self, body: Body) -> None:
        """Raise `InvalidInput` unless there are messages with roles."""
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or len(messages) > MAX_MESSAGES:
            raise InvalidInput(f"`messages` must be a list of 1 to {MAX_MESSAGES} messages")
        if not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages):
            raise InvalidInput("every message must be an object with a `role`")
        if not isinstance(body.get("system", ""), str | list):
            raise InvalidInput("`system` must be text or a list of blocks")

    def messages(self, body: Body) -> list[Body]:
        """Return the messages after what was said as `system`."""
        system = body.get("system")
        return [*([{"role": "system", "content": system}] if system else []), *body["messages"]]

    def question(self, body: Body) -> str:
        """Return the text of the last message whose role is user."""
        return next((text_of(m.get("content")) for m in reversed(body["messages"]) if m["role"] == "user"), "")

    def most_out(self, body: Body) -> int:
        """Return `max_tokens`."""
        return whole_number(body.get("max_tokens"))

    def composed(self, body: Body, system: str) -> Body:
        """Put the prompt after what the client says as `system`: the last block counts."""
        if not system:
            return body
        theirs = body.get("system")
        blocks = theirs if isinstance(theirs, list) else [{"type": "text", "text": theirs}] if theirs else []
        return {**body, "system": [*blocks, {"type": "text", "text": system}] if blocks else system}

    def prompted(self, body: Body, messages: list[dict[str, str]]) -> None:
        """Put them before the client's own; what speaks as `system` goes where this protocol has it."""
        own, system = body.get("messages"), body.get("system")
        spoken = [m for m in messages if m["role"] != "system"]
        told_so = [{"type": "text", "text": m["content"]} for m in messages if m["role"] == "system"]
        body["messages"] = [*spoken, *(own if isinstance(own, list) else [])]
        if told_so:
            theirs = system if isinstance(system, list) else [{"type": "text", "text": system}] if system else []
            body["system"] = [*told_so, *theirs]

    def answer(self, body: Body) -> str:
        """Return the text blocks."""
        blocks = body.get("content")
        if not isinstance(blocks, list):
            raise ValueError("it has no content")  # noqa: TRY004  any answer that is not one
        texts = (b.get("text") for b in blocks if isinstance(b, dict) and b.get("type") == "text")
        return "\n".join(t for t in texts if isinstance(t, str))

    def usage(self, body: Body) -> Usage | None:
        """Return the `usage` object, of an answer, of `message_start` or of `message_delta`."""
        message = body.get("message")
        usage = message.get("usage") if isinstance(message, dict) else body.get("usage")
        if not isinstance(usage, dict):
            return None
        read, made = (whole_number(usage.get(f"cache_{n}_input_tokens")) for n in ("read", "creation"))
        # Anthropic counts what the cache read and what it took in beside the rest, not within it.
        told_in = whole_number(usage.get("input_tokens")) + read + made
        return Usage(told_in, whole_number(usage.get("output_tokens")), read)

    def prefix(self, body: Body, text: str) -> None:
        """Put text before the first text block."""
        for block in body["content"]:
            if isinstance(block, dict) and block.get("type") == "text":
                block["text"] = text + str(block.get("text", ""))
                return
        body["content"].insert(0, {"type": "text", "text": text})

    def whole(self, said: Said) -> Body:
        """Return a message of one text block."""
        return {
            **_frame(said),
            "content": [{"type": "text", "text": said.text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }

    def stream(self, said: Said) -> list[bytes]:
        """Return the events of one."""
        begun = {**_frame(said), "content": [], "stop_reason": None, "usage": {"input_tokens": 0, "output_tokens": 0}}
        return [_event("message_start", message=begun), *self.stopping(said, ())]

    def deltas(self, event: Body) -> list[Delta]:
        """Return the text, the thinking and the tool's input of a block."""
        delta = event.get("delta")
        if event.get("type") == "content_block_start":
            block, index = event.get("content_block"), event.get("index")
            if not isinstance(block, dict):
                return []
            if str(block.get("type")).endswith("tool_use") and _is_text(block.get("name")):
                return [Delta(f"name/{index}", block, "name", machine=True)]  # it is not begun for nothing
            begun = (key for key in ("text", "thinking") if block.get(key) and _is_text(block[key]))
            return [Delta(f"{key}/{index}", block, key) for key in begun]
        if event.get("type") != "content_block_delta" or not isinstance(delta, dict):
            return []
        index = event.get("index")
        return [
            Delta(f"{key}/{index}", delta, key, machine=key == "partial_json")
            for key, value in delta.items()
            if key not in NAMING and _is_text(value)
        ]

    def piece(self, data: bytes) -> Piece | None:
        """Read a piece of a text, if it is nothing else."""
        try:
            block = _block_of(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return Piece(f"text/{block.index}", block.delta.text, (block.type, block.delta.type))

    def again(self, event: Body) -> list[Delta]:  # noqa: ARG002  the protocol's shape
        """Return nothing: all is said once."""
        return []

    def stopping(self, said: Said, begun: Sequence[str]) -> list[bytes]:
        """End the last block, say it in one of its own, and end the message."""
        indexes = sorted({int(c.split("/")[1]) for c in begun if c.split("/")[1].isdecimal()})
        going = [n for n in indexes if f"content_block_stop/{n}" not in begun]
        closed = [_event("content_block_stop", index=n) for n in going]
        index = indexes[-1] + 1 if indexes else 0
        return [
            *closed,
            _event("content_block_start", index=index, content_block={"type": "text", "text": ""}),
            _event("content_block_delta", index=index, delta={"type": "text_delta", "text": said.text}),
            _event("content_block_stop", index=index),
            _event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=_NONE),
            _event("message_stop"),
        ]

    def mark(self, event: Body) -> str:
        """Return that the message, or a block, has begun, or that a block has stopped."""
        kind = event.get("type")
        if kind == "message_start":
            return "begun/"
        return f"{kind}/{event.get('index')}" if kind in ("content_block_start", "content_block_stop") else ""

    def ends(self, event: Body) -> bool:
        """Tell whether the message's stop reason is given, or the message is over."""
        return event.get("type") in ("message_delta", "message_stop")

    def over(self, event: Body) -> bool:
        """Tell whether the message has stopped."""
        return event.get("type") == "message_stop"

    def error(self, status: int, message: str, code: str, reasons: Sequence[tuple[str, str, str]], call: str) -> Body:
        """Return Anthropic's error object."""
        kind = KINDS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message, "code": code, **told(reasons, call)}}

    def error_event(self, body: Body) -> bytes:
        """Return the `error` event."""
        return event_bytes(body, "error")


_NONE = {"output_tokens": 0}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _frame(said: Said) -> Body:
    return {"id": said.id, "type": "message", "role": "assistant", "model": said.model, "stop_sequence": None}


def _event(name: str, **more: Any) -> bytes:  # noqa: ANN401  whatever the event holds
    return event_bytes({"type": name, **more}, name)
