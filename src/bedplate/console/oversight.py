"""Oversight: how well people look at what agents ask: how long they take, how often they overrule, how tests went."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bedplate.agents import views
from bedplate.agents.oversight import HASTY, MANY, agreement, reviewers
from bedplate.agents.reviewer import lowered
from bedplate.errors import NotFound
from bedplate.evidence import views as evidence
from bedplate.kernel.clock import DAY, SECOND
from bedplate.paths import agents as paths

from .visit import Page, Visit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.responses import Response

SPANS = (7, 30, 90)
HASTY = 3 * SECOND  # an answer that came sooner was hardly thought about
MANY, FEW = 20, 5  # answers from which a share says something; fewer hasty ones are chance
SETTLED = ("edit", "answer", "take-over")
BANDS = ((3, "under 3 s"), (10, "3 to 10 s"), (30, "10 to 30 s"), (120, "30 s to 2 min"), (600, "2 to 10 min"))


@dataclass(frozen=True, slots=True)
class Reviewer:
    """How one person answered. Shares in permille, -1 where there is nothing to share."""

    person: str
    answers: int
    yes: int
    no: int
    settled: int  # edited, answered or taken over
    median_us: int  # -1: nothing that they looked at first
    hasty: int
    blind: int  # without having opened it
    agreement: int
    tests: int
    missed: int
    lowered: str  # why their answers count no more for now

    @property
    def overrides(self) -> int:
        """The share that they did not simply agree to."""
        return 1000 * (self.no + self.settled) // self.answers if self.answers else -1

    @property
    def stamps(self) -> bool:
        """Tell whether this looks like agreeing to everything without looking."""
        quick = self.hasty + self.blind
        return self.answers >= MANY and quick >= FEW and 2 * quick > self.answers and not (self.no + self.settled)


def oversight(visit: Visit) -> Response:
    """Show everybody who answered in a span."""
    at, now = visit.at, visit.at.clock()
    days = visit.number("days") if visit.number("days") in SPANS else 30
    seen = paths.readable(at.agents, visit.by)
    rows = [g for g in views.glimpses(at.engine, since=now - days * DAY) if seen is None or g["subject"] in seen]
    tests, bands = _tests(visit, now - days * DAY), banded(rows)
    return visit.show(
        "oversight.html",
        reviewers=reviewers(rows, tests, _lowered(visit, rows)),
        bands=bands,
        most=max((count for _, count in bands), default=0),
        answers=len(rows),
        planted=len(evidence.events(at.engine, kind="agents.test.planted", limit=1_000)),
        newest=rows[:20],
        days=days,
        spans=SPANS,
        hasty=HASTY,
        many=MANY,
    )


def reviewers(
    rows: Sequence[dict[str, Any]], tests: Iterable[tuple[str, str]] = (), lower: Iterable[tuple[str, str]] = ()
) -> list[Reviewer]:
    """Add up answers by person, most answers first. `tests` are (person, answer), `lower` (person, why)."""
    by_person: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_person[row["person"]].append(row)
    agreed = agreement(rows)
    judged: dict[str, list[str]] = defaultdict(list)
    for person, answer in tests:
        judged[person].append(answer)
    why = dict(lower)
    found = []
    for person, given in by_person.items():
        took = [r["answered_at"] - r["seen_at"] for r in given if r["seen_at"]]
        answers = [r["answer"] for r in given]
        found.append(
            Reviewer(
                person,
                len(given),
                answers.count("yes"),
                answers.count("no"),
                sum(a in SETTLED for a in answers),
                int(median(took)) if took else -1,
                sum(t < HASTY for t in took),
                sum(not r["seen_at"] for r in given),
                agreed.get(person, -1),
                len(judged[person]),
                judged[person].count("yes"),
                why.get(person, ""),
            )
        )
    return sorted(found, key=lambda one: (-one.answers, one.person))


def agreement(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Return by person in how many permille of the pairs of answers about one action both said the same."""
    by_action: dict[str, dict[str, bool]] = defaultdict(dict)
    for row in rows:
        by_action[row["approval"]][row["person"]] = row["answer"] == "yes"
    pairs: dict[str, list[bool]] = defaultdict(list)
    for said in by_action.values():
        for person, yes in said.items():
            pairs[person] += [yes == other for who, other in said.items() if who != person]
    return {person: 1000 * sum(same) // len(same) for person, same in pairs.items() if same}


def banded(rows: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    """Count answers by how long people looked."""
    counts = dict.fromkeys(["without looking", *(name for _, name in BANDS), "over 10 min"], 0)
    for row in rows:
        took = (row["answered_at"] - row["seen_at"]) / SECOND
        name = (
            next((name for most, name in BANDS if took < most), "over 10 min") if row["seen_at"] else "without looking"
        )
        counts[name] += 1
    return list(counts.items())


def _tests(visit: Visit, since: int) -> list[tuple[str, str]]:
    """Return who answered a planted action, and how."""
    judged = evidence.events(visit.at.engine, kind="agents.test.judged", limit=1_000)
    return [(str(e.data["person"]), str(e.data["answer"])) for e in judged if e.at >= since]


def _lowered(visit: Visit, rows: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return whose answers count no more for now, and why."""
    found = []
    for person in {row["person"] for row in rows}:
        with suppress(NotFound):
            found.append((person, lowered(visit.at.standing(f"person/{person}"))))
    return found


PAGES = (Page("/oversight", oversight),)
