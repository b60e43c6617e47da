"""How much a sighting matters: points, each with its reason, and by when somebody should have settled it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.kernel.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

MOST = 100
SPENT = " spent"
CREDENTIAL, DATA = "credential: ", "data: "  # how hints begin that say so
VOLUME = ((10_000, 20), (1_000, 15), (100, 10), (10, 5))  # times seen, points
SPEND = ((1_000_000, 20), (100_000, 15), (10_000, 10), (1_000, 5))  # cents, points
ACTS = {"manifest": "an agent is described here", "mcp": "tools that act are configured here"}
URGENT, URGENT_DAYS, DAYS = 60, 7, 30  # from so many points, within so many days; the others
BOARD_AFTER = 2  # times the days, after which the board is told


@dataclass(frozen=True, slots=True)
class Point:
    """So many points, and why."""

    points: int
    why: str


@dataclass(frozen=True, slots=True)
class Score:
    """0 to 100, with the points it is made of, the heaviest first."""

    points: tuple[Point, ...]

    @property
    def value(self) -> int:
        """The sum, 100 at most."""
        return min(MOST, sum(p.points for p in self.points))

    @property
    def days(self) -> int:
        """How many days there are to settle it."""
        return URGENT_DAYS if self.value >= URGENT else DAYS


def score(kind: str, provider: str, times: int, cents: int, hints: Sequence[str], known: Collection[str] = ()) -> Score:
    """Score a sighting. `known` are providers that the organisation has agreed to use."""
    found = [Point(10, "AI in use without an owner on record")]
    exposed = [h.removeprefix(CREDENTIAL) for h in hints if h.startswith(CREDENTIAL)]
    if exposed:
        found.append(Point(30, f"a credential lies open: {exposed[0]}"))
    elif kind == "key":
        found.append(Point(15, "a key that nobody here issued"))
    data = [h.removeprefix(DATA) for h in hints if h.startswith(DATA)]
    if data:
        found.append(Point(20, f"it stands beside {', '.join(data)} data"))
    if provider not in known:
        found.append(Point(15, f"no agreed supplier: {provider}" if provider else "the supplier is unknown"))
    if kind in ACTS:
        found.append(Point(15, ACTS[kind]))
    if points := next((p for least, p in VOLUME if times >= least), 0):
        found.append(Point(points, f"seen {times:,} times"))
    if points := next((p for least, p in SPEND if cents >= least), 0):
        found.append(Point(points, f"{cents // 100:,}{SPENT}"))
    return Score(tuple(sorted(found, key=lambda p: -p.points)))


def escalated(found: Score, since: int, now: int, *, spared: bool) -> str:
    """Name the body that hears of an unsettled sighting by now: coe, then board; "" while there is time, or amnesty."""
    over = (now - since) // DAY
    if spared or over < found.days:
        return ""
    return "board" if over >= BOARD_AFTER * found.days else "coe"
