"""Agents as people see them: who they are, their runs, actions that wait, stops, breakers, windows."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query

from bedplate.agents import actions, views
from bedplate.agents.drill import WITHIN_MS
from bedplate.agents.stop import ALL, epoch, epoch_of, stopped
from bedplate.errors import InvalidInput, NotFound
from bedplate.kernel.clock import day_of
from bedplate.paths.agents import arguments_of, looked, may_read, must_read, plain_agent
from bedplate.paths.drill import drill
from bedplate.wire import Answered, Because, BreakerClosed, Concluded, Drill, Edited, Stopped, Window

from .agents import plain_run, plain_step
from .portfolio import Id
from .session import At, Me

if TYPE_CHECKING:
    from bedplate.installation import Installation

router = APIRouter(tags=["agents"])
ASKED: dict[int | str, dict[str, Any]] = {202: {"description": "people are asked; the error names the approval"}}
ApprovalId = Annotated[str, Path(min_length=36, max_length=60)]
RunId = Annotated[str, Path(min_length=1, max_length=200)]
ActionId = Annotated[str, Path(min_length=36, max_length=60)]
MOST = 100


@router.get("/agents")
def agents(at: At, me: Me, use_case: str = "") -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """List the agents of live releases: what they may do, and what stops them now."""
    snapshot = at.follower.snapshot
    found = []
    for subject, charter in sorted(snapshot.charters.items()):
        if use_case in {"", subject.partition("/")[2]}:
            standing = snapshot.standings[subject]
            found += [plain_agent(at.agents, standing, agent) for _, agent in sorted(charter.agents.items())]
    return {"agents": found, "stopped": stopped(snapshot.standings.get(ALL))}


@router.get("/runs")
def runs(
    at: At,
    me: Me,
    use_case: str = "",
    agent: str = "",
    state: str = "",
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> dict[str, Any]:
    """List runs, those begun last first; those of use cases whose actions you may read."""
    subject = f"usecase/{use_case}" if use_case else ""
    found = at.runs.runs(subject=subject, agent=agent, state=state, limit=limit)
    return {"runs": [plain_run(run) for run in found if may_read(at.agents, me.person, run.subject)]}


@router.get("/runs/{run}")
def run(at: At, me: Me, run: RunId) -> dict[str, Any]:
    """Return a run with its timeline."""
    found = at.runs.run(run)
    if found is None:
        raise NotFound(f"there is no run {run}", hint="list them: bedplate runs")
    must_read(at.agents, me.person, found.subject)
    return {**plain_run(found), "steps": [plain_step(step) for step in at.runs.steps(run)]}


@router.get("/actions")
def queue(
    at: At,
    me: Me,
    use_case: str = "",
    agent: str = "",
    state: str = "asked",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> dict[str, Any]:
    """List actions that wait for people, those that came first first; or with `state`, those that waited."""
    subject = f"usecase/{use_case}" if use_case else ""
    rows, total = views.queue(at.engine, subject=subject, agent=agent, state=state, page=page)
    return {"actions": [row for row in rows if may_read(at.agents, me.person, row["subject"])], "total": total}


@router.get("/actions/{approval:path}")
def action(at: At, me: Me, approval: ApprovalId) -> dict[str, Any]:
    """Return one action that waits or waited, with its arguments; that you looked is on record."""
    row = views.parked_action(at.engine, approval)
    must_read(at.agents, me.person, row["subject"])
    if row["state"] in views.OPEN:
        looked(at.governor, me.person, at.approval(approval))
    return {**row, "arguments": arguments_of(at.agents, row), "facts": dict(at.approval(approval).facts)}


@router.post("/actions/{approval:path}/edit")
def edit(at: At, me: Me, approval: ApprovalId, body: Edited) -> dict[str, str]:
    """Change the arguments of an action that waits; it is judged and asked anew, and you cannot agree to it."""
    people, door = at.agents.parts.people, at.agents
    new = people.edit(me.person, approval, body.arguments, body.reason, door.reweighed)
    at.follower.look()
    return {"approval": new}


@router.post("/actions/{approval:path}/answer")
def answer(at: At, me: Me, approval: ApprovalId, body: Answered) -> dict[str, str]:
    """Answer the agent in the tool's place."""
    at.agents.parts.people.answer(me.person, approval, body.answer, body.reason)
    return {"approval": approval}


@router.post("/actions/{approval:path}/take-over")
def take_over(at: At, me: Me, approval: ApprovalId, body: Because) -> dict[str, str]:
    """Do it yourself: the agent is told so."""
    at.agents.parts.people.take_over(me.person, approval, body.reason)
    return {"approval": approval}


@router.post("/acts/{action}/conclude")
def conclude(at: At, me: Me, action: ActionId, body: Concluded) -> dict[str, str]:
    """Say what became of an action of which nobody knows it."""
    found = at.runs.step_of(action)
    run = at.runs.run(found[0]) if found is not None else None
    if run is None:
        raise NotFound(f"there is no action {action}", hint="list runs: bedplate runs")
    actions.conclude(at.governor, me.person, run.subject, action, state=body.state, reason=body.reason)
    at.agents.concluded(action, body.state)
    return {"action": action, "state": body.state}


@router.post("/use-cases/{name}/stop")
def stop(at: At, me: Me, name: Id, body: Stopped) -> dict[str, Any]:
    """Stop an agent, or all agents and calls of a use case; in force everywhere within a second."""
    return stop_now(at, me.person, f"usecase/{name}", body)


@router.post("/stop")
def stop_all(at: At, me: Me, body: Because) -> dict[str, Any]:
    """Stop every agent and every call."""
    return stop_now(at, me.person, ALL, Stopped(reason=body.reason))


@router.post("/use-cases/{name}/lift", responses=ASKED)
def lift(at: At, me: Me, name: Id, body: Stopped) -> dict[str, Any]:
    """Let what was stopped go on; asks the bodies that resume the use case."""
    actions.lift(at.governor, me.person, f"usecase/{name}", agent=body.agent, reason=body.reason)
    at.follower.look()
    return {"subject": f"usecase/{name}"}


@router.post("/lift", responses=ASKED)
def lift_all(at: At, me: Me, body: Because) -> dict[str, Any]:
    """Let all agents go on; asks the board."""
    actions.lift(at.governor, me.person, ALL, reason=body.reason)
    at.follower.look()
    return {"subject": ALL}


@router.post("/use-cases/{name}/drill")
def drill_now(at: At, me: Me, name: Id, body: Drill) -> dict[str, Any]:
    """Try a stop, of nobody or of an agent that stays stopped; says how soon each serving process refused."""
    made = drill(at, me.person, f"usecase/{name}", body.agent, body.reason)
    told = {"scope": made.scope, "outcome": made.result.outcome, "ms": made.result.ms, "within_ms": WITHIN_MS}
    told |= {"summary": made.result.summary, "answers": [asdict(a) for a in made.result.answers]}
    return {**told, "silent": made.result.silent, "releases": made.releases, "unattached": made.unattached}


@router.get("/stops")
def stops(at: At, me: Me, use_case: str = "") -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """List stops, drills and breakers that opened, newest first."""
    subject = f"usecase/{use_case}" if use_case else ""
    told = {"stops": views.stops(at.engine, subject=subject), "drills": views.drills(at.engine, subject=subject)}
    return {**told, "breakers": views.trips(at.engine, subject=subject)}


@router.post("/use-cases/{name}/breakers/close")
def close(at: At, me: Me, name: Id, body: BreakerClosed) -> dict[str, str]:
    """Close a breaker that only a person may close."""
    actions.close_breaker(at.governor, me.person, f"usecase/{name}", body.scope, body.reason)
    at.agents.parts.watch.close(f"usecase/{name}", body.scope, me.person, body.reason)
    at.follower.look()
    return {"scope": body.scope}


@router.post("/use-cases/{name}/windows", responses=ASKED)
def open_window(at: At, me: Me, name: Id, body: Window) -> dict[str, str]:
    """Ask that an agent may do some things without asking each time, within bounds and until a day."""
    window = secrets.token_hex(6)
    snapshot, subject = at.follower.snapshot, f"usecase/{name}"
    standing = snapshot.standings.get(subject)
    bound = {
        "epoch": epoch(snapshot.standings.get(ALL), standing, body.agent),
        "release": standing.release if standing is not None else "",
    }
    try:
        until = day_of(body.until, after=1)
    except ValueError:
        raise InvalidInput(f"until {body.until!r} is no day", hint="write it as 2026-12-31") from None
    facts = {**body.model_dump(exclude={"until"}), "window": window, "until": until, **bound}
    most = f"{body.amount_micro / 1_000_000:.2f} {body.unit} each" if body.amount_micro else "any amount"
    summary = f"{body.agent} may use {body.tool} ({most}) without asking until {body.until}"
    actions.open_window(at.governor, me.person, f"usecase/{name}", facts, summary)
    at.follower.look()
    return {"window": window}


@router.post("/use-cases/{name}/windows/{window}/shut")
def shut_window(at: At, me: Me, name: Id, window: str, body: Because) -> dict[str, str]:
    """End what was agreed beforehand."""
    actions.shut_window(at.governor, me.person, f"usecase/{name}", window, body.reason)
    at.follower.look()
    return {"window": window}


def stop_now(at: Installation, person: str, subject: str, body: Stopped) -> dict[str, Any]:
    """Stop, and see to it that this process knows at once."""
    actions.stop(at.governor, person, subject, agent=body.agent, reason=body.reason)
    at.follower.look()
    standing = at.follower.snapshot.standings.get(subject)
    return {"subject": subject, "agent": body.agent, "epoch": epoch_of(standing, body.agent)}
