"""The dialects in which instrumentations tell of a model's call: each is read into the same words.

They change faster than releases are made, and all of them stay in use: what is read here is versioned by what is found
in a span, not by what it claims to be.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from .dialect import MOST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .otlp import Attributes, Span

INFERENCE = {"chat", "text_completion", "generate_content", "embeddings"}  # what asks a model; the rest contains it
TRACELOOP = {"chat": "chat", "completion": "text_completion", "embedding": "embeddings"}
OPENINFERENCE = {"LLM": "chat", "EMBEDDING": "embeddings"}

Message = dict[str, str]


@dataclass(slots=True)
class Told:
    """What a dialect says in its attributes."""

    dialect: str
    operation: str
    provider: str
    model: str
    response_model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cached_in: int = 0
    messages: list[Message] = field(default_factory=list)
    answer: str = ""
    finish: str = ""


def _current(span: Span) -> Told | None:
    """Read the conventions since 1.37: `gen_ai.provider.name`, and messages as JSON in attributes or in an event."""
    said = dict(span.attributes)
    for event in span.events:  # gen_ai.client.inference.operation.details
        said |= {k: v for k, v in event.attributes.items() if k not in said}
    operation = text(said, "gen_ai.operation.name") or "chat"
    if operation not in INFERENCE:
        return None
    system = [{"role": "system", "content": text} for text in _parts(_json(said.get("gen_ai.system_instructions")))]
    output = _list(_json(said.get("gen_ai.output.messages")))
    return Told(
        "gen_ai",
        operation,
        text(said, "gen_ai.provider.name"),
        text(said, "gen_ai.request.model", "gen_ai.response.model"),
        text(said, "gen_ai.response.model"),
        count(said, "gen_ai.usage.input_tokens"),
        count(said, "gen_ai.usage.output_tokens"),
        count(said, "gen_ai.usage.cache_read.input_tokens"),
        system + _messages(_json(said.get("gen_ai.input.messages"))),
        "\n".join(m["content"] for m in _messages(output)),
        _finish(said) or next((text(m, "finish_reason") for m in output if isinstance(m, dict)), ""),
    )


def _older(span: Span) -> Told | None:
    """Read the conventions up to 1.36 and Traceloop's: `gen_ai.system`, messages in numbered attributes or events."""
    said = span.attributes
    if text(said, "traceloop.span.kind") in {"workflow", "task", "agent", "tool"}:
        return None
    asked = text(said, "llm.request.type")
    operation = text(said, "gen_ai.operation.name") or (TRACELOOP.get(asked, "") if asked else "chat")
    if operation not in INFERENCE:
        return None
    numbered, answered = _numbered(said, "gen_ai.prompt.") or _numbered(said, "llm.prompts."), []
    answered += _numbered(said, "gen_ai.completion.") or _numbered(said, "llm.completions.")
    events, choices, finish = _events(span)
    return Told(
        "traceloop" if any(k.startswith(("llm.", "traceloop.")) for k in said) else "gen_ai.system",
        operation,
        text(said, "gen_ai.system", "llm.vendor"),
        text(said, "gen_ai.request.model", "llm.request.model", "gen_ai.response.model", "llm.response.model"),
        text(said, "gen_ai.response.model", "llm.response.model"),
        count(said, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
        count(said, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"),
        count(said, "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_read.input_tokens"),
        [_message(m) for m in numbered] or events,
        "\n".join(text(m, "content") for m in answered) or "\n".join(choices),
        _finish(said) or next((text(m, "finish_reason") for m in answered), "") or finish,
    )


def _openinference(span: Span) -> Told | None:
    """Read OpenInference: messages in numbered attributes, or input and output as a whole."""
    said = span.attributes
    operation = OPENINFERENCE.get(text(said, "openinference.span.kind").upper())
    if operation is None:
        return None
    asked = [_inferred(m) for m in _numbered(said, "llm.input_messages.")]
    answer = [_inferred(m)["content"] for m in _numbered(said, "llm.output_messages.")]
    whole = text(said, "input.value")
    return Told(
        "openinference",
        operation,
        text(said, "llm.provider", "llm.system"),
        text(said, "llm.model_name", "embedding.model_name"),
        "",
        count(said, "llm.token_count.prompt"),
        count(said, "llm.token_count.completion"),
        count(said, "llm.token_count.prompt_details.cache_read"),
        asked or ([{"role": "user", "content": whole}] if whole else []),
        "\n".join(answer) or text(said, "output.value"),
        text(said, "llm.finish_reason"),
    )


Knows = Callable[["Attributes"], bool]
Reads = Callable[["Span"], "Told | None"]
DIALECTS: tuple[tuple[Knows, Reads], ...] = (  # the first that knows a span reads it
    (lambda said: "openinference.span.kind" in said, _openinference),
    (lambda said: "gen_ai.provider.name" in said and "llm.request.type" not in said, _current),
    (lambda said: any(k in said for k in ("gen_ai.system", "llm.request.type", "llm.vendor")), _older),
    (lambda said: "gen_ai.operation.name" in said, _current),
)


def told(span: Span) -> Told | None:
    """Read a span; None if it is not a call of a model in a dialect that is known."""
    read = next((read for knows, read in DIALECTS if knows(span.attributes)), None)
    return read(span) if read is not None else None


def text(said: Mapping[str, Any], *names: str) -> str:
    """Return the first text that is not empty among the attributes."""
    return next((said[name] for name in names if isinstance(said.get(name), str) and said[name]), "")


def count(said: Mapping[str, Any], *names: str) -> int:
    """Return the first whole number among the attributes; what is none, or that nobody uses, counts as none."""
    for name in names:
        value = said.get(name)
        if isinstance(value, float) and value.is_integer():  # some write every number as a double
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST:
            return value
    return 0


def _finish(said: Mapping[str, Any]) -> str:
    reasons = _list(_json(said.get("gen_ai.response.finish_reasons")))
    return next((r for r in reasons if isinstance(r, str)), "")


def _json(value: object) -> Any:  # noqa: ANN401  whatever the JSON holds
    """Return what a structured attribute holds, whether it came as a structure or as JSON in a text."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return value


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _messages(value: object) -> list[Message]:
    if isinstance(value, str):
        return [{"role": "user", "content": value}] if value else []
    return [_message(m) for m in _list(value) if isinstance(m, dict)]


def _message(message: Mapping[str, Any]) -> Message:
    parts = message.get("parts", message.get("content"))
    return {"role": text(message, "role") or "user", "content": "\n".join(_parts(_json(parts) or parts))}


def _parts(value: object) -> list[str]:
    """Return the texts of a message: of its parts, of the arguments and results of its tool calls."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = [value]
    texts = []
    for part in _list(value):
        held = part
        if isinstance(part, dict):
            names = ("content", "text", "arguments", "response", "result")
            held = next((part[name] for name in names if part.get(name) is not None), None)
        if isinstance(held, str):
            texts.append(held)
        elif held is not None:
            texts.append(json.dumps(held, ensure_ascii=False))
    return texts


def _numbered(said: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """Gather `prefix.N.rest = value` into one object for each N, in their order."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in said.items():
        if name.startswith(prefix):
            number, _, rest = name[len(prefix) :].partition(".")
            if number.isascii() and number.isdigit() and len(number) < 6:  # noqa: PLR2004  more is no list
                found.setdefault(int(number), {})[rest] = value
    return [found[number] for number in sorted(found)]


def _inferred(message: Mapping[str, Any]) -> Message:
    contents = _numbered(message, "message.contents.")
    calls = _numbered(message, "message.tool_calls.")
    texts = [text(message, "message.content"), *(text(c, "message_content.text") for c in contents)]
    texts += [text(c, "tool_call.function.arguments") for c in calls]
    return {"role": text(message, "message.role") or "user", "content": "\n".join(filter(None, texts))}


def _events(span: Span) -> tuple[list[Message], list[str], str]:
    """Read messages in span events: of 1.27 (content.prompt) and of 1.28 to 1.36 (one event for each message)."""
    asked: list[Message] = []
    answered: list[str] = []
    finish = ""
    for event in span.events:
        said, kind = event.attributes, event.name
        if kind == "gen_ai.content.prompt":
            asked += _messages(_json(said.get("gen_ai.prompt")))
        elif kind == "gen_ai.content.completion":
            answered += [m["content"] for m in _messages(_json(said.get("gen_ai.completion")))]
        elif kind == "gen_ai.choice":
            message = _json(said.get("message"))
            held = message if isinstance(message, dict) else said
            answered.append(_message(held)["content"])
            finish = finish or text(said, "finish_reason")
        elif kind.startswith("gen_ai.") and kind.endswith(".message"):
            role = kind.removeprefix("gen_ai.").removesuffix(".message")
            asked.append(_message({"role": role, "content": said.get("content")}))
    return asked, answered, finish
