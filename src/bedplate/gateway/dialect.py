"""A dialect: one protocol that clients and upstreams speak, and the little of it that the gateway has to know.

What a dialect does not name passes through as it came: unknown fields, new kinds of parts, new events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

Body = dict[str, Any]
MOST = 1 << 30  # tokens: no call has as many, and clients and upstreams may say any number


class Usage(NamedTuple):
    """Tokens as the upstream counted them; `cached_in` of `tokens_in` came from its cache."""

    tokens_in: int
    tokens_out: int
    cached_in: int = 0


class Delta(NamedTuple):
    """A piece of streamed text: `holder[key]`, the next piece of `channel`. `machine`: arguments for a tool."""

    channel: str
    holder: Body
    key: str
    machine: bool = False


class Piece(NamedTuple):
    """The one text of the most common event. `others` are all other texts in it, `model` among them or ""."""

    channel: str
    text: str
    others: Sequence[str]
    model: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What frames a text that we say ourselves: the model's name, the time in seconds, and the call's id."""

    text: str
    model: str
    created: int
    id: str


class Dialect(Protocol):
    """One protocol. `path` is appended to an upstream's base URL; `name` is what records call it."""

    name: str
    path: str
    streams: bool

    def check(self, body: Body) -> None:
        """Raise `InvalidInput` if the gateway could not judge this request."""
        ...

    def messages(self, body: Body) -> list[Body]:
        """Return what was said so far, as a list of {role, content}, for people to read."""
        ...

    def question(self, body: Body) -> str:
        """Return the last thing the user said."""
        ...

    def most_out(self, body: Body) -> int:
        """Return how many tokens of answer the client allows; 0 where it does not say."""
        ...

    def composed(self, body: Body, system: str) -> Body:
        """Return the request with the released prompt in it, after whatever the client says to the model as such."""
        ...

    def prompted(self, body: Body, messages: list[dict[str, str]]) -> None:
        """Put the messages of a released prompt before what the client says itself, which may be nothing."""
        ...

    def answer(self, body: Body) -> str:
        """Return the text of a whole answer; `ValueError` if it is none."""
        ...

    def usage(self, body: Body) -> Usage | None:
        """Return what a whole answer, or an event of a stream, says it cost."""
        ...

    def prefix(self, body: Body, text: str) -> None:
        """Put text before a whole answer."""
        ...

    def whole(self, said: Said) -> Body:
        """Return a whole answer that says this."""
        ...

    def stream(self, said: Said) -> list[bytes]:
        """Return the events of a stream that says this, the last one included."""
        ...

    def deltas(self, event: Body) -> list[Delta]:
        """Return the pieces of text in an event."""
        ...

    def piece(self, data: bytes) -> Piece | None:
        """Read an event that holds one piece of text, as nearly all do, at a third of the price; None for any other.

        Nothing else of such an event may mean anything: not `usage`, not `ends`, not `mark`.
        """
        ...

    def again(self, event: Body) -> list[Delta]:
        """Return the texts in an event that say the whole of what came before in pieces, each with its channel."""
        ...

    def stopping(self, said: Said, begun: Sequence[str]) -> list[bytes]:
        """Return the events that say this and end a stream that has begun (on these channels, with these marks)."""
        ...

    def mark(self, event: Body) -> str:
        """Return what `stopping` has to know of an event that has left, beside its texts; "" for nothing."""
        ...

    def ends(self, event: Body) -> bool:
        """Tell whether an event says that the answer is whole: it and what follows waits for the record."""
        ...

    def over(self, event: Body) -> bool:
        """Tell whether an event is the last one; where that is `[DONE]`, none is."""
        ...

    def error(self, status: int, message: str, code: str, reasons: Sequence[tuple[str, str, str]], call: str) -> Body:
        """Return an error as clients of this protocol read it; reasons and their fixes are added beside it."""
        ...

    def error_event(self, body: Body) -> bytes:
        """Return an error in the middle of a stream."""
        ...


_encode = msgspec.json.Encoder().encode


def json_bytes(value: object) -> bytes:
    """Write compact JSON."""
    return _encode(value)


def event_bytes(body: Body, name: str = "") -> bytes:
    """Write one server-sent event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + _encode(body) + b"\n\n"


def whole_number(value: object) -> int:
    """Return a count, at most `MOST`, and 0 for what is none."""
    return min(value, MOST) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def told(reasons: Sequence[tuple[str, str, str]], call: str) -> Body:
    """Return what we add to every error: the reasons with their fixes, and the call's id."""
    more: Body = {}
    if reasons:
        more["reasons"] = [{"control": c, "reason": r, "fix": f} for c, r, f in reasons]
    if call:
        more["call_id"] = call
    return more


def text_of(content: object) -> str:
    """Return the text of a message's content, whether it is text or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (p.get("text", "") for p in content if isinstance(p, dict))
        return "\n".join(p for p in parts if isinstance(p, str))
    return ""
