"""How subjects stood at any moment of the past: their events folded anew."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import select

from bedplate.kernel.event import unseal
from bedplate.store import tables as t

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from bedplate.kernel.manifest import Catalogue
    from bedplate.kernel.standing import Standing


@dataclass(frozen=True, slots=True)
class Course:
    """The standings of one subject one after the other, and the moment from which on each was in force."""

    moments: tuple[int, ...]
    standings: tuple[Standing, ...]

    def at(self, moment: int) -> Standing | None:
        """Return the standing then; None before the first."""
        place = bisect_right(self.moments, moment)
        return self.standings[place - 1] if place else None


@dataclass(slots=True)
class Timeline:
    """Courses by subject, each read once."""

    engine: Engine
    catalogue: Catalogue
    _known: dict[str, Course] = field(default_factory=dict)

    def of(self, subject: str) -> Course:
        """Return the course of one subject; an empty one if nothing moved it."""
        if subject not in self._known:
            self._known[subject] = self._read(subject)
        return self._known[subject]

    def _read(self, subject: str) -> Course:
        moving = [kind.name for kind in self.catalogue.kinds.values() if kind.moves is not None]
        query = select(t.event.c.entry).where(t.event.c.stream == subject, t.event.c.kind.in_(moving))
        moments: list[int] = []
        standings: list[Standing] = []
        standing: Standing | None = None
        with self.engine.connect() as connection:
            for (entry,) in connection.execute(query.order_by(t.event.c.version)):
                event = unseal(bytes(entry))
                standing = self.catalogue.move(standing, event)
                if standing is not None:
                    moments.append(max(event.at, moments[-1] if moments else 0))  # clocks step back
                    standings.append(standing)
        return Course(tuple(moments), tuple(standings))
