"""What breakers measure: each way in which an agent, a tool or a model goes wrong, and from when on it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bedplate.kernel.clock import DAY, SECOND

from . import tally
from .run import NANO_PER_CENT, day_of
from .trip import Measure, Rules, Share, Signal, Trip, scopes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import apsw

    from .runstore import RunStore

BASE_SLOT, BASE_SLOTS = 600 * SECOND, 144  # what is usual: of the 24 hours before
BASE_HELD = 60 * SECOND
EARLY = 10 * BASE_SLOT  # an agent's own pace is known once it has worked this long
MOST_BASES = 10_000  # tools and models
ONCE = "run"  # what is told once of a run
GROWN = "grown"  # when an agent ceased to be new
Found = tuple[str, Measure, str]  # scope, measure, why


class Measures:
    """Counts signals, in the transaction whose connection it is given."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._bases: dict[tuple[str, str, str], tuple[int, int]] = {}

    def found(self, db: apsw.Connection, rules: Rules, signal: Signal) -> Iterator[Found]:
        """Count a signal, and name the breakers that it opens."""
        match signal.kind:
            case "call":
                yield from self._called(db, rules, signal)
            case "outcome":
                yield from self._ended(db, rules, signal)
            case "model":
                yield from self._ended(db, rules, signal)
                yield from self._spent(db, rules, signal)
            case "answer":
                scope = f"agent/{signal.agent}"
                yield from _refused(db, rules.refusals, signal, scope, "refusals", bad=not signal.granted)

    def _called(self, db: apsw.Connection, rules: Rules, signal: Signal) -> Iterator[Found]:
        agent = f"agent/{signal.agent}"
        if signal.own or signal.verdict != "deny":
            yield from _refused(db, rules.denials, signal, agent, "denials", bad=signal.verdict == "deny")
        run = self._store.run(signal.run) if signal.run else None
        if run is not None and run.recent:
            digest = run.recent[-1][1]
            if rules.repeats and (again := run.same(digest) - 1) >= rules.repeats:
                why = f"{signal.tool} was called {again + 1} times with the same arguments, one after the other"
                yield f"{agent}|tool/{signal.tool}", "repeats", why
            if rules.swings and (swings := run.swings()) >= rules.swings:
                yield agent, "swings", f"two calls took turns {swings} times: {_pair(run.recent)}"
        if run is not None and 0 < rules.steps < run.steps and self._once(db, signal, f"steps {run.id}"):
            yield agent, "steps", f"run {run.id} took {run.steps} steps; {rules.steps} are usual at most"
        if signal.verdict == "allow":
            yield from self._new(db, rules, signal, agent)

    def _new(self, db: apsw.Connection, rules: Rules, signal: Signal, agent: str) -> Iterator[Found]:
        news = rules.news
        calls = tally.streak(db, (signal.subject, agent, "calls"), bad=True)
        for sort, what, most in (("tool", signal.tool, news.tools), ("to", signal.destination, news.destinations)):
            if not what or not tally.first(db, signal.subject, signal.agent, sort, what, signal.at) or not most:
                continue
            if calls <= news.after:
                continue
            # What it met while it was young is no news.
            tally.first(db, signal.subject, signal.agent, GROWN, "", signal.at - 1)
            since = signal.at - news.within_s * SECOND
            count = tally.met_since(db, signal.subject, signal.agent, sort, since, after=GROWN)
            if count >= most:
                name = "tools" if sort == "tool" else "destinations"
                yield agent, "news", f"{count} {name} within {news.within_s} s that it never used before"

    def _ended(self, db: apsw.Connection, rules: Rules, signal: Signal) -> Iterator[Found]:
        rule, down = rules.transport, False
        for scope in _reached(signal):
            key = (signal.subject, scope, "transport")
            bad, count = tally.share(db, key, signal.at, rule.within_s, bad=signal.transport)
            if signal.transport and 0 < rule.of <= count and bad * 100 >= count * rule.percent and not down:
                down = True  # the tool itself: that it does not work for this agent either goes without saying
                yield scope, "transport", f"{bad} of {count} calls within {rule.within_s} s did not get through"
        if not signal.latency_us or signal.transport:
            return
        scope = _reached(signal)[0]
        key, slow = (signal.subject, scope, "latency"), rules.latency
        usual = self.slow(db, rules, signal)
        tally.duration(db, key, tally.slot_of(signal.at, slow.within_s), signal.latency_us)
        tally.duration(db, (*key[:2], "usual"), signal.at - signal.at % BASE_SLOT, signal.latency_us)
        if usual and signal.latency_us > usual:
            now, count = tally.p95(db, key, signal.at - slow.within_s * SECOND, signal.at + 1)
            if count >= slow.of and now > usual:
                why = f"95 % of {count} calls took up to {now // 1000} ms; usual are {usual // slow.times // 1000} ms"
                yield scope, "latency", why

    def slow(self, db: apsw.Connection, rules: Rules, signal: Signal) -> int:
        """Return from how many microseconds on a call is slow, compared to the day before; 0: nobody can say yet."""
        slow = rules.latency
        if signal.kind not in {"outcome", "model"} or not slow.times:
            return 0
        key = (signal.subject, _reached(signal)[0], "usual")
        at, base = self._bases.get(key, (-BASE_HELD, 0))
        if not 0 <= signal.at - at < BASE_HELD:
            last = signal.at - signal.at % BASE_SLOT  # what happens just now is not what is usual
            base, count = tally.p95(db, key, last - BASE_SLOTS * BASE_SLOT, last)
            base = base if count >= slow.base_of else 0
            if len(self._bases) >= MOST_BASES:
                self._bases.clear()
            self._bases[key] = (signal.at, base)
        return max(base * slow.times, slow.at_least_ms * 1000) if base else 0

    def _spent(self, db: apsw.Connection, rules: Rules, signal: Signal) -> Iterator[Found]:
        cost, agent = rules.cost, f"agent/{signal.agent}"
        if not signal.nano or not signal.agent:
            return
        run = self._store.run(signal.run) if signal.run else None
        most = cost.cents_per_run
        if run is not None and 0 < most * NANO_PER_CENT <= run.cost_nano and self._once(db, signal, f"cost {run.id}"):
            yield agent, "cost", f"run {run.id} cost {_cents(run.cost_nano)}; {most} are usual at most"
        day, most = self._store.day(signal.subject, signal.agent, day_of(signal.at)), cost.cents_per_day
        if 0 < most * NANO_PER_CENT <= day.cost_nano and self._once(db, signal, f"cost of day {day.day}"):
            yield agent, "cost", f"the day cost {_cents(day.cost_nano)}; {most} are usual at most"
        key, usual = (signal.subject, agent, "velocity"), (signal.subject, agent, "pace")
        tally.add(db, key, tally.slot_of(signal.at, cost.within_s), signal.nano, 0)
        tally.add(db, usual, signal.at - signal.at % BASE_SLOT, signal.nano, 0)
        now, _ = tally.within(db, key, signal.at, cost.within_s)
        if not cost.times or now < cost.at_least_cents * NANO_PER_CENT:
            return
        order = (
            "SELECT min(slot), total(good) FROM tally WHERE subject = ? AND scope = ? AND measure = ? "
            "AND slot >= ? AND slot < ?"
        )
        until = signal.at - cost.within_s * SECOND
        row: Any = db.execute(order, (*usual, signal.at - DAY, until)).fetchone()
        if row[0] is None or until - int(row[0]) < EARLY:
            return  # it has no pace of its own yet
        pace = float(row[1]) / (until - int(row[0])) * cost.within_s * SECOND
        if now > pace * cost.times:
            why = f"{_cents(now)} within {cost.within_s} s; usual are {_cents(int(pace))}"
            yield agent, "velocity", why

    def _once(self, db: apsw.Connection, signal: Signal, what: str) -> bool:
        """Tell whether this is the first time that this is said: who closes the breaker has seen it."""
        return tally.first(db, signal.subject, signal.agent, ONCE, what, signal.at)


def relapsed(standing: Mapping[tuple[str, str], Trip], signal: Signal, slow: int) -> Iterator[Found]:
    """Find the half open breakers that this signal opens again: once is enough."""
    for scope in scopes(signal.subject, signal.agent, signal.tool, signal.model):
        for (where, measure), trip in standing.items():
            if where != scope or trip.position(signal.at) != "half-open":
                continue
            match measure:
                case "transport":
                    bad = signal.kind in {"outcome", "model"} and signal.transport
                case "latency":
                    bad = signal.kind in {"outcome", "model"} and 0 < slow < signal.latency_us
                case "refusals":
                    bad = signal.kind == "answer" and not signal.granted
                case "cost" | "velocity":
                    bad = False  # what it costs is counted as ever
                case _:
                    bad = signal.kind == "call" and signal.verdict == "deny" and signal.own
            if bad:
                yield scope, measure, f"it went wrong again while it was half open: {trip.why}"  # type: ignore[misc]


def _refused(
    db: apsw.Connection,
    rule: Share,
    signal: Signal,
    scope: str,
    measure: Measure,
    *,
    bad: bool,
) -> Iterator[Found]:
    what = "calls were refused" if measure == "denials" else "actions were refused by people"
    row = tally.streak(db, (signal.subject, scope, f"{measure} row"), bad=bad)
    wrong, count = tally.share(db, (signal.subject, scope, measure), signal.at, rule.within_s, bad=bad)
    if bad and 0 < rule.in_a_row <= row:
        yield scope, measure, f"{row} {what}, one after the other"
    elif bad and 0 < rule.of <= count and wrong * 100 >= count * rule.percent:
        yield scope, measure, f"{wrong} of {count} {what} within {rule.within_s} s"


def _reached(signal: Signal) -> tuple[str, ...]:
    """Name what a call reached, or did not: the model, or the tool, for all and for this agent."""
    if signal.kind == "model":
        return (f"model/{signal.model}",)
    return (f"tool/{signal.tool}", f"agent/{signal.agent}|tool/{signal.tool}")


def _pair(recent: tuple[tuple[str, str, str], ...]) -> str:
    return f"{recent[-2][0]} and {recent[-1][0]}"


def _cents(nano: int) -> str:
    return f"{nano / NANO_PER_CENT:.1f} cents"
