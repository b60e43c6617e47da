"""What delegating decisions to the domains would do: waiting time by tier, and what the risk would be, side by side.

A discrete-event simulation (SimPy) of the queues as they were seen. Requests of each tier, kind and domain arrive at
random at the rate they did (Poisson); all bodies that a tier's plan names decide side by side, and a request is through
when the last has decided. A body takes one request after the other, each for a random time (exponential). Its rate is
fitted to what was seen: where its queue grows, to what it decided a week; where it is steady, so that a single queue
with its arrivals waits as long as was seen (M/M/1: arrivals + 1 / mean wait). Requests come for 13 weeks and are waited
for until the last is through. Each option is run 20 times with the same random arrivals and the same random work; a
figure is the middle of the runs, its interval the range that holds nine of ten of them.

Risk exposure = Σ weight(tier) × decisions expected in 13 weeks that are taken without the delegating body; the weight
doubles with each tier: 1, 2, 4, 8. Beside it stands how many of those the body would have refused, at its past rate.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import DAY

from .queue import DECISIONS, FEW, TOLD, WEEK, growth, spread

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from bedplate.kernel.model import OperatingModel

    from .queue import Wait

WHAT: Mapping[str, str] = {"acceptance": "accept", "approval": "release"}  # what the operating model calls each step
AHEAD, RUNS, SEED = 13, 20, 20_261_123
MOST_REQUESTS = 30_000  # in all runs of one option: a large organisation gets fewer runs, not a long wait
FEWEST_RUNS, LEAST_SEEN = 5, 20
TAKEN_BY_DOMAIN = "domain"
SURE = 0.9  # of the runs
BUSY_LEAST = 0.25  # decisions a week of a structure of which nothing was seen


@dataclass(frozen=True, slots=True)
class Delegation:
    """One body's decisions of one kind about a tier, taken by the domain that owns the use case."""

    tier: int
    what: str  # accept or release
    body: str  # board or coe

    def __str__(self) -> str:
        return f"{self.tier}:{self.what}:{self.body}"


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of one kind: how many a week, and which bodies decide each of them."""

    tier: int
    what: str
    domain: str
    per_week: float
    bodies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Everything a simulation starts from. Rates are a week; hashable, so that the same question is answered once."""

    streams: tuple[Stream, ...]
    others: tuple[tuple[str, float], ...]  # by structure: what else it decides
    rates: tuple[tuple[str, float], ...]  # by structure: decisions it can take
    queued: tuple[tuple[str, int], ...]  # by structure: how many wait now
    refused: tuple[tuple[Delegation, int, int], ...]  # refused, of so many decided
    assumed: tuple[str, ...]  # structures of which too little was seen, and what was taken instead


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure over the runs, in days: the middle, and the range that holds nine of ten."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One option: days until the last body decided, by tier and over all, and what the risk would be."""

    delegations: tuple[Delegation, ...]
    tiers: Mapping[int, tuple[Figure, Figure]]  # the median and the 85th percentile
    overall: tuple[Figure, Figure]
    load: Mapping[str, float]  # arrivals a week against the rate, by structure
    exposure: float
    decisions: float  # expected in 13 weeks without the delegating body
    missed: float | None  # of them it would have refused; None: too few were decided to say
    late: tuple[float, ...]  # the 85th percentile of each run
    proposed: bool = False

    @property
    def name(self) -> str:
        """What would be delegated; "as is" for nothing."""
        return " + ".join(map(str, self.delegations)) or "as is"


def parse(text: str, model: OperatingModel) -> Delegation:
    """Read TIER:WHAT or TIER:WHAT:BODY, such as 2:release; `InvalidInput` says what is wrong with it."""
    hint = "write TIER:WHAT or TIER:WHAT:BODY, such as 2:release or 3:accept:board"
    tier, _, rest = text.strip().partition(":")
    what, _, body = rest.partition(":")
    if tier not in {"1", "2", "3", "4"} or what not in WHAT.values():
        raise InvalidInput(f"--delegate {text!r} cannot be read", hint=hint)
    deciding = [s.body for s in model.tiers[int(tier)].approvals[what] if s.body != TAKEN_BY_DOMAIN]
    if not deciding:
        raise InvalidInput(f"the domain itself decides {what} in tier {tier}: there is nothing to delegate", hint=hint)
    if not body and len(deciding) > 1:
        names = " and ".join(deciding)
        raise InvalidInput(f"{names} both decide {what} in tier {tier}", hint=f"say whose: {tier}:{what}:{deciding[0]}")
    if body and body not in deciding:
        raise InvalidInput(f"{body!r} does not decide {what} in tier {tier}; {', '.join(deciding)} does", hint=hint)
    return Delegation(int(tier), what, body or deciding[0])


def load(waits: Sequence[Wait], now: int, weeks: int, model: OperatingModel) -> Load:
    """Make the load out of what was seen in a window; `InvalidInput` if it is too little to simulate."""
    since = now - weeks * WEEK
    requests = {w.stream: w for w in waits if w.began >= since and w.step in WHAT and w.tier in model.tiers}
    if len(requests) < LEAST_SEEN:
        raise InvalidInput(
            f"{len(requests)} requests were made in {weeks} weeks: too few to simulate",
            hint=f"it takes {LEAST_SEEN}; look at more weeks, or wait for more",
            code="too-few",
        )
    counts: dict[tuple[int, str, str], int] = defaultdict(int)
    for wait in requests.values():
        counts[wait.tier, WHAT[wait.step], wait.domain] += 1
    streams = tuple(
        Stream(tier, what, domain, n / weeks, tuple(s.body for s in model.tiers[tier].approvals[what]))
        for (tier, what, domain), n in sorted(counts.items())
    )
    structures = {place(body, s.domain) for s in streams for body in (*s.bodies, TAKEN_BY_DOMAIN)}
    seen = {name: [w for w in waits if w.structure == name and w.step in DECISIONS] for name in structures}
    others = tuple(
        (name, sum(w.began >= since and w.step not in WHAT for w in mine) / weeks)
        for name, mine in sorted(seen.items())
    )
    rates, assumed = _rates(seen, since, weeks)
    refused: dict[Delegation, list[bool]] = defaultdict(list)
    for wait in waits:
        if wait.step in WHAT and wait.outcome in {"done", "refused"}:
            refused[Delegation(wait.tier, WHAT[wait.step], wait.body)].append(wait.outcome == "refused")
    return Load(
        streams,
        others,
        tuple(sorted(rates.items())),
        tuple((name, sum(not w.ended for w in mine)) for name, mine in sorted(seen.items())),
        tuple((which, sum(no), len(no)) for which, no in sorted(refused.items(), key=_by_name)),
        assumed,
    )


def options(found: Load) -> list[tuple[Delegation, ...]]:
    """List every single delegation to the domains of something that is asked at all."""
    return [
        (Delegation(tier, what, body),)
        for tier, what, body in sorted(
            {(s.tier, s.what, body) for s in found.streams for body in s.bodies if body != TAKEN_BY_DOMAIN}
        )
    ]


def compare(found: Load, choices: Sequence[tuple[Delegation, ...]], clocks: Mapping[str, int]) -> list[Outcome]:
    """Simulate things as they are and each choice beside it; marks the one that is proposed, if any helps.

    Whatever is proposed waits less than now in nine of ten runs. Of those it is the least exposure with which nine of
    ten runs keep the shortest clock in 85 of 100 decisions; where none does, or there is no clock, the most days saved
    for the exposure. Nothing is proposed where the clock is kept already.
    """
    as_is = simulate(found, ())
    told = [simulate(found, choice) for choice in choices]
    helping = [o for o in told if _surely_less(o.late, as_is.late)]
    days = min((d for body, d in clocks.items() if body != TAKEN_BY_DOMAIN), default=0)
    within = [o for o in helping if days and o.overall[1].high <= days]

    def saved(outcome: Outcome) -> float:
        return (as_is.overall[1].middle - outcome.overall[1].middle) / max(outcome.exposure, 1)

    best = min(within, key=_exposure) if within else max(helping, key=saved, default=None)
    return [as_is, *(_marked(o) if o is best and as_is.overall[1].middle > days else o for o in told)]


@lru_cache(maxsize=64)
def simulate(found: Load, choice: tuple[Delegation, ...]) -> Outcome:
    """Simulate one choice. The seed is fixed: the same question has the same answer."""
    streams = [_delegated(stream, choice) for stream in found.streams]
    expected = sum(s.per_week * len(s.bodies) for s in streams) * AHEAD + sum(n for _, n in found.queued)
    runs = max(FEWEST_RUNS, min(RUNS, int(MOST_REQUESTS / max(expected, 1))))
    medians: dict[int, list[float]] = defaultdict(list)
    late: dict[int, list[float]] = defaultdict(list)
    for run in range(runs):
        times = _run(found, streams, f"{SEED}/{run}")
        for tier, mine in (*times.items(), (0, [t for each in times.values() for t in each])):
            told = spread(mine)
            if told.p50 is not None and told.p85 is not None:
                medians[tier].append(told.p50 / DAY)
                late[tier].append(told.p85 / DAY)
    if not medians[0]:
        raise InvalidInput("too few requests to simulate", hint="look at more weeks", code="too-few")
    figures = {tier: (_figure(medians[tier]), _figure(late[tier])) for tier in sorted(medians)}
    decided = {d: sum(s.per_week for s in found.streams if _concerns(d, s)) * AHEAD for d in choice}
    known = {which: (no, of) for which, no, of in found.refused}
    shares = [known.get(d, (0, 0)) for d in choice]
    judged = all(of >= FEW for _, of in shares)
    return Outcome(
        delegations=choice,
        tiers={tier: figure for tier, figure in figures.items() if tier},
        overall=figures[0],
        load=_loads(found, streams),
        exposure=sum(2 ** (d.tier - 1) * n for d, n in decided.items()),
        decisions=sum(decided.values()),
        missed=sum(n * no / of for n, (no, of) in zip(decided.values(), shares, strict=True)) if judged else None,
        late=tuple(late[0]),
    )


def snippet(choice: Sequence[Delegation], until: str) -> str:
    """Write what would go into the operating model: its section `delegations`, until a day such as 2027-05-31."""
    parts = ["delegations:"]
    for d in choice:
        parts += [
            f"  - id: tier-{d.tier}-{d.what}-{d.body}-to-domain",
            f"    tier: {d.tier}",
            f"    what: [{d.what}]",
            f"    from_body: {d.body}",
            "    to_body: domain",
            f'    until: "{until}"',
            f"    why: the {d.body} is the bottleneck; simulated with bedplate flow simulate --delegate {d}",
        ]
    return "\n".join(parts) + "\n"


def place(body: str, domain: str) -> str:
    """Name the queue in which a body's decision waits."""
    return f"domain/{domain}" if body == TAKEN_BY_DOMAIN else body


def _rates(seen: Mapping[str, Sequence[Wait]], since: int, weeks: int) -> tuple[dict[str, float], tuple[str, ...]]:
    rates: dict[str, float] = {}
    unseen = []
    for name, mine in sorted(seen.items()):
        times = [w.ended - w.began for w in mine if w.ended and w.outcome in TOLD]
        if len(times) < FEW:
            unseen.append(name)
            continue
        net = [0] * weeks
        for wait in mine:
            if wait.began >= since:
                net[min(weeks - 1, (wait.began - since) // WEEK)] += 1
            if wait.ended:
                net[min(weeks - 1, (wait.ended - since) // WEEK)] -= 1
        arrivals, left = (sum(w.began >= since for w in mine) / weeks, sum(w.ended > 0 for w in mine) / weeks)
        steady = arrivals + 1 / max(fmean(times) / WEEK, 1 / 168)  # an hour at least
        rates[name] = left if growth(net[-12:]).growing else steady
    own = [rate for name, rate in rates.items() if name.startswith("domain/")]
    rate = median(own or rates.values()) if rates else BUSY_LEAST
    assumed = []
    for name in unseen:
        arrivals = sum(w.began >= since for w in seen[name]) / weeks
        rates[name] = max(rate, arrivals + BUSY_LEAST)
        whose = "the domains' middle" if own else "the bodies' middle"
        assumed.append(f"{name} decided fewer than {FEW}: taken for {rates[name]:.1f} a week, {whose}")
    return rates, tuple(assumed)


def _delegated(stream: Stream, choice: Sequence[Delegation]) -> Stream:
    bodies = [TAKEN_BY_DOMAIN if Delegation(stream.tier, stream.what, b) in choice else b for b in stream.bodies]
    return Stream(stream.tier, stream.what, stream.domain, stream.per_week, tuple(dict.fromkeys(bodies)))


def _run(found: Load, streams: Sequence[Stream], seed: str) -> dict[int, list[int]]:
    """Run once; returns how long each request took in microseconds, by tier."""
    world = _World(dict(found.rates), seed)
    for name, waiting in found.queued:
        for _ in range(waiting):
            world.env.process(world.serve(name))
    for stream in streams:
        world.env.process(world.arrive(f"{stream.tier}/{stream.what}/{stream.domain}", stream.per_week, stream))
    for name, per_week in found.others:
        if per_week:
            world.env.process(world.arrive(f"other/{name}", per_week, name))
    world.env.run()
    return world.times


class _World:
    """One run: a desk for each structure, and whoever comes to them. Time goes by in weeks."""

    def __init__(self, rates: Mapping[str, float], seed: str) -> None:
        simpy = _simpy()
        self.env = simpy.Environment()
        self.times: dict[int, list[int]] = defaultdict(list)
        self._rates = rates
        self._seed = seed
        self._desks = {name: simpy.Resource(self.env) for name in rates}
        self._work = {name: self._chance(f"work/{name}") for name in rates}

    def serve(self, name: str) -> Generator[Any, Any, None]:
        """Wait for a structure's turn, and for its decision."""
        with self._desks[name].request() as turn:
            yield turn
            yield self.env.timeout(self._work[name].expovariate(self._rates[name]))

    def arrive(self, name: str, per_week: float, what: Stream | str) -> Generator[Any, Any, None]:
        """Let requests of a stream, or whatever else a structure decides, come until the last week."""
        chance = self._chance(name)
        while True:
            yield self.env.timeout(chance.expovariate(per_week))
            if self.env.now > AHEAD:
                return
            self.env.process(self._through(what) if isinstance(what, Stream) else self.serve(what))

    def _through(self, stream: Stream) -> Generator[Any, Any, None]:
        came = self.env.now
        deciding = [self.env.process(self.serve(place(body, stream.domain))) for body in stream.bodies]
        yield self.env.all_of(deciding)
        self.times[stream.tier].append(round((self.env.now - came) * WEEK))

    def _chance(self, name: str) -> random.Random:
        return random.Random(f"{self._seed}/{name}")  # noqa: S311  repeatable, not secret


def _loads(found: Load, streams: Sequence[Stream]) -> dict[str, float]:
    coming = dict(found.others)
    for stream in streams:
        for body in stream.bodies:
            name = place(body, stream.domain)
            coming[name] = coming.get(name, 0.0) + stream.per_week
    return {name: coming.get(name, 0.0) / rate for name, rate in found.rates}


def _figure(values: Sequence[float]) -> Figure:
    ordered = sorted(values)
    edge = len(ordered) // 20
    return Figure(median(ordered), ordered[edge], ordered[len(ordered) - 1 - edge])


def _concerns(delegation: Delegation, stream: Stream) -> bool:
    return (stream.tier, stream.what) == (delegation.tier, delegation.what) and delegation.body in stream.bodies


def _marked(outcome: Outcome) -> Outcome:
    return replace(outcome, proposed=True)


def _surely_less(late: Sequence[float], than: Sequence[float]) -> bool:
    pairs = list(zip(late, than, strict=False))  # run by run, with the same random arrivals
    return sum(a < b for a, b in pairs) >= SURE * len(pairs)


def _exposure(outcome: Outcome) -> tuple[float, float]:
    return outcome.exposure, outcome.overall[1].middle


def _by_name(item: tuple[Delegation, list[bool]]) -> str:
    return str(item[0])


def _simpy() -> Any:  # noqa: ANN401  a module that may be missing
    try:
        import simpy  # noqa: PLC0415  an extra, and 3 MB that only a simulation needs
    except ImportError:
        raise InvalidInput("SimPy is not installed, which simulates", hint="pip install 'bedplate[planning]'") from None
    return simpy
