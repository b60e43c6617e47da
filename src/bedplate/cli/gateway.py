"""Keys of use cases, and the calls on record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

from cyclopts import App, Parameter

from .approvals import bare
from .output import fields, line, moment, note, short, table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

key_app = App(name="key", help="Keys for a use case's programs.")


@key_app.command
def issue(
    use_case: str,
    *,
    label: Annotated[str, Parameter(help="What the key is for.")],
    days: Annotated[int, Parameter(help="How long it works.")] = 90,
    agent: Annotated[str, Parameter(help="The agent whose own it is.")] = "",
    server: Server = THERE,
) -> int:
    """Issue a key. Its text is shown once."""
    told = server.client().issue_key(use_case, label, days, agent)

    def text() -> None:
        fields({"key": told["key"], "id": told["id"], "base URL": f"{server.address}/v1"})
        note("This is the only time the key is shown.")

    server.show({**told, "base_url": f"{server.address}/v1"}, text)
    return 0


@key_app.command(name="list")
def list_keys(use_case: str, *, server: Server = THERE) -> int:
    """List a use case's keys, without their text."""
    listed = server.client().get(f"/api/use-cases/{quote(use_case)}/keys")["keys"]

    def text() -> None:
        if not listed:
            note(f"{use_case} has no key. Issue one: bedplate key issue {use_case} --label LABEL")
            return
        rows = [
            (
                k["id"],
                k["label"],
                k["issued_by"],
                moment(k["expires"]),
                f"revoked {moment(k['revoked_at'])}" if k["revoked_at"] else "",
            )
            for k in listed
        ]
        table(("id", "label", "issued by", "expires", "ended"), rows, wraps=1)

    server.show({"keys": listed}, text)
    return 0


@key_app.command
def revoke(
    key: str,
    *,
    reason: Annotated[str, Parameter(help="Why; it goes on record.")],
    server: Server = THERE,
) -> int:
    """End a key at once. KEY is its id, not its text."""
    told = server.client().post(f"/api/keys/{quote(key)}/revoke", {"reason": reason})
    server.show(told, lambda: line(f"revoked {told['id']}"))
    return 0


def calls(
    *,
    use_case: Annotated[str, Parameter(help="Only calls of this use case.")] = "",
    verdict: Annotated[
        Literal["", "allow", "deny", "ask"],
        Parameter(help="Only this verdict: allow, deny or ask.", show_choices=False),
    ] = "",
    text: Annotated[str, Parameter(help="Only records that hold this text.")] = "",
    limit: Annotated[int, Parameter(help="At most so many.")] = 50,
    server: Server = THERE,
) -> int:
    """Search the calls on record, newest first."""
    listed = server.client().calls(use_case=use_case, verdict=verdict, text=text, limit=limit)

    def shown() -> None:
        if not listed:
            note("No call on record matches.")
            return
        rows = [
            (
                c["id"],
                c["started"][:19].replace("T", " "),
                c["route"],
                c["verdict"],
                c["status"],
                bare(c["use_case"]),
                c["reasons"][0][0] if c["reasons"] else ", ".join(c["findings"]),
            )
            for c in listed
        ]
        table(("call", "at (UTC)", "route", "verdict", "status", "use case", "because"), rows)

    server.show({"calls": listed}, shown)
    return 0


def call(call_id: str, *, server: Server = THERE) -> int:
    """Show one call.

    What was decided and why, what answered, and what was said, where that was kept.
    """
    found = server.client().call(call_id)
    server.show({"call": found}, lambda: _one(found))
    return 0


def _one(found: Mapping[str, Any]) -> None:
    fields(
        {
            "call": found["id"],
            "use case": bare(found["use_case"]),
            "at": f"{found['started']} to {found['ended']}",
            "verdict": found["verdict"],
            "status": found["status"],
            "error": found["error"],
            "rung": found["rung"],
            "tier": found["tier"],
            "release": short(found["release"]),
            "answered by": f"{found['model']} ({found['upstream']})" if found["model"] else "",
            "tokens": f"{found['tokens_in']} in, {found['tokens_out']} out",
            "grounded": f"{found['grounded_permille'] / 10:.0f} %" if found["status"] == "ok" else "",
            "unanswered": "yes" if found["unanswered"] else "",
            "findings": ", ".join(found["findings"]),
            "passages": "\n".join(found["passages"]),
            "key": found["key"],
            "on record": f"{found['shard']}, record {found['seq']}, leaf {short(found['leaf'])}",
        }
    )
    for control, why, fix in found["reasons"]:
        line(f"  {control}: {why}")
        line(f"    fix: {fix}", style="yellow")
    if found["said"]:
        for who, what in _said(found["said"]):
            line()
            line(f"{who}:", style="dim")
            line(what)
    elif found["erased"]:
        gone = found["erased"]
        who = f"erased by {gone['by']} at {moment(gone['at'])}: " if gone["by"] else ""
        line(f"What was said is gone. {who}{gone['reason']}", style="yellow")
    note(f"Prove it to somebody: bedplate prove {found['id']}")


def _said(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return who said what, in order; what is not a plain message is shown as it was sent."""
    said = []
    for name, what in content.items():
        for part in what if isinstance(what, list) else [what]:
            if isinstance(part, dict) and isinstance(part.get("content"), str):
                said.append((str(part.get("role", name)), part["content"]))
            else:
                said.append((name, part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)))
    return said
