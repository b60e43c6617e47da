"""Cost: by use case, team, model, day, release or key; budgets, where the month leads, who owes what, and prices."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse

from bedplate.errors import Denied, InvalidInput
from bedplate.gateway import cost
from bedplate.gateway.forecast import WINDOW, month_of
from bedplate.gateway.governance import READ_COST
from bedplate.gateway.price import nano
from bedplate.gateway.usage import day_text
from bedplate.incidents import views as incidents
from bedplate.kernel.clock import DAY
from bedplate.portfolio import views as portfolio

from .spending import OTHERS, Bar, bar, layers, month
from .visit import PAGE, Page, Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.responses import Response

    from bedplate.gateway.limit import Limits
    from bedplate.gateway.price import Price
    from bedplate.gateway.tariff import Line

WAYS = ("use-case", "team", "model", "day", "release", "key")
STACKS = ("use-case", "team")
TWIN = 100  # days in the table beside the chart
COST_CAUSE = "anomaly/"  # how the cause of an incident begins that was opened for what a use case used


def costs(visit: Visit) -> Response:
    """Show what calls cost in a span of days, this month unless told, and where the month leads."""
    at, seen = visit.at, readable(visit)
    today = at.clock() // DAY
    first, last = cost.span(today, visit.query("since"), visit.query("until"))
    by, stack = _one_of(visit, "by", WAYS), _one_of(visit, "stack", STACKS)
    of = cost.teams(at.engine)
    cases = [c for c in portfolio.use_cases(at.engine) if seen is None or c.domain in seen]
    titles = {c.subject: c.title for c in cases}
    only = visit.query("use_case")
    subject = f"usecase/{only}" if only else ""
    if subject and subject not in titles:
        raise InvalidInput(f"there is no use case {only} whose cost you may read", hint="choose one from the list")

    def mine(name: str) -> bool:
        return name == subject if subject else seen is None or of.get(name, "") in seen

    found = cost.costs(at.engine, by, first, last, subject=subject, domains=seen)
    page = visit.number("page", 1)
    days = {s: d for s, d in cost.daily(at.engine, first, last).items() if mine(s)}
    drawn = layers(days, first, last, _itself if stack == "use-case" else lambda s: of.get(s, ""))
    limits = {s: most for s, most in cost.limits_of(at.follower.snapshot, seen).items() if mine(s)}
    this = {s: d for s, d in cost.daily(at.engine, month_of(today)[0], today).items() if mine(s)}
    led = [f for s, f in cost.forecasts(at.engine, today).items() if mine(s)]
    judged = [f.days for f in led if f.judged]
    comes = replace(cost.together(led), days=min(judged, default=0))
    spread = month(this, today, comes, limits[subject].nano_per_month if subject in limits else 0)
    model = at.model()
    domains = model.domains if model is not None else {}

    def named(name: str) -> str:
        return name if name == OTHERS else titles.get(name, name) if stack == "use-case" else domains.get(name, name)

    bars = budget_bars(visit, limits)
    agreed, priced = prices(visit, seen)
    live = sorted((one for one in priced if mine(one[0])), key=_unpriced_first)
    return visit.show(
        "cost.html",
        by=by,
        ways=WAYS,
        stack=stack,
        stacks=STACKS,
        given={"by": by, "stack": stack, "since": day_text(first), "until": day_text(last), "use_case": only},
        spans=_spans(today),
        cases=cases,
        titles=titles,
        costs=found[(page - 1) * PAGE : page * PAGE],
        total=cost.total(found),
        page=page,
        pages=max(1, -(-len(found) // PAGE)),
        layers=drawn,
        drawn=drawn.drawn(named),
        named=named,
        twin=drawn.rows[:TWIN],
        month=spread,
        comes=comes,
        young=len(led) - len(judged),
        last=day_text(spread.last),
        bars=bars[:PAGE],
        more_bars=max(0, len(bars) - PAGE),
        used_up=sum(b.state == "over" for b in bars),
        warned=sum(b.state == "warn" for b in bars),
        owed=_owed(visit, first, last, seen, subject),
        opened=_opened(visit, mine),
        agreed=agreed,
        live=live[:PAGE],
        more_live=max(0, len(live) - PAGE),
        window=WINDOW,
    )


def table(visit: Visit) -> Response:
    """Return the showback table as CSV, as the API does: a row for each team, use case and model."""
    seen = readable(visit)
    first, last = cost.span(visit.at.clock() // DAY, visit.query("since"), visit.query("until"))
    text = cost.csv_text(cost.showback(visit.at.engine, first, last, seen))
    name = f"bedplate-cost-{day_text(first)}-{day_text(last)}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return PlainTextResponse(text, headers=headers, media_type="text/csv; charset=utf-8")


def readable(visit: Visit) -> Collection[str] | None:
    """Return the domains whose cost this person may read, None for all; `Denied` says who may, if there is none."""
    model = visit.at.model()
    seen = cost.readable(model, visit.by)
    if model is not None and seen is not None and not seen:
        authority, needs = model.authority, READ_COST.needs
        may = {p for d in ("", *model.domains) for p in authority.who(needs, d)}
        names = ", ".join(sorted(authority.people[p].name for p in may)) or "nobody yet"
        why = f"Your seats do not let you see what calls cost: that needs {needs}."
        raise Denied(why, hint=f"Ask one of those who may, or whoever gives seats: {names}.")
    return seen


def budget_bars(visit: Visit, limits: dict[str, Limits]) -> list[Bar]:
    """Return these limits as they stand now, over all processes of this host, the nearest to its end first."""
    at, now = visit.at, visit.at.clock()
    lines = cost.budget_lines(at.engine, limits, lambda s: at.budgets.today(s, now), at.budgets.held, now // DAY)
    return sorted((bar(line, limits[line.subject]) for line in lines), key=_fullest)


def prices(visit: Visit, seen: Collection[str] | None) -> tuple[list[tuple[Line, str]], list[tuple[str, str, Price]]]:
    """Return what was agreed with providers and since when it holds, and the price of each live release now."""
    at, today = visit.at, day_text(visit.at.clock() // DAY)
    agreed = [(line, _state(line, today)) for line in cost.tariff_in_force(at.engine)[0].lines]
    snapshot = at.follower.snapshot
    live = [
        (subject, recipe.model, at.prices.of(recipe.model, recipe.upstream, at.clock()))
        for subject, recipe in sorted(snapshot.recipes.items())
        if seen is None or (subject in snapshot.standings and snapshot.standings[subject].domain in seen)
    ]
    return agreed, live


def _owed(
    visit: Visit, first: int, last: int, seen: Collection[str] | None, subject: str
) -> list[tuple[cost.Cost, list[dict[str, Any]]]]:
    """Return each team with what its use cases cost, by model; the dearest first."""
    rows = defaultdict(list)
    for row in cost.showback(visit.at.engine, first, last, seen):
        if not subject or subject == f"usecase/{row['use_case']}":
            rows[str(row["team"])].append({**row, "cost_nano": nano(str(row["cost_usd"]))})
    teams = cost.costs(visit.at.engine, "team", first, last, subject=subject, domains=seen)
    return [(team, rows[team.name]) for team in teams]


def _unpriced_first(one: tuple[str, str, Price]) -> bool:
    return one[2].known


def _opened(visit: Visit, mine: Callable[[str], bool]) -> list[dict[str, Any]]:
    found = incidents.incidents(visit.at.engine, only_open=True)
    return [i for i in found if i["cause"].startswith(COST_CAUSE) and mine(i["subject"])]


def _spans(today: int) -> list[tuple[str, str, str]]:
    first, _ = month_of(today)
    before, _ = month_of(first - 1)
    told = (
        ("this month", first, today),
        ("last month", before, first - 1),
        ("28 days", today - 27, today),
        ("a quarter", today - 90, today),
    )
    return [(name, day_text(since), day_text(until)) for name, since, until in told]


def _state(line: Line, today: str) -> str:
    return "to come" if line.since > today else "ended" if line.until and line.until < today else "in force"


def _one_of(visit: Visit, name: str, known: tuple[str, ...]) -> str:
    said = visit.query(name)
    return said if said in known else known[0]


def _itself(name: str) -> str:
    return name


def _fullest(found: Bar) -> tuple[float, str, str]:
    return -found.line.used / found.line.most, found.line.subject, found.line.limit


PAGES = (Page("/cost", costs), Page("/cost.csv", table))
