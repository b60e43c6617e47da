"""Data contracts: declare them, report what their checks found, and see who stands on them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import ConfigDict

from bedplate.data import views
from bedplate.data.results import ResultsFile, run_of
from bedplate.document import parse
from bedplate.errors import NotFound
from bedplate.paths import contracts
from bedplate.wire import FileBody

from .portfolio import model_in_force
from .session import At, Me

router = APIRouter(tags=["data contracts"])
Id = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,62}$")]


class Results(ResultsFile):
    """One run of the checks of a contract. Without `run`, the content itself names it."""

    model_config = ConfigDict(defer_build=False)  # the framework builds what it reads bodies with only once


@router.get("/contracts")
def listed(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """List data contracts with how they stand."""
    named: dict[str, int] = {}
    for use_case in contracts.standing_on(at.engine):
        for name in use_case.contracts:
            named[name] = named.get(name, 0) + 1
    found = views.contract_states(at.engine, at.clock()).values()
    return {"contracts": [{**c.plain(), "affected": named.get(c.id, 0)} for c in found]}


@router.get("/contracts/{name}")
def one(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return one contract with its checks, their last results, its runs, and the use cases that name it."""
    return contracts.shown(at.engine, name, at.clock())


@router.post("/contracts/plan")
def plan(at: At, me: Me, body: FileBody) -> dict[str, Any]:  # noqa: ARG001  as above
    """Say what a contract, ours or of ODCS 3, would declare."""
    found = contracts.check_contract(parse(body.text, body.name), model_in_force(at))
    try:
        before = views.contract_named(at.engine, found.id)["spec"]
    except NotFound:
        before = ""
    return {
        "kind": "data-contract",
        **asdict(found),
        "new": not before,
        "changed": before != found.digest,
        "affected": [u.id for u in contracts.affected(at.engine, found.id)],
    }


@router.post("/contracts")
def declare(at: At, me: Me, body: FileBody) -> dict[str, Any]:
    """Declare a contract, ours or of ODCS 3, or change it."""
    found = contracts.check_contract(parse(body.text, body.name), model_in_force(at))
    contracts.declare(at.governor, at.engine, me.person, found, body.text)
    at.follower.look()
    return contracts.shown(at.engine, found.id, at.clock())


@router.post("/contracts/{name}/results")
def report(at: At, me: Me, name: Id, body: Results) -> dict[str, Any]:
    """Report one run of a contract's checks. The same run again changes nothing; `opened` names new incidents."""
    run = run_of(body)
    found = contracts.report(at.governor, at.engine, me.person, name, run)
    at.follower.look()
    return {"run": run.id, "recorded": found.recorded, "state": found.state, "opened": list(found.opened)}
