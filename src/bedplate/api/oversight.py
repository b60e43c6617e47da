"""Oversight: what waits for you, links to single actions, how well people look, and whose answers count."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from bedplate.agents import views
from bedplate.agents.actions import restore_reviewer
from bedplate.agents.oversight import HASTY, MANY, STAMPED
from bedplate.agents.reminder import inbox
from bedplate.errors import InvalidInput
from bedplate.kernel.clock import SECOND
from bedplate.paths.agents import arguments_of, looked, must_read, readable
from bedplate.paths.oversight import followed, quality
from bedplate.wire import Ballot, Because

from .people import shown
from .session import At, Me

router = APIRouter(tags=["agents"])
LinkText = Annotated[str, Path(min_length=10, max_length=1_000)]


@router.get("/inbox")
def waiting(at: At, me: Me) -> dict[str, Any]:
    """List the actions that you were told of and that still wait, what expires first first."""
    return {"actions": inbox(at.engine, me.person, at.clock())}


@router.get("/links/{link}")
def opened(at: At, me: Me, link: LinkText) -> dict[str, Any]:
    """Return the action that a link leads to: only to the person it was made for; that you looked is on record."""
    approval = followed(at, link, me.person)
    must_read(at.agents, me.person, approval.subject)
    row = views.parked_action(at.engine, approval.id)
    if row["state"] in views.OPEN:
        looked(at.governor, me.person, approval)
    return {**row, "arguments": arguments_of(at.agents, row), "asked": shown(at, approval, me.person)}


@router.post("/links/{link}/votes")
def answered(at: At, me: Me, link: LinkText, body: Ballot) -> dict[str, Any]:
    """Answer the action that a link leads to, as the person who is signed in."""
    if body.answer == "no" and not body.reason.strip():
        raise InvalidInput("a refusal needs a reason", hint="say what must change")
    approval = followed(at, link, me.person)
    found = at.vote(me.person, approval.id, yes=body.answer == "yes", reason=body.reason, request=body.request)
    return shown(at, found, me.person)


@router.get("/oversight")
def oversight(at: At, me: Me, days: Annotated[int, Query(ge=1, le=366)] = 90) -> dict[str, Any]:
    """Say how people answered actions: how long they looked, how often they overruled, and what trials showed."""
    found = quality(at, at.clock(), days, readable(at.agents, me.person))
    told = [{**asdict(r), "overrides": r.overrides, "stamp_share": r.stamp_share} for r in found]
    return {"reviewers": told, "days": days, "hasty_s": HASTY // SECOND, "limit_permille": STAMPED, "at_least": MANY}


@router.post("/people/{person}/restore")
def restore(at: At, me: Me, person: Annotated[str, Path(min_length=1, max_length=80)], body: Because) -> dict[str, str]:
    """Have somebody's answers about actions count again, after they were trained anew."""
    restore_reviewer(at.governor, me.person, person, body.reason)
    at.follower.look()
    return {"person": person}
