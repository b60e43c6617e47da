"""The roll: bodies with who sits in them, what is handed over, and who has shown which competence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bedplate.kernel.approval import MAY_DECIDE, Body, Stage

from .competence import competences, lacking, owed_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.model import OperatingModel

BODIES: tuple[Body, ...] = ("board", "coe", "domain")


def structures(model: OperatingModel, now: int) -> list[dict[str, Any]]:
    """List the board, the CoE and each domain: mandate, clock, who sits there from which seat, and who votes."""
    stated: Any = model.sections.get("bodies", {})
    places = [(body, "") for body in BODIES[:2]] + [(BODIES[2], domain) for domain in model.domains]
    return [_structure(model, body, domain, stated.get(body, {}), now) for body, domain in places]


def handed_over(model: OperatingModel, now: int) -> dict[str, list[dict[str, Any]]]:
    """Return delegations, stand-ins and conflicts of interest as they are declared, and whether each counts now."""
    sections: Mapping[str, Any] = model.sections
    ends = {d.id: d.until for d in model.delegations}
    active = {s.id: s.active(now) for s in model.authority.stand_ins}
    return {
        "delegations": [{**d, "active": now < ends[d["id"]]} for d in sections.get("delegations", ())],
        "stand_ins": [{**s, "active": active[s["id"]]} for s in sections.get("stand_ins", ())],
        "conflicts": [dict(c) for c in sections.get("conflicts", ())],
    }


def competence_of_all(model: OperatingModel, shown: Mapping[str, Mapping[str, int]], now: int) -> list[dict[str, Any]]:
    """List, for everybody of whom something is asked in some tier, each competence with its state and end.

    `shown` holds, by person and competence, when it was shown last, in microseconds.
    """
    found = []
    for person in sorted(model.authority.people.values(), key=lambda p: p.id):
        asked = {c.id: c for tier in sorted(model.tiers) for c in owed_by(person, model, tier)}
        had = shown.get(person.id, {})
        missing = {c.id: why for c, why in lacking(asked.values(), had, now)}
        for one in asked.values():
            at = had.get(one.id, 0)
            found.append(
                {
                    "person": person.id,
                    "competence": one.id,
                    "name": one.name,
                    "tiers": sorted(one.tiers),
                    "shown_at": at,
                    "until": at + one.valid if at else 0,
                    "state": "current" if one.id not in missing else "lapsed" if at else "missing",
                }
            )
    return found


def places_of(approval: Approval) -> set[tuple[str, str]]:
    """Return the bodies for which an approval waits, each with its domain, "" for board and CoE."""
    return {(s.body, approval.domain if s.body == "domain" else "") for _, s, _ in approval.missing()}


def by_person(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Group records of training by person."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["person"], {})[row["competence"]] = row["at"]
    return found


def declared(model: OperatingModel) -> list[dict[str, Any]]:
    """List the competences that the operating model declares."""
    return [
        {"id": c.id, "name": c.name, "valid": c.valid, "needed_by": list(c.needed_by), "tiers": sorted(c.tiers)}
        for c in competences(model)
    ]


def _structure(model: OperatingModel, body: Body, domain: str, stated: Mapping[str, Any], now: int) -> dict[str, Any]:
    members = [
        {"person": p.id, "name": p.name, "seats": [str(s) for s in p.seats if s.body == body and s.domain == domain]}
        for p in model.authority.people.values()
    ]
    stage = Stage(body, min(MAY_DECIDE[body]))
    voters = model.authority.voters(stage, domain)
    return {
        "id": f"{body}/{domain}" if domain else body,
        "body": body,
        "domain": domain,
        "name": model.domains[domain] if domain else {"board": "AI Risk Board", "coe": "AI Centre of Excellence"}[body],
        "decides": sorted(MAY_DECIDE[body]),
        "mandate": stated.get("mandate", ""),
        "decides_within_days": stated.get("decides_within_days", 0),
        "members": [m for m in members if m["seats"]],
        "voters": list(voters),
        "standing_in": {s.absent: s.person for s in model.authority.stand_ins if s.active(now) and s.absent in voters},
    }
