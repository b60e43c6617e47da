"""What was said in a call, in pieces that can be shown: words, what was redacted, citations, tools, pictures."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Look = Literal["plain", "redacted", "cited"]
REDACTED = r"\[redacted: [^\[\]\n]{1,200}\]"  # what a guardrail puts in the place of a finding
CITED = r"\[\d{1,3}\]"
PIECES = re.compile(f"({REDACTED})|({CITED})")
MAX_SHOWN = 200_000  # characters of one text
PICTURES = frozenset({"image", "image_url", "input_image", "input_audio", "audio", "file", "input_file", "document"})
TEXTS = frozenset({"text", "input_text", "output_text", "refusal"})
CALLS = frozenset({"tool_use", "function_call", "server_tool_use", "custom_tool_call", "mcp_call"})
RESULTS = frozenset({"tool_result", "function_call_output", "custom_tool_call_output"})


class Piece(NamedTuple):
    """A stretch of text; of a citation `number` is the passage's, from 1, where there is such a passage."""

    text: str
    look: Look = "plain"
    number: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One part of what somebody said. `kind` is text, tool, result, attached or other; `name` a tool's name."""

    kind: Literal["text", "tool", "result", "attached", "other"]
    pieces: tuple[Piece, ...]
    name: str = ""
    cut: int = 0  # characters that are not shown

    @property
    def text(self) -> str:
        """The part's text, as far as it is shown."""
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one role said."""

    role: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All that was said, as one text."""
        return "\n".join(f"{p.name}: {p.text}" if p.kind == "tool" else p.text for p in self.parts)


def conversation(content: Mapping[str, Any], passages: Collection[object] = ()) -> list[Turn]:
    """Read what is kept of a call: {messages, answer, held}. What has a shape we do not know is shown as JSON."""
    messages = content.get("messages")
    turns = [_turn(m) for m in messages] if isinstance(messages, list) else []
    answer = content.get("answer")
    if isinstance(answer, str):
        turns.append(Turn("answer", (_part("text", answer, cites=len(passages)),)))
    held = content.get("held")
    if isinstance(held, dict) and isinstance(held.get("answer"), str):
        turns.append(Turn("held for people", (_part("text", held["answer"], cites=len(passages)),)))
    return turns


def pieces(text: str, cites: int = 0) -> Iterator[Piece]:
    """Cut a text into pieces; numbers in brackets are citations up to as many passages as there were."""
    place = 0
    for found in PIECES.finditer(text):
        number = int(found[2][1:-1]) if found[2] else 0
        if found[2] and not 0 < number <= cites:
            continue
        if found.start() > place:
            yield Piece(text[place : found.start()])
        yield Piece(found[0], "cited", number) if found[2] else Piece(found[0], "redacted")
        place = found.end()
    if place < len(text):
        yield Piece(text[place:])


def _turn(message: object) -> Turn:
    if not isinstance(message, dict):
        return Turn("?", (_part("other", _json(message)),))
    parts = list(_parts(message.get("content")))
    for call in message.get("tool_calls") or ():
        told = call.get("function", call) if isinstance(call, dict) else {"arguments": call}
        told = told if isinstance(told, dict) else {"arguments": told}
        parts.append(_part("tool", _words(told.get("arguments")), str(told.get("name", "tool"))))
    return Turn(str(message.get("role", "?")), tuple(parts) or (_part("text", ""),))


def _parts(content: object) -> Iterator[Part]:
    for part in content if isinstance(content, list) else [content]:
        if part is None:
            continue
        kind = part.get("type") if isinstance(part, dict) else ""
        if not isinstance(part, dict):
            yield _part("text", part) if isinstance(part, str) else _part("other", _json(part))
        elif kind in TEXTS and isinstance(part.get("text", part.get("refusal")), str):
            yield _part("text", str(part.get("text", part.get("refusal"))))
        elif kind in CALLS:
            yield _part("tool", _words(part.get("input", part.get("arguments"))), str(part.get("name", "tool")))
        elif kind in RESULTS:
            yield _part("result", _words(part.get("content", part.get("output"))), "result")
        elif kind in PICTURES:
            size = len(_json(part))
            yield Part("attached", (Piece(f"{kind}, {size:,} characters as it was sent"),), str(kind))
        else:
            yield _part("other", _json(part))


def _words(value: object) -> str:
    if isinstance(value, str):
        return value
    texts = [part.text for part in _parts(value)] if isinstance(value, list) else [_json(value)]
    return "\n".join(texts)


def _part(kind: Literal["text", "tool", "result", "other"], text: str, name: str = "", *, cites: int = 0) -> Part:
    return Part(kind, tuple(pieces(text[:MAX_SHOWN], cites)), name, max(0, len(text) - MAX_SHOWN))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
