"""What a change of the operating model takes from people and gives to them: seats, and what they may do where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bedplate.kernel.model import OperatingModel


@dataclass(frozen=True, slots=True)
class Reach:
    """One person: seats and permissions that go and come. A permission names its domains, if not all of them."""

    person: str
    name: str
    seats_lost: tuple[str, ...]
    seats_gained: tuple[str, ...]
    lost: tuple[str, ...]
    gained: tuple[str, ...]


def reach(before: OperatingModel, after: OperatingModel) -> list[Reach]:
    """List the people for whom anything changes, by id."""
    found = []
    for person in sorted(before.authority.people.keys() | after.authority.people.keys()):
        old, new = before.authority.people.get(person), after.authority.people.get(person)
        had = {str(s) for s in old.seats} if old is not None else set()
        has = {str(s) for s in new.seats} if new is not None else set()
        could, can = _may(before, person), _may(after, person)
        known = new or old
        one = Reach(
            person,
            known.name if known is not None else person,
            tuple(sorted(had - has)),
            tuple(sorted(has - had)),
            _named(could - can, before),
            _named(can - could, after),
        )
        if one.seats_lost or one.seats_gained or one.lost or one.gained:
            found.append(one)
    return found


def _may(model: OperatingModel, person: str) -> set[tuple[str, str]]:
    rules = model.authority.rules
    return {(p, d) for p in rules for d in ("", *model.domains) if model.authority.allowed(person, p, d)}


def _named(pairs: set[tuple[str, str]], model: OperatingModel) -> tuple[str, ...]:
    """Name each permission once; where it is not the same in every domain, with the domains."""
    named = []
    for permission in sorted({p for p, _ in pairs}):
        domains = sorted(d for p, d in pairs if p == permission and d)
        everywhere = set(domains) == set(model.domains)
        named.append(permission if everywhere or not domains else f"{permission} ({', '.join(domains)})")
    return tuple(named)
