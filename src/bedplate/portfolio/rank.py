"""Which idea comes first: value × feasibility × data readiness × cost of control, each raised to its weight.

A weighted product (Bridgman 1922): one hopeless part pulls the whole down, and no other part can pay for it. Scores are
per mille. Every part is shown as what it is and as the factor it gives; the four factors multiplied are the score.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.model import OperatingModel

Part = Literal["value", "feasibility", "data", "control"]
PARTS: tuple[Part, ...] = ("value", "feasibility", "data", "control")
WEIGHTS: Mapping[Part, int] = {
    "value": 40,
    "feasibility": 25,
    "data": 20,
    "control": 15,
}  # while the model says nothing
MOVE = 20  # percent by which a weight moves to see whether the order holds
TOP, SHOWN = 10, 20  # places that are looked at for a change; pairs that are listed
WHOLE = 1000
# How ready data is, per mille, by the state of its contract: what nobody checks is not better than what fails.
STALE, UNCHECKED, FAILING_MOST = 600, 200, 500


@dataclass(frozen=True, slots=True)
class Contract:
    """A data contract as it stands, as far as weighing needs it."""

    id: str
    title: str
    state: str  # passing, failing, stale, unchecked; unknown where nobody declared it
    passed_permille: int
    mend_days: int

    @property
    def ready(self) -> int:
        """How ready its data is, per mille."""
        match self.state:
            case "passing":
                return WHOLE
            case "stale":
                return STALE
            case "failing":
                return max(UNCHECKED, min(FAILING_MOST, self.passed_permille))
            case _:
                return UNCHECKED


@dataclass(frozen=True, slots=True)
class Span:
    """A number with how low and how high it may be."""

    low: int
    mid: int
    high: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is weighed: an idea or a use case. `feasibility` in per mille, 1000 for a five in everything."""

    id: str
    subject: str
    title: str
    domain: str
    bucket: str
    tier: int
    stage: str  # proposed, deferred, taken-up; of a use case: proposed, accepted, live
    yearly_cents: Span
    feasibility: Span
    contracts: tuple[str, ...]
    effort_days: int  # 0: nobody said
    cost_cents: int
    generative: bool
    after: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Weighed:
    """One part of a score: what it is (per mille), the factor it gives (per mille), and why."""

    part: Part
    measure: Span
    factor: Span
    why: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A proposal's place, its score, and the places that it may take: `best` and `worst` are exact bounds."""

    place: int
    best: int
    worst: int
    proposal: Proposal
    score: Span
    parts: tuple[Weighed, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """What follows when one weight moves: the weights then, and the pairs within the first places that swap."""

    part: Part
    by_percent: int
    weights: Mapping[Part, int]  # per mille
    swaps: int
    pairs: tuple[tuple[str, str], ...]  # (was before, comes after)


def weights_of(model: OperatingModel) -> dict[Part, int]:
    """Return the weights of the operating model, or those that count while it has none."""
    section = model.sections.get("portfolio")
    given = section.get("weights") if isinstance(section, dict) else None
    return {part: int(str(given[part])) if isinstance(given, dict) else WEIGHTS[part] for part in PARTS}


def value_points(cents: int, bands: Sequence[int]) -> int:
    """Place a yearly value among the appetite's bands, in per mille of a five: 1 to 5, straight between bands."""
    edges = [0, *(band * 100 for band in bands)]
    points = float(len(edges))
    for place, (low, high) in enumerate(pairwise(edges), 1):
        if cents < high:
            points = place + max(0, cents - low) / max(1, high - low)
            break
    return round(points * WHOLE / len(edges))


def burdens(model: OperatingModel) -> dict[int, tuple[int, str]]:
    """Return what each tier owes, counted in steps, and said in words: votes, controls and monitors."""
    found = {}
    for number, plan in model.tiers.items():
        votes = sum(s.quorum for what in ("accept", "release") for s in plan.approvals[what])
        steps = votes + len(plan.controls) + len(plan.monitors)
        said = f"{votes} votes, {len(plan.controls)} controls, {len(plan.monitors)} monitors"
        found[int(number)] = (steps, said)
    return found


class Scale:
    """How an operating model, and the contracts as they stand, turn a proposal into a score."""

    def __init__(self, model: OperatingModel, contracts: Mapping[str, Contract]) -> None:
        bands = model.appetites["value_bands"]
        if not isinstance(bands, list):
            raise TypeError("appetites.value_bands is a list")
        self.bands = [int(str(b)) for b in bands]
        self.contracts = contracts
        self.burdens = burdens(model)
        self.least = min(steps for steps, _ in self.burdens.values())
        self._known: dict[Proposal, dict[Part, tuple[Span, str]]] = {}

    def parts(self, proposal: Proposal) -> Mapping[Part, tuple[Span, str]]:
        """Return the four parts of a proposal, per mille, and why each is what it is."""
        if proposal not in self._known:
            self._known[proposal] = self._parts(proposal)
        return self._known[proposal]

    def _parts(self, proposal: Proposal) -> dict[Part, tuple[Span, str]]:
        cents = proposal.yearly_cents
        value = Span(*(value_points(c, self.bands) for c in (cents.low, cents.mid, cents.high)))
        ready, why = self._data(proposal)
        steps, said = self.burdens[proposal.tier]
        control = round(WHOLE * self.least / steps)
        return {
            "value": (value, f"{cents.mid // 100:,} a year by its hypothesis"),
            "feasibility": (
                proposal.feasibility,
                f"{proposal.feasibility.mid / 200:.1f} of 5 in technology, people, change",
            ),
            "data": (Span(ready, ready, ready), why),
            "control": (
                Span(control, control, control),
                f"tier {proposal.tier} owes {steps} steps ({said}); the lightest tier owes {self.least}",
            ),
        }

    def _data(self, proposal: Proposal) -> tuple[int, str]:
        """A chain is as strong as its weakest link: the contract that is least ready decides."""
        if not proposal.contracts:
            return UNCHECKED, "no data contract is named, so nobody knows"
        held = [self.contracts.get(c, Contract(c, c, "unknown", 0, 0)) for c in proposal.contracts]
        weakest = min(held, key=lambda c: (c.ready, c.id))
        if weakest.state == "passing":
            return weakest.ready, f"every contract passes: {', '.join(c.id for c in held)}"
        share = f", {weakest.passed_permille / 10:g} % of its checks pass" if weakest.state == "failing" else ""
        return weakest.ready, f"{weakest.id} is {weakest.state}{share}"


def rank(proposals: Sequence[Proposal], scale: Scale, weights: Mapping[Part, int]) -> list[Ranked]:
    """Order proposals by score. The interval of a place is exact: every combination of low and high lies within it."""
    held = [(proposal, scale.parts(proposal)) for proposal in proposals]
    scored = [(p, parts, _score({k: s for k, (s, _) in parts.items()}, weights)) for p, parts in held]
    scored.sort(key=lambda one: (-one[2][1], one[0].id))
    lows, highs = sorted(low for _, _, (low, _, _) in scored), sorted(high for _, _, (_, _, high) in scored)
    ranked = []
    for place, (proposal, parts, (low, mid, high)) in enumerate(scored, 1):
        ranked.append(
            Ranked(
                place,
                1 + len(lows) - bisect_right(lows, high),
                len(highs) - bisect_left(highs, low),
                proposal,
                Span(round(low), round(mid), round(high)),
                tuple(_weighed(part, parts[part], weights[part]) for part in PARTS),
            )
        )
    return ranked


def sensitivity(proposals: Sequence[Proposal], scale: Scale, weights: Mapping[Part, int]) -> list[Moved]:
    """Move each weight up and down by a fifth, the others in proportion, and tell which of the first places swap."""
    measures = {p.id: {k: s.mid for k, (s, _) in scale.parts(p).items()} for p in proposals}
    before = _order(measures, {part: float(weights[part]) for part in PARTS})
    first = before[:TOP]
    found = []
    for part in PARTS:
        for by in (-MOVE, MOVE):
            moved = _moved(weights, part, by)
            place = {name: i for i, name in enumerate(_order(measures, moved))}
            # A pair counts when at least one of it stands in the first places: further down an order decides nothing.
            pairs = [
                (one, other) for i, one in enumerate(first) for other in before[i + 1 :] if place[other] < place[one]
            ]
            kept = {k: round(v * 10) for k, v in moved.items()}
            found.append(Moved(part, by, kept, len(pairs), tuple(pairs[:SHOWN])))
    return found


def _order(measures: Mapping[str, Mapping[Part, int]], weights: Mapping[Part, float]) -> list[str]:
    scores = {name: prod(_factor(m[part], weights[part]) for part in PARTS) for name, m in measures.items()}
    return sorted(measures, key=lambda name: (-scores[name], name))


def _moved(weights: Mapping[Part, int], part: Part, by: int) -> dict[Part, float]:
    mine = min(100.0, weights[part] * (100 + by) / 100)
    rest = 100 - weights[part]
    return {p: mine if p == part else weights[p] * (100 - mine) / rest if rest else (100 - mine) / 3 for p in PARTS}


def _score(spans: Mapping[Part, Span], weights: Mapping[Part, int]) -> tuple[float, float, float]:
    """Every part raises the score, so that the lowest score is that of all the lowest parts."""
    low, mid, high = (
        WHOLE * prod(_factor(getattr(spans[part], end), weights[part]) for part in PARTS)
        for end in ("low", "mid", "high")
    )
    return low, mid, high


def _factor(permille: int, weight: float) -> float:
    return float((permille / WHOLE) ** (weight / 100))


def _weighed(part: Part, held: tuple[Span, str], weight: int) -> Weighed:
    span, why = held
    factor = Span(*(round(WHOLE * _factor(p, weight)) for p in (span.low, span.mid, span.high)))
    return Weighed(part, span, factor, why)
