"""Value × feasibility: two scores from 1 to 5, computed from the team's own numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .usecase import FeasibilityPart, ValuePart


@dataclass(frozen=True, slots=True)
class Worth:
    """`yearly_cents` is what the hypothesis promises; the scores are 1 to 5; `worth` is their product, 1 to 25."""

    yearly_cents: int
    value: int
    feasibility: int

    @property
    def worth(self) -> int:
        """Value × feasibility."""
        return self.value * self.feasibility


def assess(value: ValuePart, feasibility: FeasibilityPart, bands: list[int]) -> Worth:
    """Score a use case. `bands` are the yearly values, in whole currency, from which it scores 2, 3, 4 and 5."""
    yearly = max(0, value.baseline - value.target) * value.cents_per_unit * value.per_month * 12
    score = 1 + sum(yearly >= band * 100 for band in bands)
    answers = (feasibility.data, feasibility.technology, feasibility.people, feasibility.change)
    return Worth(yearly, score, round(sum(answers) / len(answers)))
