"""Who comes to the door of actions, and in which run."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

from bedplate.errors import Denied, InvalidInput, NotFound, Unauthenticated, Unavailable

from .judge import Judge
from .memory import MAX_TEXT, Memory
from .record import Act
from .run import Run, Step
from .token import PREFIX, Actor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .charter import Charter, Tool
    from .parts import Parts

MAX_NAME = 200


class Entrance:
    """Knows whoever asks by a key or token, and begins and ends their runs."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self.memory = Memory(parts.store, parts.sight, parts.salt)
        self.judge = Judge(parts, self.memory)
        self._telling: set[asyncio.Task[None]] = set()

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
            if actor.epoch != self.judge.epoch(snapshot, actor.subject, actor.agent):
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
        made = Actor(name, actor.subject, actor.key, chain, self.judge.epoch(snapshot, actor.subject, name))
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

    def witness(self, secret: str) -> Actor:
        """Return whose key tells of what was done; `Unauthenticated` if it is none, or has ended."""
        key = self._p.sight.snapshot.known(secret, self._p.clock())
        return Actor(key.agent, key.subject, f"key/{key.id}")

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
            task_sha256=sha256(task.encode()) if task else "",
            release=standing.release if standing is not None else "",
            started=self._p.clock(),
        )
        found = self._p.store.begin(begun)
        if task and found.task_sha256 == begun.task_sha256:
            self.memory.read(found.id, 0, "task", task, trusted=True)
        return found

    async def heard(self, actor: Actor, run: str, text: str, *, trusted: bool, source: str) -> None:
        """Take note of a text that came into a run otherwise than by a tool that is called here."""
        if len(text) > MAX_TEXT or not 0 < len(source) <= MAX_NAME:
            raise InvalidInput(f"`text` is at most {MAX_TEXT} characters, `source` 1 to {MAX_NAME}")
        found = self.run_of(actor, run)
        number = self._p.store.step(found.id, Step("note", tool=source, at=self._p.clock()))
        self.memory.read(found.id, number, source, text, trusted=trusted)

    async def end(self, actor: Actor, run: str, state: str) -> None:
        """End a run: done, failed or stopped."""
        if state not in {"done", "failed", "stopped"}:
            raise InvalidInput("a run ends `done`, `failed` or `stopped`")
        found = self.run_of(actor, run)
        self._p.store.end(found.id, state)  # type: ignore[arg-type]  # checked
        self.memory.forget(found.id)

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
                tier = self.judge.tier(subject)
                if trips := self._p.watch.spent(found, model, cost_nano, latency_us, tier, failed=failed):
                    telling = asyncio.get_running_loop().create_task(self._p.watch.tell(subject, trips))
                    self._telling.add(telling)
                    telling.add_done_callback(self._telling.discard)

    def run_of(self, actor: Actor, run: str) -> Run:
        """Return a run of this agent; `NotFound` if it has none of that name."""
        found = self._p.store.run(run) if run else None
        if found is None or (found.subject, found.agent) != (actor.subject, actor.agent):
            raise NotFound(f"{actor.agent} has no run {run!r} here", hint="begin one: POST /agents/v1/runs")
        return found

    def act_of(self, action: str) -> Act:
        """Return what the file still says of an action; `NotFound` if that is nothing."""
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
            tier=self.judge.tier(run.subject),
            release=run.release,
            verdict="allow",
            amount=step.amount,
            dry_run=step.state == "dry-run",
        )


def sha256(data: bytes) -> str:
    """Return a digest as it stands in records."""
    return hashlib.sha256(data).hexdigest()
