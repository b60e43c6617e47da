"""What is put into the value ledger: measures, what months came to, stop rules that fired, and renewals."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from bedplate.errors import Conflict, InvalidInput, NeedsApproval
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY
from bedplate.kernel.decision import Deny
from bedplate.kernel.governor import denied

from .measure import negative
from .proving import BOOK, IMPORT, OBSERVE, RECORD, RENEW, SETTLE, STOP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.event import Data, Value
    from bedplate.kernel.governor import Governor

    from .benefit import StopRule, Sum
    from .measure import Measure, Terms

AT_ONCE = 100  # measures in one event


@dataclass(frozen=True, slots=True)
class Booked:
    """How many measures were new, how many replace others, and how many were on record as they are."""

    new: int
    changed: int
    same: int


@dataclass(frozen=True, slots=True)
class Observed:
    """What the calls of a month came to: how many, thumbs, and cost in nano-US-dollars, evaluations included."""

    subject: str
    period: str
    calls: int
    failed: int
    up: int
    down: int
    cost_nano: int


def refuse_strangers(governor: Governor, by: str, subject: str) -> None:
    """Raise `Denied` to whoever may record nothing about a use case: before what they sent is looked at."""
    _, verdict = governor.judge(by, RECORD, subject, {"losses": 0, "reasons": 0, "measures": 0, "source": ""})
    if isinstance(verdict, Deny):
        raise denied(verdict)


def record(
    governor: Governor,
    by: str,
    measures: Sequence[Measure],
    terms: Terms,
    known: Mapping[tuple[str, str, str], Measure],
    domains: Mapping[str, str],
    source: str = "",
) -> Booked:
    """Record measures, all or nothing. What is on record as it is is left alone, so that a file may be sent again.

    Of several use cases of one domain, a seat of that domain suffices; across domains it takes one that counts in all.
    """
    fresh = sorted((m for m in measures if known.get(m.key) != m), key=_by_subject)
    found = Booked(
        new=sum(m.key not in known for m in fresh),
        changed=sum(m.key in known for m in fresh),
        same=len(measures) - len(fresh),
    )
    subjects = {m.subject for m in measures}
    within = {domains[s] for s in subjects}
    losses = [m for m in measures if negative(m, terms.hypotheses[m.subject])]
    facts: dict[str, Value] = {"losses": len(losses), "reasons": sum(bool(m.loss.strip()) for m in losses)}
    facts |= {"measures": len(fresh), "source": source}
    one = next(iter(subjects)) if len(subjects) == 1 else ""
    if not one:
        facts["domain"] = next(iter(within)) if len(within) == 1 else ""
    with governor.act(by, RECORD if one else IMPORT, one or BOOK, facts=facts) as act:
        for subject, own in groupby(fresh, _subject):
            told: list[Value] = [m.told() for m in own]
            for first in range(0, len(told), AT_ONCE):
                data: Data = {"measures": told[first : first + AT_ONCE], "source": source}
                act.record("portfolio.value.recorded", data, on=subject)
    return found


def observe(governor: Governor, what: Observed) -> None:
    """Record what the calls of a month came to, once it is over."""
    with governor.act(SYSTEM, OBSERVE, what.subject, facts={"period": what.period}) as act:
        data: Data = {name: getattr(what, name) for name in ("period", "calls", "failed", "up", "down", "cost_nano")}
        act.record("portfolio.value.observed", data)


def stop(governor: Governor, subject: str, rule: StopRule, found: Sum, period: str) -> str:
    """Record that a use case fell short, and ask whoever accepted it what becomes of it; returns the approval."""
    percent = found.percent or 0
    with governor.act(SYSTEM, STOP, subject, facts={"period": period}) as act:
        model = act.case.model
        due = governor.clock() + (model.approval_days if model is not None else 1) * DAY
        data: dict[str, Value] = {"period": period, "realised_cents": found.realised.cents}
        data |= {"forecast_cents": found.forecast, "percent": percent, "below": rule.below_percent}
        act.record("portfolio.stop.fired", {**data, "then": rule.then, "due": due})
    return ask(governor, subject, {"then": rule.then, "period": period, "percent": percent})


def ask(governor: Governor, subject: str, facts: Data) -> str:
    """Ask what becomes of a use case whose stop rule fired; returns the approval, "" where nobody has to agree."""
    try:
        _settle(governor, SYSTEM, subject, facts)
    except NeedsApproval as asked:
        return asked.approval
    return ""


def settle(governor: Governor, approval: Approval) -> None:
    """Retire or renew what was decided on; a refusal leaves it as it is, with its clock running."""
    if approval.state == "granted":
        _settle(governor, approval.requester, approval.subject, approval.facts)


def renew(governor: Governor, by: str, subject: str, reason: str) -> None:
    """Let a use case go on that fell short; `NeedsApproval` until whoever accepted it agrees."""
    if not reason.strip():
        raise InvalidInput("renewing needs a reason", hint="--reason '...'")
    case, _ = governor.judge(by, RENEW, subject)
    fired = str(case.standing.facts.get("portfolio.stop", "")) if case.standing is not None else ""
    _, verdict = governor.judge(by, RENEW, subject, {"reason": reason, "fired": fired})
    if case.standing is not None and not fired and not isinstance(verdict, Deny):  # who may not is told that, on record
        raise Conflict(
            f"no stop rule of {subject} fired: there is nothing to renew", hint="see it: bedplate value show"
        )
    _renew(governor, by, subject, {"reason": reason, "fired": fired})


def carry_out_renew(governor: Governor, approval: Approval) -> None:
    """Renew what was approved."""
    if approval.state == "granted":
        _renew(governor, approval.requester, approval.subject, approval.facts)


def _settle(governor: Governor, by: str, subject: str, facts: Data) -> None:
    fell = f"it reached {facts['percent']} % of its forecast by {facts['period']}"
    with governor.act(by, SETTLE, subject, facts=facts, summary=f"{facts['then']} {subject}: {fell}") as act:
        if facts["then"] == "retire":
            act.record("portfolio.usecase.retired", {"reason": f"by its stop rule: {fell}"})
        else:
            act.record("portfolio.stop.renewed", {"period": facts["period"], "reason": f"by its stop rule: {fell}"})


def _renew(governor: Governor, by: str, subject: str, facts: Data) -> None:
    summary = f"{subject} goes on, though it fell short ({facts['fired']}): {facts['reason']}"
    with governor.act(by, RENEW, subject, facts=facts, summary=summary) as act:
        standing = act.case.standing
        period = str(standing.facts.get("portfolio.stop_period", "")) if standing is not None else ""
        act.record("portfolio.stop.renewed", {"period": period, "reason": facts["reason"]})


def _subject(measure: Measure) -> str:
    return measure.subject


def _by_subject(measure: Measure) -> tuple[str, str, str]:
    return measure.key
