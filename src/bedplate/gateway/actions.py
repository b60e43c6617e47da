"""What is done about keys, prices and what canaries show. Calls themselves pass the fast door, `door.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import DAY

from .governance import GIVE, ISSUE_KEY, PASS, PRICES, PROVE, REVOKE_KEY, SET_PRICES
from .tariff import content, rewritten

if TYPE_CHECKING:
    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor

    from .canary import Tried
    from .tariff import Tariff

MAX_DAYS = 366
MAX_TOLD = 50  # reasons of a refusal: it is an event, and has its bounds
MAX_CONTRACTS = 100  # named in the event; every line names its own in the kept file


def issue_key(
    governor: Governor, by: str, subject: str, *, key: str, digest: str, label: str, days: int, agent: str = ""
) -> None:
    """Record a key for a use case, or for one of its agents. The caller made it; only its digest comes here."""
    if not 1 <= days <= MAX_DAYS:
        raise InvalidInput(f"a key lives 1 to {MAX_DAYS} days")
    with governor.act(by, ISSUE_KEY, subject, facts={"label": label, "days": days}) as act:
        expires = governor.clock() + days * DAY
        told: dict[str, Value] = {"key": key, "digest": digest, "label": label, "expires": expires, "agent": agent}
        act.record("gateway.key.issued", told)


def pass_held(governor: Governor, by: str, subject: str, facts: dict[str, Value]) -> None:
    """Spend people's agreement to a text that a guardrail held; `NeedsApproval` while there is none."""
    with governor.act(by, PASS, subject, facts=facts, summary=f"a prompt that holds {facts['findings']}") as act:
        act.record("gateway.call.passed", facts)


def give_held(governor: Governor, by: str, subject: str, facts: dict[str, Value], to: str) -> None:
    """Spend people's agreement to an answer that a guardrail held, for the call that gets it.

    `facts`: key, protocol, request_sha256, call, answer_sha256, findings. `NeedsApproval` while nobody agreed; an
    answer is given once, and `Conflict` (`already-done`) asks nobody anew.
    """
    once = str(uuid5(NAMESPACE_OID, f"bedplate:answer:{facts['call']}"))
    summary = f"an answer that holds {facts['findings']}"
    with governor.act(by, GIVE, subject, facts=facts, summary=summary, request=once) as act:
        act.record("gateway.answer.given", {**facts, "to": to})


def revoke_key(governor: Governor, by: str, subject: str, key: str, reason: str) -> None:
    """End a key; calls with it are refused within a second."""
    with governor.act(by, REVOKE_KEY, subject, facts={"key": key}) as act:
        act.record("gateway.key.revoked", {"key": key, "reason": reason})


def note_canary(governor: Governor, by: str, tried: Tried) -> None:
    """Record that a control let its synthetic violation pass, or that one which did so does not any more."""
    facts: dict[str, Value] = {"control": tried.control, "why": tried.why, "call": tried.call}
    with governor.act(by, PROVE, tried.subject, facts=facts) as act:
        act.record("gateway.control.proven" if tried.fired else "gateway.control.unproven", facts)


def set_prices(governor: Governor, by: str, tariff: Tariff, in_force: Tariff, seq: int) -> None:
    """Put prices in force. `seq` is the event that put `in_force` there: of two changes at once only one succeeds.

    `Denied` if it would rewrite what was in force; `InvalidInput` (`no-change`) if it is in force already.
    """
    if tariff.digest == in_force.digest:
        raise InvalidInput("these prices are in force already", code="no-change")
    rewrites: list[Value] = [*rewritten(in_force.lines, tariff.lines, governor.clock())[:MAX_TOLD]]
    facts: dict[str, Value] = {"digest": tariff.digest, "base": in_force.digest, "rewrites": rewrites}
    once = str(uuid5(NAMESPACE_OID, f"bedplate:prices:{seq}"))
    with governor.act(by, SET_PRICES, PRICES, facts=facts, request=once) as act:
        contracts: list[Value] = [*sorted({line.contract for line in tariff.lines})[:MAX_CONTRACTS]]
        data: dict[str, Value] = {"digest": act.keep(content(tariff.lines)), "lines": len(tariff.lines)}
        act.record("gateway.prices.set", {**data, "contracts": contracts})
