"""Feedback: what is said of calls, by people and by a use case's own key, and the eval cases that it leads to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bedplate.errors import InvalidInput, Unauthenticated, Unavailable
from bedplate.models.feedback import checked, yaml_of
from bedplate.paths.feedback import Desk, Giver
from bedplate.people.views import who
from bedplate.wire import Expected, Opinion

from .portfolio import Id
from .problem import body_of
from .session import At, Me

router = APIRouter(tags=["feedback"])
FeedbackId = Annotated[str, Path(min_length=36, max_length=36)]
KEY = "bpk_"  # what a use case's key begins with
_bearer = HTTPBearer(auto_error=False, description="A token from `bedplate login`, or a use case's key.")


def desk(request: Request) -> Desk:
    """Return the desk of this server."""
    found: Desk = request.app.state.installation.desk
    return found


Behind = Annotated[Desk, Depends(desk)]


def asking(at: At, behind: Behind, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Giver:
    """Return who is asking, a person or a use case's key."""
    if given is None:
        raise Unauthenticated("sign in first, or send a use case's key", hint="send Authorization: Bearer ...")
    if given.credentials.startswith(KEY):
        return behind.key(given.credentials)
    return Giver(f"person/{who(at.engine, given.credentials, at.clock(), 'cli', 'session').person}")


Asking = Annotated[Giver, Depends(asking)]


@router.post("/feedback", responses={429: {"description": "too many in a minute"}}, response_model=None)
def give(behind: Behind, giver: Asking, body: Opinion) -> dict[str, Any] | JSONResponse:
    """Say how good the answer of a call was. Harm opens an incident at once. A key speaks of its own calls only."""
    said = checked(body.kind, body.value, body.comment, body.by)
    try:
        return asdict(behind.give(giver, body.call, said, body.request))
    except Unavailable as refused:
        if refused.code != "too-many":
            raise
        return JSONResponse(body_of(refused), 429, {"retry-after": "10"})


@router.get("/feedback")
def listed(
    at: At,
    me: Me,  # noqa: ARG001  signed in, nothing more
    use_case: str = "",
    call: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """List what was said of a use case's calls, or of one call, newest first; without what is sealed."""
    if bool(use_case) == bool(call):
        raise InvalidInput("name either a use case or a call", hint="use_case=ID or call=ID")
    found = at.calls.feedback(call) if call else at.calls.feedback_of(f"usecase/{use_case}", limit=limit)
    return {"feedback": [record.plain() for record in found[:limit]]}


@router.get("/feedback/{feedback_id}")
def one(at: At, behind: Behind, me: Me, feedback_id: FeedbackId) -> dict[str, Any]:
    """Return one record of feedback; with comment and correction to those who may read content."""
    record = at.calls.said(feedback_id)
    return {**record.plain(), "said": behind.content(me.person, record)}


@router.post("/feedback/{feedback_id}/to-evals")
def to_evals(behind: Behind, me: Me, feedback_id: FeedbackId, body: Expected) -> dict[str, Any]:
    """Make an eval case of a correction, a thumb down or harm; it waits to be put into the team's own file."""
    draft = behind.propose(me.person, feedback_id, body.contains, unanswered=body.unanswered)
    return {"case": draft.plain(), "yaml": yaml_of([draft])}


@router.get("/use-cases/{name}/feedback/pending")
def pending(behind: Behind, me: Me, name: Id) -> dict[str, Any]:
    """List the eval cases that wait, also as YAML to be put under `cases:` of the team's file."""
    drafts, lost = behind.pending(me.person, f"usecase/{name}")
    return {"cases": [draft.plain() for draft in drafts], "yaml": yaml_of(drafts), "lost": lost}
