"""How evidence is governed: only the system anchors records; what was said is erased by time, or for a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.clock import DAY
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest
from bedplate.kernel.standing import Standing

if TYPE_CHECKING:
    from bedplate.kernel.event import Event, Value

ON_HOLD = "evidence.hold"  # the fact of a standing: why nothing that was said may be erased, "" if nothing is held

ANCHOR = Action(
    "evidence.anchor",
    "evidence:shard:anchor",
    "Anchor call records in the ledger.",
    registered=False,
    founding=("system",),
)
ERASE = Action("evidence.erase", "evidence:content:erase", "Erase what was said in a call; its record stays.")
EXPIRE = Action("evidence.expire", "evidence:content:expire", "Erase what was said longer ago than the tier keeps it.")
HOLD = Action("evidence.hold", "evidence:content:hold", "Keep all that was said in a use case's calls until further.")
LIFT = Action("evidence.lift", "evidence:content:hold", "Let what was said in a use case's calls be erased again.")
ROTATE = Action(
    "evidence.rotate",
    "evidence:content:rotate",
    "Wrap the keys of all content anew, so that no backup opens what was erased.",
    registered=False,
)


def kept_days(case: Case, tier: int) -> int:
    """Return how long what was said in a call of this tier is kept: by its own plan or today's, whichever is longer."""
    if case.model is None or case.plan is None:
        raise ValueError("no tier, so nothing says how long")
    plan = case.model.plan(tier)
    return max(case.plan.keep_days, plan.keep_days if plan is not None else 0)


def _kept_long_enough(case: Case) -> Finding:
    until, tier = int(str(case.attempt.facts["until"])), int(str(case.attempt.facts["tier"]))
    days = kept_days(case, tier)
    if until < case.now - days * DAY:
        return Pass()
    return Fail(f"what was said is kept {days} days in this tier", "wait; or erase one call, for a reason")


def _too_early() -> Case:
    facts: dict[str, Value] = {"until": 183 * DAY, "tier": 1}
    standing = Standing("usecase/canary", tier=1)
    return Case(Attempt(EXPIRE, "canary", "usecase/canary", facts), 183 * DAY, model_for_canaries(), standing)


def _not_held(case: Case) -> Finding:
    if case.standing is None:
        raise ValueError("no standing")
    hold = str(case.standing.facts.get(ON_HOLD, ""))
    if hold:
        return Fail(f"what was said is held: {hold}", "have the hold lifted: bedplate content lift")
    incident = str(case.attempt.facts["incident"])
    if incident:
        return Fail(f"it is frozen evidence of {incident}", "close the incident first: bedplate incident close")
    return Pass()


def _held() -> Case:
    standing = Standing("usecase/canary", tier=1, facts={ON_HOLD: "a canary's hold"})
    return Case(Attempt(ERASE, "canary", "usecase/canary", {"incident": ""}), 0, model_for_canaries(), standing)


def _placed(standing: Standing, event: Event) -> Standing:
    return replace(standing, facts={**standing.facts, ON_HOLD: event.data["reason"]})


def _lifted(standing: Standing, _event: Event) -> Standing:
    return replace(standing, facts={**standing.facts, ON_HOLD: ""})


MANIFEST = Manifest(
    plane="evidence",
    actions=(ANCHOR, ERASE, EXPIRE, HOLD, LIFT, ROTATE),
    controls=(
        Control(
            "kept-long-enough",
            "change",
            "By time alone, what was said is erased only when it is older than its tier keeps it.",
            _kept_long_enough,
            _too_early,
            actions=(EXPIRE.name,),
            always=True,
        ),
        Control(
            "not-held",
            "change",
            "What is frozen as an incident's evidence, or held for another reason, is not erased.",
            _not_held,
            _held,
            actions=(ERASE.name, EXPIRE.name),
            always=True,
        ),
    ),
    kinds=(
        Kind(
            "evidence.content.erased",
            {"call": "text", "leaf": "text", "reason": "text", "records": "int"},
            "What was said in a call was erased, for this reason; its record and digests stay.",
        ),
        Kind(
            "evidence.content.expired",
            {"since": "int", "until": "int", "count": "int", "tier": "int", "keep_days": "int"},
            "What was said longer ago than the tier keeps it was erased; the records and digests stay.",
        ),
        Kind("evidence.hold.placed", {"reason": "text"}, "Nothing that was said is erased from here on.", _placed),
        Kind("evidence.hold.lifted", {"reason": "text"}, "What was said may be erased again.", _lifted),
        Kind(
            "evidence.keys.rotated",
            {"keys": "int", "reason": "text"},
            "The keys of all content were wrapped anew: no backup opens what was erased.",
        ),
    ),
)
