"""The metrics of OpenTelemetry's GenAI conventions, added up here and sent as they stand.

The SDK's own histograms take some 15 µs for each value, five of them a call; sums and buckets take one.
Needs the extra `otel`.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter, MetricsData
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

EVERY = 60.0  # seconds, as the SDK has it by default
MOST = 2000  # combinations of attributes, as the SDK has it; what is beyond is added to one called overflow
OVERFLOW = (("otel.metric.overflow", True),)

TOKENS = tuple(float(4**n) for n in range(14))
SECONDS = tuple(0.01 * 2**n for n in range(14))
FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

Attributes = tuple[tuple[str, str | int | bool], ...]


class Instrument(NamedTuple):
    """A histogram of the conventions: its unit, and the upper edges of its buckets."""

    help: str
    unit: str
    edges: tuple[float, ...]


INSTRUMENTS = {  # to its clients the gateway is a server; to the upstream it is a client
    "gen_ai.client.token.usage": Instrument("Number of input and output tokens used.", "{token}", TOKENS),
    "gen_ai.client.operation.duration": Instrument("GenAI operation duration.", "s", SECONDS),
    "gen_ai.server.request.duration": Instrument("Generative AI server request duration.", "s", SECONDS),
    "gen_ai.server.time_to_first_token": Instrument("Time to generate first token.", "s", FIRST),
}


class Point:
    """One series of a histogram."""

    __slots__ = ("buckets", "least", "most", "total")

    def __init__(self, edges: int) -> None:
        self.total = 0.0
        self.least = float("inf")
        self.most = float("-inf")
        self.buckets = [0] * (edges + 1)


class Exporter(Protocol):
    """What sends metrics: `opentelemetry.sdk.metrics.export.MetricExporter`."""

    def export(self, metrics_data: MetricsData) -> object:
        """Send metrics."""
        ...

    def shutdown(self) -> None:
        """Let the connection go."""
        ...


class Measures:
    """Cumulative histograms since this process began. One thread only."""

    def __init__(self, exporter: Exporter | MetricExporter, resource: Resource, scope: InstrumentationScope) -> None:
        self._exporter = exporter
        self._resource = resource
        self._scope = scope
        self._since = time.time_ns()
        self._due = time.monotonic() + EVERY
        self._points: dict[str, dict[Attributes, Point]] = {name: {} for name in INSTRUMENTS}

    def record(self, name: str, value: float, attributes: Attributes) -> None:
        """Add one value to a histogram."""
        edges, points = INSTRUMENTS[name].edges, self._points[name]
        point = points.get(attributes)
        if point is None:
            key = attributes if len(points) < MOST else OVERFLOW
            point = points.setdefault(key, Point(len(edges)))
        point.total += value
        point.least, point.most = min(point.least, value), max(point.most, value)
        point.buckets[bisect_left(edges, value)] += 1

    def tick(self) -> None:
        """Export, when it is time to."""
        if time.monotonic() >= self._due:
            self.export()

    def export(self) -> None:
        """Send everything as it stands."""
        self._due = time.monotonic() + EVERY
        if any(self._points.values()):
            self._exporter.export(self._data())

    def stop(self) -> None:
        """Send a last time, and let the connection go."""
        self.export()
        self._exporter.shutdown()

    def _data(self) -> MetricsData:
        from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415  the extra may not be there
            AggregationTemporality,
            Histogram,
            HistogramDataPoint,
            Metric,
            MetricsData,
            ResourceMetrics,
            ScopeMetrics,
        )

        now, metrics = time.time_ns(), []
        for name, (text, unit, edges) in INSTRUMENTS.items():
            points = [
                HistogramDataPoint(
                    attributes=dict(attributes),
                    start_time_unix_nano=self._since,
                    time_unix_nano=now,
                    count=sum(point.buckets),
                    sum=point.total,
                    bucket_counts=list(point.buckets),
                    explicit_bounds=list(edges),
                    min=point.least,
                    max=point.most,
                )
                for attributes, point in self._points[name].items()
            ]
            if points:
                metrics.append(Metric(name, text, unit, Histogram(points, AggregationTemporality.CUMULATIVE)))
        scopes = [ScopeMetrics(self._scope, metrics, "")]
        return MetricsData([ResourceMetrics(self._resource, scopes, "")])
