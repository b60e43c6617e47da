"""Home: what needs me, what is wrong, and the numbers; and what the command palette finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.evidence import views as evidence
from bedplate.incidents import views as incidents
from bedplate.kernel.standing import Rung
from bedplate.models import views as models
from bedplate.paths.agents import Sought, counts, readable
from bedplate.portfolio import views as portfolio

from . import chart
from .approvals import awaiting
from .chrome import PLACES
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from bedplate.portfolio.views import UseCase

MAX_LINES = 20
NEWEST = 8
QUIET = frozenset(
    {"people.token.issued", "people.token.revoked", "kernel.shard.beat", "agents.action.seen"}
)  # many, and no decisions


@dataclass(frozen=True, slots=True)
class Wrong:
    """One line of what is wrong: how bad (bad or warn), what, since when if known, and where to look."""

    weight: str
    what: str
    text: str
    href: str
    at: int = 0
    due: int = 0


def home(visit: Visit) -> Response:
    """Show the page everybody starts from."""
    at = visit.at
    cases = portfolio.use_cases(at.engine)
    opened = incidents.incidents(at.engine, only_open=True)
    wrong = _wrong(visit, cases)
    events = [e for e in evidence.events(at.engine, limit=100) if e.kind not in QUIET][:NEWEST]
    today = visit.console.tally.today(at.clock())
    shown = cases[:PAGE]
    return visit.show(
        "home.html",
        queue=awaiting(visit),
        acts=counts(at.engine, Sought(subjects=readable(at.agents, visit.by)), at.clock()).get("asked", 0),
        wrong=wrong[:MAX_LINES],
        more_wrong=max(0, len(wrong) - MAX_LINES),
        live=sum(c.stage == "live" for c in cases),
        cases=shown,
        total=len(cases),
        opened=len(opened),
        overdue=sum(i["due"] < at.clock() for i in opened),
        today=today,
        size=evidence.size(at.engine),
        checked=visit.console.checked,
        since=visit.console.opened,
        faults=at.faults,
        dots=chart.matrix(shown),
        bubbles=chart.bubbles(shown),
        tiers=_tiers(visit),
        events=[(e, said(visit, e.kind)) for e in events],
    )


def palette(visit: Visit) -> Response:
    """List what the command palette searches; fetched when it is first opened."""
    at = visit.at
    entries = [(href, name, "page") for href, name in PLACES]
    entries += [(f"/use-cases/{c.id}", c.title, f"use case · {c.id}") for c in portfolio.use_cases(at.engine)[:500]]
    entries += [(f"/approvals/{a.id.removeprefix('approval/')}", a.summary, "approval") for a in at.approvals("asked")]
    entries += [
        (f"/{i['id'].replace('incident/', 'incidents/', 1)}", i["title"], "incident")
        for i in incidents.incidents(at.engine, only_open=True)
    ]
    entries.append(("/me", "You: seats and password", "page"))
    return visit.show("_palette.html", entries=entries)


def said(visit: Visit, kind: str) -> str:
    """Return what a kind of event means."""
    known = visit.at.catalogue.kinds.get(kind)
    return known.doc if known is not None else kind


def _tiers(visit: Visit) -> dict[tuple[str, str], str]:
    model = visit.at.model()
    if model is None:
        return {}
    return {cell: f"{int(tier)} {model.tiers[tier].name}" for cell, tier in model.matrix.items()}


def _wrong(visit: Visit, cases: list[UseCase]) -> list[Wrong]:
    at = visit.at
    found = [Wrong("bad", "ledger", fault, "/ledger") for fault in at.faults]
    if visit.console.checked is not None:
        found += [Wrong("bad", "ledger", f, "/ledger", visit.console.checked.at) for f in visit.console.checked.faults]
    found += [Wrong("bad", "serving", why, "/readyz") for why in at.ready() if why not in at.faults]
    for i in incidents.incidents(at.engine, only_open=True):
        mine = visit.by in i["told"].split(",")
        weight = "bad" if mine or i["severity"] == "harm" or i["due"] < at.clock() else "warn"
        what = "escalated to you" if mine else f"incident · {i['severity']}"
        href = f"/incidents/{i['id'].partition('/')[2]}"
        line = Wrong(weight, what, f"{i['subject']}: {i['title']}", href, i["opened_at"], i["due"])
        found.insert(0 if mine else len(found), line)
    breaching: dict[tuple[str, str], list[dict[str, Any]]] = {}  # one look for all: there may be a thousand of them
    for measure in models.breaching(at.engine):
        breaching.setdefault((measure["subject"], measure["release"]), []).append(measure)
    for case in cases:
        found += _of_case(case, breaching.get((case.subject, case.release), ()))
    return found


def _of_case(case: UseCase, breaching: Sequence[dict[str, Any]]) -> list[Wrong]:
    found: list[Wrong] = []
    href = f"/use-cases/{case.id}"
    if case.stage == "live" and case.suspended:
        found.append(Wrong("bad", "suspended", f"{case.title}: {case.suspended}", href))
    elif case.stage == "live" and Rung[case.rung.upper()] < Rung.ACT:
        found.append(Wrong("warn", "lowered rung", f"{case.title} is on {case.rung}", href))
    if case.stage == "live":
        for m in breaching:
            text = f"{case.title}: {m['monitor']} {m['permille'] / 10:g} %, the limit is {m['limit'] / 10:g} %"
            found.append(Wrong("warn", "monitor", text, href, m["at"]))
    return found


PAGES = (Page("/", home), Page("/palette", palette))
