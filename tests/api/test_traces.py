"""`/v1/traces` over the wire: the OpenTelemetry SDK as an app sets it up, and bodies that it would not send."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from tests.gateway.test_observed import CURRENT, PARTS, request, span
from tests.gateway.test_observed_judged import HR, KEY, House

from bedplate.api.traces import RATE, Traces
from bedplate.errors import Unavailable
from bedplate.gateway import otlp
from bedplate.gateway.observer import Observer
from bedplate.gateway.throttle import Rate
from bedplate.kernel.clock import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = "application/json"
SAID: dict[str, Any] = {**CURRENT, **PARTS}
SECOND_KEY = "bpk_second"
Status: Any = import_module("google.rpc.status_pb2").Status


@dataclass
class Served:
    """The receiver on a port of its own."""

    house: House
    counts: dict[str, int] = field(default_factory=dict)
    port: int = 0
    rate: Rate = RATE
    now: int = 10**12  # monotonic microseconds

    def count(self, outcome: str, spans: int) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + spans

    def app(self) -> Traces:
        bench = replace(self.house.bench, identify=self.identify)
        return Traces(Observer(bench), self.count, rate=self.rate, now=lambda: self.now)

    def identify(self, secret: str) -> tuple[str, str]:
        return (HR, "key/2") if secret == SECOND_KEY else self.house.identify(secret)

    def ahead(self, seconds: int) -> None:
        self.now += seconds * SECOND

    def post(self, body: bytes, kind: str = JSON, **more: str) -> tuple[int, bytes]:
        status, _, content = self.answer(body, kind, **more)
        return status, content

    def answer(
        self, body: bytes, kind: str = JSON, key: str = KEY, method: str = "POST", **more: str
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {"content-type": kind, **({"authorization": f"Bearer {key}"} if key else {}), **more}
        headers = {name.replace("_", "-"): value for name, value in headers.items() if value}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, "/v1/traces", body, headers)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    made = Served(House(), rate=getattr(request, "param", RATE))
    server = uvicorn.Server(uvicorn.Config(made.app(), port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    made.port = server.servers[0].sockets[0].getsockname()[1]
    yield made
    server.should_exit = True
    thread.join()


def one(body: bytes | None = None) -> bytes:
    return body if body is not None else request(span(CURRENT | PARTS))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_the_opentelemetry_sdk_needs_an_endpoint_and_a_key(
    served: Served, monkeypatch: pytest.MonkeyPatch, compression: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{served.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization=Bearer {KEY}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
    served.house.clock.now = time.time_ns() // 1000 + SECOND
    provider = TracerProvider(resource=Resource.create({"service.name": "leave-bot"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("app")
    with (
        tracer.start_as_current_span("POST /ask", kind=SpanKind.SERVER),
        tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=SAID) as made,
    ):
        pass
    provider.shutdown()

    found = served.house.shard.only
    (content,) = served.house.shard.contents.values()
    assert content is not None
    assert (found["use_case"], found["route"], found["verdict"], found["tokens_in"]) == (HR, "observed", "allow", 12)
    assert content["span"]["trace_id"] == f"{made.get_span_context().trace_id:032x}"
    assert served.counts == {"call": 1, "known": 0, "ignored": 1, "rejected": 0}


@pytest.mark.parametrize("served", [Rate(calls_per_minute=3)], indirect=True)
def test_more_requests_than_are_taken_in_a_minute_are_told_when_to_come_again(served: Served) -> None:
    assert [served.post(one())[0] for _ in range(3)] == [200, 200, 200]
    for kind in (JSON, otlp.PROTOBUF):
        status, headers, content = served.answer(one(), kind)
        assert (status, headers["retry-after"], headers["content-type"]) == (429, "20", kind)
        told = json.loads(content)["code"] if kind == JSON else Status.FromString(content).code
        assert told == 8, "google.rpc.Code.RESOURCE_EXHAUSTED"
    assert len(served.house.shard.entries) == 1, "the same span, once"
    assert served.post(one(), key="another")[0] == 401, "whoever has no key learns no more than that"

    served.ahead(19)
    assert served.post(one())[0] == 429
    served.ahead(1)
    assert [served.post(one())[0] for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("served", [Rate(tokens_per_minute=60)], indirect=True)
def test_spans_count_as_well_and_what_was_too_many_is_owed(served: Served) -> None:
    many = request(*(span(CURRENT | PARTS) for _ in range(90)))
    assert served.post(many)[0] == 200
    status, headers, _ = served.answer(one())
    assert (status, headers["retry-after"]) == (429, "31"), "thirty are owed, and one is to come"
    served.ahead(31)
    assert [served.post(one())[0] for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("served", [Rate(calls_per_minute=3)], indirect=True)
def test_a_key_has_a_limit_of_its_own(served: Served) -> None:
    first = [served.post(one())[0] for _ in range(4)]
    assert (first, served.post(one(), key=SECOND_KEY)[0]) == ([200, 200, 200, 429], 200)


def test_an_exporter_that_sends_a_batch_each_second_never_meets_the_limit(served: Served) -> None:
    statuses = set()
    for _ in range(90):
        statuses.add(served.post(one())[0])
        served.ahead(1)
    assert statuses == {200}


def test_json_is_answered_in_json(served: Served) -> None:
    assert served.post(one(), "application/json; charset=utf-8") == (200, b"{}")
    assert len(served.house.shard.entries) == 1


def test_a_span_sent_twice_is_one_call(served: Served) -> None:
    for _ in range(2):
        assert served.post(one())[0] == 200
    assert len(served.house.shard.entries) == 1
    assert served.counts["known"] == 1


def test_rejected_spans_are_told_and_the_others_taken(served: Served) -> None:
    status, body = served.post(request(span(CURRENT, traceId="0" * 32), span(CURRENT)))
    assert status == 200
    assert json.loads(body) == {
        "partialSuccess": {"rejectedSpans": "1", "errorMessage": "1 spans have no valid ids or times"}
    }
    assert len(served.house.shard.entries) == 1


def test_protobuf_is_answered_in_protobuf(served: Served) -> None:
    status, body = served.post(b"", "application/x-protobuf")
    assert (status, ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans) == (200, 0)


def test_a_client_of_the_gateway_that_is_traced_too_is_not_seen_twice(served: Served) -> None:
    through = {"server.address": "127.0.0.1", "server.port": served.port}
    assert served.post(request(span(CURRENT | through)))[0] == 200
    assert served.house.shard.entries == {}
    assert served.counts["ignored"] == 1


@pytest.mark.parametrize("key", ["", "bpk_other"])
def test_without_a_valid_key_nothing_is_read(served: Served, key: str) -> None:
    status, body = served.post(b"{", key=key)
    assert status == 401
    assert json.loads(body)["code"] == 16
    assert served.house.shard.entries == {}


@pytest.mark.parametrize(
    ("body", "more", "status"),
    [
        (b"{", {}, 400),
        (b"{}", {"kind": "text/plain"}, 415),
        (b"{}", {"content_encoding": "br"}, 400),
        (b"not gzip", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"{}" * 100, mtime=0)[:-9], {"content_encoding": "gzip"}, 400),
        (b" " * (otlp.MAX_BODY + 1), {}, 413),
        (gzip.compress(b" " * (otlp.MAX_BODY + 1), mtime=0), {"content_encoding": "gzip"}, 413),
        (b"", {"method": "GET"}, 405),
    ],
)
def test_what_cannot_be_taken_is_refused_and_not_to_be_sent_again(
    served: Served, body: bytes, more: dict[str, Any], status: int
) -> None:
    got, answer = served.post(body, **more)
    assert got == status
    assert json.loads(answer)["message"]


def test_a_gzip_bomb_is_not_unpacked(served: Served) -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    assert len(bomb) < otlp.MAX_BODY
    assert served.post(bomb, content_encoding="gzip")[0] == 413


def test_while_calls_cannot_be_recorded_the_exporter_is_to_try_again(served: Served) -> None:
    served.house.shard.fails = Unavailable("the disk is full")
    assert served.post(one())[0] == 503
    served.house.shard.fails = None
    assert served.post(one())[0] == 200
    assert len(served.house.shard.entries) == 1
