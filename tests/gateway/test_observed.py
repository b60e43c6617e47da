"""GenAI spans in the dialects that are about: each is read into the same call."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bedplate.errors import InvalidInput
from bedplate.gateway import otlp
from bedplate.gateway.observed import Found, Observed, spans

TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
ASKED, ANSWERED = "How many days of leave?", "26 days."


def value(plain: Any) -> dict[str, Any]:
    match plain:
        case bool():
            return {"boolValue": plain}
        case int():
            return {"intValue": str(plain)}
        case float():
            return {"doubleValue": plain}
        case list():
            return {"arrayValue": {"values": [value(v) for v in plain]}}
        case dict():
            return {"kvlistValue": {"values": pairs(plain)}}
    return {"stringValue": plain}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": value(plain)} for name, plain in attributes.items()]


def span(attributes: dict[str, Any], *events: tuple[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    told = {
        "traceId": TRACE,
        "spanId": SPAN,
        "parentSpanId": "",
        "name": "chat gpt-4o",
        "kind": 3,
        "startTimeUnixNano": "1750000000000000000",
        "endTimeUnixNano": "1750000001500000000",
        "attributes": pairs(attributes),
        "events": [{"name": n, "timeUnixNano": "1750000000000000000", "attributes": pairs(a)} for n, a in events],
        "status": {},
    }
    return told | more


def request(*made: dict[str, Any]) -> bytes:
    resource = {"attributes": pairs({"service.name": "leave-bot"})}
    groups = [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": list(made)}]}]
    return json.dumps({"resourceSpans": groups}).encode()


def read(*made: dict[str, Any]) -> list[Observed]:
    return spans(request(*made), "application/json").calls


CURRENT = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.response.finish_reasons": ["stop"],
}
PARTS = {
    "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": ASKED}]}]),
    "gen_ai.output.messages": json.dumps(
        [{"role": "assistant", "parts": [{"type": "text", "content": ANSWERED}], "finish_reason": "stop"}]
    ),
}
OLDER = {
    "gen_ai.system": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.input_tokens": 12,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.response.finish_reasons": ["stop"],
}
TRACELOOP = {
    "llm.request.type": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.prompt.0.role": "user",
    "gen_ai.prompt.0.content": ASKED,
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": ANSWERED,
    "gen_ai.completion.0.finish_reason": "stop",
    "gen_ai.usage.prompt_tokens": 12,
    "gen_ai.usage.completion_tokens": 5,
    "llm.usage.total_tokens": 17,
}
INFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.provider": "openai",
    "llm.model_name": "gpt-4o",
    "llm.token_count.prompt": 12,
    "llm.token_count.completion": 5,
    "llm.input_messages.0.message.role": "user",
    "llm.input_messages.0.message.content": ASKED,
    "llm.output_messages.0.message.role": "assistant",
    "llm.output_messages.0.message.content": ANSWERED,
    "input.value": "{}",
    "output.value": "{}",
}
DIALECTS = {
    "gen_ai, messages as JSON": (span(CURRENT | PARTS), "gen_ai"),
    "gen_ai, messages as structures": (span(CURRENT | {k: json.loads(v) for k, v in PARTS.items()}), "gen_ai"),
    "gen_ai, messages in an event": (span(CURRENT, ("gen_ai.client.inference.operation.details", PARTS)), "gen_ai"),
    "gen_ai.system, an event for each message": (
        span(
            OLDER,
            ("gen_ai.user.message", {"content": ASKED}),
            ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": json.dumps({"content": ANSWERED})}),
        ),
        "gen_ai.system",
    ),
    "gen_ai.system, prompt and completion events": (
        span(
            OLDER,
            ("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps([{"role": "user", "content": ASKED}])}),
            (
                "gen_ai.content.completion",
                {"gen_ai.completion": json.dumps([{"role": "assistant", "content": ANSWERED}])},
            ),
        ),
        "gen_ai.system",
    ),
    "gen_ai.system, numbered attributes": (
        span(
            OLDER
            | {
                "gen_ai.prompt.0.role": "user",
                "gen_ai.prompt.0.content": ASKED,
                "gen_ai.completion.0.content": ANSWERED,
            }
        ),
        "gen_ai.system",
    ),
    "traceloop": (span(TRACELOOP), "traceloop"),
    "traceloop, before gen_ai": (
        span(
            {
                "llm.vendor": "openai",
                "llm.request.type": "chat",
                "llm.request.model": "gpt-4o",
                "llm.prompts.0.role": "user",
                "llm.prompts.0.content": ASKED,
                "llm.completions.0.content": ANSWERED,
                "llm.usage.prompt_tokens": 12,
                "llm.usage.completion_tokens": 5,
            }
        ),
        "traceloop",
    ),
    "openinference": (span(INFERENCE), "openinference"),
    "openinference, whole input and output": (
        span(
            {k: v for k, v in INFERENCE.items() if "_messages" not in k}
            | {"input.value": ASKED, "output.value": ANSWERED}
        ),
        "openinference",
    ),
    "openinference, contents in parts": (
        span(
            {k: v for k, v in INFERENCE.items() if not k.endswith("message.content")}
            | {
                "llm.input_messages.0.message.contents.0.message_content.text": ASKED,
                "llm.output_messages.0.message.contents.0.message_content.text": ANSWERED,
            }
        ),
        "openinference",
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_is_read_into_the_same_call(name: str) -> None:
    made, dialect = DIALECTS[name]
    (call,) = read(made)
    assert call.dialect == dialect
    assert (call.provider, call.model, call.operation) == ("openai", "gpt-4o", "chat")
    assert (call.tokens_in, call.tokens_out) == (12, 5)
    assert call.messages == ({"role": "user", "content": ASKED},)
    assert call.answer == ANSWERED
    assert (call.trace_id, call.span_id, call.service) == (TRACE, SPAN, "leave-bot")
    assert (call.started, call.ended) == (1_750_000_000_000_000, 1_750_000_001_500_000)


@pytest.mark.parametrize("name", DIALECTS)
def test_protobuf_says_what_json_says(name: str) -> None:
    made, _ = DIALECTS[name]
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add()
    _fill(scope.resource.attributes, pairs({"service.name": "leave-bot"}))
    out = scope.scope_spans.add().spans.add()
    out.trace_id, out.span_id = bytes.fromhex(TRACE), bytes.fromhex(SPAN)
    out.start_time_unix_nano, out.end_time_unix_nano = int(made["startTimeUnixNano"]), int(made["endTimeUnixNano"])
    _fill(out.attributes, made["attributes"])
    for event in made["events"]:
        _fill(out.events.add(name=event["name"]).attributes, event["attributes"])

    assert spans(message.SerializeToString(), "application/x-protobuf") == spans(request(made), "application/json")


def _fill(attributes: Any, told: list[dict[str, Any]]) -> None:
    for pair in told:
        _put(attributes.add(key=pair["key"]).value, pair["value"])


def _put(target: Any, told: dict[str, Any]) -> None:
    ((kind, plain),) = told.items()
    match kind:
        case "stringValue":
            target.string_value = plain
        case "intValue":
            target.int_value = int(plain)
        case "arrayValue":
            target.array_value.SetInParent()
            for inner in plain["values"]:
                _put(target.array_value.values.add(), inner)
        case "kvlistValue":
            target.kvlist_value.SetInParent()
            _fill(target.kvlist_value.values, plain["values"])


def test_a_system_instruction_and_tool_calls_are_texts_too() -> None:
    asked = [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "1", "name": "leave", "arguments": {"year": 2026}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "26"}]},
    ]
    told = {
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
        "gen_ai.input.messages": json.dumps(asked),
    }
    (call,) = read(span(CURRENT | told))
    assert [m["role"] for m in call.messages] == ["system", "assistant", "tool"]
    assert [m["content"] for m in call.messages] == ["Be brief.", '{"year": 2026}', "26"]


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"http.request.method": "GET", "server.address": "example.com"},
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"},
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "leave"},
        {"traceloop.span.kind": "workflow", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o"},
        {"openinference.span.kind": "CHAIN", "llm.model_name": "gpt-4o"},
        {"llm.request.type": "rerank", "gen_ai.system": "cohere", "gen_ai.request.model": "rerank-3"},
        {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"},
        CURRENT | {"bedplate.call.id": "0198d1c0-7e61-7c3f-9b4e-5d1f6b2a3c4d"},
    ],
)
def test_what_is_not_a_call_of_a_model_beside_the_gateway_is_ignored(attributes: dict[str, Any]) -> None:
    found = spans(request(span(attributes)), "application/json")
    assert (found.calls, found.ignored + len(found.tools), found.rejected) == ([], 1, 0)


@pytest.mark.parametrize("own", ["gateway.example", "gateway.example:8400"])
def test_a_clients_span_of_a_call_through_the_gateway_is_ignored(own: str) -> None:
    through = span(CURRENT | {"server.address": "gateway.example", "server.port": 8400})
    found = spans(request(through), "application/json", frozenset({own}))
    assert (found.calls, found.ignored) == ([], 1)


def test_another_port_of_the_same_host_is_beside_the_gateway() -> None:
    beside = span(CURRENT | {"server.address": "127.0.0.1", "server.port": 11434})
    assert len(spans(request(beside), "application/json", frozenset({"127.0.0.1:8400"})).calls) == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"traceId": "0" * 32},
        {"spanId": "xyz"},
        {"startTimeUnixNano": "0"},
        {"endTimeUnixNano": "1"},
        {"endTimeUnixNano": "9" * 40},
    ],
)
def test_a_span_without_valid_ids_and_times_is_rejected_alone(broken: dict[str, Any]) -> None:
    found = spans(request(span(CURRENT, **broken), span(CURRENT)), "application/json")
    assert (len(found.calls), found.rejected) == (1, 1)


def test_an_error_is_named_in_the_record_and_told_in_the_content() -> None:
    (call,) = read(span(CURRENT, status={"code": 2, "message": "no such thing for jane@example.com"}))
    assert (call.error, call.message) == ("error", "no such thing for jane@example.com")
    (call,) = read(span(CURRENT | {"error.type": "timeout"}, status={"code": 2}))
    assert call.error == "timeout"


def test_the_same_span_has_one_id_and_another_use_case_cannot_take_it() -> None:
    (call,) = read(span(CURRENT))
    (again,) = read(span(CURRENT | {"gen_ai.usage.output_tokens": 6}))
    (other,) = read(span(CURRENT, spanId="aaa19b7ec3c1b174"))
    ids = {call.id("usecase/a"), again.id("usecase/a"), other.id("usecase/a"), call.id("usecase/b")}
    assert len(ids) == 3
    made = UUID(call.id("usecase/a"))
    assert made.version == 8
    assert made.int >> 80 == call.started // 1000


@pytest.mark.parametrize("count", [-1, 2**60, "12", 1.5, True])
def test_a_count_that_is_none_counts_as_none(count: Any) -> None:
    (call,) = read(span(CURRENT | {"gen_ai.usage.input_tokens": count}))
    assert call.tokens_in == 0


def test_long_names_are_cut() -> None:
    (call,) = read(span(CURRENT | {"gen_ai.request.model": "m" * 5000, "gen_ai.provider.name": "p" * 5000}))
    assert len(call.model) == len(call.provider) == 200


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{", "application/json", "invalid-input"),
        (b"[]", "application/json", "invalid-input"),
        (b'{"resourceSpans": 7}', "application/json", "invalid-input"),
        (b"\xff\xff", "application/json", "invalid-input"),
        (
            b'{"resourceSpans": [{"resource": {"attributes": [{"key": "\\ud800"}]}}]}',
            "application/json",
            "invalid-input",
        ),
        (b"\xff\xff\xff", "application/x-protobuf", "invalid-input"),
        (b"", "text/plain", "unsupported-media-type"),
        (b"", "", "unsupported-media-type"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_way_out(body: bytes, kind: str, code: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        spans(body, kind)
    assert wrong.value.code == code
    assert wrong.value.hint


def test_a_value_nested_without_end_is_refused_or_cut() -> None:
    deep = '{"arrayValue":{"values":[' * 3000 + "]}}" * 3000
    body = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":' + deep + "}]}]}]}]}"
    with pytest.raises(InvalidInput):
        spans(body.encode(), "application/json")


def test_more_spans_than_allowed_are_refused() -> None:
    with pytest.raises(InvalidInput, match="2001 spans"):
        spans(request(*[span(CURRENT)] * (otlp.MAX_SPANS + 1)), "application/json")


def test_fields_nobody_knows_change_nothing() -> None:
    assert read(span(CURRENT, traceState="a=1", flags=257, droppedAttributesCount=0, future={"a": [1]})) == read(
        span(CURRENT)
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *CURRENT,
        *PARTS,
        *TRACELOOP,
        *INFERENCE,
        "gen_ai.system_instructions",
        "gen_ai.prompt.-1.content",
        "llm.prompts.99999999",
    ]
)


@given(st.dictionaries(NAMES, JSON | JSON.map(json.dumps), max_size=12))
def test_whatever_stands_in_the_attributes_is_read_or_ignored(attributes: dict[str, Any]) -> None:
    found = spans(request(span({k: v for k, v in attributes.items() if v is not None})), "application/json")
    assert len(found.calls) + found.ignored == 1
    for call in found.calls:
        held: list[Any] = [call.answer, *(text for message in call.messages for text in message.values())]
        assert all(isinstance(text, str) for text in held)


@given(st.binary(max_size=200), st.sampled_from(["application/json", "application/x-protobuf"]))
def test_no_body_breaks_the_reader(body: bytes, kind: str) -> None:
    with suppress(InvalidInput):
        assert isinstance(spans(body, kind), Found)
