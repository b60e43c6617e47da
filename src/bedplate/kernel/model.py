"""The operating model in force, as the kernel reads it: matrix, tiers, people, permissions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from .approval import Body, Decides, Stage
from .authority import Authority, Interest, Person, Posture, Seat, StandIn
from .clock import day_of
from .risk import Question, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .event import Value

ACT_MINUTES = 24 * 60  # how long an action waits for people where the tier does not say
LATER_BUDGETS = ("calls_per_month", "tokens_per_month", "cents_per_day", "cents_per_month", "warn_percent")
OWN: Mapping[Body, Decides] = {"board": "business-risk", "coe": "technical", "domain": "ownership"}
# Those that may be left out.
SECTIONS = ("bodies", "delegations", "stand_ins", "conflicts", "competences", "money", "portfolio", "amnesty")
RETENTION_FLOOR_DAYS = 184  # six months at their longest, 1 March to 1 September; EU AI Act Art. 19(1), 26(6)


@dataclass(frozen=True, slots=True)
class TierPlan:
    """What a tier compiles to. Percentages are whole; budgets are per day; `ladder` maps a trigger to a rung."""

    tier: Tier
    name: str
    approvals: Mapping[str, tuple[Stage, ...]]  # by what is approved: "accept", "release", "resume", "act"
    controls: frozenset[str]
    guardrails: Mapping[str, Value]
    sample_percent: int
    calls_per_day: int
    tokens_per_day: int
    monitors: tuple[Mapping[str, Value], ...]
    ladder: Mapping[str, str]
    drafts: bool  # on the rung propose, an answer goes out marked as a draft instead of waiting
    intent: bool  # commit the intent before the upstream is called
    keep_days: int
    review_days: int
    lease_ms: int  # how old the standing may be before calls stop
    calls_per_month: int = 0  # this and the following: 0 means that there is no such limit
    tokens_per_month: int = 0
    cents_per_day: int = 0  # US cents
    cents_per_month: int = 0
    warn_percent: int = 0
    act_minutes: int = ACT_MINUTES  # how long a parked action waits, and what was agreed to counts
    act_escalate_minutes: int = 0  # after which who stands above is told; 0: at half of that time


@dataclass(frozen=True, slots=True)
class Delegation:
    """One body's decisions about a tier, handed to another until a moment, in microseconds."""

    id: str
    tier: int
    what: tuple[str, ...]  # accept, release, resume
    giver: Body
    taker: Body
    until: int


@dataclass(frozen=True, slots=True)
class OperatingModel:
    """The organisation's rules. `digest` names the exact content that was applied."""

    organisation: str
    maturity: str
    digest: str
    authority: Authority
    questions: tuple[Question, ...]
    matrix: Mapping[tuple[str, str], Tier]
    tiers: Mapping[int, TierPlan]
    domains: Mapping[str, str]
    appetites: Mapping[str, Value] = field(default_factory=dict)
    approval_days: int = 14
    evidence_days: int = 90
    delegations: tuple[Delegation, ...] = ()
    sections: Mapping[str, Value] = field(default_factory=dict)  # what planes read of it: bodies, money, portfolio …

    def plan(self, tier: int) -> TierPlan | None:
        """Return what the tier compiles to; None if the model has no such tier."""
        return self.tiers.get(tier)

    def owed(self, tier: int, what: str, now: int) -> tuple[Stage, ...]:
        """Return who must agree to something of a tier now, delegations included; `KeyError` if it has no such tier."""
        stages = list(self.tiers[tier].approvals[what])
        for given in self.delegations:
            if given.tier == tier and what in given.what and now < given.until:
                stages = [_handed(stage, given) for stage in stages]
        merged: dict[str, Stage] = {}
        for stage in stages:  # two stages of one body became one: the larger quorum decides
            known = merged.get(f"{stage.body}/{stage.decides}")
            if known is None or known.quorum < stage.quorum:
                merged[f"{stage.body}/{stage.decides}"] = stage
        return tuple(merged.values())


def load(body: Mapping[str, Any], digest: str) -> OperatingModel:
    """Read a model from the plain form that was checked and recorded; `KeyError` or `ValueError` if it is not one."""
    people = {
        p["id"]: Person(p["id"], p["name"], tuple(Seat(s["body"], s["role"], s.get("domain", "")) for s in p["seats"]))
        for p in body["people"]
    }
    rules = {name: tuple(patterns) for name, patterns in body["permissions"].items()}
    return OperatingModel(
        organisation=body["organisation"],
        maturity=body["maturity"],
        digest=digest,
        authority=Authority(
            people,
            rules,
            cast("Posture", body["posture"]),
            tuple(
                StandIn(s["id"], s["absent"], s["person"], day_of(s["since"]), day_of(s["until"], after=1))
                for s in body.get("stand_ins", ())
            ),
            tuple(Interest(c["person"], c["about"], c["why"]) for c in body.get("conflicts", ())),
        ),
        questions=tuple(Question(q["id"], q["text"], q["axis"]) for q in body["questions"]),
        matrix={(cell["impact"], cell["autonomy"]): Tier(cell["tier"]) for cell in body["matrix"]},
        tiers={t["tier"]: _tier(t) for t in body["tiers"]},
        domains={d["id"]: d["name"] for d in body["domains"]},
        appetites=body["appetites"],
        approval_days=body["approval_days"],
        evidence_days=body["evidence_days"],
        delegations=tuple(
            Delegation(d["id"], d["tier"], tuple(d["what"]), d["from_body"], d["to_body"], day_of(d["until"], after=1))
            for d in body.get("delegations", ())
        ),
        sections={name: body[name] for name in SECTIONS if name in body},
    )


def _handed(stage: Stage, given: Delegation) -> Stage:
    """Return who decides in this stage's place: whoever takes over decides what is theirs to decide."""
    return Stage(given.taker, OWN[given.taker], stage.quorum) if stage.body == given.giver else stage


def _tier(body: Mapping[str, Any]) -> TierPlan:
    if body["record"]["keep_days"] < RETENTION_FLOOR_DAYS:
        raise ValueError(f"tier {body['tier']} keeps records {body['record']['keep_days']} days")
    approvals = {
        what: tuple(Stage(cast("Body", s["body"]), cast("Decides", s["decides"]), s["quorum"]) for s in stages)
        for what, stages in body["approvals"].items()
    }
    acts = body.get("acts", {})
    return TierPlan(
        tier=Tier(body["tier"]),
        name=body["name"],
        approvals={"act": (Stage("domain", "ownership"),), **approvals},  # models from before there were agents
        act_minutes=acts.get("expires_minutes", ACT_MINUTES),
        act_escalate_minutes=acts.get("escalate_minutes", 0),
        controls=frozenset(body["controls"]),
        guardrails=body["guardrails"],
        sample_percent=body["oversight"]["sample_percent"],
        calls_per_day=body["budget"]["calls_per_day"],
        tokens_per_day=body["budget"]["tokens_per_day"],
        monitors=tuple(body["monitors"]),
        ladder=body["ladder"],
        drafts=body["oversight"]["drafts"] == "yes",
        intent=body["record"]["intent"] == "yes",
        keep_days=body["record"]["keep_days"],
        review_days=body["review_days"],
        lease_ms=body["lease_ms"],
        **{name: body["budget"].get(name, 0) for name in LATER_BUDGETS},
    )
