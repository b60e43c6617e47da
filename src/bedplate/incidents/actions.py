"""What is done when it goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import Conflict, InvalidInput
from bedplate.kernel.decision import Deny
from bedplate.kernel.standing import Rung

from .clock import due
from .governance import CLOSE, ESCALATE, OPEN, RESUME, SUSPEND, weighing
from .ladder import above, rung_after, rung_overdue

if TYPE_CHECKING:
    from bedplate.kernel.approval import Approval
    from bedplate.kernel.event import Data, Value
    from bedplate.kernel.governor import Governor


@dataclass(frozen=True, slots=True)
class Late:
    """An open incident past its time: how many steps it went up, when it was due, and how bad it is."""

    id: str
    subject: str
    severity: str
    due: int
    step: int


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened. `cause` names the monitor or person; `evidence` is frozen as it is."""

    subject: str
    title: str
    cause: str
    severity: str  # breach, harm, unproven or owner
    evidence: bytes


def open_incident(governor: Governor, by: str, what: Happening) -> str:
    """Open an incident to the owner, freeze the evidence and lower the rung; returns the incident's id."""
    incident = f"incident/{governor.identities.next()}"
    with governor.act(by, OPEN, what.subject, facts={"cause": what.cause, "severity": what.severity}) as act:
        standing, now = act.case.standing, governor.clock()
        if standing is None:
            raise InvalidInput(f"{what.subject} has no standing")
        data: dict[str, Value] = {
            "subject": what.subject,
            "title": what.title,
            "cause": what.cause,
            "owner": standing.owner,
            "severity": what.severity,
            "due": due(what.severity, now),
            "evidence": act.keep(what.evidence),
            "release": standing.release,
        }
        act.record("incidents.incident.opened", data, on=incident)
        rung = rung_after(act.case.plan, what.severity, standing.rung, len(standing.breaches))
        act.record("incidents.rung.lowered", {"incident": incident, "rung": rung.name.lower()})
    return incident


def escalate(governor: Governor, by: str, late: Late) -> int:
    """Take an overdue incident one step up; returns the step, or 0 where nobody is above any more.

    The first step lowers the rung where the tier's plan says where `overdue` leads.
    """
    step = late.step + 1
    case, _ = governor.judge(by, ESCALATE, late.subject)
    if case.model is None or case.plan is None or case.standing is None:
        raise InvalidInput(f"{late.subject} has no tier, so nobody is known to be above its owner")
    people = above(case.model, case.plan, case.domain, case.standing.owner)
    if step > len(people):
        return 0
    body, told = people[step - 1]
    facts: dict[str, Value] = {"incident": late.id, "step": step, "known": late.step}
    facts |= {"severity": late.severity, "due": late.due}
    with governor.act(by, ESCALATE, late.subject, facts=facts) as act:
        data: dict[str, Value] = {"subject": late.subject, "step": step, "body": body, "people": list(told)}
        act.record("incidents.incident.escalated", {**data, "due": late.due}, on=late.id)
        standing, plan = act.case.standing, act.case.plan
        if step == 1 and standing is not None and plan is not None:
            rung = rung_overdue(plan, late.severity, standing.rung)
            if rung < standing.rung:
                act.record("incidents.rung.lowered", {"incident": late.id, "rung": rung.name.lower()})
    return step


def suspend(governor: Governor, by: str, subject: str, reason: str) -> None:
    """Stop a use case at once: every process refuses its calls within a second."""
    if not reason.strip():
        raise InvalidInput("suspending needs a reason", hint="--reason '...'")
    with governor.act(by, SUSPEND, subject, facts={"reason": reason}) as act:
        act.record("incidents.usecase.suspended", {"reason": reason})


def resume(governor: Governor, by: str, subject: str, reason: str) -> None:
    """Let a use case act again; `NeedsApproval` until the bodies owed by the tier agree."""
    if not reason.strip():
        raise InvalidInput("resuming needs a reason", hint="--reason '...'")
    case, _ = governor.judge(by, RESUME, subject)
    facts = {"reason": reason, **weighing(case)}
    _, verdict = governor.judge(by, RESUME, subject, facts)
    standing = case.standing
    idle = standing is not None and not (standing.suspended or standing.breaches) and standing.rung is Rung.ACT
    if idle and not isinstance(verdict, Deny):  # who may not is told that, on record
        raise Conflict(f"{subject} acts already: nothing is to be resumed", hint="see it: bedplate status")
    _resume(governor, by, subject, facts)


def _resume(governor: Governor, by: str, subject: str, facts: Data) -> None:
    with governor.act(by, RESUME, subject, facts=facts, summary=f"{subject} acts again: {facts['reason']}") as act:
        act.record("incidents.usecase.resumed", {"reason": facts["reason"]})


def carry_out_resume(governor: Governor, approval: Approval) -> None:
    """Resume what was approved."""
    if approval.state == "granted":
        _resume(governor, approval.requester, approval.subject, approval.facts)


def close(governor: Governor, by: str, subject: str, incident: str, resolution: str) -> None:
    """Close an incident. The rung stays where it is: only an approval moves it up."""
    if not resolution.strip():
        raise InvalidInput("closing an incident needs its resolution", hint="say what was found and done")
    with governor.act(by, CLOSE, subject, facts={"incident": incident}) as act:
        act.record("incidents.incident.closed", {"resolution": resolution}, on=incident)
        act.record("incidents.breach.cleared", {"incident": incident})
