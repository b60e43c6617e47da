"""Every protocol through the running server: the official SDKs and raw bytes, in front of a recording upstream.

All of it in both modes of serving: the fast one, and the safe one on plain ASGI.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from tests import served
from tests.served import HR, RIGHTS, RecordingUpstream, head, says, sends

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.served import Harbour

MODEL = "gpt-4o-mini"
PLAIN = {"temperature", "top_k"}  # what the SDK passes on only as a body of one's own
PRICES = """kind: prices
currency: USD
prices:
  - {{model: "*", upstream: "{url}", input: "0.15", cached_input: "0.075", output: "0.60", from: {day}, contract: C7}}
"""
STREAM = head(kind="text/event-stream")
MESSAGES: Any = [{"role": "user", "content": "How many days?"}]
CARD = "4111 1111 1111 1111"
SECRET = "sk-proj4f8Jd02mXq7PzLw91Tnb"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 60).decode()
PARAMETERS = {"type": "object", "properties": {"form": {"type": "string"}}, "required": ["form"]}


@pytest.fixture(scope="module")
def data() -> Path:
    return served.fresh("remote")  # before our upstream is up: making it needs one as well


@pytest.fixture(scope="module")
def upstream(data: Path) -> Iterator[RecordingUpstream]:
    assert data.exists()
    with RecordingUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module", params=["fast", "safe"])
def harbour(upstream: RecordingUpstream, data: Path, request: pytest.FixtureRequest) -> Iterator[Harbour]:
    settings = {"upstream_url": upstream.url, "upstream_timeout_s": "2", "upstream_key_env": "UPSTREAM_KEY"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPSTREAM_KEY", "upstream-secret")
        server = served.Server(data, **settings, tick_ms="600000", http=request.param).start()
    with server:
        at = served.harbour(server)
        if request.param == "fast":  # the first
            at.person("priya").apply(
                "prices", "prices.yaml", PRICES.format(url=upstream.url, day=datetime.now(UTC).date())
            )
        yield at
        assert server.process is not None
        assert server.process.poll() is None, server.said()
    assert "Traceback" not in server.said(), server.said()
    assert "Traceback" not in server.said(), server.said()


@pytest.fixture(autouse=True)
def _begin_again(upstream: RecordingUpstream) -> None:
    upstream.seen.clear()
    upstream.behave = says("26 days")


@pytest.fixture
def claude(harbour: Harbour) -> Iterator[Anthropic]:
    with Anthropic(base_url=harbour.url, api_key=harbour.keys[HR], max_retries=0) as client:
        yield client


def answers(body: Any, **headers: Any) -> Any:
    return sends(head(**headers), json.dumps(body).encode())


def streams(events: list[dict[str, Any]], *, done: bool = False, named: bool = True) -> Any:
    return sends(STREAM, *_raw_events(events, done=done, named=named))


def _raw_events(events: list[dict[str, Any]], *, done: bool = False, named: bool = True) -> list[bytes]:
    names = [f"event: {e['type']}\n".encode() if named else b"" for e in events]
    raw = [name + b"data: " + json.dumps(e).encode() + b"\n\n" for name, e in zip(names, events, strict=True)]
    return raw + [b"data: [DONE]\n\n"] * done


def post(
    harbour: Harbour, path: str, body: Any, use_case: str = HR, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    told = {"authorization": f"Bearer {harbour.keys[use_case]}", "content-type": "application/json", **headers}
    return served.fetch(harbour.url, path, "POST", json.dumps(body).encode(), told)


def last(harbour: Harbour) -> dict[str, Any]:
    return dict(harbour.person("victor").calls(limit=1)[0])


# OpenAI chat completions


def test_chat_completions_with_everything_a_client_may_send(harbour: Harbour, upstream: RecordingUpstream) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"form": "HR-03"}'}}
    asked: dict[str, Any] = {
        "messages": [
            {"role": "user", "name": "jo", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "26"},
        ],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "temperature": 0.25,
        "max_completion_tokens": 500,
        "stop": ["END"],
        "logit_bias": {"50256": -100},
        "parallel_tool_calls": False,
        "tools": [{"type": "function", "function": {"name": "look_up", "parameters": PARAMETERS, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "look_up"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": PARAMETERS, "strict": True}},
        "prediction": {"type": "content", "content": "26"},
        "metadata": {"ticket": "1"},
        "service_tier": "flex",
        "user": "u-1",
    }  # fmt: skip
    future = {"x_future": {"deep": [1, None, "ü", 1.5e300, 2**64, {"a": False}]}, "guided_json": "{}"}
    theirs = served.completion("26", system_fingerprint="fp", x_future={"deep": [1, None]})
    theirs["choices"].append(
        {
            "index": 1,
            "message": {"role": "assistant", "content": None, "tool_calls": [call]},
            "finish_reason": "tool_calls",
        }
    )
    theirs["choices"][0]["logprobs"] = {
        "content": [{"token": "26", "logprob": -0.01, "bytes": [50], "top_logprobs": []}]
    }
    theirs["usage"]["prompt_tokens_details"] = {"cached_tokens": 4}
    upstream.behave = answers(theirs)

    raw = harbour.openai().chat.completions.with_raw_response.create(model="default", **asked, extra_body=future)

    sent = upstream.seen[0].body
    prompt = [m for m in sent["messages"] if m["role"] == "system"]
    assert {**sent, "messages": [m for m in sent["messages"] if m not in prompt]} == {"model": MODEL, **asked, **future}
    assert len(prompt) == 1
    assert "<passages>" in prompt[0]["content"]
    assert json.loads(raw.content) == theirs
    assert raw.content == json.dumps(theirs).encode()  # to the byte: nothing had to be changed
    parsed = raw.parse()
    assert [c.finish_reason for c in parsed.choices] == ["stop", "tool_calls"]
    record = harbour.record(raw.headers["x-bedplate-call-id"])
    assert (record["dialect"], record["status"]) == ("chat", "ok")
    assert (record["tokens_in"], record["tokens_out"], record["cached_in"]) == (11, 7, 4)
    assert record["cost_nano"] == _cost(record) > 0
    assert record["price"]


def _cost(record: dict[str, Any]) -> int:
    """Return the cost by the contract: 0.15 $ a million in, 0.075 $ cached, 0.60 $ out, in nano-dollars."""
    fresh = record["tokens_in"] - record["cached_in"]
    return int(fresh * 150 + record["cached_in"] * 75 + record["tokens_out"] * 600)


def _chat_chunk(delta: dict[str, Any], why: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    frame = {"id": "c", "object": "chat.completion.chunk", "created": 1_750_000_000, "model": MODEL}
    return {**frame, "choices": [{"index": index, "delta": delta, "finish_reason": why}], **more}


def test_a_chat_stream_with_two_choices_tools_and_usage(harbour: Harbour, upstream: RecordingUpstream) -> None:
    def called(arguments: str, **more: Any) -> dict[str, Any]:
        return {"tool_calls": [{"index": 0, **more, "function": {"arguments": arguments}}]}

    begun = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": ""}}
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 2},
        "total_tokens": 17,
    }
    events = [
        _chat_chunk({"role": "assistant", "content": ""}),
        _chat_chunk({"content": "26 "}, x_future={"a": [1]}),
        _chat_chunk({"role": "assistant", "tool_calls": [begun]}, index=1),
        _chat_chunk(called('{"form":'), index=1),
        _chat_chunk({"content": "days ü"}),
        _chat_chunk(called(' "HR-03"}'), index=1),
        _chat_chunk({}, "stop"),
        _chat_chunk({}, "tool_calls", index=1),
        {**_chat_chunk({}), "choices": [], "usage": usage},
    ]  # fmt: skip
    upstream.behave = streams(events, done=True, named=False)

    with harbour.openai().chat.completions.stream(
        model="default", messages=MESSAGES, n=2, stream_options={"include_usage": True}
    ) as stream:
        arguments = [e.arguments_delta for e in stream if e.type == "tool_calls.function.arguments.delta"]
        final = stream.get_final_completion()

    assert arguments == ["", '{"form":', ' "HR-03"}']
    assert final.choices[0].message.content == "26 days ü"
    assert final.choices[1].message.tool_calls is not None
    assert final.choices[1].message.tool_calls[0].function.arguments == '{"form": "HR-03"}'
    assert upstream.seen[0].body["stream_options"] == {"include_usage": True}
    record = last(harbour)
    assert (record["tokens_in"], record["tokens_out"], record["cached_in"]) == (9, 8, 2)
    assert record["cost_nano"] == _cost(record)
    assert record["answer_sha256"] == hashlib.sha256("26 days ü".encode()).hexdigest()


# OpenAI responses


def _response(*output: dict[str, Any], status: str = "completed", **more: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 6},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_750_000_000,
        "model": MODEL,
        "status": status,
        "output": list(output),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if status == "completed" else None,
        **more,
    }


def _said(text: str, n: int = 0) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": f"msg_{n}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


def test_responses_with_everything_a_client_may_send(harbour: Harbour, upstream: RecordingUpstream) -> None:
    call = {"id": "fc_1", "type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"form": "HR-03"}'}
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": PIXEL}
    theirs = _response(reasoning, _said("26 days"), call, x_future=[1])
    asked: dict[str, Any] = {
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "low"},
                {"type": "input_file", "filename": "a.pdf", "file_data": PIXEL},
            ]},
            reasoning,
            call,
            {"type": "function_call_output", "call_id": "c1", "output": "26"},
        ],
        "max_output_tokens": 100,
        "text": {"format": {"type": "json_schema", "name": "a", "schema": PARAMETERS}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "tools": [{"type": "function", "name": "look_up", "parameters": PARAMETERS, "strict": True}],
        "truncation": "auto",
    }  # fmt: skip
    upstream.behave = answers(theirs)

    raw = harbour.openai().responses.with_raw_response.create(
        model="default", instructions="Be brief.", **asked, extra_body={"x_future": {"a": None}}
    )

    seen = upstream.seen[0]
    assert seen.path == "/v1/responses"
    instructions = seen.body["instructions"]
    assert instructions.startswith("Be brief.\n\n")
    assert "<passages>" in instructions
    assert {k: v for k, v in seen.body.items() if k != "instructions"} == {
        "model": MODEL,
        **asked,
        "x_future": {"a": None},
    }
    assert raw.content == json.dumps(theirs).encode()
    assert raw.parse().output_text == "26 days"
    record = harbour.record(raw.headers["x-bedplate-call-id"])
    assert (record["dialect"], record["tokens_in"], record["tokens_out"], record["cached_in"]) == (
        "responses",
        10,
        5,
        6,
    )
    assert record["cost_nano"] == _cost(record)
    assert record["said"]["answer"] == "26 days"


def _token(text: str) -> dict[str, Any]:
    return {"token": text, "logprob": -0.1, "bytes": list(text.encode()), "top_logprobs": []}


def _response_events(*pieces: str, whole: str = "", **more: Any) -> list[dict[str, Any]]:
    whole = whole or "".join(pieces)
    where = {"item_id": "msg_0", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": whole, "annotations": [], "logprobs": []}
    item = _said(whole)
    spelled = [[_token(p[at : at + 3]) for at in range(0, len(p), 3)] for p in pieces]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response(status="in_progress")},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**item, "content": [], "status": "in_progress"},
        },
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}},
        *(
            {"type": "response.output_text.delta", **where, "delta": p, "logprobs": s, "obfuscation": "x"}
            for p, s in zip(pieces, spelled, strict=True)
        ),
        {
            "type": "response.output_text.done",
            **where,
            "text": whole,
            "logprobs": [token for tokens in spelled for token in tokens],
        },
        {"type": "response.content_part.done", **where, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.from_the_future", "x": {"deep": [None]}},
        {"type": "response.completed", "response": _response(item, **more)},
    ]
    return [{**event, "sequence_number": n} for n, event in enumerate(events)]


def test_a_response_is_streamed_with_all_that_it_says_twice(harbour: Harbour, upstream: RecordingUpstream) -> None:
    upstream.behave = streams(_response_events("26 ", "days ü"))

    with harbour.openai().responses.stream(model="default", input="How many days?") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()

    assert kinds.count("response.output_text.delta") == 2
    assert final.output_text == "26 days ü"
    record = last(harbour)
    assert (record["tokens_in"], record["tokens_out"], record["cached_in"]) == (10, 5, 6)
    assert record["answer_sha256"] == hashlib.sha256("26 days ü".encode()).hexdigest()


def test_arguments_of_a_tool_are_streamed_in_a_response(harbour: Harbour, upstream: RecordingUpstream) -> None:
    where = {"item_id": "fc_1", "output_index": 0}
    item = {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "c1",
        "name": "look_up",
        "arguments": '{"form": 1}',
        "status": "completed",
    }
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": _response(status="in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", **where, "delta": '{"form"'},
        {"type": "response.function_call_arguments.delta", **where, "delta": ": 1}"},
        {"type": "response.function_call_arguments.done", **where, "arguments": '{"form": 1}', "name": "look_up"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": _response(item)},
    ]
    numbered = [{**event, "sequence_number": n} for n, event in enumerate(events)]
    for use_case in (HR, RIGHTS):
        upstream.behave = streams(numbered)
        stream = harbour.openai(use_case).responses.create(model="default", input="How many days?", stream=True)
        got = [event.model_dump(exclude_unset=True) for event in stream]
        assert [event["type"] for event in got] == [event["type"] for event in numbered]
        assert "".join(e["delta"] for e in got if e["type"].endswith(".delta")) == '{"form": 1}'


@pytest.mark.parametrize(
    ("more", "fix"),
    [
        ({"previous_response_id": "resp_1"}, "whole conversation"),
        ({"conversation": "conv_1"}, "whole conversation"),
        ({"background": True}, "stream"),
    ],
)
def test_what_would_be_kept_or_run_where_nobody_judges_it_is_refused_with_the_fix(
    harbour: Harbour, upstream: RecordingUpstream, more: dict[str, Any], fix: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=next(iter(more))) as told:
        harbour.openai().responses.create(model="default", input="hi", **more)

    body: Any = told.value.body
    assert fix in body["reasons"][0]["fix"]
    assert upstream.seen == []
    assert harbour.record(body["call_id"])["status"] == "refused"


# OpenAI embeddings and models


def test_embeddings(harbour: Harbour, upstream: RecordingUpstream) -> None:
    made = {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": n, "embedding": [0.25, -1.5e-05]} for n in range(2)],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    upstream.behave = answers(made)

    raw = harbour.openai().embeddings.with_raw_response.create(
        model="default", input=["one", "two"], encoding_format="float", dimensions=2, user="u"
    )

    assert raw.content == json.dumps(made).encode()
    assert raw.parse().data[1].embedding == [0.25, -1.5e-05]
    assert upstream.seen[0].path == "/v1/embeddings"
    sent = {"model": MODEL, "input": ["one", "two"], "encoding_format": "float", "dimensions": 2, "user": "u"}
    assert upstream.seen[0].body == sent
    record = harbour.record(raw.headers["x-bedplate-call-id"])
    assert (record["dialect"], record["tokens_in"], record["tokens_out"]) == ("embeddings", 4, 0)


def test_embeddings_of_tokens_and_as_base64(harbour: Harbour, upstream: RecordingUpstream) -> None:
    packed = base64.b64encode(b"\0\0\x80>" * 2).decode()
    upstream.behave = answers(
        {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": packed}]}
    )

    got = harbour.openai().embeddings.create(model="default", input=[[1, 2, 3]])

    assert got.data[0].embedding == [0.25, 0.25]
    assert upstream.seen[0].body["input"] == [[1, 2, 3]]


def test_embeddings_are_not_streamed(harbour: Harbour, upstream: RecordingUpstream) -> None:
    assert post(harbour, "/v1/embeddings", {"model": "default", "input": "a", "stream": True})[0] == 400
    assert upstream.seen == []


def test_models_in_both_shapes(harbour: Harbour, claude: Anthropic) -> None:
    assert [m.id for m in harbour.openai().models.list()] == [MODEL]
    page = claude.models.list()
    assert [(m.id, m.type) for m in page] == [(MODEL, "model")]
    assert page.has_more is False
    with pytest.raises(openai.AuthenticationError):
        harbour.with_key("bpk_wrong").models.list()
    with (
        Anthropic(base_url=harbour.url, api_key="bpk_wrong", max_retries=0) as wrong,
        pytest.raises(anthropic.AuthenticationError),
    ):
        wrong.models.list()


# Anthropic messages


def _message(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 5,
        "output_tokens": 4,
    }
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
        **more,
    }


def test_messages_with_everything_a_client_may_send(
    harbour: Harbour, upstream: RecordingUpstream, claude: Anthropic
) -> None:
    used = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"form": "HR-03", "n": 1}}
    thought = {"type": "thinking", "thinking": "hm", "signature": PIXEL}
    theirs = _message(thought, {"type": "text", "text": "26 days"}, used, {"type": "from_the_future", "x": [None]})
    asked: dict[str, Any] = {
        "max_tokens": 100,
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL}},
            ]},
            {"role": "assistant", "content": [thought, used]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "26"}]},
        ],
        "temperature": 0.5,
        "top_k": 3,
        "stop_sequences": ["END"],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"name": "look_up", "input_schema": PARAMETERS}],
        "tool_choice": {"type": "auto"},
        "metadata": {"user_id": "u-1"},
    }  # fmt: skip
    upstream.behave = answers(theirs, request_id="req_1")

    raw = claude.messages.with_raw_response.create(
        model="default",
        system=[{"type": "text", "text": "Be brief."}],
        **{name: asked[name] for name in asked.keys() - PLAIN},
        extra_body={"x_future": 1, **{name: asked[name] for name in asked.keys() & PLAIN}},
        extra_headers={"anthropic-beta": "one-2030-01-01,two"},
    )

    seen = upstream.seen[0]
    assert seen.path == "/v1/messages"
    assert seen.headers["anthropic-version"] == raw.http_request.headers["anthropic-version"]
    assert seen.headers["anthropic-beta"] == "one-2030-01-01,two"
    assert seen.headers["authorization"] == "Bearer upstream-secret"
    assert "x-api-key" not in seen.headers
    assert harbour.keys[HR] not in repr(seen)
    [theirs_first, ours] = seen.body["system"]
    assert theirs_first == {"type": "text", "text": "Be brief."}
    assert "<passages>" in ours["text"]
    assert {k: v for k, v in seen.body.items() if k != "system"} == {"model": MODEL, **asked, "x_future": 1}
    assert raw.http_response.content == json.dumps(theirs).encode()
    assert raw.headers["request-id"] == "req_1"
    record = harbour.record(raw.headers["x-bedplate-call-id"])
    assert (record["dialect"], record["tokens_in"], record["tokens_out"], record["cached_in"]) == ("messages", 10, 4, 5)
    assert record["said"]["answer"] == "26 days"


def _message_events(*blocks: tuple[dict[str, Any], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 1}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": _message(stop_reason=None, usage=usage)},
        {"type": "ping"},
    ]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ending = {"stop_reason": "tool_use", "stop_sequence": None}
    return [
        *events,
        {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]


def _text(*pieces: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": p} for p in pieces]


def _thinking(*pieces: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    deltas = [{"type": "thinking_delta", "thinking": p} for p in pieces]
    return {"type": "thinking", "thinking": "", "signature": ""}, [
        *deltas,
        {"type": "signature_delta", "signature": PIXEL},
    ]


def _tool(*pieces: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    block = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}}
    return block, [{"type": "input_json_delta", "partial_json": p} for p in pieces]


def test_a_message_is_streamed_with_thinking_text_and_a_tool(
    harbour: Harbour, upstream: RecordingUpstream, claude: Anthropic
) -> None:
    upstream.behave = streams(
        _message_events(_thinking("h", "m"), _text("26 ", "days ü"), _tool("", '{"form":', ' "HR-03"}'))
    )

    with claude.messages.stream(model="default", max_tokens=100, messages=MESSAGES) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()

    assert text == "26 days ü"
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
    assert final.content[0].type == "thinking"
    assert final.content[0].signature == PIXEL
    assert final.content[2].type == "tool_use"
    assert final.content[2].input == {"form": "HR-03"}
    record = last(harbour)
    assert (record["tokens_in"], record["tokens_out"], record["cached_in"]) == (8, 9, 5)
    assert record["answer_sha256"] == hashlib.sha256("26 days ü".encode()).hexdigest()


def test_a_key_as_bearer_is_as_good(harbour: Harbour, upstream: RecordingUpstream) -> None:
    upstream.behave = answers(_message({"type": "text", "text": "26 days"}))
    with Anthropic(base_url=harbour.url, auth_token=harbour.keys[HR], max_retries=0) as client:
        assert client.messages.create(model="default", max_tokens=9, messages=MESSAGES).content[0].type == "text"
    assert (
        post(harbour, "/v1/chat/completions", served.ask(), authorization="", **{"x-api-key": harbour.keys[HR]})[0]
        == 401
    )
    headers = {"x-api-key": harbour.keys[HR]}
    upstream.behave = says("26")
    assert (
        served.fetch(harbour.url, "/v1/chat/completions", "POST", json.dumps(served.ask()).encode(), headers)[0] == 200
    )


# Bytes


def chat_pieces() -> list[bytes]:
    return [
        b": keep-alive\n\n",
        b'data: {"id":"c" ,  "choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
        'data:{"choices":[{"index":0,"delta":{"content":"26 \\u00fc ü"},"logprobs":null}],"x":1.50}\n\n'.encode(),
        b'id: 7\nevent: odd\nretry: 10\ndata: {\ndata:  "choices": [] }\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]


RAW: dict[str, tuple[str, dict[str, Any], list[bytes]]] = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES}, chat_pieces()),
    "chat with CRLF": (
        "/v1/chat/completions",
        {"messages": MESSAGES},
        [piece.replace(b"\n", b"\r\n") for piece in chat_pieces()],
    ),
    "responses": ("/v1/responses", {"input": "hi"}, _raw_events(_response_events("26 ", "days"))),
    "messages": (
        "/v1/messages",
        {"messages": MESSAGES, "max_tokens": 9},
        _raw_events(
            [*_message_events(_thinking("hm"), _text("26"))[:-1], {"type": "from_the_future"}, {"type": "message_stop"}]
        ),
    ),
}


@pytest.mark.parametrize("use_case", [HR, RIGHTS])
@pytest.mark.parametrize("name", RAW)
def test_an_event_that_needs_no_change_is_forwarded_to_the_byte(
    harbour: Harbour, upstream: RecordingUpstream, name: str, use_case: str
) -> None:
    path, body, pieces = RAW[name]
    whole = b"".join(pieces)
    for cut in (pieces, [whole], [whole[at : at + 7] for at in range(0, len(whole), 7)]):
        upstream.behave = sends(STREAM, *cut)

        status, headers, got = post(harbour, path, {"model": "default", "stream": True, **body}, use_case)

        assert (status, got) == (200, whole)
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] == "no-store"


def test_events_arrive_as_they_are_sent_and_not_together_at_the_end(
    harbour: Harbour, upstream: RecordingUpstream
) -> None:
    first, *others = _raw_events([_chat_chunk({"content": f"{n} "}) for n in range(3)], named=False)
    upstream.behave = sends(STREAM + first, hangs=True)
    body = json.dumps(served.ask(stream=True)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {harbour.keys[HR]}\r\n"

    with socket.create_connection(("127.0.0.1", int(harbour.url.rpartition(":")[2])), timeout=20) as client:
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        got = b""
        while first not in got:
            piece = client.recv(4096)
            assert piece
            got += piece
    assert others


# Errors


def test_our_own_refusals_are_the_sdks_own_classes_too(harbour: Harbour, claude: Anthropic) -> None:
    with pytest.raises(anthropic.PermissionDeniedError, match=r"gpt-5\.9") as told:
        claude.messages.create(model="gpt-5.9", max_tokens=9, messages=MESSAGES)
    body: Any = told.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "permission_error"
    assert body["error"]["reasons"][0]["control"] == "model-approved"
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        claude.messages.create(model="default", max_tokens=9, messages=[])
    with pytest.raises(anthropic.RequestTooLargeError):
        claude.messages.create(model="default", max_tokens=9, messages=[{"role": "user", "content": "a" * (5 << 20)}])
    with pytest.raises(openai.PermissionDeniedError, match=r"gpt-5\.9"):
        harbour.openai().responses.create(model="gpt-5.9", input="hi")
    with pytest.raises(openai.PermissionDeniedError, match=r"gpt-5\.9"):
        harbour.openai().embeddings.create(model="gpt-5.9", input="hi")
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.count_tokens(model="default", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        harbour.openai().moderations.create(input="hi")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/messages"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"model": 1}',
        b'{"model": "default", "type": []}',
        b'{"model":"default","x":NaN}',
        b"\xff",
    ],
)
def test_a_body_that_cannot_be_judged_is_400_and_on_record(
    harbour: Harbour, upstream: RecordingUpstream, path: str, body: bytes
) -> None:
    key = {"authorization": f"Bearer {harbour.keys[HR]}"}

    status, headers, content = served.fetch(harbour.url, path, "POST", body, key)

    assert status == 400
    told = json.loads(content)
    assert (told.get("type") == "error") == (path == "/v1/messages")
    assert told["error"]["message"]
    assert harbour.record(headers["x-bedplate-call-id"])["status"] == "refused"
    assert upstream.seen == []


def test_a_type_that_is_no_text_is_taken_as_it_is(harbour: Harbour, upstream: RecordingUpstream) -> None:
    odd = {"type": ["text"], "x": {"type": {"a": 1}}}

    assert post(harbour, "/v1/chat/completions", served.ask(x_odd=odd))[0] == 200
    assert upstream.seen[0].body["x_odd"] == odd


# Guardrails (the use case of tier 3 redacts personal data; secrets are withheld from tier 2 on)


def _cuts(text: str) -> list[tuple[str, str]]:
    return [(text[:at], text[at:]) for at in range(0, len(text) + 1, 3)]


def test_a_redaction_is_made_in_each_of_the_texts_that_a_response_repeats(
    harbour: Harbour, upstream: RecordingUpstream
) -> None:
    said, redacted = f"My card is {CARD}, yes.", "My card is [redacted: payment card], yes."
    for pieces in _cuts(said):
        upstream.behave = streams(_response_events(*pieces))
        raw = post(harbour, "/v1/responses", {"model": "default", "input": "hi", "stream": True}, RIGHTS)[2]

        assert b"4111" not in raw
        assert b"1111" not in raw
        events = [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: ")]
        assert "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta") == redacted
        by_kind = {e["type"]: e for e in events}
        assert by_kind["response.output_text.done"]["text"] == redacted
        assert by_kind["response.content_part.done"]["part"]["text"] == redacted
        assert by_kind["response.output_item.done"]["item"]["content"][0]["text"] == redacted
        assert by_kind["response.completed"]["response"]["output"][0]["content"][0]["text"] == redacted
        assert last(harbour)["findings"] == ["output: payment card"]

    upstream.behave = streams(_response_events(*_cuts(said)[4]))
    with harbour.openai(RIGHTS).responses.stream(model="default", input="hi") as stream:
        assert stream.get_final_response().output_text == redacted


def test_a_redaction_is_made_in_a_whole_response(harbour: Harbour, upstream: RecordingUpstream) -> None:
    item = _said(f"My card is {CARD}.")
    item["content"][0]["logprobs"] = [{"token": "4111", "logprob": -0.1, "bytes": [52], "top_logprobs": []}]
    upstream.behave = answers(
        _response({"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": CARD}]}, item)
    )

    got = harbour.openai(RIGHTS).responses.with_raw_response.create(model="default", input="hi")

    assert b"4111" not in got.content
    assert got.parse().output_text == "My card is [redacted: payment card]."


def _anthropic(harbour: Harbour, use_case: str) -> Anthropic:
    return Anthropic(base_url=harbour.url, api_key=harbour.keys[use_case], max_retries=0)


def test_a_redaction_is_made_in_a_message_wherever_its_pieces_are_cut(
    harbour: Harbour, upstream: RecordingUpstream
) -> None:
    said = f"My card is {CARD}, yes."
    with _anthropic(harbour, RIGHTS) as client:
        for first, second in _cuts(said):
            upstream.behave = streams(_message_events(_thinking(first, second), _text(first, second), _text("more")))
            with client.messages.stream(model="default", max_tokens=9, messages=MESSAGES) as stream:
                events = [event.model_dump_json() for event in stream]
                final = stream.get_final_message()
            redacted = "My card is [redacted: payment card], yes."
            assert final.content[0].type == "thinking"
            assert (final.content[0].thinking, final.content[0].signature) == (redacted, PIXEL)
            assert final.content[1].type == final.content[2].type == "text"
            assert (final.content[1].text, final.content[2].text) == (redacted, "more")
            assert "1111" not in "".join(events)
        assert last(harbour)["findings"] == ["output: payment card × 2"]


@pytest.mark.parametrize("found", [CARD, SECRET])
def test_the_input_of_a_tool_is_withheld_and_not_changed(
    harbour: Harbour, upstream: RecordingUpstream, found: str
) -> None:
    told = '{"form": "' + found + '"}'
    with _anthropic(harbour, RIGHTS) as client:
        for first, second in _cuts(told)[::3]:
            upstream.behave = streams(_message_events(_text("Let me see. "), _tool(first, second)))
            with client.messages.stream(model="default", max_tokens=9, messages=MESSAGES) as stream:
                final = stream.get_final_message()
            assert [block.type for block in final.content] == ["text", "text"]
            assert final.content[1].type == "text"
            assert final.content[1].text.lstrip().startswith("This answer was withheld")
            assert final.stop_reason == "end_turn"
            assert found not in final.model_dump_json()
            assert last(harbour)["status"] == "ok"
        upstream.behave = answers(
            _message({"type": "tool_use", "id": "t", "name": "look_up", "input": {"form": found}})
        )
        whole = client.messages.create(model="default", max_tokens=9, messages=MESSAGES)
        assert whole.content[0].type == "text"
        assert whole.content[0].text.startswith("This answer was withheld")


def test_a_card_as_a_number_in_the_input_of_a_tool_is_withheld(harbour: Harbour, upstream: RecordingUpstream) -> None:
    used = {"type": "tool_use", "id": "t", "name": "pay", "input": {"card": int(CARD.replace(" ", "")), "days": 26}}
    upstream.behave = answers(_message(used))

    with _anthropic(harbour, RIGHTS) as client:
        whole = client.messages.create(model="default", max_tokens=9, messages=MESSAGES)

    assert whole.content[0].type == "text"
    assert "4111" not in whole.model_dump_json()


TOLD = "This answer was withheld: it held API key."
HIDDEN = [("The key is ", SECRET, "."), ("", SECRET, ""), (f"Fine. {'Well, ' * 60}", f"the key: {SECRET}", ", yes.")]


@pytest.mark.parametrize("pieces", HIDDEN, ids=["soon", "at once", "late"])
def test_a_secret_ends_a_response_so_that_the_sdk_reads_it_to_its_end(
    harbour: Harbour, upstream: RecordingUpstream, pieces: tuple[str, ...]
) -> None:
    upstream.behave = streams(_response_events(*pieces))

    with harbour.openai(RIGHTS).responses.stream(model="default", input="hi") as stream:
        events = list(stream)
        final = stream.get_final_response()

    assert final.output_text.lstrip() == TOLD
    assert final.id == "resp_1"
    assert "sk-proj" not in repr(events)
    assert [event.type for event in events].count("response.created") == 1
    left = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert last(harbour)["answer_sha256"] == hashlib.sha256(left.encode()).hexdigest()


@pytest.mark.parametrize("pieces", HIDDEN, ids=["soon", "at once", "late"])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_secret_ends_a_message_so_that_the_sdk_reads_it_to_its_end(
    harbour: Harbour, upstream: RecordingUpstream, pieces: tuple[str, ...], before: int
) -> None:
    upstream.behave = streams(_message_events(*[_text("One. ")] * before, _text(*pieces)))

    with (
        _anthropic(harbour, RIGHTS) as client,
        client.messages.stream(model="default", max_tokens=9, messages=MESSAGES) as stream,
    ):
        events = list(stream)
        final = stream.get_final_message()

    kinds = [(event.type, getattr(event, "index", 0)) for event in events]
    assert kinds.count(("message_start", 0)) == 1
    starts = [index for kind, index in kinds if kind == "content_block_start"]
    assert starts == [index for kind, index in kinds if kind == "content_block_stop"] == list(range(len(starts)))
    texts = [block.text for block in final.content if block.type == "text"]
    assert texts[-1].lstrip() == TOLD
    assert texts[:before] == ["One. "] * before
    assert final.stop_reason == "end_turn"
    assert "sk-proj" not in repr(events)


@pytest.mark.parametrize("pieces", HIDDEN, ids=["soon", "at once", "late"])
def test_a_secret_ends_a_chat_so_that_the_sdk_reads_it_to_its_end(
    harbour: Harbour, upstream: RecordingUpstream, pieces: tuple[str, ...]
) -> None:
    chunks = [_chat_chunk({"role": "assistant", "content": ""}), *(_chat_chunk({"content": p}) for p in pieces)]
    upstream.behave = streams([*chunks, _chat_chunk({}, "stop")], done=True, named=False)

    with harbour.openai(RIGHTS).chat.completions.stream(model="default", messages=MESSAGES) as stream:
        events = list(stream)
        final = stream.get_final_completion()

    assert str(final.choices[0].message.content).endswith(TOLD)
    assert final.choices[0].finish_reason == "stop"
    assert "sk-proj" not in repr(events)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings"])
def test_a_prompt_is_redacted_in_every_protocol_wherever_it_stands(
    harbour: Harbour, upstream: RecordingUpstream, path: str
) -> None:
    mail = "jo@harbour.example"
    bodies: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": [{"type": "text", "text": mail}]}]},
        "/v1/responses": {"input": [{"role": "user", "content": [{"type": "input_text", "text": mail}]}]},
        "/v1/messages": {"max_tokens": 9, "messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": mail}]}
        ]}]},
        "/v1/embeddings": {"input": ["a", mail]},
    }  # fmt: skip
    upstream.behave = sends(head(), b"{}")

    post(harbour, path, {"model": "default", **bodies[path], "x_future": {"notes": [mail]}}, RIGHTS)

    sent = json.dumps(upstream.seen[0].body)
    assert mail not in sent
    assert sent.count("[redacted: email address]") == 2


# Errors of the upstream: last, for they open its breaker


class Case:
    """An error of the upstream, and what either SDK raises for it."""

    def __init__(self, status: int, told: int, of_openai: type[Exception], of_anthropic: type[Exception]) -> None:
        self.status, self.told, self.of_openai, self.of_anthropic = status, told, of_openai, of_anthropic


CASES = [
    Case(400, 400, openai.BadRequestError, anthropic.BadRequestError),
    Case(401, 502, openai.InternalServerError, anthropic.InternalServerError),
    Case(404, 404, openai.NotFoundError, anthropic.NotFoundError),
    Case(413, 413, openai.APIStatusError, anthropic.RequestTooLargeError),
    Case(422, 422, openai.UnprocessableEntityError, anthropic.UnprocessableEntityError),
    Case(500, 502, openai.InternalServerError, anthropic.InternalServerError),
    Case(503, 503, openai.InternalServerError, anthropic.ServiceUnavailableError),
    Case(529, 503, openai.InternalServerError, anthropic.ServiceUnavailableError),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c.status))
def test_an_upstreams_error_is_the_sdks_own_class(
    harbour: Harbour, upstream: RecordingUpstream, claude: Anthropic, case: Case, *, stream: bool
) -> None:
    for _ in range(6):  # or its breaker would open
        post(harbour, "/v1/chat/completions", served.ask())
    upstream.behave = sends(head(case.status, retry_after="40"), THEIRS)
    calls: list[tuple[type[Exception], Any]] = [
        (case.of_openai, lambda: chat(harbour, stream=stream)),
        (case.of_openai, lambda: harbour.openai().responses.create(model="default", input="hi", stream=stream)),
        (case.of_anthropic, lambda: message(claude, stream=stream)),
    ]
    for expected, call in calls:
        with pytest.raises(expected) as told:
            call()
        error: Any = told.value
        assert error.status_code == case.told
        assert harbour.record(error.response.headers["x-bedplate-call-id"])["status"] == "failed"
        assert case.status != 503 or error.response.headers["retry-after"] == "40"
        assert case.told in {502, 503} or "theirs" in error.response.text


THEIRS = b'{"type":"error","error":{"type":"some_error","message":"theirs"}}'


def chat(harbour: Harbour, *, stream: bool = False) -> Any:
    return harbour.openai().chat.completions.create(model="default", messages=MESSAGES, stream=stream)


def message(claude: Anthropic, *, stream: bool = False) -> Any:
    return claude.messages.create(model="default", max_tokens=9, messages=MESSAGES, stream=stream)


def test_a_rate_limit_is_told_with_its_time_and_the_upstream_left_alone_for_it(
    harbour: Harbour, upstream: RecordingUpstream, claude: Anthropic
) -> None:
    upstream.behave = sends(head(429, retry_after="40"), THEIRS)
    with pytest.raises(openai.RateLimitError) as told:
        chat(harbour)
    assert told.value.response.headers["retry-after"] == "40"
    assert len(upstream.seen) == 1

    upstream.behave = says("26")
    calls: list[tuple[type[Exception], Any]] = [
        (openai.RateLimitError, lambda: chat(harbour, stream=True)),
        (anthropic.RateLimitError, lambda: message(claude)),
        (anthropic.RateLimitError, lambda: message(claude, stream=True)),
    ]
    for expected, call in calls:
        with pytest.raises(expected) as refused:
            call()
        error: Any = refused.value
        assert 1 <= int(error.response.headers["retry-after"]) <= 40
    assert len(upstream.seen) == 1
