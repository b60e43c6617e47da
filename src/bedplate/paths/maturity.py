"""What the records say about an organisation's maturity, counted plane by plane, and the stage they bear out."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from bedplate.data.tables import contract_use
from bedplate.data.views import contract_states
from bedplate.gateway.search import Wanted
from bedplate.gateway.usage import used
from bedplate.incidents.tables import incident
from bedplate.kernel.clock import DAY
from bedplate.kernel.event import unseal
from bedplate.kernel.standing import Standing, from_plain
from bedplate.models.tables import evaluation, measure, prompt
from bedplate.people.competence import lacking, owed_by, shown
from bedplate.people.maturity import Counts, Layer, Point, next_steps, scored
from bedplate.people.stage import Recommended, recommended
from bedplate.portfolio import views as portfolio
from bedplate.portfolio.ideas import ideas
from bedplate.portfolio.tables import value_measure
from bedplate.shadow.tables import sighting
from bedplate.store import tables as t

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy import Engine

    from bedplate.gateway.views import Calls
    from bedplate.kernel.event import Event
    from bedplate.kernel.model import OperatingModel
    from bedplate.portfolio.views import UseCase

QUARTER, HALF_YEAR, MONTH, WEEK = 90 * DAY, 180 * DAY, 30 * DAY, 7 * DAY
MOST_CASES = 40  # whose calls are looked into one by one
MOST_EVENTS = 5_000
ASKED, VOTED, GRANTED = "kernel.approval.asked", "kernel.approval.voted", "kernel.approval.granted"
SETTLED = (GRANTED, "kernel.approval.refused", "kernel.approval.expired", "kernel.approval.voided")
STOPPED = "incidents.usecase.suspended"


@dataclass(frozen=True, slots=True)
class Maturity:
    """Layers with their points, the stage, and what is worth most to do next."""

    at: int
    layers: tuple[Layer, ...]
    steps: tuple[Point, ...]
    stage: Recommended

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {
            "at": self.at,
            "layers": [
                {**asdict(one), "reached": one.reached, "judged": one.judged, "points": [_told(p) for p in one.points]}
                for one in self.layers
            ],
            "steps": [_told(p) for p in self.steps],
            "stage": {
                **asdict(self.stage),
                "ahead": self.stage.ahead,
                "criteria": [{**asdict(c), "met": c.met} for c in self.stage.criteria],
            },
        }


def _told(point: Point) -> dict[str, Any]:
    kind = asdict(point.kind)
    return {**kind, **{n: getattr(point, n) for n in ("state", "good", "of", "links", "missing", "worth")}}


def maturity(engine: Engine, calls: Calls, model: OperatingModel, now: int) -> Maturity:
    """Count, judge and rank."""
    records = _Records(engine, calls, model, now)
    layers = scored(records.counts())
    live = records.live
    siblings = {c.subject for c in records.cases if c.path}
    have = {
        "live": len(live),
        "domains": len({s.domain for s in live}),
        "siblings": sum(s.subject in siblings for s in live),
    }
    return Maturity(now, layers, tuple(next_steps(layers)), recommended(have, model.maturity))


@dataclass
class _Records:
    engine: Engine
    calls: Calls
    model: OperatingModel
    now: int
    _read: dict[str, list[Event]] = field(default_factory=dict)

    @cached_property
    def standings(self) -> dict[str, Standing]:
        query = select(t.standing.c.subject, t.standing.c.body).order_by(t.standing.c.subject)
        with self.engine.connect() as connection:
            return {row.subject: from_plain(json.loads(row.body)) for row in connection.execute(query)}

    @cached_property
    def live(self) -> list[Standing]:
        return [s for s in self.standings.values() if s.subject.startswith("usecase/") and s.stage == "live"]

    @cached_property
    def cases(self) -> Sequence[UseCase]:
        return portfolio.use_cases(self.engine)

    @cached_property
    def approvals(self) -> dict[str, list[Event]]:
        """The events of every approval that was asked for in a quarter, the newest approvals if there are very many."""
        query = select(t.event.c.entry).where(t.event.c.kind.in_((ASKED, VOTED, *SETTLED)))
        query = query.order_by(t.event.c.seq.desc()).limit(MOST_EVENTS)  # moments have no index
        found: dict[str, list[Event]] = defaultdict(list)
        with self.engine.connect() as connection:
            for (entry,) in connection.execute(query):
                event = unseal(bytes(entry))
                found[event.stream].insert(0, event)
        since = self.now - QUARTER
        return {name: events for name, events in found.items() if events[0].kind == ASKED and events[0].at >= since}

    def counts(self) -> dict[str, Counts]:
        points: Mapping[str, Callable[[], Counts]] = {
            "owned": self._owned,
            "separated": self._separated,
            "fires": self._fires,
            "settled": self._settled,
            "stopped": self._stopped,
            "in-time": self._in_time,
            "decided": self._decided,
            "reasoned": self._reasoned,
            "spread": self._spread,
            "measured": self._measured,
            "promised": self._promised,
            "contracted": self._contracted,
            "current": self._current,
            "evaluated": self._evaluated,
            "watched": self._watched,
            "heard": self._heard,
            "versioned": self._versioned,
            "attacked": self._attacked,
            "seated": self._seated,
            "apart": self._apart,
            "trained": self._trained,
            "sighted": self._sighted,
            "reused": self._reused,
        }
        return {name: count() for name, count in points.items()}

    # Governance and risk

    def _owned(self) -> Counts:
        people = self.model.authority.people
        return _counted(
            (s.subject, s.owner in people and any(_owns(seat, s.domain) for seat in people[s.owner].seats))
            for s in self.live
        )

    def _separated(self) -> Counts:
        granted = {name: e for name, e in self.approvals.items() if any(v.kind == GRANTED for v in e)}
        return _counted(
            (name, all(v.data.get("solo") != "yes" for v in events if v.kind == VOTED))
            for name, events in granted.items()
        )

    def _fires(self) -> Counts:
        def tried(subject: str) -> bool:
            wanted = Wanted(subject=subject, route="canary", since=self.now - WEEK)
            return bool(self.calls.page(wanted, limit=1).calls)

        looked = self.live[:MOST_CASES]
        return _counted((s.subject, not s.facts.get("gateway.unproven") and tried(s.subject)) for s in looked)

    def _settled(self) -> Counts:
        query = select(incident.c.id, incident.c.closed_at, incident.c.due)
        query = query.where((incident.c.opened_at >= self.now - QUARTER) | (incident.c.closed_at == 0))
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(incident.c.opened_at.desc())).all()
        return _counted((r.id, (r.closed_at or self.now) <= r.due) for r in rows)

    def _stopped(self) -> Counts:
        query = select(t.event.c.stream).where(t.event.c.kind == STOPPED, t.event.c.at >= self.now - HALF_YEAR)
        drilled = select(t.evidence.c.subject).where(
            t.evidence.c.control == "stop-drilled",
            t.evidence.c.outcome == "proven",
            t.evidence.c.at >= self.now - HALF_YEAR,
        )
        done = self._texts(query) | self._texts(drilled)
        watched = [s for s in self.live if s.impact == "high" or s.autonomy == "autonomous"]
        return _counted((s.subject, s.subject in done) for s in watched)

    def _in_time(self) -> Counts:
        def judged(events: list[Event]) -> bool:
            stages: Any = events[0].data["stages"]
            days = max((self._days(str(stage["body"])) for stage in stages), default=self.model.approval_days)
            ended = next((e.at for e in events if e.kind in SETTLED), self.now)
            expired = any(e.kind == "kernel.approval.expired" for e in events)
            return not expired and ended <= events[0].at + days * DAY

        return _counted((name, judged(events)) for name, events in self.approvals.items())

    def _days(self, body: str) -> int:
        bodies: Any = self.model.sections.get("bodies", {})
        return int(bodies.get(body, {}).get("decides_within_days", self.model.approval_days))

    # Strategy and portfolio

    def _decided(self) -> Counts:
        oldest = self.now - self.model.approval_days * DAY
        known = [(c.subject, c.stage != "proposed" or c.proposed_at >= oldest) for c in self.cases]
        return _counted([*known, *((i.subject, not i.overdue(self.now)) for i in ideas(self.engine))])

    def _reasoned(self) -> Counts:
        declined = [(c.subject, bool(c.decision.strip())) for c in self.cases if c.stage == "declined"]
        left = [(i.subject, bool(i.reason.strip())) for i in ideas(self.engine) if i.state in {"declined", "deferred"}]
        return _counted([*declined, *left])

    def _spread(self) -> Counts:
        taken = [c for c in self.cases if c.stage in {"accepted", "live"}]
        if len(taken) < 2:  # noqa: PLR2004  one is of one kind
            return Counts(0, 0)
        buckets = {c.bucket: c.subject for c in taken}
        return Counts(min(2, len(buckets)), 2, tuple(buckets.values()))

    def _measured(self) -> Counts:
        known = self._texts(select(value_measure.c.subject))
        old = [s for s in self.live if int(str(s.facts.get("releases.live_at", self.now))) <= self.now - MONTH]
        return _counted((s.subject, s.subject in known) for s in old)

    # Data

    def _promised(self) -> Counts:
        states = contract_states(self.engine, self.now)
        return _counted((f"contract/{name}", one.state == "passing") for name, one in states.items())

    def _contracted(self) -> Counts:
        known = self._texts(select(contract_use.c.subject))
        return _counted((s.subject, s.subject in known) for s in self.live if s.facts.get("data.indexed"))

    def _current(self) -> Counts:
        def current(standing: Standing) -> bool:
            told: Any = standing.facts["data.indexed"]
            at, days = (int(str(n)) for n in list(told.values())[-1])
            return bool(days) and self.now <= at + days * DAY

        return _counted((s.subject, current(s)) for s in self.live if s.facts.get("data.indexed"))

    # MLOps, LLMOps, AgentOps

    def _evaluated(self) -> Counts:
        oldest = self.now - self.model.evidence_days * DAY

        def at(standing: Standing) -> int:
            told: Any = standing.facts.get("models.evaluated", {})
            return int(str(told.get(standing.release, 0)))

        return _counted((s.subject, at(s) >= oldest) for s in self.live)

    @cached_property
    def _called(self) -> set[str]:
        today = self.now // DAY
        return {subject for subject, (calls, _, _) in used(self.engine, today - 29, today).items() if calls}

    def _watched(self) -> Counts:
        query = select(measure.c.subject).group_by(measure.c.subject)
        seen = self._texts(query.having(func.max(measure.c.at) >= self.now - WEEK - DAY))
        return _counted((s.subject, s.subject in seen) for s in self.live if s.subject in self._called)

    def _heard(self) -> Counts:
        looked = [s for s in self.live if s.subject in self._called][:MOST_CASES]
        since = self.now - MONTH
        return _counted((s.subject, bool(self.calls.feedback_of(s.subject, since, limit=1))) for s in looked)

    def _versioned(self) -> Counts:
        known = self._texts(select(prompt.c.subject))
        return _counted((s.subject, s.subject in known) for s in self.live)

    def _attacked(self) -> Counts:
        known = self._texts(select(evaluation.c.subject).where(evaluation.c.purpose == "red-team"))
        high = [s for s in self.live if s.impact == "high"] or self.live
        return _counted((s.subject, s.subject in known) for s in high)

    # People and ways of working

    def _seated(self) -> Counts:
        found: dict[str, bool] = {}
        for tier, domain in sorted({(s.tier, s.domain) for s in self.live}):
            if self.model.plan(tier) is None:
                continue
            for what in ("accept", "release", "resume"):
                for stage in self.model.owed(tier, what, self.now):
                    where = domain if stage.body == "domain" else ""
                    name = f"{stage.quorum} of {stage.body}{' ' + where if where else ''}"
                    found[name] = len(self.model.authority.voters(stage, domain)) > stage.quorum
        return _counted(found.items())

    def _apart(self) -> Counts:
        votes = {"chair", "member", "approver"}
        sits = {p.id: {s.body for s in p.seats if s.role in votes} for p in self.model.authority.people.values()}
        return _counted((f"person/{name}", len(bodies) == 1) for name, bodies in sits.items() if bodies)

    def _trained(self) -> Counts:
        found = []
        for person in self.model.authority.people.values():
            needed = {c.id: c for tier in self.model.tiers for c in owed_by(person, self.model, tier)}
            if needed:
                had = shown(self.standings.get(f"person/{person.id}"))
                found.append((f"person/{person.id}", not [*lacking(needed.values(), had, self.now)]))
        return _counted(found)

    def _sighted(self) -> Counts:
        query = select(sighting.c.id, sighting.c.state).where(sighting.c.reported_at <= self.now - MONTH)
        with self.engine.connect() as connection:
            rows = connection.execute(query.order_by(sighting.c.reported_at)).all()
        return _counted((f"sighting/{r.id}", r.state != "new") for r in rows)

    def _reused(self) -> Counts:
        lately = self.now - HALF_YEAR
        taken = sorted((c for c in self.cases if c.stage in {"accepted", "live"}), key=lambda c: c.proposed_at)
        return _counted((c.subject, bool(c.path)) for c in taken[1:] if c.proposed_at >= lately)

    def _texts(self, query: Any) -> set[str]:  # noqa: ANN401  a select of one column
        with self.engine.connect() as connection:
            return set(connection.execute(query.distinct()).scalars())


def _counted(found: Iterable[tuple[str, bool]]) -> Counts:
    every = [*found]
    good = tuple(name for name, well in every if well)
    return Counts(len(good), len(every), good, tuple(name for name, well in every if not well))


def _owns(seat: Any, domain: str) -> bool:  # noqa: ANN401  a seat
    return (seat.body, seat.role, seat.domain) == ("domain", "owner", domain)
