"""How ideas are governed: who may propose one, who decides about it, and that nobody decides about their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.authority import Authority, Person, Seat
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind

if TYPE_CHECKING:
    from bedplate.kernel.approval import Stage
    from bedplate.kernel.event import Value

SUGGEST = Action("portfolio.suggest", "portfolio:idea:propose", "Propose an idea.", registered=False)
WEIGH = Action("portfolio.weigh", "portfolio:idea:decide", "Take an idea up, decline it or defer it.", registered=False)
ACTIONS = (SUGGEST, WEIGH)


def deciding(case: Case) -> tuple[Stage, ...]:
    """Return the bodies that would accept a use case of the idea's tier: any one of them decides about the idea."""
    return case.owed("accept", int(str(case.attempt.facts["tier"])))


def _body_decides(case: Case) -> Finding:
    if case.model is None:
        raise ValueError("no operating model")
    authority, facts = case.model.authority, case.attempt.facts
    stages = deciding(case)
    if any(authority.seat_for(case.attempt.actor, stage, str(facts["domain"])) for stage in stages):
        return Pass()
    bodies = " or ".join(dict.fromkeys(s.body for s in stages))
    who = sorted({p for s in stages for p in authority.voters(s, str(facts["domain"]))})
    return Fail(
        f"an idea of tier {facts['tier']} is decided by the {bodies}, where {case.attempt.actor} has no voting seat",
        f"who can: {', '.join(who) or 'nobody yet; give somebody a seat'}",
    )


def _no_seat() -> Case:
    facts: dict[str, Value] = {"domain": "canary", "tier": 1, "proposers": ["another"]}
    return Case(Attempt(WEIGH, "canary", "idea/canary", facts), 0, model_for_canaries(), None)


def _not_own(case: Case) -> Finding:
    if case.model is None:
        raise ValueError("no operating model")
    proposers = case.attempt.facts["proposers"]
    if not isinstance(proposers, list | tuple) or not proposers:
        raise TypeError("nobody says who proposed it")
    if case.attempt.actor not in proposers or case.model.authority.posture == "solo":
        return Pass()
    return Fail(
        f"{case.attempt.actor} proposed this; nobody decides about their own idea", "ask somebody else of the body"
    )


def _own() -> Case:
    person = Person("canary", "Canary", (Seat("board", "chair"),))
    model = replace(model_for_canaries(), authority=Authority({"canary": person}, {}))
    facts: dict[str, Value] = {"domain": "canary", "tier": 1, "proposers": ["canary"]}
    return Case(Attempt(WEIGH, "canary", "idea/canary", facts), 0, model, None)


CONTROLS = (
    Control(
        "idea-decided-by-its-body",
        "change",
        "An idea is decided by a voter of a body that would accept a use case of its tier.",
        _body_decides,
        _no_seat,
        actions=(WEIGH.name,),
        always=True,
    ),
    Control(
        "not-own-idea",
        "change",
        "Nobody decides about an idea that they proposed, or proposed anew.",
        _not_own,
        _own,
        actions=(WEIGH.name,),
        always=True,
    ),
)
KINDS = (
    Kind(
        "portfolio.idea.proposed",
        {"title": "text", "domain": "text", "tier": "int", "body": "text", "due": "int", "idea": "object"},
        "Somebody proposed an idea, or proposed it anew.",
    ),
    Kind(
        "portfolio.idea.decided",
        {"outcome": "text", "reason": "text", "condition": "text", "due": "int"},
        "An idea was taken up, declined or deferred, for this reason.",
    ),
)
