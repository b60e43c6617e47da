"""What teams do about ideas and use cases: propose them; what follows is accepting or declining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

from bedplate.document import Document, InvalidDocument
from bedplate.errors import Conflict, Denied, InvalidInput
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY, day_of, rfc3339
from bedplate.kernel.event import Data, Value, canonical
from bedplate.kernel.origin import made_from
from bedplate.kernel.risk import Rating, rate

from .governance import ACCEPT, DECLINE, PROPOSE, RETIRE
from .idea import IdeaFile, unknown_contracts
from .idea import dangling as unknown
from .intake import SUGGEST, WEIGH
from .usecase import UseCaseFile, dangling, loosened
from .value import Worth, assess

if TYPE_CHECKING:
    from bedplate.kernel.approval import Approval
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel

    from .idea import Idea

OUTCOMES = ("taken-up", "declined", "deferred")
LEAST, MOST_DEFERRED = 3, 366  # characters of a reason; days


@dataclass(frozen=True, slots=True)
class Assessment:
    """How a proposal came out: its rating on the 2×2 and its worth."""

    rating: Rating
    worth: Worth


def check_use_case(document: Document, model: OperatingModel, contracts: frozenset[str] | None = None) -> UseCaseFile:
    """Check a file; `InvalidDocument` with every complaint, names that point nowhere included.

    `contracts` are the data contracts that are declared; without them it is not asked whether one is.
    """
    file = document.read(UseCaseFile)
    wrong = dangling(file, frozenset(q.id for q in model.questions), frozenset(model.domains))
    if contracts is not None:
        named: list[tuple[list[str | int], str]] = [
            (["data", i, "contract"], d.contract) for i, d in enumerate(file.data) if d.contract is not None
        ]
        wrong += unknown_contracts(named, contracts)
    plan = model.plan(rate(model.questions, file.answers, model.matrix).tier)
    if plan is not None:
        wrong += loosened(file, plan.guardrails)
    if wrong:
        raise InvalidDocument([document.complain(path, message) for path, message in wrong])
    return file


def assess_use_case(file: UseCaseFile, model: OperatingModel) -> Assessment:
    """Score and tier a use case without recording anything."""
    bands = model.appetites["value_bands"]
    if not isinstance(bands, list):
        raise TypeError("appetites.value_bands is a list")
    rating = rate(model.questions, file.answers, model.matrix)
    return Assessment(rating, assess(file.value, file.feasibility, [int(str(b)) for b in bands]))


def propose(
    governor: Governor, by: str, file: UseCaseFile, model: OperatingModel, origin: Data | None = None
) -> Assessment:
    """Record a proposal with its score and tier, then have it accepted. `origin`: how it stands to its golden path.

    Raises `NeedsApproval` while the bodies owed by the tier decide, `Denied` when the portfolio's own rules decline it.
    """
    found = assess_use_case(file, model)
    rating, worth = found.rating, found.worth
    facts: dict[str, Value] = {
        "title": file.title,
        "owner": file.owner,
        "domain": file.domain,
        "impact": rating.impact,
        "autonomy": rating.autonomy,
        "tier": int(rating.tier),
    }
    with governor.act(by, PROPOSE, file.subject, facts={"domain": file.domain}) as act:
        spec = act.keep(canonical(file.plain()))
        act.record(
            "portfolio.usecase.proposed",
            {
                **facts,
                "sponsor": file.sponsor,
                "bucket": file.bucket,
                "purpose": file.purpose,
                "value": worth.value,
                "feasibility": worth.feasibility,
                "yearly_cents": worth.yearly_cents,
                "reasons": list(rating.reasons),
                "spec": spec,
                "path": f"{file.path.name}@{file.path.version}" if file.path is not None else "",
                "effort_days": file.effort_days or 0,
                "generative": file.generative or "yes",
                "contracts": sorted({d.contract for d in file.data if d.contract is not None}),
                "answered": file.feasibility.model_dump(exclude={"data"}),
            },
        )
    facts |= {"sponsor": file.sponsor, "worth": worth.worth, "spec": spec, **(origin or {})}
    try:
        _accept(governor, by, file.subject, facts)
    except Denied as refusal:
        if any(control in {"worth-doing", "named-owner"} for control in refusal.controls):
            _decline(governor, file.subject, refusal.message, "portfolio rules")
        raise
    return found


def settle(governor: Governor, approval: Approval) -> None:
    """Accept what was approved, or decline what was refused."""
    if approval.state == "granted":
        _accept(governor, approval.requester, approval.subject, dict(approval.facts))
    else:
        no = next((v for v in approval.votes if not v.yes), None)
        _decline(governor, approval.subject, no.reason if no else "refused", no.person if no else "")


def retire(governor: Governor, by: str, subject: str, reason: str) -> None:
    """End a use case."""
    with governor.act(by, RETIRE, subject, facts={"reason": reason}) as act:
        act.record("portfolio.usecase.retired", {"reason": reason})


def check_idea(document: Document, model: OperatingModel, contracts: frozenset[str]) -> IdeaFile:
    """Check an idea's file; `InvalidDocument` with every complaint, names that point nowhere included."""
    file = document.read(IdeaFile)
    wrong = unknown(file, frozenset(q.id for q in model.questions), frozenset(model.domains), contracts)
    if wrong:
        raise InvalidDocument([document.complain(path, message) for path, message in wrong])
    return file


def suggest(governor: Governor, by: str, file: IdeaFile, model: OperatingModel, before: Idea | None) -> int:
    """Record an idea; returns by when it is to be decided. `before` is what is on record under its id.

    The clock of one that still waits goes on when it is proposed anew; `Conflict` for one that was taken up.
    """
    if before is not None and before.state == "taken-up":
        raise Conflict(f"the idea {file.id} was taken up", hint=f"go on with it: bedplate idea take-up {file.id}")
    tier = int(rate(model.questions, file.answers, model.matrix).tier)
    body, due = clock_of(model, tier, governor.clock(), before)
    with governor.act(by, SUGGEST, file.subject, facts={"domain": file.domain, "tier": tier}) as act:
        facts: dict[str, Value] = {"title": file.title, "domain": file.domain, "tier": tier}
        act.record("portfolio.idea.proposed", {**facts, "body": body, "due": due, "idea": file.plain()})
    return due


def weigh(governor: Governor, by: str, idea: Idea, model: OperatingModel, decision: Decision) -> None:
    """Take an idea up, decline it or defer it. Of two decisions at once about the same proposal, one is recorded."""
    if idea.state not in {"proposed", "deferred"}:
        raise Conflict(
            f"the idea {idea.id} is {idea.state} since {rfc3339(idea.decided_at)[:10]}", hint="propose it anew, changed"
        )
    due = decision.due(governor.clock())
    tier = int(rate(model.questions, idea.file.answers, model.matrix).tier)  # as the matrix is now
    facts: dict[str, Value] = {"domain": idea.domain, "tier": tier, "proposers": list(idea.proposers)}
    kept: dict[str, Value] = {
        "outcome": decision.outcome,
        "reason": decision.reason,
        "condition": decision.condition,
        "due": due,
    }
    once = str(uuid5(NAMESPACE_OID, f"bedplate:{idea.subject}:{idea.seq}"))
    try:
        with governor.act(by, WEIGH, idea.subject, facts={**facts, **kept}, request=once) as act:
            act.record("portfolio.idea.decided", kept)
    except Conflict:
        raise Conflict(
            f"somebody decided about {idea.id} meanwhile", hint=f"look at it: bedplate idea show {idea.id}"
        ) from None


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of an idea and why. `condition`: when a declined one may come back; `until`: a deferred one's day."""

    outcome: str
    reason: str
    condition: str = ""
    until: str = ""

    def due(self, now: int) -> int:
        """Return by when it is looked at again, 0 for never; `InvalidInput` if the decision is not whole."""
        if self.outcome not in OUTCOMES:
            raise InvalidInput(f"{self.outcome!r} is no decision", hint=f"one of: {', '.join(OUTCOMES)}")
        if len(self.reason.strip()) < LEAST:
            raise InvalidInput("a decision needs its reason", hint="say why: --reason '...'")
        if self.outcome == "declined" and len(self.condition.strip()) < LEAST:
            raise InvalidInput(
                "a declined idea keeps the condition under which it may come back", hint="say it: --condition '...'"
            )
        if self.outcome != "deferred":
            return 0
        try:
            due = day_of(self.until, after=1)
        except ValueError:
            raise InvalidInput(
                f"a deferred idea needs the day when it is looked at again, not {self.until!r}",
                hint="write it like this: --until 2027-01-31",
            ) from None
        if not now < due <= now + MOST_DEFERRED * DAY:
            raise InvalidInput(f"{self.until} is past, or more than {MOST_DEFERRED} days away", hint="a later day")
        return due


def clock_of(model: OperatingModel, tier: int, now: int, before: Idea | None) -> tuple[str, int]:
    """Return which body decides about an idea of this tier, and by when; while it waits, its first clock runs on."""
    body = model.owed(tier, "accept", now)[0].body
    if before is not None and before.state == "proposed":
        return body, before.due
    bodies = model.sections.get("bodies")
    part = bodies.get(body) if isinstance(bodies, dict) else None
    days = int(str(part["decides_within_days"])) if isinstance(part, dict) else model.approval_days
    return body, now + days * DAY


def _accept(governor: Governor, by: str, subject: str, facts: dict[str, Value]) -> None:
    quadrant = f"tier {facts['tier']} ({facts['impact']} × {facts['autonomy']})"
    summary = f"take up {facts['title']}: {quadrant}, worth {facts['worth']}{made_from(facts)}"
    with governor.act(by, ACCEPT, subject, facts=facts, summary=summary) as act:
        kept = ("title", "owner", "domain", "impact", "autonomy", "tier", "spec")
        act.record("portfolio.usecase.accepted", {name: facts[name] for name in kept})


def _decline(governor: Governor, subject: str, reason: str, by: str) -> None:
    with governor.act(SYSTEM, DECLINE, subject, facts={"reason": reason}) as act:
        act.record("portfolio.usecase.declined", {"reason": reason, "by": by})
