"""Tiles of a use case's page: what it cost today, how its newest evaluation went, and which prompts are live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import Denied
from bedplate.gateway import cost
from bedplate.kernel.clock import DAY
from bedplate.models import views as models

from .cost import readable
from .evals import Ran, newest
from .prompts import carried
from .spending import Bar, bar

if TYPE_CHECKING:
    from bedplate.portfolio.views import UseCase

    from .visit import Visit


@dataclass(frozen=True, slots=True)
class Tiles:
    """`nano` is -1 for people who may not read what calls cost. `bar` is the limit in money that ends first, if any.

    `prompts` are (id, number of the live version, versions there are).
    """

    nano: int
    unpriced: int
    bar: Bar | None
    ran: Ran | None
    prompts: tuple[tuple[str, int, int], ...]


def tiles(visit: Visit, case: UseCase) -> Tiles | None:
    """Look at a use case; None while there is nothing of all this."""
    ran, live = newest(visit, case), carried(visit, case.release)
    if ran is None and not live:
        return None
    versions = models.prompt_versions(visit.at.engine, case.subject)
    prompts = tuple((n, versions[n].number(d), len(versions[n].digests)) for n, d in live.items() if n in versions)
    nano, unpriced, nearest = _spent(visit, case)
    return Tiles(nano, unpriced, nearest, ran, prompts)


def _spent(visit: Visit, case: UseCase) -> tuple[int, int, Bar | None]:
    try:
        seen = readable(visit)
    except Denied:
        return -1, 0, None
    if seen is not None and case.domain not in seen:
        return -1, 0, None
    at, now, subject = visit.at, visit.at.clock(), case.subject
    today = now // DAY
    unpriced = cost.total(cost.costs(at.engine, "day", today, today, subject=subject)).unpriced
    most = cost.limits_of(at.follower.snapshot).get(subject)
    lines = cost.budget_lines(
        at.engine, {subject: most} if most else {}, lambda s: at.budgets.today(s, now), at.budgets.held, today
    )
    bars = [bar(line, most) for line in lines if most and line.limit.startswith("nano_")]
    return at.budgets.today(subject, now).nano, unpriced, max(bars, key=_percent, default=None)


def _percent(found: Bar) -> int:
    return found.percent
