"""Approvals: what is asked, who has voted, who is missing; voting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.agents.governance import PERFORM
from bedplate.errors import BedplateError, InvalidInput, NotFound
from bedplate.gateway.governance import GIVE
from bedplate.kernel.authority import Barred, ballot
from bedplate.kernel.governance import interests
from bedplate.models import views as models
from bedplate.people import actions as people
from bedplate.people import views as people_views
from bedplate.releases import actions as releases
from bedplate.releases import views as release_views
from bedplate.releases.governance import GO_LIVE
from bedplate.store.reads import read_blob

from . import model as model_page
from .conversation import conversation
from .problem import Problem, problem_of
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from bedplate.kernel.approval import Approval, Stage, Vote
    from bedplate.kernel.authority import Ballot
    from bedplate.kernel.model import OperatingModel
    from bedplate.releases.gate import Line

    from .conversation import Turn

STATES = ("asked", "granted", "refused", "expired", "voided", "spent")
APPLY = "people.apply"
Proven = dict[tuple[str, str], tuple[int, int]]  # by subject and release: pieces of evidence proven, and all


@dataclass(frozen=True, slots=True)
class Part:
    """One stage: who has voted, how many are missing, and who could."""

    stage: Stage
    votes: tuple[Vote, ...]
    more: int
    could: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """An approval as it is shown to one person."""

    id: str  # without "approval/"
    approval: Approval
    state: str
    parts: tuple[Part, ...]
    mine: bool
    barred: str
    tier: int
    use_case: str  # its id; "" when it is about something else
    evidence: str

    @property
    def title(self) -> str:
        """What is asked, in one sentence."""
        return self.approval.summary[:1].upper() + self.approval.summary[1:]


def shown(visit: Visit, approval: Approval, model: OperatingModel | None, known: Proven | None = None) -> Asked:
    """Look at an approval as the person who asks; `known` is what is proven of several, read before."""
    at, now = visit.at, visit.at.clock()
    open_now = approval.open(now)
    found = _ballot(visit, approval, model) if model is not None and open_now else None
    kind, _, name = approval.subject.partition("/")
    standing = at.follower.snapshot.standings.get(approval.subject)
    return Asked(
        id=approval.id.removeprefix("approval/"),
        approval=approval,
        state="expired" if approval.state == "asked" and not open_now else approval.state,
        parts=tuple(_part(approval, index, model) for index in range(len(approval.stages))),
        mine=found is not None and not isinstance(found, Barred),
        barred=found.reason if isinstance(found, Barred) else "",
        tier=standing.tier if standing is not None else int(str(approval.facts.get("tier", 0))),
        use_case=name if kind == "usecase" else "",
        evidence=_evidence(approval, _proven(visit, [approval]) if known is None else known) if open_now else "",
    )


def _ballot(visit: Visit, approval: Approval, model: OperatingModel) -> Ballot | Barred:
    about = interests(visit.at.follower.snapshot.standings.get(approval.subject), approval)
    return ballot(model.authority, approval, visit.by, now=visit.at.clock(), about=about)


def awaiting(visit: Visit) -> list[Asked]:
    """List what this person may vote on, the first due first."""
    model, now = visit.at.model(), visit.at.clock()
    if model is None:
        return []
    mine = [  # first, for showing one reads more of it, and few of all are one person's
        a
        for a in visit.at.approvals("asked", but=PERFORM.name)  # thousands may wait, on a page of their own
        if a.open(now) and not isinstance(_ballot(visit, a, model), Barred)
    ]
    known = _proven(visit, mine)
    return sorted((shown(visit, a, model, known) for a in mine), key=_due)


def queue(visit: Visit) -> Response:
    """List approvals in a state; what waits comes first due first."""
    state = visit.query("state") or "asked"
    wanted = (state,) if state in STATES else ()
    model = visit.at.model()
    listed = visit.at.approvals(*wanted, but=PERFORM.name, limit=PAGE)
    known = _proven(visit, listed)
    found = [shown(visit, a, model, known) for a in listed]
    if state == "asked":
        found = sorted((a for a in found if a.state == "asked"), key=_due)
    return visit.show("approvals.html", approvals=found, state=state, states=STATES, full=len(found) >= PAGE)


def one(visit: Visit) -> Response:
    """Show one approval."""
    return _one(visit, None)


def vote(visit: Visit) -> Response:
    """Answer an approval; the last vote that was missing carries it out."""
    approval_id = f"approval/{visit.part('id')}"
    decision = visit.said("decision")
    try:
        if decision not in {"approve", "reject"}:
            raise InvalidInput("the decision is neither approve nor reject", hint="use one of the two buttons")
        reason = visit.said("reason")
        if decision == "reject" and not reason:
            raise InvalidInput("A refusal needs a reason.", hint="Say what must change, then reject again.")
        voted = visit.at.vote(visit.by, approval_id, yes=decision == "approve", reason=reason)
    except NotFound:
        raise
    except BedplateError as error:
        return _refused(visit, problem_of(error))
    if not visit.fragment:
        return visit.go(f"/approvals/{visit.part('id')}")
    now = shown(visit, voted, visit.at.model())
    return visit.show("_voted.html", asked=now, decision=decision, waiting=len(awaiting(visit)))


def _refused(visit: Visit, problem: Problem) -> Response:
    if not visit.fragment:
        return _one(visit, problem)
    asked = shown(visit, visit.at.approval(f"approval/{visit.part('id')}"), visit.at.model())
    return visit.show("_asked.html", problem.status, asked=asked, problem=problem, reason=visit.form.get("reason", ""))


def _one(visit: Visit, problem: Problem | None) -> Response:
    approval = visit.at.approval(f"approval/{visit.part('id')}")
    model = visit.at.model()
    told: dict[str, Any] = {"problem": problem, "reason": visit.form.get("reason", "")}
    gate, changes, evals = _gate(visit, approval), _changes(visit, approval), _evaluation(visit, approval)
    status = problem.status if problem else 200
    asked = shown(visit, approval, model)
    told |= {"answers": approval.action == GIVE.name, "said": _answer(visit, approval)}
    told["radius"] = model_page.section(visit, approval)
    return visit.show("approval.html", status, asked=asked, gate=gate, changes=changes, evals=evals, **told)


def _part(approval: Approval, index: int, model: OperatingModel | None) -> Part:
    stage = approval.stages[index]
    more = next((n for i, _, n in approval.missing() if i == index), 0)
    barred = {approval.requester, approval.owner, *(v.person for v in approval.votes)}
    solo = model is not None and model.authority.posture == "solo"
    voters = model.authority.voters(stage, approval.domain) if model is not None else ()
    could = tuple(v for v in voters if solo or v not in barred)
    return Part(stage, tuple(v for v in approval.votes if v.stage == index), more, could if more else ())


def _proven(visit: Visit, approvals: Sequence[Approval]) -> Proven:
    releases_ = [str(a.facts["release"]) for a in approvals if a.action == GO_LIVE.name]
    return release_views.proven(visit.at.engine, releases_, visit.at.clock()) if releases_ else {}


def _evidence(approval: Approval, known: Proven) -> str:
    """Say in a few words what is proven of a release."""
    if approval.action != GO_LIVE.name:
        return ""
    holds, every = known.get((approval.subject, str(approval.facts["release"])), (0, 0))
    return f"{holds} of {every} pieces of evidence proven"


def _gate(visit: Visit, approval: Approval) -> list[Line]:
    if approval.action != GO_LIVE.name or approval.state not in {"asked", "granted"}:
        return []
    try:
        digest = str(approval.facts["release"])
        return releases.gate(visit.at.governor, visit.by, approval.subject, digest)
    except BedplateError:
        return []  # a read-only installation judges nothing; the banner says why


def _answer(visit: Visit, approval: Approval) -> list[Turn] | None:
    """Read what was said in the call whose answer is asked about; None to those who may not, or if it is gone."""
    if approval.action != GIVE.name:
        return None
    try:
        call = visit.at.calls.get(str(approval.facts["call"]))
        content = visit.at.content(visit.by, call)
    except BedplateError:
        return None
    return None if content is None else conversation(content, call.entry["passages"])


def _evaluation(visit: Visit, approval: Approval) -> dict[str, Any] | None:
    release = str(approval.facts.get("release", ""))
    found = models.evaluations(visit.at.engine, approval.subject) if release else []
    return next((e for e in found if e["release"] == release), None)


def _changes(visit: Visit, approval: Approval) -> list[tuple[str, str, str]]:
    """List what would change: of a model path by path, of a release part by part, against what is in force."""
    engine = visit.at.engine
    try:
        if approval.action == APPLY:
            current = people_views.current_model(engine)
            with engine.connect() as connection:
                proposed = json.loads(read_blob(connection, str(approval.facts["digest"])))
            return [(c.path, c.before, c.after) for c in people.compare(current and current["model"], proposed)]
        if approval.action == GO_LIVE.name:
            return _release_changes(visit, approval)
    except BedplateError:
        return []
    return []


def _release_changes(visit: Visit, approval: Approval) -> list[tuple[str, str, str]]:
    engine, asked = visit.at.engine, str(approval.facts["release"])
    live = visit.at.standing(approval.subject).release
    if not live or live == asked:
        return []
    old, new = release_views.bundle(engine, live), release_views.bundle(engine, asked)
    names: Sequence[str] = (
        "upstream",
        "model",
        "prompt",
        "unanswered",
        "index",
        "top",
        "suite",
        "pass_percent",
        "runbook",
    )
    found = [(n, str(getattr(old, n)), str(getattr(new, n))) for n in names if getattr(old, n) != getattr(new, n)]
    for name in sorted({*old.files, *new.files}):
        before, after = old.files.get(name, ""), new.files.get(name, "")
        if before != after:
            found.append((f"file {name}", before, after))
    return found


def _due(asked: Asked) -> int:
    return asked.approval.expires


PAGES = (
    Page("/approvals", queue),
    Page("/approvals/{id}", one),
    Page("/approvals/{id}/votes", vote, "POST"),
)
