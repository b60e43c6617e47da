"""Circuit breakers: an agent, a tool or a model that goes wrong is stopped before people have to notice.

What is counted and what is open stands in the file of the runs, so that a breaker holds on every process of the host
at once and outlives them. To be read at every call it is also held in memory; a number in a file that all processes
map says when that is out of date. What opens and closes is also put on the ledger, by whoever is told of it here; from
there other hosts `impose` and `lift` it.

Pattern: M. Nygard, Release It! (2nd ed., 2018), "Circuit Breaker"; half open here means supervised, not unwatched.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from bedplate.errors import InvalidInput, NotFound
from bedplate.kernel.clock import SECOND

from . import tally
from .measure import Measures, relapsed
from .toolcall import READ, WRITE
from .trip import CLOSED, STRICTEST, Rules, Signal, Standing, Trip, opened, rules_by_tier, scopes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import apsw

    from .runstore import RunStore

FRESH = 1 * SECOND  # how long what is held in memory may be believed, whatever the number in the file says
_content = msgspec.json.Encoder().encode
_trip = msgspec.json.Decoder(Trip).decode


class Breakers:
    """The breakers of one host, as one of its processes sees them. Methods may be called from any thread."""

    def __init__(self, store: RunStore, rules: Mapping[int, Rules] | None = None) -> None:
        """Use the file of `store`, and these rules by tier, or ours."""
        self._store = store
        self._rules = rules or rules_by_tier()
        self._measures = Measures(store)
        fd = os.open(store.folder / "breakers", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(fd, mmap.PAGESIZE)
            self._map = mmap.mmap(fd, mmap.PAGESIZE)
        finally:
            os.close(fd)
        self._turn = memoryview(self._map).cast("q")
        self._known, self._loaded = -1, 0
        self._trips: dict[tuple[str, str], tuple[Trip, ...]] = {}
        self._load(0)

    def state(self, subject: str, scopes: Iterable[str], now: int, class_: str = WRITE) -> Standing:
        """Return how the worst of these breakers stands for a call of this class. A lookup in memory, for every call.

        A call that only reads is what probes a breaker that is half open and may be probed: to it, it is closed.
        """
        if self._turn[0] != self._known or not 0 <= now - self._loaded < FRESH:
            self._load(now)
        if not self._trips:
            return CLOSED
        worst = CLOSED
        for scope in scopes:
            for trip in self._trips.get((subject, scope), ()):
                position = trip.position(now)
                if position == "open":
                    return Standing("open", trip)
                if position == "half-open" and (class_ != READ or trip.closing != "probe"):
                    worst = Standing("half-open", replace(trip, state="half-open"))
        return worst

    def trips(self, subject: str = "") -> list[Trip]:
        """Return all breakers that are not closed, those that opened last first."""
        self._load(self._loaded)
        found = [trip for held in self._trips.values() for trip in held if subject in {"", trip.subject}]
        return sorted(found, key=lambda trip: trip.at, reverse=True)

    def note(self, signal: Signal) -> list[Trip]:
        """Count a signal. Returns the breakers that it opened, or closed: to be put on the ledger."""
        rules = self._of(signal.tier)
        changed: list[Trip] = []
        with self._store.writing() as db:
            standing = {(trip.scope, trip.measure): trip for trip in _stored(db, signal.subject)}
            found = list(self._measures.found(db, rules, signal))
            known = {(scope, measure) for scope, measure, _ in found}
            again = relapsed(standing, signal, self._measures.slow(db, rules, signal))
            found += [one for one in again if one[:2] not in known]
            for scope, measure, why in found:
                before = standing.get((scope, measure))
                if before is not None and before.position(signal.at) == "open":
                    continue
                trip = Trip(signal.subject, scope, measure, signal.tier, why, changed=signal.at)
                changed.append(_put(db, opened(rules, trip, before)))
                _forget(db, changed[-1])
            if any(trip.scope.startswith("agent/") for trip in changed):
                changed += _many(db, rules, signal)
            if not found:
                changed += [_put(db, trip) for trip in _recovered(standing, signal)]
        self._told(changed, signal.at)
        # On the ledger a scope is open or closed: it is closed once nothing of it is open any more.
        still = self._trips
        return [t for t in changed if t.state == "open" or (t.state == "closed" and (t.subject, t.scope) not in still)]

    def close(self, subject: str, scope: str, by: str, reason: str, now: int) -> list[Trip]:
        """Close what is open in a scope: what follows is supervised, unless it was so already. By a named person.

        Raises InvalidInput without a name and a reason, NotFound if nothing is open there.
        """
        if not by.strip() or not reason.strip():
            raise InvalidInput("a breaker is closed by somebody named, for a reason", hint="say who, and why")
        changed = self.lift(subject, scope, by, reason, now)
        if not changed:
            open_ = ", ".join(sorted({trip.scope for trip in self.trips(subject)})) or "none is"
            raise NotFound(f"no breaker of {scope} is open", hint=f"open: {open_}")
        return changed

    def lift(self, subject: str, scope: str, by: str, reason: str, at: int) -> list[Trip]:
        """Follow what was closed at a moment, here or on another host. What has opened since stays; twice is once."""
        changed = []
        with self._store.writing() as db:
            for trip in _stored(db, subject):
                if trip.scope != scope or trip.state == "closed" or trip.changed >= at:
                    continue
                left = self._of(trip.tier).supervised["person" if trip.closing == "probe" else trip.closing]
                left = 0 if trip.state == "half-open" and trip.by else left
                state = "half-open" if left else "closed"
                lifted = replace(trip, state=state, changed=at, until=0, left=left, by=by, reason=reason)
                changed.append(_put(db, lifted))
                _forget(db, trip)
        self._told(changed, at)
        return changed

    def impose(self, trip: Trip) -> bool:
        """Follow a breaker that opened on another host; False: it is open here too, or was closed since.

        What closes it is worked out here: `trip` says which it is, of which tier, why, and when it `changed`.
        """
        with self._store.writing() as db:
            standing = {(known.scope, known.measure): known for known in _stored(db, trip.subject)}
            before = standing.get((trip.scope, trip.measure))
            if before is not None and (before.state == "open" or before.changed >= trip.changed):
                return False
            trip = _put(db, opened(self._of(trip.tier), trip, before))
        self._told([trip], trip.changed)
        return True

    def prune(self, before: int) -> None:
        """Forget what was counted before a moment, and what closed before it."""
        with self._store.writing() as db:
            tally.prune(db, before)
            for trip in _stored(db):
                if trip.state == "closed" and trip.changed < before:
                    key = (trip.subject, trip.scope, trip.measure)
                    db.execute("DELETE FROM trip WHERE subject = ? AND scope = ? AND measure = ?", key)

    def close_file(self) -> None:
        """Let the mapped number go."""
        self._turn.release()
        self._map.close()

    # What stands

    def _of(self, tier: int) -> Rules:
        return self._rules.get(tier, self._rules[STRICTEST])

    def _told(self, changed: list[Trip], now: int) -> None:
        if changed:
            self._load(now)  # this process follows at once, the others when it can be read
            self._store.afterwards(self._tell_others)

    def _tell_others(self) -> None:
        # Any other number will do, and a drawn one needs no lock between those who write it.
        self._turn[0] = int.from_bytes(os.urandom(8), "big") >> 1

    def _load(self, now: int) -> None:
        turn = self._turn[0]  # before it is read: what changes meanwhile is read again
        found: dict[tuple[str, str], tuple[Trip, ...]] = {}
        with self._store.reading() as db:
            for trip in _stored(db):
                if trip.state != "closed":
                    found[trip.subject, trip.scope] = (*found.get((trip.subject, trip.scope), ()), trip)
        self._trips, self._known, self._loaded = found, turn, now


def _stored(db: apsw.Connection, subject: str = "") -> list[Trip]:
    where, bound = ("WHERE subject = ?", (subject,)) if subject else ("", ())
    rows: list[Any] = db.execute(f"SELECT content FROM trip {where}", bound).fetchall()  # noqa: S608 - our own words
    return [_trip(content) for (content,) in rows]


def _put(db: apsw.Connection, trip: Trip) -> Trip:
    row = (trip.subject, trip.scope, trip.measure, _content(trip))
    db.execute("INSERT INTO trip VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET content = excluded.content", row)
    return trip


def _forget(db: apsw.Connection, trip: Trip) -> None:
    """Begin to count anew. What is usual stays known."""
    for measure in (trip.measure, f"{trip.measure} row"):
        tally.clear(db, (trip.subject, trip.scope, measure))
    if trip.scope.startswith("tool/"):  # each agent's share in what was wrong with the tool
        order = "DELETE FROM tally WHERE subject = ? AND measure = ? AND substr(scope, -length(?)) = ?"
        db.execute(order, (trip.subject, trip.measure, (tail := f"|{trip.scope}"), tail))


def _recovered(standing: Mapping[tuple[str, str], Trip], signal: Signal) -> Iterator[Trip]:
    """Count a good call towards closing what is half open."""
    if signal.kind not in {"outcome", "model"} or signal.transport or signal.failed:
        return
    names = scopes(signal.subject, signal.agent, signal.tool, signal.model)
    for trip in standing.values():
        if trip.scope not in names or trip.position(signal.at) != "half-open":
            continue
        if signal.kind == "model" and not trip.scope.startswith("model/"):
            continue  # that an agent goes on thinking proves nothing
        if trip.closing != "probe" and signal.kind == "outcome" and not signal.agreed:
            continue  # it was let through before
        left = trip.left - 1
        state = "half-open" if left > 0 else "closed"
        why = trip.reason or "it worked again"
        yield replace(trip, state=state, changed=signal.at, until=0, left=left, reason=why)


def _many(db: apsw.Connection, rules: Rules, signal: Signal) -> list[Trip]:
    """Open the use case's breaker where too many of its agents have one open."""
    standing = _stored(db, signal.subject)
    agents = {t.scope.partition("|")[0] for t in standing if t.scope.startswith("agent/") and t.state == "open"}
    scope = scopes(signal.subject)[0]
    before = next((trip for trip in standing if (trip.scope, trip.measure) == (scope, "agents")), None)
    if not rules.agents or len(agents) < rules.agents or (before and before.position(signal.at) == "open"):
        return []
    why = f"{len(agents)} of its agents have a breaker open: {', '.join(sorted(agents))}"
    trip = Trip(signal.subject, scope, "agents", signal.tier, why, changed=signal.at)
    return [_put(db, opened(rules, trip, before))]
