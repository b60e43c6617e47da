"""Reads: ideas with what became of them, and where on the 2×2 use cases stood before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from bedplate.errors import NotFound
from bedplate.store.tables import standing

from . import tables
from .idea import OPEN, Idea, IdeaFile

if TYPE_CHECKING:
    from sqlalchemy import Engine, Row


def ideas(engine: Engine) -> list[Idea]:
    """List all ideas; what waits longest first, then what was decided last."""
    with engine.connect() as connection:
        found = [_read(row) for row in connection.execute(select(tables.idea))]
    return sorted(found, key=lambda i: (i.state not in OPEN, i.due or -i.decided_at, i.id))


def idea(engine: Engine, name: str) -> Idea:
    """Return one idea by its id; `NotFound` if nobody proposed it."""
    found = known_idea(engine, name)
    if found is None:
        raise NotFound(f"there is no idea {name}", hint="list them: bedplate idea list")
    return found


def newest(engine: Engine) -> tuple[int, ...]:
    """Return the newest events that ideas, use cases and standings come from: while it is the same, they are."""
    columns = (tables.idea.c.last_seq, tables.usecase.c.last_seq, standing.c.last_seq)
    with engine.connect() as connection:
        return tuple(int(connection.execute(select(func.max(c))).scalar_one() or 0) for c in columns)


def known_idea(engine: Engine, name: str) -> Idea | None:
    """Return one idea by its id; None if nobody proposed it."""
    with engine.connect() as connection:
        row = connection.execute(select(tables.idea).where(tables.idea.c.subject == f"idea/{name}")).one_or_none()
    return _read(row) if row is not None else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where on the 2×2 a use case was accepted, and when."""

    subject: str
    at: int
    impact: str
    autonomy: str
    tier: int


def places_at(engine: Engine, moment: int) -> dict[str, Place]:
    """Return where every use case stood at a moment, by subject; those accepted later are not there."""
    p = tables.placement
    newest = (
        select(p.c.subject, func.max(p.c.seq).label("seq")).where(p.c.at <= moment).group_by(p.c.subject).subquery()
    )
    query = select(p).join(newest, (p.c.subject == newest.c.subject) & (p.c.seq == newest.c.seq))
    with engine.connect() as connection:
        return {
            row.subject: Place(row.subject, row.at, row.impact, row.autonomy, row.tier)
            for row in connection.execute(query)
        }


def _read(row: Row[Any]) -> Idea:
    return Idea(
        subject=row.subject,
        title=row.title,
        domain=row.domain,
        tier=row.tier,
        body=row.body,
        due=row.due,
        state=row.state,
        file=IdeaFile.model_validate(json.loads(row.file)),
        proposers=tuple(json.loads(row.proposers)),
        proposed_at=row.proposed_at,
        reason=row.reason,
        condition=row.condition,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        seq=row.last_seq,
    )
