"""Reminders: who is told of an action that waits, and when: those asked, again, the next persons, the body above.

Telling never widens who may decide. How far an action was told of is on record, so that a restart, another process or a
clock that jumped tells nobody twice and leaves nobody out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sqlalchemy import and_, or_, select

from bedplate.kernel.approval import Body, Stage
from bedplate.kernel.authority import Ballot, ballot
from bedplate.kernel.clock import SECOND

from .notice import ABOVE, AGAIN, ASKED, NEXT, Reminder
from .reviewer import lowered
from .tables import notice, parked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from bedplate.kernel.approval import Approval
    from bedplate.kernel.model import OperatingModel, TierPlan
    from bedplate.kernel.standing import Standing

BODIES: tuple[Body, ...] = ("domain", "coe", "board")  # each above the one before it
MINUTE = 60 * SECOND
AT_ONCE = 500


class Teller(Protocol):
    """Where people are told beside their inbox: mail, chat, a webhook. What it raises is logged, no more."""

    def told(self, person: str, text: str, link: str) -> None:
        """Tell one person; `link` opens the action for them once they are signed in."""


class Inbox:
    """Tells nobody elsewhere: that somebody was told is on record, and shown to them where they sign in."""

    def told(self, person: str, text: str, link: str) -> None:
        """Do nothing more."""


def times(plan: TierPlan, asked_at: int, expires: int) -> tuple[int, int, int, int]:
    """Return when each step is due: at once, at half of the tier's time, at its time, half way to the end."""
    whole = expires - asked_at
    after = plan.act_escalate_minutes * MINUTE if plan.act_escalate_minutes else whole // 2
    after = min(after, whole)
    return asked_at, asked_at + after // 2, asked_at + after, asked_at + after + (whole - after) // 2


def step_due(plan: TierPlan, asked_at: int, expires: int, now: int) -> int:
    """Return how far it must have been taken by now; 0 before it was asked, by a clock that was put back."""
    return sum(now >= at for at in times(plan, asked_at, expires))


def waiting(engine: Engine, model: OperatingModel, now: int, most: int = AT_ONCE) -> list[Mapping[str, object]]:
    """List actions of which somebody is to be told now, those that expire first first."""
    late = [parked.c.told < ASKED]
    for number, plan in model.tiers.items():
        # Where the plan says when, the database sorts out what is not due; the rest is looked at below.
        half = plan.act_escalate_minutes * MINUTE // 2
        late.append(and_(parked.c.tier == number, parked.c.told < ABOVE, parked.c.asked_at <= now - half))
    query = select(parked).where(parked.c.state == "asked", parked.c.expires > now, or_(*late))
    found: list[Mapping[str, object]] = []
    with engine.connect() as connection:
        for row in connection.execute(query.order_by(parked.c.expires, parked.c.approval)).mappings():
            plan_of = model.plan(row["tier"])
            if plan_of is not None and step_due(plan_of, row["asked_at"], row["expires"], now) > row["told"]:
                found.append(dict(row))
                if len(found) == most:
                    break
    return found


def reminder(
    approval: Approval, model: OperatingModel, standings: Mapping[str, Standing], told: int, now: int
) -> Reminder | None:
    """Say who is told of an action now; None if no step is due.

    Steps that were missed are made up for together: whom any of them would have told is told once.
    """
    standing = standings.get(approval.subject)
    tier = int(str(approval.facts.get("tier", 0)))
    plan = model.plan(tier)
    step = step_due(plan, approval.asked_at, approval.expires, now) if plan is not None else 0
    if step <= told:
        return None
    owner = standing.owner if standing is not None else approval.owner
    could = _could(approval, model, standings, owner, now)
    people: list[str] = []
    stages = [stage for _, stage, _ in approval.missing()]
    body: str = stages[0].body if stages else ""
    if told < AGAIN:
        people += _first(approval, could)
    if step >= NEXT:
        people += [person for by_stage in could.values() for person in by_stage]
    if step >= ABOVE:
        higher, above = _above(approval, model, stages)
        people += [*above, owner]
        body = higher or body
    return Reminder(
        approval.id,
        approval.subject,
        step,
        body,
        tuple(dict.fromkeys(p for p in people if p)),
        approval.expires,
        approval.summary,
    )


def _could(
    approval: Approval, model: OperatingModel, standings: Mapping[str, Standing], owner: str, now: int
) -> dict[int, list[str]]:
    """Return by missing stage who may answer now, whose turn it is first: work goes round."""
    found: dict[int, list[str]] = {index: [] for index, _, _ in approval.missing()}
    for person in sorted(model.authority.people):
        cast = ballot(model.authority, approval, person, owner=owner, now=now)
        if isinstance(cast, Ballot) and not lowered(standings.get(f"person/{person}")):
            found[cast.stage].append(person)
    turn = int(approval.digest[:8], 16)
    return {index: _turned(people, turn) for index, people in found.items()}


def _turned(people: list[str], turn: int) -> list[str]:
    start = turn % len(people) if people else 0
    return [*people[start:], *people[:start]]


def _first(approval: Approval, could: Mapping[int, list[str]]) -> list[str]:
    """Return as many of each stage as are missing."""
    return [person for index, _, lacking in approval.missing() for person in could[index][:lacking]]


def _above(approval: Approval, model: OperatingModel, stages: list[Stage]) -> tuple[str, list[str]]:
    """Return the body above those asked, with its people; of the highest, whoever chairs it."""
    highest = max((BODIES.index(stage.body) for stage in stages), default=0)
    for body in BODIES[highest + 1 :]:
        if people := model.authority.voters(Stage(body, "policy"), approval.domain):
            return body, list(people)
    known = model.authority.people.values()
    return "board", sorted(p.id for p in known if any((s.body, s.role) == ("board", "chair") for s in p.seats))


def inbox(engine: Engine, person: str, now: int, limit: int = 100) -> list[dict[str, object]]:
    """List what somebody was told of that still waits, what expires first first."""
    query = select(parked, notice.c.step.label("step"), notice.c.at.label("told_at"))
    query = query.join(notice, notice.c.approval == parked.c.approval).where(notice.c.person == person)
    query = query.where(parked.c.state == "asked", parked.c.expires > now).order_by(parked.c.expires).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
