"""Who knocked at the gateway without being known: counted in memory, and reported from time to time."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from .score import CREDENTIAL
from .sighting import MAX_TEXT, Sighting

if TYPE_CHECKING:
    from bedplate.kernel.clock import Clock

    from .sighting import Source
    from .signature import Provider

AT_ONCE = 32  # told apart between two reports: whoever tries keys by the thousand is one sighting
EVER = 1_000  # told apart by one process
DIGITS = 8  # of a key's digest: to tell keys apart, too few to guess from
ISSUED = "bp"  # how our own keys begin


class Strangers:
    """Counts refusals of unknown keys and of models that no release holds. A key's text is never kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str, str], Sighting] = {}
        self._known: set[tuple[str, str, str]] = set()

    def note(self, kind: str, text: str, where: str, route: str) -> None:
        """Note one refusal: of a "key", or of a "model" that `where`, a use case, asked for."""
        source: Source = "traces" if route == "observed" else "gateway"
        now = self._clock()
        if kind == "key":
            fresh = _key(text, where or source, source, now)
        else:
            what = "".join(c for c in text if c.isprintable())[:MAX_TEXT] or "no name"
            fresh = Sighting("model", what, where, source, _maker(what), first=now, last=now)
        with self._lock:
            self._add(fresh)

    def take(self) -> list[Sighting]:
        """Return what was noted since the last time, and begin anew."""
        with self._lock:
            taken, self._seen = self._seen, {}
        return list(taken.values())

    def give_back(self, sightings: list[Sighting]) -> None:
        """Take back what could not be reported: it is told with the next."""
        with self._lock:
            for one in sightings:
                self._add(one)

    def _add(self, one: Sighting) -> None:
        name = (one.source, one.kind, f"{one.what}\0{one.where}")
        if name not in self._seen and (
            len(self._seen) >= AT_ONCE or (name not in self._known and len(self._known) >= EVER)
        ):
            one = replace(one, what=f"other unknown {one.kind}s", provider="", hints=())
            name = (one.source, one.kind, f"{one.what}\0{one.where}")
        before = self._seen.get(name)
        self._known.add(name)
        if before is not None:
            one = replace(one, times=before.times + one.times, first=min(before.first, one.first))
        self._seen[name] = one


def _key(secret: str, where: str, source: Source, now: int) -> Sighting:
    digest = hashlib.sha256(secret.encode(errors="replace")).hexdigest()[:DIGITS]
    provider = _issuer(secret)
    name = f"{provider.name} key" if provider else "Bedplate key" if secret.startswith(ISSUED) else "unknown key"
    hints = (f"{CREDENTIAL}{provider.name} key, sent to the gateway",) if provider else ()
    issuer = provider.name if provider else ""
    return Sighting("key", f"{name} #{digest}", where, source, issuer, first=now, last=now, hints=hints)


def _issuer(secret: str) -> Provider | None:
    from .pattern import of_key  # noqa: PLC0415  expressions are compiled when the first stranger knocks

    return of_key(secret)


def _maker(model: str) -> str:
    from .pattern import of_model  # noqa: PLC0415  as above

    provider = of_model(model)
    return provider.name if provider else ""
