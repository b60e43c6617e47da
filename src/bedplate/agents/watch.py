"""Watches what agents do: tells the breakers of it, and puts on the ledger what opens, so that every host knows."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from bedplate.errors import BedplateError
from bedplate.kernel.authority import SYSTEM

from . import actions
from .breaker import Breakers
from .governance import TRIPS
from .toolcall import READ
from .trip import CLOSED, Signal, Standing, Trip, scopes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bedplate.kernel.governor import Governor

    from .record import Act
    from .run import Run
    from .runstore import RunStore
    from .sight import Sight
    from .toolcall import Outcome

log = logging.getLogger(__name__)


class Watch:
    """The breakers of this process, and those that the ledger tells of.

    `opened` is told of every breaker that opens, once it is on record: an incident, say.
    """

    def __init__(
        self, store: RunStore, governor: Governor, sight: Sight, opened: Callable[[Trip], None] = lambda _trip: None
    ) -> None:
        self._breakers = Breakers(store)
        self._governor = governor
        self._sight = sight
        self._opened = opened
        self._imposed: set[tuple[str, str, int]] = set()

    @property
    def breakers(self) -> Breakers:
        """The breakers themselves."""
        return self._breakers

    def state(self, act: Act) -> Standing:
        """Return how the breakers stand that an action concerns: the worst of them."""
        if act.route == "decoy":
            return CLOSED  # what tries the policies must reach them
        standing = self._sight.snapshot.standings.get(act.subject)
        told: Any = standing.facts.get(TRIPS) if standing is not None else None
        if told:
            self._impose(act.subject, act.tier, told)
        return self._breakers.state(act.subject, scopes(act.subject, act.agent, act.tool), act.started, act.sort)

    def _impose(self, subject: str, tier: int, told: dict[str, Any]) -> None:
        """Follow what opened on another host: once for each."""
        for scope, (measure, why, at) in told.items():
            if (subject, scope, at) not in self._imposed:
                self._imposed.add((subject, scope, at))
                self._breakers.impose(Trip(subject, scope, measure, tier, why, at=at, changed=at))

    def follow(self, closed: Iterable[Mapping[str, Any]]) -> None:
        """Follow what was closed on other hosts, as the ledger tells it."""
        for row in closed:
            self._breakers.lift(row["subject"], row["scope"], row["closed_by"], "closed on record", row["closed_at"])

    def let(self, run: Run, act: Act) -> list[Trip]:
        """Count a call that is let through; what opens stops it."""
        return self._note(act, "call", run, verdict="allow", destination=act.party)

    def parked(self, run: Run, act: Act) -> list[Trip]:
        """Count a call that waits for people."""
        return self._note(act, "call", run, verdict="ask")

    def refused(self, run: Run, act: Act) -> list[Trip]:
        """Count a call that was refused, unless for what is not the agent's doing."""
        own = not {"breaker-closed", "act-not-stopped", "act-fresh", "act-running"} & {c for c, _, _ in act.reasons}
        return self._note(act, "call", run, verdict="deny", own=own)

    def ended(self, act: Act, outcome: Outcome) -> list[Trip]:
        """Count what became of a call."""
        failed = outcome.status == "error"
        agreed = bool(act.approval)
        told = {"transport": outcome.transport, "failed": failed, "latency_us": outcome.latency_us, "agreed": agreed}
        return self._note(act, "outcome", None, **told)

    def answered(self, act: Act, *, granted: bool) -> list[Trip]:
        """Count what people said."""
        return self._note(act, "answer", None, granted=granted)

    def spent(self, run: Run, model: str, cost_nano: int, latency_us: int, tier: int, *, failed: bool) -> list[Trip]:
        """Count a model's call."""
        signal = Signal(
            "model",
            run.subject,
            run.agent,
            tier,
            self._governor.clock(),
            run=run.id,
            model=model,
            nano=cost_nano,
            latency_us=latency_us,
            transport=failed,
        )
        return self._breakers.note(signal)

    async def tell(self, subject: str, trips: Sequence[Trip]) -> None:
        """Put what opened or closed on the ledger; what cannot be written holds here all the same."""
        await asyncio.to_thread(self.tell_now, subject, trips)

    def tell_now(self, subject: str, trips: Sequence[Trip]) -> None:
        """As `tell`, from a thread."""
        for trip in trips:
            try:
                if trip.state == "closed":
                    why = trip.reason or "what was tried since went well"
                    actions.close_breaker(self._governor, SYSTEM, subject, trip.scope, why)
                elif trip.state == "open":
                    actions.trip(self._governor, subject, scope=trip.scope, signal=trip.measure, why=trip.why)
                    self._opened(trip)
                self._sight.look()
            except BedplateError as fault:
                log.warning("breaker.not_recorded", extra={"scope": trip.scope, "why": fault.message})

    def close(self, subject: str, scope: str, by: str, reason: str) -> None:
        """Close a breaker here, once that is on record; what follows is supervised."""
        self._breakers.close(subject, scope, by, reason, self._governor.clock())

    def open_of(self, subject: str, agent: str = "") -> list[dict[str, Any]]:
        """List the breakers of an agent, or of a use case, that are not closed, as JSON-ready values."""
        now = self._governor.clock()
        return [
            {
                "scope": t.scope,
                "state": t.position(now),
                "signal": t.measure,
                "why": t.why,
                "fix": t.fix,
                "at": t.at,
                "closes": t.closing,
            }
            for t in self._breakers.trips(subject)
            if not agent or t.scope.startswith("usecase/") or agent in _agents(t.scope)
        ]

    def _note(self, act: Act, kind: str, run: Run | None, **told: Any) -> list[Trip]:  # noqa: ANN401  a signal's own
        if act.route == "decoy":
            return []
        signal = Signal(
            kind,  # type: ignore[arg-type]  # one of its four
            act.subject,
            act.agent,
            act.tier,
            self._governor.clock(),
            run=run.id if run is not None else act.run,
            tool=act.tool,
            class_=act.sort or READ,
            **told,
        )
        return self._breakers.note(signal)


def _agents(scope: str) -> list[str]:
    return [part.removeprefix("agent/") for part in scope.split("|") if part.startswith("agent/")]
