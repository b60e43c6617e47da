"""Figures for Prometheus: added up beside the calls, shared by the processes of one port through the data folder.

prometheus_client neither counts nor writes them: a lock for each of the dozen series of a call costs more than the
call's verdict, a page of 200 use cases a quarter of a second, and its multi-process mode is chosen by a variable before
the first import. What it knows of the process itself is taken from it.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from prometheus_client import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from .telemetry import Finished

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
MOST = {"use_case": 200, "model": 100, "upstream": 50, "label": 100, "control": 100}  # values of a label; then `other`
SHOWN = 300  # seconds that the counters of a silent process are shown; after as many Prometheus calls them stale
FRESH = 15  # seconds that its gauges are
PUBLISHED = 2.0  # seconds between two publications
MOST_ROWS = 20_000  # combinations remembered; forgetting them loses no count
MICROS = 1_000_000

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CALL = tuple(round(seconds * MICROS) for seconds in SECONDS)
ADDED = (50, 100, 200, 300, 500, 750, 1000, 2500, 5000, 10_000, 25_000, 100_000, 1 * MICROS)

Cells = dict[str, dict[tuple[str, ...], list[int]]]


class Family(NamedTuple):
    """A metric: what it says, its labels, and for a histogram the upper edges of its buckets in microseconds."""

    help: str
    labels: tuple[str, ...]
    edges: tuple[int, ...] = ()


FAMILIES = {
    "bedplate_call_seconds": Family(
        "From the request's last byte to its record.", ("use_case", "tier", "status"), CALL
    ),
    "bedplate_added_seconds": Family(
        "What governance added: the call without its upstream.", ("use_case", "tier", "status"), ADDED
    ),
    "bedplate_upstream_seconds": Family("The upstream's part of a call.", ("upstream", "model"), CALL),
    "bedplate_first_token_seconds": Family("To the first byte of the upstream's answer.", ("upstream", "model"), CALL),
    "bedplate_calls_total": Family("Calls on record.", ("use_case", "route", "verdict", "status")),
    "bedplate_tokens_total": Family("Tokens used.", ("use_case", "model", "direction")),
    "bedplate_cost_nano_total": Family("Cost in nano-US-dollars.", ("use_case", "model")),
    "bedplate_guardrail_findings_total": Family("What guardrails found.", ("direction", "label")),
    "bedplate_refusals_total": Family("Refused calls, by the control that refused.", ("control",)),
    "bedplate_observed_spans_total": Family("Spans that came in.", ("outcome",)),
    "bedplate_telemetry_dropped_total": Family("Calls on record that are missing in these figures.", ()),
}
GAUGES = {
    "bedplate_breaker_state": ("0 closed, 1 half open, 2 open.", "upstream"),
    "bedplate_journal_queue_depth": ("Records that wait for their commit.", ""),
    "bedplate_standing_age_seconds": ("How old the standing is that calls are judged against.", ""),
}
Reading = tuple[str, str, float]  # gauge, value of its label or "", value


class Row(NamedTuple):
    """The cells that a call of one kind adds to."""

    calls: list[int]
    whole: list[int]
    added: list[int]
    upstream: list[int]
    first: list[int]
    tokens_in: list[int]
    tokens_out: list[int]
    cost: list[int]


class Published(msgspec.Struct):
    """What one process shows the others. `at` in seconds since the epoch."""

    at: float
    cells: dict[str, list[tuple[list[str], list[int]]]]
    gauges: list[Reading]
    process: list[tuple[str, str, float]]  # metric, type, value


class Metrics:
    """Implements the telemetry's `Sink`. `folder` is shared by the processes; `shard` tells them apart in it.

    A counter never falls while its process lives, whichever process is asked: each publishes before it answers.
    """

    def __init__(
        self,
        shard: str,
        folder: Path | None = None,
        gauges: Callable[[], Iterable[Reading]] = tuple,
        dropped: Callable[[], int] = int,
    ) -> None:
        self._shard = shard
        self._folder = folder
        self._gauges = gauges
        self._dropped = dropped
        self._changing = threading.Lock()
        self._cells: Cells = {name: {} for name in FAMILIES}
        self._rows: dict[tuple[Any, ...], Row] = {}
        self._seen: dict[str, set[str]] = {}
        self._published = 0.0
        self._process = ProcessCollector(registry=None)

    def take(self, calls: Sequence[Finished]) -> None:
        """Add up calls."""
        with self._changing:
            for call in calls:
                self._add(call)

    def came_in(self, outcome: str, spans: int) -> None:
        """Add up spans that came in: call, action, known, ignored or rejected."""
        with self._changing:
            self._cell("bedplate_observed_spans_total", outcome)[0] += spans

    def start(self) -> None:
        """Do nothing: it counts from the beginning."""

    def stop(self) -> None:
        """Publish the last figures."""
        self.publish()

    def tick(self) -> None:
        """Publish, when it is time to."""
        if time.monotonic() - self._published >= PUBLISHED:
            self.publish()

    def publish(self) -> None:
        """Show the other processes what this one counted."""
        if self._folder is None:
            return
        self._published = time.monotonic()
        path = self._folder / f"{self._shard}.json"
        beside = path.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.write_bytes(msgspec.json.encode(self._own()))
            beside.replace(path)
        except OSError as broken:  # a full disk costs the others this process's figures
            log.warning("metrics.unpublished", extra={"error": str(broken)})

    def text(self) -> bytes:
        """Return the figures of all processes in Prometheus' text format. Reads files: not for an event loop."""
        self.publish()
        shown = {self._shard: self._own(), **self._others()}
        fresh = {shard: one for shard, one in shown.items() if time.time() - one.at <= FRESH}
        lines: list[str] = []
        for name, family in FAMILIES.items():
            lines += _head(name, "histogram" if family.edges else "counter", family.help)
            for shard, one in shown.items():
                for values, cell in one.cells.get(name, ()):
                    lines += _series(name, family, (*values, shard), cell)
        for name, (text, label) in GAUGES.items():
            lines += _head(name, "gauge", text)
            for shard, one in fresh.items():
                told = [(value, number) for gauge, value, number in one.gauges if gauge == name]
                lines += [_line(name, ((label, value),) if label else (), shard, number) for value, number in told]
        kinds = {name: kind for one in fresh.values() for name, kind, _ in one.process}
        for name, kind in kinds.items():
            lines += _head(name, kind, "Of a process, as the system tells it.")
            for shard, one in fresh.items():
                lines += [_line(name, (), shard, value) for told, _, value in one.process if told == name]
        return "\n".join([*lines, ""]).encode()

    def _add(self, call: Finished) -> None:
        key = (call.subject, call.tier, call.status, call.route, call.verdict, call.upstream, call.model)
        row = self._rows.get(key)
        if row is None:
            row = self._row(call)
            if len(self._rows) >= MOST_ROWS:
                self._rows.clear()
            self._rows[key] = row
        row.calls[0] += 1
        if call.tokens_in or call.tokens_out:
            row.tokens_in[0] += call.tokens_in
            row.tokens_out[0] += call.tokens_out
            row.cost[0] += call.cost_nano
        if call.route == "live":
            took = call.latency_us
            _observe(row.whole, took, CALL)
            _observe(row.added, max(0, took - call.upstream_us), ADDED)
            if call.upstream_us:
                _observe(row.upstream, call.upstream_us, CALL)
            if call.first_us:
                _observe(row.first, call.first_us, CALL)
        if call.route != "canary":
            self._judged(call)

    def _judged(self, call: Finished) -> None:
        for control, _, _ in call.reasons if call.status == "refused" else ():
            self._cell("bedplate_refusals_total", self._value("control", control))[0] += 1
        for finding in call.findings:
            direction, _, label = finding.partition(": ")
            self._cell("bedplate_guardrail_findings_total", direction, self._value("label", label))[0] += 1

    def _row(self, call: Finished) -> Row:
        case = self._value("use_case", call.subject.partition("/")[2] or call.subject)
        upstream, model = self._value("upstream", call.upstream), self._value("model", call.model)
        about, to = (case, str(call.tier), call.status), (upstream, model)
        return Row(
            calls=self._cell("bedplate_calls_total", case, call.route, call.verdict, call.status),
            whole=self._cell("bedplate_call_seconds", *about),
            added=self._cell("bedplate_added_seconds", *about),
            upstream=self._cell("bedplate_upstream_seconds", *to),
            first=self._cell("bedplate_first_token_seconds", *to),
            tokens_in=self._cell("bedplate_tokens_total", case, model, "input"),
            tokens_out=self._cell("bedplate_tokens_total", case, model, "output"),
            cost=self._cell("bedplate_cost_nano_total", case, model),
        )

    def _cell(self, name: str, *labels: str) -> list[int]:
        """Return a counter's one number, or a histogram's sum and buckets."""
        cells = self._cells[name]
        cell = cells.get(labels)
        if cell is None:
            edges = FAMILIES[name].edges
            cell = cells[labels] = [0] * (len(edges) + 2 if edges else 1)
        return cell

    def _value(self, label: str, value: str) -> str:
        """Return the value of a label, or `other` where there are too many: what a client can name is unbounded."""
        seen = self._seen.setdefault(label, set())
        if value not in seen:
            if len(seen) >= MOST[label]:
                return OTHER
            seen.add(value)
        return value

    def _own(self) -> Published:
        with self._changing:
            cells = {
                name: [(list(labels), list(cell)) for labels, cell in cells.items() if any(cell)]
                for name, cells in self._cells.items()
            }
        cells["bedplate_telemetry_dropped_total"] = [([], [self._dropped()])]
        process = [(s.name, family.type, s.value) for family in self._process.collect() for s in family.samples]
        return Published(time.time(), cells, list(self._gauges()), process)

    def _others(self) -> dict[str, Published]:
        found: dict[str, Published] = {}
        for path in sorted(self._folder.glob("*.json")) if self._folder is not None else ():
            if path.stem == self._shard:
                continue
            try:
                one = msgspec.json.decode(path.read_bytes(), type=Published)
            except (OSError, msgspec.MsgspecError):  # it just ended, or is of another version
                continue
            if time.time() - one.at <= SHOWN:
                found[path.stem] = one
        return found


def _observe(cell: list[int], value: int, edges: tuple[int, ...]) -> None:
    cell[0] += value
    cell[1 + bisect_left(edges, value)] += 1


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _series(name: str, family: Family, values: tuple[str, ...], cell: list[int]) -> list[str]:
    labels, size = (*family.labels, "shard"), len(family.edges) + 2 if family.edges else 1
    if len(values) != len(labels) or len(cell) != size:  # counted by another version
        return []
    told = ",".join(f'{label}="{_quoted(value)}"' for label, value in zip(labels, values, strict=True))
    if not family.edges:
        return [f"{name}{{{told}}} {cell[0]}"]
    edges = [*(str(edge / MICROS) for edge in family.edges), "+Inf"]
    sums = list(accumulate(cell[1:]))
    buckets = [f'{name}_bucket{{{told},le="{edge}"}} {count}' for edge, count in zip(edges, sums, strict=True)]
    return [*buckets, f"{name}_sum{{{told}}} {cell[0] / MICROS}", f"{name}_count{{{told}}} {sums[-1]}"]


def _line(name: str, labels: tuple[tuple[str, str], ...], shard: str, value: float) -> str:
    told = ",".join(f'{label}="{_quoted(text)}"' for label, text in (*labels, ("shard", shard)))
    return f"{name}{{{told}}} {value}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
