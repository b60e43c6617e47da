"""Evaluations: run one without releasing, look at them, compare two, bring in those of other tools."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from bedplate.document import parse
from bedplate.errors import InvalidInput, NotFound
from bedplate.models import redteam, views
from bedplate.models.actions import record_evaluation
from bedplate.models.compare import compare
from bedplate.models.run import Run
from bedplate.models.suite import Outcome
from bedplate.paths.evaluation import Recorded, said
from bedplate.paths.path import SPEC
from bedplate.paths.thread import try_out
from bedplate.releases import actions
from bedplate.releases import views as releases
from bedplate.releases.actions import Finding
from bedplate.wire import RunElsewhere, Tried

from .portfolio import Id, model_in_force
from .releases import MAX_FILES
from .session import At, Me

router = APIRouter(tags=["evals"])
DIGEST = r"^[0-9a-f]{4,64}$"  # of results, or how it begins


@router.post("/use-cases/{name}/evals")
async def evaluate(at: At, me: Me, name: Id, body: Tried) -> dict[str, Any]:
    """Evaluate what these files would release, without releasing it. It is on record, and evidence of nothing."""
    if sum(map(len, body.files.values())) > MAX_FILES:
        raise InvalidInput(f"the files hold more than {MAX_FILES} characters", code="request-too-large")
    model = model_in_force(at)
    if parse(body.files.get(SPEC, ""), SPEC).root.get("id") != name:
        raise InvalidInput(f"these are not the files of {name}", hint=f"{SPEC} must say id: {name}")
    standing = at.standing(f"usecase/{name}")
    if model.plan(standing.tier) is None:
        raise NotFound(f"usecase/{name} has no tier", hint="apply its file first")
    bundle, found = await try_out(at.workshop, me.person, body.files, model, standing, red_team=body.red_team)
    made: dict[str, Any] = {"release": bundle.digest, **_verdict(found.evals, bundle.pass_percent)}
    made["comparison"] = asdict(found.comparison) if found.comparison is not None else None
    made["baseline"] = found.baseline
    made["attack"] = None
    if found.attack is not None:
        families = redteam.by_family(found.attack.run.outcomes)
        made["attack"] = _verdict(found.attack, redteam.PASS_PERCENT, "attacks withstood") | {"families": families}
    return made


@router.get("/use-cases/{name}/evals")
def runs(
    at: At,
    me: Me,  # noqa: ARG001  signed in, nothing more
    name: Id,
    purpose: str = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """List evaluations, newest first: of releases, red teams, trials and those brought in, or of one purpose."""
    return {"evals": views.evaluations(at.engine, f"usecase/{name}", limit, purpose)}


@router.get("/use-cases/{name}/evals/compare")
def compared(
    at: At,
    me: Me,  # noqa: ARG001  as above
    name: Id,
    after: Annotated[str, Query(pattern=DIGEST)],
    before: Annotated[str, Query(pattern=f"^$|{DIGEST}")] = "",
) -> dict[str, Any]:
    """Compare two evaluations sample by sample. Without `before`: with the one that the live release went live with."""
    subject = f"usecase/{name}"
    later = views.evaluation_named(at.engine, subject, after)
    earlier = views.evaluation_named(at.engine, subject, before or _baseline(at, subject))
    then, now = (views.samples(at.engine, row["results"]) for row in (earlier, later))
    found = compare(then, now)
    named = {*found.newly_failing, *found.newly_passing, *found.changed}
    rows = [
        {"case": case, "before": _sample(_of(then, case)), "after": _sample(_of(now, case))} for case in sorted(named)
    ]
    return {
        "before": earlier,
        "after": later,
        "comparison": asdict(found),
        "summary": found.summary,
        "samples": rows,
    }


@router.get("/use-cases/{name}/evals/{results}")
def run(at: At, me: Me, name: Id, results: Annotated[str, Path(pattern=DIGEST)]) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return one evaluation with its samples, each with the id of its call on record."""
    found = views.evaluation_named(at.engine, f"usecase/{name}", results)
    return {**found, "samples": [_sample(o) for o in views.samples(at.engine, found["results"])]}


@router.post("/use-cases/{name}/evals/import")
def bring_in(at: At, me: Me, name: Id, body: RunElsewhere) -> dict[str, Any]:
    """Put on record what another tool found about the newest release; as evidence for a control, if one is named.

    What a machine of ours can show is not brought in: `evals-passed` and the like are refused.
    """
    subject = f"usecase/{name}"
    if len({s.case for s in body.samples}) < len(body.samples):
        raise InvalidInput("two samples have one name", hint="give each its own")
    release = releases.newest(at.engine, subject)["digest"]
    percent = body.pass_percent or releases.bundle(at.engine, release).pass_percent
    outcomes = tuple(Outcome(s.case, s.passed, s.why, answer=s.answer) for s in body.samples)
    config = {**body.config, "source": body.source, "file": body.file}
    made = Run("import", release, body.dataset, body.name, outcomes, config)
    if not body.control:
        return _verdict(Recorded(made, record_evaluation(at.governor, me.person, subject, made)), percent)
    told = _verdict(Recorded(made, ""), percent)
    summary = f"{body.source}, {body.name}: {told['said']} (dataset {body.dataset[:12]})"
    finding = Finding(body.control, "proven" if told["passes"] else "contradicted", summary, made.content())
    actions.attach(at.governor, me.person, subject, release, finding)
    return {**told, "control": body.control, "outcome": finding.outcome}


def _verdict(found: Recorded, percent: int, what: str = "cases pass") -> dict[str, Any]:
    """Return a run with its samples and whether its lower bound reaches `percent`."""
    summary, run = found.run.summary, found.run
    return {
        "results": found.results,
        "suite": run.suite,
        "name": run.name,
        **asdict(summary),
        "pass_percent": percent,
        "passes": summary.reaches(percent),
        "said": said(summary, percent, what),
        "config": dict(run.config),
        "agreement": asdict(run.agreement) if run.agreement is not None else None,
        "samples": [_sample(o) for o in run.outcomes],
    }


def _baseline(at: At, subject: str) -> str:
    standing = at.standing(subject)
    found = ""
    if standing.release:
        live_at = int(str(standing.facts.get("releases.live_at", 0)))
        found = views.baseline(at.engine, subject, standing.release, live_at)
    if not found:
        raise NotFound(f"{subject} has no live release with results", hint="name what to compare with: before")
    return found


def _of(outcomes: tuple[Outcome, ...], case: str) -> Outcome:
    return next(o for o in outcomes if o.case == case)


def _sample(outcome: Outcome) -> dict[str, Any]:
    return asdict(outcome)
