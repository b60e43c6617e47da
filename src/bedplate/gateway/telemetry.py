"""What is told of calls once they are on record: handed over in a microsecond, counted and exported beside them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from . import spans, traceparent
from .call import Trace
from .endpoint import endpoint
from .metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from .metrics import Reading

log = logging.getLogger(__name__)

BOUND = 16_384  # calls: a second of them at full load
EVERY = 0.2  # seconds


class Finished(NamedTuple):
    """A call that is on record. Fields as in `Trace`; times in microseconds, money in nano-US-dollars.

    `content` is None unless a setting says that content is exported.
    """

    id: str
    subject: str
    route: str
    started: int
    tier: int
    release: str
    rung: str
    model: str
    upstream: str
    verdict: str
    status: str
    reasons: Sequence[tuple[str, str, str]]
    findings: Sequence[str]
    tokens_in: int
    tokens_out: int
    error: str
    dialect: str
    cost_nano: int
    cached_in: int
    attempts: int
    latency_us: int
    upstream_us: int
    first_us: int
    traceparent: str
    finish: str = ""  # why the model stopped
    answered_by: str = ""  # the model as the upstream names it
    content: Mapping[str, Any] | None = None


class Telemetry(Protocol):
    """Whom the recorder tells, once for each call, after its record is durable."""

    def finished(self, trace: Trace, kind: str, content: Mapping[str, Any] | None = None) -> None:
        """Take note of a call by the kind of its record. Never blocks, never raises."""
        ...


class Sink(Protocol):
    """Where finished calls go."""

    def take(self, calls: Sequence[Finished]) -> None:
        """Take calls, in the order in which they finished."""
        ...

    def tick(self) -> None:
        """Do what is due: called a few times a second, in the thread that also calls `take`."""
        ...

    def start(self) -> None:
        """Begin, with the queue."""
        ...

    def stop(self) -> None:
        """End, after the last calls were taken."""
        ...


TAKEN = tuple(name for name in Finished._fields if name in Trace.__dataclass_fields__)
LACKING = ("",) * (len(Finished._fields) - len(TAKEN) - 1)
_taken = attrgetter(*TAKEN)


class Pump:
    """Implements `Telemetry`: a bounded queue, and a thread that hands what is in it to the sinks.

    When it is full the oldest call is dropped and counted. `content` lets sinks see what was asked and answered.
    `traced` says that calls become spans, so that an upstream's span has one of ours as its parent.
    """

    def __init__(self, *sinks: Sink, content: bool = False, traced: bool = False, bound: int = BOUND) -> None:
        self.dropped = 0
        self._sinks = sinks
        self._content = content
        self._traced = traced
        self._bound = bound
        self._queue: deque[tuple[tuple[Any, ...], Mapping[str, Any] | None]] = deque(maxlen=bound)
        self._emptying = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bedplate-telemetry", daemon=True)

    def finished(self, trace: Trace, kind: str, content: Mapping[str, Any] | None = None) -> None:
        """Take note of a call: one append. An intent is not a call yet."""
        if kind == "call.intent":
            return
        queue = self._queue
        if len(queue) == self._bound:
            self.dropped += 1
        queue.append((_taken(trace), content if self._content else None))

    def onward(self, call_id: str, incoming: str) -> str:
        """Return the `traceparent` header for the upstream: our span's, or what came in where we make none."""
        return str(traceparent.of_call(call_id, incoming)) if self._traced else incoming

    def start(self) -> None:
        """Begin to hand over, a few times a second."""
        for sink in self._sinks:
            sink.start()
        self._thread.start()

    def stop(self) -> None:
        """Hand over what is left and end the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.flush()
        for sink in self._sinks:
            sink.stop()

    def flush(self) -> None:
        """Hand over what is in the queue now."""
        with self._emptying:
            calls = [_made(*self._queue.popleft()) for _ in range(len(self._queue))]
            for sink in self._sinks if calls else ():
                try:
                    sink.take(calls)
                except Exception as broken:  # noqa: BLE001  a sink that is broken costs its figures, not the calls
                    log.warning(
                        "telemetry.lost",
                        extra={"sink": type(sink).__name__, "calls": len(calls), "error": repr(broken)},
                    )

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self.flush()
            for sink in self._sinks:
                sink.tick()


def open_telemetry(
    shard: str,
    folder: Path,
    gauges: Callable[[], Iterable[Reading]],
    urls: Callable[[str], str],
    *,
    content: bool = False,
) -> tuple[Pump, Metrics]:
    """Build what the environment asks for: figures always, spans where the standard variables say so.

    `folder` is shared by the processes of an installation; `urls` returns the URL of an upstream by its name in
    records, "" for what answers within this process.
    """
    out = spans.from_environment(lambda name: endpoint(urls(name)), shard) if spans.wanted() else None
    metrics = Metrics(shard, folder, gauges, lambda: pump.dropped + (out.dropped if out is not None else 0))
    pump = Pump(metrics, *([out] if out is not None else []), content=content, traced=out is not None)
    return pump, metrics


def _made(taken: tuple[Any, ...], content: Mapping[str, Any] | None) -> Finished:
    return Finished._make((*taken, *LACKING, content))
