"""What evaluating a release shows: put on record, compared with what is live, and attached as evidence for its gate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import NotFound
from bedplate.kernel.event import canonical
from bedplate.models import redteam
from bedplate.models import views as models
from bedplate.models.actions import record_evaluation
from bedplate.models.compare import Comparison, compare
from bedplate.models.interval import cases_needed
from bedplate.releases import views as releases
from bedplate.releases.actions import Finding, prove
from bedplate.store.reads import read_blob

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from bedplate.kernel.event import Value
    from bedplate.kernel.standing import Standing
    from bedplate.models.run import Run
    from bedplate.models.suite import Summary
    from bedplate.releases.bundle import Bundle

    from .thread import Workshop

RED_TEAMED = "red-teamed"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run that is on record under the digest `results`."""

    run: Run
    results: str


@dataclass(frozen=True, slots=True)
class Examined:
    """What evaluating a release has shown. `baseline` are the results that it was compared with, "" for none."""

    evals: Recorded
    attack: Recorded | None
    comparison: Comparison | None
    baseline: str


def record(shop: Workshop, by: str, bundle: Bundle, runs: tuple[Run, Run | None], standing: Standing) -> Examined:
    """Put runs on record, and compare the first with the one that the live release went live with."""
    evals, attack = runs
    baseline = ""
    if standing.release:
        live_at = int(str(standing.facts.get("releases.live_at", 0)))
        baseline = models.baseline(shop.engine, bundle.use_case, standing.release, live_at)
    recorded = Recorded(evals, record_evaluation(shop.governor, by, bundle.use_case, evals))
    attacked = Recorded(attack, record_evaluation(shop.governor, by, bundle.use_case, attack)) if attack else None
    compared = compare(models.samples(shop.engine, baseline), evals.outcomes) if baseline else None
    return Examined(recorded, attacked, compared, baseline)


def attest(shop: Workshop, by: str, bundle: Bundle, examined: Examined, standing: Standing) -> None:
    """Attach what was shown as evidence about the bundle."""
    findings = [_passed(examined.evals, bundle.pass_percent), _compared(examined, standing)]
    if examined.attack is not None and not _said_by_somebody(shop, bundle):
        findings.append(_withstood(examined.attack))
    for finding in findings:
        if finding is not None:
            prove(shop.governor, by, bundle.use_case, bundle.digest, finding)


def said(found: Summary, percent: int, what: str = "cases pass") -> str:
    """Say how sure a result is and what is needed; where it does not reach, how many cases would do."""
    told = f"{found.passed} of {found.total} {what}, at least {_percent(found.lower_permille)} with 95 % confidence"
    told = f"{told}; {percent} % are needed"
    if found.reaches(percent):
        return told
    enough = cases_needed(found.passed, found.total, percent)
    if enough:
        return f"{told}: at this share about {enough} cases would show it"
    return f"{told}: at this share no number of cases shows it"


def _passed(found: Recorded, percent: int) -> Finding:
    outcome = found.run.summary
    summary = f"{said(outcome, percent)} (results {found.results[:12]})"
    if found.run.agreement is not None and found.run.agreement.labelled:
        agreed = found.run.agreement
        summary += f"; the judge agrees with people on {agreed.agreed} of {agreed.labelled} labelled answers"
    return Finding(
        "evals-passed", "proven" if outcome.reaches(percent) else "contradicted", summary, _content(found, percent)
    )


def _compared(examined: Examined, standing: Standing) -> Finding | None:
    found, control = examined.comparison, "no-regression"
    if not standing.release:
        return Finding(control, "proven", "no release is live that it could be worse than")
    if found is None:
        return None  # the live release has no results; the gate says so
    content = canonical({"before": examined.baseline, "results": examined.evals.results, "p": found.p_millionths})
    if not found.shared:
        summary = "no case in common with the live release: keep its cases beside the new ones"
        return Finding(control, "contradicted", summary, content)
    summary = f"against release {standing.release[:12]}, {found.summary}"
    return Finding(control, "contradicted" if found.worse else "proven", summary, content)


def _withstood(found: Recorded) -> Finding:
    outcome = found.run.summary
    refused = redteam.blocked(found.run.outcomes)
    what = f"attacks withstood ({refused} refused by the gateway)"
    summary = f"{said(outcome, redteam.PASS_PERCENT, what)} (results {found.results[:12]})"
    held = outcome.reaches(redteam.PASS_PERCENT)
    content = _content(found, redteam.PASS_PERCENT)
    return Finding(RED_TEAMED, "proven" if held else "contradicted", summary, content)


def _content(found: Recorded, percent: int) -> bytes:
    run, outcome = found.run, found.run.summary
    body: dict[str, Value] = {
        "results": found.results,
        "suite": run.suite,
        "needed": percent,
        "config": dict(run.config),
    }
    body |= {"passed": outcome.passed, "total": outcome.total}
    bounds = {"lower_permille": outcome.lower_permille, "upper_permille": outcome.upper_permille}
    return canonical({**body, **bounds})


def _said_by_somebody(shop: Workshop, bundle: Bundle) -> bool:
    """Tell whether a person's word on the red team about this very content stands; a machine does not overrule it."""
    now = shop.governor.clock()
    known = releases.evidence(shop.engine, bundle.use_case, bundle.digest, now)
    found = next((e for e in known if e["control"] == RED_TEAMED), None)
    return found is not None and found["state"] != "stale" and not _by_machine(shop.engine, bundle, str(found["blob"]))


def _by_machine(engine: Engine, bundle: Bundle, blob: str) -> bool:
    if not blob:
        return False
    try:
        with engine.connect() as connection:
            body = json.loads(read_blob(connection, blob))
        row = models.evaluation_named(engine, bundle.use_case, str(body["results"]))
    except (ValueError, KeyError, TypeError, NotFound):
        return False
    return str(row["purpose"]) == "red-team"


def _percent(permille: int) -> str:
    return f"{permille // 10}.{permille % 10} %"
