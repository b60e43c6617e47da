"""The bodies: who sits where, who may decide, who has shown what."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from .output import fields, line, moment, note, table
from .server import THERE, Server

people_app = App(name="people", help="The bodies: who sits where, who decides what, who has shown which competence.")


@people_app.command
def structures(*, server: Server = THERE) -> int:
    """Show the board, the CoE and the domains: mandate, members, clock, and what waits for each."""
    found = server.client().get("/api/people/structures")

    def text() -> None:
        for place, one in enumerate(found["structures"]):
            if place:
                line()
            days = one["decides_within_days"]
            fields(
                {
                    one["id"]: one["name"],
                    "mandate": one["mandate"],
                    "decides": ", ".join(one["decides"]) + (f", within {days} days" if days else ""),
                    "members": "; ".join(f"{m['person']} ({', '.join(m['seats'])})" for m in one["members"]),
                    "vote": ", ".join(one["voters"]) or "nobody",
                    "stands in": ", ".join(f"{who} for {absent}" for absent, who in one["standing_in"].items()),
                    "waiting": one["waiting"],
                }
            )
        for name in ("delegations", "stand_ins"):
            for one in found[name]:
                what = name.rstrip("s").replace("_", "-")
                state = "in force" if one["active"] else "not in force"
                line(f"{what} {one['id']}: {_handed(one)}, until {one['until']} ({state})")
        for one in found["conflicts"]:
            line(f"conflict of interest: {one['person']} about {one['about']}: {one['why']}")

    server.show(found, text)
    return 0


@people_app.command
def competence(*, server: Server = THERE) -> int:
    """Show who has shown which competence, and until when it counts."""
    found = server.client().get("/api/people/competences")

    def text() -> None:
        if not found["competences"]:
            note("The operating model declares no competences: see `competences` in its file.")
            return
        rows = [
            (p["person"], p["name"], ", ".join(map(str, p["tiers"])), p["state"], moment(p["until"]))
            for p in found["people"]
        ]
        table(("person", "competence", "tiers", "state", "until"), rows, wraps=1)

    server.show(found, text)
    return 0


@people_app.command
def train(
    person: str,
    competence: str,
    *,
    evidence: Annotated[str, Parameter(help="How it was shown, or where that is kept.")],
    on: Annotated[str, Parameter(help="The day it was shown, like 2027-01-31; today if left out.")] = "",
    server: Server = THERE,
) -> int:
    """Record that PERSON showed COMPETENCE. Nobody records their own."""
    body = {"competence": competence, "evidence": evidence, "on": on}
    found = server.client().post(f"/api/people/{quote(person, safe='')}/training", body)
    server.show(found, lambda: line(f"recorded: {person} showed {competence}"))
    return 0


@people_app.command
def raci(use_case: str, *, server: Server = THERE) -> int:
    """Say who is responsible, accountable, consulted and informed about USE-CASE, as it is enforced."""
    found = server.client().get(f"/api/use-cases/{quote(use_case, safe='')}/raci")

    def text() -> None:
        for place, one in enumerate(found["raci"]):
            if place:
                line()
            roles = {role: ", ".join(one[role]) for role in ("responsible", "accountable", "consulted", "informed")}
            fields({one["action"]: one["doc"], **roles, "by": one["rule"]})

    server.show(found, text)
    return 0


def _handed(one: dict[str, str]) -> str:
    if "absent" in one:
        return f"{one['person']} for {one['absent']}"
    return f"tier {one['tier']} {', '.join(one['what'])}, from {one['from_body']} to {one['to_body']}"
