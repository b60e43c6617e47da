"""Maturity, computed from records: what was counted goes in, and points with their state and the next step come out.

Nobody scores themselves: a point is reached where every one of what was counted is as it should be, not reached where
one is not, and too early where there is nothing yet that could be counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

State = Literal["reached", "not reached", "too early"]
MOST_LINKS = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """A point as it is defined: what is asked of the records, how much it weighs, and what gets one closer."""

    id: str
    layer: str
    title: str
    asks: str
    weight: int  # 1 to 5: how much goes wrong without it
    step: str
    command: str


LAYERS: Mapping[str, str] = {
    "governance": "Governance and risk",
    "portfolio": "Strategy and portfolio",
    "data": "Data",
    "operations": "MLOps, LLMOps, AgentOps",
    "people": "People and ways of working",
}
KINDS = (
    Kind(
        "owned",
        "governance",
        "Every live use case has its owner",
        "Live use cases whose owner holds an owner's seat of their domain.",
        5,
        "give the owner a seat, or name another owner and have it accepted",
        "bedplate apply use-case.yaml",
    ),
    Kind(
        "separated",
        "governance",
        "Approvals are given by others than who asks",
        "Approvals granted in 90 days without a waiver of the solo posture.",
        5,
        "give seats to more people, and set posture: standard",
        "bedplate plan operating-model.yaml",
    ),
    Kind(
        "fires",
        "governance",
        "Controls are seen to fire",
        "Live use cases with a synthetic violation on record in 7 days, and none that passed.",
        5,
        "look at what let its violation pass; while nothing is tried, see that the worker runs",
        "bedplate doctor",
    ),
    Kind(
        "settled",
        "governance",
        "Incidents are settled within their clock",
        "Incidents of 90 days that were closed in time, or are open and in time.",
        4,
        "settle what is overdue, the longest first",
        "bedplate incidents",
    ),
    Kind(
        "stopped",
        "governance",
        "The stop was exercised",
        "Live use cases of high impact or that act alone, which were stopped, or drilled, in 180 days.",
        3,
        "stop one for a drill and take it up again, at a quiet time",
        "bedplate suspend USE-CASE --reason drill",
    ),
    Kind(
        "in-time",
        "governance",
        "Decisions are taken within the bodies' clocks",
        "Approvals of 90 days settled, or still waiting, within the clock of the slowest body that owed them.",
        3,
        "decide what waits; delegate what waits for the same body again and again",
        "bedplate approvals",
    ),
    Kind(
        "decided",
        "portfolio",
        "What is proposed is decided",
        "Proposed ideas and use cases that were decided, or wait no longer than approvals may.",
        4,
        "decide what waits longest, with its reason",
        "bedplate approvals",
    ),
    Kind(
        "reasoned",
        "portfolio",
        "What is left out has its reason",
        "Declined use cases and ideas with a reason on record.",
        2,
        "say why when you refuse",
        "bedplate refuse APPROVAL --reason WHY",
    ),
    Kind(
        "spread",
        "portfolio",
        "The portfolio is not all of one kind",
        "Of the three buckets, those with an accepted or live use case; two are asked for.",
        2,
        "look for the next idea in the empty bucket",
        "bedplate status",
    ),
    Kind(
        "measured",
        "portfolio",
        "Value is measured, not only promised",
        "Use cases live for 30 days with a measured benefit on record.",
        5,
        "import what the unit of value was in the last month",
        "bedplate value import FILE",
    ),
    Kind(
        "promised",
        "data",
        "Data contracts hold",
        "Declared data contracts whose last checks passed.",
        5,
        "mend what fails, with the contract's owner",
        "bedplate contract list",
    ),
    Kind(
        "contracted",
        "data",
        "Live use cases stand on contracts",
        "Live use cases with data whose sources have a contract.",
        3,
        "declare a contract for the source, and name it in the use case",
        "bedplate contract apply FILE",
    ),
    Kind(
        "current",
        "data",
        "What is answered from is current",
        "Live use cases that retrieve, whose source says how old it may be and is not older.",
        4,
        "set max_age_days of the source, and release with its files as they are now",
        "bedplate release FOLDER",
    ),
    Kind(
        "evaluated",
        "operations",
        "Live releases were evaluated lately",
        "Live releases with an evaluation no older than evidence counts.",
        5,
        "evaluate again on the same files",
        "bedplate release FOLDER",
    ),
    Kind(
        "watched",
        "operations",
        "Monitors run",
        "Live use cases with calls, and a measure on record in 8 days.",
        4,
        "see that the worker runs, and that calls come",
        "bedplate status USE-CASE",
    ),
    Kind(
        "heard",
        "operations",
        "Feedback comes back",
        "Live use cases with calls in 30 days, and feedback of somebody in 30 days.",
        3,
        "show the thumbs where answers are shown, and send them",
        "bedplate feedback give CALL up",
    ),
    Kind(
        "versioned",
        "operations",
        "Prompts are versioned",
        "Live releases whose prompt is a version on record.",
        2,
        "release from the prompt's file",
        "bedplate prompts list USE-CASE",
    ),
    Kind(
        "attacked",
        "operations",
        "Live releases stood the red team",
        "Live use cases of high impact, or all where there are none, with a red-team run on record.",
        3,
        "run the red team against what is live",
        "bedplate evals run FOLDER --red-team",
    ),
    Kind(
        "seated",
        "people",
        "Bodies can decide without one person",
        "Bodies and quorums of the tiers in use with one more voter than the quorum.",
        4,
        "give one more person a voting seat",
        "bedplate plan operating-model.yaml",
    ),
    Kind(
        "apart",
        "people",
        "Nobody sits on both sides",
        "People with a vote who vote in one of board, CoE and domains only.",
        3,
        "give one of the two seats to somebody else",
        "bedplate plan operating-model.yaml",
    ),
    Kind(
        "trained",
        "people",
        "Who decides has shown the competence",
        "Competences that voting seats ask for, held by whoever sits there.",
        3,
        "record the training that was done, or have it done",
        "bedplate people train PERSON COMPETENCE",
    ),
    Kind(
        "sighted",
        "people",
        "Shadow AI gets a way in",
        "Sightings older than 30 days that were adopted or dismissed with a reason.",
        4,
        "adopt what is used most as a use case",
        "bedplate shadow",
    ),
    Kind(
        "reused",
        "people",
        "The next use case starts from a path",
        "Use cases accepted in 180 days, but the first, that were made from a path.",
        3,
        "publish a path of what is proven, and start the next from it",
        "bedplate path publish USE-CASE",
    ),
)


@dataclass(frozen=True, slots=True)
class Counts:
    """What the records say about one point: how many are as they should be, of how many; links to those, and to others.

    A link is a subject or a path of the console: `usecase/ID`, `approval/ID`, `/calls?...`.
    """

    good: int
    of: int
    links: tuple[str, ...] = ()  # those that are as they should be
    missing: tuple[str, ...] = ()  # those that are not: what to look at first


@dataclass(frozen=True, slots=True)
class Point:
    """A point with its state, the counts behind it, and where they are."""

    kind: Kind
    state: State
    good: int
    of: int
    links: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def worth(self) -> int:
        """How much is to be gained by the next step, in thousandths of the heaviest point."""
        return self.kind.weight * 200 * (self.of - self.good) // self.of if self.state == "not reached" else 0


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its points, and how many of those that could be reached are."""

    id: str
    name: str
    points: tuple[Point, ...]

    @property
    def reached(self) -> int:
        """How many points are reached."""
        return sum(p.state == "reached" for p in self.points)

    @property
    def judged(self) -> int:
        """How many points there is something to judge by."""
        return sum(p.state != "too early" for p in self.points)


def scored(counts: Mapping[str, Counts]) -> tuple[Layer, ...]:
    """Judge every point; one that nothing was counted for is too early."""
    points: dict[str, list[Point]] = {layer: [] for layer in LAYERS}
    for kind in KINDS:
        found = counts.get(kind.id, Counts(0, 0))
        state: State = "too early" if not found.of else "reached" if found.good >= found.of else "not reached"
        links = (found.links[:MOST_LINKS], found.missing[:MOST_LINKS])
        points[kind.layer].append(Point(kind, state, found.good, found.of, *links))
    return tuple(Layer(id_, name, tuple(points[id_])) for id_, name in LAYERS.items())


def next_steps(layers: Iterable[Layer], most: int = 5) -> list[Point]:
    """Return the points that are worth most to reach next; of equals those of the layer that is furthest behind."""
    every = [*layers]
    behind = Counter({layer.id: layer.judged - layer.reached for layer in every})
    open_ = [p for layer in every for p in layer.points if p.state == "not reached"]
    return sorted(open_, key=lambda p: (-p.worth, -behind[p.kind.layer], p.kind.id))[:most]
