"""Reads: actions that wait or waited for people, stops, breakers that opened, drills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from bedplate.errors import NotFound
from bedplate.store.tables import event

from .stop import ALL, WHOLE
from .tables import drill, glimpse, parked, stop, tripped

if TYPE_CHECKING:
    from sqlalchemy import Engine, Select

OPEN = ("asked", "granted")
PAGE = 50
FOLLOWED = 50  # edits of one action, one after the other


def waiting_for(engine: Engine, run: str, digest: str) -> dict[str, Any] | None:
    """Return the newest question about exactly this call of this run, followed to what took its place; or None."""
    query = select(parked).where(parked.c.run == run, parked.c.arguments_sha256 == digest)
    found = _first(engine, query.order_by(parked.c.asked_at.desc(), parked.c.last_seq.desc()))
    for _ in range(FOLLOWED):
        if found is None or found["state"] != "edit":
            return found
        found = _first(engine, select(parked).where(parked.c.approval == found["now"]))
    return found


def parked_action(engine: Engine, approval: str) -> dict[str, Any]:
    """Return one action that waits or waited for people; `NotFound` if there is none."""
    found = _first(engine, select(parked).where(parked.c.approval == approval))
    if found is None:
        raise NotFound(f"no action waits under {approval}", hint="list them: bedplate actions")
    return found


def parked_of(engine: Engine, action: str) -> dict[str, Any] | None:
    """Return the newest question about an action by the action's id, or None."""
    return _first(engine, select(parked).where(parked.c.action == action).order_by(parked.c.asked_at.desc()))


def queue(
    engine: Engine, *, subject: str = "", agent: str = "", state: str = "asked", page: int = 1, size: int = PAGE
) -> tuple[list[dict[str, Any]], int]:
    """List one page of actions, those that expire first first while they wait, else newest first; and how many."""
    query = select(parked)
    for column, value in ((parked.c.subject, subject), (parked.c.agent, agent)):
        if value:
            query = query.where(column == value)
    if state != "any":
        query = query.where(parked.c.state == state)
    count = select(func.count()).select_from(query.subquery())
    order = parked.c.asked_at.asc() if state == "asked" else parked.c.asked_at.desc()
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(order).limit(size).offset((page - 1) * size))
        found = [dict(row._mapping) for row in rows]  # noqa: SLF001  public by documentation
        return found, int(connection.execute(count).scalar_one())


def stops(engine: Engine, *, subject: str = "", in_force: bool = False, limit: int = PAGE) -> list[dict[str, Any]]:
    """List stops, newest first."""
    query = select(stop).order_by(stop.c.seq.desc()).limit(limit)
    if subject:
        query = query.where(stop.c.subject == subject)
    if in_force:
        query = query.where(stop.c.lifted_at == 0)
    return _all(engine, query)


def outdated(engine: Engine, limit: int = 500) -> dict[str, list[str]]:
    """List questions that still wait although a stop came after them, by subject."""
    later = select(stop.c.seq).where(
        stop.c.subject.in_((parked.c.subject, ALL)),
        stop.c.scope.in_((WHOLE, parked.c.agent)),
        stop.c.seq > event.c.seq,
    )
    asked = (event.c.stream == parked.c.approval) & (event.c.version == 1)
    query = select(parked.c.subject, parked.c.approval).join(event, asked)
    query = query.where(parked.c.state.in_(OPEN), later.exists())
    found: dict[str, list[str]] = {}
    with engine.connect() as connection:
        for subject, approval in connection.execute(query.limit(limit)):
            found.setdefault(str(subject), []).append(str(approval))
    return found


def trips(engine: Engine, *, subject: str = "", is_open: bool = False, limit: int = PAGE) -> list[dict[str, Any]]:
    """List breakers that opened, newest first."""
    query = select(tripped).order_by(tripped.c.seq.desc()).limit(limit)
    if subject:
        query = query.where(tripped.c.subject == subject)
    if is_open:
        query = query.where(tripped.c.closed_at == 0)
    return _all(engine, query)


def drills(engine: Engine, *, subject: str = "", limit: int = PAGE) -> list[dict[str, Any]]:
    """List stops that were tried, newest first."""
    query = select(drill).order_by(drill.c.seq.desc()).limit(limit)
    return _all(engine, query.where(drill.c.subject == subject) if subject else query)


def glimpses(engine: Engine, *, person: str = "", since: int = 0, limit: int = 10_000) -> list[dict[str, Any]]:
    """List who looked at and answered actions, newest answer first."""
    query = select(glimpse, parked.c.subject, parked.c.tool, parked.c.state, parked.c.tier)
    query = query.join(parked, parked.c.approval == glimpse.c.approval).where(glimpse.c.answered_at >= max(since, 1))
    if person:
        query = query.where(glimpse.c.person == person)
    return _all(engine, query.order_by(glimpse.c.answered_at.desc()).limit(limit))


def _first(engine: Engine, query: Select[Any]) -> dict[str, Any] | None:
    with engine.connect() as connection:
        row = connection.execute(query.limit(1)).one_or_none()
    return None if row is None else dict(row._mapping)  # noqa: SLF001  as above


def _all(engine: Engine, query: Select[Any]) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001  as above
