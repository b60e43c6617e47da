"""Stops: what one would reach, raising it in two steps, letting what was stopped go on, and the drills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.agents import actions, views
from bedplate.agents.governance import LIFT, STOP
from bedplate.agents.stop import ALL, DRILL_SCOPE, DRILLED, WHOLE
from bedplate.errors import InvalidInput
from bedplate.gateway.search import Wanted
from bedplate.kernel.clock import DAY, SECOND
from bedplate.paths import agents as paths

from .visit import Page, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

HOUR = 3_600 * SECOND
MOST_CALLS = 1_000  # of the last hour, that are counted
OLD = 90 * DAY  # a drill that is older proves little: tier 4 owes a newer one
EVERYTHING = "ALL"


@dataclass(frozen=True, slots=True)
class Target:
    """What a stop is about: everything, a use case, or one agent of it."""

    text: str  # "ALL", "use-case" or "use-case/agent"
    subject: str
    agent: str

    @property
    def name(self) -> str:
        """Name it for people."""
        if self.subject == ALL:
            return "everything"
        case = self.subject.partition("/")[2]
        return f"{self.agent} of {case}" if self.agent else case


@dataclass(frozen=True, slots=True)
class Blast:
    """What a stop would hold up now."""

    reach: paths.Reach
    calls: int  # of the last hour
    more: bool  # there were more than that
    drilled: int  # when it was last tried; 0: never


def stops(visit: Visit) -> Response:
    """Show what is stopped, what was, the drills; with a target, what its stop would reach."""
    at, now = visit.at, visit.at.clock()
    snapshot = at.follower.snapshot
    text = visit.query("target")
    target = _target(visit, text) if text else None
    return visit.show(
        "stops.html",
        targets=_targets(visit),
        target=target,
        blast=_blast(visit, target) if target is not None else None,
        may_stop=target is not None and _may(visit, target.subject, STOP.needs),
        held=[
            (s, _may(visit, s["subject"], LIFT.needs))
            for s in views.stops(at.engine, in_force=True)
            if not s["scope"].startswith(DRILL_SCOPE)
        ],
        past=[s for s in views.stops(at.engine) if s["lifted_at"] and not s["scope"].startswith(DRILL_SCOPE)],
        drills=[(d, now - d["at"] > OLD) for d in views.drills(at.engine)],
        trips=views.trips(at.engine),
        undrilled=[
            (subject.partition("/")[2], snapshot.standings[subject].tier)
            for subject in sorted(snapshot.charters)
            if not _drilled(snapshot.standings[subject], now)
        ],
        who=_names(visit, target),
        whole=WHOLE,
        everything=ALL,
    )


def raise_(visit: Visit) -> Response:
    """Stop: only with a reason, and once somebody said that they saw what it reaches."""
    target, reason = _target(visit, visit.said("target")), visit.said("reason")
    if not reason:
        raise InvalidInput("A stop needs a reason.", hint="Say what is wrong: everybody who is stopped is told.")
    if visit.said("seen") != "yes":
        raise InvalidInput("Nothing was stopped yet: it was not confirmed.", hint="Tick that you saw what it reaches.")
    actions.stop(visit.at.governor, visit.by, target.subject, agent=target.agent, reason=reason)
    visit.at.follower.look()
    return visit.go("/stops")


def lift(visit: Visit) -> Response:
    """Ask that what was stopped goes on."""
    target, reason = _target(visit, visit.said("target")), visit.said("reason")
    if not reason:
        raise InvalidInput("Letting it go on needs a reason.", hint="Say what was mended.")
    actions.lift(visit.at.governor, visit.by, target.subject, agent=target.agent, reason=reason)
    visit.at.follower.look()
    return visit.go("/stops")


def _target(visit: Visit, text: str) -> Target:
    if text == EVERYTHING:
        return Target(text, ALL, "")
    name, _, agent = text.partition("/")
    charter = visit.at.follower.snapshot.charters.get(f"usecase/{name}")
    held = {(s["subject"], s["scope"]) for s in views.stops(visit.at.engine, in_force=True)}
    known = f"usecase/{name}" in visit.at.follower.snapshot.standings
    if not known or (
        agent and (charter is None or agent not in charter.agents) and (f"usecase/{name}", agent) not in held
    ):
        raise InvalidInput(f"There is no {text[:100]!r} to stop.", hint="Choose one from the list.")
    return Target(text, f"usecase/{name}", agent)


def _targets(visit: Visit) -> list[tuple[str, str]]:
    found = [(EVERYTHING, "Everything: every agent and every call")]
    snapshot = visit.at.follower.snapshot
    for subject, standing in sorted(snapshot.standings.items()):
        name = subject.partition("/")[2]
        if subject.startswith("usecase/") and standing.stage == "live":
            charter = snapshot.charters.get(subject)
            found.append((name, f"{name}: its agents and calls" if charter is not None else f"{name}: its calls"))
            found += [
                (f"{name}/{agent}", f"{name}: only {agent}") for agent in sorted(charter.agents if charter else ())
            ]
    return found


def _may(visit: Visit, subject: str, needs: str) -> bool:
    model, standing = visit.at.model(), visit.at.follower.snapshot.standings.get(subject)
    domain = standing.domain if standing is not None else ""  # everything is no domain's
    return model is not None and model.authority.allowed(visit.by, needs, domain)


def _names(visit: Visit, target: Target | None) -> list[str]:
    """Name those who may stop it."""
    model = visit.at.model()
    standing = visit.at.follower.snapshot.standings.get(target.subject) if target is not None else None
    if model is None:
        return []
    found = model.authority.who(STOP.needs, standing.domain if standing is not None else "")
    return [model.authority.people[person].name for person in found]


def _blast(visit: Visit, target: Target) -> Blast:
    at, now = visit.at, visit.at.clock()
    wanted = Wanted(
        subject="" if target.subject == ALL else target.subject,
        route="live",
        since=now - HOUR,
        text=f'"agent":"{target.agent}"' if target.agent else "",
    )
    found = at.calls.page(wanted, limit=MOST_CALLS)
    standing = at.follower.snapshot.standings.get(target.subject)
    drilled: Any = standing.facts.get(DRILLED, {}) if standing is not None else {}  # by scope
    at_last = max((int(moment) for moment in drilled.values()), default=0)
    return Blast(
        paths.reach(at.agents, at.engine, target.subject, target.agent), len(found.calls), bool(found.older), at_last
    )


def _drilled(standing: Any, now: int) -> bool:  # noqa: ANN401  a standing
    tried: Mapping[str, Any] = standing.facts.get(DRILLED, {})
    return any(now - int(at) <= OLD for at in tried.values())


PAGES = (Page("/stops", stops), Page("/stops/raise", raise_, "POST"), Page("/stops/lift", lift, "POST"))
