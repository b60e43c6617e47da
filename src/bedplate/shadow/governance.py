"""How shadow AI is governed: reporting, declaring, and settling what was seen."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.clock import DAY
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.event import Value
    from bedplate.kernel.model import OperatingModel

MAX_EXPLAINED = 366 * DAY
SETTLE = "shadow:sighting:settle"

REPORT = Action("shadow.report", "shadow:sighting:report", "Report AI that was seen in use.", registered=False)
DECLARE = Action(
    "shadow.declare",
    "shadow:sighting:report",  # whoever may report others may report themselves
    "Declare what one's own team uses.",
    registered=False,
)
ADOPT = Action("shadow.adopt", SETTLE, "Take a sighting up as a use case.", registered=False)
EXPLAIN = Action("shadow.explain", SETTLE, "Allow a sighting until a day.", registered=False)
DISMISS = Action("shadow.dismiss", SETTLE, "Say that a sighting is nothing.", registered=False)
HEADCOUNT = Action(
    "shadow.headcount", "shadow:headcount:record", "Record how many people work where.", registered=False
)


def amnesty_of(model: OperatingModel | None) -> Mapping[str, Value]:
    """Return the amnesty that the operating model grants: `until` a day, and `why`; empty if it grants none."""
    section = model.sections.get("amnesty") if model is not None else None
    return section if isinstance(section, dict) else {}


def in_amnesty(model: OperatingModel | None, now: int) -> bool:
    """Tell whether an amnesty lasts; its last day is part of it."""
    until = str(amnesty_of(model).get("until", ""))
    return bool(until) and now // DAY <= (date.fromisoformat(until) - date(1970, 1, 1)).days


def _ends(case: Case) -> Finding:
    until = int(str(case.attempt.facts["until"]))
    if case.now < until <= case.now + MAX_EXPLAINED:
        return Pass()
    return Fail("an explanation ends on a day within a year from now", "name such a day: --until 2027-01-31")


def _endless() -> Case:
    return Case(Attempt(EXPLAIN, "canary", "sighting/canary", {"until": 0}), 1, None, None)


def _own_team(case: Case) -> Finding:
    team, actor = str(case.attempt.facts["domain"]), case.attempt.actor
    people = case.model.authority.people if case.model is not None else {}
    person = people.get(actor)
    if person is not None and any(s.body == "domain" and s.domain == team for s in person.seats):
        return Pass()
    return Fail(f"{actor} holds no seat in {team or 'any team'}", "have somebody of the team declare it, or report it")


def _others() -> Case:
    facts: dict[str, Value] = {"domain": "claims"}
    return Case(Attempt(DECLARE, SYSTEM, "sighting/canary", facts), 1, model_for_canaries(), None)


MANIFEST = Manifest(
    plane="shadow",
    actions=(REPORT, DECLARE, ADOPT, EXPLAIN, DISMISS, HEADCOUNT),
    controls=(
        Control(
            "explanation-ends",
            "change",
            "What is allowed without being a use case is allowed until a day, within a year.",
            _ends,
            _endless,
            actions=(EXPLAIN.name,),
            always=True,
        ),
        Control(
            "own-team",
            "change",
            "Whoever declares what a team uses holds a seat in that team.",
            _own_team,
            _others,
            actions=(DECLARE.name,),
            always=True,
        ),
    ),
    kinds=(
        Kind(
            "shadow.sighting.reported",
            {"source": "text", "name": "text", "digest": "text", "items": "list"},
            "AI was seen in use: some observations from one source.",
        ),
        Kind(
            "shadow.sighting.declared",
            {"kind": "text", "what": "text", "where": "text", "team": "text", "why": "text", "amnesty": "text"},
            "A team said itself what it uses.",
        ),
        Kind("shadow.sighting.adopted", {"into": "text", "reason": "text"}, "It becomes a use case."),
        Kind("shadow.sighting.explained", {"reason": "text", "until": "int"}, "It is allowed until then."),
        Kind("shadow.sighting.dismissed", {"reason": "text"}, "It is nothing that needs an owner."),
        Kind("shadow.headcount.recorded", {"teams": "object"}, "How many people work in each team."),
    ),
)
