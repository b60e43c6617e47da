"""OpenAI chat completions: the protocol most endpoints speak."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.errors import InvalidInput
from bedplate.gateway.dialect import Body, Delta, Piece, Said, Usage, event_bytes, text_of, told, whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_MESSAGES = 2_000
INSTRUCTING = ("system", "developer")  # roles that speak to the model about how to answer
DONE = b"data: [DONE]\n\n"
USUAL_OUT = 256  # tokens reserved for a choice whose length the client does not bound
TOOLS = ("tool_calls/", "function_call/")  # channels of arguments for tools
NAMING = frozenset({"role", "id", "type", "name", "format", "data", "url", "signature"})  # whole in each piece


class _Delta(msgspec.Struct, forbid_unknown_fields=True):
    content: str


class _Choice(msgspec.Struct, forbid_unknown_fields=True):
    index: int
    delta: _Delta
    finish_reason: None = None
    logprobs: None = None


class _Chunk(msgspec.Struct, forbid_unknown_fields=True):
    """A chunk as most are; one with any other field is read as a whole."""

    choices: list[_Choice]
    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    system_fingerprint: str | None = None
    service_tier: str | None = None
    usage: None = None


_chunk_of = msgspec.json.Decoder(_Chunk).decode


class Chat:
    """`/v1/chat/completions`."""

    name, path, streams = "chat", "/chat/completions", True

    def check(self, body: Body) -> None:
        """Raise `InvalidInput` unless there are messages with roles."""
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or len(messages) > MAX_MESSAGES:
            raise InvalidInput(f"`messages` must be a list of 1 to {MAX_MESSAGES} messages")
        if not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages):
            raise InvalidInput("every message must be an object with a `role`")

    def messages(self, body: Body) -> list[Body]:
        """Return the messages as they are."""
        return list(body["messages"])

    def question(self, body: Body) -> str:
        """Return the text of the last message whose role is user."""
        return next((text_of(m.get("content")) for m in reversed(body["messages"]) if m["role"] == "user"), "")

    def most_out(self, body: Body) -> int:
        """Return the allowed tokens, times the choices. Of the two names of the limit an upstream may know only one."""
        most = max(whole_number(body.get("max_completion_tokens")), whole_number(body.get("max_tokens")))
        choices = whole_number(body.get("n"))
        return (most or USUAL_OUT) * choices if choices > 1 else most

    def composed(self, body: Body, system: str) -> Body:
        """Put the prompt after what the client says as `system`: the last one counts."""
        if not system:
            return body
        messages = body["messages"]
        theirs = [m for m in messages if m["role"] in INSTRUCTING]
        asked = [m for m in messages if m["role"] not in INSTRUCTING]
        return {**body, "messages": [*theirs, {"role": "system", "content": system}, *asked]}

    def prompted(self, body: Body, messages: list[dict[str, str]]) -> None:
        """Put them before the client's own messages."""
        own = body.get("messages")
        body["messages"] = [*messages, *(own if isinstance(own, list) else [])]

    def answer(self, body: Body) -> str:
        """Return the contents of the choices, one to a line."""
        choices = body.get("choices")
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            raise ValueError("it has no choices")
        messages = (c.get("message") for c in choices)
        contents = (text_of(m.get("content")) for m in messages if isinstance(m, dict) and m.get("content"))
        return "\n".join(contents)

    def usage(self, body: Body) -> Usage | None:
        """Return the `usage` object."""
        usage = body.get("usage")
        if not isinstance(usage, dict):
            return None
        details = usage.get("prompt_tokens_details")
        cached = whole_number(details.get("cached_tokens")) if isinstance(details, dict) else 0
        return Usage(whole_number(usage.get("prompt_tokens")), whole_number(usage.get("completion_tokens")), cached)

    def prefix(self, body: Body, text: str) -> None:
        """Put text before the content of each choice."""
        for choice in body["choices"]:
            message = choice.get("message")
            if isinstance(message, dict):
                message["content"] = text + text_of(message.get("content"))
                choice["logprobs"] = None  # they spell out another text

    def whole(self, said: Said) -> Body:
        """Return a chat completion with one choice."""
        message = {"role": "assistant", "content": said.text}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {**_frame(said, "chat.completion"), "choices": [choice]}

    def stream(self, said: Said) -> list[bytes]:
        """Return the chunks of one."""
        return [
            event_bytes(_chunk(said, {"role": "assistant", "content": said.text})),
            event_bytes(_chunk(said, {}, "stop")),
            DONE,
        ]

    def deltas(self, event: Body) -> list[Delta]:
        """Return the text, the reasoning and the tools' arguments of each choice."""
        found: list[Delta] = []
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if not isinstance(delta, dict):
                continue
            for key in delta.keys() - NAMING:
                _pieces(delta, key, f"{key}/{choice.get('index')}", found)
        return found

    def piece(self, data: bytes) -> Piece | None:
        """Read the content of a chunk with one choice and nothing else in it."""
        try:
            chunk = _chunk_of(data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        if len(chunk.choices) != 1:
            return None
        choice = chunk.choices[0]
        others = (chunk.id, chunk.object, chunk.model, chunk.system_fingerprint or "", chunk.service_tier or "")
        return Piece(f"content/{choice.index}", choice.delta.content, others, chunk.model)

    def again(self, event: Body) -> list[Delta]:  # noqa: ARG002  the protocol's shape
        """Return nothing: all is said once."""
        return []

    def stopping(self, said: Said, begun: Sequence[str]) -> list[bytes]:
        """Say it in each choice that has begun, and end them."""
        indexes = sorted({int(c.split("/")[1]) for c in begun if c.split("/")[1].isdecimal()}) or [0]
        spoken = [_chunk(said, {"content": said.text}, index=n) for n in indexes]
        return [event_bytes(c) for c in [*spoken, *(_chunk(said, {}, "stop", n) for n in indexes)]] + [DONE]

    def mark(self, event: Body) -> str:  # noqa: ARG002  the protocol's shape
        """Return nothing: a stream is taken up wherever it is."""
        return ""

    def ends(self, event: Body) -> bool:
        """Tell whether a choice has a finish reason."""
        choices = event.get("choices")
        return isinstance(choices, list) and any(isinstance(c, dict) and c.get("finish_reason") for c in choices)

    def over(self, event: Body) -> bool:  # noqa: ARG002  the protocol's shape
        """Tell nothing: `[DONE]` is the last."""
        return False

    def error(self, status: int, message: str, code: str, reasons: Sequence[tuple[str, str, str]], call: str) -> Body:
        """Return OpenAI's error object."""
        kind = "invalid_request_error" if status in {400, 404, 413, 422} else "bedplate_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": code, **told(reasons, call)}}

    def error_event(self, body: Body) -> bytes:
        """Return the error as an event's data."""
        return event_bytes(body)


def _pieces(holder: Any, key: Any, channel: str, found: list[Delta]) -> None:  # noqa: ANN401  JSON
    """Collect every text that may go on in the next chunk, those of fields unknown today among them."""
    value = holder[key]
    if isinstance(value, str):
        found.append(Delta(channel, holder, key, channel.startswith(TOOLS)))
    elif isinstance(value, dict):
        for name in value:
            if name not in NAMING:
                _pieces(value, name, f"{channel}/{name}", found)
    elif isinstance(value, list):
        for place, part in enumerate(value):
            number = part.get("index", place) if isinstance(part, dict) else place
            _pieces(value, place, f"{channel}/{number}", found)


def _frame(said: Said, kind: str) -> Body:
    return {"id": said.id, "object": kind, "created": said.created, "model": said.model}


def _chunk(said: Said, delta: Body, reason: str | None = None, index: int = 0) -> Body:
    choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}
    return {**_frame(said, "chat.completion.chunk"), "choices": [choice]}
