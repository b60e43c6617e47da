"""Who is responsible, accountable, consulted and informed: derived from what is enforced, never kept beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.kernel.authority import OPERATOR, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bedplate.kernel.action import Action
    from bedplate.kernel.approval import Stage
    from bedplate.kernel.model import OperatingModel

# The decisions about one use case, in the order of its life, and what their approvals are called in a tier's plan.
DECISIONS = (
    ("portfolio.propose", ""),
    ("portfolio.accept", "accept"),
    ("releases.build", ""),
    ("releases.attach", ""),
    ("releases.golive", "release"),
    ("gateway.key", ""),
    ("incidents.open", ""),
    ("incidents.suspend", ""),
    ("incidents.resume", "resume"),
    ("incidents.close", ""),
    ("paths.publish", ""),
    ("portfolio.retire", ""),
)
EVIDENCE = "releases:evidence:attach"  # whoever may attach evidence is consulted about a release


@dataclass(frozen=True, slots=True)
class Subject:
    """What the decisions are about."""

    tier: int
    domain: str
    owner: str
    sponsor: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One decision. `rule` says what makes it so."""

    action: str
    doc: str
    responsible: tuple[str, ...]
    accountable: tuple[str, ...]
    consulted: tuple[str, ...]
    informed: tuple[str, ...]
    rule: str


def raci(model: OperatingModel, actions: Iterable[Action], of: Subject, now: int) -> tuple[Line, ...]:
    """Derive the chart of one use case.

    Responsible is whoever may attempt it; accountable whoever must agree, or the owner where nobody must; consulted
    whoever attaches evidence that its gate asks for; informed the owner and the sponsor, who see it on record.
    """
    known = {a.name: a for a in actions}
    return tuple(_line(model, known[name], what, of, now) for name, what in DECISIONS if name in known)


def _line(model: OperatingModel, action: Action, what: str, of: Subject, now: int) -> Line:
    authority = model.authority
    responsible = authority.who(action.needs, of.domain)
    stages = model.owed(of.tier, what, now) if what and of.tier in model.tiers else ()
    agreeing = _agreeing(model, stages, of)
    accountable = agreeing or ((of.owner,) if of.owner else ())
    consulted = authority.who(EVIDENCE, of.domain) if what == "release" else ()
    informed = tuple(p for p in (of.owner, of.sponsor) if p and p not in {*responsible, *accountable})
    by_itself = [who for who in (OPERATOR, SYSTEM) if who in authority.rules.get(action.needs, ())]
    rule = f"needs {action.needs}" + (f"; also {' and '.join(by_itself)}" if by_itself else "")
    if stages:
        rule += "; " + " and ".join(f"{s.quorum} of {s.body} ({s.decides})" for s in stages)
    return Line(
        action.name,
        action.doc,
        responsible,
        accountable,
        tuple(p for p in consulted if p not in accountable),
        tuple(dict.fromkeys(informed)),
        rule,
    )


def _agreeing(model: OperatingModel, stages: Iterable[Stage], of: Subject) -> tuple[str, ...]:
    every = {p for stage in stages for p in model.authority.voters(stage, of.domain) if p != of.owner}
    barred = {i.person for i in model.authority.interests if i.about == f"domain/{of.domain}"}
    return tuple(sorted(every - barred))
