"""What was said in calls: erase it, hold it, rotate its keys."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from bedplate.evidence import actions
from bedplate.wire import Because, Held

from .gateway import CallId
from .session import At, Me

router = APIRouter(tags=["content"])


@router.post("/content/hold")
def hold(at: At, me: Me, body: Held) -> dict[str, str]:
    """Keep all that was said in a use case's calls until the hold is lifted."""
    actions.hold(at.governor, me.person, f"usecase/{body.use_case}", body.reason)
    at.follower.look()
    return {"use_case": body.use_case, "hold": body.reason}


@router.post("/content/lift")
def lift(at: At, me: Me, body: Held) -> dict[str, str]:
    """Let what was said in a use case's calls be erased again."""
    actions.lift(at.governor, me.person, f"usecase/{body.use_case}", body.reason)
    at.follower.look()
    return {"use_case": body.use_case, "hold": ""}


@router.post("/content/rotate")
def rotate(at: At, me: Me, body: Because) -> dict[str, int]:
    """Wrap the keys of all content anew, so that no backup opens what was erased."""
    return {"keys": at.eraser.rotate(me.person, body.reason)}


@router.post("/calls/{call_id}/erase")
def erase(at: At, me: Me, call_id: CallId, body: Because) -> dict[str, Any]:
    """Erase what was said in a call, and of it in feedback; its record, digests and proof stay."""
    return {"call": call_id, "erased": at.eraser.erase(me.person, call_id, body.reason)}
