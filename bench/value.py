"""The value ledger: a CSV of a million wrong rows, and the value of a thousand use cases with a year behind them."""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import insert

from bedplate.bootstrap import open_engine_and_migrate, open_ledger, wall_clock
from bedplate.config import Settings
from bedplate.document import InvalidDocument
from bedplate.kernel.event import canonical
from bedplate.kernel.standing import Standing, plain
from bedplate.paths import returns
from bedplate.paths.pdf import pdf
from bedplate.portfolio.benefit import Hypothesis, days_of, month_at, month_of, period
from bedplate.portfolio.measure import COLUMNS, Terms, read_measures
from bedplate.portfolio.tables import usecase, value_measure, value_month
from bedplate.store import tables as t
from bedplate.testing import small_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from bedplate.kernel.event import Value
    from bedplate.kernel.model import OperatingModel

ROWS, CASES, MONTHS, TIMES = 1_000_000, 1_000, 12, 20
MONEY: dict[str, Value] = {"currency": "EUR", "per_usd_permille": 920}
SECONDS, MEGABYTES, MILLISECONDS, FIRST = 30.0, 8.0, 150.0, 1500.0  # budgets


def main() -> None:
    """Measure and print."""
    terms = Terms("EUR", month_of("2026-11"), {"usecase/hr": Hypothesis("minutes", 20, 5, 400, 60)})
    for name, row in (("unknown use case", "nobody,count,2026-10,1,,,,\n"), ("too few cells", "x\n")):
        seconds = timed(lambda row=row: wrong(row, ROWS, terms))  # type: ignore[misc]  # used at once
        tell(f"{ROWS:,} wrong rows, {name}", seconds, SECONDS, "s")
    tracemalloc.start()
    wrong("nobody,count,2026-10,1,,,,\n", ROWS // 10, terms)
    tell(f"memory of {ROWS // 10:,} wrong rows, at most", tracemalloc.get_traced_memory()[1] / 1e6, MEGABYTES, "MB")
    tracemalloc.stop()
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine_and_migrate(Settings(data=Path(folder)))
        open_ledger(engine, wall_clock)
        now, model = wall_clock(), replace(small_model(), sections={"money": MONEY})
        fill(engine, month_at(now))
        first = 1000 * timed(lambda: shown(engine, model, now))
        tell("value of them for the first time after a change", first, FIRST, "ms")
        spans = sorted(timed(lambda: shown(engine, model, now)) for _ in range(TIMES))
        slow = 1000 * spans[TIMES * 95 // 100 - 1]
        tell(f"value of {CASES:,} use cases, {MONTHS} months, p95", slow, MILLISECONDS, "ms")
        told = returns.page(returns.returns(engine, model, now), model, now)
        tell("one page as PDF", 1000 * timed(lambda: pdf("value", told, now)), 1000.0, "ms")
        engine.dispose()


def wrong(row: str, count: int, terms: Terms) -> None:
    """Read a file of nothing but wrong rows."""
    try:
        read_measures(chain([",".join(COLUMNS) + "\n"], repeat(row, count)), "bad.csv", terms)
    except InvalidDocument as told:
        if f"{count:,} in all" in told.complaints[-1].message:
            return
    raise AssertionError("not every wrong row was counted")


def shown(engine: Engine, model: OperatingModel, now: int) -> None:
    """Do what the page does, without its template."""
    found = returns.returns(engine, model, now)
    assert len(found) == CASES
    assert returns.whole(found).sum.realised.cents > 0
    for by in returns.BY:
        returns.grouped(found, by)
    returns.by_month(found, month_at(now))


def fill(engine: Engine, this: int) -> None:
    """Put use cases, measures and months straight into the read tables."""
    spec = canonical({"value": {"unit": "m", "baseline": 20, "target": 5, "per_month": 400, "cents_per_unit": 60}})
    made = days_of(this - MONTHS)[0] * 86_400_000_000
    with engine.begin() as connection:
        connection.execute(insert(t.blob).values(digest="spec", content=spec))
        for number in range(CASES):
            subject, domain = f"usecase/case-{number}", f"domain-{number % 12}"
            standing = Standing(subject, 1, f"Case {number}", "o", domain, "low", "assistive", 1 + number % 4, "live")
            body = canonical(plain(standing.with_facts(portfolio__spec="spec"))).decode()
            row = {"subject": subject, "body": body, "owner": "o", "domain": domain, "stage": "live", "tier": 1}
            connection.execute(insert(t.standing).values(**row, last_seq=1))
            case = {"subject": subject, "title": "t", "owner": "o", "sponsor": "o", "domain": domain}
            case |= {"bucket": ("efficiency", "augmentation", "transformation")[number % 3], "purpose": "p"}
            case |= {"impact": "low", "autonomy": "assistive", "reasons": "[]", "spec": "spec", "path": ""}
            numbers = {"tier": 1, "value": 3, "feasibility": 3, "yearly_cents": 1, "proposed_at": made}
            connection.execute(insert(usecase).values(**case, **numbers, decision="", last_seq=1))
            event = {"seq": 10 + number, "entry": b"{}", "leaf": b"\0" * 32, "id": str(number), "stream": subject}
            live = {"version": 1, "kind": "releases.release.live", "actor": "a", "at": made}
            connection.execute(insert(t.event).values(**event, **live))
            for back in range(1, MONTHS + 1):
                key = {"subject": subject, "period": period(this - back)}
                month = {"calls": 380, "failed": 4, "up": 40, "down": 9, "cost_nano": 5 * 10**9, "last_seq": 1}
                connection.execute(insert(value_month).values(**key, **month))
                measure = {"milli": 9_000, "n": 100, "sd_milli": 3_000, "unit": "m", "currency": "", "loss": ""}
                who = {"source": "", "by": "a", "at": made, "last_seq": 1}
                connection.execute(insert(value_measure).values(**key, metric="level", **measure, **who))


def timed(do: Callable[[], object]) -> float:
    """Return how many seconds it takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def tell(what: str, found: float, budget: float, unit: str) -> None:
    """Print a figure beside its budget."""
    print(f"{what:<58} {found:9.2f} {unit:<3} budget {budget:7.1f}   {'reached' if found <= budget else 'MISSED'}")


if __name__ == "__main__":
    main()
