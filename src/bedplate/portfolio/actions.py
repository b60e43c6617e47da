"""What teams do about use cases: propose them; what follows is accepting or declining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.document import Document, InvalidDocument
from bedplate.errors import Denied
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.event import Value, canonical
from bedplate.kernel.risk import Rating, rate

from .governance import ACCEPT, DECLINE, PROPOSE, RETIRE
from .usecase import UseCaseFile, dangling, loosened
from .value import Worth, assess

if TYPE_CHECKING:
    from bedplate.kernel.approval import Approval
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel


@dataclass(frozen=True, slots=True)
class Assessment:
    """How a proposal came out: its rating on the 2×2 and its worth."""

    rating: Rating
    worth: Worth


def check_use_case(document: Document, model: OperatingModel) -> UseCaseFile:
    """Check a file; `InvalidDocument` with every complaint, names that point nowhere included."""
    file = document.read(UseCaseFile)
    wrong = dangling(file, frozenset(q.id for q in model.questions), frozenset(model.domains))
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


def propose(governor: Governor, by: str, file: UseCaseFile, model: OperatingModel) -> Assessment:
    """Record a proposal with its score and tier, then have it accepted.

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
            },
        )
    facts |= {"sponsor": file.sponsor, "worth": worth.worth, "spec": spec}
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


def _accept(governor: Governor, by: str, subject: str, facts: dict[str, Value]) -> None:
    quadrant = f"tier {facts['tier']} ({facts['impact']} × {facts['autonomy']})"
    summary = f"take up {facts['title']}: {quadrant}, worth {facts['worth']}"
    with governor.act(by, ACCEPT, subject, facts=facts, summary=summary) as act:
        kept = ("title", "owner", "domain", "impact", "autonomy", "tier", "spec")
        act.record("portfolio.usecase.accepted", {name: facts[name] for name in kept})


def _decline(governor: Governor, subject: str, reason: str, by: str) -> None:
    with governor.act(SYSTEM, DECLINE, subject, facts={"reason": reason}) as act:
        act.record("portfolio.usecase.declined", {"reason": reason, "by": by})
