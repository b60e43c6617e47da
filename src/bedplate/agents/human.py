"""People in the loop: an action that must be agreed to is parked as a question on the ledger, and found there again.

Nobody waits in memory. The question binds run, tool, arguments, release and epoch; what people agree to is spent, once,
before the action is let through. The arguments are sealed in the journal, for those who decide to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from bedplate.errors import Conflict, InvalidInput, NeedsApproval, NotFound, Unavailable
from bedplate.kernel.clock import SECOND
from bedplate.store.reads import read_standing

from . import actions, views
from .reviewer import lowered
from .toolcall import ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor

    from .charter import Weighing
    from .record import Act, ActRecorder

Judge = Callable[[Mapping[str, Any], dict[str, Any], dict[str, Any]], "Weighing"]
POLL_S = 5  # how soon to ask again about what waits
ANSWERS = ("answer", "take-over")


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is known of a question about an action."""

    row: Mapping[str, Any]

    @property
    def state(self) -> str:
        """asked, granted, refused, expired, voided, spent, answer or take-over."""
        return str(self.row["state"])


class People:
    """Parks actions, and tells what people said. `content` opens what a journal record keeps."""

    def __init__(
        self,
        engine: Engine,
        governor: Governor,
        recorder: ActRecorder,
        approval: Callable[[str], Approval],
        content: Callable[[str], dict[str, Any] | None],
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._governor = governor
        self._recorder = recorder
        self._approval = approval
        self._content = content
        self._clock = clock

    @property
    def engine(self) -> Engine:
        """The database in which questions are found."""
        return self._engine

    async def asked(self, run: str, digest: str) -> Waiting | None:
        """Return what is on record of this very call, if people were asked about it."""
        with _reachable():
            row = await asyncio.to_thread(views.waiting_for, self._engine, run, digest)
        return None if row is None else self._timely(row)

    def of(self, action: str) -> Waiting | None:
        """Return what people were last asked about an action."""
        with _reachable():
            row = views.parked_of(self._engine, action)
        return None if row is None else self._timely(row)

    async def park(self, act: Act, arguments: Mapping[str, Any], why: str) -> str:
        """Keep the arguments, ask the people whom the tier names, and return the approval."""
        content = f"{act.id}/parked"
        await self._recorder.record(act, "act.parked", content, {"arguments": arguments})
        return await asyncio.to_thread(self._ask, act, facts_of(act, content), _summary(act, why))

    def _ask(self, act: Act, facts: Mapping[str, Value], summary: str) -> str:
        try:
            with _reachable():
                actions.perform(self._governor, act.key, act.subject, facts, summary)
        except NeedsApproval as needed:
            return needed.approval
        raise Unavailable("nobody was asked, and nothing was done", hint="try again")

    async def spend(self, waiting: Waiting, by: str) -> dict[str, Any]:
        """Spend what was agreed to and return the arguments that it was about.

        Raises what the one door says: `Denied` after a stop or a new release, `Conflict` if it was spent already.
        """
        return await asyncio.to_thread(self._spend, waiting, by)

    def bound(self, waiting: Waiting) -> tuple[str, str]:
        """Return the release and the stop epoch for which people agreed."""
        with _reachable():
            facts = self._approval(waiting.row["approval"]).facts
        return str(facts["release"]), str(facts["epoch"])

    def _spend(self, waiting: Waiting, by: str) -> dict[str, Any]:
        with _reachable():
            approval = self._approval(waiting.row["approval"])
            arguments = self.arguments(waiting.row)  # before it is spent: what cannot be read cannot be done
            actions.perform(self._governor, by, approval.subject, approval.facts, approval.summary)
        return arguments

    def arguments(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that a question is about; `NotFound` if they were erased."""
        kept = self._content(row["content"])
        if kept is None or "arguments" not in kept:
            raise NotFound("the arguments of this action are gone", hint="have the agent ask anew")
        found = dict(kept["arguments"])
        if ToolCall(row["run"], row["tool"], found).digest != row["arguments_sha256"]:
            raise Conflict("the arguments that are kept are not those that were asked about")
        return found

    def answer_of(self, row: Mapping[str, Any]) -> str:
        """Return what a person answered in the tool's place."""
        kept = self._content(row["now"]) if row["now"] else None
        return str(kept["answer"]) if kept and "answer" in kept else ""

    # What people do, by way of API, console and CLI

    def edit(self, by: str, approval_id: str, arguments: dict[str, Any], reason: str, judge: Judge) -> str:
        """Change the arguments of an action that waits. `judge` refuses what the rules forbid; votes begin anew.

        Whoever edits cannot agree to it. Returns the new question.
        """
        approval, row, act = self._open(approval_id, by, "edit")
        before = self.arguments(row)
        if arguments == before:
            raise InvalidInput("nothing differs", hint="approve it, or change an argument", code="no-change")
        weighed = judge(row, arguments, before)
        call = ToolCall(row["run"], row["tool"], arguments)
        content = f"{row['action']}/edit-{approval.id.rpartition('/')[2]}"
        act.digest, act.edited, act.amount, act.unit = call.digest, True, weighed.amount, weighed.unit
        self._recorder.record_sync(act, "act.edited", content, {"arguments": arguments, "by": by})
        facts: dict[str, Value] = {
            **approval.facts,
            "arguments_sha256": call.digest,
            "content": content,
            "amount_micro": weighed.amount,
            "unit": weighed.unit,
            "tainted": [[t.argument, t.step, t.source] for t in weighed.tainted],
            "editor": by,
            "instead_of": approval.id,
        }
        new = self._ask(act, facts, f"{approval.summary}, changed by {by}")
        actions.settle(self._governor, by, approval, how="edit", sha256=call.digest, reason=reason, now=new)
        return new

    def answer(self, by: str, approval_id: str, text: str, reason: str) -> None:
        """Give the agent a person's answer in place of what the tool would return."""
        if not text.strip():
            raise InvalidInput("an answer needs a text", hint="or take the action over, or refuse it")
        approval, row, act = self._open(approval_id, by, "answer")
        content = f"{row['action']}/answer"
        act.status = "settled"
        self._recorder.record_sync(act, "act.answered", content, {"answer": text, "by": by})
        actions.settle(self._governor, by, approval, how="answer", sha256="", reason=reason, now=content)

    def take_over(self, by: str, approval_id: str, reason: str) -> None:
        """Have a person do it: the agent is told so, and the action is closed."""
        if not reason.strip():
            raise InvalidInput("say what you do about it: the agent is told", hint="--reason '...'")
        approval, _, _ = self._open(approval_id, by, "take-over")
        actions.settle(self._governor, by, approval, how="take-over", sha256="", reason=reason)

    def _open(self, approval_id: str, by: str, how: str) -> tuple[Approval, dict[str, Any], Act]:
        row = views.parked_action(self._engine, approval_id)
        approval = self._approval(approval_id)
        with self._engine.connect() as connection:
            why = lowered(read_standing(connection, f"person/{by}"))
        actions.may_settle(self._governor, by, approval, how, why)
        if not approval.open(self._clock()):
            state = "expired" if approval.state == "asked" else approval.state
            raise Conflict(f"{approval_id} is {state}: there is nothing to settle", hint="see bedplate actions")
        return approval, row, act_of(row, approval)

    def _timely(self, row: dict[str, Any]) -> Waiting:
        if row["state"] in views.OPEN and row["expires"] <= self._clock():
            row = {**row, "state": "expired"}  # whatever the worker is at: expiry is a no
        return Waiting(row)


@contextmanager
def _reachable() -> Iterator[None]:
    """Say that people cannot be asked where the database does not answer: nothing is let through without them."""
    try:
        yield
    except SQLAlchemyError as away:
        why = "the database does not answer, so people cannot be asked, and nothing was done"
        raise Unavailable(why, hint="try again") from away


def facts_of(act: Act, content: str) -> dict[str, Value]:
    """Return what people's agreement to an action is bound to."""
    return {
        "action": act.id,
        "agent": act.agent,
        "amount_micro": act.amount,
        "arguments_sha256": act.digest,
        "class": act.sort,
        "content": content,
        "epoch": act.epoch,
        "release": act.release,
        "run": act.run,
        "step": act.step,
        "tainted": [[t.argument, t.step, t.source] for t in act.tainted],
        "tier": act.tier,
        "tool": act.tool,
        "unit": act.unit,
        "why": [[name, why] for name, why, _ in act.reasons],
    }


def act_of(row: Mapping[str, Any], approval: Approval) -> Act:
    """Return an action as the question about it says."""
    from .record import Act  # noqa: PLC0415  it imports what writes

    return Act(
        id=row["action"],
        subject=row["subject"],
        agent=row["agent"],
        key=approval.requester,
        run=row["run"],
        tool=row["tool"],
        sort=row["class"],
        digest=row["arguments_sha256"],
        started=row["asked_at"],
        step=int(str(approval.facts.get("step", 0))),
        tier=row["tier"],
        release=str(approval.facts.get("release", "")),
        epoch=str(approval.facts.get("epoch", "")),
        verdict="ask",
        status="parked",
        approval=approval.id,
        amount=row["amount_micro"],
        unit=row["unit"],
    )


def until(row: Mapping[str, Any], now: int) -> int:
    """Return in how many seconds to ask again about what waits."""
    return max(1, min(POLL_S, (int(row["expires"]) - now) // SECOND))


def _summary(act: Act, why: str) -> str:
    amount = f" over {act.amount / 1_000_000:.2f} {act.unit}".rstrip() if act.amount else ""
    return f"{act.agent} asks to use {act.tool}{amount}: {why}"[:500]
