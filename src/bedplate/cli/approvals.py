"""Approvals: what waits, for whom, and the two answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bedplate.errors import BedplateError

from .output import fields, line, moment, note, short, table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.errors import NeedsApproval
    from bedplate.sdk import Client

WAITING = 6


def approvals(
    approval: str = "",
    *,
    state: Annotated[str, Parameter(help="asked, granted, refused, expired, voided, spent, or any.")] = "asked",
    server: Server = THERE,
) -> int:
    """List what waits for approval, or show one.

    Shows what is asked, by whom, until when, and who must still agree.
    """
    client = server.client()
    if approval:
        found = client.approval(approval)
        server.show({"approval": found}, lambda: _one(client, found))
        return 0
    listed = client.approvals(state)

    def text() -> None:
        if not listed:
            note(f"Nothing is {state}." if state != "any" else "There are no approvals yet.")
            return
        rows = [
            (bare(a["id"]), a["state"], a["summary"] or a["subject"], a["requester"], missing(a), _mine(a))
            for a in listed
        ]
        table(("id", "state", "what", "asked by", "still missing", "you"), rows, wraps=2)

    server.show({"approvals": listed}, text)
    return 0


def approve(
    approval: str,
    *,
    reason: Annotated[str, Parameter(help="Kept with your vote.")] = "",
    server: Server = THERE,
) -> int:
    """Agree to exactly what an approval asks.

    The last vote that was missing carries it out.
    """
    return _vote(server, approval, "yes", reason)


def refuse(
    approval: str,
    *,
    reason: Annotated[str, Parameter(help="What must change; it is kept with your vote.")],
    server: Server = THERE,
) -> int:
    """Refuse what an approval asks, with a reason."""
    return _vote(server, approval, "no", reason)


def _vote(server: Server, approval: str, answer: Any, reason: str) -> int:  # noqa: ANN401  a literal, given above
    client = server.client()
    found = client.vote(approval, answer, reason)

    def text() -> None:
        line("you refused" if answer == "no" else "you agreed to", f"{found['summary'] or found['subject']}")
        told = {
            "spent": "it was carried out",
            "granted": "granted; it could not be carried out yet: see bedplate status",
        }
        if found["state"] == "asked":
            line("still missing:", "; ".join(who(client, found)))
        elif found["state"] in told:
            line(told[found["state"]])

    server.show({"approval": found}, text)
    return 0


def waiting(server: Server, client: Client, asked: NeedsApproval, model: Mapping[str, Any] | None = None) -> int:
    """Tell that something waits for approval, and for whom; returns the exit code for it."""
    found = client.approval(asked.approval)

    def text() -> None:
        line("waiting", f"for approval {bare(found['id'])}")
        fields({"what": found["summary"] or found["subject"], "until": moment(found["expires"])})
        for lacking in who(client, found, model):
            line("  must agree:", lacking)

    server.show({"state": "waiting", "approval": found["id"], "message": asked.message, "asked": found}, text)
    if server.output == "text":
        note(f"They answer with: bedplate approve {bare(found['id'])}")
    return WAITING


def bare(approval: str) -> str:
    """Return an id as it is typed."""
    return approval.partition("/")[2] or approval


def missing(approval: Mapping[str, Any]) -> str:
    """Say in short whose votes are missing."""
    return ", ".join(f"{m['more']} of {m['body']}" for m in approval["missing"]) if approval["state"] == "asked" else ""


def who(client: Client, approval: Mapping[str, Any], model: Mapping[str, Any] | None = None) -> list[str]:
    """Say whose votes are missing, with the names of those who may give them where the operating model tells."""
    from bedplate.kernel.approval import Stage
    from bedplate.kernel.model import load

    try:
        body = model or client.get("/api/model")["model"]
        authority = load(body, "").authority if body else None
    except (BedplateError, KeyError, ValueError, TypeError):
        authority = None  # names are a courtesy: without them the bodies are told
    told = []
    barred = {v["person"] for v in approval["votes"]}
    if authority is not None and authority.posture != "solo":
        barred |= {approval["requester"], approval["owner"]}
    for lacking in approval["missing"]:
        stage = Stage(lacking["body"], lacking["decides"], lacking["more"])
        voters = authority.voters(stage, approval["domain"]) if authority is not None else ()
        names = " or ".join(v for v in voters if v not in barred)
        told.append(f"{lacking['more']} of {lacking['body']} ({lacking['decides']})" + (f": {names}" if names else ""))
    return told


def _mine(approval: Mapping[str, Any]) -> str:
    return "your vote" if approval["mine"] else ""


def _one(client: Client, found: Mapping[str, Any]) -> None:
    fields(
        {
            "approval": found["id"],
            "state": found["state"],
            "what": found["summary"],
            "about": found["subject"],
            "action": found["action"],
            "asked by": f"{found['requester']}, {moment(found['asked_at'])}",
            "until": moment(found["expires"]),
            "binds": short(found["digest"]),
            "still missing": "; ".join(who(client, found)) if found["state"] == "asked" else "",
            "you": "may vote" if found["mine"] else found["barred"],
        }
    )
    for vote in found["votes"]:
        answer = "agreed" if vote["yes"] else "refused"
        line(" ", vote["person"], f"({vote['seat']})", answer, moment(vote["at"]), vote["reason"])
    if found["solo"]:
        note("Solo posture: a rule of separation was waived for this.", "yellow")
