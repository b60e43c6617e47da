"""What is recorded about models: evaluations and measures, versions of prompts, and eval cases made from feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .governance import ALIAS_PROMPT, EVALUATE, MEASURE, PROPOSE_CASE, REGISTER_PROMPTS
from .prompt import must_be_alias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor

    from .monitor import Monitor
    from .run import Run


def record_evaluation(governor: Governor, by: str, subject: str, run: Run) -> str:
    """Record how a release did, case by case; returns the digest of the kept results."""
    found = run.summary
    with governor.act(by, EVALUATE, subject, facts={"release": run.release, "purpose": run.purpose}) as act:
        results = act.keep(run.content())
        data: dict[str, Value] = {"release": run.release, "suite": run.suite, "results": results}
        data |= {"passed": found.passed, "total": found.total, "purpose": run.purpose, "name": run.name}
        bounds = {"lower_permille": found.lower_permille, "upper_permille": found.upper_permille}
        act.record("models.evaluation.recorded", {**data, **bounds})
    return results


def record_measure(
    governor: Governor, by: str, subject: str, release: str, monitor: Monitor, value: int, calls: int
) -> None:
    """Record what a monitor saw. `value` per mille of `calls`."""
    with governor.act(by, MEASURE, subject, facts={"release": release, "monitor": monitor.measure}) as act:
        data: dict[str, Value] = {"release": release, "monitor": monitor.measure, "permille": value, "calls": calls}
        breach = "yes" if value > monitor.limit else "no"
        act.record("models.measure.recorded", {**data, "limit": monitor.limit, "breach": breach})


def register_prompts(
    governor: Governor, by: str, subject: str, release: str, prompts: Iterable[tuple[str, str]]
) -> None:
    """Record versions, as (id, digest), that no release carried before; nothing if there are none."""
    new = list(prompts)
    if not new:
        return
    with governor.act(by, REGISTER_PROMPTS, subject, facts={"release": release}) as act:
        for prompt, digest in new:
            act.record("models.prompt.registered", {"prompt": prompt, "digest": digest, "release": release})


def alias_prompt(
    governor: Governor, by: str, subject: str, prompt: str, alias: str, *, digest: str, previous: str
) -> None:
    """Point an alias at a version that some release carries; at none with "". What is live does not change by it."""
    must_be_alias(alias)
    data = {"prompt": prompt, "alias": alias, "digest": digest, "previous": previous}
    with governor.act(by, ALIAS_PROMPT, subject, facts=data) as act:
        act.record("models.prompt.aliased", data)


def propose_case(
    governor: Governor, by: str, subject: str, *, case: str, feedback: str, call: str, expect: str
) -> None:
    """Propose an eval case. What was asked stays where it can be erased: only ids go on record here."""
    data = {"case": case, "feedback": feedback, "call": call, "expect": expect}
    with governor.act(by, PROPOSE_CASE, subject, facts=data) as act:
        act.record("models.case.proposed", data)
