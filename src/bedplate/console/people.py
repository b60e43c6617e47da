"""People: the bodies and who sits in them, what is handed over, who decides about a use case, who has shown what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import day_of
from bedplate.people import actions, views
from bedplate.people.governance import TRAIN
from bedplate.people.raci import Subject, raci
from bedplate.people.roll import by_person, competence_of_all, declared, handed_over, places_of, structures
from bedplate.portfolio import views as portfolio

from .visit import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response


def people(visit: Visit) -> Response:
    """Show the bodies, and who decides about one use case."""
    at, model, now = visit.at, visit.at.model(), visit.at.clock()
    if model is None:
        return visit.show("people.html", bodies=[])
    waiting = [a for a in at.approvals("asked") if a.open(now)]
    counts: dict[tuple[str, str], int] = {}
    for approval in waiting:
        for place in places_of(approval):
            counts[place] = counts.get(place, 0) + 1
    cases = portfolio.use_cases(at.engine)
    named = visit.query("use_case")
    case = next((c for c in cases if c.id == named), cases[0] if cases and not named else None)
    if named and case is None:
        raise InvalidInput(f"There is no use case {named!r}.", hint="Choose one of the list.")
    about = Subject(case.tier, case.domain, case.owner, case.sponsor) if case is not None else None
    return visit.show(
        "people.html",
        bodies=[(one, counts.get((one["body"], one["domain"]), 0)) for one in structures(model, now)],
        handed=handed_over(model, now),
        cases=cases,
        case=case,
        chart=raci(model, at.catalogue.actions.values(), about, now) if about is not None else (),
        competences=declared(model),
        shown=competence_of_all(model, by_person(views.trainings(at.engine)), now),
        trainings=views.trainings(at.engine),
        may_train=model.authority.allowed(visit.by, TRAIN.needs, ""),
    )


def train(visit: Visit) -> Response:
    """Record that somebody showed a competence."""
    person, _, competence = visit.said("what").partition(" ")
    day = visit.said("on")
    try:
        shown = day_of(day) if day else visit.at.clock()
    except ValueError:
        raise InvalidInput(f"{day!r} is not a day.", hint="Write it like 2027-01-31.") from None
    actions.train(visit.at.governor, visit.by, person, competence, at=shown, evidence=visit.said("evidence"))
    return visit.go("/people")


PAGES = (Page("/people", people), Page("/people/training", train, "POST"))
