"""Actions that passed no door, judged after the fact: seen, and marked as not enforced."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from bedplate.errors import Conflict
from bedplate.kernel.decision import Ask, Deny

from .governance import ACT
from .repetition import IN_HAND, LATEST
from .run import Run
from .token import Actor
from .toolcall import Outcome, ToolCall
from .trace import NOT_ENFORCED

if TYPE_CHECKING:
    from .entrance import Entrance
    from .trace import Traced


async def observe(door: Entrance, told: Actor, traced: Traced) -> bool:
    """Judge and record an action that was done beside the door; False if it is on record, or passed the door."""
    charter = door.parts.sight.snapshot.charters.get(told.subject)
    actor = told if told.agent else Actor(traced.agent, told.subject, told.key)
    name = traced.named(charter.tools if charter is not None else {})
    tool = charter.tools.get(name) if charter is not None else None
    once = tool.idempotency if tool is not None else ""
    arguments = {key: value for key, value in traced.arguments.items() if key != once}
    call = ToolCall(traced.run_of(actor.agent), name, arguments)
    action, store = traced.id(actor.subject), door.parts.store
    passed = str(traced.arguments.get(once, "")) if once else ""
    since, until = traced.started - LATEST, traced.ended + IN_HAND
    if store.step_of(action) is not None or (passed and store.step_of(passed) is not None):
        return False
    if store.let_like(actor.subject, actor.agent, call.digest, since, until):
        return False
    run = store.begin(Run(call.run, actor.subject, actor.agent, actor.key, started=traced.started))
    judged = door.judge.judged(actor, call, run, ACT)
    act = judged.act
    act.id, act.route, act.started = action, "observed", door.parts.clock()
    verdict = door.judge.decided(judged, ACT, covered=False)
    denies = [(r.control, r.why, r.fix) for r in verdict.reasons] if isinstance(verdict, Deny) else []
    act.verdict = "deny" if denies else "ask" if isinstance(verdict, Ask) else "allow"
    act.reasons, act.status = [NOT_ENFORCED, *(denies or act.reasons)], "observed"
    act.latency_us = traced.ended - traced.started
    act.started = traced.started
    act.step = store.step(run.id, judged.step(act.verdict, "error" if traced.error else "ok", act.reasons))
    kept = {"arguments": call.arguments, "result": traced.result, "message": traced.error}
    with suppress(Conflict):  # another request told of it a moment ago
        await door.parts.recorder.record(act, "act.observed", act.id, kept)
    outcome = Outcome("error" if traced.error else "ok", traced.result, traced.error, latency_us=act.latency_us)
    read, watch = door.memory.readings(act, call.arguments, outcome), door.parts.watch
    count = {"deny": watch.refused, "ask": watch.parked, "allow": watch.let}[act.verdict]
    with store.writing():
        door.memory.learn(act, read)
        trips = [*count(run, act), *watch.ended(act, outcome)]
    if trips:
        await watch.tell(act.subject, trips)
    return True
