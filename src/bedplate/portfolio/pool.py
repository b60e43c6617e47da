"""What there is to weigh: ideas and use cases as proposals, by how far each has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput
from bedplate.kernel.risk import rate

from .idea import OPEN
from .rank import Proposal, Span
from .select import NONE, Choice, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.model import OperatingModel

    from .idea import Idea, IdeaFile
    from .rank import Ranked
    from .views import UseCase

FIVE = 200  # per mille for one of the five points
WITHIN = 5  # percent a bucket's share may be off, while the model says nothing


@dataclass(frozen=True, slots=True)
class Pool:
    """Proposals: those to decide about, those taken up and not live yet, and those that are live."""

    open: tuple[Proposal, ...]
    committed: tuple[Proposal, ...]
    running: tuple[Proposal, ...]

    @property
    def portfolio(self) -> tuple[Proposal, ...]:
        """What was decided for: committed and running."""
        return self.committed + self.running


def pool(ideas: Sequence[Idea], cases: Sequence[UseCase], model: OperatingModel) -> Pool:
    """Sort ideas and use cases. An idea that became a use case, under the same id, is counted once: as that."""
    held = {c.id for c in cases}
    ours = [c for c in cases if c.stage in {"proposed", "accepted", "live"}]
    rest = [i for i in ideas if i.id not in held]
    told = [of_idea(i.file, model, i.state) for i in rest if i.state in OPEN]
    taken = [of_idea(i.file, model, i.state) for i in rest if i.state == "taken-up"]
    return Pool(
        tuple(told),
        (*taken, *(of_case(c) for c in ours if c.stage != "live")),
        tuple(of_case(c) for c in ours if c.stage == "live"),
    )


def of_idea(file: IdeaFile, model: OperatingModel, state: str = "proposed") -> Proposal:
    """Return an idea as a proposal; its tier is what the matrix says now."""
    value = file.value
    cents = (value.baseline - value.target) * value.cents_per_unit * value.per_month * 12
    off = cents * (value.uncertain_percent or 0) // 100
    answers = (file.feasibility.technology, file.feasibility.people, file.feasibility.change)
    feasibility = Span(
        _mean([a.low or a.score for a in answers]),
        _mean([a.score for a in answers]),
        _mean([a.high or a.score for a in answers]),
    )
    return Proposal(
        id=file.id,
        subject=file.subject,
        title=file.title,
        domain=file.domain,
        bucket=file.bucket,
        tier=int(rate(model.questions, file.answers, model.matrix).tier),
        stage=state,
        yearly_cents=Span(cents - off, cents, cents + off),
        feasibility=feasibility,
        contracts=tuple(file.contracts),
        effort_days=file.effort_days,
        cost_cents=file.cost_cents,
        generative=file.generative == "yes",
        after=tuple(file.after or ()),
        excludes=tuple(file.excludes or ()),
    )


def of_case(case: UseCase) -> Proposal:
    """Return a use case as a proposal; it says one number each, and no cost beside its days."""
    feasible = _mean(list(case.answered.values())) if case.answered else FIVE * case.feasibility
    return Proposal(
        id=case.id,
        subject=case.subject,
        title=case.title,
        domain=case.domain,
        bucket=case.bucket,
        tier=case.tier,
        stage=case.stage,
        yearly_cents=Span(case.yearly_cents, case.yearly_cents, case.yearly_cents),
        feasibility=Span(feasible, feasible, feasible),
        contracts=case.contracts,
        effort_days=case.effort_days,
        cost_cents=0,
        generative=case.generative == "yes",
    )


def choices(proposals: Sequence[Proposal], scores: Mapping[str, Ranked] | None = None) -> list[Choice]:
    """Return proposals as choices: of their yearly value or, with scores, of their points."""
    return [
        Choice(
            p.id,
            p.title,
            p.domain,
            p.tier,
            p.bucket,
            p.effort_days,
            p.cost_cents,
            scores[p.id].score.mid if scores is not None else p.yearly_cents.mid,
            p.after,
            p.excludes,
        )
        for p in proposals
    ]


def targets_of(model: OperatingModel) -> dict[str, int]:
    """Return the buckets' targets in percent of the effort; none while the model says nothing."""
    section = model.sections.get("portfolio")
    given = section.get("buckets") if isinstance(section, dict) else None
    return {str(name): int(str(share)) for name, share in given.items()} if isinstance(given, dict) else {}


def limits_of(model: OperatingModel, days: int | None = None, cents: int | None = None) -> Limits:
    """Return the operating model's limits, with days and cents as told instead; `InvalidInput` if nobody says any."""
    section = model.sections.get("portfolio")
    if not isinstance(section, dict):
        if days is None:
            raise InvalidInput(
                "nobody says what there is to build with",
                hint="put portfolio.capacity into the operating model, or say it here: --days 400",
            )
        return Limits(days, NONE if cents is None else cents)
    capacity = section["capacity"]
    domains = section.get("domains", {})
    tiers = section.get("tiers", {})
    if not isinstance(capacity, dict) or not isinstance(domains, dict) or not isinstance(tiers, dict):
        raise TypeError("portfolio.capacity, .domains and .tiers are objects")
    return Limits(
        days=int(str(capacity["person_days"])) if days is None else days,
        cents=int(str(capacity["cents"])) if cents is None else cents,
        domains={name: (int(str(c["person_days"])), int(str(c["cents"]))) for name, c in domains.items()},
        tiers={int(tier): int(str(most)) for tier, most in tiers.items()},
        buckets=targets_of(model),
        within_percent=int(str(section.get("within_percent", WITHIN))),
        hard=section.get("buckets_are") == "limits",
    )


def _mean(scores: list[int]) -> int:
    return round(FIVE * sum(scores) / len(scores))
