"""How the kernel itself is governed: its own verbs and events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .action import Action, Attempt
from .approval import Approval, Stage
from .authority import Ballot, Barred, ballot
from .canary import model_for_canaries
from .control import Control, Fail, Finding, Pass
from .decision import Case
from .manifest import Kind, Manifest

if TYPE_CHECKING:
    from .event import Event
    from .standing import Standing

INTERESTS = "kernel.interests"  # the fact in which planes note them
VOTE = Action(
    "kernel.vote",
    "kernel:approval:vote",
    "Answer an approval that waits for one of your seats.",
    registered=False,
    founds=True,
)
EXPIRE = Action(
    "kernel.expire",
    "kernel:approval:expire",
    "Close approvals whose time is over.",
    registered=False,
    founding=("system",),
)
BREAK_GLASS = Action(
    "kernel.glass", "kernel:glass:break", "Let changes of one use case pass without approval for some hours, visibly."
)
CONTINUE = Action(
    "kernel.continue",
    "kernel:ledger:continue",
    "Go on from a restored ledger that is older than its witness.",
    registered=False,
)


def cast_by(case: Case) -> Ballot:
    """Return the ballot that this voter may cast; `ValueError` where the separation of duties bars it."""
    found = vote_of(case)
    if isinstance(found, Barred):
        raise ValueError(found.reason)  # noqa: TRY004  nothing of a wrong type
    return found


def vote_of(case: Case) -> Ballot | Barred:
    """Find the ballot that the voter may cast, or what bars it."""
    if case.question is None or case.model is None:
        raise ValueError("a vote answers an approval, under an operating model")
    owner = case.standing.owner if case.standing is not None else ""
    about = interests(case.standing, case.question)
    return ballot(case.model.authority, case.question, case.attempt.actor, owner=owner, now=case.now, about=about)


def interests(standing: Standing | None, approval: Approval) -> frozenset[str]:
    """Return what planes noted that the release in question rests on, by release: `vendor/ID` and the like."""
    noted = standing.facts.get(INTERESTS, {}) if standing is not None else {}
    if not isinstance(noted, dict):
        raise TypeError(f"{INTERESTS} must be an object")
    found = noted.get(str(approval.facts.get("release", "")), [])
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()


def _separated(case: Case) -> Finding:
    found = vote_of(case)
    return Fail(found.reason, found.fix) if isinstance(found, Barred) else Pass()


def _own_request() -> Case:
    """Somebody votes on what they asked for themselves."""
    board = (Stage("board", "policy"),)
    question = Approval("approval/canary", "usecase/canary", "canary", "0", "canary", "", "", board, 0, 1, {})
    return Case(Attempt(VOTE, "canary", question.id), 0, model_for_canaries(), None, question=question)


def _glass(standing: Standing, event: Event) -> Standing:
    return replace(standing, glass_until=int(str(event.data["until"])))


MANIFEST = Manifest(
    plane="kernel",
    actions=(VOTE, EXPIRE, BREAK_GLASS, CONTINUE),
    controls=(
        Control(
            "separation",
            "change",
            "Nobody approves what they asked for or own; each stage is decided by its own body, by distinct people.",
            _separated,
            _own_request,
            actions=(VOTE.name,),
            always=True,
        ),
    ),
    kinds=(
        Kind(
            "kernel.action.denied", {"action": "text", "digest": "text", "reasons": "list"}, "An attempt was refused."
        ),
        Kind(
            "kernel.approval.asked",
            {
                "subject": "text",
                "action": "text",
                "digest": "text",
                "owner": "text",
                "domain": "text",
                "stages": "list",
                "expires": "int",
                "facts": "object",
                "summary": "text",
            },
            "Somebody attempted what others must agree to.",
        ),
        Kind(
            "kernel.approval.voted",
            {"stage": "int", "seat": "text", "answer": "text", "reason": "text", "solo": "text"},
            "One person answered from one seat.",
        ),
        Kind("kernel.approval.granted", {}, "Every stage has its quorum."),
        Kind("kernel.approval.refused", {"reason": "text"}, "Somebody said no."),
        Kind("kernel.approval.expired", {}, "Nobody finished it in time."),
        Kind(
            "kernel.approval.voided", {"by": "text"}, "The content changed, so the approval no longer binds anything."
        ),
        Kind("kernel.approval.spent", {"action": "text"}, "The approval was used, once."),
        Kind("kernel.glass.broken", {"until": "int", "reason": "text"}, "Break-glass was opened.", _glass),
        Kind(
            "kernel.evidence.attached",
            {
                "control": "text",
                "digest": "text",
                "outcome": "text",
                "summary": "text",
                "expires": "int",
                "blob": "text",
            },
            "A control was proven or contradicted for some content.",
        ),
        Kind("kernel.shard.opened", {"shard": "text", "size": "int"}, "A serving process began a journal shard."),
        Kind("kernel.shard.beat", {"shard": "text", "size": "int", "root": "text"}, "A shard says how long it is."),
        Kind(
            "kernel.shard.closed",
            {"shard": "text", "size": "int", "root": "text"},
            "A serving process ended its shard.",
        ),
        Kind(
            "kernel.segment.sealed",
            {"shard": "text", "number": "int", "first": "int", "count": "int", "root": "text", "previous": "text"},
            "A batch of call records was anchored.",
        ),
        Kind("kernel.model.proposed", {"digest": "text"}, "Somebody proposed an operating model."),
        Kind(
            "kernel.model.applied",
            {"digest": "text", "version": "int", "posture": "text"},
            "An operating model came into force.",
        ),
        Kind("kernel.clock.stepped", {"back": "int"}, "The clock went back by this many microseconds."),
        Kind("kernel.ledger.continued", {"epoch": "int", "reason": "text"}, "The ledger goes on from a restored copy."),
    ),
)
