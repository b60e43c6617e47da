"""Judges one tool call: by its charter, its run, the breakers, stops and windows, and last by the kernel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bedplate.errors import Conflict, Denied
from bedplate.kernel.action import Attempt
from bedplate.kernel.control import owed
from bedplate.kernel.decision import Allow, Ask, Case, Deny, decide
from bedplate.kernel.standing import Rung

from .governance import ACT
from .memory import texts
from .record import Act
from .run import Step
from .stop import ALL, epoch, stopped
from .taint import Provenance
from .toolcall import IRREVERSIBLE, READ, Ruling, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bedplate.kernel.action import Action
    from bedplate.kernel.control import Control
    from bedplate.kernel.event import Value
    from bedplate.kernel.model import TierPlan
    from bedplate.kernel.standing import Standing

    from .charter import Agent, Tool, Weighing
    from .memory import Memory
    from .parts import Parts
    from .run import Run
    from .sight import Snapshot
    from .token import Actor
    from .toolcall import Told
    from .window import Window

RUNGS = tuple(rung.name.lower() for rung in Rung)
AUTONOMY = Rung.ACT.name.lower()
NO_REHEARSAL = ("dry-run", "the tool has no dry run", "name its argument under dry_run in agents.yaml, and release")
OPEN_RUN = ("run-open", "the run has ended", "begin another run")


@dataclass(slots=True)
class Judged:
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

    def step(self, verdict: str, state: str, reasons: Iterable[Told]) -> Step:
        """Return it as a step of its run."""
        act = self.act
        return Step(
            "tool",
            tool=act.tool,
            digest=self.call.digest,
            verdict=verdict,  # type: ignore[arg-type]  # one of three
            state=state,  # type: ignore[arg-type]  # one of those of toolcall
            at=act.started,
            action=act.id,
            key=self.call.key,
            class_=act.sort,
            amount=act.amount,
            reasons=tuple(reasons),
            tainted=tuple(act.tainted),
        )

    def ruling(self, verdict: str, state: str, reasons: Iterable[Told]) -> Ruling:
        """Return it as the answer to whoever asked."""
        act = self.act
        return Ruling(
            verdict,  # type: ignore[arg-type]  # as above
            act.id,
            act.run,
            act.step,
            act.tool,
            self.arguments,
            state,  # type: ignore[arg-type]  # as above
            act.tier,
            act.rung,
            list(reasons),
            act.approval,
            act.edited,
            list(act.tainted),
            dry_run=act.dry_run,
        )


class Judge:
    """Judges what agents ask for; does nothing about it."""

    def __init__(self, parts: Parts, memory: Memory) -> None:
        self._p = parts
        self._memory = memory
        self._owed: dict[tuple[int, int, str], tuple[Control, ...]] = {}

    def judged(self, actor: Actor, call: ToolCall, run: Run, action: Action, seen: Provenance | None = None) -> Judged:
        """Take a call as far as it can be judged without deciding it. `seen`: what its run read."""
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
            epoch=self.epoch(snapshot, actor.subject, actor.agent),
            dry_run=call.dry_run,
            route="live" if action is ACT else "decoy",
        )
        judged = Judged(act, call, run, plan, agent, tool, None, call.arguments, standing, chain=actor.chain)
        if charter is not None and agent is not None and tool is not None and call.tool in agent.tools:
            known = seen if seen is not None else self._memory.provenance(run.id)
            weighing = charter.weigh(agent, tool, call.arguments, known, run, act.tier, now)
            judged.weighing = weighing
            act.amount, act.unit, act.tainted = weighing.amount, weighing.unit, list(weighing.tainted)
            act.party = _party(weighing.counterparty, self._p.salt)
            if weighing.arguments is not None:
                judged.arguments, act.edited = weighing.arguments, True
                act.digest = ToolCall(run.id, call.tool, weighing.arguments).digest  # what people agree to
        return judged

    def decided(self, judged: Judged, action: Action, *, covered: bool = True) -> Allow | Deny | Ask:
        """Decide it: allow, deny or ask. `covered`: what people agreed to beforehand counts."""
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

    def used(self, judged: Judged) -> bool:
        """Take from the window that covers it what it needs; False if others used that up."""
        return (
            judged.window is not None
            and self._p.windows is not None
            and self._p.windows.take(judged.window, judged.act)
        )

    def unused(self, judged: Judged) -> None:
        """Give that back: it will not be done."""
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
        seen.trust("\n".join(texts(own)), 0, "a person")
        tier = self.tier(row["subject"])
        found = charter.weigh(agent, tool, arguments, seen, run, tier, self._p.clock())
        if found.denies:
            why = "; ".join(why for _, why, _ in found.denies)
            raise Denied(why, hint=found.denies[0][2], reasons=tuple(found.denies))
        return found

    def epoch(self, snapshot: Snapshot, subject: str, agent: str) -> str:
        """Return the epoch of stops under which an agent acts now."""
        return epoch(snapshot.standings.get(ALL), snapshot.standings.get(subject), agent)

    def tier(self, subject: str) -> int:
        """Return the tier of a use case; 0 if there is none."""
        standing = self._p.sight.snapshot.standings.get(subject)
        return standing.tier if standing is not None else 0


def _party(name: str, salt: bytes) -> str:
    return hashlib.blake2b(name.encode(), digest_size=8, key=salt).hexdigest() if name else ""
