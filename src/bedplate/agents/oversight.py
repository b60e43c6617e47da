"""Oversight quality: how people look at what agents ask, how often they overrule, and whether others agree."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from bedplate.kernel.clock import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HASTY = 3 * SECOND  # an answer that came sooner was hardly thought about
MANY = 20  # approvals from which a share says something
STAMPED = 500  # permille of hasty approvals, above which it is rubber-stamping
SETTLED = ("edit", "answer", "take-over")


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
    stamped: int = 0  # approvals within 3 seconds or unopened

    @property
    def overrides(self) -> int:
        """The share that they did not simply agree to."""
        return 1000 * (self.no + self.settled) // self.answers if self.answers else -1

    @property
    def stamp_share(self) -> int:
        """The share of their approvals that came within 3 seconds or unopened."""
        return 1000 * self.stamped // self.yes if self.yes else -1

    @property
    def stamps(self) -> bool:
        """Tell whether this is agreeing to everything without looking."""
        return self.yes >= MANY and self.stamp_share > STAMPED


def reviewers(
    rows: Sequence[Mapping[str, Any]], tests: Iterable[tuple[str, str]] = (), lowered: Iterable[tuple[str, str]] = ()
) -> list[Reviewer]:
    """Add up answers by person, most answers first. `tests` are (person, answer), `lowered` (person, why)."""
    by_person: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_person[row["person"]].append(row)
    agreed = agreement(rows)
    judged: dict[str, list[str]] = defaultdict(list)
    for person, answer in tests:
        judged[person].append(answer)
    why = dict(lowered)
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
                sum(hasty(r) for r in given if r["answer"] == "yes"),
            )
        )
    return sorted(found, key=lambda one: (-one.answers, one.person))


def hasty(row: Mapping[str, Any]) -> bool:
    """Tell whether an answer came within 3 seconds of looking, or without it."""
    return not row["seen_at"] or row["answered_at"] - row["seen_at"] < HASTY


def agreement(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return by person in how many permille of the pairs of answers about one action both said the same."""
    by_action: dict[str, dict[str, bool]] = defaultdict(dict)
    for row in rows:
        by_action[row["approval"]][row["person"]] = row["answer"] == "yes"
    pairs: dict[str, list[bool]] = defaultdict(list)
    for said in by_action.values():
        for person, yes in said.items():
            pairs[person] += [yes == other for who, other in said.items() if who != person]
    return {person: 1000 * sum(same) // len(same) for person, same in pairs.items() if same}
