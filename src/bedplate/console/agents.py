"""Agents of live releases: who answers for them, what stops them, what they did today, what was agreed beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.agents import actions, views
from bedplate.agents.governance import CLOSE, SETTLE
from bedplate.agents.run import day_of
from bedplate.agents.stop import ALL, stopped
from bedplate.errors import InvalidInput
from bedplate.paths import agents as paths
from bedplate.portfolio import views as portfolio

from .filters import sees_cost
from .visit import Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

    from bedplate.agents.effect import Effect
    from bedplate.agents.run import Day

RUNNING = 100  # runs in progress are counted up to here


@dataclass(frozen=True, slots=True)
class Shown:
    """An agent as it is shown. `cost` is whether the person may see what it cost."""

    told: dict[str, Any]
    today: Day
    running: int
    waits: int
    cost: bool
    unit: str


@dataclass(frozen=True, slots=True)
class Case:
    """A use case with its agents, and what the person may do about them."""

    id: str
    title: str
    tier: int
    rung: str
    release: str
    stopped: str
    agents: tuple[Shown, ...]
    breakers: tuple[dict[str, Any], ...]
    may_close: bool
    may_settle: bool


def agents(visit: Visit) -> Response:
    """List the agents of every live release."""
    at, now = visit.at, visit.at.clock()
    snapshot, model = at.follower.snapshot, visit.at.model()
    titles = {c.subject: c.title for c in portfolio.use_cases(at.engine)}
    found = []
    for subject, charter in sorted(snapshot.charters.items()):
        standing, opened = snapshot.standings[subject], breakers(visit, subject)
        shown = []
        for name, agent in sorted(charter.agents.items()):
            waiting = paths.counts(at.engine, paths.Sought(subject=subject, agent=name), now)
            running = len(at.runs.runs(subject=subject, agent=name, state="running", limit=RUNNING))
            told, today = paths.plain_agent(at.agents, standing, agent), at.runs.day(subject, name, day_of(now))
            told["breakers"] = [b for b in opened if _holds(b["scope"], name, agent.tools)]
            cost = sees_cost(visit, subject)
            shown.append(Shown(told, today, running, waiting.get("asked", 0), cost, agent.unit))
        may = {
            action.name: model is not None and model.authority.allowed(visit.by, action.needs, standing.domain)
            for action in (CLOSE, SETTLE)
        }
        found.append(
            Case(
                subject.partition("/")[2],
                titles.get(subject, subject),
                standing.tier,
                standing.rung.name.lower(),
                standing.release,
                stopped(standing),
                tuple(shown),
                opened,
                may[CLOSE.name],
                may[SETTLE.name],
            )
        )
    return visit.show(
        "agents.html",
        cases=found,
        stopped=stopped(snapshot.standings.get(ALL)),
        unknown=_unknown(visit),
        halted=sum(bool(_halts(one)) for case in found for one in case.agents),
        total=sum(len(case.agents) for case in found),
        most=RUNNING,
    )


def close(visit: Visit) -> Response:
    """Close a breaker that a person closes."""
    at, subject, scope = visit.at, f"usecase/{visit.part('name')}", visit.said("scope")
    reason = visit.said("reason")
    if not reason:
        raise InvalidInput("Closing a breaker needs a reason.", hint="Say what was wrong and why it is right now.")
    actions.close_breaker(at.governor, visit.by, subject, scope, reason)
    at.agents.parts.watch.close(subject, scope, visit.by, reason)
    at.follower.look()
    return visit.go("/agents")


def shut(visit: Visit) -> Response:
    """End what was agreed beforehand."""
    at, reason = visit.at, visit.said("reason")
    if not reason:
        raise InvalidInput("Ending a window needs a reason.", hint="Say why it is asked each time again.")
    actions.shut_window(at.governor, visit.by, f"usecase/{visit.part('name')}", visit.part("window"), reason)
    at.follower.look()
    return visit.go("/agents")


def breakers(visit: Visit, subject: str) -> tuple[dict[str, Any], ...]:
    """List the breakers of a use case that are not closed: those of this host, and those the ledger tells of."""
    here = visit.at.agents.parts.watch.open_of(subject)
    known = {b["scope"] for b in here}
    told = [t for t in views.trips(visit.at.engine, subject=subject, is_open=True) if t["scope"] not in known]
    fix = "a named person closes it"
    return (*here, *({**t, "state": "open", "fix": fix} for t in told))


def _holds(scope: str, agent: str, tools: frozenset[str]) -> bool:
    """Tell whether a breaker holds an agent up: its own, its use case's, or that of a tool it may use."""
    parts = [part.partition("/") for part in scope.split("|")]
    return all(
        kind == "usecase" or (kind == "agent" and name == agent) or (kind == "tool" and name in tools)
        for kind, _, name in parts
    )


def _halts(one: Shown) -> str:
    told = one.told
    return told["stopped"] or told["suspended"] or "; ".join(b["why"] for b in told["breakers"] if b["state"] == "open")


def _unknown(visit: Visit) -> list[tuple[Effect, str, str]]:
    """List what nobody knows the outcome of, with its use case and agent, as far as the person may read it."""
    at = visit.at
    found = []
    for effect in at.runs.unknown():
        run = at.runs.run(effect.run)
        if run is not None and paths.may_read(at.agents, visit.by, run.subject):
            found.append((effect, run.subject, run.agent))
    return found


PAGES = (
    Page("/agents", agents),
    Page("/agents/{name}/breakers/close", close, "POST"),
    Page("/agents/{name}/windows/{window}/shut", shut, "POST"),
)
