"""What is recorded about models: evaluations and measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.event import Value, canonical

from .governance import EVALUATE, MEASURE

if TYPE_CHECKING:
    from bedplate.kernel.governor import Governor

    from .monitor import Monitor
    from .suite import Outcome, Suite, Summary


def record_evaluation(
    governor: Governor, by: str, subject: str, release: str, suite: Suite, outcomes: list[Outcome], summary: Summary
) -> str:
    """Record how a release did, case by case; returns the digest of the kept results."""
    rows: list[Value] = [{"case": o.case, "passed": "yes" if o.passed else "no", "why": o.why} for o in outcomes]
    content = canonical({"release": release, "suite": suite.digest, "outcomes": rows})
    with governor.act(by, EVALUATE, subject, facts={"release": release}) as act:
        results = act.keep(content)
        data: dict[str, Value] = {"release": release, "suite": suite.digest, "results": results}
        scores = {"passed": summary.passed, "total": summary.total, "lower_permille": summary.lower_permille}
        act.record("models.evaluation.recorded", {**data, **scores})
    return results


def record_measure(
    governor: Governor, by: str, subject: str, release: str, monitor: Monitor, value: int, calls: int
) -> None:
    """Record what a monitor saw. `value` per mille of `calls`."""
    with governor.act(by, MEASURE, subject, facts={"release": release, "monitor": monitor.measure}) as act:
        data: dict[str, Value] = {"release": release, "monitor": monitor.measure, "permille": value, "calls": calls}
        breach = "yes" if value > monitor.limit else "no"
        act.record("models.measure.recorded", {**data, "limit": monitor.limit, "breach": breach})
