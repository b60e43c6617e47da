"""Competence: which training a vote or a use case's ownership needs, and who has it now. Records, never opinions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.kernel.authority import fits
from bedplate.kernel.clock import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bedplate.kernel.authority import Person, Seat
    from bedplate.kernel.event import Value
    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing

TRAINING = "people.training"  # the fact of a person's standing: competence to the moment it was shown, microseconds
HIGHEST = 4  # what has no tier of its own, such as the operating model, asks for what the highest tier asks


@dataclass(frozen=True, slots=True)
class Competence:
    """A competence as the operating model declares it."""

    id: str
    name: str
    valid: int  # microseconds
    needed_by: tuple[str, ...]
    tiers: frozenset[int]

    def needed(self, seat: Seat, tier: int) -> bool:
        """Tell whether deciding about this tier from this seat needs it."""
        return tier in self.tiers and any(fits(pattern, seat, seat.domain) for pattern in self.needed_by)


def competences(model: OperatingModel) -> tuple[Competence, ...]:
    """Read the section of that name."""
    declared: Any = model.sections.get("competences", [])
    return tuple(
        Competence(c["id"], c["name"], c["valid_days"] * DAY, tuple(c["needed_by"]), frozenset(c["tiers"]))
        for c in declared
    )


def shown(standing: Standing | None) -> Mapping[str, int]:
    """Return when somebody showed each competence last."""
    found: Value = standing.facts.get(TRAINING, {}) if standing is not None else {}
    return {name: int(str(at)) for name, at in found.items()} if isinstance(found, dict) else {}


def lacking(needed: Iterable[Competence], had: Mapping[str, int], now: int) -> Iterator[tuple[Competence, str]]:
    """Yield each competence that does not hold now, with why."""
    for one in needed:
        at = had.get(one.id)
        if at is None:
            yield one, f"no record shows it: {one.name}"
        elif at + one.valid <= now:
            yield one, f"it lapsed {-(-(now - at - one.valid) // DAY)} days ago: {one.name}"


def owed_by(person: Person, model: OperatingModel, tier: int) -> tuple[Competence, ...]:
    """List what this person's seats ask for in a tier."""
    return tuple(c for c in competences(model) if any(c.needed(seat, tier) for seat in person.seats))
