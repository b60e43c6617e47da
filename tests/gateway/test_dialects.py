"""What the protocols say and how it is cut: a stream through the relay, from any bytes in any pieces."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedplate.errors import InvalidInput
from bedplate.gateway import relay as module
from bedplate.gateway.dialect import Said, Usage, event_bytes
from bedplate.gateway.dialects import CHAT, DIALECTS, EMBEDDINGS, MESSAGES, RESPONSES, SERVED
from bedplate.gateway.events import MAX_EVENT, Events, EventTooLarge
from bedplate.gateway.guardrail import Guard
from bedplate.gateway.relay import Relay
from bedplate.gateway.texts import slots
from bedplate.gateway.upstream import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.gateway.dialect import Dialect

OPEN, WATCH = Guard({}), Guard({"personal-data": "observe", "secrets": "observe"})
REDACT = Guard({"personal-data": "redact", "secrets": "redact"})
BLOCK = Guard({"personal-data": "observe", "secrets": "block"})
CARD, MAIL = "4111 1111 1111 1111", "jo@harbour.example"
SECRET = "sk-proj4f8Jd02mXq7PzLw91Tnb"
STREAMED: list[Dialect] = [CHAT, RESPONSES, MESSAGES]
DONE = b"data: [DONE]\n\n"
SAID = Said("said", "m", 7, "id")

# What a model says: words, things that are found, what looks like them, and letters of more than one byte.
SPOKEN = st.lists(
    st.one_of(
        st.sampled_from(
            ["The ", "card ", "is ", CARD, MAIL, "4111", "\n", " ", "jo@", ".", SECRET, "ü", "🙂", "漢字 "]
        ),
        st.text(max_size=8),
    ),
    max_size=12,
).map("".join)


def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Cut a text anywhere, into pieces that may be empty."""
    at = draw(st.lists(st.integers(0, len(text)), max_size=8))
    return [text[a:b] for a, b in pairwise([0, *sorted(at), len(text)])]


@dataclass(frozen=True)
class Stream:
    """A stream as an upstream sends it, and what it says by channel: (kind, index) → text."""

    dialect: Dialect
    events: list[bytes]
    says: dict[tuple[str, int], str]

    @property
    def raw(self) -> bytes:
        return b"".join(self.events)


def chat(pieces: Sequence[tuple[str, int, str]], **more: Any) -> list[bytes]:
    frame = {"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", **more}
    made = [{**frame, "choices": [{"index": i, "delta": {kind: text}}]} for kind, i, text in pieces]
    made.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    made.append({**frame, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 3}})
    return [*map(event_bytes, made), DONE]


KINDS = {"thinking": "thinking_delta", "text": "text_delta", "partial_json": "input_json_delta"}


def messages(pieces: Sequence[tuple[str, int, str]]) -> list[bytes]:
    """Write blocks one after the other, as Anthropic does: a block's pieces are put together."""
    begun = {"type": "message", "id": "m", "usage": {"input_tokens": 9, "output_tokens": 1}, "content": []}
    made: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for kind, index in dict.fromkeys((kind, index) for kind, index, _ in pieces):
        block = (
            {"type": "tool_use", "id": "t", "name": "n", "input": {}}
            if kind == "partial_json"
            else {"type": kind, kind: ""}
        )
        made.append({"type": "content_block_start", "index": index, "content_block": block})
        made += [
            {"type": "content_block_delta", "index": index, "delta": {"type": KINDS[kind], kind: text}}
            for k, i, text in pieces
            if (k, i) == (kind, index)
        ]
        made.append({"type": "content_block_stop", "index": index})
    made.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}})
    made.append({"type": "message_stop"})
    return [event_bytes(event, event["type"]) for event in made]


def responses(pieces: Sequence[tuple[str, int, str]]) -> list[bytes]:
    """Write each text in pieces, then again as a whole text, part, item and response."""
    made: list[dict[str, Any]] = [{"type": "response.created", "response": {"id": "r", "output": []}}]
    output: list[dict[str, Any]] = []
    for kind, index in dict.fromkeys((kind, index) for kind, index, _ in pieces):
        where = {"item_id": f"i{index}", "output_index": index}
        texts = [text for k, i, text in pieces if (k, i) == (kind, index)]
        whole = "".join(texts)
        if kind == "function_call_arguments":
            item: dict[str, Any] = {"type": "function_call", "id": f"i{index}", "name": "n", "arguments": whole}
            again: list[dict[str, Any]] = [{"type": f"response.{kind}.done", **where, "arguments": whole}]
            at = {}
        else:
            part = {"type": "output_text", "text": whole, "annotations": [], "logprobs": [{"token": whole[:2]}]}
            item = {"type": "message", "id": f"i{index}", "content": [part]}
            at = {"content_index": 0}
            again = [
                {"type": "response.output_text.done", **where, **at, "text": whole},
                {"type": "response.content_part.done", **where, **at, "part": part},
            ]
        made += [{"type": f"response.{kind}.delta", **where, **at, "delta": text, "logprobs": []} for text in texts]
        made += [*again, {"type": "response.output_item.done", "output_index": index, "item": item}]
        output.append(item)
    usage = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3}
    made.append({"type": "response.completed", "response": {"id": "r", "output": output, "usage": usage}})
    return [event_bytes({**event, "sequence_number": n}, event["type"]) for n, event in enumerate(made)]


CHANNELS: dict[str, tuple[Any, list[tuple[str, int]]]] = {
    "chat": (chat, [("content", 0), ("content", 1), ("reasoning_content", 0), ("refusal", 0)]),
    "messages": (messages, [("thinking", 0), ("text", 1), ("text", 2)]),
    "responses": (responses, [("output_text", 0), ("output_text", 1)]),
}
TOOLS = {"messages": ("partial_json", 3), "responses": ("function_call_arguments", 3)}


@st.composite
def streams(draw: st.DrawFn, *, tools: bool = False) -> Stream:
    """Draw a protocol, what is said in each of its channels, and how it is cut into events."""
    dialect: Dialect = draw(st.sampled_from(STREAMED))
    write, channels = CHANNELS[dialect.name]
    if tools and dialect.name in TOOLS:
        channels = [*channels, TOOLS[dialect.name]]
    says = {channel: draw(SPOKEN) for channel in channels}
    pieces = [(*channel, piece) for channel, text in says.items() for piece in cut(draw, text)]
    if dialect is CHAT:
        order = {channel: iter([p for p in pieces if p[:2] == channel]) for channel in says}
        pieces = [next(order[p[:2]]) for p in draw(st.permutations(pieces))]  # choices take turns, each in its order
    return Stream(dialect, write(pieces), says)


def chunks_of(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """Cut bytes anywhere, in the middle of a letter as well."""
    at = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    return [raw[a:b] for a, b in pairwise([0, *at, len(raw)])]


def through(relay: Relay, pieces: Sequence[bytes]) -> bytes:
    """Feed it all; return what left. Nothing may leave late that was decided, so what is fed is fed at once."""
    out = b"".join([relay.feed(piece) for piece in pieces])
    if relay.failed is not None:
        raise relay.failed
    return out + relay.finish()


def events_of(raw: bytes) -> list[dict[str, Any]]:
    """Read a stream as a client of it does."""
    datas = [line[6:] for line in raw.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(data) for data in datas if data != b"[DONE]"]


def said_in(dialect: Dialect, events: Sequence[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """Put together what a client puts together of the pieces."""
    said: dict[tuple[str, int], str] = {}

    def add(kind: str, index: int, text: str) -> None:
        said[kind, index] = said.get((kind, index), "") + text

    for event in events:
        if dialect is CHAT:
            for choice in event["choices"]:
                for kind, text in choice["delta"].items():
                    add(kind, choice["index"], text)
        elif dialect is MESSAGES and event["type"] == "content_block_delta":
            [(kind, text)] = [(k, v) for k, v in event["delta"].items() if k != "type"]
            add(kind, event["index"], text)
        elif dialect is RESPONSES and event["type"].endswith(".delta"):
            add(event["type"].split(".")[1], event["output_index"], event["delta"])
    return said


def shape(event: Any) -> Any:
    """Return an event without its texts: what a redaction must leave alone."""
    if isinstance(event, dict):
        texts = {"text", "delta", "content", "reasoning_content", "refusal", "thinking", "token", "logprobs"}
        return {
            k: None if k in texts and not isinstance(v, dict | list) else shape(v)
            for k, v in event.items()
            if k != "logprobs"
        }
    return [shape(part) for part in event] if isinstance(event, list) else event


@given(st.data())
def test_without_a_guardrail_what_comes_out_is_what_went_in(data: st.DataObject) -> None:
    stream = data.draw(streams(tools=True))
    pieces = data.draw(st.composite(lambda draw: chunks_of(draw, stream.raw))())

    for guard in (OPEN, WATCH):
        relay = Relay(stream.dialect, guard)
        assert through(relay, pieces) == stream.raw
        assert relay.withheld == []


@given(st.data())
def test_what_is_not_found_passes_untouched_through_a_guardrail_that_changes(data: st.DataObject) -> None:
    stream = data.draw(streams(tools=True).filter(lambda s: all(REDACT.clear([t]) for t in s.says.values())))
    pieces = data.draw(st.composite(lambda draw: chunks_of(draw, stream.raw))())

    assert through(Relay(stream.dialect, REDACT), pieces) == stream.raw


@settings(deadline=None)
@given(st.data())
def test_a_stream_says_what_the_whole_text_redacted_says_and_in_the_same_order(data: st.DataObject) -> None:
    stream = data.draw(streams())
    pieces = data.draw(st.composite(lambda draw: chunks_of(draw, stream.raw))())
    relay = Relay(stream.dialect, REDACT)

    got = events_of(through(relay, pieces))

    wanted = {channel: REDACT.apply(text).text for channel, text in stream.says.items()}
    assert said_in(stream.dialect, got) == {c: wanted[c] for c in said_in(stream.dialect, events_of(stream.raw))}
    assert [shape(event) for event in got] == [shape(event) for event in events_of(stream.raw)]
    if stream.dialect is RESPONSES:  # what is said again is the same
        for event in got:
            for delta in RESPONSES.again(event):
                kind, index = delta.channel.split("/")[:2]
                assert delta.holder[delta.key] == wanted[kind, int(index)]
    found = [f.label for text in stream.says.values() for f in REDACT.apply(text).findings]
    assert sorted(relay.findings) == sorted(found)  # each once, however often it is said


def test_what_is_found_in_a_text_that_is_said_again_is_found_once() -> None:
    relay = Relay(RESPONSES, REDACT)

    out = through(relay, responses([("output_text", 0, f"My card is {CARD[:6]}"), ("output_text", 0, f"{CARD[6:]}.")]))

    assert out.count(b"[redacted: payment card]") == 5
    assert relay.findings == ["payment card"]


@settings(deadline=None)
@given(st.data())
def test_nothing_of_a_secret_leaves_a_stream_that_is_stopped(data: st.DataObject) -> None:
    stream = data.draw(streams(tools=True).filter(lambda s: any(BLOCK.apply(t).blocked for t in s.says.values())))
    pieces = data.draw(st.composite(lambda draw: chunks_of(draw, stream.raw))())
    relay = Relay(stream.dialect, BLOCK)

    out = through(relay, pieces)

    assert relay.withheld
    for channel, text in said_in(stream.dialect, events_of(out)).items():
        whole = stream.says[channel]
        assert whole.startswith(text)
        first = min((f.start for f in BLOCK.apply(whole).findings if f.kind == "secrets"), default=len(whole))
        assert len(text) <= first


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("guard", [OPEN, REDACT])
@pytest.mark.parametrize("dialect", STREAMED, ids=lambda d: d.name)
def test_a_stream_may_be_cut_at_any_byte(dialect: Dialect, guard: Guard, end: bytes) -> None:
    kind, index = CHANNELS[dialect.name][1][-1]
    pieces = [(kind, index, text) for text in ("Schön: ", CARD[:7], CARD[7:], " 漢")]
    raw = CHANNELS[dialect.name][0](pieces)
    stream = b": hello\n\n".replace(b"\n", end) + b"".join(raw).replace(b"\n", end)
    whole = through(Relay(dialect, guard), [stream])

    for at in range(len(stream) + 1):
        assert through(Relay(dialect, guard), [stream[:at], stream[at:]]) == whole
    assert through(Relay(dialect, guard), [stream[at : at + 1] for at in range(len(stream))]) == whole
    assert (whole == stream) == (guard is OPEN)
    assert (b"1111 1111" in whole) == (guard is OPEN)


ENDS = ["\n", "\r\n", "\r"]


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.sampled_from([": c", "event: e", "id: 1", "data: a", "data:b", "data", "data:", "retry: 1", "x"]),
                max_size=4,
            ),
            st.sampled_from(ENDS),
        ),
        max_size=6,
    ),
    st.data(),
)
@example([(["data: a", "data: b"], "\r\n"), (["data:c"], "\n"), ([": d\rdata: e"], "\n")], None)
def test_events_are_cut_as_the_standard_says_and_none_of_their_bytes_is_lost(
    spec: list[tuple[list[str], str]], data: st.DataObject | None
) -> None:
    raw = "".join("".join(line + end for line in [*lines, ""]) for lines, end in spec).encode()
    pieces = data.draw(st.composite(lambda draw: chunks_of(draw, raw))()) if data is not None else [raw]
    events = Events()

    got = [event for piece in pieces for event in events.feed(piece)]

    assert b"".join([raw for raw, _ in got]) + events.rest == raw
    wanted = parsed(raw.decode())
    assert [d.decode() for _, d in got if d] == wanted[: len([d for _, d in got if d])]
    if not raw.endswith(b"\r"):  # which may yet be half of a CRLF
        assert [d.decode() for _, d in got if d] == wanted


def parsed(text: str) -> list[str]:
    """Read events as WHATWG HTML 9.2.6 says, those without data left out."""
    lines = re.split(r"\r\n|\n|\r", text)[:-1]
    made: list[str] = []
    data: list[str] = []
    for line in lines:
        if not line:
            if "\n".join(data):
                made.append("\n".join(data))
            data = []
        elif line.partition(":")[0] == "data":
            data.append(line[5:].removeprefix(" "))
    return made


@pytest.mark.parametrize(
    "hidden",
    [
        b": hello\rdata: %b\n\n",
        b"event: x\rdata: %b\r\r",
        b": hello\r\ndata: %b\r\n\r\n",
        b"\xef\xbb\xbfdata: %b\n\n",
        b"id: 1\ndata:%b\nretry: 3\n\n",
        b"\ndata: %b\n\n",
    ],
)
def test_what_a_client_would_read_as_an_event_is_read_as_one(hidden: bytes) -> None:
    event = chat([("content", 0, f"my card is {CARD}. ")])[0][6:-2]
    stream = hidden % event + b"".join(chat([]))

    out = through(Relay(CHAT, REDACT), [stream])

    assert CARD.encode() not in out
    assert b"[redacted: payment card]" in out


def test_data_over_several_lines_is_one_text() -> None:
    event = json.dumps({"choices": [{"index": 0, "delta": {"content": f"a {CARD}"}}]}, indent=1).encode()
    stream = b"id: 7\n: note\nevent: x\n" + b"".join(b"data: " + line + b"\n" for line in event.split(b"\n")) + b"\n"

    assert through(Relay(CHAT, OPEN), [stream, DONE]) == stream + DONE
    changed = through(Relay(CHAT, REDACT), [stream, DONE]).split(b"\n")
    assert changed[:3] == [b"id: 7", b": note", b"event: x"]
    assert b"[redacted: payment card]" in changed[3]
    assert changed[4:] == [b"", *DONE.split(b"\n")]


def test_an_event_without_end_is_given_up() -> None:
    events = Events()
    for _ in range(MAX_EVENT // (1 << 20)):
        assert list(events.feed(b"x" * (1 << 20))) == []
    with pytest.raises(EventTooLarge):
        list(events.feed(b"x"))
    relay = Relay(CHAT, OPEN)
    for _ in range(MAX_EVENT // (1 << 20) + 1):
        relay.feed(b"x" * (1 << 20))
    assert relay.failed is not None


@pytest.mark.parametrize("guard", [REDACT, OPEN])
def test_what_has_to_wait_is_bounded(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 1 << 20)
    relay = Relay(CHAT, guard, whole=guard is OPEN)
    argument = {
        "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "x" * 9000}}]}}]
    }

    fed = 0
    while relay.failed is None and fed < 4 << 20:
        assert relay.feed(event_bytes(argument)) == b""
        fed += 9000

    assert fed < 2 << 20
    assert relay.failed is not None


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda d: d.name)
def test_a_stream_that_does_not_end_as_its_protocol_says_is_cut_off(dialect: Dialect) -> None:
    kind, index = CHANNELS[dialect.name][1][0]
    events = CHANNELS[dialect.name][0]([(kind, index, "one "), (kind, index, "two ")])

    for keep in range(len(events)):
        relay = Relay(dialect, OPEN)
        relay.feed(b"".join(events[:keep]))
        with pytest.raises(UpstreamFailed, match="middle"):
            relay.finish()
    assert through(Relay(dialect, OPEN), events) == b"".join(events)


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda d: d.name)
def test_what_says_that_the_answer_is_whole_waits_for_the_record(dialect: Dialect) -> None:
    kind, index = CHANNELS[dialect.name][1][0]
    events = CHANNELS[dialect.name][0]([(kind, index, "one "), (kind, index, "two ")])
    relay = Relay(dialect, OPEN)

    before, after = relay.feed(b"".join(events)), relay.finish()

    assert before + after == b"".join(events)
    assert b"two " in before
    for ending in (b'"finish_reason":"stop"', b"[DONE]", b"message_delta", b"message_stop", b"response.completed"):
        assert ending not in before
    assert relay.said == ("one two " if kind in {"content", "output_text"} else "")


UNKNOWN: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "index", "delta", "choices", "content", "text", "usage", "error", "message", "response"),
                    *("output", "item", "part", "tool_calls", "function", "arguments", "output_index", "content_block"),
                    *("partial_json", "summary", "logprobs", "finish_reason", "input_tokens", "prompt_tokens_details"),
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
TYPES = st.sampled_from(
    [
        *("message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop"),
        *("response.completed", "response.output_text.delta", "response.output_text.done", "response.new.delta"),
        *("response.output_item.done", "response.content_part.done", "something_new", "error"),
    ]
)


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["type", "x"]), TYPES, max_size=1).flatmap(
            lambda t: UNKNOWN.map(lambda u: {**(u if isinstance(u, dict) else {"u": u}), **t})
        ),
        max_size=6,
    ),
    st.sampled_from(STREAMED),
    st.booleans(),
)
def test_whatever_an_upstream_says_it_passes_or_is_told_to_have_failed(
    events: list[dict[str, Any]],
    dialect: Dialect,
    drafted: bool,  # noqa: FBT001  drawn
) -> None:
    ending = [] if dialect is not CHAT else [DONE]
    ending = ending or [event_bytes({"type": "message_stop" if dialect is MESSAGES else "response.completed"})]
    for guard in (OPEN, WATCH, REDACT):
        relay = Relay(dialect, guard, "Draft. " if drafted else "")
        raw = [*(event_bytes(event) for event in events), *ending]
        try:
            out = through(relay, raw)
        except UpstreamFailed:
            continue
        if guard is not REDACT and not drafted:
            assert out == b"".join(raw)
        dialect.stopping(SAID, relay.begun)


@settings(deadline=None)
@given(UNKNOWN, st.sampled_from(list(DIALECTS.values())))
def test_whatever_a_client_sends_is_taken_or_refused(body: Any, dialect: Dialect) -> None:
    asked = {"messages": [{"role": "user", "content": body}], "input": body, **(body if isinstance(body, dict) else {})}
    try:
        dialect.check(asked)
    except InvalidInput:
        return
    dialect.messages(asked)
    dialect.question(asked)
    assert dialect.most_out(asked) >= 0
    assert dialect.composed(asked, "") == asked
    composed = dialect.composed(asked, "The prompt.")
    assert {
        k: v for k, v in composed.items() if k not in {"messages", "system", "instructions"}
    }.items() <= asked.items()


def test_a_future_kind_of_piece_is_text_until_it_is_known() -> None:
    for events, dialect in (
        (chat([("musing", 0, "see 4111 1111"), ("musing", 0, " 1111 1111 there")]), CHAT),
        (
            [
                event_bytes(
                    {"type": "content_block_delta", "index": 0, "delta": {"type": "musing_delta", "musing": text}}
                )
                for text in ("see 4111 1111", " 1111 1111 there")
            ]
            + [event_bytes({"type": "message_stop"})],
            MESSAGES,
        ),
        (
            [
                event_bytes({"type": "response.musing.delta", "output_index": 0, "delta": text})
                for text in ("see 4111 1111", " 1111 1111 there")
            ]
            + [event_bytes({"type": "response.completed", "response": {}})],
            RESPONSES,
        ),
    ):
        out = through(Relay(dialect, REDACT), events)
        assert b"[redacted: payment card]" in out
        assert b"4111" not in out
        assert len(out.split(b"\n\n")) == len(events) + 1


DEEP_PIECES = {
    "a list of parts": lambda t: {"content": [{"type": "text", "text": t}]},
    "thinking in parts": lambda t: {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": t}]}]},
    "reasoning details": lambda t: {"reasoning_details": [{"type": "reasoning.text", "text": t, "index": 0}]},
    "a transcript": lambda t: {"audio": {"id": "a", "transcript": t}},
}


@pytest.mark.parametrize("deep", DEEP_PIECES.values(), ids=DEEP_PIECES)
def test_a_text_deep_in_a_chunk_is_guarded_across_chunks(deep: Any) -> None:
    chunks = [{"choices": [{"index": 0, "delta": deep(t)}]} for t in ("see 4111 1111", " 1111 1111 there")]

    out = through(Relay(CHAT, REDACT), [*map(event_bytes, chunks), DONE])

    assert b"see [redacted: payment card]" in out
    assert b"1111" not in out


CALLED = {
    "tool call": (CHAT, lambda t: {"tool_calls": [{"index": 0, "function": {"arguments": t}}]}),
    "custom tool": (CHAT, lambda t: {"tool_calls": [{"index": 0, "type": "custom", "custom": {"input": t}}]}),
    "function": (CHAT, lambda t: {"function_call": {"arguments": t}}),
    "input": (MESSAGES, lambda t: {"type": "input_json_delta", "partial_json": t}),
    "arguments": (RESPONSES, "function_call_arguments"),
    "mcp": (RESPONSES, "mcp_call_arguments"),
    "free input": (RESPONSES, "custom_tool_call_input"),
    "code": (RESPONSES, "code_interpreter_call_code"),
}


@pytest.mark.parametrize(("dialect", "deep"), CALLED.values(), ids=CALLED)
@pytest.mark.parametrize("guard", [REDACT, BLOCK])
def test_arguments_for_a_tool_go_as_they_are_or_not_at_all(dialect: Dialect, deep: Any, guard: Guard) -> None:
    def stream(*texts: str) -> list[bytes]:
        if dialect is CHAT:
            return [*(event_bytes({"choices": [{"index": 0, "delta": deep(t)}]}) for t in texts), DONE]
        if dialect is MESSAGES:
            made = [{"type": "content_block_delta", "index": 0, "delta": deep(t)} for t in texts]
            return [*map(event_bytes, made), event_bytes({"type": "message_stop"})]
        made = [{"type": f"response.{deep}.delta", "output_index": 0, "delta": t} for t in texts]
        return [*map(event_bytes, made), event_bytes({"type": "response.completed", "response": {}})]

    told = '{"key": "' + SECRET + '"}'
    for at in range(0, len(told), 5):
        relay = Relay(dialect, guard)
        assert through(relay, stream(told[:at], told[at:])) == b""
        assert relay.withheld == ["API key"]
    harmless = stream('{"days"', ": 26}")
    assert through(Relay(dialect, guard), harmless) == b"".join(harmless)


@pytest.mark.parametrize("number", [4111111111111111, [4111111111111111], {"deep": [4111111111111111]}])
def test_a_number_among_the_arguments_of_a_tool_is_read_as_well(number: Any) -> None:
    block = {"type": "tool_use", "id": "t", "name": "pay", "input": {"card": number, "days": 26}}

    [card] = [slot for slot in slots({"created": 1_750_000_000, "content": [block]}) if slot.text == "4111111111111111"]

    assert card.machine
    assert REDACT.apply(card.text).findings
    assert not [slot for slot in slots({"created": 1_750_000_000}) if slot.text]


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda d: d.name)
def test_what_spells_out_a_changed_text_goes_with_it(dialect: Dialect) -> None:
    spelled = [{"token": "4111", "bytes": [52, 49]}, {"token": " 1111 1111 1111"}]
    made: list[dict[str, Any]]
    if dialect is CHAT:
        made = [{"choices": [{"index": 0, "delta": {"content": CARD}, "logprobs": {"content": spelled}}]}]
    elif dialect is MESSAGES:
        made = [{"type": "content_block_delta", "index": 0, "delta": {"text": CARD, "x": {"logprobs": spelled}}}]
    else:
        part = {"type": "output_text", "text": CARD, "logprobs": spelled}
        made = [
            {
                "type": "response.output_text.delta",
                "output_index": 0,
                "content_index": 0,
                "delta": CARD,
                "logprobs": spelled,
            },
            {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": part},
        ]
    ending = {CHAT: DONE, MESSAGES: event_bytes({"type": "message_stop"})}.get(
        dialect, event_bytes({"type": "response.completed", "response": {"output": []}})
    )

    out = through(Relay(dialect, REDACT), [*map(event_bytes, made), ending])

    assert b"1111" not in out
    if dialect is RESPONSES:
        assert [e.get("logprobs", []) for e in events_of(out)[:2]] == [[], []]


# Drafts


DRAFT = "Draft.\n\n"


def test_a_draft_is_marked_before_the_answer_and_not_before_what_the_model_thinks() -> None:
    pieces = [("reasoning_content", 0, "hm"), ("content", 0, "one"), ("content", 1, "two"), ("content", 0, " more")]
    relay = Relay(CHAT, OPEN, DRAFT)
    said = said_in(CHAT, events_of(through(relay, chat(pieces))))
    assert said == {("reasoning_content", 0): "hm", ("content", 0): f"{DRAFT}one more", ("content", 1): f"{DRAFT}two"}
    assert (relay.said, relay.answer) == (f"{DRAFT}one more\n{DRAFT}two", "one more\ntwo")

    blocks = [("thinking", 0, "hm"), ("text", 1, "one"), ("text", 2, "two")]
    said = said_in(MESSAGES, events_of(through(Relay(MESSAGES, OPEN, DRAFT), messages(blocks))))
    assert said == {("thinking", 0): "hm", ("text", 1): f"{DRAFT}one", ("text", 2): "two"}


@pytest.mark.parametrize("guard", [OPEN, REDACT])
def test_a_draft_is_marked_wherever_the_text_is_said_again(guard: Guard) -> None:
    pieces = [("output_text", 0, "one "), ("output_text", 0, f"{MAIL} two."), ("output_text", 1, "three")]

    got = events_of(through(Relay(RESPONSES, guard, DRAFT), responses(pieces)))

    first = f"{DRAFT}one {MAIL if guard is OPEN else '[redacted: email address]'} two."
    assert said_in(RESPONSES, got) == {("output_text", 0): first, ("output_text", 1): "three"}
    again = [d for event in got for d in RESPONSES.again(event)]
    assert {d.holder[d.key] for d in again if d.channel.startswith("output_text/0")} == {first}
    assert {d.holder[d.key] for d in again if d.channel.startswith("output_text/1")} == {"three"}
    assert RESPONSES.answer(got[-1]["response"]) == f"{first}\nthree"


# What it costs


@pytest.mark.parametrize(
    ("dialect", "body", "usage"),
    [
        (
            CHAT,
            {"usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}},
            Usage(9, 3, 4),
        ),
        (CHAT, {"usage": {"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": None}}, Usage(9, 0)),
        (CHAT, {"usage": None}, None),
        (CHAT, {"usage": [1]}, None),
        (CHAT, {"usage": {"prompt_tokens": -1, "completion_tokens": True}}, Usage(0, 0)),
        (
            RESPONSES,
            {"usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3}},
            Usage(9, 3, 4),
        ),
        (RESPONSES, {"response": {"usage": {"input_tokens": 9, "output_tokens": 3}}}, Usage(9, 3)),
        (
            MESSAGES,
            {
                "usage": {
                    "input_tokens": 2,
                    "cache_creation_input_tokens": 3,
                    "cache_read_input_tokens": 4,
                    "output_tokens": 5,
                }
            },
            Usage(9, 5, 4),
        ),
        (MESSAGES, {"message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}, Usage(9, 1)),
        (EMBEDDINGS, {"usage": {"prompt_tokens": 9, "total_tokens": 9}}, Usage(9, 0)),
    ],
)
def test_what_an_upstream_counted_is_read(dialect: Dialect, body: dict[str, Any], usage: Usage | None) -> None:
    assert dialect.usage(body) == usage


@pytest.mark.parametrize(
    ("start", "end", "usage"),
    [
        ({"input_tokens": 9, "output_tokens": 1}, {"output_tokens": 3}, Usage(9, 3)),
        ({"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 1}, {"output_tokens": 3}, Usage(9, 3, 4)),
        (
            {"input_tokens": 5, "cache_read_input_tokens": 4, "output_tokens": 1},
            {"input_tokens": 5, "cache_read_input_tokens": None, "output_tokens": 3},
            Usage(9, 3, 4),
        ),
        ({"input_tokens": 0, "output_tokens": 0}, {"input_tokens": 9, "output_tokens": 3}, Usage(9, 3)),
    ],
)
def test_what_anthropic_tells_in_two_places_is_put_together(
    start: dict[str, Any], end: dict[str, Any], usage: Usage
) -> None:
    relay = Relay(MESSAGES, OPEN)
    for event in (
        {"type": "message_start", "message": {"usage": start}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end},
        {"type": "message_stop"},
    ):
        relay.feed(event_bytes(event))
    assert relay.usage == usage


# What we say ourselves


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda d: d.name)
def test_what_we_say_ourselves_is_a_stream_of_the_protocol(dialect: Dialect) -> None:
    relay = Relay(dialect, REDACT)
    stream = dialect.stream(SAID)

    assert through(relay, stream) == b"".join(stream)
    assert relay.said == "said"
    assert dialect.answer(dialect.whole(SAID)) == "said"


@pytest.mark.parametrize("dialect", STREAMED, ids=lambda d: d.name)
@pytest.mark.parametrize("upto", [2, 4])
def test_what_is_said_instead_of_the_rest_ends_a_stream_that_has_begun(dialect: Dialect, upto: int) -> None:
    kind, index = CHANNELS[dialect.name][1][0]
    events = CHANNELS[dialect.name][0]([(kind, index, f"{n} ") for n in range(5)])
    relay = Relay(dialect, OPEN)
    begun = relay.feed(b"".join(events[:upto]))

    ending = b"".join(dialect.stopping(SAID, relay.begun))

    assert through(Relay(dialect, OPEN), [begun, ending]) == begun + ending
    assert "said" in "".join(said_in(dialect, events_of(ending)).values())


# What is refused


@pytest.mark.parametrize(
    ("dialect", "body", "named"),
    [
        (RESPONSES, {"input": "hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        (RESPONSES, {"input": "hi", "conversation": {"id": "conv_1"}}, "conversation"),
        (RESPONSES, {"input": "hi", "background": True}, "background"),
        (RESPONSES, {"input": [{"type": "item_reference", "id": "msg_1"}]}, "kept upstream"),
        (RESPONSES, {"input": [{"id": "msg_1"}]}, "kept upstream"),
        (RESPONSES, {"input": ["hi"]}, "every item"),
        (RESPONSES, {"input": "hi", "instructions": [1]}, "instructions"),
        (CHAT, {"messages": [{"content": "hi"}]}, "role"),
        (CHAT, {"messages": []}, "messages"),
        (MESSAGES, {"messages": [{"role": "user", "content": "hi"}], "system": 1}, "system"),
        (EMBEDDINGS, {"input": ""}, "input"),
    ],
)
def test_what_could_not_be_judged_is_refused_with_what_is_wrong(
    dialect: Dialect, body: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        dialect.check(body)


def test_every_dialect_is_served_under_its_path() -> None:
    assert {path: d.name for path, d in SERVED.items()} == {
        "/v1/chat/completions": "chat",
        "/v1/responses": "responses",
        "/v1/embeddings": "embeddings",
        "/v1/messages": "messages",
    }
