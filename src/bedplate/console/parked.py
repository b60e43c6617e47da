"""Actions of agents that wait for people: the queue, and one with what it stands on; agreeing, editing, answering."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bedplate.agents import views
from bedplate.agents.governance import SETTLE
from bedplate.errors import BedplateError, InvalidInput, NotFound
from bedplate.paths import agents as paths
from bedplate.paths import oversight as links
from bedplate.paths.agents import STATES, Sought
from bedplate.store.reads import read_approvals

from .approvals import shown
from .problem import Problem, problem_of
from .visit import Page, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from bedplate.kernel.approval import Approval

    from .approvals import Asked

WAYS = ("edit", "answer", "take-over")
NEAR = 12  # steps of the run that are shown before it
TIERS = (1, 2, 3, 4)
BLIND = "Your seats do not let you read what agents did: that needs agents:action:read."


@dataclass(frozen=True, slots=True)
class Waiting:
    """An action as a row: `asked` is the question as the person who looks may answer it; None if it is gone."""

    row: Mapping[str, Any]
    asked: Asked | None

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the question binds."""
        return self.asked.approval.facts if self.asked is not None else {}

    @property
    def why(self) -> str:
        """Why people are asked."""
        return "; ".join(str(why) for _, why in self.facts.get("why", ()))

    @property
    def tainted(self) -> list[str]:
        """Name the arguments that an outsider may have chosen."""
        return [str(name) for name, step, _ in self.facts.get("tainted", ()) if step]


def queue(visit: Visit) -> Response:
    """List actions; those that wait come first that expire first."""
    at, now = visit.at, visit.at.clock()
    given = {name: visit.query(name) for name in ("use_case", "agent", "tool", "tier", "run")}
    state = visit.query("state") or "asked"
    tier = int(given["tier"]) if given["tier"] in {str(t) for t in TIERS} else 0
    every = Sought(subjects=paths.readable(at.agents, visit.by))
    sought = Sought(
        state if state in STATES else "any",
        f"usecase/{given['use_case']}" if given["use_case"] else "",
        given["agent"],
        given["tool"],
        tier,
        given["run"],
        every.subjects,
    )
    counts = paths.counts(at.engine, sought, now)
    total = counts.get(state, 0) if state in STATES else sum(counts.values())
    last = max(1, -(-total // views.PAGE))
    page = min(visit.number("page", 1), last)
    rows = paths.queue(at.engine, sought, now, page=page)
    return visit.show(
        "actions.html",
        found=_rows(visit, rows),
        state=sought.state,
        states=STATES,
        counts=counts,
        total=total,
        page=page,
        last=last,
        first=(page - 1) * views.PAGE + 1,
        given=given,
        query=urlencode({n: v for n, v in {**given, "state": sought.state}.items() if v}),
        filters=urlencode({n: v for n, v in given.items() if v}),
        choices=paths.named(at.engine, every),
        cases=sorted(
            {s.partition("/")[2] for s in at.follower.snapshot.charters if paths.may_read(at.agents, visit.by, s)}
        ),
        tiers=TIERS,
        wrong="" if every.subjects is None or every.subjects else BLIND,
    )


def one(visit: Visit) -> Response:
    """Show one action. That somebody looks at it is on record: how long people take to answer is measured from it."""
    return _one(visit, None)


def vote(visit: Visit) -> Response:
    """Agree to an action, or refuse it."""

    def answer(approval: Approval) -> str:
        decision = visit.said("decision")
        if decision not in {"approve", "reject"}:
            raise InvalidInput("the decision is neither approve nor reject", hint="use one of the two buttons")
        reason = visit.said("reason")
        if decision == "reject" and not reason:
            raise InvalidInput("A refusal needs a reason.", hint="Say why: the agent is told.")
        visit.at.vote(visit.by, approval.id, yes=decision == "approve", reason=reason)
        return approval.id

    return _done(visit, "vote", answer)


def edit(visit: Visit) -> Response:
    """Change the arguments: judged again and asked anew, and who changed them cannot agree to it."""

    def change(approval: Approval) -> str:
        people, door = visit.at.agents.parts.people, visit.at.agents
        arguments = _arguments(visit.form.get("arguments", ""))
        return people.edit(visit.by, approval.id, arguments, _reason(visit), door.reweighed)

    return _done(visit, "edit", change)


def answer(visit: Visit) -> Response:
    """Answer the agent in the tool's place."""

    def say(approval: Approval) -> str:
        visit.at.agents.parts.people.answer(visit.by, approval.id, visit.said("answer"), visit.said("reason"))
        return approval.id

    return _done(visit, "answer", say)


def take_over(visit: Visit) -> Response:
    """Do it oneself; the agent is told so."""

    def take(approval: Approval) -> str:
        visit.at.agents.parts.people.take_over(visit.by, approval.id, _reason(visit))
        return approval.id

    return _done(visit, "take-over", take)


def _done(visit: Visit, form: str, what: Any) -> Response:  # noqa: ANN401  one of those above
    approval = visit.at.approval(f"approval/{visit.part('id')}")
    paths.must_read(visit.at.agents, visit.by, approval.subject)
    try:
        now = what(approval)
    except NotFound:
        raise
    except BedplateError as error:
        if visit.fragment:
            return visit.wrong(problem_of(error))
        return _one(visit, problem_of(error), form)
    visit.at.follower.look()
    return visit.go(f"/actions/{str(now).removeprefix('approval/')}")


def _one(visit: Visit, problem: Problem | None, form: str = "") -> Response:
    at, door = visit.at, visit.at.agents
    row = views.parked_action(at.engine, f"approval/{visit.part('id')}")
    paths.must_read(door, visit.by, row["subject"])
    approval, model = at.approval(row["approval"]), at.model()
    asked = shown(visit, approval, model, {})
    noted = asked.state != "asked" or paths.looked(at.governor, visit.by, approval)
    arguments = paths.arguments_of(door, row)
    was = _was(visit, approval)
    done = paths.before(door, row["subject"], row["agent"], row["tool"], but=row["action"])
    run, effect = at.runs.run(row["run"]), at.runs.effect(row["action"])
    number = int(str(approval.facts.get("step", 0)))
    steps = at.runs.steps(row["run"], after=max(0, number - NEAR - 1), limit=NEAR + 1) if run is not None else []
    values = paths.values(door, row["run"], arguments, done, was) if arguments is not None else []
    standing = at.follower.snapshot.standings.get(row["subject"])
    domain = standing.domain if standing is not None else ""
    return visit.show(
        "action.html",
        problem.status if problem else 200,
        problem=problem,
        failed=form,
        form=visit.form,
        row=row,
        asked=asked,
        facts=approval.facts,
        arguments=arguments,
        text=json.dumps(arguments, indent=2, ensure_ascii=False) if arguments is not None else "",
        values=values,
        edited=was is not None,
        risky=[v for v in values if v.origin == "read"],
        done=done,
        run=run,
        step=number,
        steps=[s for s in steps if s.number <= number],
        effect=effect,
        outcome=_outcome(visit, row),
        answered=at.agents.parts.people.answer_of(row) if row["state"] == "answer" else "",
        looks=paths.looks(at.engine, row["approval"]),
        noted=noted,
        may_settle=model is not None and model.authority.allowed(visit.by, SETTLE.needs, domain),
        settles=[model.authority.people[p].name for p in model.authority.who(SETTLE.needs, domain)] if model else [],
    )


def _within(every: Sought, subject: str) -> bool:
    return every.subjects is None or subject in every.subjects


def _outcome(visit: Visit, row: Mapping[str, Any]) -> dict[str, Any] | None:
    found = visit.at.runs.step_of(row["action"])
    return paths.outcome_at(visit.at.agents, found[1]) if found is not None else None


def _was(visit: Visit, approval: Approval) -> dict[str, Any] | None:
    """Return the arguments before a person changed them; None if nobody did."""
    if not approval.facts.get("instead_of"):
        return None
    try:
        before = views.parked_action(visit.at.engine, str(approval.facts["instead_of"]))
    except NotFound:
        return None
    return paths.arguments_of(visit.at.agents, before)


def _rows(visit: Visit, rows: list[dict[str, Any]]) -> list[Waiting]:
    model = visit.at.model()
    with visit.at.engine.connect() as connection:
        known = {a.id: a for a in read_approvals(connection, [row["approval"] for row in rows])}
    return [
        Waiting(row, shown(visit, known[row["approval"]], model, {}) if row["approval"] in known else None)
        for row in rows
    ]


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise InvalidInput(
            f"The arguments cannot be read: {wrong}.", hint="They are a JSON object: quotes around names and texts."
        ) from None
    if not isinstance(found, dict):
        raise InvalidInput("The arguments are no JSON object.", hint='Write {"name": "value"}.')
    return found


def _reason(visit: Visit) -> str:
    reason = visit.said("reason")
    if not reason:
        raise InvalidInput("This needs a reason.", hint="Say why: it is on record, and the agent may be told.")
    return reason


def followed(visit: Visit) -> Response:
    """Lead whoever was sent a link to its action: it says which, and the person still has to be signed in."""
    approval = links.followed(visit.at, visit.part("link"), visit.by)
    return visit.go(f"/actions/{approval.id.rpartition('/')[2]}")


PAGES = (
    Page("/links/{link}", followed),
    Page("/actions", queue),
    Page("/actions/{id}", one),
    Page("/actions/{id}/votes", vote, "POST"),
    Page("/actions/{id}/edit", edit, "POST"),
    Page("/actions/{id}/answer", answer, "POST"),
    Page("/actions/{id}/take-over", take_over, "POST"),
)
