"""Parts of synthetic cases, for controls to prove that they still refuse. Nothing here ever decides anything real."""

from __future__ import annotations

from .approval import Stage
from .authority import Authority
from .model import OperatingModel, TierPlan
from .risk import Tier


def model_for_canaries() -> OperatingModel:
    """Return a smallest model: four tiers that owe nothing, appetites of 1, nobody in it."""
    return OperatingModel(
        organisation="canary",
        maturity="steel-thread",
        digest="",
        authority=Authority({}, {}),
        questions=(),
        matrix={},
        tiers={tier: _plan(tier) for tier in Tier},
        domains={},
        appetites={"worth_at_least": 1, "live_use_cases": 1},
    )


def _plan(tier: Tier) -> TierPlan:
    nobody = (Stage("board", "policy"),)
    return TierPlan(
        tier=tier,
        name="canary",
        approvals={"accept": nobody, "release": nobody, "resume": nobody},
        controls=frozenset(),
        guardrails={},
        sample_percent=0,
        calls_per_day=1,
        tokens_per_day=1,
        monitors=(),
        ladder={},
        drafts=False,
        intent=True,
        keep_days=184,
        review_days=1,
        lease_ms=1000,
    )
