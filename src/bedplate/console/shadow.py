"""Shadow AI: what was sighted by how much it matters, one sighting, and the way in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

from bedplate.errors import InvalidInput
from bedplate.evidence import views as evidence
from bedplate.kernel.clock import DAY, rfc3339
from bedplate.paths.sightings import Sights
from bedplate.shadow import actions, views
from bedplate.shadow.actions import Declared, until_of
from bedplate.shadow.sighting import SOURCES, STATES

from .home import said
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

WIDE, HIGH, LEFT, TOP = 560, 150, 30, 12  # units of the chart's picture
ALLOWED_DAYS = 90  # that the form for an explanation proposes


@dataclass(frozen=True, slots=True)
class Column:
    """One week of the chart: where it stands, how high, what it counts, and the day it ends with."""

    x: float
    y: float
    width: float
    height: float
    count: int
    until: str


def columns(counts: Sequence[int], now: int) -> list[Column]:
    """Draw how many were first seen in each week, the newest last."""
    step, most = (WIDE - LEFT) / max(1, len(counts)), max(1, *counts)
    made = []
    for number, count in enumerate(counts):
        height = (HIGH - TOP) * count / most
        until = rfc3339(now - (len(counts) - 1 - number) * views.WEEK)[:10]
        x, width = LEFT + number * step + step * 0.15, step * 0.7
        made.append(Column(round(x, 1), round(HIGH - height, 1), round(width, 1), round(height, 1), count, until))
    return made


def sightings(visit: Visit) -> Response:
    """List what was sighted, a hundred at a time."""
    every, at = sights(visit), visit.at
    given = {name: visit.query(name) for name in ("state", "source", "team", "text")}
    if given["state"] not in {"", *STATES} or given["source"] not in {"", *SOURCES}:
        raise InvalidInput("there is no such state or source", hint="choose one from the list")
    found = views.chosen(every.every, **given)
    summary = every.summary()
    page = visit.number("page", 1)
    model = at.model()
    seats = [s for p in (model.authority.people.values() if model else ()) if p.id == visit.by for s in p.seats]
    return visit.show(
        "shadow.html",
        sightings=[
            (every.shown(visit.by, one), every.settles(visit.by, one)) for one in found[(page - 1) * PAGE : page * PAGE]
        ],
        total=len(found),
        page=page,
        last=max(1, -(-len(found) // PAGE)),
        given=given,
        query="&".join(f"{name}={value}" for name, value in given.items() if value and name != "text"),
        states=STATES,
        sources=sorted(SOURCES),
        teams=sorted({one.team for one in every.every if one.team}),
        summary=summary,
        columns=columns(summary["weeks"], at.clock()),
        own=sorted({s.domain for s in seats if s.body == "domain"}),
    )


def sighting(visit: Visit) -> Response:
    """Show one sighting, what its score is made of, and what may be done about it."""
    every, at = sights(visit), visit.at
    found = every.one(visit.part("id"))
    events = evidence.events(at.engine, stream=f"sighting/{found.id}", limit=PAGE)
    return visit.show(
        "sighting.html",
        seen=every.shown(visit.by, found),
        may_settle=every.settles(visit.by, found),
        name=every.name(found),
        along=len(every.along(found)) if found.state == "new" else 0,
        file=every.file(found) if found.state == "adopted" else "",
        until=rfc3339(at.clock() + ALLOWED_DAYS * DAY)[:10],
        events=[(e, said(visit, e.kind)) for e in events],
    )


def file(visit: Visit) -> Response:
    """Give out the use case's file that a sighting becomes."""
    every = sights(visit)
    found = every.one(visit.part("id"))
    headers = {"content-disposition": 'attachment; filename="use-case.yaml"', "x-content-type-options": "nosniff"}
    return PlainTextResponse(every.file(found), headers=headers, media_type="application/yaml")


def adopt(visit: Visit) -> Response:
    """Take it up as a use case."""
    found, _ = sights(visit).adopt(visit.by, visit.part("id"), visit.said("into"), visit.said("reason"))
    return visit.go(f"/shadow/{found.id}")


def explain(visit: Visit) -> Response:
    """Allow it until a day."""
    found = sights(visit).one(visit.part("id"))
    reason = visit.said("reason")
    actions.explain(visit.at.governor, visit.by, found.id, found.team, reason, until_of(visit.said("until")))
    return visit.go(f"/shadow/{found.id}")


def dismiss(visit: Visit) -> Response:
    """Say that it is nothing."""
    found = sights(visit).one(visit.part("id"))
    actions.dismiss(visit.at.governor, visit.by, found.id, found.team, visit.said("reason"))
    return visit.go(f"/shadow/{found.id}")


def declare(visit: Visit) -> Response:
    """Record what a team says that it uses."""
    told = Declared(visit.said("what"), visit.said("where"), visit.said("team"), visit.said("why"))
    return visit.go(f"/shadow/{sights(visit).declare(visit.by, told)}")


def sights(visit: Visit) -> Sights:
    """Return what was sighted, as of now."""
    at = visit.at
    return Sights(at.engine, at.governor, at.supply, at.model(), at.clock())


PAGES = (
    Page("/shadow", sightings),
    Page("/shadow/declare", declare, "POST"),
    Page("/shadow/{id}", sighting),
    Page("/shadow/{id}/use-case.yaml", file),
    Page("/shadow/{id}/adopt", adopt, "POST"),
    Page("/shadow/{id}/explain", explain, "POST"),
    Page("/shadow/{id}/dismiss", dismiss, "POST"),
)
