"""Evaluations: the runs of a use case, the samples of one, and two of them side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.errors import BedplateError, InvalidInput
from bedplate.kernel.clock import SECOND
from bedplate.models import redteam, views
from bedplate.models.compare import MILLION, Comparison
from bedplate.models.compare import compare as compared
from bedplate.models.interval import cases_needed, wilson
from bedplate.models.suite import summarise
from bedplate.portfolio import views as portfolio
from bedplate.releases import views as releases

from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from starlette.responses import Response

    from bedplate.models.suite import Outcome
    from bedplate.portfolio.views import UseCase

PURPOSES = ("evals", "red-team", "trial", "import")
RED_TEAM, TRIAL, IMPORT = PURPOSES[1:]
SHOWS = ("all", "failed", "passed", "refused")


MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Ran:
    """One run as it is shown. `needed` percent is what its lower bound must reach; 0 where nobody said.

    `source` is the tool whose word it is, of what was brought in.
    """

    row: dict[str, Any]
    needed: int
    number: int  # of its release; 0: a trial of what was not released
    attack: bool
    source: str = ""

    @property
    def id(self) -> str:
        """What names it."""
        return str(self.row["results"])

    @property
    def comparable(self) -> bool:
        """Whether it asked what the live release was asked, so that the two can be put side by side."""
        return not self.attack and self.row["purpose"] != IMPORT

    @property
    def what(self) -> str:
        """In a few words."""
        tried = "trial, red team" if self.attack else "trial"
        brought = f"brought in from {self.source}" if self.source else "brought in"
        return {TRIAL: tried, RED_TEAM: "red team", IMPORT: brought}.get(str(self.row["purpose"]), "evals")


@dataclass(frozen=True, slots=True)
class Family:
    """How many attacks of a kind were withstood, and how many of these the gateway refused by itself."""

    name: str
    held: int
    total: int
    blocked: int
    lower: int
    upper: int


@dataclass(frozen=True, slots=True)
class Pair:
    """One case in two runs; None where a run does not have it."""

    case: str
    before: Outcome | None
    after: Outcome | None


def overview(visit: Visit) -> Response:
    """List use cases, each with its newest run of its own suite, and of the red team; first those that are live."""
    cases = sorted(portfolio.use_cases(visit.at.engine), key=_live_first)
    page = visit.number("page", 1)
    listed = _page(cases, page)
    of = (visit.at.ledger.size(), page)  # nothing else says anything about runs
    shown = visit.worked_out(
        "evals", of, MINUTE, lambda: [(c, newest(visit, c), newest(visit, c, RED_TEAM)) for c in listed]
    )
    pages = max(1, -(-len(cases) // PAGE))
    return visit.show("evals.html", cases=shown, page=page, pages=pages)


def runs(visit: Visit) -> Response:
    """List the runs of a use case, newest first."""
    case, purpose = _case(visit), visit.query("purpose")
    found = views.evaluations(visit.at.engine, case.subject, PAGE, purpose if purpose in PURPOSES else "")
    told = _told(visit, case, found)
    comparable = [run for run in told if not run.attack]
    return visit.show("eval_runs.html", case=case, runs=told, purpose=purpose, purposes=PURPOSES, comparable=comparable)


def run(visit: Visit) -> Response:
    """Show one run: how sure it is, with what it was judged, and its samples."""
    case = _case(visit)
    row = views.evaluation_named(visit.at.engine, case.subject, visit.part("results"))
    told = _told(visit, case, [row])[0]
    samples = views.samples(visit.at.engine, told.id)
    show = visit.query("show") if visit.query("show") in SHOWS else SHOWS[0]
    wanted = sorted((o for o in samples if _wanted(o, show)), key=_failed_first)
    page = visit.number("page", 1)
    return visit.show(
        "eval_run.html",
        case=case,
        run=told,
        summary=summarise(samples),
        more=cases_needed(row["passed"], row["total"], told.needed) if told.needed else 0,
        config={name: value for name, value in row["config"].items() if value},
        agreement=row["agreement"],
        families=_families(samples) if told.attack else [],
        blocked=redteam.blocked(samples),
        samples=_page(wanted, page),
        counts={name: sum(_wanted(o, name) for o in samples) for name in SHOWS},
        show=show,
        shows=SHOWS,
        page=page,
        pages=max(1, -(-len(wanted) // PAGE)),
    )


def compare(visit: Visit) -> Response:
    """Show two runs side by side; without `before`, against the run that the live release went live with."""
    case, engine = _case(visit), visit.at.engine
    named = {"before": visit.query("before") or _baseline(visit, case), "after": visit.query("after")}
    earlier, later = (views.evaluation_named(engine, case.subject, results) for results in named.values())
    then, now = (views.samples(engine, row["results"]) for row in (earlier, later))
    found = compared(then, now)
    before, after = _told(visit, case, [earlier, later])
    return visit.show(
        "eval_compare.html",
        case=case,
        before=before,
        after=after,
        found=found,
        p=found.p_millionths / MILLION,
        groups=_groups(found, then, now),
    )


def newest(visit: Visit, case: UseCase, purpose: str = "evals") -> Ran | None:
    """Return the newest run of a use case's own suite, or for another purpose; None if there is none."""
    found = views.evaluations(visit.at.engine, case.subject, 1, purpose)
    return _told(visit, case, found)[0] if found else None


def _case(visit: Visit) -> UseCase:
    return portfolio.use_case(visit.at.engine, f"usecase/{visit.part('id')}")


def _told(visit: Visit, case: UseCase, rows: list[dict[str, Any]]) -> list[Ran]:
    numbers = {r["digest"]: r["number"] for r in releases.releases(visit.at.engine, case.subject)} if rows else {}
    percents = {release: _percent(visit, release) for release in {row["release"] for row in rows}}
    found = []
    for row in rows:
        attack = row["purpose"] == RED_TEAM or (row["purpose"] == TRIAL and row["name"].startswith(redteam.FILE))
        needed = redteam.PASS_PERCENT if attack else percents[row["release"]]
        found.append(Ran(row, needed, numbers.get(row["release"], 0), attack, _source(visit, case, row)))
    return found


def _percent(visit: Visit, release: str) -> int:
    """Return what the release says it needs; 0 of a trial whose bundle was never kept."""
    try:
        return releases.bundle(visit.at.engine, release).pass_percent
    except BedplateError:
        return 0


def _source(visit: Visit, case: UseCase, row: dict[str, Any]) -> str:
    if row["purpose"] != IMPORT:
        return ""
    kept = row if "config" in row else views.evaluation_named(visit.at.engine, case.subject, row["results"])
    return str(kept["config"].get("source", ""))


def _baseline(visit: Visit, case: UseCase) -> str:
    found = ""
    if case.release:
        live_at = int(str(visit.at.standing(case.subject).facts.get("releases.live_at", 0)))
        found = views.baseline(visit.at.engine, case.subject, case.release, live_at)
    if not found:
        raise InvalidInput(f"{case.title} has no live release with results.", hint="Choose two runs to compare.")
    return found


def _families(samples: tuple[Outcome, ...]) -> list[Family]:
    refused = {
        name: redteam.blocked([o for o in samples if (o.tags[0] if o.tags else redteam.OWN) == name])
        for name in redteam.by_family(samples)
    }
    return [
        Family(name, held, total, refused[name], *wilson(held, total))
        for name, (held, total) in redteam.by_family(samples).items()
    ]


def _groups(
    found: Comparison, then: tuple[Outcome, ...], now: tuple[Outcome, ...]
) -> list[tuple[str, str, list[Pair]]]:
    """Return (what, weight, cases) for each way in which a case can differ."""
    earlier, later = {o.case: o for o in then}, {o.case: o for o in now}
    told = (
        ("Newly failing", "bad", found.newly_failing),
        ("Newly passing", "good", found.newly_passing),
        ("Other words, same verdict", "mut", found.changed),
        ("Only asked now, or another case than before", "mut", found.added),
        ("Not asked any more", "mut", found.removed),
    )
    return [
        (what, weight, [Pair(name, earlier.get(name), later.get(name)) for name in names])
        for what, weight, names in told
    ]


def _wanted(outcome: Outcome, show: str) -> bool:
    if show == "refused":
        return bool(outcome.blocked)
    return show == "all" or outcome.passed == (show == "passed")


def _live_first(case: UseCase) -> bool:
    return not case.release


def _failed_first(outcome: Outcome) -> bool:
    return outcome.passed


def _page(found: Any, page: int) -> Any:  # noqa: ANN401  any sequence
    return found[(page - 1) * PAGE : page * PAGE]


PAGES = (
    Page("/evals", overview),
    Page("/evals/{id}", runs),
    Page("/evals/{id}/compare", compare),
    Page("/evals/{id}/{results}", run),
)
