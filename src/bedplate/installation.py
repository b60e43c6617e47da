"""Everything that runs, put together: what the shells and the worker are handed."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Engine, select

from bedplate.errors import NotFound
from bedplate.evidence.actions import note_segment
from bedplate.gateway.governance import READ_CONTENT
from bedplate.kernel.clock import SECOND, Clock
from bedplate.kernel.standing import Standing, from_plain
from bedplate.store import tables as t
from bedplate.store.reads import read_approval, read_approvals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.agents.door import AgentDoor
    from bedplate.agents.runstore import RunStore
    from bedplate.config import Settings
    from bedplate.gateway.budget import Budgets
    from bedplate.gateway.door import Door
    from bedplate.gateway.metrics import Metrics
    from bedplate.gateway.observer import Observer
    from bedplate.gateway.price import Prices
    from bedplate.gateway.snapshot import Follower
    from bedplate.gateway.supply import Supply
    from bedplate.gateway.telemetry import Pump
    from bedplate.gateway.upstream import Upstream
    from bedplate.gateway.usage import Usage
    from bedplate.gateway.views import Call, Calls
    from bedplate.kernel.approval import Approval
    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.identity import Identities
    from bedplate.kernel.manifest import Catalogue
    from bedplate.kernel.model import OperatingModel
    from bedplate.paths.erasure import Eraser
    from bedplate.paths.feedback import Desk
    from bedplate.paths.thread import Workshop
    from bedplate.paths.toolserver import ToolServers
    from bedplate.people.attempt import Attempts
    from bedplate.shadow.stranger import Strangers
    from bedplate.store.anchor import Anchor
    from bedplate.store.journal import Journal
    from bedplate.store.note import SigningKey, VerifierKey
    from bedplate.store.projector import Projector
    from bedplate.store.vault import Vault

READY_AGE = 2 * SECOND


class Recorded(Protocol):
    """What may be seen of the ledger from here: it is read, and written through the governor alone."""

    @property
    def refuses(self) -> str:
        """Why nothing may be appended; "" while it may."""
        ...

    @property
    def projector(self) -> Projector:
        """What folds events into read tables."""
        ...

    def size(self) -> int:
        """Return how many events there are."""
        ...

    def model_of(self, connection: Connection) -> OperatingModel | None:
        """Return the operating model in force, or while none is the newest proposed."""
        ...


@dataclass(slots=True)
class Installation:
    """Everything that runs, put together. `bootstrap.open_installation` makes one; `close` takes it apart."""

    settings: Settings
    engine: Engine
    clock: Clock
    identities: Identities
    catalogue: Catalogue
    ledger: Recorded
    governor: Governor
    anchor: Anchor
    key: SigningKey
    journal: Journal
    vault: Vault
    calls: Calls
    follower: Follower
    door: Door
    agents: AgentDoor
    runs: RunStore
    toolservers: ToolServers
    workshop: Workshop
    upstreams: Mapping[str, Upstream]
    supply: Supply
    prices: Prices
    budgets: Budgets
    usage: Usage
    pump: Pump
    metrics: Metrics
    observer: Observer
    desk: Desk  # one, for it keeps count of who speaks how fast
    eraser: Eraser
    attempts: Attempts
    strangers: Strangers
    witness_key: VerifierKey | None = None
    faults: list[str] = field(default_factory=list)
    sealing: threading.Lock = field(default_factory=threading.Lock)

    def model(self) -> OperatingModel | None:
        """Return the operating model in force (or, before founding, the newest proposed)."""
        with self.engine.connect() as connection:
            return self.ledger.model_of(connection)

    def approval(self, approval_id: str) -> Approval:
        """Return one approval; `NotFound` if there is none."""
        with self.engine.connect() as connection:
            found = read_approval(connection, approval_id)
        if found is None:
            raise NotFound(f"there is no {approval_id}", hint="list them: bedplate approvals")
        return found

    def approvals(self, *states: str, subject: str = "", but: str = "", limit: int = 200) -> list[Approval]:
        """List approvals in these states, newest first; of one subject, if named, and `but` those of one action."""
        query = select(t.approval.c.id).order_by(t.approval.c.asked_at.desc()).limit(limit)
        if states:
            query = query.where(t.approval.c.state.in_(states))
        if subject:
            query = query.where(t.approval.c.subject == subject)
        if but:
            query = query.where(t.approval.c.action != but)
        with self.engine.connect() as connection:
            ids = list(connection.execute(query).scalars())
            return read_approvals(connection, ids)

    def standing(self, subject: str) -> Standing:
        """Return the standing of a subject; `NotFound` if it has none."""
        with self.engine.connect() as connection:
            body = connection.execute(
                select(t.standing.c.body).where(t.standing.c.subject == subject)
            ).scalar_one_or_none()
        if body is None:
            raise NotFound(f"there is no {subject}", hint="propose it: bedplate apply use-case.yaml")
        return from_plain(json.loads(body))

    def content(self, person: str, call: Call) -> dict[str, Any] | None:
        """Return what was asked and answered in a call to those who may read it; None to others, or if it is gone."""
        model = self.model()
        standing = self.follower.snapshot.standings.get(call.entry["use_case"])
        domain = standing.domain if standing is not None else ""
        if model is None or not model.authority.allowed(person, READ_CONTENT.needs, domain):
            return None
        return self.calls.content(call.id)

    def vote(self, by: str, approval_id: str, *, yes: bool, reason: str, request: str = "") -> Approval:
        """Vote, and carry out what the vote settled."""
        approval = self.governor.vote(by, approval_id, yes=yes, reason=reason, request=request)
        if approval.state in {"granted", "refused"}:
            self.governor.carry_out(approval)
            self.agents.answered(approval)
            self.follower.look()
            approval = self.approval(approval_id)
        return approval

    def seal(self) -> None:
        """Anchor every record of this process's shard that is not anchored yet; what comes meanwhile waits its turn."""
        with self.sealing:
            until = self.journal.size  # under load there is always one more
            while self.journal.sealed < until and (segment := self.journal.seal()) is not None:
                data: dict[str, Value] = {"number": segment.number, "first": segment.first, "count": segment.count}
                roots: dict[str, Value] = {"root": segment.root.hex(), "previous": segment.previous.hex()}
                note_segment(self.governor, self.journal.shard, {**data, **roots})
                self.journal.mark_sealed(segment)

    def ready(self) -> list[str]:
        """List why this process must not get calls now; empty when it may."""
        wrong = list(self.faults)
        if self.follower.age > READY_AGE:
            wrong.append(f"the standing is {self.follower.age // 1000} ms old: the database does not answer")
        if not (self.journal.healthy and self.vault.healthy):
            wrong.append("calls cannot be recorded: the journal or its vault failed; restart this process")
        return wrong

    async def close(self) -> None:
        """Stop what runs and let files go."""
        await asyncio.to_thread(self.pump.stop)
        self.follower.stop()
        for upstream in self.upstreams.values():
            await upstream.close()
        self.journal.close()
        self.toolservers.close()
        self.agents.parts.watch.breakers.close_file()
        self.runs.close()
        self.budgets.close()
        self.calls.close()
        self.vault.close()
        self.engine.dispose()
