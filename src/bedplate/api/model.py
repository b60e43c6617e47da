"""Versions of the operating model, and the blast radius of one that is proposed: of a file, or of an approval."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from bedplate.document import parse
from bedplate.errors import Denied, InvalidInput
from bedplate.installation import Installation
from bedplate.paths.blast import DAYS, MOST_DAYS, Blast, Ground, blast, proposed
from bedplate.people import actions
from bedplate.people.governance import APPLY_MODEL
from bedplate.people.versions import versions
from bedplate.store.reads import read_blob
from bedplate.wire import Proposal

from .session import At, Me

router = APIRouter(tags=["people"])
Id = Annotated[str, Path(min_length=1, max_length=100)]
Days = Annotated[int, Query(ge=0, le=MOST_DAYS, description="Of calls that are replayed; 0: none.")]


@router.post("/model/blast")
def of_file(at: At, me: Me, body: Proposal) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Say what an operating model would change of everything on record, calls of the last days included."""
    file = actions.check_model(at.governor, parse(body.text, body.name))
    return radius(at, file.plain(), body.days).plain()


@router.get("/approvals/{approval_id}/blast")
def of_approval(at: At, me: Me, approval_id: Id, days: Days = DAYS) -> dict[str, Any]:  # noqa: ARG001  as above
    """Say the same of an operating model that waits for approval."""
    found = at.approval(approval_id if approval_id.startswith("approval/") else f"approval/{approval_id}")
    if found.action != APPLY_MODEL.name:
        raise InvalidInput(f"{found.id} is about no operating model", hint="name one of `people.apply`")
    return radius(at, body_of(at, str(found.facts["digest"])), days).plain()


@router.get("/model/versions")
def history(at: At, me: Me, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> dict[str, Any]:  # noqa: ARG001  as above
    """List the operating models that were in force, newest first: what each changed, and who agreed."""
    return {"versions": [v.plain() for v in versions(at.engine, limit)]}


def body_of(at: Installation, digest: str) -> dict[str, Any]:
    """Return the kept plain form of an operating model."""
    with at.engine.connect() as connection:
        return dict(json.loads(read_blob(connection, digest)))


def radius(at: Installation, body: dict[str, Any], days: int) -> Blast:
    """Compare a proposed model with the one in force; `Denied` while there is none."""
    in_force = at.model()
    if in_force is None:
        raise Denied(
            "no operating model is in force, so there is nothing it would change",
            hint="bedplate apply operating-model.yaml",
        )
    ground = Ground(at.engine, at.catalogue, at.calls.shards(), at.clock())
    return blast(ground, in_force, proposed(body), days)
