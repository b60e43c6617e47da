"""Hard stops per use case and UTC day, counted in this process and begun from what is on record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.kernel.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Spent:
    """What a use case has used today."""

    day: int = -1
    calls: int = 0
    tokens: int = 0


class Budgets:
    """Counters by use case. `recorded(subject, since)` returns (calls, tokens) on record, to begin from."""

    def __init__(self, recorded: Callable[[str, int], tuple[int, int]]) -> None:
        self._recorded = recorded
        self._spent: dict[str, Spent] = {}

    def today(self, subject: str, now: int) -> Spent:
        """Return today's counter of a use case."""
        day = now // DAY
        spent = self._spent.get(subject)
        if spent is None:
            calls, tokens = self._recorded(subject, day * DAY)
            spent = self._spent[subject] = Spent(day, calls, tokens)
        elif spent.day < day:  # never back: a call that ends after midnight, or a clock that steps, empties nothing
            spent.day, spent.calls, spent.tokens = day, 0, 0
        return spent

    def reserve(self, subject: str, tokens: int, now: int) -> None:
        """Count a call and its estimated tokens before it is made, so that parallel calls see each other."""
        spent = self.today(subject, now)
        spent.calls += 1
        spent.tokens += tokens

    def settle(self, subject: str, estimated: int, used: int, now: int) -> None:
        """Replace the estimate by what was used; what was reserved on a day that is over is not counted any more."""
        spent = self.today(subject, now)
        if spent.day == now // DAY:
            spent.tokens += used - estimated
