"""OpenAI responses: items in and items out, and a stream that says everything twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.errors import InvalidInput
from bedplate.gateway.dialect import (
    Body,
    Delta,
    Piece,
    Said,
    Usage,
    event_bytes,
    json_bytes,
    text_of,
    told,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ITEMS = 2_000
_decode = msgspec.json.Decoder(dict[str, Any]).decode
TOOLS = ("_arguments", ".arguments", "_input", "_code")  # what the kind of a tool's arguments ends with
PARTS = {  # type of a part → kind of its deltas, key of its text
    "output_text": ("output_text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("reasoning_text", "text"),
    "summary_text": ("reasoning_summary_text", "text"),
}
CALLS = {  # type of an item → the same
    "function_call": ("function_call_arguments", "arguments"),
    "mcp_call": ("mcp_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
}
RESPONSE = "response//"
ENDING = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


class Responses:
    """`/v1/responses`."""

    name, path, streams = "responses", "/responses", True

    def check(self, body: Body) -> None:
        """Raise `InvalidInput` unless the input is here, and nothing is kept or run where nobody judges it."""
        given = body.get("input")
        if not isinstance(given, str | list) or not given or len(given if isinstance(given, list) else ()) > MAX_ITEMS:
            raise InvalidInput(f"`input` must be text, or a list of 1 to {MAX_ITEMS} items")
        if isinstance(given, list) and not all(isinstance(item, dict) for item in given):
            raise InvalidInput("every item of `input` must be an object")
        if isinstance(given, list) and any(_is_reference(item) for item in given):
            raise InvalidInput(
                "an item of `input` names what is kept upstream, which is not judged here",
                hint="send the item itself",
            )
        if not isinstance(body.get("instructions") or "", str):
            raise InvalidInput("`instructions` must be text")
        for name in ("previous_response_id", "conversation"):
            if body.get(name):
                raise InvalidInput(
                    f"`{name}` names what is kept upstream, which is not judged here",
                    hint="send the whole conversation as `input`",
                )
        if body.get("background"):
            raise InvalidInput("`background` answers where nothing is recorded", hint="leave it out, or stream")

    def messages(self, body: Body) -> list[Body]:
        """Return the items after the instructions."""
        given = body["input"]
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        told_so = body.get("instructions")
        return [*([{"role": "system", "content": told_so}] if told_so else []), *items]

    def question(self, body: Body) -> str:
        """Return the last thing the user said."""
        given = body["input"]
        if isinstance(given, str):
            return given
        return next((text_of(i.get("content")) for i in reversed(given) if i.get("role") == "user"), "")

    def most_out(self, body: Body) -> int:
        """Return `max_output_tokens`."""
        return whole_number(body.get("max_output_tokens"))

    def composed(self, body: Body, system: str) -> Body:
        """Put the prompt after the client's own instructions."""
        if not system:
            return body
        theirs = body.get("instructions")
        return {**body, "instructions": f"{theirs}\n\n{system}" if theirs else system}

    def prompted(self, body: Body, messages: list[dict[str, str]]) -> None:
        """Put them before the client's own input."""
        own = body.get("input")
        items = [{"role": "user", "content": own}] if isinstance(own, str) and own else own
        body["input"] = [*messages, *(items if isinstance(items, list) else [])]

    def answer(self, body: Body) -> str:
        """Return the text of the messages among the output."""
        output = body.get("output")
        if not isinstance(output, list):
            raise ValueError("it has no output")  # noqa: TRY004  any answer that is not one
        items = (i for i in output if isinstance(i, dict) and i.get("type") == "message")
        return "\n".join(text for text in (text_of(i.get("content")) for i in items) if text)

    def usage(self, body: Body) -> Usage | None:
        """Return the `usage` object, of an answer or of the event that ends a stream."""
        response = body.get("response")
        usage = response.get("usage") if isinstance(response, dict) else body.get("usage")
        if not isinstance(usage, dict):
            return None
        details = usage.get("input_tokens_details")
        cached = whole_number(details.get("cached_tokens")) if isinstance(details, dict) else 0
        return Usage(whole_number(usage.get("input_tokens")), whole_number(usage.get("output_tokens")), cached)

    def prefix(self, body: Body, text: str) -> None:
        """Put text before the first text of the output."""
        for item in body["output"]:
            parts = item.get("content") if isinstance(item, dict) else None
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, dict) and isinstance(part.get("text"), str):
                    part["text"] = text + part["text"]
                    return

    def whole(self, said: Said) -> Body:
        """Return a response with one message."""
        return _response(said, "completed", [_message(said, said.text)])

    def stream(self, said: Said) -> list[bytes]:
        """Return the events of one."""
        return [_event("response.created", 0, response=_response(said, "in_progress", [])), *self.stopping(said, ())]

    def deltas(self, event: Body) -> list[Delta]:
        """Return the piece of text that the event is about."""
        if not isinstance(event.get("delta"), str):
            return _begun(event)
        kind = _kind(event)
        return [Delta(f"{kind}/{_place(event)}", event, "delta", kind.endswith(TOOLS))]

    def piece(self, data: bytes) -> Piece | None:  # noqa: ARG002  the protocol's shape
        """Return nothing: each piece names its item and place besides."""
        return None

    def again(self, event: Body) -> list[Delta]:
        """Return the whole texts of what is done: a text, a part, an item, or the response."""
        response, item, part = event.get("response"), event.get("item"), event.get("part")
        if isinstance(response, dict):
            output = response.get("output")
            return [d for n, i in enumerate(output if isinstance(output, list) else ()) for d in _of_item(i, n)]
        if isinstance(item, dict):
            return _of_item(item, event.get("output_index"))
        if isinstance(part, dict):
            return _of_part(part, _place(event))
        kind = _kind(event)
        found = (key for _, key in (*PARTS.values(), *CALLS.values()) if isinstance(event.get(key), str))
        return [Delta(f"{kind}/{_place(event)}", event, key, kind.endswith(TOOLS)) for key in dict.fromkeys(found)]

    def stopping(self, said: Said, begun: Sequence[str]) -> list[bytes]:
        """End the items that have begun, say it in a message, and complete the response with that message alone."""
        places = [int(c.split("/")[1]) for c in begun if c.split("/")[1].isdecimal()]
        index = max(places) + 1 if places else 0
        where: Body = {"item_id": f"msg_{said.id}", "output_index": index, "content_index": 0}
        part = {"type": "output_text", "text": said.text, "annotations": []}
        item = _message(said, said.text)
        begins = {**item, "status": "in_progress", "content": []}
        name = next((c.removeprefix(RESPONSE) for c in begun if c.startswith(RESPONSE)), "")
        named = {"id": name} if name else {}
        steps: list[tuple[str, Body]] = [
            *(("response.output_item.done", which) for which in _left_open(begun)),
            ("response.output_item.added", {"output_index": index, "item": begins}),
            ("response.content_part.added", {**where, "part": {**part, "text": ""}}),
            ("response.output_text.delta", {**where, "delta": said.text, "logprobs": []}),
            ("response.output_text.done", {**where, "text": said.text, "logprobs": []}),
            ("response.content_part.done", {**where, "part": part}),
            ("response.output_item.done", {"output_index": index, "item": item}),
            ("response.completed", {"response": {**_response(said, "completed", [item]), **named}}),
        ]
        return [_event(name, number, **more) for number, (name, more) in enumerate(steps, 1)]

    def mark(self, event: Body) -> str:
        """Return which response has begun, which item has begun, or that it is done."""
        kind, response, index = event.get("type"), event.get("response"), event.get("output_index")
        if kind == "response.created":
            return f"{RESPONSE}{response.get('id') if isinstance(response, dict) else ''}"
        if kind == "response.output_item.added" and isinstance(event.get("item"), dict):
            return f"item/{index}/{json_bytes(event['item']).decode()}"
        return f"done/{index}" if kind == "response.output_item.done" else ""

    def ends(self, event: Body) -> bool:
        """Tell whether the response is over."""
        return str(event.get("type")) in ENDING

    def over(self, event: Body) -> bool:
        """Tell whether the response is over."""
        return str(event.get("type")) in ENDING

    def error(self, status: int, message: str, code: str, reasons: Sequence[tuple[str, str, str]], call: str) -> Body:
        """Return OpenAI's error object."""
        kind = "invalid_request_error" if status in {400, 404, 413, 422} else "bedplate_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": code, **told(reasons, call)}}

    def error_event(self, body: Body) -> bytes:
        """Return the `error` event."""
        error = body["error"]
        return event_bytes({"type": "error", "sequence_number": 0, **error}, "error")


def _left_open(begun: Sequence[str]) -> list[Body]:
    """Return the items that have begun and are not done, as they began: clients tell them by their ids."""
    items = [c.split("/", 2) for c in begun if c.startswith("item/") and c.split("/")[1].isdecimal()]
    return [
        {"output_index": int(n), "item": {**_decode(item), "status": "incomplete"}}
        for _, n, item in items
        if f"done/{n}" not in begun
    ]


def _begun(event: Body) -> list[Delta]:
    """Return the name of a tool whose call begins: it is not begun for nothing."""
    item = event.get("item") if event.get("type") == "response.output_item.added" else None
    if not isinstance(item, dict) or str(item.get("type")) not in CALLS or not isinstance(item.get("name"), str):
        return []
    return [Delta(f"name/{event.get('output_index')}/", item, "name", machine=True)]


def _is_reference(item: Body) -> bool:
    return item.get("type") == "item_reference" or ("id" in item and not item.keys() - {"id", "type"})


def _kind(event: Body) -> str:
    return str(event.get("type")).removeprefix("response.").removesuffix(".delta").removesuffix(".done")


def _place(event: Body) -> str:
    return f"{event.get('output_index')}/{event.get('content_index', event.get('summary_index', ''))}"


def _of_item(item: Any, index: object) -> list[Delta]:  # noqa: ANN401  JSON
    if not isinstance(item, dict):
        return []
    kind, key = CALLS.get(str(item.get("type")), ("", ""))
    found = [Delta(f"{kind}/{index}/", item, key, machine=True)] if isinstance(item.get(key), str) else []
    for name in ("content", "summary"):
        parts = item.get(name)
        for place, part in enumerate(parts if isinstance(parts, list) else ()):
            found += _of_part(part, f"{index}/{place}")
    return found


def _of_part(part: Any, place: str) -> list[Delta]:  # noqa: ANN401  JSON
    kind, key = PARTS.get(str(part.get("type")), ("", "")) if isinstance(part, dict) else ("", "")
    return [Delta(f"{kind}/{place}", part, key)] if key and isinstance(part.get(key), str) else []


def _message(said: Said, text: str) -> Body:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "id": f"msg_{said.id}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }


def _response(said: Said, status: str, output: list[Body]) -> Body:
    return {
        "id": f"resp_{said.id}",
        "object": "response",
        "created_at": said.created,
        "model": said.model,
        "status": status,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "temperature": None,
        "top_p": None,
    }


def _event(name: str, number: int, **more: Any) -> bytes:  # noqa: ANN401  whatever the event holds
    return event_bytes({"type": name, "sequence_number": number, **more}, name)
