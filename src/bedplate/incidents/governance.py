"""How incidents are governed: opening, escalating, lowering the rung, suspending, resuming, closing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest
from bedplate.kernel.standing import Rung, Standing

from .clock import steps_due

if TYPE_CHECKING:
    from bedplate.kernel.approval import Stage
    from bedplate.kernel.event import Event, Value


def _owed(case: Case) -> tuple[Stage, ...]:
    return case.owed("resume")


def weighing(case: Case) -> dict[str, Value]:
    """Say what weighs on a use case: an approval to resume binds exactly this."""
    standing = case.standing
    if standing is None:
        return {}
    return {"suspended": standing.suspended, "breaches": list(standing.breaches), "release": standing.release}


def _unchanged(case: Case) -> Finding:
    told = {name: case.attempt.facts.get(name) for name in ("suspended", "breaches", "release")}
    if case.standing is not None and told == weighing(case):
        return Pass()
    return Fail("what weighs on it has changed since this was asked", "look again, and ask again: bedplate resume")


def _changed() -> Case:
    facts: dict[str, Value] = {"reason": "canary", "suspended": "", "breaches": [], "release": ""}
    return Case(
        Attempt(RESUME, "canary", "usecase/canary", facts), 0, None, Standing("usecase/canary", suspended="more")
    )


OPEN = Action("incidents.open", "incidents:incident:open", "Open an incident and lower the rung by the tier's plan.")
ESCALATE = Action(
    "incidents.escalate",
    "incidents:incident:open",  # whoever may say that something is wrong may say that it still is
    "Take an overdue incident to whoever is above its owner.",
)
SUSPEND = Action("incidents.suspend", "incidents:usecase:suspend", "Stop a use case at once.")
RESUME = Action(
    "incidents.resume", "incidents:usecase:resume", "Let a suspended or lowered use case act again.", stages=_owed
)
CLOSE = Action("incidents.close", "incidents:incident:close", "Close an incident with its resolution.")


def _overdue(case: Case) -> Finding:
    facts = case.attempt.facts
    step, known = int(str(facts["step"])), int(str(facts["known"]))
    owed = steps_due(str(facts["severity"]), int(str(facts["due"])), case.now)
    if step == known + 1 and step <= owed:
        return Pass()
    return Fail(f"step {step} is not due: it went up {known}, and by now owes {owed}", "wait until its time is over")


def _early() -> Case:
    facts: dict[str, Value] = {"incident": "canary", "step": 1, "known": 0, "severity": "breach", "due": 1}
    return Case(Attempt(ESCALATE, "canary", "usecase/canary", facts), 1, None, Standing("usecase/canary", tier=1))


def _lowered(standing: Standing, event: Event) -> Standing:
    breaches = tuple(dict.fromkeys((*standing.breaches, str(event.data["incident"]))))
    return replace(standing.lowered_to(Rung[str(event.data["rung"]).upper()]), breaches=breaches)


def _suspended(standing: Standing, event: Event) -> Standing:
    return replace(standing, suspended=str(event.data["reason"]))


def _resumed(standing: Standing, _event: Event) -> Standing:
    return replace(standing, suspended="", rung=Rung.ACT if standing.release else Rung.OFF)


def _cleared(standing: Standing, event: Event) -> Standing:
    return replace(standing, breaches=tuple(b for b in standing.breaches if b != event.data["incident"]))


MANIFEST = Manifest(
    plane="incidents",
    actions=(OPEN, ESCALATE, SUSPEND, RESUME, CLOSE),
    controls=(
        Control(
            "overdue",
            "change",
            "An incident goes up one step at a time, when its owner's time, or that of the step before, is over.",
            _overdue,
            _early,
            actions=(ESCALATE.name,),
            always=True,
        ),
        Control(
            "weight-unchanged",
            "change",
            "What a resumption lifts (suspension, open breaches, release) is what was known when it was asked for.",
            _unchanged,
            _changed,
            actions=(RESUME.name,),
            always=True,
        ),
    ),
    kinds=(
        Kind(
            "incidents.incident.opened",
            {
                "subject": "text",
                "title": "text",
                "cause": "text",
                "owner": "text",
                "severity": "text",
                "due": "int",
                "evidence": "text",
                "release": "text",
            },
            "Something went wrong; it has an owner, a clock and frozen evidence.",
        ),
        Kind(
            "incidents.incident.escalated",
            {"subject": "text", "step": "int", "body": "text", "people": "list", "due": "int"},
            "Nobody settled it in time; these people, of the body above, answer for it now as well.",
        ),
        Kind("incidents.incident.closed", {"resolution": "text"}, "The owner says what was done."),
        Kind(
            "incidents.rung.lowered",
            {"incident": "text", "rung": "text"},
            "The use case may do less from here on.",
            _lowered,
        ),
        Kind(
            "incidents.breach.cleared", {"incident": "text"}, "The incident no longer weighs on the use case.", _cleared
        ),
        Kind("incidents.usecase.suspended", {"reason": "text"}, "Every call is refused from here on.", _suspended),
        Kind("incidents.usecase.resumed", {"reason": "text"}, "It answers again, as approved.", _resumed),
    ),
)
