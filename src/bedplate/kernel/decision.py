"""The heart: given a case, decide. No clock, no database, no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .control import Control, Fail, Pass
from .origin import unmet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .action import Attempt
    from .approval import Approval, Stage
    from .evidence import Evidence
    from .model import OperatingModel, TierPlan
    from .standing import Standing


@dataclass(frozen=True, slots=True)
class Case:
    """Everything a decision may look at. Times in microseconds; `age` is how old the standing is."""

    attempt: Attempt
    now: int
    model: OperatingModel | None
    standing: Standing | None
    approval: Approval | None = None
    question: Approval | None = None  # what a vote answers
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    age: int = 0
    founding: bool = False  # the model is only proposed; none is in force
    voter: Standing | None = None  # what is known of whoever votes
    origin: Standing | None = None  # of the golden path that the attempt says it was made from
    source: Standing | None = None  # of the use case from which that path was taken
    live: int | None = None  # use cases live beside the subject; counted for a release only

    plan: TierPlan | None = field(init=False, compare=False)  # what the tier compiles to; None while there is no tier

    def __post_init__(self) -> None:
        """Look the tier's plan up once: every control asks for it."""
        plan = None
        if self.model is not None and self.standing is not None:
            plan = self.model.plan(self.standing.tier)
        object.__setattr__(self, "plan", plan)

    def owed(self, what: str, tier: int = 0) -> tuple[Stage, ...]:
        """Return who must agree to this of the subject's tier, or of the one named; `ValueError` if there is none."""
        rated = tier or (self.standing.tier if self.standing is not None else 0)
        if self.model is None or self.model.plan(rated) is None:
            raise ValueError("no operating model or no tier, so nobody to ask")
        return self.model.owed(rated, what, self.now)

    @property
    def domain(self) -> str:
        """The domain in which the attempt is made: the subject's, or the one a proposal names."""
        if self.standing is not None and self.standing.domain:
            return self.standing.domain
        return str(self.attempt.facts.get("domain", ""))


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was not allowed, by which control, and what to do about it."""

    control: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True)
class Allow:
    """It may go ahead. `uses` is the approval to be spent first; `glass` marks a break-glass passage."""

    controls: tuple[str, ...] = ()
    uses: str = ""
    glass: bool = False


@dataclass(frozen=True, slots=True)
class Deny:
    """It may not. Every reason carries its fix."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """It may, once these stages agree to exactly this content."""

    stages: tuple[Stage, ...]
    reasons: tuple[Reason, ...]


Verdict = Allow | Deny | Ask


def decide(case: Case, controls: tuple[Control, ...]) -> Verdict:
    """Decide one case. `controls` are those owed by the subject's tier at the action's phase.

    An unreadable fact, an unknown subject or a control that raises is a denial, never a passage.
    """
    refusal = _unlawful(case)
    if refusal is not None:
        return Deny((refusal,))
    reasons = [r for r in [_judge(c, case) for c in controls] if r is not None]
    if reasons:
        return Deny(tuple(reasons))
    names = tuple([c.name for c in controls])
    stages_of = case.attempt.action.stages
    if stages_of is None:
        return Allow(names)
    try:
        stages = stages_of(case)
    except Exception as broken:  # noqa: BLE001  whoever must agree is unknown: the door stays shut
        return Deny((_broken("approvals", broken),))
    if not stages:
        return Allow(names, uses=_granted(case))
    if case.approval is not None and case.approval.usable(case.attempt.digest, case.now):
        if case.approval.stages == stages and case.approval.subject == case.attempt.subject:
            return Allow(names, uses=case.approval.id)
        return Ask(
            stages, (Reason("approvals", "the approval was given by other bodies than are owed now", "ask again"),)
        )
    if case.standing is not None and case.now < case.standing.glass_until:
        return Allow(names, glass=True)
    return Ask(stages, (_agreement(stages), *_uncovered(case)))


def _unlawful(case: Case) -> Reason | None:
    attempt, model = case.attempt, case.model
    action = attempt.action
    if action.own and attempt.subject == f"person/{attempt.actor}":
        return None
    if model is None:
        if attempt.actor in action.founding or "*" in action.founding:
            return None
        return Reason("operating-model", "no operating model is in force", "run `bedplate apply operating-model.yaml`")
    keyed = action.phase in {"call", "act"} and attempt.actor.startswith("key/")  # issued by somebody who may
    if not keyed and not model.authority.allowed(attempt.actor, action.needs, case.domain):
        who = ", ".join(model.authority.who(action.needs, case.domain)) or "nobody in this operating model"
        return Reason("authority", f"{attempt.actor} may not do this: it needs {action.needs}", f"who may: {who}")
    if action.registered:
        if case.standing is None:
            return Reason(
                "registered", f"{attempt.subject} is not known here", "propose it: `bedplate apply use-case.yaml`"
            )
        if case.plan is None:
            return Reason(
                "tiered", f"{attempt.subject} has no tier", "answer the impact and autonomy questions and apply"
            )
    return None


def _judge(control: Control, case: Case) -> Reason | None:
    try:
        finding = control.check(case)
    except Exception as broken:  # noqa: BLE001  a control that breaks must not open the door
        return _broken(control.name, broken)
    match finding:
        case Pass():
            return None
        case Fail(reason, fix):
            return Reason(control.name, reason, fix)
    # Reached only by a check that breaks its own type; silence must not open the door.
    return Reason(control.name, f"{control.name} gave no finding", "report this: a control must pass or fail")  # type: ignore[unreachable]  # by the types


def _broken(name: str, broken: Exception) -> Reason:
    return Reason(
        name, f"{name} could not be checked: {type(broken).__name__}", "see the server's log; calls stay refused"
    )


def _granted(case: Case) -> str:
    """Name the approval that was asked for before nothing was owed any more: it is spent like any other."""
    given = case.approval
    usable = given is not None and given.subject == case.attempt.subject
    return given.id if given is not None and usable and given.usable(case.attempt.digest, case.now) else ""


def _uncovered(case: Case) -> tuple[Reason, ...]:
    why = unmet(case)
    return (Reason("pre-approval", why, "see what is owed, and why: `bedplate path owed`"),) if why else ()


def _agreement(stages: tuple[Stage, ...]) -> Reason:
    who = " and ".join(f"{s.quorum} of {s.body} ({s.decides})" for s in stages)
    return Reason("approvals", f"{who} must agree to exactly this", "wait for `bedplate approvals`, or ask them")
