"""Shadow AI: what was sighted, reporting and declaring it, and settling it."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Query

from bedplate.errors import InvalidInput
from bedplate.installation import Installation
from bedplate.paths.sightings import Sights
from bedplate.shadow import actions, views
from bedplate.shadow.actions import Declared, until_of
from bedplate.shadow.sighting import SOURCES, STATES, Kind, Sighting
from bedplate.wire import AdoptionBody, Because, DeclarationBody, ExplanationBody, HeadcountBody, SightingsBody

from .session import At, Me

router = APIRouter(tags=["shadow"])
Id = Annotated[str, Path(pattern=r"^[0-9a-f]{4,16}$")]
MOST = 500  # listed at once


def sights(at: Installation) -> Sights:
    """Return what was sighted, as of now."""
    return Sights(at.engine, at.governor, at.supply, at.model(), at.clock())


@router.get("/shadow/sightings")
def listed(
    at: At,
    me: Me,
    state: str = "",
    source: str = "",
    team: str = "",
    text: str = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
) -> dict[str, Any]:
    """List sightings, the heaviest first, with how many there are a week and in each team."""
    for given, known in ((state, STATES), (source, sorted(SOURCES))):
        if given and given not in known:
            raise InvalidInput(f"{given!r} is not one of {', '.join(known)}", hint="leave it out for all")
    seen = sights(at)
    found = views.chosen(seen.every, state=state, source=source, team=team, text=text)
    shown = [seen.shown(me.person, one).plain() for one in found[:limit]]
    return {"sightings": shown, "total": len(found), **seen.summary()}


@router.post("/shadow/sightings")
def report(at: At, me: Me, body: SightingsBody) -> dict[str, Any]:
    """Report what was seen, all or nothing; a file that was reported before is refused."""
    views.refuse_twice(at.engine, body.digest)
    told = [
        Sighting(**{**s.model_dump(), "kind": cast("Kind", s.kind), "source": body.source, "hints": tuple(s.hints)})
        for s in body.sightings
    ]
    found = actions.report(at.governor, me.person, told, name=body.name, digest=body.digest)
    return {"recorded": len(found), "ids": found[:MOST]}


@router.get("/shadow/sightings/{seen}")
def one(at: At, me: Me, seen: Id) -> dict[str, Any]:
    """Return one sighting, with what its score is made of and the use case's file that it would become."""
    all_of = sights(at)
    found = all_of.one(seen)
    return {**all_of.shown(me.person, found).plain(), "file": all_of.file(found)}


@router.post("/shadow/sightings/{seen}/adopt")
def adopt(at: At, me: Me, seen: Id, body: AdoptionBody) -> dict[str, Any]:
    """Take a sighting up as a use case; the answer holds its file, to be completed and proposed."""
    all_of = sights(at)
    found, file = all_of.adopt(me.person, seen, body.into, body.reason)
    return {**all_of.shown(me.person, found).plain(), "file": file}


@router.post("/shadow/sightings/{seen}/explain")
def explain(at: At, me: Me, seen: Id, body: ExplanationBody) -> dict[str, Any]:
    """Allow a sighting until a day."""
    found = sights(at).one(seen)
    actions.explain(at.governor, me.person, found.id, found.team, body.reason, until_of(body.until))
    return one(at, me, found.id)


@router.post("/shadow/sightings/{seen}/dismiss")
def dismiss(at: At, me: Me, seen: Id, body: Because) -> dict[str, Any]:
    """Say that a sighting is nothing that needs an owner."""
    found = sights(at).one(seen)
    actions.dismiss(at.governor, me.person, found.id, found.team, body.reason)
    return one(at, me, found.id)


@router.post("/shadow/declarations")
def declare(at: At, me: Me, body: DeclarationBody) -> dict[str, Any]:
    """Declare what one's own team uses; while an amnesty lasts, nobody above is told of it."""
    return one(at, me, sights(at).declare(me.person, Declared(**body.model_dump())))


@router.get("/shadow/headcount")
def headcounts(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Return how many people work in each team."""
    return {"teams": views.headcounts(at.engine)}


@router.post("/shadow/headcount")
def record_headcount(at: At, me: Me, body: HeadcountBody) -> dict[str, Any]:
    """Record how many people work in each team, in the place of what was known."""
    actions.record_headcount(at.governor, me.person, body.teams)
    return headcounts(at, me)
