"""Reads: what calls cost by any dimension, how budgets stand, what a month will come to, and what teams owe."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, func, select

from bedplate.errors import Denied, InvalidInput
from bedplate.store import tables as t
from bedplate.store.reads import read_blob

from .anomaly import WINDOW as JUDGED
from .anomaly import Anomaly, judge
from .forecast import WINDOW, Forecast, forecast, month_of
from .governance import READ_COST
from .limit import Limits
from .price import NANO
from .tables import tariff, usage
from .tariff import Tariff, read
from .usage import COUNTS, LIVE, day_of, day_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from bedplate.kernel.model import OperatingModel

    from .limit import Spent
    from .snapshot import Snapshot

BY = ("use-case", "team", "model", "release", "key", "day", "route", "dialect")
COLUMNS = ("team", "use_case", "model", "calls", "refused", "failed", "tokens_in", "cached_in", "tokens_out")
MONEY = ("cost_usd", "unpriced_calls", "findings")
NO_PRICES = Tariff((), "")
MAX_DAYS = 3_660  # that one question may ask about
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001  what a spreadsheet takes for the beginning of one (OWASP, CSV injection)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one thing cost. `unpriced` calls are not in `cost_nano`: nobody says what they cost."""

    name: str
    calls: int = 0
    refused: int = 0
    failed: int = 0
    tokens_in: int = 0
    cached_in: int = 0
    tokens_out: int = 0
    cost_nano: int = 0
    unpriced: int = 0
    findings: int = 0

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values; dollars as exact text beside the whole number."""
        counts = {name: getattr(self, name) for name in COUNTS}
        return {"name": self.name, **counts, "cost_usd": exact(self.cost_nano)}

    def row(self, by: str) -> dict[str, str | int]:
        """Return it as a row of a table by this dimension."""
        told = {name: getattr(self, name) for name in COUNTS if name not in {"cost_nano", "unpriced"}}
        named = {by.replace("-", "_"): self.name}
        return {**named, **told, "cost_usd": exact(self.cost_nano), "unpriced_calls": self.unpriced}


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One limit of a use case: used (with what is reserved), reserved of it, the most, and where the month leads.

    Calls, tokens, or nano-US-dollars. `forecast` is to the end of the month, for limits of a month only; `exhausted`
    the day on which it is expected to be used up, "" if not this month.
    """

    subject: str
    limit: str
    used: int
    reserved: int
    most: int
    forecast: Forecast | None
    exhausted: str

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        told = {name: getattr(self, name) for name in ("subject", "limit", "used", "reserved", "most", "exhausted")}
        return {**told, "forecast": None if self.forecast is None else forecast_plain(self.forecast)}


def tariff_in_force(engine: Engine) -> tuple[Tariff, int]:
    """Return the agreed prices in force, and the event that put them there; none, and -1, before the first."""
    with engine.connect() as connection:
        row = connection.execute(select(tariff.c.digest, tariff.c.last_seq)).one_or_none()
        return (read(read_blob(connection, row.digest)), row.last_seq) if row is not None else (NO_PRICES, -1)


def readable(model: OperatingModel | None, person: str) -> Collection[str] | None:
    """Return the domains whose cost somebody may read, None for all of them; `Denied` while there is no model."""
    if model is None:
        raise Denied("no operating model is in force", hint="bedplate apply operating-model.yaml")
    if model.authority.allowed(person, READ_COST.needs, ""):
        return None
    return {d for d in model.domains if model.authority.allowed(person, READ_COST.needs, d)}


def span(today: int, since: str, until: str) -> tuple[int, int]:
    """Read the first and last day of a question, since the epoch; the month so far, unless told."""
    try:
        last = day_of(until) if until else today
        first = day_of(since) if since else month_of(last)[0]
    except ValueError as wrong:
        raise InvalidInput(f"one of the two days cannot be read: {wrong}", hint="write it as 2026-11-23") from None
    if not 0 <= last - first <= MAX_DAYS:
        raise InvalidInput(f"from {day_text(first)} to {day_text(last)} is not 1 to {MAX_DAYS} days")
    return first, last


def limits_of(snapshot: Snapshot, domains: Collection[str] | None = None) -> dict[str, Limits]:
    """Return the limits in force of every live use case: the smaller of its tier's and its release's."""
    found = {}
    for subject, standing in snapshot.standings.items():
        plan = snapshot.model.plan(standing.tier) if snapshot.model is not None else None
        recipe = snapshot.recipes.get(subject)
        if plan is not None and recipe is not None and (domains is None or standing.domain in domains):
            found[subject] = Limits.of(plan, recipe)
    return found


def teams(engine: Engine) -> dict[str, str]:
    """Return the domain of every use case."""
    with engine.connect() as connection:
        rows = connection.execute(select(t.standing.c.subject, t.standing.c.domain))
        return {row.subject: row.domain for row in rows}


def costs(
    engine: Engine, by: str, since: int, until: int, *, subject: str = "", domains: Collection[str] | None = None
) -> list[Cost]:
    """Add up days since ... until (both included, since the epoch) by one of `BY`, dearest first; days in order.

    `domains` leaves only the use cases of these; None: all.
    """
    column = {"use-case": usage.c.subject, "team": usage.c.subject}.get(by)
    column = usage.c[by] if column is None else column
    query = select(usage.c.subject, column, *(func.sum(usage.c[name]) for name in COUNTS))
    query = query.where(usage.c.day >= since, usage.c.day <= until).group_by(usage.c.subject, column)
    if subject:
        query = query.where(usage.c.subject == subject)
    of = teams(engine)
    sums: dict[str, list[int]] = {}
    with engine.connect() as connection:
        for who, what, *counts in connection.execute(query):
            if domains is not None and of.get(who, "") not in domains:
                continue
            name = of.get(who, "") if by == "team" else day_text(what) if by == "day" else str(what)
            there = sums.setdefault(name, [0] * len(COUNTS))
            for place, count in enumerate(counts):
                there[place] += int(count)
    found = [Cost(name, *counts) for name, counts in sums.items()]
    if by == "day":
        return sorted(found, key=lambda c: c.name)
    return sorted(found, key=lambda c: (-c.cost_nano, -c.tokens_in - c.tokens_out, c.name))


def total(found: Sequence[Cost]) -> Cost:
    """Return the sum."""
    return Cost("total", *(sum(getattr(c, name) for c in found) for name in COUNTS))


def daily(engine: Engine, since: int, until: int, *, live: bool = False) -> dict[str, dict[int, tuple[int, int, int]]]:
    """Return calls, tokens and nano-US-dollars by use case and day; `live` leaves out what budgets do not count."""
    sums = (usage.c.calls, usage.c.tokens_in + usage.c.tokens_out, usage.c.cost_nano)
    query = select(usage.c.subject, usage.c.day, *(func.sum(s) for s in sums))
    query = query.where(usage.c.day >= since, usage.c.day <= until).group_by(usage.c.subject, usage.c.day)
    if live:
        query = query.where(usage.c.route == LIVE)
    found: dict[str, dict[int, tuple[int, int, int]]] = defaultdict(dict)
    with engine.connect() as connection:
        for subject, day, calls, tokens, cost in connection.execute(query):
            found[subject][day] = (int(calls), int(tokens), int(cost))
    return dict(found)


def forecasts(engine: Engine, today: int) -> dict[str, Forecast]:
    """Forecast the cost of every use case to the end of the month, in nano-US-dollars."""
    since = min(month_of(today)[0], today - WINDOW)
    return {s: forecast(_place(days, 2), today) for s, days in daily(engine, since, today).items()}


def together(found: Sequence[Forecast]) -> Forecast:
    """Add forecasts up. Use cases are taken to vary each for itself: their margins add as squares do."""
    so_far, expected = sum(f.so_far for f in found), sum(f.expected for f in found)
    margin = round(sum((f.high - f.expected) ** 2 for f in found) ** 0.5)
    low = max(so_far, expected - margin)
    # One that is too new to be judged counts with what it used; it does not take the expectation from the others.
    days = min((f.days for f in found if f.judged), default=0)
    return Forecast(so_far, expected, low, expected + margin, days)


def budget_lines(
    engine: Engine,
    limits: Mapping[str, Limits],
    spent: Callable[[str], Spent],
    held: Callable[[str], tuple[int, int]],
    today: int,
) -> list[BudgetLine]:
    """Return every limit of the use cases named by `limits`, with what is used of it and where it leads."""
    since = min(month_of(today)[0], today - WINDOW)
    series = daily(engine, since, today, live=True)
    lines = []
    for subject, most in sorted(limits.items()):
        tokens, nano = held(subject)
        for line in spent(subject).against(most):
            unit, _, span = line.limit.partition("_per_")
            reserved = {"calls": 0, "tokens": tokens, "nano": nano}[unit]
            led, exhausted = None, ""
            if span == "month":
                place = ("calls", "tokens", "nano").index(unit)
                led = forecast(_place(series.get(subject, {}), place), today, limit=line.most)
                led = replace(led, so_far=max(led.so_far, line.used), expected=max(led.expected, line.used))
                exhausted = day_text(led.exhausted) if led.exhausted else ""
            if line.used >= line.most:
                exhausted = day_text(today)
            lines.append(BudgetLine(subject, line.limit, line.used, reserved, line.most, led, exhausted))
    return lines


def anomalies(engine: Engine, today: int) -> dict[str, list[Anomaly]]:
    """Judge today's cost and tokens of every use case by its days before."""
    series = daily(engine, today - JUDGED, today)
    found: dict[str, list[Anomaly]] = {}
    for subject, days in series.items():
        for measure, place in (("cost", 2), ("tokens", 1)):
            seen = judge(measure, _place(days, place), today, len(series))
            if seen is not None:
                found.setdefault(subject, []).append(seen)
    return found


def showback(
    engine: Engine, since: int, until: int, domains: Collection[str] | None = None
) -> list[dict[str, str | int]]:
    """Return one row for each team, use case and model, with `COLUMNS` and `MONEY`; `cost_usd` is exact text."""
    query = select(usage.c.subject, usage.c.model, *(func.sum(usage.c[name]) for name in COUNTS))
    query = query.where(usage.c.day >= since, usage.c.day <= until).group_by(usage.c.subject, usage.c.model)
    of = teams(engine)
    rows = []
    with engine.connect() as connection:
        for who, model, *counts in connection.execute(query):
            if domains is not None and of.get(who, "") not in domains:
                continue
            told: dict[str, Any] = dict(zip(COUNTS, map(int, counts), strict=True))
            names = {"team": of.get(who, ""), "use_case": who.partition("/")[2] or who, "model": model}
            money = {"cost_usd": exact(told.pop("cost_nano")), "unpriced_calls": told.pop("unpriced")}
            rows.append({**names, **told, **money})
    return sorted(rows, key=lambda r: (r["team"], r["use_case"], r["model"]))


def columns_of(by: str) -> tuple[str, ...]:
    """Return the columns of a table by one dimension."""
    return (by.replace("-", "_"), *COLUMNS[3:], *MONEY)


def csv_text(rows: Sequence[Mapping[str, str | int]], columns: Sequence[str] = (*COLUMNS, *MONEY)) -> str:
    """Write rows as CSV (RFC 4180). Text that a spreadsheet would run as a formula gets a ' before it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_inert(row[name]) for name in columns])
    return out.getvalue()


def exact(nano: int) -> str:
    """Write nano-US-dollars as dollars, to the last digit: `1234.567890123`."""
    return f"{Decimal(nano) / NANO:.9f}"


def forecast_plain(found: Forecast) -> dict[str, Any]:
    """Return a forecast as JSON-ready values."""
    names = ("so_far", "expected", "low", "high", "days")
    return {**{name: getattr(found, name) for name in names}, "judged": found.judged}


def _inert(value: str | int) -> str | int:
    return f"'{value}" if isinstance(value, str) and value.lstrip(" \ufeff").startswith(FORMULA) else value


def _place(days: Mapping[int, tuple[int, int, int]], place: int) -> dict[int, int]:
    return {day: amounts[place] for day, amounts in days.items()}
