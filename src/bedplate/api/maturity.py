"""Maturity as the records say it, and the change of the operating model that a stage recommends."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from bedplate.document import parse
from bedplate.errors import InvalidInput
from bedplate.kernel.clock import SECOND
from bedplate.paths.maturity import maturity
from bedplate.people.actions import check_model
from bedplate.people.stage import STAGES, propose
from bedplate.wire import Staged

from .portfolio import model_in_force
from .session import At, Me

router = APIRouter(tags=["people"])


@router.get("/maturity")
def computed(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Say per layer what is reached, by which records, and what is worth most to do next."""
    return maturity(at.engine, at.calls, model_in_force(at), at.clock()).plain()


@router.post("/maturity/plan")
def plan(at: At, me: Me, body: Staged) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return an operating model's file as a stage recommends it: the one that the records bear out, unless named.

    Nothing is applied, and nothing applies itself.
    """
    file = check_model(at.governor, parse(body.text, body.name))
    found = maturity(at.engine, at.calls, model_in_force(at), at.clock()).stage
    stage = body.stage or found.stage
    if STAGES.index(stage) < STAGES.index(file.maturity):
        raise InvalidInput(
            f"the file is at the stage {file.maturity}, and the records bear out {found.stage}",
            hint="nothing is taken back by itself: edit the file, or name a stage: --stage at-scale",
        )
    if stage == STAGES[0]:
        raise InvalidInput(
            f"the records bear out {found.stage}, for which nothing is recommended beyond the file",
            hint=f"see what {found.following} takes: bedplate maturity; or name it: --stage {found.following}",
        )
    today = datetime.fromtimestamp(at.clock() // SECOND, UTC).date()
    made = propose(body.text, stage, today, body.name)
    check_model(at.governor, parse(made.text, body.name))
    return {**asdict(made), "recommended": found.stage}
