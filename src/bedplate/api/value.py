"""What use cases are worth: forecast, realised and cost, and putting measures on record."""

from __future__ import annotations

import io
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from bedplate.kernel.clock import rfc3339
from bedplate.paths import board, returns
from bedplate.paths.pdf import pdf
from bedplate.paths.returns import BY, Book, Money
from bedplate.portfolio import entries
from bedplate.portfolio.benefit import month_at
from bedplate.portfolio.book import Booked, renew
from bedplate.wire import Because, MeasureBody, TableBody

from .cost import Csv, readable
from .session import At, Me

router = APIRouter(tags=["value"])
Id = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Days = Annotated[int, Query(ge=1, le=366, description="How far back the movement goes.")]
Named = Annotated[str, Query(max_length=63)]
Tier = Literal["", "1", "2", "3", "4"]
PDF: dict[int | str, dict[str, Any]] = {200: {"content": {"application/pdf": {}}, "description": "One page."}}


class Pdf(Response):
    """A page to print."""

    media_type = "application/pdf"


@router.get("/value")
def value(
    at: At, me: Me, domain: str = "", bucket: str = "", tier: Literal["", "1", "2", "3", "4"] = ""
) -> dict[str, Any]:
    """Add up what the use cases were worth whose cost you may read: each, by bucket, domain and tier, and together."""
    model, now = at.model(), at.clock()
    found = returns.returns(at.engine, model, now, readable(at, me.person))
    wanted = {"domain": domain, "bucket": bucket, "tier": tier}
    found = [r for r in found if all(not v or str(getattr(r.stake, n)) == v for n, v in wanted.items())]
    groups = {f"by_{by}": [g.plain() for g in returns.grouped(found, by)] for by in BY}
    months = [{"period": name, **sums.plain()} for name, sums in returns.by_month(found, month_at(now))]
    together = returns.whole(found).plain()
    told = {"currency": Money.of(model).currency, "at": rfc3339(now), "total": together, **groups, "months": months}
    return {**told, "use_cases": [r.plain() for r in found]}


@router.get("/value.csv", response_class=Csv)
def table(at: At, me: Me) -> Csv:
    """Return a row for each use case, amounts in cents."""
    model = at.model()
    found = returns.returns(at.engine, model, at.clock(), readable(at, me.person))
    headers = {"content-disposition": 'attachment; filename="bedplate-value.csv"', "x-content-type-options": "nosniff"}
    return Csv(returns.table(found, Money.of(model).currency), headers=headers)


@router.get("/value.pdf", response_class=Pdf, responses=PDF)
def report(at: At, me: Me) -> Pdf:
    """Return the portfolio's value on one page; it needs the extra `pdf`."""
    model, now = at.model(), at.clock()
    found = returns.returns(at.engine, model, now, readable(at, me.person))
    return Pdf(pdf("value", returns.page(found, model, now), now), headers=_as_file("bedplate-value.pdf"))


@router.get("/use-cases/{name}/value")
def of_use_case(at: At, me: Me, name: Id) -> dict[str, Any]:
    """Return what one use case was worth, month by month, its measures as recorded, and its stop rule."""
    subject, model = f"usecase/{name}", at.model()
    seen = readable(at, me.person)
    found = returns.one(at.engine, model, at.clock(), subject, seen)
    months = [m.plain() for m in found.months]
    measures = [{k: v for k, v in m.items() if k != "last_seq"} for m in entries.recorded(at.engine, subject)]
    return {"currency": Money.of(model).currency, **found.plain(), "months": months, "measures": measures}


@router.post("/use-cases/{name}/value")
def record(at: At, me: Me, name: Id, body: MeasureBody) -> dict[str, Any]:
    """Record a benefit or a cost of a month; what is on record as it is changes nothing."""
    row = {**body.model_dump(), "use_case": name}
    return _booked(Book(at.engine, at.governor, at.clock).put(me.person, at.model(), row))


@router.post("/value/import")
def bring(at: At, me: Me, body: TableBody) -> dict[str, Any]:
    """Record the measures of a CSV file, all or nothing; wrong rows are told with their lines."""
    lines = io.StringIO(body.text, newline="")
    return _booked(Book(at.engine, at.governor, at.clock).bring(me.person, at.model(), lines, body.name))


@router.post("/use-cases/{name}/renew")
def go_on(at: At, me: Me, name: Id, body: Because) -> dict[str, Any]:
    """Let a use case go on whose stop rule fired; 202 names the approval."""
    renew(at.governor, me.person, f"usecase/{name}", body.reason)
    at.follower.look()
    return returns.one(at.engine, at.model(), at.clock(), f"usecase/{name}").plain()


@router.get("/board")
def meeting(at: At, me: Me, days: Days = 30) -> dict[str, Any]:
    """Return what the board needs for its meeting: decisions, movement, appetite, incidents, value, rule changes."""
    return board.pack(at.engine, at.model(), at.clock(), days, readable(at, me.person))


@router.get("/board.pdf", response_class=Pdf, responses=PDF)
def meeting_page(at: At, me: Me, days: Days = 30) -> Pdf:
    """Return the board pack on one page; it needs the extra `pdf`."""
    now = at.clock()
    told = board.pack(at.engine, at.model(), now, days, readable(at, me.person))
    return Pdf(pdf("board", told, now), headers=_as_file("bedplate-board.pdf"))


def _booked(found: Booked) -> dict[str, Any]:
    return {"new": found.new, "changed": found.changed, "same": found.same}


def _as_file(name: str) -> dict[str, str]:
    return {"content-disposition": f'inline; filename="{name}"', "x-content-type-options": "nosniff"}
