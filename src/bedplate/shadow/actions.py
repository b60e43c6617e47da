"""What is done about shadow AI: report it, declare it, settle it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, InvalidInput
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY
from bedplate.kernel.event import MAX_ENTRY, canonical

from .governance import ADOPT, DECLARE, DISMISS, EXPLAIN, HEADCOUNT, REPORT, in_amnesty
from .sighting import MAX_TEXT, Sighting, checked, fingerprint, together

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.event import Data, Value
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel

    from .stranger import Strangers

STREAM = "shadow/sightings"
REFUSED = {"gateway": "refused by the gateway", "traces": "seen in traces, or asked for by another proxy"}
MAX_SIGHTINGS = 20_000  # in one report: more is not read by anybody
ROOM = MAX_ENTRY - 4_096  # bytes of an event for what was seen; the rest is around it
USE_CASE = re.compile(r"[a-z][a-z0-9-]{1,62}")
MAX_PEOPLE = 10_000_000


@dataclass(frozen=True, slots=True)
class Declared:
    """What a team says of itself."""

    what: str
    where: str
    team: str
    why: str
    kind: str = "tool"


def report(governor: Governor, by: str, sightings: Sequence[Sighting], *, name: str, digest: str = "") -> list[str]:
    """Record what was seen, all or nothing; returns the fingerprints. `name` says what was read, `digest` its bytes."""
    if not sightings:
        return []
    found = [checked(one, f"{name}, number {n}") for n, one in enumerate(together(sightings), 1)]
    if len(found) > MAX_SIGHTINGS:
        raise InvalidInput(f"{name} holds {len(found)} sightings; {MAX_SIGHTINGS} are taken", hint="import it in parts")
    teams = {one.team for one in found}
    domain = teams.pop() if len(teams) == 1 else ""  # of several teams at once: who answers for all
    sources = {one.source for one in found}
    if len(sources) != 1:
        raise InvalidInput(f"{name} mixes the sources {', '.join(sorted(sources))}", hint="report one at a time")
    (source,) = sources
    with governor.act(by, REPORT, STREAM, facts={"domain": domain, "source": source, "name": name}) as act:
        for items in _parts([one.data() for one in found]):
            told: dict[str, Value] = {"source": source, "name": name[:MAX_TEXT], "digest": digest, "items": items}
            act.record("shadow.sighting.reported", told)
    return [one.fingerprint for one in found]


def report_strangers(governor: Governor, strangers: Strangers, model: OperatingModel | None) -> None:
    """Report who knocked at the gateway; what cannot be reported now is told with the next.

    An operating model from before there was such a report does not let the worker make it: then nothing is kept.
    """
    seen = strangers.take()
    if model is None or not model.authority.allowed(SYSTEM, REPORT.needs, ""):
        return
    for source in sorted({one.source for one in seen}):
        try:
            report(governor, SYSTEM, [one for one in seen if one.source == source], name=REFUSED[source])
        except BedplateError:
            strangers.give_back([one for one in seen if one.source >= source])
            raise


def declare(governor: Governor, by: str, said: Declared) -> str:
    """Record what a team says that it uses; returns the fingerprint. While an amnesty lasts, it counts as such."""
    now = governor.clock()
    if not said.why.strip() or len(said.why) > MAX_TEXT * 5:
        raise InvalidInput("declaring needs a reason, of 1000 characters at most", hint="--why 'what it is used for'")
    kind, what, where = said.kind, said.what.strip(), said.where.strip()
    checked(Sighting(kind, what, where, "declared", team=said.team, first=now, last=now))  # type: ignore[arg-type]  # checked there
    seen = fingerprint(kind, what, where)
    with governor.act(by, DECLARE, f"sighting/{seen}", facts={"domain": said.team, "what": what}) as act:
        data = {**asdict(said), "what": what, "where": where}
        data["amnesty"] = "yes" if in_amnesty(act.case.model, act.case.now) else "no"
        act.record("shadow.sighting.declared", data)
    return seen


def adopt(
    governor: Governor, by: str, seen: str, team: str, into: str, reason: str = "", along: Sequence[str] = ()
) -> None:
    """Take a sighting up as the use case `into`, which is proposed as any other; `along` go others of the same team."""
    if not USE_CASE.fullmatch(into):
        hint = "small letters, digits, hyphens: --as claims-mail"
        raise InvalidInput(f"{into!r} is no id of a use case", hint=hint)
    facts: Data = {"domain": team, "into": into, "along": list(along)}
    with governor.act(by, ADOPT, f"sighting/{seen}", facts=facts) as act:
        for one in (seen, *along):
            act.record("shadow.sighting.adopted", {"into": f"usecase/{into}", "reason": reason}, on=f"sighting/{one}")


def explain(governor: Governor, by: str, seen: str, team: str, reason: str, until: int) -> None:
    """Allow a sighting until a moment, in microseconds; then it is new again."""
    _because(reason)
    facts: Data = {"domain": team, "reason": reason, "until": until}
    with governor.act(by, EXPLAIN, f"sighting/{seen}", facts=facts) as act:
        act.record("shadow.sighting.explained", {"reason": reason, "until": until})


def dismiss(governor: Governor, by: str, seen: str, team: str, reason: str) -> None:
    """Say that a sighting is nothing that needs an owner."""
    _because(reason)
    with governor.act(by, DISMISS, f"sighting/{seen}", facts={"domain": team, "reason": reason}) as act:
        act.record("shadow.sighting.dismissed", {"reason": reason})


def record_headcount(governor: Governor, by: str, teams: Mapping[str, int]) -> None:
    """Record how many people work in each team, in the place of what was known before."""
    if not teams or any(not 0 < people <= MAX_PEOPLE for people in teams.values()):
        raise InvalidInput("headcounts are whole numbers from 1", hint="leave out teams without people")
    told: dict[str, Value] = {"teams": dict(teams)}
    if len(canonical(told)) > ROOM:
        raise InvalidInput(f"{len(teams)} teams are too many for one record", hint="name departments, not squads")
    with governor.act(by, HEADCOUNT, "shadow/headcount", facts={"teams": len(teams)}) as act:
        act.record("shadow.headcount.recorded", told)


def until_of(day: str) -> int:
    """Return the end of a day, in microseconds; `InvalidInput` if it is none."""
    try:
        return ((date.fromisoformat(day) - date(1970, 1, 1)).days + 1) * DAY
    except ValueError:
        raise InvalidInput(f"{day!r} is not a day", hint="write it like 2027-01-31") from None


def _because(reason: str) -> None:
    if not reason.strip():
        raise InvalidInput("settling a sighting needs a reason", hint="--reason '...'")


def _parts(items: list[Data]) -> list[list[Value]]:
    """Divide what was seen into lists that fit an event each."""
    parts: list[list[Value]] = [[]]
    room = ROOM
    for item in items:
        size = len(canonical(item)) + 1
        if size > room:
            parts.append([])
            room = ROOM
        parts[-1].append(item)
        room -= size
    return parts
