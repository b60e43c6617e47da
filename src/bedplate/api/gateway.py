"""Keys and calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from fastapi.responses import PlainTextResponse

from bedplate.evidence.views import prove, sealed_size
from bedplate.gateway import actions, cost, views
from bedplate.installation import Installation
from bedplate.people.account import mint
from bedplate.wire import Because, NewKey

from .portfolio import Id
from .session import At, Me

router = APIRouter(tags=["gateway"])
KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{12}$")]
CallId = Annotated[str, Path(min_length=36, max_length=50)]


@router.post("/use-cases/{name}/keys")
def issue(at: At, me: Me, name: Id, body: NewKey) -> dict[str, str]:
    """Issue a key for a use case; its text is in this answer and nowhere else."""
    token = mint("k")
    subject = f"usecase/{name}"
    named = {"key": token.id, "digest": token.digest, "label": body.label, "agent": body.agent}
    actions.issue_key(at.governor, me.person, subject, **named, days=body.days)
    at.follower.look()
    return {"id": token.id, "key": token.text, "use_case": name}


@router.get("/use-cases/{name}/keys")
def keys(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """List the keys of a use case, without their text."""
    return {"keys": views.keys(at.engine, f"usecase/{name}")}


@router.post("/keys/{key_id}/revoke")
def revoke(at: At, me: Me, key_id: KeyId, body: Because) -> dict[str, Any]:
    """End a key."""
    found = views.key_by_id(at.engine, key_id)
    actions.revoke_key(at.governor, me.person, found["subject"], key_id, body.reason)
    at.follower.look()
    return {"id": key_id}


@router.get("/calls")
def calls(
    at: At,
    me: Me,
    use_case: str = "",
    verdict: str = "",
    text: str = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> dict[str, Any]:
    """Search calls, newest first; what they cost is told to those who may read it."""
    subject = f"usecase/{use_case}" if use_case else ""
    found = at.calls.search(use_case=subject, verdict=verdict, text=text, limit=limit)
    return {"calls": _told(at, me.person, found)}


@router.get("/calls/{call_id:path}/proof", response_class=PlainTextResponse)
def proof(at: At, me: Me, call_id: CallId) -> str:  # noqa: ARG001  as above
    """Return the proof file of a call, to be checked offline with `bedplate verify`."""
    return make_proof(at, call_id)


@router.get("/calls/{call_id:path}")  # after the others: an intent's id holds a slash
def call(at: At, me: Me, call_id: CallId) -> dict[str, Any]:
    """Return one call; what it cost, and its content where it was kept, to those who may read each."""
    found = at.calls.get(call_id)
    why = at.eraser.why(found.id)
    [told] = _told(at, me.person, [found])
    return {**told, "said": at.content(me.person, found), "erased": asdict(why) if why is not None else None}


def make_proof(at: At, call_id: str) -> str:
    """Make the proof of a call, anchoring it first if this process's shard holds it and it is not anchored yet."""
    shard, row, name = at.calls.find(call_id)
    if name == at.journal.shard and row.seq >= sealed_size(at.engine, name):
        at.seal()
    return prove(at.engine, shard, name, row.seq, row.entry, at.anchor.prove).render()


def _told(at: Installation, person: str, found: Sequence[views.Call]) -> list[dict[str, Any]]:
    """Return calls as JSON-ready values, without what they cost where this person may not read that."""
    seen, standings = cost.readable(at.model(), person), at.follower.snapshot.standings
    told = [call.plain() for call in found]
    for line in told:
        standing = standings.get(line["use_case"])
        if seen is not None and (standing is None or standing.domain not in seen):
            line.pop("cost_nano", None)
    return told
