"""The board's pack: what is to be decided, what moved, appetite against reality, incidents, value, and rule changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select

from bedplate.incidents.views import incidents
from bedplate.kernel.clock import DAY, rfc3339
from bedplate.kernel.event import unseal
from bedplate.portfolio.views import use_cases
from bedplate.store import tables as t
from bedplate.store.reads import read_approvals, read_blob

from . import returns

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.event import Event
    from bedplate.kernel.model import OperatingModel
    from bedplate.portfolio.views import UseCase

MOVES = {
    "portfolio.usecase.proposed": "proposed",
    "portfolio.usecase.accepted": "accepted",
    "portfolio.usecase.declined": "declined",
    "portfolio.usecase.retired": "retired",
    "releases.release.live": "live",
}
APPLIED = "kernel.model.applied"
WAITING = 500  # approvals that are looked at
OPEN = 1_000  # incidents
BODY = "board"


def pack(
    engine: Engine, model: OperatingModel | None, now: int, days: int, domains: Collection[str] | None = None
) -> dict[str, Any]:
    """Return the pack as plain values; the movement is of the last `days`. `domains` are those whose cost is told."""
    since = now - days * DAY
    cases = use_cases(engine)
    titles = {c.subject: c.title for c in cases}
    with engine.connect() as connection:
        events = _events(connection, since)
        waiting = _waiting(connection)
        rules = [_rule_change(connection, e) for e in events if e.kind == APPLIED]
        raised = _tier_changes(connection, [e for e in events if e.kind == "portfolio.usecase.accepted"])
    found = returns.returns(engine, model, now, domains)
    return {
        "organisation": model.organisation if model is not None else "",
        "at": rfc3339(now),
        "since": rfc3339(since),
        "days": days,
        "decisions": [_decision(a, now, titles) for a in sorted(waiting, key=_due)],
        "movement": {**_movement(events, titles), "tier": raised},
        "appetite": _appetite(cases, model),
        "incidents": _incidents(engine, since, now, titles),
        "value": returns.page(found, model, now),
        "rules": rules,
    }


def _waiting(connection: Connection) -> list[Approval]:
    """Return the approvals that wait for the board."""
    query = select(t.approval.c.id).where(t.approval.c.state == "asked").order_by(t.approval.c.expires).limit(WAITING)
    found = read_approvals(connection, connection.execute(query).scalars().all())
    return [a for a in found if any(stage.body == BODY for _, stage, _ in a.missing())]


def _decision(approval: Approval, now: int, titles: Mapping[str, str]) -> dict[str, Any]:
    lacking = [f"{more} of {stage.body}" for _, stage, more in approval.missing()]
    return {
        "approval": approval.id,
        "subject": approval.subject,
        "title": titles.get(approval.subject, ""),
        "summary": approval.summary,
        "requester": approval.requester,
        "asked_at": rfc3339(approval.asked_at),
        "due": rfc3339(approval.expires),
        "days_left": (approval.expires - now) // DAY,
        "missing": " and ".join(lacking),
    }


def _events(connection: Connection, since: int) -> list[Event]:
    kinds = [*MOVES, APPLIED]
    query = select(t.event.c.entry).where(t.event.c.kind.in_(kinds), t.event.c.at >= since).order_by(t.event.c.seq)
    return [unseal(entry) for entry in connection.execute(query).scalars()]


def _movement(events: Sequence[Event], titles: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Return what moved, each use case once in each way; of releases only the first one, which took it live."""
    moved: dict[str, dict[str, dict[str, Any]]] = {way: {} for way in MOVES.values()}
    for event in events:
        way = MOVES.get(event.kind)
        if way is None or (way == "live" and event.data["previous"]):
            continue
        title = str(event.data.get("title", "")) or titles.get(event.stream, event.stream)
        told = {"id": event.stream.partition("/")[2], "title": title, "at": rfc3339(event.at)}
        reason = str(event.data.get("reason", ""))
        moved[way][event.stream] = {**told, "reason": reason} if reason else told
    return {way: list(found.values()) for way, found in moved.items()}


def _tier_changes(connection: Connection, accepted: Sequence[Event]) -> list[dict[str, Any]]:
    """Return the use cases that were accepted anew in another tier than before."""
    found = []
    for event in accepted:
        before = (
            select(t.event.c.entry)
            .where(t.event.c.stream == event.stream, t.event.c.version < event.version, t.event.c.kind == event.kind)
            .order_by(t.event.c.version.desc())
            .limit(1)
        )
        entry = connection.execute(before).scalar_one_or_none()
        if entry is not None and (was := unseal(entry).data["tier"]) != event.data["tier"]:
            told = {"id": event.stream.partition("/")[2], "title": event.data["title"], "at": rfc3339(event.at)}
            found.append({**told, "was": was, "is": event.data["tier"]})
    return found


def _rule_change(connection: Connection, event: Event) -> dict[str, Any]:
    """Say which parts of the operating model a change touched."""
    before = (
        select(t.event.c.entry)
        .where(t.event.c.kind == APPLIED, t.event.c.seq < event.seq)
        .order_by(t.event.c.seq.desc())
        .limit(1)
    )
    entry = connection.execute(before).scalar_one_or_none()
    now = json.loads(read_blob(connection, str(event.data["digest"])))
    was = json.loads(read_blob(connection, str(unseal(entry).data["digest"]))) if entry is not None else {}
    touched = sorted(name for name in {*now, *was} if now.get(name) != was.get(name))
    what = ["founded"] if entry is None else touched
    return {"version": event.data["version"], "by": event.actor, "at": rfc3339(event.at), "touched": what}


def _appetite(cases: Sequence[UseCase], model: OperatingModel | None) -> dict[str, Any]:
    live = [c for c in cases if c.stage == "live"]
    if model is None:
        return {"live": len(live), "live_most": 0, "worth_least": 0, "below": [], "tiers": []}
    least = int(str(model.appetites["worth_at_least"]))
    below = [{"id": c.id, "title": c.title, "worth": c.value * c.feasibility} for c in live]
    tiers = [{"tier": n, "name": plan.name, "live": sum(c.tier == n for c in live)} for n, plan in model.tiers.items()]
    return {
        "live": len(live),
        "live_most": int(str(model.appetites["live_use_cases"])),
        "worth_least": least,
        "below": [b for b in below if int(str(b["worth"])) < least],
        "tiers": tiers,
    }


def _incidents(engine: Engine, since: int, now: int, titles: Mapping[str, str]) -> dict[str, Any]:
    every = incidents(engine, limit=OPEN)
    opened = sorted((i for i in incidents(engine, only_open=True, limit=OPEN)), key=_incident_due)
    told = [
        {
            "id": i["id"],
            "subject": i["subject"],
            "use_case": titles.get(i["subject"], i["subject"]),
            "title": i["title"],
            "severity": i["severity"],
            "owner": i["owner"],
            "due": rfc3339(i["due"]),
            "overdue": i["due"] < now,
        }
        for i in opened
    ]
    return {
        "open": told,
        "overdue": sum(i["overdue"] for i in told),
        "opened": sum(i["opened_at"] >= since for i in every),
        "closed": sum(i["closed_at"] >= since for i in every if i["closed_at"]),
    }


def _due(approval: Approval) -> tuple[int, str]:
    return approval.expires, approval.id


def _incident_due(incident: Mapping[str, Any]) -> tuple[int, str]:
    return incident["due"], incident["id"]
