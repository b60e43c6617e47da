"""What is told of calls: a queue that never blocks them, and the trace that they belong to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.gateway import traceparent
from bedplate.gateway.call import Trace
from bedplate.gateway.telemetry import Pump, open_telemetry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from uuid import UUID

    from bedplate.gateway.telemetry import Finished

INCOMING = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CALL = "0198d1c0-7e61-7c3f-9b4e-5d1f6b2a3c4d"


class Taken:
    """A sink that keeps what it got, or breaks."""

    def __init__(self, *, broken: bool = False) -> None:
        self.calls: list[Finished] = []
        self.steps: list[str] = []
        self._broken = broken

    def take(self, calls: Sequence[Finished]) -> None:
        if self._broken:
            raise OSError("no")
        self.calls += calls

    def tick(self) -> None:
        self.steps.append("tick")

    def start(self) -> None:
        self.steps.append("start")

    def stop(self) -> None:
        self.steps.append(f"stop after {len(self.calls)}")


def trace(call_id: str = CALL, **more: Any) -> Trace:
    return Trace(call_id, "usecase/hr", "key/1", "live", 1_750_000_000_000_000, "0" * 64, **more)


def test_a_finished_call_reaches_every_sink_with_what_is_on_record() -> None:
    first, second = Taken(), Taken()
    pump = Pump(first, second)
    pump.finished(trace(tier=2, verdict="allow", status="ok", tokens_in=3, latency_us=900), "call.completed")
    pump.flush()

    assert first.calls == second.calls
    (call,) = first.calls
    assert (call.id, call.subject, call.tier, call.tokens_in, call.latency_us) == (CALL, "usecase/hr", 2, 3, 900)


def test_an_intent_is_no_call_yet() -> None:
    sink = Taken()
    pump = Pump(sink)
    pump.finished(trace(status="intended"), "call.intent")
    pump.flush()
    assert sink.calls == []


def test_when_the_queue_is_full_the_oldest_goes_and_is_counted() -> None:
    sink = Taken()
    pump = Pump(sink, bound=3)
    for number in range(5):
        pump.finished(trace(str(number)), "call.completed")
    pump.flush()
    assert [call.id for call in sink.calls] == ["2", "3", "4"]
    assert pump.dropped == 2


def test_a_sink_that_breaks_takes_nothing_from_the_others() -> None:
    sound = Taken()
    pump = Pump(Taken(broken=True), sound)
    pump.finished(trace(), "call.completed")
    pump.flush()
    assert len(sound.calls) == 1


def test_content_is_not_handed_over_unless_it_is_said_so() -> None:
    asked = {"messages": [{"role": "user", "content": "my salary"}], "answer": "yes"}
    for content in (False, True):
        sink = Taken()
        pump = Pump(sink, content=content)
        pump.finished(trace(answer="yes"), "call.completed", asked)
        pump.flush()
        assert sink.calls[0].content == (asked if content else None)
        assert ("salary" in repr(sink.calls[0])) is content
        assert "yes" not in repr(sink.calls[0]._replace(content=None))


def test_stopping_hands_over_what_is_left() -> None:
    sink = Taken()
    pump = Pump(sink)
    pump.start()
    pump.finished(trace(), "call.completed")
    pump.stop()
    assert sink.steps[0] == "start"
    assert sink.steps[-1] == "stop after 1"


def test_the_upstream_gets_what_came_in_while_no_spans_are_made() -> None:
    assert Pump().onward(CALL, INCOMING) == INCOMING
    assert not Pump().onward(CALL, "")


def test_the_upstreams_parent_is_our_span_and_ours_is_the_callers() -> None:
    onward = Pump(traced=True).onward(CALL, INCOMING)
    ours = traceparent.read(onward)
    assert ours is not None
    assert ours.trace == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert ours.span == "9b4e5d1f6b2a3c4d"
    assert ours == traceparent.of_call(CALL, INCOMING)


def test_a_call_without_a_trace_begins_one_under_its_own_id() -> None:
    assert traceparent.of_call(CALL).trace == CALL.replace("-", "")


def test_a_caller_that_keeps_nothing_is_passed_on_as_it_said() -> None:
    assert traceparent.of_call(CALL, INCOMING[:-2] + "00").sampled is False
    assert Pump(traced=True).onward(CALL, INCOMING[:-2] + "00").endswith("-00")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        INCOMING.upper(),
        INCOMING.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        INCOMING.replace("00f067aa0ba902b7", "0" * 16),
        "ff" + INCOMING[2:],
        INCOMING + "-more",
        INCOMING + "\n",
        " " + INCOMING,
    ],
)
def test_what_is_no_traceparent_begins_a_trace(header: str) -> None:
    assert traceparent.read(header) is None


def test_a_later_version_may_have_more_after_the_flags() -> None:
    assert traceparent.read("01" + INCOMING[2:] + "-more") is not None


@given(st.uuids(), st.sampled_from(["", INCOMING, "nonsense"]))
def test_every_call_has_a_span_that_can_be_read_back(call: UUID, incoming: str) -> None:
    made = traceparent.of_call(str(call), incoming)
    assert re.fullmatch(r"[0-9a-f]{32}", made.trace)
    assert traceparent.read(str(made)) == made or set(made.span) == {"0"} or set(made.trace) == {"0"}


def test_nothing_but_figures_while_the_environment_asks_for_nothing(tmp_path: Path) -> None:
    pump, metrics = open_telemetry("shard-0", tmp_path, tuple, lambda _: "")
    pump.start()
    pump.finished(trace(status="ok"), "call.completed")
    pump.stop()
    assert 'status="ok"' in metrics.text().decode()
    assert pump.onward(CALL, INCOMING) == INCOMING


def test_spans_as_well_where_the_environment_names_a_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    pump, _ = open_telemetry("shard-0", tmp_path, tuple, lambda _: "")
    pump.start()
    assert pump.onward(CALL, INCOMING) != INCOMING
    pump.stop()
