"""How value is governed: what was measured goes on record, and a stop rule that fired is decided, not forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.clock import rfc3339
from bedplate.kernel.control import Control, Fail, Finding, Pass
from bedplate.kernel.decision import Case
from bedplate.kernel.manifest import Kind
from bedplate.kernel.standing import Standing

if TYPE_CHECKING:
    from bedplate.kernel.approval import Stage
    from bedplate.kernel.event import Event, Value

BOOK = "value"  # the subject of an import that is about several use cases


def _owed(case: Case) -> tuple[Stage, ...]:
    """The bodies that took it into the portfolio on these terms decide what becomes of it."""
    return case.owed("accept")


RECORD = Action("portfolio.record", "portfolio:value:record", "Record what a use case was worth, or what it cost.")
IMPORT = Action(
    "portfolio.import",
    "portfolio:value:record",
    "Record what several use cases were worth, or what they cost.",
    registered=False,
)
# The worker's own three stand under the permission that every operating model gives it for its measures.
OBSERVE = Action("portfolio.observe", "models:measure:record", "Record what the calls of a month came to.")
STOP = Action("portfolio.stop", "models:measure:record", "Record that a use case fell short of what was agreed.")
SETTLE = Action(
    "portfolio.settle",
    "models:measure:record",
    "Retire or renew a use case that fell short, as its stop rule says.",
    stages=_owed,
)
RENEW = Action("portfolio.renew", "portfolio:usecase:propose", "Renew a use case that fell short.", stages=_owed)
ACTIONS = (RECORD, IMPORT, OBSERVE, STOP, SETTLE, RENEW)


def _losses_named(case: Case) -> Finding:
    facts = case.attempt.facts
    if int(str(facts["losses"])) == int(str(facts["reasons"])):
        return Pass()
    return Fail("a benefit below zero is a loss, and a loss is recorded with its reason", "say why: --loss 'REASON'")


def _unnamed() -> Case:
    return Case(Attempt(RECORD, "canary", "usecase/canary", {"losses": 1, "reasons": 0}), 0, None, None)


def _value_proven(case: Case) -> Finding:
    standing = case.standing
    if standing is None:
        raise ValueError("no standing")
    due = int(str(standing.facts.get("portfolio.stop_due", 0)))
    if not due or case.now < due:
        return Pass()
    why = f"its stop rule fired ({standing.facts['portfolio.stop']}), and nobody renewed it by {rfc3339(due)[:10]}"
    return Fail(why, f"have it renewed: bedplate value renew {standing.subject.partition('/')[2]}", "contradicted")


def _unrenewed() -> Case:
    facts: dict[str, Value] = {"portfolio.stop_due": 1, "portfolio.stop": "canary"}
    standing = Standing("usecase/canary", stage="live", tier=1, facts=facts)
    return Case(Attempt(RENEW, "canary", "usecase/canary", {"release": "0" * 64}), 1, None, standing)


CONTROLS = (
    Control(
        "losses-named",
        "change",
        "A benefit below zero is recorded as a loss, with its reason.",
        _losses_named,
        _unnamed,
        actions=(RECORD.name, IMPORT.name),
        always=True,
    ),
    Control(
        "value-proven",
        "release",
        "No stop rule of it fired that nobody renewed within its clock.",
        _value_proven,
        _unrenewed,
        always=True,
    ),
)


def _fired(standing: Standing, event: Event) -> Standing:
    data = event.data
    why = f"{data['percent']} % of the forecast by {data['period']}, agreed were {data['below']} %"
    due = int(str(standing.facts.get("portfolio.stop_due", 0))) or data["due"]  # the first clock is the one that runs
    return standing.with_facts(portfolio__stop=why, portfolio__stop_due=due, portfolio__stop_period=data["period"])


def _renewed(standing: Standing, _event: Event) -> Standing:
    return standing.with_facts(portfolio__stop="", portfolio__stop_due=0)


KINDS = (
    Kind(
        "portfolio.value.recorded",
        {"measures": "list", "source": "text"},
        "Somebody recorded benefits or costs of months; the newest of a metric and month counts.",
    ),
    Kind(
        "portfolio.value.observed",
        {"period": "text", "calls": "int", "failed": "int", "up": "int", "down": "int", "cost_nano": "int"},
        "What calls and thumbs of a month came to, once it was over.",
    ),
    Kind(
        "portfolio.stop.fired",
        {
            "period": "text",
            "realised_cents": "int",
            "forecast_cents": "int",
            "percent": "int",
            "below": "int",
            "then": "text",
            "due": "int",
        },
        "A use case fell short of what was agreed; whoever accepted it was asked what becomes of it.",
        _fired,
    ),
    Kind(
        "portfolio.stop.renewed",
        {"period": "text", "reason": "text"},
        "It goes on, though it fell short; what follows is judged anew.",
        _renewed,
    ),
)
