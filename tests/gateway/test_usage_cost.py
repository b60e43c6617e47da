"""What calls cost, by anything; what teams owe; and how budgets stand."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from bedplate.gateway.budget import Limits, Spent
from bedplate.gateway.cost import (
    BY,
    COLUMNS,
    MONEY,
    anomalies,
    budget_lines,
    columns_of,
    costs,
    csv_text,
    exact,
    forecasts,
    showback,
    together,
    total,
)
from bedplate.gateway.forecast import Forecast
from bedplate.gateway.tables import usage
from bedplate.gateway.usage import COUNTS, day_of

if TYPE_CHECKING:
    from tests.conftest import House

TODAY = day_of("2026-11-15")
HR = "usecase/hr-policy-assistant"
DOLLAR = 1_000_000_000


def use(house: House, day: int = TODAY, subject: str = HR, **values: Any) -> None:
    """Put a line of usage there, as adding up the journal would."""
    names = {"release": "r1", "model": "gpt-4o-mini", "key": "key/a", "dialect": "chat", "route": "live"}
    row = {"shard": "shard-0", "day": day, "subject": subject, **names, **dict.fromkeys(COUNTS, 0), **values}
    with house.engine.connect() as connection, connection.begin():
        connection.execute(insert(usage).values(row))


@pytest.fixture
def used(house: House) -> House:
    house.propose()
    use(house, calls=2, tokens_in=100, tokens_out=10, cost_nano=3 * DOLLAR)
    use(house, key="key/b", calls=1, cost_nano=DOLLAR, refused=4)
    use(house, TODAY - 1, model="other", release="r2", calls=5, unpriced=5, tokens_in=1_000)
    use(house, TODAY - 40, calls=1, cost_nano=100 * DOLLAR)
    use(house, subject="usecase/gone", calls=1, cost_nano=2 * DOLLAR)
    return house


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("use-case", [HR, "usecase/gone"]),
        ("team", ["people", ""]),
        ("model", ["gpt-4o-mini", "other"]),
        ("release", ["r1", "r2"]),
        ("key", ["key/a", "key/b"]),
        ("day", ["2026-11-14", "2026-11-15"]),
        ("route", ["live"]),
        ("dialect", ["chat"]),
    ],
)
def test_costs_are_added_up_by_anything_and_always_to_the_same_total(used: House, by: str, names: list[str]) -> None:
    found = costs(used.engine, by, TODAY - 1, TODAY)
    assert [c.name for c in found] == names
    whole = total(found)
    assert (whole.calls, whole.cost_nano, whole.unpriced, whole.refused) == (9, 6 * DOLLAR, 5, 4)
    assert by in BY


def test_costs_of_one_use_case_and_of_some_domains_only(used: House) -> None:
    assert total(costs(used.engine, "day", TODAY, TODAY, subject="usecase/gone")).cost_nano == 2 * DOLLAR
    assert [c.name for c in costs(used.engine, "use-case", TODAY, TODAY, domains={"people"})] == [HR]
    assert costs(used.engine, "use-case", TODAY, TODAY, domains={"claims"}) == []


def test_what_has_no_price_is_counted_beside_the_sum(used: House) -> None:
    (other,) = [c for c in costs(used.engine, "model", TODAY - 1, TODAY) if c.name == "other"]
    assert (other.cost_nano, other.unpriced, other.plain()["cost_usd"]) == (0, 5, "0.000000000")


def test_dollars_are_exact_to_the_last_digit() -> None:
    assert (exact(1), exact(1_234_567_890_123)) == ("0.000000001", "1234.567890123")


def test_the_showback_table_has_a_row_for_each_team_use_case_and_model(used: House) -> None:
    found = showback(used.engine, TODAY - 1, TODAY)
    assert [(r["team"], r["use_case"], r["model"], r["cost_usd"]) for r in found] == [
        ("", "gone", "gpt-4o-mini", "2.000000000"),
        ("people", "hr-policy-assistant", "gpt-4o-mini", "4.000000000"),
        ("people", "hr-policy-assistant", "other", "0.000000000"),
    ]
    read = list(csv.DictReader(io.StringIO(csv_text(found))))
    assert tuple(read[0]) == (*COLUMNS, *MONEY)
    assert read[2]["unpriced_calls"] == "5"
    assert showback(used.engine, TODAY, TODAY, {"claims"}) == []


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_a_spreadsheet_runs_nothing_from_a_table(first: str) -> None:
    name = first + 'HYPERLINK("http://x";"y")'
    (row,) = list(csv.reader(io.StringIO(csv_text([{"model": name, "calls": 1}], ("model", "calls")))))[1:]
    assert row == ["'" + name, "1"]


def test_a_table_by_one_dimension_names_it(used: House) -> None:
    found = [c.row("use-case") for c in costs(used.engine, "use-case", TODAY, TODAY)]
    assert csv_text(found, columns_of("use-case")).startswith("use_case,calls,refused,")


def test_forecasts_of_use_cases_add_up(house: House) -> None:
    for day in range(TODAY - 20, TODAY):
        use(house, day, calls=1, cost_nano=DOLLAR)
        use(house, day, "usecase/other", calls=1, cost_nano=2 * DOLLAR)
    found = forecasts(house.engine, TODAY)
    assert {s: f.expected for s, f in found.items()} == {HR: 30 * DOLLAR, "usecase/other": 60 * DOLLAR}
    assert together(list(found.values())).expected == 90 * DOLLAR
    assert together([Forecast(0, 10, 7, 13, 9), Forecast(0, 10, 6, 14, 9)]).high == 25
    assert together([]) == Forecast(0, 0, 0, 0, 0)


def test_budget_lines_say_what_is_left_and_until_when(house: House) -> None:
    for day in range(TODAY - 20, TODAY):
        use(house, day, calls=10, cost_nano=DOLLAR)
        use(house, day, calls=10, cost_nano=9 * DOLLAR, route="evaluation")
    limits = {HR: Limits(calls_per_day=100, nano_per_month=20 * DOLLAR)}
    spent = Spent(TODAY, 0, 30, 0, DOLLAR, 170, 0, 15 * DOLLAR)
    daily, monthly = budget_lines(house.engine, limits, lambda _: spent, lambda _: (50, 7), TODAY)
    assert (daily.limit, daily.used, daily.reserved, daily.most, daily.forecast) == ("calls_per_day", 30, 0, 100, None)
    assert (monthly.limit, monthly.used, monthly.reserved, monthly.most) == (
        "nano_per_month",
        15 * DOLLAR,
        7,
        20 * DOLLAR,
    )
    assert monthly.forecast is not None
    assert monthly.forecast.expected == 30 * DOLLAR, "what budgets do not count is not forecast"
    assert monthly.exhausted == "2026-11-20"
    assert daily.exhausted == ""


def test_a_limit_that_is_used_up_is_so_today(house: House) -> None:
    (line,) = budget_lines(
        house.engine, {HR: Limits(calls_per_day=5)}, lambda _: Spent(calls=5), lambda _: (0, 0), TODAY
    )
    assert line.exhausted == "2026-11-15"


def test_anomalies_are_found_by_cost_and_by_tokens(house: House) -> None:
    for day in range(TODAY - 28, TODAY):
        use(house, day, calls=1, cost_nano=5 * DOLLAR, tokens_in=500_000)
        use(house, day, "usecase/calm", calls=1, cost_nano=5 * DOLLAR, tokens_in=500_000)
    use(house, calls=1, cost_nano=50 * DOLLAR, tokens_in=500_000)
    use(house, TODAY, "usecase/calm", calls=1, cost_nano=5 * DOLLAR, tokens_in=600_000)
    found = anomalies(house.engine, TODAY)
    assert {subject: [a.measure for a in seen] for subject, seen in found.items()} == {HR: ["cost"]}
