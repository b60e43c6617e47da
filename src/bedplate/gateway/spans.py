"""Calls as OpenTelemetry spans and metrics, sent over OTLP/HTTP. Needs the extra `otel`; imported only when it is on.

Names and buckets: OpenTelemetry semantic conventions for generative AI, as of 1.42 (status: development). What they
have no name for, our verdict above all, stands under `bedplate.`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections import deque
from contextlib import suppress
from importlib.util import find_spec
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from bedplate import __version__

from . import traceparent
from .measures import Measures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from .endpoint import Endpoint
    from .measures import Attributes
    from .telemetry import Finished

log = logging.getLogger(__name__)

BOUND = 8192  # calls that wait to be exported
BATCH = 512
EVERY = 1.0  # seconds
LAST = 5.0  # seconds
MICROS = 1_000_000
NANOS = 1000  # in a microsecond
CODE = re.compile(r"[a-zA-Z0-9_.:-]{1,60}")


class Exporter(Protocol):
    """What sends spans: `opentelemetry.sdk.trace.export.SpanExporter`."""

    def export(self, spans: Sequence[ReadableSpan]) -> object:
        """Send spans; a transport that fails says so in what it returns, or raises."""
        ...

    def shutdown(self) -> None:
        """Let the connection go."""
        ...


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the standard variables ask for export, and the extra is there to do it."""
    get = {k: v.strip().lower() for k, v in environment.items() if k.startswith("OTEL_")}.get
    if get("OTEL_SDK_DISABLED") == "true" or get("OTEL_TRACES_EXPORTER") in {"none", "console"}:
        return False
    named = get("OTEL_EXPORTER_OTLP_ENDPOINT") or get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not named and get("OTEL_TRACES_EXPORTER") != "otlp":
        return False
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        log.warning(
            "telemetry.off",
            extra={"why": "OTEL_… asks for spans", "hint": "install the extra: pip install 'bedplate[otel]'"},
        )
        return False
    return True


def from_environment(upstreams: Callable[[str], Endpoint], shard: str) -> Spans:
    """Build the export that the standard OTEL_… variables describe: endpoint, headers, sampler, resource."""
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415  lazy: 100 ms
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  as above
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  as above
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  as above
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415  as above

    resource = Resource.create({"service.instance.id": shard})
    if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "bedplate"}))
    scope = InstrumentationScope("bedplate.gateway", __version__)
    measures = None
    if os.environ.get("OTEL_METRICS_EXPORTER", "otlp").strip().lower() == "otlp":
        measures = Measures(OTLPMetricExporter(), resource, scope)
    sampler = TracerProvider(resource=resource, shutdown_on_exit=False).sampler
    return Spans(OTLPSpanExporter(), resource, scope, sampler, upstreams, measures)


class Spans:
    """Implements the telemetry's `Sink`: builds spans in a thread of its own, for an export may wait for its network.

    When more calls wait than it holds the oldest are dropped and counted.
    """

    def __init__(
        self,
        exporter: Exporter | SpanExporter,
        resource: Resource,
        scope: InstrumentationScope,
        sampler: Sampler,
        upstreams: Callable[[str], Endpoint],
        measures: Measures | None = None,
    ) -> None:
        self.dropped = 0
        self._exporter = exporter
        self._resource = resource
        self._scope = scope
        self._sampler = sampler
        self._upstreams = upstreams
        self._measures = measures
        self._queue: deque[Finished] = deque(maxlen=BOUND)
        self._exporting = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bedplate-spans", daemon=True)

    def start(self) -> None:
        """Begin to export, once a second."""
        self._thread.start()

    def stop(self) -> None:
        """Export what is left, for a few seconds at most, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(LAST)
        if not self._thread.is_alive():  # else its network is gone, and so is what waits
            with suppress(Exception):
                self.flush(time.monotonic() + LAST)
        self._exporter.shutdown()
        if self._measures is not None:
            with suppress(Exception):
                self._measures.stop()

    def take(self, calls: Sequence[Finished]) -> None:
        """Put calls in the queue, but those that others told of: they are spans already."""
        calls = [call for call in calls if call.route != "observed"]
        self.dropped += max(0, len(self._queue) + len(calls) - BOUND)
        self._queue.extend(calls)

    def tick(self) -> None:
        """Do nothing: there is a thread for it."""

    def flush(self, until: float = inf) -> None:
        """Export what is in the queue now; begin no batch after a moment of the monotonic clock."""
        with self._exporting:
            while self._queue and time.monotonic() < until:
                calls = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                for call in calls:
                    self._measure(call)
                spans = [span for call in calls if (span := self._span(call)) is not None]
                if spans:
                    self._exporter.export(spans)
            if self._measures is not None:
                self._measures.tick()

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self.flush()
            except Exception as broken:  # noqa: BLE001  what was in the batch is lost, and the next one is tried
                log.warning("telemetry.unexported", extra={"error": repr(broken)})

    def _span(self, call: Finished) -> ReadableSpan | None:
        from opentelemetry import trace as otel  # noqa: PLC0415  as above
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415  as above
        from opentelemetry.sdk.trace.sampling import Decision  # noqa: PLC0415  as above
        from opentelemetry.trace.propagation import set_span_in_context  # noqa: PLC0415  as above

        ours = traceparent.of_call(call.id, call.traceparent)
        theirs = traceparent.read(call.traceparent) if call.traceparent else None
        number, name = int(ours.trace, 16), f"{_operation(call)} {call.model}".strip()
        parent = None
        context = None
        if theirs is not None:
            flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if theirs.sampled else otel.TraceFlags.DEFAULT)
            parent = otel.SpanContext(number, int(theirs.span, 16), is_remote=True, trace_flags=flags)
            context = set_span_in_context(otel.NonRecordingSpan(parent))
        about = dict(_about(call, self._upstreams(call.upstream)))
        sampled = self._sampler.should_sample(context, number, name, otel.SpanKind.CLIENT, about)
        if sampled.decision is not Decision.RECORD_AND_SAMPLE:
            return None
        own = otel.TraceFlags(otel.TraceFlags.SAMPLED)
        wrong = call.status != "ok"
        status = otel.Status(otel.StatusCode.ERROR, _why(call)) if wrong else otel.Status()
        return ReadableSpan(
            name,
            otel.SpanContext(number, int(ours.span, 16), is_remote=False, trace_flags=own),
            parent,
            self._resource,
            about | _attributes(call),
            kind=otel.SpanKind.CLIENT,
            status=status,
            start_time=call.started * NANOS,
            end_time=(call.started + call.latency_us) * NANOS,
            instrumentation_scope=self._scope,
        )

    def _measure(self, call: Finished) -> None:
        measures = self._measures
        if measures is None or call.route != "live":
            return
        about = _about(call, self._upstreams(call.upstream))
        if call.tokens_in or call.tokens_out:
            measures.record("gen_ai.client.token.usage", call.tokens_in, (*about, ("gen_ai.token.type", "input")))
            measures.record("gen_ai.client.token.usage", call.tokens_out, (*about, ("gen_ai.token.type", "output")))
        wrong = _error(call)
        if wrong:
            about = (*about, ("error.type", wrong))
        measures.record("gen_ai.server.request.duration", call.latency_us / MICROS, about)
        if call.upstream_us:
            measures.record("gen_ai.client.operation.duration", call.upstream_us / MICROS, about)
        if call.first_us and not wrong:
            measures.record("gen_ai.server.time_to_first_token", call.first_us / MICROS, about)


def _about(call: Finished, place: Endpoint) -> Attributes:
    """Return what tells series apart, and what a sampler may look at."""
    found: Attributes = (("gen_ai.operation.name", _operation(call)), ("gen_ai.provider.name", place.provider))
    if call.model:
        found = (*found, ("gen_ai.request.model", call.model))
    if call.answered_by:
        found = (*found, ("gen_ai.response.model", call.answered_by))
    if place.address:
        found = (*found, ("server.address", place.address), ("server.port", place.port))
    return found


def _attributes(call: Finished) -> dict[str, Any]:
    found: dict[str, Any] = {
        "gen_ai.response.finish_reasons": (call.finish,) if call.finish else (),
        "gen_ai.response.time_to_first_chunk": call.first_us / MICROS,
        "error.type": _error(call),
        "bedplate.call.id": call.id,
        "bedplate.use_case": call.subject.partition("/")[2] or call.subject,
        "bedplate.route": call.route,
        "bedplate.verdict": call.verdict,
        "bedplate.status": call.status,
        "bedplate.tier": call.tier,
        "bedplate.rung": call.rung,
        "bedplate.release": call.release,
        "bedplate.reasons": tuple(dict.fromkeys(control for control, _, _ in call.reasons)),
        "bedplate.findings": tuple(dict.fromkeys(call.findings)),
        "bedplate.attempts": call.attempts,
    }
    if call.tokens_in or call.tokens_out:
        found["gen_ai.usage.input_tokens"] = call.tokens_in
        found["gen_ai.usage.output_tokens"] = call.tokens_out
        found["gen_ai.usage.cache_read.input_tokens"] = call.cached_in
    kept = {name: value for name, value in found.items() if value not in ("", (), 0)}
    if call.tokens_in or call.tokens_out:
        kept["bedplate.cost_nano"] = call.cost_nano
    return kept | (_content(call.content) if call.content is not None else {})


def _content(content: Mapping[str, Any]) -> dict[str, str]:
    """Write what was asked and answered as the conventions have it: messages with parts, as JSON."""
    messages = content.get("messages")
    asked = [_message(m) for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []
    answer = {"role": "assistant", "parts": [{"type": "text", "content": str(content.get("answer", ""))}]}
    return {
        "gen_ai.input.messages": json.dumps(asked, ensure_ascii=False),
        "gen_ai.output.messages": json.dumps([answer], ensure_ascii=False),
    }


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [p if isinstance(p, str) else p.get("text") for p in parts if isinstance(p, str | dict)]
    told = [{"type": "text", "content": text} for text in texts if isinstance(text, str)]
    return {"role": str(message.get("role", "")), "parts": told}


def _operation(call: Finished) -> str:
    return "embeddings" if call.dialect == "embeddings" else "chat"


def _error(call: Finished) -> str:
    """Name the kind of error, of which there must be few: the control that refused, or what broke."""
    if call.status == "ok":
        return ""
    if call.reasons:
        return call.reasons[0][0]
    if call.status == "aborted":
        return "aborted"
    return call.error if CODE.fullmatch(call.error) else "_OTHER"


def _why(call: Finished) -> str:
    return call.reasons[0][1] if call.reasons else call.error
