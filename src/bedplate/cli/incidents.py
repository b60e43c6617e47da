"""Incidents: what is open, what was seen, closing one."""

from __future__ import annotations

import json
from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from .approvals import bare
from .output import fields, line, moment, note, short, table
from .server import THERE, Server

incident_app = App(name="incident", help="One incident: show it, close it.")


def incidents(
    *,
    open: Annotated[bool, Parameter(help="Only those not closed.")] = False,  # noqa: A002  the option's name
    server: Server = THERE,
) -> int:
    """List incidents, newest first."""
    listed = server.client().incidents(only_open=open)

    def text() -> None:
        if not listed:
            note("No incident is open." if open else "There are no incidents.")
            return
        rows = [
            (
                bare(i["id"]),
                "closed" if i["closed_at"] else "open",
                bare(i["subject"]),
                i["title"],
                i["owner"],
                moment(i["opened_at"]),
            )
            for i in listed
        ]
        table(("id", "state", "use case", "what", "owner", "opened"), rows, wraps=3)

    server.show({"incidents": listed}, text)
    return 0


@incident_app.command
def show(incident: str, *, server: Server = THERE) -> int:
    """Show one incident with the evidence frozen when it was opened."""
    found = server.client().get(f"/api/incidents/{quote(bare(incident))}")

    def text() -> None:
        fields(
            {
                "incident": bare(found["id"]),
                "what": found["title"],
                "use case": bare(found["subject"]),
                "state": "closed" if found["closed_at"] else "open",
                "cause": found["cause"],
                "owner": found["owner"],
                "lowered to": found["rung"],
                "opened": moment(found["opened_at"]),
                "due": moment(found["due"]),
                "went up to": found["told"].replace(",", ", "),
                "release": short(found["release"]),
                "closed": moment(found["closed_at"]),
                "resolution": found["resolution"],
                "evidence": short(found["evidence"]),
            }
        )
        line(json.dumps(found["frozen"], ensure_ascii=False, indent=2))

    server.show({"incident": found}, text)
    return 0


@incident_app.command
def close(
    incident: str,
    *,
    reason: Annotated[str, Parameter(help="The resolution: what was found and done.")],
    server: Server = THERE,
) -> int:
    """Close an incident with its resolution. The rung stays where it is; only an approval moves it up."""
    found = server.client().close_incident(incident, reason)
    server.show({"incident": found}, lambda: line(f"closed {bare(found['id'])}: {found['title']}"))
    return 0
