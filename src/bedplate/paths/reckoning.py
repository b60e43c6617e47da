"""Reckoning: what months came to goes on record once they are over, and stop rules are judged, as the system."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Engine, case, func, select

from bedplate.errors import BedplateError, Unavailable
from bedplate.gateway.tables import usage
from bedplate.gateway.usage import LIVE
from bedplate.kernel.clock import DAY, SECOND
from bedplate.portfolio import book, entries
from bedplate.portfolio.benefit import days_of, fell_short, month_at, month_of, period
from bedplate.portfolio.book import Observed
from bedplate.portfolio.proving import SETTLE
from bedplate.store import tables as t

from .returns import returns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bedplate.gateway.views import Calls
    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel
    from bedplate.portfolio.entries import Stake

    from .returns import Return

log = logging.getLogger(__name__)
EVERY = 3600 * SECOND
SETTLED = DAY  # after a month: what is added up late is still in it
BACK = 24  # months that are looked at where nothing was observed yet
THUMBS = 1_000_000  # records of feedback that are looked at for one use case


@dataclass(frozen=True, slots=True)
class Used:
    """What the gateway added up of one use case in one month: live calls made and failed, and the cost of all."""

    calls: int
    failed: int
    cost_nano: int


class Reckoning:
    """The rounds of one process. It remembers only when it looked last, and which month it is done with."""

    def __init__(self, engine: Engine, governor: Governor, calls: Calls) -> None:
        self._engine = engine
        self._governor = governor
        self._calls = calls
        self._last = -EVERY
        self._done = 0

    def round(self, model_of: Callable[[], OperatingModel | None]) -> int:
        """Observe months that are over and judge stop rules, once an hour; returns how much went on record."""
        now = self._governor.clock()
        if 0 <= now - self._last < EVERY:
            return 0
        self._last = now
        model = model_of()
        return 0 if model is None else self.observe(now) + self.judge(model, now)

    def observe(self, now: int) -> int:
        """Put on record what the calls and thumbs of every month came to that is over, and was not observed yet."""
        last = month_at(now - SETTLED) - 1
        if last <= self._done:
            return 0
        made = 0
        known = entries.observed(self._engine)
        newest = max((month_of(p) for months in known.values() for p in months), default=last - BACK)
        staked = {s.subject for s in entries.stakes(self._engine)}
        for number in range(newest, last + 1):  # the newest once more: a round may have ended in the middle of it
            for subject, used in self._used(number).items():
                if subject in staked and period(number) not in known.get(subject, {}):
                    up, down = self._thumbs(subject, number)
                    book.observe(
                        self._governor,
                        Observed(subject, period(number), used.calls, used.failed, up, down, used.cost_nano),
                    )
                    made += 1
        self._done = last
        return made

    def judge(self, model: OperatingModel, now: int) -> int:
        """Judge every stop rule by the months that are over; one that fires is on record, and asked once a month."""
        made = 0
        for found in returns(self._engine, model, now):
            try:
                made += self._judge(found)
            except BedplateError as fault:  # one use case's trouble is not the others'
                log.warning("stop.not_judged", extra={"subject": found.stake.subject, "why": fault.message})
                if isinstance(fault, Unavailable):
                    return made  # the database is away; tried again in an hour
        return made

    def _judge(self, found: Return) -> int:
        stake, last = found.stake, _last_over(found)
        if stake.stop is None or stake.stage != "live" or not last or not found.judged_since:
            return 0
        short = fell_short(stake.stop, found.months, found.judged_since)
        if short is None:
            return 0
        fired = next((f for f in found.firings if f.period == last), None)
        if fired is None:
            approval = book.stop(self._governor, stake.subject, stake.stop, short, last)
            log.warning("stop.fired", extra={"subject": stake.subject, "period": last, "approval": approval})
            return 1
        if not fired.renewed_at and not self._asked(stake, fired.fired_at):  # the process ended between the two
            facts: dict[str, Value] = {"then": fired.then, "period": fired.period, "percent": fired.percent}
            book.ask(self._governor, stake.subject, facts)
            return 1
        return 0

    def _asked(self, stake: Stake, since: int) -> bool:
        query = select(func.count()).where(t.approval.c.subject == stake.subject, t.approval.c.action == SETTLE.name)
        with self._engine.connect() as connection:
            return bool(connection.execute(query.where(t.approval.c.asked_at >= since)).scalar_one())

    def _used(self, number: int) -> dict[str, Used]:
        first, last = days_of(number)
        live = usage.c.route == LIVE
        sums = (
            func.sum(case((live, usage.c.calls), else_=0)),
            func.sum(case((live, usage.c.failed), else_=0)),
            func.sum(usage.c.cost_nano),
        )
        query = select(usage.c.subject, *sums).where(usage.c.day >= first, usage.c.day <= last)
        with self._engine.connect() as connection:
            rows = connection.execute(query.group_by(usage.c.subject))
            return {subject: Used(int(calls), int(failed), int(nano)) for subject, calls, failed, nano in rows}

    def _thumbs(self, subject: str, number: int) -> tuple[int, int]:
        """Count the calls whose last thumb in the month was up, and those whose last was down."""
        newest = dict(reversed(list(self._said(subject, number))))
        return sum(up for up in newest.values()), sum(not up for up in newest.values())

    def _said(self, subject: str, number: int) -> Iterator[tuple[str, bool]]:
        first, last = days_of(number)
        for record in self._calls.feedback_of(subject, first * DAY, limit=THUMBS):
            if record.at < (last + 1) * DAY and record.entry["feedback"] == "thumb":
                yield record.entry["call"], record.entry["value"] == "up"


def _last_over(found: Return) -> str:
    return next((m.period for m in reversed(found.months) if m.over), "")
