"""Spans and metrics as a real OTLP/HTTP receiver gets them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.gateway.test_telemetry import CALL, INCOMING
from tests.gateway.test_telemetry_metrics import done

from bedplate.gateway import spans
from bedplate.gateway.endpoint import Endpoint, endpoint
from bedplate.gateway.spans import Spans, from_environment, wanted
from bedplate.gateway.telemetry import Pump

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bedplate.gateway.call import Trace

OPENAI = Endpoint("openai", "api.openai.com", 443)


class Receiver:
    """An OTLP/HTTP endpoint that keeps every request, decoded."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes]] = []
        kept = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                kept.append((self.path, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

    @property
    def resources(self) -> list[Any]:
        groups = []
        for path, body in self.requests:
            if path == "/v1/traces":
                request = ExportTraceServiceRequest()
                request.ParseFromString(body)
                groups += request.resource_spans
        return groups

    @property
    def spans(self) -> list[Any]:
        return [span for group in self.resources for scope in group.scope_spans for span in scope.spans]

    @property
    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path, body in self.requests:
            if path == "/v1/metrics":
                request = ExportMetricsServiceRequest()
                request.ParseFromString(body)
                for group in request.resource_metrics:
                    found |= {m.name: m for scope in group.scope_metrics for m in scope.metrics}
        return found


def plain(attributes: Any) -> dict[str, Any]:
    told = {}
    for pair in attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        told[pair.key] = [v.string_value for v in value.values] if kind == "array_value" else value
    return told


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    yield receiver
    receiver.close()


@pytest.fixture
def exported(receiver: Receiver) -> Callable[..., Receiver]:
    """Export these calls, and return what the receiver got."""
    made: list[Spans] = []

    def export(*calls: Trace, content: Any = None) -> Receiver:
        made.append(from_environment(lambda _: OPENAI, "shard-0"))
        pump = Pump(made[0], content=content is not None, traced=True)
        for call in calls:
            pump.finished(call, "call.completed", content)
        pump.flush()
        made[0].stop()
        return receiver

    return export


def call(**more: Any) -> Trace:
    told: dict[str, Any] = {"release": "r" * 64, "rung": "act", "dialect": "chat", "attempts": 2, "cached_in": 40}
    return done(**(told | more))


def test_a_span_has_the_names_of_the_conventions(exported: Callable[..., Receiver]) -> None:
    got = exported(call())
    (span,) = got.spans
    told = plain(span.attributes)

    assert span.name == "chat gpt-4o"
    assert span.kind == span.SPAN_KIND_CLIENT
    assert span.status.code == 0
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (
        1_750_000_000_000_000_000,
        1_750_000_000_052_000_000,
    )
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "server.address": "api.openai.com",
        "server.port": 443,
    }
    assert expected.items() <= told.items()
    assert told["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.03)
    assert plain(got.resources[0].resource.attributes)["service.name"] == "bedplate"


def test_our_verdict_stands_in_our_own_namespace(exported: Callable[..., Receiver]) -> None:
    told = plain(exported(call(findings=["input: payment card"] * 2)).spans[0].attributes)
    ours = {name.removeprefix("bedplate."): value for name, value in told.items() if name.startswith("bedplate.")}
    assert ours == {
        "call.id": CALL,
        "use_case": "hr",
        "route": "live",
        "verdict": "allow",
        "status": "ok",
        "tier": 1,
        "rung": "act",
        "release": "r" * 64,
        "findings": ["input: payment card"],
        "attempts": 2,
        "cost_nano": 450_000,
    }


def test_a_refusal_is_an_error_named_after_the_control(exported: Callable[..., Receiver]) -> None:
    reasons = [("within-budget", "9 of 9 calls are used today", "wait"), ("rung-open", "its rung is off", "ask")]
    refused = done(verdict="deny", status="refused", reasons=reasons, tokens_in=0, tokens_out=0, model="")
    (span,) = exported(refused).spans
    told = plain(span.attributes)
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert told["error.type"] == "within-budget"
    assert told["bedplate.reasons"] == ["within-budget", "rung-open"]
    assert span.name == "chat"
    assert "gen_ai.usage.input_tokens" not in told


def test_a_failure_that_has_no_code_keeps_its_words_out_of_the_names(exported: Callable[..., Receiver]) -> None:
    (span,) = exported(done(status="failed", error="the upstream answered 503")).spans
    assert plain(span.attributes)["error.type"] == "_OTHER"
    assert span.status.message == "the upstream answered 503"


def test_a_span_stands_between_the_callers_and_the_upstreams(exported: Callable[..., Receiver]) -> None:
    (span,) = exported(call(traceparent=INCOMING)).spans
    onward = Pump(traced=True).onward(CALL, INCOMING).split("-")
    assert span.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736" == onward[1]
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"
    assert span.span_id.hex() == onward[2]


def test_a_trace_that_its_caller_does_not_keep_is_not_exported(exported: Callable[..., Receiver]) -> None:
    assert exported(call(traceparent=INCOMING[:-2] + "00")).spans == []


def test_the_standard_sampler_decides_about_the_others(
    exported: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    assert exported(call()).spans == []


def test_calls_that_came_as_spans_do_not_go_out_as_spans(exported: Callable[..., Receiver]) -> None:
    seen = call(status="observed")
    seen.route = "observed"
    assert exported(seen).spans == []


def test_content_goes_out_only_where_it_is_said_so(exported: Callable[..., Receiver]) -> None:
    content = {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}], "answer": "good day"}
    told = plain(exported(call(answer="good day"), content=content).spans[0].attributes)
    assert json.loads(told["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "hello"}]}
    ]
    assert json.loads(told["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "good day"}]


def test_content_is_nowhere_in_what_goes_out_otherwise(exported: Callable[..., Receiver]) -> None:
    got = exported(call(answer="the secret answer"))
    assert got.requests
    assert not any(b"secret answer" in body for _, body in got.requests)


def test_metrics_have_the_names_and_buckets_of_the_conventions(exported: Callable[..., Receiver]) -> None:
    got = exported(call(), call(status="failed", error="garbage")).metrics
    assert set(got) == {
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.duration",
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
    }
    usage = {
        plain(p.attributes)["gen_ai.token.type"]: p for p in got["gen_ai.client.token.usage"].histogram.data_points
    }
    assert (usage["input"].count, usage["input"].sum) == (2, 200)
    assert (usage["output"].count, usage["output"].sum) == (2, 40)
    assert list(usage["input"].explicit_bounds)[:4] == [1, 4, 16, 64]
    assert list(usage["input"].bucket_counts)[4] == 2
    requests = {
        plain(p.attributes).get("error.type"): p for p in got["gen_ai.server.request.duration"].histogram.data_points
    }
    assert set(requests) == {None, "garbage"}
    assert requests[None].sum == pytest.approx(0.052)
    assert got["gen_ai.server.request.duration"].unit == "s"
    assert len(got["gen_ai.server.time_to_first_token"].histogram.data_points) == 1


def test_only_what_was_asked_for_is_exported(
    exported: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    got = exported(call())
    assert got.spans
    assert got.metrics == {}


def test_when_nothing_is_received_calls_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "BOUND", 3)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    export = from_environment(lambda _: OPENAI, "shard-0")
    pump = Pump(export)
    for _ in range(5):
        pump.finished(call(), "call.completed")
    pump.flush()
    assert export.dropped == 2


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ],
)
def test_the_standard_variables_turn_it_on(environment: dict[str, str], *, on: bool) -> None:
    assert wanted(environment) is on


def test_nothing_of_it_is_imported_while_it_is_off() -> None:
    program = (
        "import sys, bedplate.gateway.spans as spans; assert not spans.wanted({});"
        "sys.exit(any(name.startswith('opentelemetry.') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://api.openai.com/v1", OPENAI),
        ("https://acme.openai.azure.com/openai/v1", Endpoint("azure.ai.openai", "acme.openai.azure.com", 443)),
        ("http://127.0.0.1:8000/v1", Endpoint("openai", "127.0.0.1", 8000)),
        ("http://evilapi.openai.com.example/v1", Endpoint("openai", "evilapi.openai.com.example", 80)),
        ("https://notapi.anthropic.com", Endpoint("openai", "notapi.anthropic.com", 443)),
        ("embedded", Endpoint("bedplate")),
    ],
)
def test_an_upstreams_address_names_its_provider(url: str, place: Endpoint) -> None:
    assert endpoint(url) == place
