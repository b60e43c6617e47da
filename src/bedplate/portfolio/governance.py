"""How the portfolio is governed: proposing, accepting, declining and retiring use cases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Kinds, Manifest
from bedplate.kernel.origin import still_owed
from bedplate.kernel.standing import Rung, Standing

from . import intake, proving

if TYPE_CHECKING:
    from bedplate.kernel.approval import Stage
    from bedplate.kernel.event import Event, Value

_FIELDS: dict[str, Kinds] = {
    "title": "text",
    "owner": "text",
    "domain": "text",
    "impact": "text",
    "autonomy": "text",
    "tier": "int",
}


def _owed(case: Case) -> tuple[Stage, ...]:
    """Who accepts follows the tier: the higher of the one it has and the one it would get."""
    now = case.standing.tier if case.standing is not None else 0
    return still_owed(case, case.owed("accept", max(now, int(str(case.attempt.facts["tier"])))))


PROPOSE = Action("portfolio.propose", "portfolio:usecase:propose", "Propose a use case.", registered=False)
ACCEPT = Action("portfolio.accept", "portfolio:usecase:propose", "Take a use case into the portfolio.", stages=_owed)
DECLINE = Action("portfolio.decline", "portfolio:usecase:decline", "Leave a use case out of the portfolio.")
RETIRE = Action("portfolio.retire", "portfolio:usecase:retire", "End a use case; its calls are refused from then on.")


def _named_owner(case: Case) -> Finding:
    facts, model = case.attempt.facts, case.model
    people = model.authority.people if model is not None else {}
    for role in ("owner", "sponsor"):
        person = people.get(str(facts[role]))
        if person is None:
            return Fail(f"the {role}, {facts[role]}, is nobody in the operating model", f"name a {role} who has a seat")
    owner = people[str(facts["owner"])]
    if not any(s.body == "domain" and s.domain == facts["domain"] and s.role == "owner" for s in owner.seats):
        return Fail(
            f"{owner.id} holds no owner's seat in {facts['domain']}", f"give the seat domain.owner@{facts['domain']}"
        )
    return Pass()


def _worth_doing(case: Case) -> Finding:
    if case.model is None:
        raise ValueError("no operating model")
    worth, least = int(str(case.attempt.facts["worth"])), int(str(case.model.appetites["worth_at_least"]))
    if worth < least:
        return Fail(
            f"value × feasibility is {worth}; the board's appetite starts at {least}", "raise value or feasibility"
        )
    return Pass()


def _nobody() -> Case:
    facts: dict[str, Value] = {"owner": "nobody", "sponsor": "nobody", "domain": "nowhere", "worth": 0, "tier": 1}
    return Case(Attempt(ACCEPT, "canary", "usecase/canary", facts), 0, None, None)


def _worthless() -> Case:
    facts: dict[str, Value] = {"worth": 0, "tier": 1}
    return Case(Attempt(ACCEPT, "canary", "usecase/canary", facts), 0, model_for_canaries(), None)


def _proposed(standing: Standing, event: Event) -> Standing:
    if standing.stage not in {"", "proposed", "declined"}:
        return standing  # what runs keeps its tier until the change is accepted
    return replace(_described(standing, event), stage="proposed")


def _accepted(standing: Standing, event: Event) -> Standing:
    raised = int(str(event.data["tier"])) > standing.tier
    now = _described(standing, event).with_facts(portfolio__spec=event.data["spec"])
    if standing.stage == "live" and not raised:
        return replace(now, stage="live")
    return replace(now, stage="accepted", release="", rung=Rung.OFF)  # a higher tier owes more than its release proved


def _described(standing: Standing, event: Event) -> Standing:
    data = event.data
    return replace(
        standing,
        title=str(data["title"]),
        owner=str(data["owner"]),
        domain=str(data["domain"]),
        impact=str(data["impact"]),
        autonomy=str(data["autonomy"]),
        tier=int(str(data["tier"])),
    )


def _declined(standing: Standing, _event: Event) -> Standing:
    return replace(standing, stage="declined") if standing.stage == "proposed" else standing


def _retired(standing: Standing, _event: Event) -> Standing:
    return replace(standing, stage="retired", release="", rung=Rung.OFF)


MANIFEST = Manifest(
    plane="portfolio",
    actions=(*proving.ACTIONS, *intake.ACTIONS, PROPOSE, ACCEPT, DECLINE, RETIRE),
    controls=(
        *proving.CONTROLS,
        *intake.CONTROLS,
        Control(
            "named-owner",
            "change",
            "Owner and sponsor are people of the operating model, and the owner holds an owner's seat of the domain.",
            _named_owner,
            _nobody,
            actions=(ACCEPT.name,),
            always=True,
        ),
        Control(
            "worth-doing",
            "change",
            "Value × feasibility reaches the board's appetite.",
            _worth_doing,
            _worthless,
            actions=(ACCEPT.name,),
            always=True,
        ),
    ),
    kinds=(
        *proving.KINDS,
        *intake.KINDS,
        Kind(
            "portfolio.usecase.proposed",
            {
                **_FIELDS,
                "sponsor": "text",
                "bucket": "text",
                "purpose": "text",
                "value": "int",
                "feasibility": "int",
                "yearly_cents": "int",
                "reasons": "list",
                "spec": "text",
                "path": "text",
                "effort_days": "int",
                "generative": "text",
                "contracts": "list",
                "answered": "object",
            },
            "A team proposed a use case; it was scored and tiered.",
            _proposed,
        ),
        Kind(
            "portfolio.usecase.accepted",
            {**_FIELDS, "spec": "text"},
            "It is in the portfolio and may be released.",
            _accepted,
        ),
        Kind(
            "portfolio.usecase.declined",
            {"reason": "text", "by": "text"},
            "It is not taken up, for this reason.",
            _declined,
        ),
        Kind("portfolio.usecase.retired", {"reason": "text"}, "It has ended.", _retired),
    ),
)
