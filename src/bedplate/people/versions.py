"""The operating models that were in force: what each changed, and who agreed to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from bedplate.kernel.event import unseal
from bedplate.store import tables as t
from bedplate.store.reads import read_approval, read_blob

from .actions import Change, compare

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

APPLIED = "kernel.model.applied"


@dataclass(frozen=True, slots=True)
class Agreed:
    """One vote for it, from one seat."""

    person: str
    seat: str
    reason: str
    at: int


@dataclass(frozen=True, slots=True)
class Version:
    """One operating model: from when on it was in force, by whose request, and what it changed."""

    digest: str
    event: int
    at: int
    by: str
    approval: str  # "" where nobody had to agree
    agreed: tuple[Agreed, ...]
    changes: tuple[Change, ...]

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)


def versions(engine: Engine, limit: int = 20) -> list[Version]:
    """List them, newest first. The first one has changed everything."""
    query = select(t.event.c.entry).where(t.event.c.kind == APPLIED).order_by(t.event.c.seq.desc()).limit(limit + 1)
    with engine.connect() as connection:
        events = [unseal(bytes(entry)) for entry in connection.execute(query).scalars()]
        bodies = {e.seq: _body(connection, str(e.data["digest"])) for e in events}
        found: list[Version] = []
        for event, before in pairwise([*events, None]):
            if event is None or len(found) == limit:
                break
            approval = str(event.authz.get("approval", ""))
            asked = read_approval(connection, approval) if approval else None
            votes = asked.votes if asked is not None else ()
            changes = compare(bodies[before.seq] if before is not None else None, bodies[event.seq])
            found.append(
                Version(
                    str(event.data["digest"]),
                    event.seq,
                    event.at,
                    event.actor,
                    approval.removeprefix("approval/"),
                    tuple(Agreed(v.person, v.seat, v.reason, v.at) for v in votes if v.yes),
                    tuple(changes),
                )
            )
        return found


def _body(connection: Connection, digest: str) -> dict[str, Any]:
    return dict(json.loads(read_blob(connection, digest)))
