"""The fast door of actions: every tool call of every agent is decided, recorded and, where it must be, parked here."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.errors import BedplateError, Conflict, Denied, InvalidInput, NotFound, Unavailable
from bedplate.kernel.decision import Allow, Ask, Deny

from .effect import INTENDED, UNKNOWN, Effect
from .entrance import MAX_NAME, sha256
from .governance import ACT, DECOY, PERFORM
from .human import act_of, until
from .observer import observe
from .repetition import LATEST, Pending, Repetitions
from .run import Claim, Run
from .taint import Provenance
from .toolcall import READ, Outcome, Ruling, ToolCall
from .trial import Trials
from .views import parked_action

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.action import Action
    from bedplate.kernel.approval import Approval

    from .charter import Agent, Tool, Weighing
    from .human import Waiting
    from .judge import Judged
    from .record import Act
    from .token import Actor
    from .trace import Traced

MAX_ARGUMENTS = 1 << 20  # bytes
_encode = msgspec.json.Encoder().encode
OUTDATED = {"act-released", "epoch-current"}  # by what an agreement is void: another release, or a stop
ELSEWHERE = (
    "run-here",
    "people agreed to it in a run on another host, which alone knows whether it was done",
    "go on there, or begin a run of another name, in which people are asked anew",
)


@dataclass(frozen=True, slots=True)
class Parked:
    """An action that people are asked about: how that stands, and the arguments and key it was asked with first."""

    state: str
    first: dict[str, Any]
    key: str


class AgentDoor(Repetitions):
    """Decides what agents do. Refusals are answers, never exceptions."""

    async def propose(self, actor: Actor, call: ToolCall, *, action: Action = ACT) -> Ruling:
        """Decide one tool call. What is refused or waits is an answer; `Unavailable` if nothing can be recorded."""
        if not self._p.recorder.healthy:
            raise Unavailable("actions cannot be recorded now, so none is let through", hint="see /readyz")
        _checked(call)
        run = self.run_of(actor, call.run)
        if call.key and (known := self._p.store.effect_of(run.id, call.key)) is not None:
            return await self.again(actor, call, run, known)
        judged = self.judge.judged(actor, call, run, action)
        verdict = self.judge.decided(judged, action)
        if judged.window is not None and isinstance(verdict, Allow) and not self.judge.used(judged):
            judged.window = None  # others used it up meanwhile
            verdict = self.judge.decided(judged, action, covered=False)
        act = judged.act
        if isinstance(verdict, Deny):
            return await self.denied(judged, [(r.control, r.why, r.fix) for r in verdict.reasons])
        if isinstance(verdict, Ask) and not call.dry_run:
            return await self._asked(actor, judged)
        if judged.tool is None or judged.agent is None:
            raise Unavailable("the release is not loaded yet", hint="try again in a second")
        return await self._let(judged, judged.agent, judged.tool, act.id)

    async def decoy(self, actor: Actor, call: ToolCall, untrusted: str = "") -> Ruling:
        """Try a forbidden action: judged and recorded as any other, but never let through and never counted.

        `untrusted` is what its run would have read from outsiders before.
        """
        if not self._p.recorder.healthy:
            raise Unavailable("actions cannot be recorded now, so none is tried", hint="see /readyz")
        run = Run(call.run, actor.subject, actor.agent, actor.key, started=self._p.clock())
        seen = Provenance(self._p.salt)
        if untrusted:
            seen.distrust(untrusted, 1, call.tool)
        judged = self.judge.judged(actor, call, run, DECOY, seen)
        verdict, act = self.judge.decided(judged, DECOY), judged.act
        reasons = [(r.control, r.why, r.fix) for r in verdict.reasons] if isinstance(verdict, Deny) else act.reasons
        act.verdict = "deny" if isinstance(verdict, Deny) else "ask" if isinstance(verdict, Ask) or reasons else "allow"
        act.status, act.reasons = "decoy", reasons
        await self._p.recorder.record(act, "act.decoy", act.id, {"arguments": call.arguments})
        return judged.ruling(act.verdict, "denied", reasons)

    async def settle(self, actor: Actor, action: str, outcome: Outcome) -> None:
        """Take note of what became of an action that was let through. Saying it twice changes nothing."""
        pending = self.pending.get(action) or Pending(self.act_of(action), {}, effect=True)
        act, arguments = pending.act, pending.arguments
        if (act.subject, act.agent) != (actor.subject, actor.agent):
            raise NotFound(f"there is no action {action} of {actor.agent}")
        effect = self._p.store.effect(action) if pending.effect else None
        if effect is not None and effect.state not in {INTENDED, UNKNOWN}:
            return
        if self.pending.pop(action, None) is None and effect is None:
            step = self._p.store.step_of(action)
            if step is None or step[1].verdict != "allow" or (act.sort != READ and not act.dry_run):
                raise Conflict(f"{action} was not let through", hint="ask first: POST /agents/v1/actions")
            if step[1].state in {"ok", "error", UNKNOWN}:
                return
        result = _encode(outcome.result) if outcome.result is not None else b""
        act.status, act.latency_us = outcome.status, outcome.latency_us
        act.verdict, act.result_sha256 = "allow", sha256(result) if result else ""
        read = self.memory.readings(act, arguments, outcome)
        kind = {"ok": "act.completed", "error": "act.failed", "unknown": "act.unknown"}[outcome.status]
        kept = {"result": outcome.result, "message": outcome.message} if effect is not None else None
        name = (
            action if effect is None or (effect.tries == 1 and effect.state == INTENDED) else f"{action}/{effect.tries}"
        )
        with suppress(Conflict):  # it was said at the same time, and the same
            await self._p.recorder.record(act, kind, name, kept)
        with self._p.store.writing():
            self.memory.learn(act, read)
            if effect is not None:
                digest, took = act.result_sha256, outcome.latency_us
                self._p.store.settle(action, outcome.status, result_sha256=digest, message=name, latency_us=took)
            else:
                self._p.store.mark(action, outcome.status, "allow")
            trips = self._p.watch.ended(act, outcome)
        if trips:
            await self._p.watch.tell(act.subject, trips)

    async def state(self, actor: Actor, action: str) -> Ruling:
        """Return how an action stands: what waits, what people said, what became of it."""
        found = self._p.store.step_of(action)
        if found is None:
            raise NotFound(f"there is no action {action}")
        run = self.run_of(actor, found[0])
        step, effect = found[1], self._p.store.effect(action)
        ruling = Ruling(step.verdict, action, run.id, step.number, step.tool, {}, step.state)
        ruling.reasons, ruling.tainted = list(step.reasons), list(step.tainted)
        if effect is not None:
            ruling.verdict, ruling.state, ruling.replayed = "allow", effect.state, effect.state != INTENDED
            ruling.result = await self.result_of(effect)
            return ruling
        if (waiting := await asyncio.to_thread(self._p.people.of, action)) is not None:
            told_of(ruling, waiting, self._p.clock())
        return ruling

    async def parked(self, actor: Actor, action: str) -> Parked | None:
        """Return an action that waits as it was asked first, for whoever only has its handle; None if it does not."""
        found = self._p.store.step_of(action)
        if found is None:
            return None
        self.run_of(actor, found[0])
        waiting = await asyncio.to_thread(self._p.people.of, action)
        kept = await asyncio.to_thread(self._p.content, f"{action}/parked")
        if waiting is None or kept is None:
            return None
        return Parked(waiting.state, dict(kept["arguments"]), found[1].key)

    def answered(self, approval: Approval) -> None:
        """Count what people said of an action: who is refused again and again is stopped."""
        if approval.action == PERFORM.name and approval.state in {"granted", "refused"}:
            row = parked_action(self._p.people.engine, approval.id)
            if Trials(self).known(row["action"]):
                return  # what people are tried with is none of the agent's doing
            trips = self._p.watch.answered(act_of(row, approval), granted=approval.state == "granted")
            self._p.watch.tell_now(approval.subject, trips)

    async def lost(self, effect: Effect) -> None:
        """Put on record that nobody knows what became of an action: its process died, or its time is over."""
        act = self.act_of(effect.action)
        act.status, act.digest, act.tier = UNKNOWN, effect.digest, effect.tier
        with suppress(Conflict):  # it was found before
            await self._p.recorder.record(act, "act.unknown", f"{effect.action}/lost-{effect.tries}")
        self.pending.pop(effect.action, None)

    def concluded(self, action: str, state: str) -> None:
        """Follow a person who said what became of an action."""
        self._p.store.settle(action, state)  # type: ignore[arg-type]  # ok or error

    def reweighed(self, row: Mapping[str, Any], arguments: dict[str, Any], before: dict[str, Any]) -> Weighing:
        """Judge arguments that a person changed: `Denied` if the rules forbid them, whoever agrees."""
        return self.judge.reweighed(row, arguments, before)

    async def observed(self, told: Actor, traced: Traced) -> bool:
        """Judge and record an action that was done beside the door; False if it is on record, or passed the door."""
        return await observe(self, told, traced)

    # Answering

    async def _asked(self, actor: Actor, judged: Judged) -> Ruling:
        """Answer with what people said of exactly this, or ask them."""
        act, agent, tool = judged.act, judged.agent, judged.tool
        waiting = await self._counting(act)
        if waiting is None:
            return await self._park(judged)
        if waiting.state not in {"granted", "spent"} or agent is None or tool is None:
            return self._answered(judged, waiting)
        if self._p.store.step_of(waiting.row["action"]) is None:
            return await self.denied(judged, [ELSEWHERE])  # only there is known whether it was begun
        if waiting.state == "spent":  # killed between agreement and effect: it is still to do
            return await self._resumed(judged, agent, tool, waiting, self._p.people.arguments(waiting.row))
        try:
            arguments = await self._p.people.spend(waiting, actor.key)
        except Denied as refusal:
            if {control for control, _, _ in refusal.reasons} <= OUTDATED:
                return await self._park(judged)  # what was agreed to counts no more: people are asked anew
            return await self.denied(judged, list(refusal.reasons))
        except Conflict:  # another process was asked the same at once, and won
            return self._answered(judged, waiting)
        return await self._resumed(judged, agent, tool, waiting, arguments)

    async def _counting(self, act: Act) -> Waiting | None:
        """Return what people were asked about exactly this call, if it still counts; None: they are to be asked."""
        waiting = await self._p.people.asked(act.run, act.digest)
        if waiting is None or waiting.state == "voided":
            return None
        if waiting.state == "spent":
            if self._p.store.effect(waiting.row["action"]) is not None:
                return None  # it was done: the same again is another action
            if self._p.people.bound(waiting) != (act.release, act.epoch):
                return None
        return waiting

    async def _resumed(
        self, judged: Judged, agent: Agent, tool: Tool, waiting: Waiting, arguments: dict[str, Any]
    ) -> Ruling:
        act, row = judged.act, waiting.row
        act.id, act.approval, act.reasons = row["action"], row["approval"], []
        act.edited = arguments != judged.call.arguments
        judged.arguments = arguments
        act.digest = row["arguments_sha256"]
        act.amount = int(row["amount_micro"])
        return await self._let(judged, agent, tool, act.id, agreed=True)

    async def _park(self, judged: Judged) -> Ruling:
        act, agent = judged.act, judged.agent
        if agent is None:
            raise Unavailable("the release is not loaded yet", hint="try again in a second")
        act.verdict, act.status = "ask", "parked"
        claim = Claim(agent.limits, act.amount, act.sort, held=False)
        with self._p.store.writing():
            placed = self._p.store.take(judged.run.id, judged.step("ask", "parked", act.reasons), claim)
            act.step = placed.number
            trips = self._p.watch.parked(judged.run, act) if placed.told is None else []
        if placed.told is not None:
            return await self.over(judged, placed.told)
        why = "; ".join(why for _, why, _ in act.reasons)
        try:
            act.approval = await self._p.people.park(act, judged.arguments, why)
        except BedplateError:
            self._p.store.mark(act.id, "denied", "deny")
            raise
        if trips:
            await self._p.watch.tell(act.subject, trips)
        ruling = judged.ruling("ask", "parked", act.reasons)
        ruling.wait_s = 5
        return ruling

    def _answered(self, judged: Judged, waiting: Waiting) -> Ruling:
        ruling = judged.ruling("ask", "parked", judged.act.reasons)
        ruling.action, ruling.approval = waiting.row["action"], waiting.row["approval"]
        known = self._p.store.step_of(ruling.action)
        ruling.step = known[1].number if known is not None else 0
        told_of(ruling, waiting, self._p.clock())
        if waiting.state == "answer":
            ruling.result = self._p.people.answer_of(waiting.row)
        return ruling

    async def _let(self, judged: Judged, agent: Agent, tool: Tool, action: str, *, agreed: bool = False) -> Ruling:
        """Let it through: within the limits, on record before it is done, and done once."""
        act, call, run = judged.act, judged.call, judged.run
        act.verdict, act.status = "allow", "intended"
        act.reasons = [judged.window.told] if judged.window is not None else []
        writes = act.sort != READ and not call.dry_run
        claim = Claim(agent.limits, act.amount if writes else 0, act.sort if writes else READ)
        with self._p.store.writing():
            if agreed:
                told = self._p.store.claim(action, claim)
                known = self._p.store.step_of(action)
                act.step = known[1].number if known is not None else 0
            else:
                state = "dry-run" if call.dry_run else "intended"
                placed = self._p.store.take(run.id, judged.step("allow", state, []), claim)
                act.step, told = placed.number, placed.told
            trips = self._p.watch.let(run, act) if told is None else []
        if told is not None:
            return await self.over(judged, told)
        if any(t.state == "open" for t in trips):  # it was one too many: what opened stops this very call
            self._p.store.give_back(action)
            self._p.store.mark(action, "denied", "deny")
            await self._p.watch.tell(act.subject, trips)
            return await self.late(judged, [("breaker-closed", f"{t.scope}: {t.why}", t.fix) for t in trips])
        if writes or call.key:
            effect = Effect(
                action=action,
                key=call.key,
                tool=call.tool,
                digest=act.digest,
                tier=act.tier,
                idempotent=tool.idempotent,
                at=act.started,
                due=act.started + LATEST,
            )
            held = await asyncio.to_thread(self._p.store.intend, run.id, act.step, effect)
            if not held.fresh:
                return await self.taken(judged, held)
        if writes or (judged.plan is not None and judged.plan.intent):
            await self._p.recorder.record(act, "act.intent", f"{action}/intent", {"arguments": judged.arguments})
        self.hold(act, judged.arguments, effect=writes or bool(call.key))
        ruling = judged.ruling("allow", "intended", act.reasons)
        ruling.edited, ruling.arguments = act.edited, judged.arguments
        if call.dry_run and tool.dry_run:
            ruling.arguments = {**judged.arguments, tool.dry_run: True}
        elif tool.idempotency:
            ruling.arguments = {**ruling.arguments, tool.idempotency: action}
        return ruling


def told_of(ruling: Ruling, waiting: Waiting, now: int) -> None:
    """Say what people said of an action that waits."""
    row, reason = waiting.row, str(waiting.row["reason"])
    ruling.approval, ruling.action = row["approval"], row["action"]
    match waiting.state:
        case "asked":
            ruling.verdict, ruling.state, ruling.wait_s = "ask", "parked", until(row, now)
        case "granted" | "spent":
            ruling.verdict, ruling.state, ruling.wait_s = "ask", "parked", 1
        case "answer":
            ruling.verdict, ruling.state, ruling.replayed, ruling.reasons = "allow", "settled", True, []
        case "take-over":
            told = ("taken-over", f"{row['by']} took it over: {reason}", "go on without it; do not repeat it")
            ruling.verdict, ruling.state, ruling.reasons = "deny", "settled", [told]
        case "refused":
            said = f"{row['by']} refused it: {reason}" if reason else f"{row['by']} refused it"
            ruling.verdict, ruling.state = "deny", "denied"
            ruling.reasons = [("refused", said, "do not repeat it; ask for something else")]
        case _:
            told = ("expired", "nobody agreed in time, which is a no", "begin another run if it is still wanted")
            ruling.verdict, ruling.state, ruling.reasons = "deny", "denied", [told]


def _checked(call: ToolCall) -> None:
    if not 0 < len(call.tool) <= MAX_NAME or not call.tool.isprintable():
        raise InvalidInput(f"`tool` is 1 to {MAX_NAME} printable characters")
    if len(call.key) > MAX_NAME:
        raise InvalidInput(f"`key` is at most {MAX_NAME} characters")
    if len(_encode(call.arguments)) > MAX_ARGUMENTS:
        raise InvalidInput(f"the arguments are larger than {MAX_ARGUMENTS} bytes", code="request-too-large")
