"""True fakes for tests, ours and yours: a ledger in memory, a clock, a scripted upstream, a small organisation."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from bedplate.document import parse
from bedplate.errors import BedplateError, Conflict, NotFound
from bedplate.gateway.dialect import Said, json_bytes
from bedplate.gateway.route import Outcome
from bedplate.gateway.supplier import SPOKEN, Retry, Supplier
from bedplate.gateway.supply import Supply
from bedplate.gateway.switchboard import Switchboard
from bedplate.gateway.upstream import Reply, UpstreamFailed, usage
from bedplate.kernel.approval import Approval, fold
from bedplate.kernel.clock import SECOND
from bedplate.kernel.event import Data, Draft, Event, canonical, seal
from bedplate.kernel.evidence import Evidence
from bedplate.kernel.governor import Governor
from bedplate.kernel.identity import Identities
from bedplate.kernel.model import OperatingModel, load
from bedplate.people.blank import blank_model
from bedplate.people.structure import OperatingModelFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from bedplate.gateway.call import Trace
    from bedplate.gateway.upstream import Asked, Flow, Upstream
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.manifest import Catalogue
    from bedplate.kernel.standing import Standing

STEP_TOLERATED = 1 * SECOND


class SettableClock:
    """A clock that stands still until it is told otherwise. Microseconds since the epoch."""

    def __init__(self, now: int = 1_750_000_000 * SECOND) -> None:
        self.now = now

    def __call__(self) -> int:
        """Return the time."""
        return self.now

    def advance(self, micros: int) -> None:
        """Go on, or back, by this many microseconds."""
        self.now += micros


@dataclass(slots=True)
class _State:
    events: list[Event] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    approvals: dict[str, Approval] = field(default_factory=dict)
    evidence: dict[tuple[str, str], dict[str, Evidence]] = field(default_factory=dict)
    proposed: str = ""
    applied: str = ""
    at: int = 0

    def copy(self) -> _State:
        evidence = {key: dict(found) for key, found in self.evidence.items()}
        return replace(
            self,
            events=list(self.events),
            blobs=dict(self.blobs),
            standings=dict(self.standings),
            approvals=dict(self.approvals),
            evidence=evidence,
        )


class MemoryLedger:
    """Implements `bedplate.kernel.ledger.Ledger` without a database: one writer at a time, all or nothing."""

    def __init__(self, catalogue: Catalogue, clock: Clock) -> None:
        self.catalogue = catalogue
        self.clock = clock
        self.identities = Identities(clock)
        self.away: BedplateError | None = None  # raised instead of beginning, while set
        self._lock = threading.Lock()
        self._state = _State()
        self._models: dict[str, OperatingModel] = {}

    @property
    def events(self) -> tuple[Event, ...]:
        """Everything on record, in order."""
        return tuple(self._state.events)

    def of(self, kind: str) -> tuple[Event, ...]:
        """Return the events of one kind."""
        return tuple(e for e in self._state.events if e.kind == kind)

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        """Hold the writer's lock; keep all that was done in it, or nothing."""
        with self._lock:
            if self.away is not None:
                raise self.away
            state = self._state.copy()
            yield MemoryTransaction(self, state)
            self._state = state

    def read(self, digest: str, content: bytes) -> OperatingModel:
        """Read an operating model, once."""
        if digest not in self._models:
            self._models[digest] = load(json.loads(content), digest)
        return self._models[digest]

    def standing(self, subject: str) -> Standing | None:
        """Return what is true of a subject now."""
        return self._state.standings.get(subject)

    def approval(self, approval: str) -> Approval:
        """Return one approval; `NotFound` if there is none."""
        if approval not in self._state.approvals:
            raise NotFound(f"there is no {approval}")
        return self._state.approvals[approval]


class MemoryTransaction:
    """Implements `bedplate.kernel.ledger.Transaction` on a copy of the state."""

    def __init__(self, ledger: MemoryLedger, state: _State) -> None:
        self._ledger = ledger
        self._state = state

    def model(self) -> OperatingModel | None:
        """Return the operating model in force, or the newest proposed to found the organisation."""
        digest = self._state.applied or self._state.proposed
        return self._ledger.read(digest, self.content(digest)) if digest else None

    def in_force(self) -> bool:
        """Tell whether an operating model was applied."""
        return bool(self._state.applied)

    def standing(self, subject: str) -> Standing | None:
        """Return what is true of the subject now."""
        return self._state.standings.get(subject)

    def approval(self, approval: str) -> Approval | None:
        """Return one approval."""
        return self._state.approvals.get(approval)

    def live(self, beside: str) -> int:
        """Return how many subjects are live beside this one."""
        return sum(s.stage == "live" and subject != beside for subject, s in self._state.standings.items())

    def approvals(self, subject: str, action: str, digest: str = "") -> Sequence[Approval]:
        """Return the asked or granted approvals of this subject and action, newest first."""
        found = [a for a in self._waiting() if a.subject == subject and a.action == action]
        return [a for a in found if digest in {"", a.digest}][::-1]

    def waiting(self, subject: str, action: str) -> int:
        """Count the asked or granted approvals of this subject and action."""
        return len(self.approvals(subject, action))

    def overdue(self, now: int) -> Sequence[Approval]:
        """Return the asked or granted approvals whose time is over."""
        return [a for a in self._waiting() if a.expires <= now]

    def evidence(self, subject: str, digest: str) -> Mapping[str, Evidence]:
        """Return the newest evidence about this content, by control."""
        return dict(self._state.evidence.get((subject, digest), {}))

    def event(self, event_id: str) -> Event | None:
        """Return an event by its id."""
        return next((e for e in self._state.events if e.id == event_id), None)

    def append(self, actor: str, drafts: Sequence[Draft], *, authz: Data, first_id: str = "") -> list[Event]:
        """Append events and fold them."""
        at, made = self._ledger.clock(), []
        if drafts and at + STEP_TOLERATED < self._state.at:
            drafts = [*drafts, Draft("kernel.clock.stepped", "ledger", {"back": self._state.at - at})]
        for position, draft in enumerate(drafts):
            version = 1 + sum(e.stream == draft.stream for e in self._state.events)
            event_id = first_id if first_id and position == 0 else self._ledger.identities.next()
            if self.event(event_id) is not None:
                raise Conflict(f"there is an event {event_id}")
            seq = len(self._state.events)
            event = seal(draft, seq=seq, id=event_id, version=version, at=at, actor=actor, authz=authz)
            self._state.events.append(event)
            self._apply(event)
            made.append(event)
        if made:
            self._state.at = at
        return made

    def keep(self, content: bytes) -> str:
        """Keep content under its digest."""
        digest = hashlib.sha256(content).hexdigest()
        self._state.blobs[digest] = content
        return digest

    def content(self, digest: str) -> bytes:
        """Return kept content; `NotFound` if there is none."""
        if digest not in self._state.blobs:
            raise NotFound(f"no content is kept under {digest}")
        return self._state.blobs[digest]

    def _waiting(self) -> list[Approval]:
        return [a for a in self._state.approvals.values() if a.state in {"asked", "granted"}]

    def _apply(self, event: Event) -> None:
        moved = self._ledger.catalogue.move(self._state.standings.get(event.stream), event)
        if moved is not None:
            self._state.standings[event.stream] = moved
        data = event.data
        if event.kind.startswith("kernel.approval."):
            folded = fold(self._state.approvals.get(event.stream), event)
            if folded is not None:
                self._state.approvals[event.stream] = folded
        elif event.kind == "kernel.evidence.attached":
            contradicted = data["outcome"] == "contradicted"
            found = Evidence(
                str(data["control"]),
                str(data["digest"]),
                "contradicted" if contradicted else "proven",
                str(data["summary"]),
                event.at,
                int(str(data["expires"])),
                str(data["blob"]),
            )
            self._state.evidence.setdefault((event.stream, found.digest), {})[found.control] = found
        elif event.kind == "kernel.model.proposed":
            self._state.proposed = str(data["digest"])
        elif event.kind == "kernel.model.applied":
            self._state.applied = str(data["digest"])


@dataclass(frozen=True, slots=True)
class Answers:
    """The upstream answers with this text, word by word when streamed."""

    text: str


@dataclass(frozen=True, slots=True)
class Hangs:
    """The upstream takes the call and never answers."""


@dataclass(frozen=True, slots=True)
class Fails:
    """The upstream refuses, or cannot be reached."""

    message: str = "the upstream answered 503"
    status: int = 503


@dataclass(frozen=True, slots=True)
class Cuts:
    """The upstream stops in the middle: after so many words of a stream; a whole answer never comes."""

    text: str
    after: int = 1


Step = Answers | Hangs | Fails | Cuts


class ScriptedUpstream:
    """Implements `bedplate.gateway.upstream.Upstream`: does what its script says, call by call; the last step stays.

    `seen` holds the body of every call; `arrived` is called with it first, so that a test can look at what is on
    record at that moment.
    """

    name = "scripted upstream"

    def __init__(self, *script: Step, arrived: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.seen: list[dict[str, Any]] = []
        self.closed = False
        self._script = list(script) or [Answers("yes")]
        self._arrived = arrived

    async def ask(self, asked: Asked) -> Reply:
        """Answer at once, hang, or fail."""
        step = self._next(asked.body)
        match step:
            case Answers(text):
                whole = asked.dialect.whole(_said(asked.body, text))
                if asked.dialect.name == "chat":
                    whole["usage"] = usage(asked.dialect, asked.body, text)
                return Reply(json_bytes(whole))
            case Hangs():
                await asyncio.Event().wait()
            case Fails(message, status):
                raise UpstreamFailed(message, status=status, outcome=Outcome("status", status))
            case Cuts():
                pass
        raise UpstreamFailed("the upstream stopped in the middle of its answer")

    async def open(self, asked: Asked) -> Flow:
        """Return the answer word by word; then it hangs, stops or fails where the script says so."""
        step = self._next(asked.body)
        if isinstance(step, Fails):
            raise UpstreamFailed(step.message, status=step.status, outcome=Outcome("status", step.status))
        return _Scripted(step, asked)

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True

    def _next(self, body: dict[str, Any]) -> Step:
        self.seen.append(body)
        if self._arrived is not None:
            self._arrived(body)
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


class MemoryRecorder:
    """Implements the gateway's recorder in memory. While `fails` is set it is raised, and nothing is recorded."""

    def __init__(self) -> None:
        self.healthy = True
        self.fails: BedplateError | None = None
        self.records: list[tuple[str, str, Mapping[str, Any] | None]] = []  # call id, kind, content

    async def record(self, trace: Trace, kind: str, content: Mapping[str, Any] | None) -> None:
        """Keep one record."""
        if self.fails is not None:
            raise self.fails
        self.records.append((trace.id, kind, content))

    @property
    def kinds(self) -> list[str]:
        """The kinds of the records so far."""
        return [kind for _, kind, _ in self.records]


@cache
def small_model_file(organisation: str = "Example Ltd", people: str = "") -> OperatingModelFile:
    """Return the operating model that `bedplate init` writes; `people` is YAML of its `domains:` and `people:`."""
    return parse(blank_model(organisation, people), "operating-model.yaml").read(OperatingModelFile)


def small_model(organisation: str = "Example Ltd", people: str = "") -> OperatingModel:
    """Return the same as the kernel reads it."""
    body = small_model_file(organisation, people).plain()
    return load(body, hashlib.sha256(canonical(body)).hexdigest())


def found(ledger: MemoryLedger, model: OperatingModelFile | None = None) -> Governor:
    """Put an operating model in force without asking anybody, and return the door over it: for tests only."""
    governor = Governor(ledger, ledger.catalogue, ledger.clock, ledger.identities)
    with ledger.transaction() as tx:
        digest = tx.keep(canonical((model or small_model_file()).plain()))
        data: Data = {"digest": digest, "version": 1, "posture": model.posture if model is not None else "standard"}
        tx.append("test", [Draft("kernel.model.applied", "organisation", data)], authz={})
    return governor


class _Scripted:
    """A flow that does what a step says."""

    def __init__(self, step: Step, asked: Asked) -> None:
        self.headers: Mapping[str, str] = {}
        self._step, self._asked = step, asked

    async def __aiter__(self) -> AsyncIterator[bytes]:
        step = self._step
        if isinstance(step, Hangs):
            await asyncio.Event().wait()
        if isinstance(step, Answers | Cuts):
            *pieces, ending, done = self._asked.dialect.stream(_said(self._asked.body, "{}"))
            words = [word + " " for word in step.text.split()]
            for word in words[: step.after if isinstance(step, Cuts) else None]:
                for piece in pieces:
                    yield piece.replace(b'"{}"', json_bytes(word))
            if isinstance(step, Cuts):
                raise UpstreamFailed("the upstream stopped in the middle of its answer")
            yield ending
            yield done

    def close(self) -> None:
        """Nothing is held."""

    def ended(self) -> None:
        """Nothing more is to be done."""


def switchboard(upstreams: Mapping[str, Upstream]) -> Switchboard:
    """Return a switchboard over these, by address, that tries nothing twice."""
    made = [Supplier(a, "", "openai", a, SPOKEN["openai"], retry=Retry(attempts=0)) for a in upstreams]
    return Switchboard(upstreams, Supply(made))


def _said(body: dict[str, Any], text: str) -> Said:
    return Said(text, str(body.get("model", "scripted")), 0, "scripted")
