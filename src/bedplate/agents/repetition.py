"""The same step asked for again: whoever was killed in the middle goes on, and nothing is done twice."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from bedplate.kernel.clock import SECOND
from bedplate.kernel.decision import Deny

from .effect import INTENDED, UNKNOWN, Effect
from .governance import ACT
from .refusal import Refusals
from .toolcall import Ruling

if TYPE_CHECKING:
    from .judge import Judged
    from .parts import Parts
    from .record import Act
    from .run import Run
    from .sight import Snapshot
    from .token import Actor
    from .toolcall import Told, ToolCall

LATEST = 15 * 60 * SECOND  # until then whoever was let through says what became of it; then nobody knows
MAX_PENDING = 10_000  # actions let through whose outcome is awaited
IN_HAND = 10 * SECOND  # so long whoever was let through has it in hand; who asks again later has lost it


class Pending(NamedTuple):
    """An action that was let through here, whose outcome is awaited."""

    act: Act
    arguments: dict[str, Any]
    effect: bool  # an intent of it is on record


class Repetitions(Refusals):
    """The door as far as it knows what was done before."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(parts)
        self.pending: OrderedDict[str, Pending] = OrderedDict()

    async def again(self, actor: Actor, call: ToolCall, run: Run, known: Effect) -> Ruling:
        """Answer a step that is on record under its key."""
        step = self._p.store.step_of(known.action)
        same = step is not None and call.digest in {step[1].digest, known.digest}
        snapshot = self._p.sight.snapshot
        standing = snapshot.standings.get(actor.subject)
        tier = standing.tier if standing is not None else known.tier
        if not same:
            act = self.judge.judged(actor, call, run, ACT)
            why = f"the step {call.key!r} was used for something else"
            return await self.denied(act, [("step-once", why, "give each step its own key")])
        if known.state == INTENDED:
            if self.in_time(known):
                return self.in_hand(call, run, known)
            known = self._p.store.settle(known.action, UNKNOWN)
        if known.state == UNKNOWN and known.idempotent and not self.strict(snapshot, tier, known.tier):
            judged = self.judge.judged(actor, call, run, ACT)
            judged.act.id = known.action
            verdict = self.judge.decided(judged, ACT)
            if isinstance(verdict, Deny):
                return await self._denied_again(judged, verdict)
            held = await asyncio.to_thread(self._p.store.retry, known.action, self._p.clock() + LATEST)
            if held.fresh:
                self.hold(judged.act, judged.arguments, effect=True)
                judged.act.step = known.step
                return judged.ruling("allow", "intended", [])
        return await self.told_again(call, run, known, tier)

    async def taken(self, judged: Judged, held: Effect) -> Ruling:
        """Somebody else has this action, or this step, in hand or has done it."""
        if held.state == INTENDED and self.in_time(held):
            return self.in_hand(judged.call, judged.run, held)
        return await self.told_again(judged.call, judged.run, held, judged.act.tier)

    def in_time(self, known: Effect) -> bool:
        """Tell whether whoever was let through still has it in hand: whoever asks again later has lost it."""
        return self._p.clock() - (known.due - LATEST if known.due else known.at) < IN_HAND

    def strict(self, snapshot: Snapshot, *tiers: int) -> bool:
        """Tell whether what nobody knows the outcome of is not tried again by itself: where intents are recorded."""
        model = snapshot.model
        plans = [model.plan(tier) if model is not None else None for tier in tiers]
        return any(plan is None or plan.intent for plan in plans)

    async def _denied_again(self, judged: Judged, verdict: Deny) -> Ruling:
        judged.act.id = f"act-{self._p.identify()}"
        return await self.denied(judged, [(r.control, r.why, r.fix) for r in verdict.reasons])

    def in_hand(self, call: ToolCall, run: Run, known: Effect) -> Ruling:
        """Answer that whoever was let through first is at it."""
        told = ("step-once", "this step is being carried out", "wait for its outcome: GET /agents/v1/actions/ID")
        ruling = Ruling("ask", known.action, run.id, known.step, call.tool, call.arguments, "intended", known.tier)
        ruling.reasons, ruling.wait_s = [told], 1
        return ruling

    async def told_again(self, call: ToolCall, run: Run, known: Effect, tier: int) -> Ruling:
        """Answer with what it came to."""
        ruling = Ruling("allow", known.action, run.id, known.step, call.tool, call.arguments, known.state, tier)
        if known.state in {INTENDED, UNKNOWN}:
            ruling.verdict, ruling.reasons = "deny", [unknown(known)]
            return ruling
        ruling.replayed, ruling.result = True, await self.result_of(known)
        return ruling

    async def result_of(self, effect: Effect) -> Any:  # noqa: ANN401  JSON
        """Return what an effect returned, as it is kept."""
        if effect.state in {INTENDED, UNKNOWN} or not effect.message:
            return None
        kept = await asyncio.to_thread(self._p.content, effect.message)
        return kept.get("result") if kept else None

    def hold(self, act: Act, arguments: dict[str, Any], *, effect: bool) -> None:
        """Keep an action in mind whose outcome is to come."""
        self.pending[act.id] = Pending(act, arguments, effect)
        while len(self.pending) > MAX_PENDING:
            self.pending.popitem(last=False)


def unknown(known: Effect) -> Told:
    """Say that nobody knows what became of an action, and who can say it."""
    why = f"nobody knows what became of it ({known.action}): it may have been done"
    return ("outcome-known", why, f"a person says what happened: bedplate actions conclude {known.action} ok|error")
