"""How calls are governed: what every call is checked against, and keys."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.canary import model_for_canaries
from bedplate.kernel.clock import DAY
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind, Manifest
from bedplate.kernel.standing import Rung, Standing

if TYPE_CHECKING:
    from bedplate.kernel.approval import Stage
    from bedplate.kernel.event import Event, Value
    from bedplate.kernel.model import TierPlan

CALL = Action("gateway.call", "gateway:call:make", "Make a call as a use case.", phase="call")
EVALUATE = Action(
    "gateway.evaluate", "gateway:call:evaluate", "Make a call to try a release before it is live.", phase="call"
)
CANARY = Action(
    "gateway.canary", "gateway:call:make", "Make a synthetic call, to see whether it is stopped.", phase="call"
)
PROVE = Action("gateway.prove", "models:measure:record", "Record whether a control stopped its synthetic violation.")


def _agreeing(case: Case) -> tuple[Stage, ...]:
    return case.owed("release")  # whoever answers for the release answers for what is let through


PASS = Action(
    "gateway.pass",
    "gateway:call:make",
    "Send a text that a guardrail held, once people agreed to exactly it.",
    phase="call",
    stages=_agreeing,
    several=True,
)
GIVE = Action(
    "gateway.give",
    "gateway:call:make",
    "Give an answer that a guardrail held, once people agreed to exactly it.",
    phase="call",
    stages=_agreeing,
    several=True,
)
ISSUE_KEY = Action("gateway.key", "gateway:key:issue", "Issue a key for a use case.")
REVOKE_KEY = Action("gateway.revoke", "gateway:key:issue", "End a key.")

READ_CONTENT = Action("gateway.read", "gateway:content:read", "Read what was asked and answered in a call.")
SET_PRICES = Action("gateway.prices", "gateway:price:set", "Put the prices of contracts in force.", registered=False)
READ_COST = Action(
    "gateway.cost", "gateway:cost:read", "Read what calls cost, and how budgets stand.", registered=False
)
READ_UPSTREAMS = Action(
    "gateway.upstreams", "gateway:upstream:read", "See the upstreams: how they are, and what is asked of them."
)

LIVE = (CALL.name, CANARY.name)
STOPPED = "agents.stopped"  # the fact, of the plane of agents: by scope, "*" or an agent, why it is stopped
UNPROVEN = "gateway.unproven"  # the fact: which of its controls let their last synthetic violation pass
PRICES = "prices"  # the stream of what was agreed with providers


def _standing(case: Case) -> Standing:
    if case.standing is None:
        raise ValueError("no standing")
    return case.standing


def _plan(case: Case) -> TierPlan:
    if case.plan is None:
        raise ValueError("no tier")
    return case.plan


def _fresh(case: Case) -> Finding:
    lease = _plan(case).lease_ms
    if case.age > lease * 1000:
        return Fail(
            f"the standing is {case.age // 1000} ms old; this tier allows {lease} ms",
            "the database does not answer this process: see /readyz",
        )
    return Pass()


def _not_stopped(case: Case) -> Finding:
    facts, held = case.attempt.facts, _standing(case).facts.get(STOPPED, {})
    if not isinstance(held, dict):
        raise TypeError(f"{STOPPED} is an object")
    why = str(facts.get("halted", "") or held.get("*", "") or held.get(str(facts.get("agent", "")), ""))
    return Fail(f"stopped: {why}", "it goes on once the stop is lifted: bedplate stop --lift") if why else Pass()


def _not_suspended(case: Case) -> Finding:
    suspended = _standing(case).suspended
    return (
        Fail(f"suspended: {suspended}", f"ask {_standing(case).owner} or see bedplate resume") if suspended else Pass()
    )


def _released(case: Case) -> Finding:
    standing = _standing(case)
    if standing.stage == "live" and standing.release:
        return Pass()
    fixes = {
        "proposed": "it must be accepted first: bedplate approvals",
        "accepted": "build a release and have it approved: bedplate release",
        "declined": f"it was declined; ask {standing.owner}",
        "retired": f"it was retired; ask {standing.owner}",
    }
    return Fail(
        f"{standing.subject} is {standing.stage} and has no live release", fixes.get(standing.stage, "propose it")
    )


def _rung_open(case: Case) -> Finding:
    standing = _standing(case)
    if not standing.release:
        return Pass()  # live-release says what is missing
    if standing.rung is Rung.OFF:
        return Fail("its rung is off", f"ask {standing.owner}; a new approved release or a resumption raises it")
    if standing.rung is Rung.PROPOSE and not _plan(case).drafts:
        return Fail("its rung is propose, and this tier sends no drafts", f"a person must answer; ask {standing.owner}")
    return Pass()


def _model_approved(case: Case) -> Finding:
    asked, approved = str(case.attempt.facts["model"]), str(case.attempt.facts["approved"])
    if approved and case.attempt.facts["served"] != "yes":
        return Fail("the upstream it was approved with is not configured here", "configure it, or release again")
    if case.attempt.facts["named"] == "yes" or not approved:
        return Pass()  # without a release no model is approved, and live-release says so
    return Fail(f"the model {asked!r} is not in the live release", f"ask for {approved!r}")


def _within_budget(case: Case) -> Finding:
    facts, plan = case.attempt.facts, _plan(case)
    if not facts["approved"]:
        return Pass()  # as above
    for unit, most in (("calls", plan.calls_per_day), ("tokens", plan.tokens_per_day)):
        least = min(most, int(str(facts[f"{unit}_budget"])))
        if int(str(facts[f"{unit}_today"])) >= least:
            return Fail(
                f"{facts[f'{unit}_today']} of {least} {unit} are used today",
                "wait for tomorrow (UTC), or raise the budget",
            )
    return Pass()


def _evaluated(case: Case) -> Finding:
    standing = _standing(case)
    if not standing.release or case.model is None:
        return Pass()  # as above
    known, days = standing.facts.get("models.evaluated"), case.model.evidence_days
    at = known.get(standing.release) if isinstance(known, dict) else None
    if at is None:
        return Fail("no evaluation of the live release is on record", "evaluate it: bedplate release, on its own files")
    if case.now > int(str(at)) + days * DAY:
        return Fail(f"its evals are older than {days} days", "evaluate again: bedplate release, on the same files")
    return Pass()


def _current(case: Case) -> Finding:
    known = _standing(case).facts.get("data.indexed")
    told = known.get(str(case.attempt.facts.get("index", ""))) if isinstance(known, dict) else None
    if not isinstance(told, list):
        return Pass()  # it answers from nothing that is indexed here
    at, days = (int(str(value)) for value in told)
    if days and case.now > at + days * DAY:
        return Fail(
            f"what it answers from was read more than {days} days ago",
            "have the source read anew: bedplate release, with its files as they are now",
        )
    return Pass()


def _reviewed(case: Case) -> Finding:
    standing, days = _standing(case), _plan(case).review_days
    if not standing.release:
        return Pass()  # as above
    live_at = int(str(standing.facts["releases.live_at"]))
    if case.now > live_at + days * DAY:
        return Fail(f"the last approval is more than {days} days old", "release again: bedplate release")
    return Pass()


def _fire(case: Case) -> Finding:
    standing = _standing(case)
    names = unproven(standing)
    if not names or (standing.rung is not Rung.ACT and _plan(case).drafts):
        return Pass()  # on a lower rung a person looks at each answer
    why = f"{', '.join(names)}: did not stop a synthetic violation"
    return Fail(why, f"ask {standing.owner}; it is tried again, and calls go on once it fires")


def _unproven(standing: Standing, event: Event) -> Standing:
    return _naming(standing, {*unproven(standing), str(event.data["control"])})


def _proven(standing: Standing, event: Event) -> Standing:
    return _naming(standing, {*unproven(standing)} - {str(event.data["control"])})


def _naming(standing: Standing, names: set[str]) -> Standing:
    return replace(standing, facts={**standing.facts, UNPROVEN: [*sorted(names)]})


def unproven(standing: Standing) -> list[str]:
    """Name the controls and guardrails of a use case that let their last synthetic violation pass."""
    found = standing.facts.get(UNPROVEN, [])
    if not isinstance(found, list):
        raise TypeError("what is unproven must be a list")
    return [str(name) for name in found]


def _forward(case: Case) -> Finding:
    rewritten = case.attempt.facts["rewrites"]
    if not isinstance(rewritten, list | tuple):
        raise TypeError("what is rewritten must be a list")
    if not rewritten:
        return Pass()
    return Fail("; ".join(map(str, rewritten)), "put back what was in force, and begin new lines today or later")


def _rewriting() -> Case:
    facts: dict[str, Value] = {"digest": "", "rewrites": ["a price that was in force is gone"]}
    return Case(Attempt(SET_PRICES, "canary", PRICES, facts), 0, model_for_canaries(), None)


def _violation() -> Case:
    """A call with everything wrong at once: each call control must refuse it."""
    facts: dict[str, Value] = {
        "model": "other",
        "approved": "this",
        "named": "no",
        "served": "no",
        "calls_today": 9,
        "tokens_today": 9,
        "calls_budget": 1,
        "tokens_budget": 1,
        "index": "canary",
        "halted": "canary",
    }
    standing = Standing("usecase/canary", tier=1, stage="accepted", suspended="canary", rung=Rung.OFF, release="canary")
    standing = replace(
        standing, facts={"releases.live_at": 0, UNPROVEN: ["canary"], "data.indexed": {"canary": [0, 1]}}
    )
    return Case(
        Attempt(CALL, "canary", "usecase/canary", facts), 400 * DAY, model_for_canaries(), standing, age=1 << 62
    )


MANIFEST = Manifest(
    plane="gateway",
    actions=(
        CALL,
        EVALUATE,
        PASS,
        GIVE,
        CANARY,
        PROVE,
        ISSUE_KEY,
        REVOKE_KEY,
        READ_CONTENT,
        READ_UPSTREAMS,
        SET_PRICES,
        READ_COST,
    ),
    controls=(
        Control(
            "standing-fresh",
            "call",
            "What the call is judged against is no older than the tier allows.",
            _fresh,
            _violation,
            always=True,
        ),
        Control(
            "not-stopped",
            "call",
            "Neither it nor the agent that asks is stopped.",
            _not_stopped,
            _violation,
            always=True,
        ),
        Control("not-suspended", "call", "The use case is not suspended.", _not_suspended, _violation, always=True),
        Control(
            "live-release",
            "call",
            "The use case has a live, approved release.",
            _released,
            _violation,
            LIVE,
            always=True,
        ),
        Control("rung-open", "call", "Its rung lets it answer.", _rung_open, _violation, LIVE, always=True),
        Control(
            "model-approved",
            "call",
            "The model asked for is the one in the release.",
            _model_approved,
            _violation,
            LIVE,
            always=True,
        ),
        Control(
            "within-budget",
            "call",
            "Today's calls and tokens are below the tier's and the release's budget.",
            _within_budget,
            _violation,
            LIVE,
            always=True,
        ),
        Control(
            "evals-fresh",
            "call",
            "The live release was evaluated no longer ago than evidence counts.",
            _evaluated,
            _violation,
            LIVE,
        ),
        Control(
            "data-current",
            "call",
            "What it answers from was read no longer ago than its source allows.",
            _current,
            _violation,
            LIVE,
            always=True,
        ),
        Control(
            "review-current",
            "call",
            "The last approval is not older than the tier's review interval.",
            _reviewed,
            _violation,
            LIVE,
        ),
        Control(
            "canaries-fire",
            "call",
            "Nothing that should stop calls let its last synthetic violation pass, or a person looks at each answer.",
            _fire,
            _violation,
            (CALL.name,),  # not what tries them: it would never be proven again
        ),
        Control(
            "prices-forward",
            "change",
            "A price that was in force is not changed; it can only be ended, and a new one begins today or later.",
            _forward,
            _rewriting,
            actions=(SET_PRICES.name,),
            always=True,
        ),
    ),
    kinds=(
        Kind(
            "gateway.prices.set",
            {"digest": "text", "lines": "int", "contracts": "list"},
            "The prices of these contracts are in force, each from its own day on.",
        ),
        Kind(
            "gateway.key.issued",
            {"key": "text", "digest": "text", "label": "text", "expires": "int", "agent": "text"},
            "A key was made for a use case; the key itself is not recorded.",
        ),
        Kind(
            "gateway.call.passed",
            {"request_sha256": "text", "findings": "text"},
            "People agreed to a text that a guardrail held; it was sent, this once.",
        ),
        Kind(
            "gateway.answer.given",
            {
                "call": "text",
                "to": "text",
                "key": "text",
                "protocol": "text",
                "request_sha256": "text",
                "answer_sha256": "text",
                "findings": "text",
            },
            "People agreed to the answer of a call, which a guardrail held; another call got it, this once.",
        ),
        Kind("gateway.key.revoked", {"key": "text", "reason": "text"}, "A key ended."),
        Kind(
            "gateway.control.unproven",
            {"control": "text", "why": "text", "call": "text"},
            "A control or guardrail let its synthetic violation pass.",
            _unproven,
        ),
        Kind(
            "gateway.control.proven",
            {"control": "text", "why": "text", "call": "text"},
            "What was unproven stopped its synthetic violation again, or is not owed any more.",
            _proven,
        ),
    ),
)
