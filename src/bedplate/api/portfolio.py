"""Use cases: plan, propose, list, suspend, resume, retire."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse

from bedplate.document import parse
from bedplate.errors import Denied
from bedplate.incidents import actions as incidents
from bedplate.incidents import views as incident_views
from bedplate.installation import Installation
from bedplate.kernel.model import OperatingModel
from bedplate.paths.planning import contracts_now
from bedplate.paths.sibling import origin_of
from bedplate.portfolio import actions, views
from bedplate.portfolio.actions import Assessment
from bedplate.wire import Because, FileBody, Glass

from .session import At, Me

router = APIRouter(tags=["portfolio"])
Id = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,62}$")]


def model_in_force(at: Installation) -> OperatingModel:
    """Return the operating model; `Denied` while there is none."""
    model = at.model()
    if model is None:
        raise Denied("no operating model is in force", hint="bedplate apply operating-model.yaml")
    return model


def told(found: Assessment) -> dict[str, Any]:
    """Return an assessment as JSON-ready values."""
    return {**asdict(found.rating), "tier": int(found.rating.tier), **asdict(found.worth), "worth": found.worth.worth}


@router.post("/use-cases/plan")
def plan(at: At, me: Me, body: FileBody) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Say how a use case would be scored and tiered, and who would have to accept it."""
    model = model_in_force(at)
    file = actions.check_use_case(parse(body.text, body.name), model, frozenset(contracts_now(at.engine, at.clock())))
    found = actions.assess_use_case(file, model)
    stages = model.owed(found.rating.tier, "accept", at.clock())
    known = {u.subject: u.spec for u in views.use_cases(at.engine)}
    return {
        "kind": "use-case",
        "id": file.id,
        "new": file.subject not in known,
        "assessment": told(found),
        "needs": [asdict(s) for s in stages],
    }


@router.post("/use-cases")
def propose(at: At, me: Me, body: FileBody) -> dict[str, Any]:
    """Propose a use case; 202 names the approval by which it is accepted."""
    model = model_in_force(at)
    file = actions.check_use_case(parse(body.text, body.name), model, frozenset(contracts_now(at.engine, at.clock())))
    return told(actions.propose(at.governor, me.person, file, model, origin_of(at.engine, file, model)))


@router.get("/use-cases", response_model=dict[str, Any])
def use_cases(at: At, me: Me) -> JSONResponse:  # noqa: ARG001  as above
    """List the portfolio."""
    return JSONResponse({"use_cases": [u.plain() for u in views.use_cases(at.engine)]})  # plain already: not again


@router.get("/use-cases/{name}")
def use_case(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return one use case with its standing."""
    return views.use_case(at.engine, f"usecase/{name}").plain()


@router.post("/use-cases/{name}/suspend")
def suspend(at: At, me: Me, name: Id, body: Because) -> dict[str, Any]:
    """Stop a use case: every process refuses its calls within a second."""
    incidents.suspend(at.governor, me.person, f"usecase/{name}", body.reason)
    at.follower.look()
    return use_case(at, me, name)


@router.post("/use-cases/{name}/resume")
def resume(at: At, me: Me, name: Id, body: Because) -> dict[str, Any]:
    """Let it act again; 202 names the approval."""
    incidents.resume(at.governor, me.person, f"usecase/{name}", body.reason)
    return use_case(at, me, name)


@router.post("/use-cases/{name}/retire")
def retire(at: At, me: Me, name: Id, body: Because) -> dict[str, Any]:
    """End a use case."""
    actions.retire(at.governor, me.person, f"usecase/{name}", body.reason)
    return use_case(at, me, name)


@router.post("/use-cases/{name}/glass")
def glass(at: At, me: Me, name: Id, body: Glass) -> dict[str, Any]:
    """Break the glass: for some hours its changes pass without approval, visibly."""
    at.governor.break_glass(me.person, f"usecase/{name}", hours=body.hours, reason=body.reason)
    return use_case(at, me, name)


@router.get("/use-cases/{name}/incidents")
def of_use_case(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  as above
    """List the incidents of a use case."""
    return {"incidents": incident_views.incidents(at.engine, f"usecase/{name}")}
