"""Use cases: where each stands, and stopping one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bedplate.errors import NeedsApproval, NotFound

from .approvals import bare, missing, waiting
from .output import fields, line, moment, note, short, table
from .releases import gate_table
from .server import THERE, Server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bedplate.sdk import Client


def status(use_case: str = "", *, server: Server = THERE) -> int:
    """Show the portfolio, or where one use case stands.

    With USE_CASE: its standing, its gate, what waits for approval, and its open incidents.
    """
    client = server.client()
    if not use_case:
        listed = client.use_cases()
        server.show({"use_cases": listed}, lambda: _all(listed))
        return 0
    found = client.use_case(use_case)
    asked = client.approvals(subject=found["subject"])
    incidents = client.get(f"/api/use-cases/{found['id']}/incidents")["incidents"]
    gate = _gate(client, found["id"])

    def text() -> None:
        _one(found)
        if gate is not None:
            line()
            line(f"gate of release {gate['number']} ({short(gate['release'])}, {gate['state']})")
            gate_table(gate["gate"])
        for approval in asked:
            line()
            line("waiting", f"{approval['summary']}: {missing(approval)} (bedplate approve {bare(approval['id'])})")
        for incident in incidents:
            if not incident["closed_at"]:
                line()
                line("incident", f"{bare(incident['id'])}: {incident['title']}, since {moment(incident['opened_at'])}")

    server.show({"use_case": found, "gate": gate, "approvals": asked, "incidents": incidents}, text)
    return 0


def suspend(
    use_case: str,
    *,
    reason: Annotated[str, Parameter(help="Why; callers are told.")],
    server: Server = THERE,
) -> int:
    """Stop a use case at once.

    Within a second every call is refused, with the reason.
    """
    found = server.client().suspend(use_case, reason)
    server.show({"state": "suspended", "use_case": found}, lambda: line("suspended", f"{use_case}: {reason}"))
    return 0


def resume(
    use_case: str,
    *,
    reason: Annotated[str, Parameter(help="Why it may act again.")],
    server: Server = THERE,
) -> int:
    """Let a use case act again, once agreed."""
    client = server.client()
    try:
        found = client.resume(use_case, reason)
    except NeedsApproval as asked:
        return waiting(server, client, asked)
    server.show({"state": "resumed", "use_case": found}, lambda: line(f"{use_case} acts again"))
    return 0


def _gate(client: Client, use_case: str) -> dict[str, Any] | None:
    try:
        return client.gate(use_case)
    except NotFound:
        return None  # no release yet


def _all(listed: list[dict[str, Any]]) -> None:
    if not listed:
        note("No use case is on record yet. Propose one: bedplate apply use-case.yaml")
        return
    rows = [(u["id"], u["tier"] or "?", _stage(u), u["rung"], u["owner"], len(u["breaches"]) or "") for u in listed]
    table(("use case", "tier", "stage", "rung", "owner", "incidents"), rows, wraps=0)


def _stage(found: Mapping[str, Any]) -> str:
    return "suspended" if found["suspended"] else str(found["stage"])


def _one(found: Mapping[str, Any]) -> None:
    fields(
        {
            "use case": f"{found['id']}: {found['title']}",
            "owner": f"{found['owner']} ({found['domain']})",
            "stage": _stage(found),
            "suspended": found["suspended"],
            "rung": found["rung"],
            "tier": f"{found['tier']} ({found['impact']} × {found['autonomy']})",
            "worth": found["value"] * found["feasibility"],
            "live release": short(found["release"]),
            "made from": found["path"],
            "declined": found["decision"] if found["stage"] == "declined" else "",
            "break-glass": f"open until {moment(found['glass_until'])}" if found["glass_until"] else "",
        }
    )
