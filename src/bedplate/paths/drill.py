"""A drill of the kill switch, from raising the stop to the evidence about it."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from bedplate.agents.actions import note_drill, stop
from bedplate.agents.drill import Drills
from bedplate.agents.stop import DRILL_SCOPE
from bedplate.errors import Denied, InvalidInput
from bedplate.gateway.call import Trace, sha256
from bedplate.releases.actions import Finding, attach, prove
from bedplate.releases.tables import release as releases

if TYPE_CHECKING:
    from bedplate.agents.drill import Result
    from bedplate.kernel.event import Value

    from .whole import Whole

CONTROL = "stop-drilled"
KEY, ROUTE = "key/decoy", "decoy"


@dataclass(frozen=True, slots=True)
class Drilled:
    """A drill that was made: how it came out, and about which releases that is evidence now."""

    subject: str
    scope: str
    result: Result
    releases: tuple[str, ...]
    unattached: str = ""  # why it is evidence about none


def part_of(at: Whole) -> Drills:
    """Return what a process does in drills."""

    def calls(subject: str, agent: str) -> bool:
        trace = Trace(at.identities.next(), subject, KEY, ROUTE, at.clock(), sha256(b""), agent=agent)
        return any(reason.control == "not-stopped" for reason in at.door.judged(trace, "default"))

    return Drills(at.runs, at.agents, {"calls": calls})


def drill(at: Whole, by: str, subject: str, agent: str = "", reason: str = "a drill") -> Drilled:
    """Try a stop: of nobody, or of a real agent, which then stays stopped until that is lifted.

    The result is on record, and evidence about the live release and the newest one that was built.
    """
    standing = at.standing(subject)
    charter = at.follower.snapshot.charters.get(subject)
    if agent and (charter is None or agent not in charter.agents):
        known = ", ".join(sorted(charter.agents)) if charter is not None else "none"
        raise InvalidInput(f"the live release has no agent {agent}", hint=f"it has: {known}")
    scope = agent or f"{DRILL_SCOPE}{secrets.token_hex(4)}"
    result = part_of(at).run(
        subject, scope, lambda: stop(at.governor, by, subject, agent=scope, reason=reason), at.follower.look
    )
    told: dict[str, Value] = {"scope": scope, "ms": result.ms, "points": len(result.answers)}
    note_drill(
        at.governor, by, subject, standing.release, {**told, "outcome": result.outcome, "summary": result.summary}
    )
    at.follower.look()
    proven = result.outcome == "in-force"
    content = json.dumps({"scope": scope, "answers": [asdict(a) for a in result.answers], "silent": result.silent})
    finding = Finding(CONTROL, "proven" if proven else "contradicted", result.summary, content.encode())
    about, unattached = [], ""
    for digest in _releases(at, subject, standing.release):
        try:
            _attach(at, by, subject, digest, finding, scope)
            about.append(digest)
        except Denied as refused:
            unattached = refused.message
    return Drilled(subject, scope, result, tuple(about), unattached)


def _attach(at: Whole, by: str, subject: str, digest: str, finding: Finding, scope: str) -> None:
    try:
        prove(at.governor, by, subject, digest, finding)
    except Denied:
        attach(at.governor, by, subject, digest, finding, drill=scope)


def _releases(at: Whole, subject: str, live: str) -> list[str]:
    query = select(releases.c.digest).where(releases.c.subject == subject).order_by(releases.c.number.desc()).limit(1)
    with at.engine.connect() as connection:
        newest = connection.execute(query).scalar_one_or_none()
    return [digest for digest in dict.fromkeys((live, newest or "")) if digest]
