"""Releases: build and evaluate, the gate, evidence."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Response

from bedplate.data import views as data
from bedplate.document import parse
from bedplate.errors import InvalidInput, NotFound
from bedplate.models import views as models
from bedplate.paths.path import SPEC
from bedplate.paths.thread import release as make_release
from bedplate.releases import actions, views
from bedplate.releases.actions import Finding
from bedplate.wire import Attached, Files

from .portfolio import Id, model_in_force
from .session import At, Me

router = APIRouter(tags=["releases"])
MAX_FILES = 16 << 20  # characters in all
ANSWERS = {"live": 200, "waiting": 202, "denied": 403}


@router.post("/use-cases/{name}/releases", responses={202: {"description": "waits for approval"}})
async def release(at: At, me: Me, name: Id, body: Files, response: Response) -> dict[str, Any]:
    """Build a release from a folder's files, run its evals, evaluate its gate, and ask for it to go live."""
    if sum(map(len, body.files.values())) > MAX_FILES:
        raise InvalidInput(f"the files hold more than {MAX_FILES} characters", code="request-too-large")
    model = model_in_force(at)
    if parse(body.files.get(SPEC, ""), SPEC).root.get("id") != name:
        raise InvalidInput(f"these are not the files of {name}", hint=f"{SPEC} must say id: {name}")
    standing = at.standing(f"usecase/{name}")
    plan = model.plan(standing.tier)
    if plan is None:
        raise NotFound(f"usecase/{name} has no tier", hint="apply its file first")
    made = await make_release(at.workshop, me.person, body.files, model, standing)
    at.follower.look()
    response.status_code = ANSWERS[made.state]
    return asdict(made)


@router.get("/use-cases/{name}/releases")
def releases(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """List the releases of a use case, newest first."""
    return {"releases": views.releases(at.engine, f"usecase/{name}")}


@router.get("/use-cases/{name}/gate")
def gate(at: At, me: Me, name: Id, release: str = "") -> dict[str, Any]:
    """Evaluate the gate of a release, the newest unless named: how each control stands, and the fix."""
    subject = f"usecase/{name}"
    found = _named(at, subject, release)
    lines = actions.gate(at.governor, me.person, subject, found["digest"])
    return {
        "release": found["digest"],
        "number": found["number"],
        "state": found["state"],
        "gate": [asdict(x) for x in lines],
    }


@router.post("/use-cases/{name}/evidence")
def attach(at: At, me: Me, name: Id, body: Attached) -> dict[str, Any]:
    """Attach evidence to the newest release."""
    subject = f"usecase/{name}"
    digest = views.newest(at.engine, subject)["digest"]
    finding = Finding(body.control, body.outcome, body.summary, body.content.encode())
    actions.attach(at.governor, me.person, subject, digest, finding)
    return {"evidence": views.evidence(at.engine, subject, digest, at.clock())}


@router.get("/use-cases/{name}/sources")
def sources(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  as above
    """List the versions of what the use case answers from, newest first."""
    return {"sources": data.sources(at.engine, f"usecase/{name}")}


@router.get("/use-cases/{name}/evaluations")
def evaluations(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  as above
    """List evaluations, newest first, the newest with its cases."""
    found = models.evaluations(at.engine, f"usecase/{name}")
    cases = models.outcomes(at.engine, found[0]["results"]) if found else []
    return {"evaluations": found, "newest": cases}


@router.get("/use-cases/{name}/measures")
def measures(at: At, me: Me, name: Id, monitor: str = "") -> dict[str, Any]:  # noqa: ARG001  as above
    """List what monitors saw, oldest first."""
    return {"measures": models.measures(at.engine, f"usecase/{name}", monitor)}


def _named(at: At, subject: str, prefix: str) -> dict[str, Any]:
    if not prefix:
        return views.newest(at.engine, subject)
    found = [r for r in views.releases(at.engine, subject) if r["digest"].startswith(prefix)]
    if len(found) != 1:
        raise NotFound(f"{prefix!r} names {len(found)} releases of {subject}", hint="use more of the digest")
    return found[0]
