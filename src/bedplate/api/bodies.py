"""The bodies: who sits where, what is handed over, who has shown what, and who decides about a use case."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import day_of
from bedplate.people import actions, views
from bedplate.people.raci import Subject, raci
from bedplate.people.roll import by_person, competence_of_all, declared, handed_over, places_of, structures
from bedplate.portfolio import views as portfolio
from bedplate.wire import Training

from .portfolio import model_in_force
from .session import At, Me

router = APIRouter(tags=["people"])
Person = Annotated[str, Path(pattern=r"^[a-z][a-z0-9.-]{0,62}$")]
Id = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,62}$")]


@router.get("/people/structures")
def bodies(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Return the bodies with their mandates, members and clocks, and what is handed over to whom."""
    model, now = model_in_force(at), at.clock()
    waiting = at.approvals("asked")
    found = structures(model, now)
    for one in found:
        place = (one["body"], one["domain"])
        one["waiting"] = sum(a.open(now) and place in places_of(a) for a in waiting)
    return {"structures": found, **handed_over(model, now)}


@router.get("/people/competences")
def competence(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  as above
    """Return what is asked of whom, and whether a record shows it."""
    model = model_in_force(at)
    had = by_person(views.trainings(at.engine))
    return {"competences": declared(model), "people": competence_of_all(model, had, at.clock())}


@router.post("/people/{person}/training")
def train(at: At, me: Me, person: Person, body: Training) -> dict[str, Any]:
    """Record that somebody showed a competence on a day."""
    try:
        shown = day_of(body.on) if body.on else at.clock()
    except ValueError:
        raise InvalidInput(f"{body.on!r} is not a day", hint="write it like 2027-01-31") from None
    actions.train(at.governor, me.person, person, body.competence, at=shown, evidence=body.evidence)
    return {"person": person, "trainings": views.trainings(at.engine, person)}


@router.get("/use-cases/{name}/raci")
def chart(at: At, me: Me, name: Id) -> dict[str, Any]:  # noqa: ARG001  as above
    """Say who is responsible, accountable, consulted and informed, as the operating model enforces it."""
    found = portfolio.use_case(at.engine, f"usecase/{name}")
    about = Subject(found.tier, found.domain, found.owner, found.sponsor)
    lines = raci(model_in_force(at), at.catalogue.actions.values(), about, at.clock())
    return {"use_case": found.id, "tier": found.tier, "raci": [asdict(line) for line in lines]}
