"""Escalation: open incidents past their time go up, step by step, as the system."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, Unavailable
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import SECOND

from .actions import escalate
from .views import overdue

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from bedplate.kernel.governor import Governor

log = logging.getLogger(__name__)
EVERY = 60 * SECOND


class Escalation:
    """The rounds of one process. It remembers only what failed; how far an incident went up is on record."""

    def __init__(self, engine: Engine, governor: Governor) -> None:
        self._engine = engine
        self._governor = governor
        self._last = -EVERY
        self._ended: set[tuple[str, int]] = set()  # incident and step from which there is no way up

    def round(self) -> int:
        """Take what is overdue up, once a minute, as many steps as its time asks for; returns how many were taken."""
        now = self._governor.clock()
        if 0 <= now - self._last < EVERY:
            return 0
        self._last = now
        taken = 0
        while late := [one for one in overdue(self._engine, now) if (one.id, one.step) not in self._ended]:
            for one in late:
                try:
                    if escalate(self._governor, SYSTEM, one):
                        taken += 1
                        log.warning("incident.escalated", extra={"incident": one.id, "step": one.step + 1})
                    else:
                        self._ended.add((one.id, one.step))
                except BedplateError as fault:  # one incident's trouble is not the others'
                    log.warning("incident.not_escalated", extra={"incident": one.id, "why": fault.message})
                    if isinstance(fault, Unavailable):
                        return taken  # the database is away; tried again in a minute
                    self._ended.add((one.id, one.step))  # a denial is on record once, not every minute
        return taken
