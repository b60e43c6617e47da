"""Ideas: the list, the form, one idea with its score and what it is like, and the decision about it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse

from bedplate.document import Document, InvalidDocument
from bedplate.errors import BedplateError, Denied, InvalidInput
from bedplate.kernel.decision import Deny
from bedplate.paths import planning
from bedplate.portfolio import actions, ideas
from bedplate.portfolio.actions import OUTCOMES, Decision
from bedplate.portfolio.idea import OPEN, Idea
from bedplate.portfolio.intake import SUGGEST, WEIGH
from bedplate.portfolio.question import FEASIBILITY
from bedplate.portfolio.usecase import BUCKETS

from .problem import problem_of
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

    from bedplate.kernel.event import Value
    from bedplate.paths.planning import Table
    from bedplate.portfolio.idea import IdeaFile

STATES = ("proposed", "deferred", "overdue", "taken-up", "declined")
NUMBERS = ("baseline", "target", "per_month", "cents_per_unit")
NOT_A_NUMBER = -1  # no field takes it, so that the schema's own complaint says what it wanted


def listed(visit: Visit) -> Response:
    """List ideas; those that wait longest come first."""
    now, state, text = visit.at.clock(), visit.query("state"), visit.query("text").lower()
    every = _held(visit).ideas
    found = [i for i in every if state in {"", i.state} or (state == "overdue" and i.overdue(now))]
    found = [i for i in found if text in f"{i.title} {i.id} {i.domain}".lower()]
    page = visit.number("page", 1)
    counts = {s: sum(i.overdue(now) if s == "overdue" else i.state == s for i in every) for s in STATES}
    return visit.show(
        "ideas.html",
        ideas=found[(page - 1) * PAGE : page * PAGE],
        state=state,
        states=STATES,
        counts=counts,
        text=visit.query("text"),
        total=len(found),
        page=page,
        last=max(1, -(-len(found) // PAGE)),
    )


def form(visit: Visit) -> Response:
    """Show the form: empty, or with an idea that is on record, to propose it anew."""
    name = visit.query("again")
    filled = _fields(ideas.idea(visit.at.engine, name).file) if name else {}
    return _form(visit, _held(visit), filled)


def propose(visit: Visit) -> Response:
    """Propose what the form says, or show what it is like and what is wrong, and keep what was typed."""
    held = _held(visit)
    given = {name: visit.said(name) for name in visit.form}
    try:
        file = actions.check_idea(Document("the form", _plain(given)), held.model, frozenset(held.contracts))
        before = ideas.known_idea(visit.at.engine, file.id)
        if before is not None and given.get("again") != file.id:
            raise InvalidInput(
                f"There is an idea {file.id} already.", hint="Choose another id, or propose that one anew."
            )
        if given.get("step") == "look":
            return _form(visit, held, given, file=file)
        actions.suggest(visit.at.governor, visit.by, file, held.model, before)
    except InvalidDocument as wrong:
        said = "; ".join(f"{_named(c.path)}: {c.message}" for c in wrong.complaints)
        return _form(visit, held, given, wrong=InvalidInput(said, hint="Nothing was recorded."))
    except BedplateError as wrong:
        return _form(visit, held, given, wrong=wrong)
    visit.at.follower.look()
    return visit.go(f"/ideas/{file.id}")


def one(visit: Visit) -> Response:
    """Show an idea: what it says, its score, what it is like, and what became of it."""
    return _one(visit)


def decide(visit: Visit) -> Response:
    """Take it up, decline it or defer it."""
    found = ideas.idea(visit.at.engine, visit.part("name"))
    given = {name: visit.said(name) for name in ("outcome", "reason", "condition", "until")}
    try:
        actions.weigh(visit.at.governor, visit.by, found, _held(visit).model, Decision(**given))
    except BedplateError as wrong:
        return _one(visit, given=given, wrong=wrong)
    return visit.go(f"/ideas/{found.id}")


def draft(visit: Visit) -> Response:
    """Hand out the first draft of the use case's file."""
    text = planning.draft(_held(visit), ideas.idea(visit.at.engine, visit.part("name")))
    kept = {"content-disposition": 'attachment; filename="use-case.yaml"'}
    return PlainTextResponse(text, media_type="application/yaml", headers=kept)


def _one(visit: Visit, given: dict[str, str] | None = None, wrong: BedplateError | None = None) -> Response:
    held = _held(visit)
    found = ideas.idea(visit.at.engine, visit.part("name"))
    problem = problem_of(wrong) if wrong is not None else None
    return visit.show(
        "idea.html",
        status=problem.status if problem is not None else 200,
        idea=found,
        overdue=found.overdue(visit.at.clock()),
        case=next((c for c in held.cases if c.id == found.id), None),
        ranked=planning.weigh_one(held, found.file),
        alike=planning.like(visit.at.engine, held, found.file),
        contracts=[held.contracts[c] for c in found.file.contracts if c in held.contracts],
        feasibility=[(q, getattr(found.file.feasibility, q.id)) for q in FEASIBILITY],
        risk=[(q, found.file.answers.get(q.id, "unanswered")) for q in held.model.questions],
        barred=_barred(visit, found) if found.state in OPEN else "",
        outcomes=OUTCOMES,
        open=found.state in OPEN,
        given=defaultdict(str, given or {}),
        problem=problem,
    )


def _barred(visit: Visit, found: Idea) -> str:
    """Say why whoever looks may not decide; "" if they may."""
    facts: dict[str, Value] = {"domain": found.domain, "tier": found.tier, "proposers": list(found.proposers)}
    _, verdict = visit.at.governor.judge(visit.by, WEIGH, found.subject, facts)
    return verdict.reasons[0].why if isinstance(verdict, Deny) else ""


def _form(
    visit: Visit,
    held: Table,
    given: dict[str, str],
    *,
    file: IdeaFile | None = None,
    wrong: BedplateError | None = None,
) -> Response:
    problem = problem_of(wrong) if wrong is not None else None
    may = [d for d in held.model.domains if held.model.authority.allowed(visit.by, SUGGEST.needs, d)]
    return visit.show(
        "idea_form.html",
        status=problem.status if problem is not None else 200,
        given=defaultdict(str, given),
        problem=problem,
        feasibility=FEASIBILITY,
        risk=held.model.questions,
        buckets=BUCKETS,
        may=may,
        contracts=held.contracts,
        ranked=planning.weigh_one(held, file) if file is not None else None,
        alike=planning.like(visit.at.engine, held, file) if file is not None else [],
    )


def _held(visit: Visit) -> Table:
    model = visit.at.model()
    if model is None:
        raise Denied("no operating model is in force", hint="bedplate apply operating-model.yaml")
    return planning.table(visit.at.engine, model, visit.at.clock())


def _plain(given: dict[str, str]) -> dict[str, Any]:
    """Return the file that a form stands for."""

    def number(name: str) -> int:
        text = given.get(name, "").replace(",", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else NOT_A_NUMBER  # noqa: PLR2004  below 2^53

    def score(name: str) -> dict[str, Any]:
        said: dict[str, Any] = {"score": number(name)}
        said |= {end: number(f"{name}.{end}") for end in ("low", "high") if given.get(f"{name}.{end}")}
        return said | ({"evidence": given[f"{name}.evidence"]} if given.get(f"{name}.evidence") else {})

    value: dict[str, Any] = {"hypothesis": given.get("hypothesis", ""), "unit": given.get("unit", "")}
    value |= {name: number(name) for name in NUMBERS}
    if given.get("uncertain_percent"):
        value["uncertain_percent"] = number("uncertain_percent")
    lists = {name: given.get(name, "").replace(",", " ").split() for name in ("contracts", "after", "excludes")}
    return {
        "kind": "idea",
        **{name: given.get(name, "") for name in ("id", "title", "domain", "purpose", "bucket", "generative")},
        "value": value,
        "feasibility": {q.id: score(q.id) for q in FEASIBILITY},
        "answers": {n.removeprefix("q."): a for n, a in given.items() if n.startswith("q.") and a},
        "contracts": lists["contracts"],
        "effort_days": number("effort_days"),
        "cost_cents": number("cost") * 100 if number("cost") >= 0 else NOT_A_NUMBER,
        **{name: lists[name] for name in ("after", "excludes") if lists[name]},
    }


def _fields(file: IdeaFile) -> dict[str, str]:
    """Return the form's fields for a file."""
    names = ("id", "title", "domain", "purpose", "bucket", "generative", "effort_days")
    told = {name: str(getattr(file, name)) for name in names} | {"again": file.id}
    told |= {name: str(getattr(file.value, name)) for name in ("hypothesis", "unit", *NUMBERS)}
    told |= {"uncertain_percent": str(file.value.uncertain_percent or ""), "cost": str(file.cost_cents // 100)}
    for question in FEASIBILITY:
        part = getattr(file.feasibility, question.id)
        told |= {question.id: str(part.score), f"{question.id}.evidence": part.evidence or ""}
        told |= {f"{question.id}.{end}": str(getattr(part, end) or "") for end in ("low", "high")}
    told |= {f"q.{name}": answer for name, answer in file.answers.items()}
    lists = {"contracts": file.contracts, "after": file.after, "excludes": file.excludes}
    return told | {name: ", ".join(names or ()) for name, names in lists.items()}


def _named(path: str) -> str:
    return path.replace("feasibility.", "").replace("value.", "").replace(".score", "").replace("_", " ")


PAGES = (
    Page("/ideas", listed),
    Page("/ideas", propose, "POST"),
    Page("/ideas/new", form),
    Page("/ideas/{name}", one),
    Page("/ideas/{name}/decision", decide, "POST"),
    Page("/ideas/{name}/use-case.yaml", draft),
)
