"""What calls cost, how budgets stand, where the month leads, and the prices agreed with providers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from bedplate.document import parse
from bedplate.errors import Denied
from bedplate.gateway import actions, cost
from bedplate.gateway.forecast import month_of
from bedplate.gateway.governance import READ_COST
from bedplate.gateway.tariff import check_tariff, plain, rewritten
from bedplate.gateway.usage import day_text
from bedplate.installation import Installation
from bedplate.kernel.clock import DAY
from bedplate.wire import FileBody

from .session import At, Me

router = APIRouter(tags=["cost"])
By = Literal["use-case", "team", "model", "release", "key", "day", "route", "dialect"]
Day = Annotated[str, Query(pattern=r"^(\d{4}-\d{2}-\d{2})?$", description="A UTC day such as 2026-11-23.")]
Name = Annotated[str, Query(pattern=r"^([a-z][a-z0-9-]{1,62})?$")]


@router.get("/cost")
def costs(at: At, me: Me, by: By = "use-case", since: Day = "", until: Day = "", use_case: Name = "") -> dict[str, Any]:
    """Add up what calls cost, from one UTC day to another (this month, unless told), by one dimension."""
    seen, (first, last) = readable(at, me.person), cost.span(at.clock() // DAY, since, until)
    subject = f"usecase/{use_case}" if use_case else ""
    found = cost.costs(at.engine, by, first, last, subject=subject, domains=seen)
    told = [c.plain() for c in found]
    days = {"since": day_text(first), "until": day_text(last)}
    return {"by": by, **days, "costs": told, "total": cost.total(found).plain()}


class Csv(PlainTextResponse):
    """A table as text, and documented as what it is."""

    media_type = "text/csv"


@router.get("/cost.csv", response_class=Csv)
def table(at: At, me: Me, by: By | None = None, since: Day = "", until: Day = "", use_case: Name = "") -> Csv:
    """Return the showback table as CSV, a row for each team, use case and model; or the sums by one dimension."""
    seen, (first, last) = readable(at, me.person), cost.span(at.clock() // DAY, since, until)
    if by is None:
        text = cost.csv_text(cost.showback(at.engine, first, last, seen))
    else:
        subject = f"usecase/{use_case}" if use_case else ""
        found = cost.costs(at.engine, by, first, last, subject=subject, domains=seen)
        text = cost.csv_text([c.row(by) for c in found], cost.columns_of(by))
    name = f"bedplate-cost-{day_text(first)}-{day_text(last)}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"', "x-content-type-options": "nosniff"}
    return Csv(text, headers=headers)


@router.get("/cost/budgets")
def budgets(at: At, me: Me) -> dict[str, Any]:
    """Say how every limit of every use case stands, over all processes of this host."""
    seen, now = readable(at, me.person), at.clock()
    limits = cost.limits_of(at.follower.snapshot, seen)
    lines = cost.budget_lines(
        at.engine, limits, lambda subject: at.budgets.today(subject, now), at.budgets.held, now // DAY
    )
    states = {subject: at.budgets.today(subject, now).state(most) for subject, most in limits.items()}
    return {"day": day_text(now // DAY), "budgets": [{**line.plain(), "state": states[line.subject]} for line in lines]}


@router.get("/cost/forecast")
def forecast(at: At, me: Me) -> dict[str, Any]:
    """Forecast the cost of each use case to the end of this month, with an interval that holds four times in five."""
    seen, today = readable(at, me.person), at.clock() // DAY
    of = cost.teams(at.engine)
    found = {s: f for s, f in cost.forecasts(at.engine, today).items() if seen is None or of.get(s, "") in seen}
    told = [{"name": s, "team": of.get(s, ""), **cost.forecast_plain(f)} for s, f in sorted(found.items())]
    whole = cost.forecast_plain(cost.together(list(found.values())))
    return {"until": day_text(month_of(today)[1]), "unit": "nano-US-dollars", "use_cases": told, "total": whole}


@router.get("/prices")
def prices(at: At, me: Me) -> dict[str, Any]:  # noqa: ARG001  signed in, nothing more
    """Return the prices agreed with providers, and which price applies to each live release now."""
    tariff, _ = cost.tariff_in_force(at.engine)
    live = []
    for subject, recipe in sorted(at.follower.snapshot.recipes.items()):
        price = at.prices.of(recipe.model, recipe.upstream, at.clock())
        rates = [asdict(r) for r in price.rates]
        named = {"use_case": subject, "model": recipe.model, "upstream": recipe.upstream}
        live.append({**named, "price": price.id, "priced": price.known, "rates": rates})
    return {"digest": tariff.digest, "prices": plain(tariff), "live": live}


@router.post("/prices/plan")
def plan(at: At, me: Me, body: FileBody) -> dict[str, Any]:  # noqa: ARG001  as above
    """Say what a file of prices would change; what it may not change is told as `refused`."""
    tariff = check_tariff(parse(body.text, body.name))
    before, after = plain(cost.tariff_in_force(at.engine)[0]), plain(tariff)
    refused = rewritten(cost.tariff_in_force(at.engine)[0].lines, tariff.lines, at.clock())
    changes = [{"change": "ends", **line} for line in before if line not in after]
    changes += [{"change": "begins", **line} for line in after if line not in before]
    return {"kind": "prices", "changes": changes, "refused": refused}


@router.post("/prices")
def apply(at: At, me: Me, body: FileBody) -> dict[str, Any]:
    """Put the prices of a file in force, each from its own day on."""
    tariff = check_tariff(parse(body.text, body.name))
    in_force, seq = cost.tariff_in_force(at.engine)
    actions.set_prices(at.governor, me.person, tariff, in_force, seq)
    at.follower.look()
    return {"digest": tariff.digest, "lines": len(tariff.lines)}


def readable(at: Installation, person: str) -> Collection[str] | None:
    """Return the domains whose cost somebody may read, None for all; `Denied` if there is none."""
    seen = cost.readable(at.model(), person)
    if seen is None or seen:
        return seen
    why, fix = f"{person} may not do this: it needs {READ_COST.needs}", "a seat that the operating model names"
    raise Denied(why, hint=fix, reasons=(("authority", why, fix),))
