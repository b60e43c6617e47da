"""Upstreams: how each one is as this process sees it, and which use cases stand on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import Denied
from bedplate.gateway.governance import READ_UPSTREAMS
from bedplate.portfolio import views as portfolio

from .visit import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

    from bedplate.gateway.traffic import SupplierView


@dataclass(frozen=True, slots=True)
class Stands:
    """A use case whose live release names an upstream: as what, and for which model."""

    id: str
    title: str
    part: str  # answers, falls back, embeds
    model: str


@dataclass(frozen=True, slots=True)
class Upstream:
    """One upstream as it is shown. Spans in seconds, -1 where there is none."""

    view: SupplierView
    default: bool
    since: int
    next_probe: int
    cooling: int
    stands: tuple[Stands, ...]

    @property
    def failing(self) -> int:
        """Percent of the calls since this process started that failed, rounded up."""
        return min(100, -(-100 * self.view.failed // self.view.calls)) if self.view.calls else 0


def upstreams(visit: Visit) -> Response:
    """Show them all; only who may see them."""
    at = visit.at
    _readable(visit)
    now, using = time.monotonic_ns() // 1000, _using(visit)
    shown = [_shown(view, now, using.get(view.name, ()), at.supply.default) for view in at.supply.view(now)]
    known = {one.view.name for one in shown}
    return visit.show(
        "upstreams.html",
        shown=shown,
        missing=[(name, stands) for name, stands in using.items() if name not in known],
        troubled=sum(one.view.breaker.state != "closed" or bool(one.view.trouble) for one in shown),
        in_flight=sum(one.view.in_flight for one in shown),
        shard=at.journal.shard,
    )


def _readable(visit: Visit) -> None:
    model = visit.at.model()
    authority = model.authority if model is not None else None
    if authority is None:
        raise Denied("no operating model is in force", hint="bedplate apply operating-model.yaml")
    if not authority.allowed(visit.by, READ_UPSTREAMS.needs, "*"):
        names = ", ".join(sorted(authority.people[p].name for p in authority.who(READ_UPSTREAMS.needs, "*")))
        why = f"Your seats do not let you see the upstreams: that needs {READ_UPSTREAMS.needs}."
        raise Denied(why, hint=f"Ask one of those who may, or whoever gives seats: {names or 'nobody yet'}.")


def _using(visit: Visit) -> dict[str, list[Stands]]:
    """Return by upstream the use cases that are served and name it; by address where it is not configured any more."""
    at = visit.at
    titles = {c.subject: c.title for c in portfolio.use_cases(at.engine)}
    found: dict[str, list[Stands]] = {}
    for subject, recipe in sorted(at.follower.snapshot.recipes.items()):
        parts = [(t.upstream, "falls back" if n else "answers", t.model) for n, t in enumerate(recipe.targets)]
        if recipe.embedding:
            parts.append((recipe.embedding["upstream"], "embeds", recipe.embedding["model"]))
        for address, part, model in parts:
            supplier = at.supply.at(address)
            name = subject.partition("/")[2]
            stands = Stands(name, titles.get(subject, name), part, model)
            found.setdefault(supplier.name if supplier is not None else address, []).append(stands)
    return found


def _shown(view: SupplierView, now: int, stands: list[Stands] | tuple[Stands, ...], default: str) -> Upstream:
    breaker = view.breaker
    return Upstream(
        view=view,
        default=view.name == default,
        since=(now - breaker.since) // 1_000_000 if breaker.since else -1,
        next_probe=_until(breaker.next_probe, now),
        cooling=_until(breaker.cooling_until, now),
        stands=tuple(stands),
    )


def _until(moment: int, now: int) -> int:
    return max(0, -((now - moment) // 1_000_000)) if moment else -1


PAGES = (Page("/upstreams", upstreams),)
