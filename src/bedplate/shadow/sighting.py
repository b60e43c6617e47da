"""A sighting: AI in use that is not on record, what it is, where, and how it was seen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bedplate.kernel.event import Data, Value

Kind = Literal["sdk", "model", "endpoint", "manifest", "mcp", "key", "spend", "tool"]
Source = Literal["gateway", "traces", "code", "egress", "bill", "declared"]
State = Literal["new", "adopted", "explained", "dismissed"]
KINDS, SOURCES, STATES = frozenset(get_args(Kind)), frozenset(get_args(Source)), get_args(State)
MAX_TEXT = 200  # characters of what, where and provider
MAX_HINTS, MAX_HINT = 8, 160
MAX_COUNT = 1 << 53


@dataclass(frozen=True, slots=True)
class Sighting:
    """One observation. `times` is how often it was seen between `first` and `last`, in microseconds.

    `team` is a domain of the operating model, or "" if nobody knows. `cents` were spent, in `currency`.
    """

    kind: Kind
    what: str
    where: str
    source: Source
    provider: str = ""
    team: str = ""
    times: int = 1
    first: int = 0
    last: int = 0
    cents: int = 0
    currency: str = ""
    hints: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What makes two observations one sighting: the same thing in the same place."""
        return fingerprint(self.kind, self.what, self.where)

    def data(self) -> Data:
        """Return it as an event holds it."""
        hints: list[Value] = list(self.hints)
        return {
            "kind": self.kind,
            "what": self.what,
            "where": self.where,
            "provider": self.provider,
            "team": self.team,
            "times": self.times,
            "first": self.first,
            "last": self.last,
            "cents": self.cents,
            "currency": self.currency,
            "hints": hints,
        }


def fingerprint(kind: str, what: str, where: str) -> str:
    """Return 16 hex digits that stand for this thing in this place."""
    return hashlib.sha256(f"{kind}\0{what}\0{where}".encode()).hexdigest()[:16]


def checked(sighting: Sighting, place: str = "sighting") -> Sighting:
    """Return it as it may be recorded; `InvalidInput` names what is wrong, and where it was given."""
    if sighting.kind not in KINDS or sighting.source not in SOURCES:
        raise InvalidInput(
            f"{place}: {sighting.kind}/{sighting.source} is not a kind and source of sightings",
            hint=f"kinds: {', '.join(sorted(KINDS))}; sources: {', '.join(sorted(SOURCES))}",
        )
    for name in ("what", "where"):
        text = getattr(sighting, name)
        if not 1 <= len(text) <= MAX_TEXT or not text.isprintable():
            raise InvalidInput(f"{place}: {name} has to be 1 to {MAX_TEXT} printable characters", hint="shorten it")
    if len(sighting.provider) > MAX_TEXT or len(sighting.team) > MAX_TEXT:
        raise InvalidInput(f"{place}: provider and team hold {MAX_TEXT} characters at most", hint="shorten it")
    if not 1 <= sighting.times < MAX_COUNT or not 0 <= sighting.cents < MAX_COUNT:
        raise InvalidInput(f"{place}: times counts from 1 and cents from 0", hint="leave out what was not seen")
    if bool(sighting.cents) != bool(sighting.currency):
        raise InvalidInput(f"{place}: cents and currency go together", hint="name the currency, as USD")
    if not 0 < sighting.first <= sighting.last:
        raise InvalidInput(f"{place}: it was last seen before it was first seen", hint="swap first and last")
    hints = tuple(dict.fromkeys(h[:MAX_HINT] for h in sighting.hints if h.isprintable()))[:MAX_HINTS]
    return replace(sighting, hints=hints)


def together(sightings: Iterable[Sighting]) -> list[Sighting]:
    """Put observations of one thing in one place together, in the order of their first one."""
    found: dict[str, Sighting] = {}
    for one in sightings:
        known = found.get(one.fingerprint)
        found[one.fingerprint] = one if known is None else _added(known, one)
    return list(found.values())


def _added(known: Sighting, more: Sighting) -> Sighting:
    if known.cents and more.cents and known.currency != more.currency:
        raise InvalidInput(
            f"{more.what} at {more.where} is billed in {known.currency} and in {more.currency}",
            hint="import one currency at a time",
        )
    return replace(
        known,
        provider=known.provider or more.provider,
        team=known.team if known.team == more.team else "",  # two teams: nobody's alone
        times=known.times + more.times,
        first=min(known.first, more.first),
        last=max(known.last, more.last),
        cents=known.cents + more.cents,
        currency=known.currency or more.currency,
        hints=tuple(dict.fromkeys((*known.hints, *more.hints)))[:MAX_HINTS],
    )
