"""Runs of agents: the list, one as a timeline that goes on while it runs, and each step with what was known then."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from zlib import crc32

from starlette.responses import Response

from bedplate.agents import views
from bedplate.agents.governance import CONCLUDE
from bedplate.agents.toolcall import READ
from bedplate.errors import InvalidInput, NotFound
from bedplate.paths import agents as paths

from .filters import sees_cost
from .visit import Page, Visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.agents.effect import Effect
    from bedplate.agents.run import Run, Step

STATES = ("running", "done", "failed", "stopped")
MOST = 50  # runs on a page
MOST_STEPS = 1_000


@dataclass(frozen=True, slots=True)
class Line:
    """A step as a row: with the question that people were asked about it, and the effect it had."""

    step: Step
    parked: dict[str, Any] | None
    effect: Effect | None
    after_us: int  # since the run began

    @property
    def state(self) -> str:
        """What became of it, and what people said where they were asked."""
        if self.parked is not None and self.step.state == "parked":
            return str(self.parked["state"])
        return self.step.state


@dataclass(frozen=True, slots=True)
class Counted:
    """What a run had done by a step, that step included."""

    steps: int
    actions: int
    denied: int
    asked: int
    amount: int
    cost_nano: int


def runs(visit: Visit) -> Response:
    """List runs, those begun last first."""
    at = visit.at
    given = {name: visit.query(name) for name in ("use_case", "agent", "state")}
    state = given["state"] if given["state"] in STATES else ""
    subject = f"usecase/{given['use_case']}" if given["use_case"] else ""
    seen = paths.readable(at.agents, visit.by)
    before = _before(visit.query("before"))
    found: list[Run] = []
    while len(found) <= MOST:  # runs that somebody may not read leave no holes in a page
        more = at.runs.runs(subject=subject, agent=given["agent"], state=state, before=before, limit=MOST + 1)
        found += [run for run in more if seen is None or run.subject in seen]
        if len(more) <= MOST:
            break
        before = (more[-1].started, more[-1].id)
    shown = found[:MOST]
    older = f"{shown[-1].started}.{shown[-1].id}" if len(found) > MOST else ""
    return visit.show(
        "runs.html",
        found=shown,
        older=older,
        newest=bool(visit.query("before")),
        given=given,
        query=urlencode({n: v for n, v in given.items() if v}),
        states=STATES,
        agents=sorted({name for charter in at.follower.snapshot.charters.values() for name in charter.agents}),
        cases=sorted(s.partition("/")[2] for s in at.follower.snapshot.charters),
        sees={s: sees_cost(visit, s) for s in {run.subject for run in shown}},
    )


def run(visit: Visit) -> Response:
    """Show one run; with `step` that step, and what was known then; `live` returns the timeline if it moved."""
    at, found = visit.at, _readable(visit)
    steps = at.runs.steps(found.id, limit=MOST_STEPS)
    mark = _mark(found, steps)
    if visit.fragment and visit.query("live"):
        if visit.query("live") == mark:
            return Response(status_code=204)
        return visit.show("_timeline.html", **_told(visit, found, steps, mark))
    number = visit.number("step")
    step = next((s for s in steps if s.number == number), None)
    if number and step is None:
        raise NotFound(f"the run has no step {number}", hint=f"it has {found.steps}")
    told = _told(visit, found, steps, mark)
    replayed = _replayed(visit, found, steps, step) if step is not None else None
    return visit.show("run.html", **told, replayed=replayed)


def conclude(visit: Visit) -> Response:
    """Say what became of an action of which nobody knows it."""
    from bedplate.agents import actions  # noqa: PLC0415  its name is a page's here

    at, action = visit.at, visit.part("action")
    found = at.runs.step_of(action)
    known = at.runs.run(found[0]) if found is not None else None
    if known is None:
        raise NotFound(f"there is no action {action}", hint="open the run, and conclude it there")
    state, reason = visit.said("state"), visit.said("reason")
    if not reason:
        raise InvalidInput("Say how you know what became of it.", hint="Where you looked, and what you saw.")
    actions.conclude(at.governor, visit.by, known.subject, action, state=state, reason=reason)
    at.agents.concluded(action, state)
    return visit.go(address(known.id))


def address(run: str) -> str:
    """Return a run's page; its name is its runner's, whatever it holds."""
    return f"/runs/{quote(run, safe='')}"


def _readable(visit: Visit) -> Run:
    found = visit.at.runs.run(visit.part("id"))
    if found is None:
        raise NotFound(f"there is no run {visit.part('id')}", hint="it may be older than runs are kept; see the calls")
    paths.must_read(visit.at.agents, visit.by, found.subject)
    return found


def _told(visit: Visit, found: Run, steps: Sequence[Step], mark: str) -> dict[str, Any]:
    at, model = visit.at, visit.at.model()
    standing = at.follower.snapshot.standings.get(found.subject)
    charter = at.follower.snapshot.charters.get(found.subject)
    agent = charter.agents.get(found.agent) if charter is not None else None
    asked = {r["action"]: r for r in _parked(visit, found.id)}
    effects = {e.action: e for e in at.runs.effects(found.id)}
    lines = [
        Line(s, asked.get(s.action) if s.action else None, effects.get(s.action), s.at - found.started) for s in steps
    ]
    domain = standing.domain if standing is not None else ""
    return {
        "run": found,
        "lines": lines,
        "mark": mark,
        "agent": agent,
        "address": address(found.id),
        "unit": agent.unit if agent is not None else "",
        "unknown": [e for e in effects.values() if e.state == "unknown"],
        "may_conclude": model is not None and model.authority.allowed(visit.by, CONCLUDE.needs, domain),
        "sees": sees_cost(visit, found.subject),
        "children": [r for r in at.runs.runs(subject=found.subject, limit=200) if r.parent == found.id],
        "cut": len(steps) == MOST_STEPS,
    }


def _parked(visit: Visit, run: str) -> list[dict[str, Any]]:
    sought = paths.Sought(state="any", run=run)
    rows = paths.queue(visit.at.engine, sought, visit.at.clock(), size=MOST_STEPS)
    return list(reversed(rows))  # of two questions about one action the newest holds


def _replayed(visit: Visit, found: Run, steps: Sequence[Step], step: Step) -> dict[str, Any]:
    """Return a step with what was known when it was asked for."""
    door = visit.at.agents
    arguments = paths.arguments_at(door, step)
    until = [s for s in steps if s.number <= step.number]
    rows, _ = visit.at.runs.provenance(found.id)
    read: dict[tuple[int, str, bool], int] = {}
    for row in rows:
        if row.step < step.number:
            key = (row.step, row.source, row.trusted)
            read[key] = read.get(key, 0) + len(row.atoms)
    parked = views.parked_of(visit.at.engine, step.action) if step.action else None
    numbers = [s.number for s in steps]
    place = numbers.index(step.number)
    return {
        "step": step,
        "arguments": arguments,
        "values": paths.values(door, found.id, arguments, []) if arguments is not None else [],
        "outcome": paths.outcome_at(door, step),
        "effect": visit.at.runs.effect(step.action) if step.action else None,
        "parked": parked,
        "read": [(at, source, trusted) for at, source, trusted in sorted(read)],
        "counted": counted(until),
        "before": numbers[place - 1] if place else 0,
        "after": numbers[place + 1] if place + 1 < len(numbers) else 0,
        "place": place + 1,
        "of": len(numbers),
        "fork": json.dumps({"run": f"{found.id}-from-{step.number}"[:200], "parent": found.id}),
        "server": str(visit.request.base_url).rstrip("/"),
    }


def counted(steps: Sequence[Step]) -> Counted:
    """Add up steps as the limits do."""
    tools = [s for s in steps if s.kind == "tool"]
    carried = [s for s in tools if s.class_ != READ and s.state in {"intended", "ok", "error", "unknown"}]
    return Counted(
        steps=len(steps),
        actions=len(carried),
        denied=sum(s.times for s in tools if s.verdict == "deny"),
        asked=sum(s.verdict == "ask" for s in tools),
        amount=sum(s.amount for s in carried),
        cost_nano=sum(s.cost_nano for s in steps),
    )


def _mark(found: Run, steps: Sequence[Step]) -> str:
    """Return what changes whenever the timeline does."""
    told = repr([(s.state, s.times, s.verdict) for s in steps])
    return f"{found.state}-{len(steps)}-{crc32(told.encode()):x}"


def _before(text: str) -> tuple[int, str] | None:
    started, _, name = text.partition(".")
    return (int(started), name) if started.isascii() and started.isdigit() and len(started) < 17 else None  # noqa: PLR2004  a moment


PAGES = (
    Page("/runs", runs),
    Page("/runs/{id:path}", run),
    Page("/acts/{action}/conclude", conclude, "POST"),
)
