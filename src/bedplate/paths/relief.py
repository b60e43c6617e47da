"""What would relieve a bottleneck: delegations simulated side by side, with what to put into the operating model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import EPOCH, MICROSECOND
from bedplate.people.flow.queue import WEEK
from bedplate.people.flow.simulation import (
    AHEAD,
    Delegation,
    Load,
    Outcome,
    compare,
    load,
    options,
    parse,
    snippet,
)
from bedplate.people.flow.views import WEEKS, checked_weeks, clocks, waits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from bedplate.kernel.model import OperatingModel

FOR_WEEKS = 26  # how long a proposed delegation lasts
MOST = 12  # options side by side


@dataclass(frozen=True, slots=True)
class Relief:
    """The outcomes, as is first, and what they start from."""

    weeks: int
    load: Load
    outcomes: tuple[Outcome, ...]
    until: str  # the last day of a delegation that begins today

    @property
    def proposed(self) -> Outcome | None:
        """The option that is proposed, if one helps."""
        return next((o for o in self.outcomes if o.proposed), None)

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        told = [
            {
                "name": o.name,
                **asdict(o),
                "runs": len(o.late),
                "snippet": snippet(o.delegations, self.until) if o.delegations else "",
            }
            for o in self.outcomes
        ]
        return {
            "weeks": self.weeks,
            "ahead_weeks": AHEAD,
            "assumed": list(self.load.assumed),
            "rates": dict(self.load.rates),
            "options": told,
            "proposed": self.proposed.name if self.proposed is not None else "",
        }


def simulate(
    engine: Engine, now: int, model: OperatingModel, named: Sequence[str], *, weeks: int = WEEKS, together: bool = False
) -> Relief:
    """Simulate these delegations, each beside the others or all `together`; every one there could be if none is named.

    `InvalidInput` where one cannot be read, or too little was seen.
    """
    chosen = [parse(text, model) for text in named]
    if twice := sorted({str(d) for d in chosen if chosen.count(d) > 1}):
        raise InvalidInput(f"{twice[0]} is named twice", hint="name each delegation once")
    if len(chosen) > MOST:
        raise InvalidInput(f"{len(chosen)} delegations are too many to compare", hint=f"name {MOST} at most")
    found = load(waits(engine, now - checked_weeks(weeks) * WEEK), now, weeks, model)
    choices: list[tuple[Delegation, ...]] = [(d,) for d in chosen]
    if together and chosen:
        choices = [tuple(chosen)]
    elif not chosen:
        choices = options(found)[:MOST]
    until = (EPOCH + (now + FOR_WEEKS * WEEK) * MICROSECOND).date().isoformat()
    return Relief(weeks, found, tuple(compare(found, choices, clocks(model))), until)
