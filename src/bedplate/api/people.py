"""People: signing in, invitations, the operating model, approvals."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from sqlalchemy import Connection

from bedplate.document import parse
from bedplate.errors import InvalidInput
from bedplate.kernel.approval import Approval
from bedplate.kernel.authority import Barred, ballot
from bedplate.kernel.governance import interests
from bedplate.people import actions, views
from bedplate.people.account import hash_password
from bedplate.people.tables import password as passwords
from bedplate.store.engine import writing
from bedplate.store.projector import upsert
from bedplate.wire import Ballot, FileBody, Invitation, Password, SignIn

from .session import At, Me, address_of

router = APIRouter(tags=["people"])
Id = Annotated[str, Path(min_length=1, max_length=100)]


@router.post("/login")
def login(at: At, request: Request, body: SignIn) -> dict[str, str]:
    """Sign in with an invitation's code or a password; returns a token, shown once."""
    if body.code:
        with at.attempts.counted(address_of(request)):
            invited = views.who(at.engine, body.code, at.clock(), "invitation")
        token = actions.sign_in(at.governor, invited.person, "cli", spend=invited.token)
        return {"person": invited.person, "name": invited.name, "token": token.text}
    at.attempts.password(body.person, body.password, address_of(request))
    return {"person": body.person, "name": body.person, "token": actions.sign_in(at.governor, body.person, "cli").text}


@router.post("/logout")
def logout(at: At, me: Me) -> dict[str, str]:
    """End the token that came with this request."""
    actions.sign_out(at.governor, me.person, me.token)
    return {"person": me.person}


@router.get("/me")
def myself(at: At, me: Me) -> dict[str, Any]:
    """Say who is signed in, with which seats, in which posture."""
    model = at.model()
    known = model.authority.people.get(me.person) if model is not None else None
    return {
        "person": me.person,
        "name": me.name,
        "seats": [str(s) for s in known.seats] if known is not None else [],
        "locked_until": at.attempts.waits(me.person),
        "posture": model.authority.posture if model is not None else "none",
        "organisation": model.organisation if model is not None else "",
        "answered_by": at.workshop.upstreams.get("default", at.workshop.upstreams["embedded"]).name,
    }


@router.post("/me/password")
def change_password(at: At, me: Me, body: Password) -> dict[str, str]:
    """Set one's own password."""
    hashed = hash_password(body.password)

    def keep() -> None:
        with writing(at.engine.connect()) as connection, connection.begin():
            _keep(connection, me.person, hashed)

    actions.set_password(at.governor, me.person, keep)
    return {"person": me.person}


@router.post("/invitations")
def invite(at: At, me: Me, body: Invitation) -> dict[str, str]:
    """Invite somebody; returns a code that works once."""
    known = any(a["person"] == body.person for a in views.accounts(at.engine))
    token = actions.invite(at.governor, me.person, body.person, body.name, known=known)
    return {"person": body.person, "code": token.text}


@router.post("/model/plan")
def plan_model(at: At, me: Me, body: FileBody) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Say what an operating model would change, and who must agree."""
    file = actions.check_model(at.governor, parse(body.text, body.name))
    current = views.current_model(at.engine)
    changes = actions.compare(current["model"] if current else None, file.plain())
    bodies = {"policy": "board", "technical": "coe"}
    return {
        "kind": "operating-model",
        "changes": [asdict(c) for c in changes],
        "needs": sorted({bodies[c.needs] for c in changes}),
    }


@router.post("/model/apply")
def apply_model(at: At, me: Me, body: FileBody) -> dict[str, str]:
    """Put an operating model in force, or ask for it: 202 names the approval."""
    file = actions.check_model(at.governor, parse(body.text, body.name))
    current = views.current_model(at.engine)
    digest = actions.apply_model(at.governor, me.person, file, current["model"] if current else None)
    return {"digest": digest}


@router.get("/model")
def current_model(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return the operating model in force."""
    return views.current_model(at.engine) or {"digest": "", "version": 0, "model": None}


@router.get("/approvals")
def approvals(at: At, me: Me, state: str = "asked", subject: str = "") -> dict[str, Any]:
    """List approvals in a state (`asked`, `granted`, ... or `any`), saying which wait for whoever asks."""
    states = () if state == "any" else (state,)
    return {"approvals": [shown(at, a, me.person) for a in at.approvals(*states, subject=subject)]}


@router.get("/approvals/{approval_id}")
def approval(at: At, me: Me, approval_id: Id) -> dict[str, Any]:
    """Return one approval."""
    return shown(at, at.approval(_full(approval_id)), me.person)


@router.post("/approvals/{approval_id}/votes")
def vote(at: At, me: Me, approval_id: Id, body: Ballot) -> dict[str, Any]:
    """Answer an approval; the last vote that was missing carries it out."""
    if body.answer == "no" and not body.reason.strip():
        raise InvalidInput("a refusal needs a reason", hint="say what must change")
    found = at.vote(me.person, _full(approval_id), yes=body.answer == "yes", reason=body.reason, request=body.request)
    return shown(at, found, me.person)


def shown(at: At, approval: Approval, person: str) -> dict[str, Any]:
    """Return an approval as JSON-ready values, with whether this person may vote on it, or why not."""
    model = at.model()
    open_now = approval.open(at.clock())
    about = interests(at.follower.snapshot.standings.get(approval.subject), approval)
    found = ballot(model.authority, approval, person, now=at.clock(), about=about) if model and open_now else None
    state = "expired" if approval.state == "asked" and not open_now else approval.state
    return {
        **asdict(approval),
        "facts": dict(approval.facts),
        "state": state,
        "missing": [{"body": s.body, "decides": s.decides, "more": more} for _, s, more in approval.missing()],
        "mine": found is not None and not isinstance(found, Barred),
        "barred": found.reason if isinstance(found, Barred) else "",
    }


def _full(approval_id: str) -> str:
    return approval_id if approval_id.startswith("approval/") else f"approval/{approval_id}"


def _keep(connection: Connection, person: str, hashed: str) -> None:
    upsert(connection, passwords, {"person": person}, {"hash": hashed})
