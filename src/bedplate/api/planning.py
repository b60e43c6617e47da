"""The portfolio as a whole: ranked, balanced against its targets, and the best set within what there is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from bedplate.installation import Installation
from bedplate.paths import planning
from bedplate.paths.planning import Plan, Setting, Table
from bedplate.portfolio.select import Choice
from bedplate.wire import Comparing, Selecting

from .portfolio import model_in_force
from .session import At, Me

router = APIRouter(prefix="/portfolio", tags=["portfolio"])
YesNo = Literal["yes", "no"]


@router.get("/rank")
def rank(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Rank what is not live yet, each score with its parts, and tell what becomes of the order when a weight moves."""
    held = _held(at)
    moved = held.sensitivity
    return {
        "weights": dict(held.weights),
        "intervals": "exact bounds: the lowest and the highest score that the answers' ranges allow",
        "ranked": [asdict(r) for r in held.ranking],
        "sensitivity": [asdict(m) for m in moved],
        "holds": not any(m.swaps for m in moved),
    }


@router.get("/balance")
def balance(at: At, me: Me, ideas: Annotated[YesNo, Query()] = "no") -> dict[str, Any]:  # noqa: ARG001  as above
    """Set the buckets beside their targets, and look for the trap; with the open ideas too, if wanted."""
    held, open_too = _held(at), ideas == "yes"
    trap = held.trap(open_too=open_too)
    work = [{**asdict(w), "cents_a_day": w.cents_a_day} for w in trap.work]
    return {"buckets": [asdict(b) for b in held.buckets(open_too=open_too)], "trap": {**asdict(trap), "work": work}}


@router.post("/select")
def select(at: At, me: Me, body: Selecting) -> dict[str, Any]:  # noqa: ARG001  as above
    """Choose the open ideas that are worth most within what there is. Nothing is decided by it."""
    return _plan(planning.choose(_held(at), setting(body)))


@router.post("/what-if")
def what_if(at: At, me: Me, body: Comparing) -> dict[str, Any]:  # noqa: ARG001  as above
    """Set two selections side by side: what comes in, what falls out, and what it is worth more."""
    one, other, difference = planning.what_if(_held(at), setting(body.before), setting(body.after))
    return {"before": _plan(one), "after": _plan(other), "difference": asdict(difference)}


def setting(body: Selecting) -> Setting:
    """Return what a selection is asked with."""
    hard = None if body.buckets == "" else body.buckets == "limits"
    return Setting(body.days, body.cents, hard, tuple(body.must), tuple(body.without), body.aim)


def _held(at: Installation) -> Table:
    return planning.table(at.engine, model_in_force(at), at.clock())


def _plan(found: Plan) -> dict[str, Any]:
    told = found.selected
    return {
        "setting": asdict(found.setting),
        "limits": {**asdict(found.limits), "tiers": {str(t): most for t, most in found.limits.tiers.items()}},
        "committed": [p.id for p in found.committed],
        **{name: getattr(told, name) for name in ("value", "objective", "optimal", "gap_permille", "price", "shares")},
        "chosen": [_choice(c) for c in told.chosen],
        "left": [{**_choice(c), "why": why} for c, why in told.left],
        "used": [asdict(u) for u in told.used],
    }


def _choice(choice: Choice) -> dict[str, Any]:
    return asdict(choice)
