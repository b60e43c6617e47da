"""What is done about agents through the one door: what people agreed to, stops, windows, breakers, tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

from bedplate.errors import Conflict, Denied, InvalidInput
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY
from bedplate.kernel.decision import Deny

from .governance import (
    CLOSE,
    CONCLUDE,
    DRILL,
    END_WINDOW,
    JUDGE,
    LIFT,
    LIFT_ALL,
    LOOK,
    LOWER,
    OPEN_WINDOW,
    PERFORM,
    PLANT,
    PROVE,
    REMIND,
    RESTORE,
    SETTLE,
    STOP,
    STOP_ALL,
    SWEEP,
    TRIP,
)
from .reviewer import lowered
from .stop import ALL, WHOLE, stopped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor

    from .notice import Reminder

MAX_WINDOW = 92 * DAY
VOID_AT_ONCE = 500  # what waits beyond that is void by its epoch, and closed when its time is over


def perform(governor: Governor, by: str, subject: str, facts: Mapping[str, Value], summary: str) -> None:
    """Spend people's agreement to exactly this action, once; `NeedsApproval` while there is none.

    `Conflict` (`already-done`) if it was spent before.
    """
    once = str(uuid5(NAMESPACE_OID, f"bedplate:action:{facts['action']}:{facts['arguments_sha256']}"))
    with governor.act(by, PERFORM, subject, facts=dict(facts), summary=summary, request=once) as act:
        if why := stopped(act.tx.standing(ALL)):  # the exact record, not the one a moment ago
            reason = ("act-not-stopped", f"stopped: {why}", "it goes on once the stop is lifted: bedplate stop --lift")
            raise Denied(reason[1], hint=reason[2], reasons=(reason,))
        told = {name: facts[name] for name in ("action", "run", "tool", "arguments_sha256")}
        act.record("agents.action.performed", told)


def may_settle(governor: Governor, by: str, approval: Approval, how: str, lowered: str) -> None:
    """Refuse, on record, whoever may not answer, edit or take over, before anything is made of it.

    `lowered`: why their answers do not count for now; "" if they do.
    """
    facts: dict[str, Value] = {"approval": approval.id, "how": how, "lowered": lowered}
    _, verdict = governor.judge(by, SETTLE, approval.subject, facts)
    if isinstance(verdict, Deny):
        with governor.act(by, SETTLE, approval.subject, facts=facts):
            pass  # it raises, and says so on the ledger


def settle(
    governor: Governor, by: str, approval: Approval, *, how: str, sha256: str, reason: str, now: str = ""
) -> None:
    """Note that a person answered, edited or took over an action, and close the question about it."""
    if approval.action != PERFORM.name:
        raise InvalidInput(f"{approval.id} is not about an action of an agent", hint="list them: bedplate actions")
    facts: dict[str, Value] = {"approval": approval.id, "how": how, "sha256": sha256}
    with governor.act(by, SETTLE, approval.subject, facts=facts) as act:
        known = act.tx.approval(approval.id)
        if known is None or known.state not in {"asked", "granted"}:
            state = known.state if known is not None else "gone"
            raise Conflict(f"{approval.id} is {state}: there is nothing to settle", hint="see bedplate actions")
        act.record("kernel.approval.voided", {"by": sha256 or how}, on=approval.id)
        action = str(approval.facts["action"])
        act.record("agents.action.settled", {**facts, "action": action, "reason": reason, "now": now})


def conclude(governor: Governor, by: str, subject: str, action: str, *, state: str, reason: str) -> None:
    """Note what became of an action of which nobody knew it: `ok` or `error`."""
    if state not in {"ok", "error"}:
        raise InvalidInput(f"an action ends `ok` or `error`, not {state!r}")
    if not reason.strip():
        raise InvalidInput("say how you know: --reason '...'")
    facts: dict[str, Value] = {"action": action, "state": state, "reason": reason}
    with governor.act(by, CONCLUDE, subject, facts=facts) as act:
        act.record("agents.action.concluded", facts)


def look(governor: Governor, by: str, approval: Approval) -> None:
    """Note, once for a person, that somebody looks at an action that waits: how long they take is measured from it."""
    once = str(uuid5(NAMESPACE_OID, f"bedplate:seen:{approval.id}:{by}"))
    facts: dict[str, Value] = {"approval": approval.id, "person": by}
    with governor.act(by, LOOK, approval.subject, facts=facts, request=once) as act:
        act.record("agents.action.seen", facts, on=approval.id)


def stop(governor: Governor, by: str, subject: str, *, agent: str = "", reason: str) -> None:
    """Stop every agent (`agents/all`), all agents and calls of a use case, or one agent of it.

    What waits for people is void at once, by its epoch; the newest questions are closed in the same transaction.
    """
    if not reason.strip():
        raise InvalidInput("a stop needs a reason", hint="--reason '...'")
    scope = agent or WHOLE
    action = STOP_ALL if subject == ALL else STOP
    if subject == ALL and agent:
        raise InvalidInput("name the use case of the agent", hint=f"bedplate stop USE-CASE --agent {agent}")
    facts: dict[str, Value] = {"scope": scope, "reason": reason}
    with governor.act(by, action, subject, facts=facts) as act:
        act.record("agents.stop.raised", facts)
        waiting = act.tx.approvals(subject, PERFORM.name) if subject != ALL else ()
        mine = [a for a in waiting if not agent or a.facts.get("agent") == agent]
        for approval in mine[:VOID_AT_ONCE]:
            act.record("kernel.approval.voided", {"by": "stop"}, on=approval.id)


def sweep(governor: Governor, subject: str, approvals: Sequence[str]) -> int:
    """Close questions that count no more; returns how many there still were."""
    with governor.act(SYSTEM, SWEEP, subject, facts={"count": len(approvals)}) as act:
        found = [known for name in approvals if (known := act.tx.approval(name)) is not None]
        waiting = [a for a in found if a.state in {"asked", "granted"}]
        for approval in waiting:
            act.record("kernel.approval.voided", {"by": "stop"}, on=approval.id)
    return len(waiting)


def lift(governor: Governor, by: str, subject: str, *, agent: str = "", reason: str) -> None:
    """Let what was stopped go on; `NeedsApproval` until the bodies agree that resume the use case."""
    if not reason.strip():
        raise InvalidInput("say why it may go on", hint="--reason '...'")
    facts: dict[str, Value] = {"scope": agent or WHOLE, "reason": reason}
    what = "all agents" if subject == ALL else agent or "its agents and calls"
    with governor.act(
        by, LIFT_ALL if subject == ALL else LIFT, subject, facts=facts, summary=f"let {what} go on"
    ) as act:
        act.record("agents.stop.lifted", facts)


def carry_out_lift(governor: Governor, approval: Approval) -> None:
    """Lift a stop once the bodies agreed."""
    if approval.state == "granted":
        scope, reason = str(approval.facts["scope"]), str(approval.facts["reason"])
        agent = "" if scope == WHOLE else scope
        lift(governor, approval.requester, approval.subject, agent=agent, reason=reason)


def note_drill(governor: Governor, by: str, subject: str, release: str, drill: Mapping[str, Value]) -> None:
    """Record how a tried stop came out; with a release named, as evidence about it."""
    with governor.act(by, DRILL, subject, facts={**drill, "release": release}) as act:
        act.record("agents.stop.drilled", dict(drill))


def trip(governor: Governor, subject: str, *, scope: str, signal: str, why: str) -> None:
    """Record that a breaker opened."""
    facts: dict[str, Value] = {"scope": scope, "signal": signal, "why": why}
    with governor.act(SYSTEM, TRIP, subject, facts=facts) as act:
        act.record("agents.breaker.tripped", facts)


def close_breaker(governor: Governor, by: str, subject: str, scope: str, reason: str) -> None:
    """Close a breaker."""
    if by != SYSTEM and not reason.strip():
        raise InvalidInput("say why it may go on", hint="--reason '...'")
    facts: dict[str, Value] = {"scope": scope, "reason": reason}
    with governor.act(by, TRIP if by == SYSTEM else CLOSE, subject, facts=facts) as act:
        act.record("agents.breaker.closed", facts)


def open_window(governor: Governor, by: str, subject: str, facts: Mapping[str, Value], summary: str) -> None:
    """Ask that an agent may do some things without asking each time; carried out once people agreed.

    `facts`: window (its id), agent, tool, amount_micro (each), total_micro (all), unit, counterparties, count, until,
    and what it is bound to: epoch and release.
    """
    if not governor.clock() < int(str(facts["until"])) <= governor.clock() + MAX_WINDOW:
        raise InvalidInput("a window ends within 92 days", hint="--until 2026-12-31")
    with governor.act(by, OPEN_WINDOW, subject, facts=dict(facts), summary=summary) as act:
        act.record("agents.window.opened", dict(facts))


def carry_out_window(governor: Governor, approval: Approval) -> None:
    """Open a window once people agreed."""
    if approval.state == "granted":
        open_window(governor, approval.requester, approval.subject, approval.facts, approval.summary)


def shut_window(governor: Governor, by: str, subject: str, window: str, reason: str) -> None:
    """End what was agreed beforehand."""
    facts: dict[str, Value] = {"window": window, "reason": reason}
    with governor.act(by, END_WINDOW, subject, facts=facts) as act:
        act.record("agents.window.shut", facts)


def note_decoy(governor: Governor, by: str, subject: str, *, decoy: str, action: str, why: str, held: bool) -> None:
    """Record that a forbidden action was let through, or that one which was is stopped again."""
    facts: dict[str, Value] = {"decoy": decoy, "action": action, "why": why}
    with governor.act(by, PROVE, subject, facts=facts) as act:
        act.record("agents.decoy.stopped" if held else "agents.decoy.passed", facts)


def remind(governor: Governor, subject: str, reminders: Sequence[Reminder]) -> list[Reminder]:
    """Record who is told of actions of one use case that wait; returns those that still waited."""
    with governor.act(SYSTEM, REMIND, subject, facts={"count": len(reminders)}) as act:
        open_now = []
        for one in reminders:
            known = act.tx.approval(one.approval)
            if known is not None and known.open(governor.clock()):
                open_now.append(one)
                told: dict[str, Value] = {"step": one.step, "body": one.body, "people": list(one.people)}
                act.record("agents.action.reminded", {**told, "due": one.due}, on=one.approval)
    return open_now


def plant(governor: Governor, subject: str, commitment: str) -> None:
    """Commit to a known-bad action before it is put among those that wait."""
    with governor.act(SYSTEM, PLANT, subject, facts={"commitment": commitment}) as act:
        act.record("agents.test.planted", {"commitment": commitment})


def judge_test(governor: Governor, subject: str, told: Sequence[Mapping[str, Value]], approval: str) -> None:
    """Reveal a known-bad action once it was answered, with each answer; what was agreed to it counts nothing."""
    with governor.act(SYSTEM, JUDGE, subject, facts={"approval": approval}) as act:
        known = act.tx.approval(approval)
        if known is not None and known.state in {"asked", "granted"}:
            act.record("kernel.approval.voided", {"by": "test"}, on=approval)
        for one in told:
            act.record("agents.test.judged", dict(one))


def lower_reviewer(governor: Governor, person: str, why: str) -> None:
    """Have somebody's answers about actions count no more until they are trained anew."""
    facts: dict[str, Value] = {"person": person, "why": why, "until": 0}
    with governor.act(SYSTEM, LOWER, f"person/{person}", facts=facts) as act:
        act.record("agents.reviewer.lowered", facts)


def restore_reviewer(governor: Governor, by: str, person: str, why: str) -> None:
    """Have somebody's answers about actions count again."""
    if not why.strip():
        raise InvalidInput("say how they were trained", hint="--reason '...'")
    facts: dict[str, Value] = {"person": person, "why": why}
    with governor.act(by, RESTORE, f"person/{person}", facts=facts) as act:
        if not lowered(act.tx.standing(f"person/{person}")):
            raise Conflict(f"{person}'s answers count already", hint="see bedplate oversight")
        act.record("agents.reviewer.restored", facts)
