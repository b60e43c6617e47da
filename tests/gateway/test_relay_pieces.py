"""The quick way through a stream: it must come to what reading each event as a whole comes to, whatever is in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bedplate.gateway.call import Trace, entry
from bedplate.gateway.dialect import json_bytes
from bedplate.gateway.dialects import CHAT, DIALECTS, MESSAGES
from bedplate.gateway.guardrail import Guard
from bedplate.gateway.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.gateway.dialect import Dialect

CARD, MAIL, SECRET = "4111 1111 1111 1111", "jo@harbour.example", "sk-proj4f8Jd02mXq7PzLw91Tnb"
GUARDS = [
    Guard({}),
    Guard({"personal-data": "observe", "secrets": "observe"}),
    Guard({"personal-data": "redact", "secrets": "redact"}),
    Guard({"personal-data": "redact", "secrets": "block"}),
    Guard({"personal-data": "ask"}),
]
TEXT = st.one_of(
    st.sampled_from(["The ", " ", CARD, "4111 1111 ", "1111 1111", MAIL, "jo@harbour", SECRET, ""]), st.text(max_size=6)
)
NAME = st.sampled_from(["m", "gpt-4o-mini", MAIL, "", "text_delta"])


@st.composite
def chat_event(draw: st.DrawFn) -> bytes:
    """A chunk: nearly always the usual one, now and then with one more field, or with another value in one."""
    choice: dict[str, Any] = {"index": draw(st.integers(0, 1)), "delta": {"content": draw(TEXT)}}
    body: dict[str, Any] = {"id": draw(NAME), "object": "chat.completion.chunk", "created": 1, "model": draw(NAME)}
    odd = draw(
        st.sampled_from(["", "", "", "", "role", "tool", "usage", "logprobs", "two", "none", "fingerprint", "pad"])
    )
    if odd == "role":
        choice["delta"]["role"] = "assistant"
    elif odd == "tool":
        choice["delta"]["tool_calls"] = [{"index": 0, "function": {"arguments": draw(TEXT)}}]
    elif odd == "logprobs":
        choice["logprobs"] = {"content": [{"token": draw(TEXT)}]}
    elif odd == "usage":
        body["usage"] = {"prompt_tokens": 3, "completion_tokens": 4}
    body["choices"] = [] if odd == "none" else [choice, {**choice, "index": 2}] if odd == "two" else [choice]
    if odd == "fingerprint":
        body["system_fingerprint"] = draw(NAME)
    elif odd == "pad":
        body["obfuscation"] = draw(TEXT)
    return b"data: " + json.dumps(body).encode() + draw(st.sampled_from([b"\n\n", b"\n\n", b"\r\n\r\n"]))


@st.composite
def messages_event(draw: st.DrawFn) -> bytes:
    """A delta of a block: nearly always of a text."""
    delta: dict[str, Any] = {"type": "text_delta", "text": draw(TEXT)}
    if draw(st.integers(0, 4)) == 0:
        delta = draw(st.sampled_from([{"type": "thinking_delta", "thinking": MAIL}, {**delta, "more": MAIL}]))
    body = {"type": "content_block_delta", "index": draw(st.integers(0, 1)), "delta": delta}
    return b"event: content_block_delta\ndata: " + json.dumps(body).encode() + b"\n\n"


def streams() -> st.SearchStrategy[tuple[Dialect, list[bytes]]]:
    """A protocol and its events."""
    chat = st.lists(chat_event(), max_size=8).map(lambda events: (CHAT, [*events, b"data: [DONE]\n\n"]))
    end = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    return st.one_of(chat, st.lists(messages_event(), max_size=8).map(lambda events: (MESSAGES, [*events, end])))


def outcome(dialect: Dialect, guard: Guard, chunks: Sequence[bytes]) -> tuple[object, ...]:
    """Return all that may be seen of a stream that went through."""
    relay = Relay(dialect, guard)
    out = b"".join([relay.feed(chunk) for chunk in chunks])
    assert relay.failed is None
    out += relay.finish()
    return out, relay.said, relay.answer, relay.usage, relay.answered_by, sorted(set(relay.withheld))


@given(streams(), st.sampled_from(GUARDS), st.booleans())
@example(
    (
        CHAT,
        [
            b'data: {"choices": [{"index": 0, "delta": {"content": "' + MAIL.encode() + b' "}}]}\n\n',
            b"data: [DONE]\n\n",
        ],
    ),
    GUARDS[2],
    True,  # noqa: FBT003  as below
)
def test_reading_an_event_quickly_changes_nothing(
    stream: tuple[Dialect, list[bytes]],
    guard: Guard,
    together: bool,  # noqa: FBT001  drawn
) -> None:
    dialect, events = stream
    chunks = [b"".join(events)] if together else events

    class Thorough(type(dialect)):  # type: ignore[misc]  # whichever it is
        def piece(self, _data: bytes) -> None:
            """Leave every event to be read as a whole."""

    assert outcome(dialect, guard, chunks) == outcome(Thorough(), guard, chunks)


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES])
def test_the_usual_event_is_read_quickly(dialect: Dialect) -> None:
    usual = {
        "chat": b'{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"fp",'
        b'"choices":[{"index":3,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}],"usage":null}',
        "messages": b'{"type":"content_block_delta","index":3,"delta":{"type":"text_delta","text":"Hi"}}',
    }
    piece = dialect.piece(usual[dialect.name])
    assert piece is not None
    [delta] = dialect.deltas(json.loads(usual[dialect.name]))
    assert (piece.channel, piece.text) == (delta.channel, "Hi")


@pytest.mark.parametrize("dialect", DIALECTS.values())
@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"\xff", b"[" * 5000, b'{"choices": 1}', b'{"error": {"message": "no"}}']
)
def test_what_is_no_piece_is_none(dialect: Dialect, data: bytes) -> None:
    assert dialect.piece(data) is None


def test_what_was_clear_in_one_event_is_looked_at_again_where_it_is_another() -> None:
    relay = Relay(CHAT, Guard({"personal-data": "redact"}))
    out = b""
    for name in ("m", "m", MAIL, "m"):
        event = {"id": name, "model": "m", "choices": [{"index": 0, "delta": {"content": "so "}}]}
        out += relay.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert MAIL.encode() not in out
    assert out.count(b'"m"') >= 3


def test_a_record_is_written_in_the_order_of_its_names() -> None:
    sealed = {"commitment": "a", "ct": "b", "kid": "c"}
    written = entry(Trace("id", "usecase/x", "key/x", "live", 0, "0" * 64), "call.completed", 1, dict(sealed))
    assert written == json_bytes(dict(sorted(json.loads(written).items())))
