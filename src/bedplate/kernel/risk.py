"""The 2×2: severity of harm × level of autonomy. Two answers in, one tier out, with the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Level = Literal["low", "high"]  # of impact
Autonomy = Literal["assistive", "autonomous"]


class Tier(IntEnum):
    """A quadrant of the matrix; a higher tier owes at least as much."""

    ROUTINE = 1
    SUPERVISED = 2
    ASSURED = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the intake; the answer `yes` raises its axis."""

    id: str
    text: str
    axis: Literal["impact", "autonomy"]


@dataclass(frozen=True, slots=True)
class Rating:
    """The outcome of the matrix and why."""

    impact: Level
    autonomy: Autonomy
    tier: Tier
    reasons: tuple[str, ...]


def rate(questions: tuple[Question, ...], answers: Mapping[str, str], matrix: Mapping[tuple[str, str], Tier]) -> Rating:
    """Rate a use case. A missing or unreadable answer counts as yes: unknown is always high."""
    raised: dict[str, list[str]] = {"impact": [], "autonomy": []}
    lowered: dict[str, int] = {"impact": 0, "autonomy": 0}
    for question in questions:
        answer = answers.get(question.id, "unanswered")
        if answer == "no":
            lowered[question.axis] += 1
        else:
            raised[question.axis].append(f"{question.axis}: {question.text} {answer}")
    # An axis nobody asked about is unknown, and unknown is high.
    high_impact = bool(raised["impact"]) or not lowered["impact"]
    autonomous = bool(raised["autonomy"]) or not lowered["autonomy"]
    impact: Level = "high" if high_impact else "low"
    autonomy: Autonomy = "autonomous" if autonomous else "assistive"
    reasons = [*raised["impact"], *raised["autonomy"]]
    if impact == "low":
        reasons.append(f"impact: low, {lowered['impact']} of {lowered['impact']} questions answered no")
    if autonomy == "assistive":
        reasons.append(f"autonomy: assistive, {lowered['autonomy']} of {lowered['autonomy']} questions answered no")
    return Rating(impact, autonomy, matrix.get((impact, autonomy), Tier.CRITICAL), tuple(reasons))
