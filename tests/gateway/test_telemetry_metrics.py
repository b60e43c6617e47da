"""Prometheus' figures: what is added up, how many series there can be, and several processes on one port."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.gateway.test_telemetry import trace

from bedplate.gateway.metrics import FAMILIES, GAUGES, MOST, OTHER, SHOWN, Metrics
from bedplate.gateway.telemetry import Pump

if TYPE_CHECKING:
    from pathlib import Path

    from bedplate.gateway.call import Trace

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def series(metrics: Metrics) -> Series:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(found: Series, name: str, **labels: str) -> float:
    """Add up the series of this name that have these labels."""
    return sum(v for (n, told), v in found.items() if n == name and labels.items() <= dict(told).items())


def counted(metrics: Metrics, *calls: Trace) -> Metrics:
    pump = Pump(metrics)
    for call in calls:
        pump.finished(call, "call.completed")
    pump.flush()
    return metrics


def done(**more: Any) -> Trace:
    told: dict[str, Any] = {
        "tier": 1,
        "verdict": "allow",
        "status": "ok",
        "model": "gpt-4o",
        "upstream": "openai",
        "tokens_in": 100,
        "tokens_out": 20,
        "cost_nano": 450_000,
        "latency_us": 52_000,
        "upstream_us": 51_600,
        "first_us": 30_000,
    }
    return trace(**(told | more))


def test_a_call_is_in_every_figure_that_it_belongs_to() -> None:
    found = series(counted(Metrics("shard-0"), done(), done(latency_us=2_000_000, upstream_us=1_999_000)))

    assert value(found, "bedplate_calls_total", use_case="hr", verdict="allow", status="ok", route="live") == 2
    assert value(found, "bedplate_call_seconds_count", use_case="hr", tier="1", status="ok") == 2
    assert value(found, "bedplate_call_seconds_sum", use_case="hr") == pytest.approx(2.052)
    assert value(found, "bedplate_call_seconds_bucket", le="0.1") == 1
    assert value(found, "bedplate_call_seconds_bucket", le="+Inf") == 2
    assert value(found, "bedplate_added_seconds_sum") == pytest.approx(0.0014)
    assert value(found, "bedplate_upstream_seconds_count", upstream="openai", model="gpt-4o") == 2
    assert value(found, "bedplate_first_token_seconds_sum") == pytest.approx(0.06)
    assert value(found, "bedplate_tokens_total", direction="input", model="gpt-4o") == 200
    assert value(found, "bedplate_tokens_total", direction="output") == 40
    assert value(found, "bedplate_cost_nano_total", use_case="hr", model="gpt-4o") == 900_000


def test_refusals_and_findings_are_counted_by_what_they_are() -> None:
    reasons = [("within-budget", "9 of 9", "wait"), ("live-release", "none", "release")]
    refused = trace(verdict="deny", status="refused", reasons=reasons, findings=["input: payment card"] * 2)
    found = series(counted(Metrics("shard-0"), refused))

    assert value(found, "bedplate_refusals_total", control="within-budget") == 1
    assert value(found, "bedplate_refusals_total", control="live-release") == 1
    assert value(found, "bedplate_guardrail_findings_total", direction="input", label="payment card") == 2
    assert value(found, "bedplate_upstream_seconds_count") == 0


def test_a_bucket_holds_what_is_at_its_edge() -> None:
    found = series(counted(Metrics("shard-0"), done(latency_us=1000), done(latency_us=1001)))
    assert value(found, "bedplate_call_seconds_bucket", le="0.001") == 1
    assert value(found, "bedplate_call_seconds_bucket", le="0.0025") == 2


def test_calls_that_nobody_waited_for_are_counted_but_not_timed() -> None:
    observed = done(verdict="deny", status="observed", reasons=[("model-approved", "not this", "ask")])
    observed.route = "observed"
    canary = done(verdict="deny", status="refused", reasons=[("within-budget", "9 of 9", "wait")])
    canary.route = "canary"
    found = series(counted(Metrics("shard-0"), observed, canary))

    assert value(found, "bedplate_calls_total", route="observed") == 1
    assert value(found, "bedplate_calls_total", route="canary") == 1
    assert value(found, "bedplate_call_seconds_count") == 0
    assert value(found, "bedplate_refusals_total") == 0


def test_too_many_use_cases_are_counted_together() -> None:
    metrics = Metrics("shard-0")
    calls = []
    for number in range(1000):
        call = done()
        call.subject = f"usecase/{number}"
        calls.append(call)
    found = series(counted(metrics, *calls))

    assert value(found, "bedplate_calls_total") == 1000
    assert value(found, "bedplate_calls_total", use_case=OTHER) == 1000 - MOST["use_case"]
    assert len({dict(labels)["use_case"] for name, labels in found if name == "bedplate_calls_total"}) == 201


def test_a_client_that_names_a_new_model_each_time_makes_no_new_series() -> None:
    found = series(counted(Metrics("shard-0"), *(done(model=f"model-{n}") for n in range(500))))
    models = {dict(labels)["model"] for name, labels in found if name == "bedplate_cost_nano_total"}
    assert len(models) == MOST["model"] + 1
    assert value(found, "bedplate_tokens_total", direction="input") == 50_000


def test_gauges_are_read_when_they_are_asked_for() -> None:
    depth = [3.0]
    metrics = Metrics(
        "shard-0", gauges=lambda: [("bedplate_journal_queue_depth", "", depth[0]), ("bedplate_breaker_state", "a", 2)]
    )
    assert value(series(metrics), "bedplate_journal_queue_depth", shard="shard-0") == 3
    depth[0] = 4
    found = series(metrics)
    assert value(found, "bedplate_journal_queue_depth") == 4
    assert value(found, "bedplate_breaker_state", upstream="a") == 2


def test_dropped_calls_and_spans_that_came_in_are_told() -> None:
    metrics = Metrics("shard-0", dropped=lambda: 7)
    metrics.came_in("rejected", 2)
    found = series(metrics)
    assert value(found, "bedplate_telemetry_dropped_total") == 7
    assert value(found, "bedplate_observed_spans_total", outcome="rejected") == 2


def test_either_process_answers_for_both(tmp_path: Path) -> None:
    first, second = Metrics("shard-0", tmp_path), Metrics("shard-1", tmp_path)
    counted(first, done())
    counted(second, done(), done())
    first.publish()
    second.publish()

    for asked in (first, second):
        found = series(asked)
        assert value(found, "bedplate_calls_total") == 3
        assert value(found, "bedplate_calls_total", shard="shard-1") == 2
        assert value(found, "process_resident_memory_bytes", shard="shard-0") > 0
        assert value(found, "process_resident_memory_bytes", shard="shard-1") > 0


def test_no_counter_falls_when_another_process_answers_next(tmp_path: Path) -> None:
    first, second = Metrics("shard-0", tmp_path), Metrics("shard-1", tmp_path)
    for asked, other in [(first, second), (second, first)] * 3:
        counted(asked, done())
        before = value(series(asked), "bedplate_calls_total")
        assert value(series(other), "bedplate_calls_total") >= before


def test_a_process_that_is_gone_is_forgotten_and_its_gauges_at_once(tmp_path: Path) -> None:
    gone = Metrics("shard-1", tmp_path, gauges=lambda: [("bedplate_journal_queue_depth", "", 9)])
    counted(gone, done()).publish()
    path = tmp_path / "shard-1.json"
    told = msgspec.json.decode(path.read_bytes())
    asked = Metrics("shard-0", tmp_path)

    path.write_bytes(msgspec.json.encode({**told, "at": time.time() - 60}))
    found = series(asked)
    assert value(found, "bedplate_calls_total", shard="shard-1") == 1
    assert value(found, "bedplate_journal_queue_depth") == 0

    path.write_bytes(msgspec.json.encode({**told, "at": time.time() - SHOWN - 1}))
    assert value(series(asked), "bedplate_calls_total") == 0


def test_a_file_that_cannot_be_read_costs_only_its_own_figures(tmp_path: Path) -> None:
    (tmp_path / "shard-1.json").write_bytes(b"{")
    (tmp_path / "shard-2.json").write_bytes(
        b'{"at": 9999999999, "cells": {"bedplate_call_seconds": [[["a"], [1]]]}, "gauges": [], "process": []}'
    )
    assert value(series(counted(Metrics("shard-0", tmp_path), done())), "bedplate_calls_total") == 1


def test_figures_are_shown_even_when_they_cannot_be_shared(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("a file where the folder should be")
    metrics = counted(Metrics("shard-0", tmp_path / "metrics"), done())
    assert value(series(metrics), "bedplate_calls_total") == 1


def test_labels_hold_whatever_text_they_are_given() -> None:
    odd = 'a"b\\c\nd'
    found = series(counted(Metrics("shard-0"), done(model=odd)))
    assert value(found, "bedplate_cost_nano_total", model=odd) == 450_000


def test_every_figure_says_what_it_is() -> None:
    text = Metrics("shard-0").text().decode()
    for name in (*FAMILIES, *GAUGES):
        assert f"# HELP {name} " in text
