"""Oversight of oversight, on a timer: who is told of what waits, trials of those who answer, and what follows."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from bedplate.agents.actions import judge_test, lower_reviewer, plant, remind
from bedplate.agents.link import Links
from bedplate.agents.notice import Reminder
from bedplate.agents.oversight import HASTY, MANY, STAMPED, Reviewer, reviewers
from bedplate.agents.reminder import Inbox, reminder, waiting
from bedplate.agents.reviewer import lowered, measured_since
from bedplate.agents.tables import glimpse, parked, planted
from bedplate.agents.trial import TIER, Trial, Trials
from bedplate.agents.views import glimpses, parked_action
from bedplate.errors import BedplateError, Unavailable
from bedplate.incidents.actions import Happening, open_incident
from bedplate.incidents.ladder import UNPROVEN
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY, SECOND
from bedplate.kernel.event import canonical
from bedplate.store.reads import read_approvals

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Engine

    from bedplate.agents.reminder import Teller
    from bedplate.kernel.approval import Approval

    from .whole import Whole

log = logging.getLogger(__name__)
EVERY = 10 * SECOND
SPAN = 90 * DAY  # answers that are looked at
OPEN = "asked"


class OversightWatch:
    """The rounds of one process. What was told, planted and judged is on record; a trial not asked yet is not."""

    def __init__(self, at: Whole, teller: Teller | None = None, trials: Trials | None = None) -> None:
        self._at = at
        self._teller = teller or Inbox()
        self._links = Links(at.agents.parts.salt)
        self._trials = trials or Trials(at.agents, at.settings.trial_every)
        self._last = -EVERY
        self._from = _newest(at.engine)
        self._planned: list[Trial] = []
        self._made: set[str] = set()  # actions of which one was made, or could not be
        self._answered = -1
        self._ended: set[tuple[str, int]] = set()  # approvals and steps that could not be told of

    def round(self, now: int) -> None:
        """Do one round; what fails in one step does not hold up the others."""
        if 0 <= now - self._last < EVERY:
            return
        self._last = now
        for step in (self.remind, self.plan, self.ask, self.judge, self.measure):
            try:
                step(now)
            except Exception as broken:
                log.exception("oversight.step_failed", extra={"step": step.__name__, "error": type(broken).__name__})

    def remind(self, now: int) -> int:
        """Tell people of what waits, as far as its time asks for; returns of how many actions."""
        at, model = self._at, self._at.model()
        if model is None:
            return 0
        told = {str(row["approval"]): int(str(row["told"])) for row in waiting(at.engine, model, now)}
        if not told:
            return 0
        with at.engine.connect() as connection:
            asked = read_approvals(connection, list(told))
        standings, by_subject = at.follower.snapshot.standings, dict[str, list[Reminder]]()
        for approval in asked:
            found = reminder(approval, model, standings, told[approval.id], now)
            if found is not None and (found.approval, found.step) not in self._ended:
                by_subject.setdefault(found.subject, []).append(found)
        count = 0
        for subject, reminders in by_subject.items():
            try:
                recorded = remind(at.governor, subject, reminders)
            except Unavailable as fault:
                log.warning("action.not_told", extra={"subject": subject, "why": fault.message})
                return count  # the database is away; tried again in some seconds
            except BedplateError as fault:  # a denial is on record once, not every time
                log.warning("action.not_told", extra={"subject": subject, "why": fault.message})
                self._ended.update((one.approval, one.step) for one in reminders)
                continue
            count += len(recorded)
            for one in recorded:
                self._tell(one)
        return count

    def _tell(self, one: Reminder) -> None:
        for person in one.people:
            try:
                self._teller.told(person, one.text, link_to(self._links, one.approval, person, one.due))
            except Exception as broken:  # noqa: BLE001  whoever is told elsewhere finds it in the inbox all the same
                log.warning("person.not_told", extra={"person": person, "error": type(broken).__name__})

    def plan(self, now: int) -> None:
        """Make a trial for one in so many actions that came to wait, and commit to it."""
        at = self._at
        query = select(parked).where(parked.c.last_seq > self._from, parked.c.told <= 1, parked.c.tier >= TIER)
        with at.engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query.where(parked.c.state == OPEN)).mappings()]
            known = set(connection.execute(select(planted.c.commitment)).scalars()) if rows else set()
        newest = _newest(at.engine)
        for row in rows:
            if row["approval"] in self._made or not self._trials.due(row["approval"]):
                continue
            if self._trials.commitment(row["action"]) in known:
                continue  # no trials of trials
            self._made.add(row["approval"])
            trial = self._trials.made(row, now)
            if trial is not None:
                plant(at.governor, trial.subject, self._trials.commitment(trial.action))
                self._planned.append(trial)
        self._from = newest

    def ask(self, now: int) -> None:
        """Put trials whose time has come among the actions that wait; what has changed meanwhile is let go."""
        due = [trial for trial in self._planned if trial.at <= now]
        self._planned = [trial for trial in self._planned if trial.at > now]
        for trial in due:
            standing = self._at.follower.snapshot.standings.get(trial.subject)
            of = self._at.approval(trial.of)
            if standing is None or standing.release != of.facts.get("release"):
                continue
            try:
                asyncio.run(self._trials.ask(trial, of))
            except BedplateError as fault:  # stopped, suspended, or too many wait
                log.info("trial.not_asked", extra={"subject": trial.subject, "why": fault.message})

    def judge(self, now: int) -> int:
        """Open the trials that nobody can answer any more, and lower whoever let one pass; returns how many."""
        at = self._at
        size = at.follower.snapshot.size
        if size == self._answered:
            return 0
        with at.engine.connect() as connection:
            wanted = set(connection.execute(select(planted.c.commitment).where(planted.c.judged_at == 0)).scalars())
            closed = select(parked).where(parked.c.state != OPEN, parked.c.asked_at > now - SPAN, parked.c.tier >= TIER)
            rows = [dict(row) for row in connection.execute(closed).mappings()] if wanted else []
        count = 0
        for row in rows:
            commitment = self._trials.commitment(row["action"])
            if commitment in wanted and row["state"] != "edit":  # what was edited is asked anew
                self._judge(row, commitment)
                count += 1
        self._answered = size
        return count

    def _judge(self, row: dict[str, Any], commitment: str) -> None:
        at = self._at
        with at.engine.connect() as connection:
            query = select(glimpse.c.person, glimpse.c.answer).where(glimpse.c.approval == row["approval"])
            answers = [(str(p), str(a)) for p, a in connection.execute(query.where(glimpse.c.answered_at > 0))]
        opened = {"approval": row["approval"], "action": row["action"], "commitment": commitment}
        opened["nonce"] = self._trials.nonce(row["action"])
        told = [{**opened, "person": p, "answer": a} for p, a in answers or [("", str(row["state"]))]]
        judge_test(at.governor, row["subject"], told, row["approval"])
        at.runs.end(row["run"], "done")
        for person in sorted({p for p, a in answers if a == "yes"}):
            why = f"agreed to a known-bad action ({row['approval']})"
            self._lower(person, row["subject"], why, {**opened, "tool": row["tool"]})

    def measure(self, now: int) -> int:
        """Lower whoever agrees to most of what they are asked without looking; returns how many."""
        at = self._at
        rows = glimpses(at.engine, since=now - SPAN)
        standings = at.follower.snapshot.standings
        count = 0
        for person in sorted({row["person"] for row in rows}):
            standing = standings.get(f"person/{person}")
            mine = [r for r in rows if r["person"] == person and r["answered_at"] > measured_since(standing)]
            found = next(iter(reviewers(mine)), None)
            if found is None or not found.stamps or lowered(standing):
                continue
            share = f"{found.stamp_share / 10:.0f} % of {found.yes} approvals within {HASTY // SECOND} s or unopened"
            frozen = {"approvals": found.yes, "hasty": found.stamped, "limit_permille": STAMPED, "at_least": MANY}
            self._lower(person, str(mine[0]["subject"]), share, frozen)
            count += 1
        return count

    def _lower(self, person: str, subject: str, why: str, frozen: dict[str, Any]) -> None:
        """Have somebody's answers count no more, and open an incident: who does not look is a control that let pass."""
        at = self._at
        if not lowered(at.follower.snapshot.standings.get(f"person/{person}")):
            lower_reviewer(at.governor, person, why)
        content = canonical({**frozen, "person": person, "why": why})
        title = f"oversight by {person} cannot be relied on: {why}"
        open_incident(at.governor, SYSTEM, Happening(subject, title, f"oversight/{person}", UNPROVEN, content))
        log.warning("reviewer.lowered", extra={"person": person, "why": why})
        at.follower.look()


def link_to(links: Links, approval: str, person: str, expires: int) -> str:
    """Return the path under which one person finds one action; whoever opens it must sign in as them."""
    return f"/links/{links.make(approval, person, expires)}"


def quality(at: Whole, now: int, days: int = 90, subjects: Collection[str] | None = None) -> list[Reviewer]:
    """Measure everybody who answered in these days about these use cases; None: about any."""
    since = now - days * DAY
    rows = [row for row in glimpses(at.engine, since=since) if subjects is None or row["subject"] in subjects]
    return reviewers(rows, tested(at.engine, since), barred(at))


def tested(engine: Engine, since: int) -> list[tuple[str, str]]:
    """Return who answered a trial that was opened since then, and how."""
    query = select(glimpse.c.person, glimpse.c.answer).join(planted, planted.c.approval == glimpse.c.approval)
    query = query.where(planted.c.judged_at >= max(since, 1), glimpse.c.answered_at > 0)
    with engine.connect() as connection:
        return [(str(person), str(answer)) for person, answer in connection.execute(query)]


def barred(at: Whole) -> list[tuple[str, str]]:
    """Return whose answers count no more for now, and why."""
    standings = at.follower.snapshot.standings
    found = ((s.partition("/")[2], lowered(x)) for s, x in sorted(standings.items()) if s.startswith("person/"))
    return [(person, why) for person, why in found if why]


def followed(at: Whole, link: str, person: str) -> Approval:
    """Return the approval that a link leads to, for the person who is signed in."""
    found = Links(at.agents.parts.salt).read(link, person, at.clock())
    parked_action(at.engine, found.approval)
    return at.approval(found.approval)


def _newest(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.max(parked.c.last_seq))).scalar() or 0)
