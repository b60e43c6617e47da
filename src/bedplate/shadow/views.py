"""Reads: sightings by score, how many a week, and how they stand to the people of a team."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Row, select

from bedplate.errors import Conflict, NotFound
from bedplate.kernel.clock import DAY

from .score import Score, escalated, score
from .tables import headcount, shadow_import, sighting

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

WEEK = 7 * DAY


@dataclass(frozen=True, slots=True)
class Seen:
    """A sighting as it is shown: its record, its score, and whom it was taken to."""

    id: str
    kind: str
    what: str
    place: str
    provider: str
    sources: tuple[str, ...]
    team: str
    times: int
    first_at: int
    last_at: int
    reported_at: int
    cents: int
    currency: str
    hints: tuple[str, ...]
    state: str
    reason: str
    until: int
    into_subject: str
    settled_by: str
    settled_at: int
    declared_by: str
    declared_at: int
    declared_why: str
    amnesty: bool
    score: Score
    escalated: str

    @property
    def into(self) -> str:
        """The id of the use case that it was taken up as."""
        return self.into_subject.partition("/")[2]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        points = [asdict(point) for point in self.score.points]
        told = {name: getattr(self, name) for name in self.__slots__ if name not in {"score", "into_subject"}}
        return {**told, "into": self.into, "score": self.score.value, "points": points}


def sightings(engine: Engine, now: int, known: Collection[str] = (), *, amnesty: bool = False) -> list[Seen]:
    """List sightings: what waits first, of it what was declared under an amnesty, then by score, then the newest."""
    with engine.connect() as connection:
        every = [_shown(row, now, known, amnesty=amnesty) for row in connection.execute(select(sighting))]
    return sorted(every, key=lambda one: (one.state != "new", not one.amnesty, -one.score.value, -one.last_at, one.id))


def chosen(every: Iterable[Seen], *, state: str = "", source: str = "", team: str = "", text: str = "") -> list[Seen]:
    """Return those in a state, from a source, of a team, with a text in what they are or where; "" is any."""
    words = text.lower()
    return [
        one
        for one in every
        if state in {"", one.state}
        and team in {"", one.team}
        and (not source or source in one.sources)
        and words in f"{one.what} {one.place} {one.provider} {one.team} {one.id}".lower()
    ]


def sighting_by_id(engine: Engine, seen: str, now: int, known: Collection[str] = (), *, amnesty: bool = False) -> Seen:
    """Return one sighting by its fingerprint, or by how it begins; `NotFound` if there is none, or more than one."""
    query = select(sighting).where(sighting.c.id.startswith(seen, autoescape=True)).limit(2)
    with engine.connect() as connection:
        rows = connection.execute(query).all() if seen else []
    if len(rows) != 1:
        few = "more than one sighting begins" if rows else "there is no sighting"
        raise NotFound(f"{few} with {seen!r}", hint="list them: bedplate shadow")
    return _shown(rows[0], now, known, amnesty=amnesty)


def sightings_per_week(engine: Engine, since: int, now: int) -> list[int]:
    """Count sightings by the week in which they were first seen, oldest first; what was dismissed is left out.

    Weeks end at `now` and go back to `since` (microseconds), the oldest one whole.
    """
    weeks = max(0, -(-(now - since) // WEEK))
    begins = now - weeks * WEEK
    query = select(sighting.c.first_at).where(sighting.c.state != "dismissed", sighting.c.first_at > begins)
    counts = [0] * weeks
    with engine.connect() as connection:
        for (first,) in connection.execute(query.where(sighting.c.first_at <= now)):
            counts[(first - begins - 1) // WEEK] += 1
    return counts


def per_team(found: Sequence[Seen], people: dict[str, int]) -> list[dict[str, Any]]:
    """Return teams with their unsettled sightings and, where the headcount is known, how many to a hundred people."""
    counts = Counter(one.team for one in found if one.state == "new")
    rows = []
    for team in sorted({*counts, *people}, key=lambda name: (-counts[name], name)):
        heads = people.get(team, 0)
        rate = (counts[team] * 1000 + heads // 2) // heads if heads else -1  # in tenths
        rows.append({"team": team, "sightings": counts[team], "people": heads, "per_hundred_tenths": rate})
    return rows


def headcounts(engine: Engine) -> dict[str, int]:
    """Return people by team, as last recorded."""
    with engine.connect() as connection:
        rows = connection.execute(select(headcount.c.team, headcount.c.people)).all()
    return {team: people for team, people in rows}  # noqa: C416  rows are no pairs to a type checker


def refuse_twice(engine: Engine, digest: str) -> None:
    """Raise `Conflict` if the same bytes were imported before: they would be counted twice."""
    query = select(shadow_import.c.name, shadow_import.c.at).where(shadow_import.c.digest == digest)
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none() if digest else None
    if row is not None:
        raise Conflict(f"exactly this was imported already, as {row.name}", hint="import what came since")


def _shown(row: Row[Any], now: int, known: Collection[str], *, amnesty: bool) -> Seen:
    found = dict(row._mapping)  # noqa: SLF001  public by documentation
    hints = tuple(json.loads(found.pop("hints")))
    found.pop("last_seq")
    if row.state == "explained" and row.until <= now:
        found["state"] = "new"  # what was allowed for a time is to be looked at again
    spared = amnesty and row.amnesty == "yes"
    points = score(row.kind, row.provider, row.times, row.cents, hints, known)
    since = row.until if row.state == "explained" else row.reported_at
    up = escalated(points, since, now, spared=spared) if found["state"] == "new" else ""
    found |= {"sources": tuple(row.sources.split(",")), "hints": hints, "amnesty": spared, "escalated": up}
    return Seen(**found, score=points)
