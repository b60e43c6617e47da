"""The bottleneck: decisions pile up at the board or the CoE while AI that nobody registered is seen.

A backlog alone may be a busy quarter, sightings alone curiosity. Both together say that people go round the path
because it is too slow. Then board and CoE are told, on record and on every page they open, at most once a week.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError
from bedplate.evidence.views import events
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import SECOND
from bedplate.people.actions import signal
from bedplate.people.flow.queue import WEEK, queues
from bedplate.people.flow.views import WEEKS, waits
from bedplate.people.governance import SIGNAL
from bedplate.shadow.views import sightings_per_week

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from bedplate.kernel.event import Data
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel
    from bedplate.people.flow.queue import Queue

log = logging.getLogger(__name__)
EVERY = 3600 * SECOND
RECENT, BEFORE = 4, 8  # weeks of sightings, and those they are compared with
SHOWN = 8 * WEEK // 7  # how long a signal is shown: a day longer than until the next may come
RELIEVED = ("board", "coe")  # whose decisions can be delegated to domains
KIND = "people.bottleneck.signalled"


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """A body whose backlog grows: by how many, and how much AI was seen that nobody registered.

    `chance_permille` is how likely chance alone makes a steady queue grow as much; `before` is what was seen in the
    eight weeks before the newest four.
    """

    body: str
    waiting: int
    grown: int
    weeks: int
    chance_permille: int
    sightings: int
    before: int

    @property
    def signalled(self) -> bool:
        """Whether both are there: the backlog and the bypass."""
        return self.sightings > 0

    def plain(self) -> Data:
        """Return it as it is recorded."""
        names = ("waiting", "grown", "weeks", "chance_permille", "sightings", "before")
        return {name: getattr(self, name) for name in names}


def bottlenecks(found: Sequence[Queue], sightings: Sequence[int]) -> list[Bottleneck]:
    """List the bodies whose backlog grows; `sightings` are counts by week, the newest last."""
    recent, before = sum(sightings[-RECENT:]), sum(sightings[-RECENT - BEFORE : -RECENT])
    return [
        Bottleneck(q.structure, q.now, q.growth.net, q.growth.weeks, round(1000 * q.growth.p), recent, before)
        for q in found
        if q.structure in RELIEVED and q.growth.growing
    ]


def sightings(engine: Engine, now: int) -> list[int]:
    """Count what was sighted of AI that nobody registered, by week, the newest last."""
    return sightings_per_week(engine, now - (RECENT + BEFORE) * WEEK, now)


def signalled(engine: Engine, now: int) -> list[Bottleneck]:
    """List the newest signal about each body that is still to be shown."""
    found: dict[str, Bottleneck] = {}
    for event in events(engine, kind=KIND, limit=len(RELIEVED) * 2):
        if event.at > now - SHOWN:
            data = dict(event.data)
            body = str(data.pop("body"))
            found.setdefault(body, Bottleneck(body, **{name: int(str(value)) for name, value in data.items()}))
    return [found[body] for body in sorted(found)]


class Signals:
    """The rounds of one process: looks once an hour, and tells about a body at most once a week."""

    def __init__(self, engine: Engine, governor: Governor) -> None:
        self._engine = engine
        self._governor = governor
        self._last = -EVERY

    def round(self, model: OperatingModel | None) -> int:
        """Tell about each bottleneck that was not told of for a week; returns how many were told."""
        now = self._governor.clock()
        if 0 <= now - self._last < EVERY or model is None:
            return 0
        self._last = now
        if not model.authority.allowed(SYSTEM, SIGNAL.needs, ""):  # a model from before there were signals
            return 0
        told = {str(e.data["body"]) for e in events(self._engine, kind=KIND, limit=20) if e.at > now - WEEK}
        found = bottlenecks(queues(waits(self._engine, now - WEEKS * WEEK), now, WEEKS), sightings(self._engine, now))
        count = 0
        for one in found:
            if one.signalled and one.body not in told:
                try:
                    signal(self._governor, one.body, one.plain())
                except BedplateError as fault:
                    log.warning("bottleneck.not_signalled", extra={"body": one.body, "why": fault.message})
                    continue
                log.warning("bottleneck.signalled", extra={"body": one.body, "waiting": one.waiting})
                count += 1
        return count
