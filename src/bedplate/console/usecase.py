"""One use case: whose it is, why its tier, what holds it, what it did; suspending and resuming it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from bedplate.errors import BedplateError, InvalidInput, NotFound
from bedplate.evidence import views as evidence
from bedplate.gateway import views as gateway
from bedplate.incidents import actions as incidents
from bedplate.incidents import views as incident_views
from bedplate.incidents.governance import RESUME, SUSPEND
from bedplate.models import views as models
from bedplate.portfolio import views
from bedplate.releases import actions as releases
from bedplate.releases import views as release_views

from . import chart
from .approvals import shown
from .home import said
from .tile import tiles
from .value import worth
from .visit import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

    from bedplate.gateway.views import Call
    from bedplate.kernel.model import OperatingModel
    from bedplate.releases.gate import Line

RECENT = 12
TIMELINE = 25
SERIES = 200


def use_case(visit: Visit) -> Response:
    """Show everything about one use case."""
    at, subject = visit.at, f"usecase/{visit.part('id')}"
    case = views.use_case(at.engine, subject)
    model = at.model()
    made = release_views.releases(at.engine, subject)
    gate, no_gate = _gate(visit, subject, made[0]["digest"]) if made else ([], "")
    return visit.show(
        "use_case.html",
        case=case,
        state=chart.state_of(case),
        plan=model.plan(case.tier) if model is not None else None,
        owed=model.owed(case.tier, "release", at.clock()) if model is not None and case.tier in model.tiers else (),
        budget=_budget(visit, subject, model, case.tier),
        made=made,
        gate=gate,
        no_gate=no_gate,
        proven=sum(line.state == "proven" for line in gate),
        evals={e["release"]: e for e in reversed(models.evaluations(at.engine, subject))},
        approvals=[shown(visit, a, model) for a in at.approvals(subject=subject, limit=RECENT)],
        keys=gateway.keys(at.engine, subject),
        calls=_live(visit, subject),
        incidents=incident_views.incidents(at.engine, subject, limit=RECENT),
        monitors=_monitors(visit, subject, model, case.tier, case.release),
        events=[(e, said(visit, e.kind)) for e in evidence.events(at.engine, stream=subject, limit=TIMELINE)],
        may_suspend=_may(visit, model, SUSPEND.needs, case.domain),
        may_resume=_may(visit, model, RESUME.needs, case.domain),
        tiles=tiles(visit, case),
        worth=worth(visit, subject),
    )


def series(visit: Visit) -> Response:
    """Return what one monitor saw, as columns for the chart: seconds, value and limit in percent."""
    subject = f"usecase/{visit.part('id')}"
    views.use_case(visit.at.engine, subject)
    seen = models.measures(visit.at.engine, subject, visit.part("monitor"), limit=SERIES)
    return JSONResponse(
        {
            "t": [m["at"] // 1_000_000 for m in seen],
            "value": [m["permille"] / 10 for m in seen],
            "limit": [m["limit"] / 10 for m in seen],
        }
    )


def suspend(visit: Visit) -> Response:
    """Stop a use case: every process refuses its calls within a second."""
    subject = _known(visit)
    incidents.suspend(visit.at.governor, visit.by, subject, _reason(visit, "suspending"))
    visit.at.follower.look()
    return visit.go(f"/use-cases/{visit.part('id')}")


def resume(visit: Visit) -> Response:
    """Ask for it to act again, or let it where that was approved."""
    subject = _known(visit)
    incidents.resume(visit.at.governor, visit.by, subject, _reason(visit, "resuming"))
    visit.at.follower.look()
    return visit.go(f"/use-cases/{visit.part('id')}")


def _known(visit: Visit) -> str:
    subject = f"usecase/{visit.part('id')}"
    views.use_case(visit.at.engine, subject)  # an attempt on a name that never was is not worth a record
    return subject


def _reason(visit: Visit, what: str) -> str:
    reason = visit.said("reason")
    if not reason:
        raise InvalidInput(f"{what.capitalize()} needs a reason.", hint="Say why; it goes on record with your name.")
    return reason


def _gate(visit: Visit, subject: str, digest: str) -> tuple[list[Line], str]:
    try:
        return releases.gate(visit.at.governor, visit.by, subject, digest), ""
    except NotFound:
        raise
    except BedplateError as error:
        return [], error.message  # a read-only installation judges nothing, and says so


def _monitors(
    visit: Visit, subject: str, model: OperatingModel | None, tier: int, release: str
) -> list[dict[str, Any]]:
    """Return each monitor with what it saw; `fresh` tells whether it has looked at the live release."""
    plan = model.plan(tier) if model is not None else None
    found = []
    for part in plan.monitors if plan is not None else ():
        seen = models.measures(visit.at.engine, subject, str(part["measure"]), limit=SERIES)
        fresh = bool(seen) and seen[-1]["release"] == release
        found.append({**part, "seen": seen, "newest": seen[-1] if seen else None, "fresh": fresh})
    return found


def _budget(visit: Visit, subject: str, model: OperatingModel | None, tier: int) -> tuple[int, int, bool]:
    """Return calls and tokens a day that count, and whether the live release says less than its tier."""
    plan = model.plan(tier) if model is not None else None
    if plan is None:
        return 0, 0, False
    most = (plan.calls_per_day, plan.tokens_per_day)
    made = visit.at.follower.snapshot.recipes.get(subject)
    if made is None:
        return *most, False
    own = (min(most[0], made.calls_per_day), min(most[1], made.tokens_per_day))
    return *own, own != most


def _live(visit: Visit, subject: str) -> list[Call]:
    """Return recent calls without those of evaluations, which come in bursts."""
    found = visit.at.calls.search(use_case=subject, limit=RECENT * 8)
    return [c for c in found if c.entry["route"] == "live"][:RECENT]


def _may(visit: Visit, model: OperatingModel | None, permission: str, domain: str) -> bool:
    return model is not None and model.authority.allowed(visit.by, permission, domain)


PAGES = (
    Page("/use-cases/{id}", use_case),
    Page("/use-cases/{id}/series/{monitor}", series),
    Page("/use-cases/{id}/suspend", suspend, "POST"),
    Page("/use-cases/{id}/resume", resume, "POST"),
)
