"""The ledger in a database: event, read tables and head in one transaction, under one writer's lock."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bedplate.errors import Conflict, Tampered, Unavailable
from bedplate.kernel.clock import SECOND, Clock
from bedplate.kernel.event import Data, Draft, Event, seal, unseal
from bedplate.kernel.model import OperatingModel, load

from . import tables as t
from .engine import readable, writing
from .merkle import Frontier, leaf_hash
from .reads import founding_model, read_approval, read_blob, read_evidence, read_standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.evidence import Evidence
    from bedplate.kernel.identity import Identities
    from bedplate.kernel.standing import Standing

    from .projector import Projector

OPEN = ("asked", "granted")
STEP_TOLERATED = 1 * SECOND  # of clock going back between two events, before it is itself an event


class SqlLedger:
    """Implements `bedplate.kernel.ledger.Ledger`. Only the composition root builds one."""

    def __init__(self, engine: Engine, projector: Projector, clock: Clock, identities: Identities) -> None:
        self.engine = engine
        self.projector = projector
        self.clock = clock
        self.identities = identities
        self.refuses: str = ""  # why nothing may be appended, when a check at start found a fault
        self._models: dict[str, OperatingModel] = {}

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """Hold the writer's lock; commit all or nothing. `Unavailable` or `Full` when the database says no."""
        if self.refuses:
            raise Tampered(self.refuses, hint="see bedplate doctor")
        try:
            with writing(self.engine.connect()) as connection, connection.begin():
                yield SqlTransaction(self, connection)
        except DBAPIError as error:
            raise readable(error) from error
        except PoolTimeout as error:
            raise Unavailable("every connection to the database is busy", hint="try again") from error

    def create(self) -> None:
        """Write the empty head, once."""
        with writing(self.engine.connect()) as connection, connection.begin():
            if connection.execute(select(t.head.c.id)).scalar_one_or_none() is None:
                connection.execute(insert(t.head).values(id=1, size=0, frontier=b"", at=0, epoch=1))

    def size(self) -> int:
        """Return how many events there are."""
        with self.engine.connect() as connection:
            return int(connection.execute(select(t.head.c.size)).scalar_one())

    def model_of(self, connection: Connection) -> OperatingModel | None:
        """Return the operating model in force, or while none is the newest proposed; parsed once per digest."""
        digest = connection.execute(select(t.model.c.digest)).scalar_one_or_none() or founding_model(connection)
        if not digest:
            return None
        known = self._models.get(digest)
        if known is None:
            known = load(json.loads(read_blob(connection, digest)), digest)
            self._models = {digest: known}  # replaced whole: other threads read it
        return known


class SqlTransaction:
    """Implements `bedplate.kernel.ledger.Transaction` on one connection."""

    def __init__(self, ledger: SqlLedger, connection: Connection) -> None:
        self._ledger = ledger
        self.connection = connection
        lock = select(t.head.c.size, t.head.c.frontier, t.head.c.at).with_for_update()
        row = connection.execute(lock).one()  # on PostgreSQL this row is the writer's lock
        self._frontier = Frontier.from_bytes(row.size, row.frontier)
        self._at = int(row.at)

    def model(self) -> OperatingModel | None:
        """Return the operating model in force, or the one proposed to found the organisation."""
        return self._ledger.model_of(self.connection)

    def in_force(self) -> bool:
        """Tell whether an operating model has been applied."""
        return self.connection.execute(select(t.model.c.digest)).scalar_one_or_none() is not None

    def standing(self, subject: str) -> Standing | None:
        """Return what is true of the subject now."""
        return read_standing(self.connection, subject)

    def live(self, beside: str) -> int:
        """Return how many subjects are live beside this one."""
        found = select(func.count()).select_from(t.standing)
        return int(
            self.connection.execute(
                found.where(t.standing.c.stage == "live", t.standing.c.subject != beside)
            ).scalar_one()
        )

    def approval(self, approval: str) -> Approval | None:
        """Return one approval, folded from its events."""
        return read_approval(self.connection, approval)

    def approvals(self, subject: str, action: str, digest: str = "") -> Sequence[Approval]:
        """Return the asked or granted approvals of this subject and action, newest first; of one content, if named."""
        found = (
            select(t.approval.c.id)
            .where(t.approval.c.subject == subject, t.approval.c.action == action)
            .where(t.approval.c.state.in_(OPEN))
            .order_by(t.approval.c.last_seq.desc())
        )
        if digest:
            found = found.where(t.approval.c.digest == digest)
        return self._folded([row.id for row in self.connection.execute(found)])

    def waiting(self, subject: str, action: str) -> int:
        """Count the asked or granted approvals of this subject and action."""
        found = select(func.count()).select_from(t.approval)
        found = found.where(t.approval.c.subject == subject, t.approval.c.action == action)
        return int(self.connection.execute(found.where(t.approval.c.state.in_(OPEN))).scalar_one())

    def overdue(self, now: int) -> Sequence[Approval]:
        """Return the asked or granted approvals whose time is over."""
        found = (
            select(t.approval.c.id)
            .where(t.approval.c.state.in_(OPEN), t.approval.c.expires <= now)
            .order_by(t.approval.c.id)
        )
        return self._folded([row.id for row in self.connection.execute(found)])

    def evidence(self, subject: str, digest: str) -> Mapping[str, Evidence]:
        """Return the newest evidence about this content, by control."""
        return read_evidence(self.connection, subject, digest)

    def event(self, event_id: str) -> Event | None:
        """Return an event by its id."""
        entry = self.connection.execute(select(t.event.c.entry).where(t.event.c.id == event_id)).scalar_one_or_none()
        return None if entry is None else unseal(entry)

    def append(self, actor: str, drafts: Sequence[Draft], *, authz: Data, first_id: str = "") -> list[Event]:
        """Append events, bring the read tables up to them, and move the head."""
        at = self._ledger.clock()
        if drafts and at + STEP_TOLERATED < self._at:
            drafts = [*drafts, Draft("kernel.clock.stepped", "ledger", {"back": self._at - at})]
        events = []
        versions: dict[str, int] = {}
        for position, draft in enumerate(drafts):
            version = versions.get(draft.stream) or self._version(draft.stream)
            versions[draft.stream] = version + 1
            event_id = first_id if first_id and position == 0 else self._ledger.identities.next()
            events.append(self._insert(draft, event_id, version + 1, at, actor, authz))
        if events:
            self._move_head(at)
        return events

    def keep(self, content: bytes) -> str:
        """Keep content under its digest; keeping the same again changes nothing."""
        digest = hashlib.sha256(content).hexdigest()
        known = self.connection.execute(select(t.blob.c.digest).where(t.blob.c.digest == digest)).scalar_one_or_none()
        if known is None:
            self.connection.execute(insert(t.blob).values(digest=digest, content=content))
        return digest

    def content(self, digest: str) -> bytes:
        """Return kept content, checked against its digest."""
        return read_blob(self.connection, digest)

    def _folded(self, ids: Sequence[str]) -> list[Approval]:
        return [a for a in (read_approval(self.connection, i) for i in ids) if a is not None]

    def _version(self, stream: str) -> int:
        newest = select(t.event.c.version).where(t.event.c.stream == stream).order_by(t.event.c.version.desc()).limit(1)
        return int(self.connection.execute(newest).scalar_one_or_none() or 0)

    def _insert(self, draft: Draft, event_id: str, version: int, at: int, actor: str, authz: Data) -> Event:
        event = seal(draft, seq=self._frontier.size, id=event_id, version=version, at=at, actor=actor, authz=authz)
        leaf = leaf_hash(event.entry)
        row = {
            "seq": event.seq,
            "entry": event.entry,
            "leaf": leaf,
            "id": event.id,
            "stream": event.stream,
            "version": event.version,
            "kind": event.kind,
            "actor": event.actor,
            "at": event.at,
        }
        self.connection.execute(insert(t.event).values(**row))
        nodes = [{"level": n.level, "index": n.index, "hash": n.hash} for n in self._frontier.append(leaf)]
        self.connection.execute(insert(t.node), nodes)
        self._ledger.projector.apply(self.connection, event)
        return event

    def _move_head(self, at: int) -> None:
        before = self.connection.execute(select(t.head.c.size)).scalar_one()
        moved = self.connection.execute(
            update(t.head)
            .where(t.head.c.size == before, t.head.c.size < self._frontier.size)
            .values(size=self._frontier.size, frontier=self._frontier.to_bytes(), at=at)
        )
        if moved.rowcount != 1:
            raise Conflict("another writer moved the head of the ledger")
        self._at = at  # not the highest so far: a clock that was a year ahead for once would step back for a year
        if self.connection.dialect.name == "postgresql":
            self.connection.execute(
                text("SELECT pg_notify('bedplate_head', :size)"), {"size": str(self._frontier.size)}
            )
