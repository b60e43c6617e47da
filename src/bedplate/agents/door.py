"""The fast door of actions: every tool call of every agent is decided, recorded and, where it must be, parked here."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bedplate.errors import BedplateError, Conflict, Denied, InvalidInput, NotFound, Unauthenticated, Unavailable
from bedplate.kernel.action import Attempt
from bedplate.kernel.clock import SECOND
from bedplate.kernel.control import owed
from bedplate.kernel.decision import Allow, Ask, Case, Deny, decide
from bedplate.kernel.standing import Rung

from .effect import INTENDED, UNKNOWN, Effect
from .governance import ACT, DECOY, PERFORM
from .human import act_of, until
from .record import Act
from .run import Claim, Run, Step
from .stop import ALL, epoch, stopped
from .taint import Provenance
from .token import PREFIX, Actor, Mint
from .toolcall import IRREVERSIBLE, READ, Outcome, Ruling, ToolCall
from .trace import NOT_ENFORCED
from .trial import Trials
from .views import parked_action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bedplate.kernel.action import Action
    from bedplate.kernel.approval import Approval
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.control import Control
    from bedplate.kernel.event import Value
    from bedplate.kernel.model import TierPlan
    from bedplate.kernel.standing import Standing

    from .charter import Agent, Charter, Tool, Weighing
    from .human import People, Waiting
    from .record import ActRecorder
    from .runstore import RunStore
    from .sight import Sight, Snapshot
    from .toolcall import Told
    from .trace import Traced
    from .watch import Watch
    from .window import Window, Windows

log = logging.getLogger(__name__)
RUNGS = tuple(rung.name.lower() for rung in Rung)
LATEST = 15 * 60 * SECOND  # until then whoever was let through says what became of it; then nobody knows
MAX_RUNS = 2_000  # whose provenance is held in memory
MAX_PENDING = 10_000  # actions let through whose outcome is awaited
MAX_ARGUMENTS = 1 << 20  # bytes
MAX_TEXT = 4 << 20  # characters of a result that are looked through
MAX_NAME = 200
AUTONOMY = Rung.ACT.name.lower()
_encode = msgspec.json.Encoder().encode
OUTDATED = {"act-released", "epoch-current"}  # by what an agreement is void: another release, or a stop
IN_HAND = 10 * SECOND  # so long whoever was let through has it in hand; who asks again later has lost it
HELD = "held"  # in place of the digest of a call that a breaker held back
ELSEWHERE = (
    "run-here",
    "people agreed to it in a run on another host, which alone knows whether it was done",
    "go on there, or begin a run of another name, in which people are asked anew",
)
NO_REHEARSAL = ("dry-run", "the tool has no dry run", "name its argument under dry_run in agents.yaml, and release")
OPEN_RUN = ("run-open", "the run has ended", "begin another run")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the door works with; the composition root hands it over. `windows` tell of what was agreed beforehand."""

    sight: Sight
    store: RunStore
    recorder: ActRecorder
    people: People
    watch: Watch
    mint: Mint
    controls: tuple[Control, ...]
    clock: Clock
    identify: Callable[[], str]
    content: Callable[[str], dict[str, Any] | None]
    salt: bytes  # under which provenance is hashed
    noticed: Callable[[str, str, str, str], None] = lambda _sort, _name, _subject, _route: None
    windows: Windows | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """An action that people are asked about: how that stands, and the arguments and key it was asked with first."""

    state: str
    first: dict[str, Any]
    key: str


@dataclass(slots=True)
class _Judged:
    """One call as far as it was judged."""

    act: Act
    call: ToolCall
    run: Run
    plan: TierPlan | None
    agent: Agent | None = None
    tool: Tool | None = None
    weighing: Weighing | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    standing: Standing | None = None
    window: Window | None = None  # that covers what it would ask
    chain: tuple[str, ...] = ()  # the agents that called: where one of them is stopped, this one is


class _Pending(NamedTuple):
    """An action that was let through here, whose outcome is awaited."""

    act: Act
    arguments: dict[str, Any]
    effect: bool  # an intent of it is on record


class AgentDoor:
    """Decides what agents do. Refusals are answers, never exceptions."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._seen: OrderedDict[str, tuple[Provenance, int]] = OrderedDict()
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._telling: set[asyncio.Task[None]] = set()
        self._owed: dict[tuple[int, int, str], tuple[Control, ...]] = {}

    @property
    def parts(self) -> Parts:
        """What it works with."""
        return self._p

    # Who asks

    def identified(self, secret: str) -> Actor:
        """Return whose key or token this is; `Unauthenticated` if it is none, or has ended."""
        snapshot, now = self._p.sight.snapshot, self._p.clock()
        if secret.startswith(PREFIX):
            actor = self._p.mint.read(secret, now)
            key = snapshot.key_by_id(actor.key.partition("/")[2])
            if key is None or key.revoked or now >= key.expires:
                raise Unauthenticated("the key that this token was made from has ended", hint="have another key issued")
            if actor.epoch != self._epoch(snapshot, actor.subject, actor.agent):
                raise Unauthenticated("this token was made before a stop", hint="make another: POST /agents/v1/token")
            return actor
        try:
            key = snapshot.known(secret, now)
        except Unauthenticated:
            self._p.noticed("key", secret, "", "act")
            raise
        if not key.agent:
            raise Unauthenticated(
                "this key is for calls, not for an agent's actions",
                hint="have one issued: bedplate key issue USE-CASE --agent AGENT --label LABEL",
            )
        return Actor(key.agent, key.subject, f"key/{key.id}")

    def token(self, actor: Actor, agent: str = "", seconds: int = 300) -> tuple[str, int]:
        """Make a short-lived token for this agent, or for one that it may call; returns it, and when it ends.

        A token for another agent carries the chain of those who called, and can do what that agent may, not more.
        """
        snapshot = self._p.sight.snapshot
        chain = actor.chain
        if agent and agent != actor.agent:
            charter = snapshot.charters.get(actor.subject)
            caller = charter.agents.get(actor.agent) if charter is not None else None
            if caller is None or agent not in caller.may_call:
                raise Denied(
                    f"{actor.agent} may not call {agent}",
                    hint="name it under may_call in agents.yaml, and release",
                    reasons=(("delegation", f"{actor.agent} may not call {agent}", "name it under may_call"),),
                )
            if agent in chain or len(chain) >= 8:  # noqa: PLR2004  deep enough for people to follow
                raise Denied(f"{agent} called already in {' > '.join((*chain, actor.agent))}", hint="end the loop")
            chain = (*chain, actor.agent)
        name = agent or actor.agent
        made = Actor(name, actor.subject, actor.key, chain, self._epoch(snapshot, actor.subject, name))
        return self._p.mint.make(made, self._p.clock(), seconds)

    def tools(self, actor: Actor, server: str) -> Mapping[str, Tool]:
        """Return the tools of one server that this agent may use under the live release, by their bare names."""
        charter = self._p.sight.snapshot.charters.get(actor.subject)
        agent = charter.agents.get(actor.agent) if charter is not None else None
        if charter is None or agent is None:
            return {}
        named = (charter.tools[name] for name in agent.tools if name.startswith(f"{server}/"))
        return {tool.name.partition("/")[2]: tool for tool in named}

    def charter(self, actor: Actor) -> Charter | None:
        """Return what the live release says of this agent's use case."""
        return self._p.sight.snapshot.charters.get(actor.subject)

    # Runs

    async def begin(self, actor: Actor, *, run: str = "", task: str = "", parent: str = "", principal: str = "") -> Run:
        """Begin a run, or find the one of this name; `Conflict` if it is another agent's.

        `task` is what a person or program asked for, in its own words: what stands in it is trusted.
        """
        for name, value in (("run", run), ("parent", parent), ("principal", principal)):
            if len(value) > MAX_NAME or not value.isprintable():
                raise InvalidInput(f"`{name}` is at most {MAX_NAME} printable characters")
        if len(task) > MAX_TEXT:
            raise InvalidInput(f"`task` is at most {MAX_TEXT} characters")
        snapshot = self._p.sight.snapshot
        standing = snapshot.standings.get(actor.subject)
        begun = Run(
            id=run or f"run-{self._p.identify()}",
            subject=actor.subject,
            agent=actor.agent,
            key=actor.key,
            parent=parent,
            chain=actor.chain,
            principal=principal,
            task_sha256=_sha256(task.encode()) if task else "",
            release=standing.release if standing is not None else "",
            started=self._p.clock(),
        )
        found = self._p.store.begin(begun)
        if task and found.task_sha256 == begun.task_sha256:
            self._read(found.id, 0, "task", task, trusted=True)
        return found

    async def heard(self, actor: Actor, run: str, text: str, *, trusted: bool, source: str) -> None:
        """Take note of a text that came into a run otherwise than by a tool that is called here."""
        if len(text) > MAX_TEXT or not 0 < len(source) <= MAX_NAME:
            raise InvalidInput(f"`text` is at most {MAX_TEXT} characters, `source` 1 to {MAX_NAME}")
        found = self._run_of(actor, run)
        number = self._p.store.step(found.id, Step("note", tool=source, at=self._p.clock()))
        self._read(found.id, number, source, text, trusted=trusted)

    async def end(self, actor: Actor, run: str, state: str) -> None:
        """End a run: done, failed or stopped."""
        if state not in {"done", "failed", "stopped"}:
            raise InvalidInput("a run ends `done`, `failed` or `stopped`")
        found = self._run_of(actor, run)
        self._p.store.end(found.id, state)  # type: ignore[arg-type]  # checked
        self._seen.pop(found.id, None)

    def called(
        self,
        subject: str,
        agent: str,
        run: str,
        *,
        call: str,
        model: str,
        cost_nano: int,
        latency_us: int,
        failed: bool,
    ) -> None:
        """Put a model's call on the timeline of its run; of a run that nobody began, nothing. On the event loop."""
        with suppress(NotFound, Unavailable):
            found = self._p.store.run(run)
            if found is not None and (found.subject, found.agent) == (subject, agent):
                step = Step("llm", tool=model, call=call, cost_nano=cost_nano, latency_us=latency_us)
                self._p.store.step(run, step)
                tier = self._tier(subject)
                if trips := self._p.watch.spent(found, model, cost_nano, latency_us, tier, failed=failed):
                    telling = asyncio.get_running_loop().create_task(self._p.watch.tell(subject, trips))
                    self._telling.add(telling)
                    telling.add_done_callback(self._telling.discard)

    # Actions

    async def propose(self, actor: Actor, call: ToolCall, *, action: Action = ACT) -> Ruling:
        """Decide one tool call. What is refused or waits is an answer; `Unavailable` if nothing can be recorded."""
        if not self._p.recorder.healthy:
            raise Unavailable("actions cannot be recorded now, so none is let through", hint="see /readyz")
        _checked(call)
        run = self._run_of(actor, call.run)
        if call.key and (known := self._p.store.effect_of(run.id, call.key)) is not None:
            again = await self._again(actor, call, run, known)
            if again is not None:
                return again
        judged = self._judged(actor, call, run, action)
        verdict = self._decided(judged, action)
        if judged.window is not None and isinstance(verdict, Allow) and not self._used(judged):
            judged.window = None  # others used it up meanwhile
            verdict = self._decided(judged, action, covered=False)
        act = judged.act
        if isinstance(verdict, Deny):
            return await self._denied(judged, [(r.control, r.why, r.fix) for r in verdict.reasons])
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
        judged = self._judged(actor, call, run, DECOY, seen)
        verdict, act = self._decided(judged, DECOY), judged.act
        reasons = [(r.control, r.why, r.fix) for r in verdict.reasons] if isinstance(verdict, Deny) else act.reasons
        act.verdict = "deny" if isinstance(verdict, Deny) else "ask" if isinstance(verdict, Ask) or reasons else "allow"
        act.status, act.reasons = "decoy", reasons
        await self._p.recorder.record(act, "act.decoy", act.id, {"arguments": call.arguments})
        return self._ruling(judged, act.verdict, "denied", reasons)

    async def settle(self, actor: Actor, action: str, outcome: Outcome) -> None:
        """Take note of what became of an action that was let through. Saying it twice changes nothing."""
        pending = self._pending.get(action) or _Pending(self._act_of(action), {}, effect=True)
        act, arguments = pending.act, pending.arguments
        if (act.subject, act.agent) != (actor.subject, actor.agent):
            raise NotFound(f"there is no action {action} of {actor.agent}")
        effect = self._p.store.effect(action) if pending.effect else None
        if effect is not None and effect.state not in {INTENDED, UNKNOWN}:
            return
        if self._pending.pop(action, None) is None and effect is None:
            step = self._p.store.step_of(action)
            if step is None or step[1].verdict != "allow" or (act.sort != READ and not act.dry_run):
                raise Conflict(f"{action} was not let through", hint="ask first: POST /agents/v1/actions")
            if step[1].state in {"ok", "error", UNKNOWN}:
                return
        result = _encode(outcome.result) if outcome.result is not None else b""
        act.status, act.latency_us = outcome.status, outcome.latency_us
        act.verdict, act.result_sha256 = "allow", _sha256(result) if result else ""
        read = self._readings(act, arguments, outcome)
        kind = {"ok": "act.completed", "error": "act.failed", "unknown": "act.unknown"}[outcome.status]
        kept = {"result": outcome.result, "message": outcome.message} if effect is not None else None
        name = (
            action if effect is None or (effect.tries == 1 and effect.state == INTENDED) else f"{action}/{effect.tries}"
        )
        with suppress(Conflict):  # it was said at the same time, and the same
            await self._p.recorder.record(act, kind, name, kept)
        with self._p.store.writing():
            self._learn(act, read)
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
        run = self._run_of(actor, found[0])
        step, effect = found[1], self._p.store.effect(action)
        ruling = Ruling(step.verdict, action, run.id, step.number, step.tool, {}, step.state)
        ruling.reasons, ruling.tainted = list(step.reasons), list(step.tainted)
        if effect is not None:
            ruling.verdict, ruling.state, ruling.replayed = "allow", effect.state, effect.state != INTENDED
            ruling.result = await self._result(effect)
            return ruling
        if (waiting := await asyncio.to_thread(self._p.people.of, action)) is not None:
            _said(ruling, waiting, self._p.clock())
        return ruling

    def reweighed(self, row: Mapping[str, Any], arguments: dict[str, Any], before: dict[str, Any]) -> Weighing:
        """Judge arguments that a person changed: `Denied` if the rules forbid them, whoever agrees.

        What the person wrote is that person's choice, and so no outsider's.
        """
        snapshot = self._p.sight.snapshot
        charter, run = snapshot.charters.get(row["subject"]), self._p.store.run(row["run"])
        agent = charter.agents.get(row["agent"]) if charter is not None else None
        tool = charter.tools.get(row["tool"]) if charter is not None else None
        if charter is None or agent is None or tool is None or run is None or row["tool"] not in agent.tools:
            raise Conflict("the live release does not give this tool to the agent any more", hint="refuse it")
        seen = Provenance(self._p.salt)
        for known in self._p.store.provenance(run.id)[0]:
            seen.add(known.atoms, known.trusted, known.step, known.source)
        own = {name: value for name, value in arguments.items() if before.get(name) != value}
        seen.trust("\n".join(_texts(own)), 0, "a person")
        tier = self._tier(row["subject"])
        found = charter.weigh(agent, tool, arguments, seen, run, tier, self._p.clock())
        if found.denies:
            why = "; ".join(why for _, why, _ in found.denies)
            raise Denied(why, hint=found.denies[0][2], reasons=tuple(found.denies))
        return found

    async def parked(self, actor: Actor, action: str) -> Parked | None:
        """Return an action that waits as it was asked first, for whoever only has its handle; None if it does not."""
        found = self._p.store.step_of(action)
        if found is None:
            return None
        self._run_of(actor, found[0])
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
        act = self._act_of(effect.action)
        act.status, act.digest, act.tier = UNKNOWN, effect.digest, effect.tier
        with suppress(Conflict):  # it was found before
            await self._p.recorder.record(act, "act.unknown", f"{effect.action}/lost-{effect.tries}")
        self._pending.pop(effect.action, None)

    def concluded(self, action: str, state: str) -> None:
        """Follow a person who said what became of an action."""
        self._p.store.settle(action, state)  # type: ignore[arg-type]  # ok or error

    # What passed no door

    def witness(self, secret: str) -> Actor:
        """Return whose key tells of what was done; `Unauthenticated` if it is none, or has ended."""
        key = self._p.sight.snapshot.known(secret, self._p.clock())
        return Actor(key.agent, key.subject, f"key/{key.id}")

    async def observed(self, told: Actor, traced: Traced) -> bool:
        """Judge and record an action that was done beside the door; False if it is on record, or passed the door."""
        charter = self._p.sight.snapshot.charters.get(told.subject)
        actor = told if told.agent else Actor(traced.agent, told.subject, told.key)
        name = traced.named(charter.tools if charter is not None else {})
        tool = charter.tools.get(name) if charter is not None else None
        once = tool.idempotency if tool is not None else ""
        arguments = {key: value for key, value in traced.arguments.items() if key != once}
        call = ToolCall(traced.run_of(actor.agent), name, arguments)
        action, store = traced.id(actor.subject), self._p.store
        passed = str(traced.arguments.get(once, "")) if once else ""
        since, until = traced.started - LATEST, traced.ended + IN_HAND
        if store.step_of(action) is not None or (passed and store.step_of(passed) is not None):
            return False
        if store.let_like(actor.subject, actor.agent, call.digest, since, until):
            return False
        run = store.begin(Run(call.run, actor.subject, actor.agent, actor.key, started=traced.started))
        judged = self._judged(actor, call, run, ACT)
        act = judged.act
        act.id, act.route, act.started = action, "observed", self._p.clock()
        verdict = self._decided(judged, ACT, covered=False)
        denies = [(r.control, r.why, r.fix) for r in verdict.reasons] if isinstance(verdict, Deny) else []
        act.verdict = "deny" if denies else "ask" if isinstance(verdict, Ask) else "allow"
        act.reasons, act.status = [NOT_ENFORCED, *(denies or act.reasons)], "observed"
        act.latency_us = traced.ended - traced.started
        act.started = traced.started
        act.step = store.step(run.id, self._step(judged, act.verdict, "error" if traced.error else "ok", act.reasons))
        kept = {"arguments": call.arguments, "result": traced.result, "message": traced.error}
        with suppress(Conflict):  # another request told of it a moment ago
            await self._p.recorder.record(act, "act.observed", act.id, kept)
        outcome = Outcome("error" if traced.error else "ok", traced.result, traced.error, latency_us=act.latency_us)
        read, watch = self._readings(act, call.arguments, outcome), self._p.watch
        count = {"deny": watch.refused, "ask": watch.parked, "allow": watch.let}[act.verdict]
        with store.writing():
            self._learn(act, read)
            trips = [*count(run, act), *watch.ended(act, outcome)]
        if trips:
            await watch.tell(act.subject, trips)
        return True

    # Judging

    def _judged(
        self, actor: Actor, call: ToolCall, run: Run, action: Action, seen: Provenance | None = None
    ) -> _Judged:
        snapshot, now = self._p.sight.snapshot, self._p.clock()
        standing, charter = snapshot.standings.get(actor.subject), snapshot.charters.get(actor.subject)
        plan = snapshot.model.plan(standing.tier) if snapshot.model is not None and standing is not None else None
        agent = charter.agents.get(actor.agent) if charter is not None else None
        tool = charter.tools.get(call.tool) if charter is not None else None
        act = Act(
            id=f"act-{self._p.identify()}",
            subject=actor.subject,
            agent=actor.agent,
            key=actor.key,
            run=run.id,
            tool=call.tool,
            sort=tool.kind if tool is not None else IRREVERSIBLE,
            digest=call.digest,
            started=now,
            tier=standing.tier if standing is not None else 0,
            release=standing.release if standing is not None else "",
            epoch=self._epoch(snapshot, actor.subject, actor.agent),
            dry_run=call.dry_run,
            route="live" if action is ACT else "decoy",
        )
        judged = _Judged(act, call, run, plan, agent, tool, None, call.arguments, standing, chain=actor.chain)
        if charter is not None and agent is not None and tool is not None and call.tool in agent.tools:
            known = seen if seen is not None else self._provenance(run.id)
            weighing = charter.weigh(agent, tool, call.arguments, known, run, act.tier, now)
            judged.weighing = weighing
            act.amount, act.unit, act.tainted = weighing.amount, weighing.unit, list(weighing.tainted)
            act.party = _party(weighing.counterparty, self._p.salt)
            if weighing.arguments is not None:
                judged.arguments, act.edited = weighing.arguments, True
                act.digest = ToolCall(run.id, call.tool, weighing.arguments).digest  # what people agree to
        return judged

    def _decided(self, judged: _Judged, action: Action, *, covered: bool = True) -> Allow | Deny | Ask:
        snapshot, act, agent, tool = self._p.sight.snapshot, judged.act, judged.agent, judged.tool
        weighing, standing = judged.weighing, judged.standing
        broken = self._p.watch.state(act)
        autonomy = Rung[(agent.autonomy if agent is not None else AUTONOMY).upper()]
        rung = min(autonomy, standing.rung if standing is not None else Rung.OFF)
        if broken.supervised and rung > Rung.READ:
            rung = Rung(rung - 1)  # half open: one rung down, and people agree to each
        act.rung = RUNGS[rung]
        asks = list(weighing.asks) if weighing is not None else []
        if rung is Rung.PROPOSE and act.sort != READ:
            asks.append(("act-rung", "on rung propose a person agrees to each write", "wait for the person"))
        if broken.supervised and tool is not None:
            asks.append(("breaker-closed", f"half open after: {broken.why}", "wait for the person"))
        denies = list(weighing.denies) if weighing is not None else []
        if judged.run.state != "running":
            denies.append(OPEN_RUN)
        if act.dry_run and tool is not None and tool.kind != READ and not tool.dry_run:
            denies.append(NO_REHEARSAL)
        if asks and covered and weighing is not None and self._p.windows is not None:
            judged.window = self._p.windows.covering(standing, act, weighing.counterparty, asks)
            asks = [] if judged.window is not None else asks
        facts: dict[str, Value] = {
            "agent": agent.id if agent is not None else "",
            "tool": act.tool,
            "class": act.sort,
            "permitted": "yes" if weighing is not None else "no",
            "autonomy": RUNGS[autonomy],
            "release": act.release,
            "epoch": act.epoch,
            "stopped": stopped(snapshot.standings.get(ALL))
            or next((why for name in judged.chain if (why := stopped(standing, name))), ""),
            "denies": [list(one) for one in denies],
            "asks": [list(one) for one in asks],
            "breaker": broken.why if broken.open else "",
        }
        act.reasons = asks
        attempt = Attempt(action, act.key, act.subject, facts)
        case = Case(attempt, act.started, snapshot.model, standing, age=self._p.sight.age)
        return decide(case, self._controls(case))

    def _used(self, judged: _Judged) -> bool:
        return (
            judged.window is not None
            and self._p.windows is not None
            and self._p.windows.take(judged.window, judged.act)
        )

    def _unused(self, judged: _Judged) -> None:
        if judged.window is not None and self._p.windows is not None:
            self._p.windows.give_back(judged.act.id)

    def _controls(self, case: Case) -> tuple[Control, ...]:
        plan, name = case.plan, case.attempt.action.name
        if plan is None:
            return owed(self._p.controls, "act", name, frozenset())
        cached = (id(case.model), int(plan.tier), name)
        if cached not in self._owed:
            self._owed = {k: v for k, v in self._owed.items() if k[0] == cached[0]}
            self._owed[cached] = owed(self._p.controls, "act", name, plan.controls)
        return self._owed[cached]

    # Answering

    async def _denied(self, judged: _Judged, reasons: list[Told], *, state: str = "denied") -> Ruling:
        act, call = judged.act, judged.call
        act.verdict, act.status, act.reasons = "deny", "denied", reasons
        step = self._step(judged, "deny", "denied", reasons)
        if any(control == "breaker-closed" for control, _, _ in reasons):
            step = replace(step, digest=HELD)  # while one is open, whatever is asked of a tool is one refusal
        with self._p.store.writing():
            act.step = self._p.store.step(judged.run.id, step)
            trips = self._p.watch.refused(judged.run, act)
            known = self._p.store.step_at(judged.run.id, act.step)
        if known is not None and known.action != act.id:
            act.id = known.action  # the same was refused for the same before, and is on record: it is only counted
        else:
            await self._p.recorder.record(act, "act.denied", act.id, {"arguments": call.arguments})
        if trips:
            await self._p.watch.tell(act.subject, trips)
        return self._ruling(judged, "deny", state, reasons)

    async def _asked(self, actor: Actor, judged: _Judged) -> Ruling:
        """Answer with what people said of exactly this, or ask them."""
        act, agent, tool = judged.act, judged.agent, judged.tool
        waiting = await self._counting(act)
        if waiting is None:
            return await self._park(judged)
        if waiting.state not in {"granted", "spent"} or agent is None or tool is None:
            return self._answered(judged, waiting)
        if self._p.store.step_of(waiting.row["action"]) is None:
            return await self._denied(judged, [ELSEWHERE])  # only there is known whether it was begun
        if waiting.state == "spent":  # killed between agreement and effect: it is still to do
            return await self._resumed(judged, agent, tool, waiting, self._p.people.arguments(waiting.row))
        try:
            arguments = await self._p.people.spend(waiting, actor.key)
        except Denied as refusal:
            if {control for control, _, _ in refusal.reasons} <= OUTDATED:
                return await self._park(judged)  # what was agreed to counts no more: people are asked anew
            return await self._denied(judged, list(refusal.reasons))
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
        self, judged: _Judged, agent: Agent, tool: Tool, waiting: Waiting, arguments: dict[str, Any]
    ) -> Ruling:
        act, row = judged.act, waiting.row
        act.id, act.approval, act.reasons = row["action"], row["approval"], []
        act.edited = arguments != judged.call.arguments
        judged.arguments = arguments
        act.digest = row["arguments_sha256"]
        act.amount = int(row["amount_micro"])
        return await self._let(judged, agent, tool, act.id, agreed=True)

    async def _park(self, judged: _Judged) -> Ruling:
        act, agent = judged.act, judged.agent
        if agent is None:
            raise Unavailable("the release is not loaded yet", hint="try again in a second")
        act.verdict, act.status = "ask", "parked"
        claim = Claim(agent.limits, act.amount, act.sort, held=False)
        with self._p.store.writing():
            placed = self._p.store.take(judged.run.id, self._step(judged, "ask", "parked", act.reasons), claim)
            act.step = placed.number
            trips = self._p.watch.parked(judged.run, act) if placed.told is None else []
        if placed.told is not None:
            return await self._over(judged, placed.told)
        why = "; ".join(why for _, why, _ in act.reasons)
        try:
            act.approval = await self._p.people.park(act, judged.arguments, why)
        except BedplateError:
            self._p.store.mark(act.id, "denied", "deny")
            raise
        if trips:
            await self._p.watch.tell(act.subject, trips)
        ruling = self._ruling(judged, "ask", "parked", act.reasons)
        ruling.wait_s = 5
        return ruling

    async def _over(self, judged: _Judged, told: Told) -> Ruling:
        """Refuse what a limit leaves no room for; its step is on the timeline already."""
        act = judged.act
        self._unused(judged)
        act.verdict, act.status, act.reasons = "deny", "denied", [told]
        trips = self._p.watch.refused(judged.run, act)
        await self._p.recorder.record(act, "act.denied", act.id, None)
        if trips:
            await self._p.watch.tell(act.subject, trips)
        return self._ruling(judged, "deny", "denied", [told])

    def _answered(self, judged: _Judged, waiting: Waiting) -> Ruling:
        ruling = self._ruling(judged, "ask", "parked", judged.act.reasons)
        ruling.action, ruling.approval = waiting.row["action"], waiting.row["approval"]
        known = self._p.store.step_of(ruling.action)
        ruling.step = known[1].number if known is not None else 0
        _said(ruling, waiting, self._p.clock())
        if waiting.state == "answer":
            ruling.result = self._p.people.answer_of(waiting.row)
        return ruling

    async def _let(self, judged: _Judged, agent: Agent, tool: Tool, action: str, *, agreed: bool = False) -> Ruling:
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
                placed = self._p.store.take(run.id, self._step(judged, "allow", state, []), claim)
                act.step, told = placed.number, placed.told
            trips = self._p.watch.let(run, act) if told is None else []
        if told is not None:
            return await self._over(judged, told)
        if any(t.state == "open" for t in trips):  # it was one too many: what opened stops this very call
            self._p.store.give_back(action)
            self._p.store.mark(action, "denied", "deny")
            await self._p.watch.tell(act.subject, trips)
            return await self._late(judged, [("breaker-closed", f"{t.scope}: {t.why}", t.fix) for t in trips])
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
                return await self._taken(judged, held)
        if writes or (judged.plan is not None and judged.plan.intent):
            await self._p.recorder.record(act, "act.intent", f"{action}/intent", {"arguments": judged.arguments})
        self._await(act, judged.arguments, effect=writes or bool(call.key))
        ruling = self._ruling(judged, "allow", "intended", act.reasons)
        ruling.edited, ruling.arguments = act.edited, judged.arguments
        if call.dry_run and tool.dry_run:
            ruling.arguments = {**judged.arguments, tool.dry_run: True}
        elif tool.idempotency:
            ruling.arguments = {**ruling.arguments, tool.idempotency: action}
        return ruling

    async def _late(self, judged: _Judged, reasons: list[Told]) -> Ruling:
        act = judged.act
        self._unused(judged)
        act.verdict, act.status, act.reasons = "deny", "denied", reasons
        await self._p.recorder.record(act, "act.denied", f"{act.id}/stopped", None)
        return self._ruling(judged, "deny", "denied", reasons)

    async def _taken(self, judged: _Judged, held: Effect) -> Ruling:
        """Somebody else has this action, or this step, in hand or has done it."""
        if held.state == INTENDED and self._in_time(held):
            return self._in_hand(judged.call, judged.run, held)
        again = await self._told_again(judged.call, judged.run, held, judged.act.tier)
        if again is None:
            return await self._late(judged, [_unknown(held)])
        return again

    # The same step again

    async def _again(self, actor: Actor, call: ToolCall, run: Run, known: Effect) -> Ruling | None:
        """Answer a step that is on record under its key; None lets it be judged anew."""
        step = self._p.store.step_of(known.action)
        same = step is not None and call.digest in {step[1].digest, known.digest}
        snapshot = self._p.sight.snapshot
        standing = snapshot.standings.get(actor.subject)
        tier = standing.tier if standing is not None else known.tier
        if not same:
            act = self._judged(actor, call, run, ACT)
            why = f"the step {call.key!r} was used for something else"
            return await self._denied(act, [("step-once", why, "give each step its own key")])
        if known.state == INTENDED:
            if self._in_time(known):
                return self._in_hand(call, run, known)
            known = self._p.store.settle(known.action, UNKNOWN)
        if known.state == UNKNOWN and known.idempotent and not self._strict(snapshot, tier, known.tier):
            judged = self._judged(actor, call, run, ACT)
            judged.act.id = known.action
            verdict = self._decided(judged, ACT)
            if isinstance(verdict, Deny):
                return await self._denied_again(judged, verdict)
            held = await asyncio.to_thread(self._p.store.retry, known.action, self._p.clock() + LATEST)
            if held.fresh:
                self._await(judged.act, judged.arguments, effect=True)
                judged.act.step = known.step
                return self._ruling(judged, "allow", "intended", [])
        return await self._told_again(call, run, known, tier)

    def _in_time(self, known: Effect) -> bool:
        """Tell whether whoever was let through still has it in hand: whoever asks again later has lost it."""
        return self._p.clock() - (known.due - LATEST if known.due else known.at) < IN_HAND

    def _strict(self, snapshot: Snapshot, *tiers: int) -> bool:
        """Tell whether what nobody knows the outcome of is not tried again by itself: where intents are recorded."""
        model = snapshot.model
        plans = [model.plan(tier) if model is not None else None for tier in tiers]
        return any(plan is None or plan.intent for plan in plans)

    async def _denied_again(self, judged: _Judged, verdict: Deny) -> Ruling:
        judged.act.id = f"act-{self._p.identify()}"
        return await self._denied(judged, [(r.control, r.why, r.fix) for r in verdict.reasons])

    def _in_hand(self, call: ToolCall, run: Run, known: Effect) -> Ruling:
        told = ("step-once", "this step is being carried out", "wait for its outcome: GET /agents/v1/actions/ID")
        ruling = Ruling("ask", known.action, run.id, known.step, call.tool, call.arguments, "intended", known.tier)
        ruling.reasons, ruling.wait_s = [told], 1
        return ruling

    async def _told_again(self, call: ToolCall, run: Run, known: Effect, tier: int) -> Ruling | None:
        ruling = Ruling("allow", known.action, run.id, known.step, call.tool, call.arguments, known.state, tier)
        if known.state in {INTENDED, UNKNOWN}:
            ruling.verdict, ruling.reasons = "deny", [_unknown(known)]
            return ruling
        ruling.replayed, ruling.result = True, await self._result(known)
        return ruling

    async def _result(self, effect: Effect) -> Any:  # noqa: ANN401  JSON
        if effect.state in {INTENDED, UNKNOWN} or not effect.message:
            return None
        kept = await asyncio.to_thread(self._p.content, effect.message)
        return kept.get("result") if kept else None

    # What was read

    def _provenance(self, run: str) -> Provenance:
        known, place = self._seen.get(run) or (Provenance(self._p.salt), 0)
        rows, last = self._p.store.provenance(run, after=place)
        for row in rows:
            known.add(row.atoms, row.trusted, row.step, row.source)
        self._seen[run] = (known, last)
        self._seen.move_to_end(run)
        while len(self._seen) > MAX_RUNS:
            self._seen.popitem(last=False)
        return known

    def _read(self, run: str, step: int, source: str, text: str, *, trusted: bool) -> None:
        atoms = self._provenance(run).atoms(text[:MAX_TEXT])
        if atoms:
            self._p.store.add_atoms(run, step, source, atoms, trusted=trusted)

    def _readings(self, act: Act, arguments: Mapping[str, Any], outcome: Outcome) -> list[tuple[bool, bytes]]:
        """Return what stands in a tool's answer, hashed, and whether it is trusted: the charter says that."""
        if outcome.result is None and not outcome.message.strip():
            return []
        charter = self._p.sight.snapshot.charters.get(act.subject)
        seen = self._seen[act.run][0] if act.run in self._seen else self._provenance(act.run)
        tool = charter.tools.get(act.tool) if charter is not None else None
        if tool is None:  # the release changed meanwhile: nobody vouches for it
            text = "\n".join([*_texts(outcome.result), outcome.message])
            return [(False, seen.atoms(text[:MAX_TEXT]))]
        return list(seen.learned(tool, arguments, outcome.result, outcome.message))

    def _learn(self, act: Act, read: list[tuple[bool, bytes]]) -> None:
        for trusted, atoms in read:
            if atoms:
                self._p.store.add_atoms(act.run, act.step, act.tool, atoms, trusted=trusted)

    # Small things

    def _run_of(self, actor: Actor, run: str) -> Run:
        found = self._p.store.run(run) if run else None
        if found is None or (found.subject, found.agent) != (actor.subject, actor.agent):
            raise NotFound(f"{actor.agent} has no run {run!r} here", hint="begin one: POST /agents/v1/runs")
        return found

    def _act_of(self, action: str) -> Act:
        found = self._p.store.step_of(action)
        run = self._p.store.run(found[0]) if found is not None else None
        if found is None or run is None:
            raise NotFound(f"there is no action {action}")
        step = found[1]
        return Act(
            id=action,
            subject=run.subject,
            agent=run.agent,
            key=run.key,
            run=run.id,
            tool=step.tool,
            sort=step.class_,
            digest=step.digest,
            started=step.at,
            step=step.number,
            tier=self._tier(run.subject),
            release=run.release,
            verdict="allow",
            amount=step.amount,
            dry_run=step.state == "dry-run",
        )

    def _tier(self, subject: str) -> int:
        standing = self._p.sight.snapshot.standings.get(subject)
        return standing.tier if standing is not None else 0

    def _await(self, act: Act, arguments: dict[str, Any], *, effect: bool) -> None:
        self._pending[act.id] = _Pending(act, arguments, effect)
        while len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)

    def _step(self, judged: _Judged, verdict: str, state: str, reasons: Iterable[Told]) -> Step:
        act = judged.act
        return Step(
            "tool",
            tool=act.tool,
            digest=judged.call.digest,
            verdict=verdict,  # type: ignore[arg-type]  # one of three
            state=state,  # type: ignore[arg-type]  # one of those of toolcall
            at=act.started,
            action=act.id,
            key=judged.call.key,
            class_=act.sort,
            amount=act.amount,
            reasons=tuple(reasons),
            tainted=tuple(act.tainted),
        )

    def _ruling(self, judged: _Judged, verdict: str, state: str, reasons: Iterable[Told]) -> Ruling:
        act = judged.act
        return Ruling(
            verdict,  # type: ignore[arg-type]  # as above
            act.id,
            act.run,
            act.step,
            act.tool,
            judged.arguments,
            state,  # type: ignore[arg-type]  # as above
            act.tier,
            act.rung,
            list(reasons),
            act.approval,
            act.edited,
            list(act.tainted),
            dry_run=act.dry_run,
        )

    def _epoch(self, snapshot: Snapshot, subject: str, agent: str) -> str:
        return epoch(snapshot.standings.get(ALL), snapshot.standings.get(subject), agent)


def _party(name: str, salt: bytes) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8, key=salt).hexdigest() if name else ""


def _said(ruling: Ruling, waiting: Waiting, now: int) -> None:
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


def _unknown(known: Effect) -> Told:
    why = f"nobody knows what became of it ({known.action}): it may have been done"
    return ("outcome-known", why, f"a person says what happened: bedplate actions conclude {known.action} ok|error")


def _checked(call: ToolCall) -> None:
    if not 0 < len(call.tool) <= MAX_NAME or not call.tool.isprintable():
        raise InvalidInput(f"`tool` is 1 to {MAX_NAME} printable characters")
    if len(call.key) > MAX_NAME:
        raise InvalidInput(f"`key` is at most {MAX_NAME} characters")
    if len(_encode(call.arguments)) > MAX_ARGUMENTS:
        raise InvalidInput(f"the arguments are larger than {MAX_ARGUMENTS} bytes", code="request-too-large")


def _texts(value: Any) -> Iterable[str]:  # noqa: ANN401  JSON
    """List every text and number in a result, the names of keys included."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            left += [*part, *part.values()]
        elif isinstance(part, list | tuple):
            left += part
        elif isinstance(part, int | float) and not isinstance(part, bool):
            yield str(part)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
