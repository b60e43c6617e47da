"""Value: what use cases promised, what came of it, and what it cost; one of them month by month, and its stop rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response

from bedplate.errors import InvalidInput
from bedplate.paths import returns
from bedplate.paths.pdf import pdf
from bedplate.portfolio import entries
from bedplate.portfolio.benefit import COSTS, month_at, total
from bedplate.portfolio.book import renew as go_on
from bedplate.portfolio.proving import RENEW

from .cost import readable
from .filters import sees_cost
from .months import LAYERS, drawing
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from bedplate.paths.returns import Return

SHOWN = 24  # months in the chart of one use case


def value(visit: Visit) -> Response:
    """Show what the use cases were worth whose cost this person may read, added up by what they have in common."""
    model, now = visit.at.model(), visit.at.clock()
    every = returns.returns(visit.at.engine, model, now, readable(visit))
    given = {name: visit.query(name) for name in returns.BY}
    found = [r for r in every if all(not v or str(getattr(r.stake, name)) == v for name, v in given.items())]
    by = visit.query("by") if visit.query("by") in returns.BY else returns.BY[0]
    page = visit.number("page", 1)
    months = returns.by_month(found, month_at(now))
    return visit.show(
        "value.html",
        currency=returns.Money.of(model).currency,
        whole=returns.whole(found),
        by=by,
        ways=returns.BY,
        groups=returns.grouped(found, by),
        months=months,
        drawn=drawing(months),
        layers=LAYERS,
        found=found[(page - 1) * PAGE : page * PAGE],
        total=len(found),
        page=page,
        pages=max(1, -(-len(found) // PAGE)),
        given=given,
        choices={name: sorted({str(getattr(r.stake, name)) for r in every}) for name in returns.BY},
        fired=[r for r in found if r.stake.why and r.stake.stage == "live"],
        foreign=sum(r.foreign for r in found),
        tiers={str(n): plan.name for n, plan in model.tiers.items()} if model is not None else {},
    )


def one(visit: Visit) -> Response:
    """Show what one use case was worth, month by month, with everything that was recorded of it."""
    model, found = visit.at.model(), _one(visit)
    months = [(m.period, total([m])) for m in found.months if m.over][-SHOWN:]
    may = model is not None and model.authority.allowed(visit.by, RENEW.needs, found.stake.domain)
    return visit.show(
        "value_case.html",
        currency=returns.Money.of(model).currency,
        one=found,
        stake=found.stake,
        drawn=drawing(months),
        layers=LAYERS,
        costs=COSTS,
        measures=entries.recorded(visit.at.engine, found.stake.subject)[:PAGE],
        asked=[a for a in visit.at.approvals("asked", subject=found.stake.subject) if a.action in _DECIDES],
        may_renew=may,
    )


def worth(visit: Visit, subject: str) -> Return | None:
    """Return what a use case was worth, None where it was never accepted, or this person may not see its cost."""
    if not sees_cost(visit, subject):
        return None
    return next(iter(returns.returns(visit.at.engine, visit.at.model(), visit.at.clock(), subject=subject)), None)


def table(visit: Visit) -> Response:
    """Return a row for each use case as CSV, as the API does."""
    model = visit.at.model()
    found = returns.returns(visit.at.engine, model, visit.at.clock(), readable(visit))
    headers = {"content-disposition": 'attachment; filename="bedplate-value.csv"'}
    text = returns.table(found, returns.Money.of(model).currency)
    return PlainTextResponse(text, headers=headers, media_type="text/csv; charset=utf-8")


def report(visit: Visit) -> Response:
    """Return the portfolio's value on one page, as PDF."""
    model, now = visit.at.model(), visit.at.clock()
    found = returns.returns(visit.at.engine, model, now, readable(visit))
    headers = {"content-disposition": 'inline; filename="bedplate-value.pdf"'}
    return Response(pdf("value", returns.page(found, model, now), now), headers=headers, media_type="application/pdf")


def renew(visit: Visit) -> Response:
    """Ask for a use case to go on whose stop rule fired."""
    found, reason = _one(visit), visit.said("reason")
    if not reason:
        raise InvalidInput("Renewing needs a reason.", hint="Say why it goes on; it goes on record with your name.")
    go_on(visit.at.governor, visit.by, found.stake.subject, reason)
    visit.at.follower.look()
    return visit.go(f"/value/{found.stake.id}")


def _one(visit: Visit) -> Return:
    subject = f"usecase/{visit.part('id')}"
    return returns.one(visit.at.engine, visit.at.model(), visit.at.clock(), subject, readable(visit))


_DECIDES = frozenset({RENEW.name, "portfolio.settle"})
PAGES = (
    Page("/value", value),
    Page("/value.csv", table),
    Page("/value.pdf", report),
    Page("/value/{id}", one),
    Page("/value/{id}/renew", renew, "POST"),
)
