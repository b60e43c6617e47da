"""Ideas: plan, propose, list, decide, and the first draft of what one becomes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse

from bedplate.document import parse
from bedplate.installation import Installation
from bedplate.paths import planning
from bedplate.portfolio import actions, ideas
from bedplate.portfolio.actions import Decision
from bedplate.portfolio.question import FEASIBILITY
from bedplate.wire import FileBody, IdeaDecision

from .portfolio import model_in_force
from .session import At, Me

router = APIRouter(tags=["ideas"])
Id = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
State = Literal["", "proposed", "deferred", "taken-up", "declined", "overdue"]


@router.post("/ideas/plan")
def plan(at: At, me: Me, body: FileBody) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Say how an idea would be scored, where it would stand, who would decide by when, and what it is like."""
    held = planning.table(at.engine, model_in_force(at), at.clock())
    file = actions.check_idea(parse(body.text, body.name), held.model, frozenset(held.contracts))
    found = planning.weigh_one(held, file)
    before = ideas.known_idea(at.engine, file.id)
    body_due, due = actions.clock_of(held.model, found.proposal.tier, at.clock(), before)
    return {
        "kind": "idea",
        "id": file.id,
        "new": before is None,
        "changed": before is None or before.file != file,
        "ranked": asdict(found),
        "body": body_due,
        "due": due,
        "alike": [asdict(a) for a in planning.like(at.engine, held, file)],
    }


@router.post("/ideas")
def propose(at: At, me: Me, body: FileBody) -> dict[str, Any]:
    """Propose an idea; the body that decides has the clock that the operating model gives it."""
    held = planning.table(at.engine, model_in_force(at), at.clock())
    file = actions.check_idea(parse(body.text, body.name), held.model, frozenset(held.contracts))
    actions.suggest(at.governor, me.person, file, held.model, ideas.known_idea(at.engine, file.id))
    return {**_one(at, file.id), "alike": [asdict(a) for a in planning.like(at.engine, held, file)]}


@router.get("/ideas")
def listed(at: At, me: Me, state: Annotated[State, Query()] = "") -> dict[str, Any]:  # noqa: ARG001  as above
    """List ideas, those that wait longest first; in one state, or those whose clock ran out."""
    now = at.clock()
    found = ideas.ideas(at.engine)
    kept = [i for i in found if state in {"", i.state} or (state == "overdue" and i.overdue(now))]
    return {"ideas": [i.plain(now) for i in kept]}


@router.get("/ideas/questions")
def questions(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return what an idea is asked, and what each answer means."""
    risk = [asdict(q) for q in model_in_force(at).questions]
    return {"feasibility": [asdict(q) for q in FEASIBILITY], "risk": risk}


@router.get("/ideas/{name}")
def idea(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return one idea with its score and what it is like."""
    held = planning.table(at.engine, model_in_force(at), at.clock())
    found = ideas.idea(at.engine, name)
    alike = [asdict(a) for a in planning.like(at.engine, held, found.file)]
    return {**found.plain(at.clock()), "ranked": asdict(planning.weigh_one(held, found.file)), "alike": alike}


@router.post("/ideas/{name}/decision")
def decide(at: At, me: Me, name: Id, body: IdeaDecision) -> dict[str, Any]:
    """Take an idea up, decline it or defer it."""
    decision = Decision(body.outcome, body.reason, body.condition, body.until)
    actions.weigh(at.governor, me.person, ideas.idea(at.engine, name), model_in_force(at), decision)
    return _one(at, name)


@router.get("/ideas/{name}/draft", response_class=PlainTextResponse)
def draft(at: At, me: Me, name: Id) -> PlainTextResponse:  # noqa: ARG001  as above
    """Return the first draft of the use case's file, of an idea that was taken up."""
    held = planning.table(at.engine, model_in_force(at), at.clock())
    return PlainTextResponse(planning.draft(held, ideas.idea(at.engine, name)), media_type="application/yaml")


def _one(at: Installation, name: str) -> dict[str, Any]:
    return ideas.idea(at.engine, name).plain(at.clock())
