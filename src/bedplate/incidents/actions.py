"""What is done when it goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput

from .clock import due
from .governance import CLOSE, OPEN, RESUME, SUSPEND, weighing
from .ladder import rung_after

if TYPE_CHECKING:
    from bedplate.kernel.approval import Approval
    from bedplate.kernel.event import Data, Value
    from bedplate.kernel.governor import Governor


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened. `cause` names the monitor or person; `evidence` is frozen as it is."""

    subject: str
    title: str
    cause: str
    severity: str  # breach, harm or unproven
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
    _resume(governor, by, subject, {"reason": reason, **weighing(case)})


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
