"""The cost page, and money on a use case's page, as HTML."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from bedplate.console.spending import MOST_LAYERS, OTHERS, bar, layers, month
from bedplate.gateway.cost import BudgetLine
from bedplate.gateway.forecast import Forecast
from bedplate.gateway.limit import Limits
from bedplate.gateway.usage import day_of
from bedplate.people.actions import invite

from .conftest import NAME

if TYPE_CHECKING:
    from .conftest import House
    from .spent import Spent

DOLLAR = 1_000_000_000
TODAY = day_of("2026-11-23")


@pytest.fixture
def house(spent: Spent) -> House:  # the one in which money was spent
    return spent.house


def columns(page: str, kind: str) -> dict[str, Any]:
    found = re.search(rf'data-kind="{kind}" data-columns="([^"]*)"', page)
    assert found is not None
    return dict(json.loads(html.unescape(found[1])))


def section(page: str, name: str) -> str:
    found = re.search(rf'role="group" aria-label="{name}">.*?</table>', page, re.DOTALL)
    assert found is not None, name
    return found[0]


def test_costs_are_shown_by_anything_and_to_the_same_total(house: House, spent: Spent) -> None:
    totals = set()
    for by in ("use-case", "team", "model", "day", "release", "key"):
        page = house.page(f"/cost?by={by}&{spent.span}", "victor.lam")
        rows = section(page, f"Cost by {by.replace('-', ' ')}")
        totals.add(re.search(r"Together</th><td class=\"num\">(.*?)</td>", rows)[1])  # type: ignore[index]  # there is one
    assert len(totals) == 1


def test_what_has_no_price_is_said_to_have_none(house: House, spent: Spent) -> None:
    page = house.page(f"/cost?{spent.span}", "victor.lam")
    assert re.search(r"travel-desk\">Travel desk</a></th><td class=\"num\"><span class=\"tag t-warn\">not priced", page)
    assert "they are not free" in page


def test_the_chart_says_what_its_table_says(house: House, spent: Spent) -> None:
    page = house.page(f"/cost?stack=use-case&{spent.span}", "victor.lam")
    drawn = columns(page, "days")
    assert drawn["names"][0] == "HR policy assistant"
    rows = section(page, "Cost a day")
    assert rows.count("<tr>") == len(drawn["t"]) + 1
    exact = re.findall(r'title="US\$ ([0-9.]+)"', rows)
    newest = [float(text) for text in exact[: len(drawn["names"])]]
    assert newest == pytest.approx([values[-1] for values in drawn["values"]])


def test_the_month_is_drawn_with_where_it_leads(house: House) -> None:
    page = house.page("/cost", "victor.lam")
    drawn = columns(page, "month")
    assert drawn["so_far"][0] is not None
    assert "80 %: " in page
    assert "US dollars" in page


def test_a_team_sees_what_its_own_use_cases_cost(house: House, spent: Spent) -> None:
    claims = house.page(f"/cost?by=team&{spent.span}", "daniel.moreau")
    assert "Claims</th>" in section(claims, "Cost by team")
    assert "People Team" not in section(claims, "Cost by team")
    assert "HR policy assistant" not in claims
    assert house.send("GET", f"/cost?use_case={NAME}", "daniel.moreau").status == 422
    told = house.send("GET", f"/cost.csv?{spent.span}", "daniel.moreau").data.decode()
    assert NAME not in told
    assert "claims-desk" in told


def test_who_may_not_see_cost_is_told_why_and_whom_to_ask(house: House) -> None:
    code = invite(house.at.governor, "operator", "no.seat", "No Seat").text
    answer = house.send("POST", "/sign-in", "", {"code": code})
    house.sessions["no.seat"] = answer.headers["set-cookie"].split("=", 1)[1].split(";")[0]
    for path in ("/cost", "/cost.csv"):
        refused = house.send("GET", path, "no.seat")
        assert refused.status == 403
        assert "gateway:cost:read" in refused.data.decode()
        assert "Mara Quinn" in refused.data.decode()
    assert "your seats do not see what calls cost" in house.page(f"/use-cases/{NAME}", "no.seat")


def test_limits_show_what_is_used_where_it_warns_and_when_it_is_used_up(house: House) -> None:
    rows = section(house.page("/cost", "victor.lam"), "Budgets").split("<tr>")
    calls = next(r for r in rows if "calls a day" in r)
    assert "warning" in calls
    assert "% used, it warns from 81 %" in calls
    dollars = next(r for r in rows if "US dollars a month" in r)
    assert "expected by the end of the month" in dollars
    assert re.search(r'<span class="(warned|bad)">\d{4}-\d\d-\d\d</span>|not this month', dollars)


def test_the_table_for_spreadsheets_is_that_of_the_api(house: House, spent: Spent) -> None:
    answer = house.send("GET", f"/cost.csv?{spent.span}", "victor.lam")
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.data.decode())))
    assert {r["team"] for r in rows} == {"people", "claims", ""}
    assert f"/cost.csv?{html.escape(spent.span)}" in house.page(f"/cost?{spent.span}", "victor.lam")


def test_open_cost_incidents_and_prices_are_on_the_page(house: House) -> None:
    page = house.page("/cost", "victor.lam")
    assert "far more than usual today: cost $61.00" in page
    assert "unanswered: " not in page
    agreed = section(page, "Agreed prices")
    assert "in force" in agreed
    assert "to come" in agreed
    assert "agreed &lt;b&gt;ahead&lt;/b&gt;" in agreed
    assert "line 1" in section(page, "Prices of live releases")


@pytest.mark.parametrize(
    "wrong", ["since=yesterday", "until=2026-13-01", "since=2026-02-02&until=2026-01-01", "since=0001-01-01"]
)
def test_days_that_cannot_be_are_refused(house: House, wrong: str) -> None:
    assert house.send("GET", f"/cost?{wrong}").status == 422


def test_without_use_there_is_nothing_to_draw_and_it_is_said(house: House) -> None:
    page = house.page("/cost?since=2020-01-01&until=2020-01-31&by=nonsense&page=9")
    assert "No call is on record in these days." in page
    assert "Nothing that has a price was used" in page


def test_the_use_case_page_shows_cost_evaluation_and_prompts(house: House) -> None:
    page = house.page(f"/use-cases/{NAME}")
    tiles = page[page.index("Cost today") : page.index("Whose it is")]
    assert "$5.00</span> a day" in tiles
    assert "26 of 26" in tiles
    assert "greeting</a> version 2" in tiles
    assert "Cost today" not in house.page("/use-cases/rota-helper")


def test_layers_keep_every_dollar_and_draw_the_rest_as_one() -> None:
    series = {f"usecase/{n}": {TODAY: (1, 10, (n + 1) * DOLLAR)} for n in range(MOST_LAYERS + 3)}
    found = layers(series, TODAY - 2, TODAY, lambda name: name)
    assert found.names[0] == f"usecase/{MOST_LAYERS + 2}"
    assert found.names[-1] == OTHERS
    assert len(found.names) == MOST_LAYERS + 1
    assert found.total == sum(range(1, MOST_LAYERS + 4)) * DOLLAR
    assert found.rows[0][0] == "2026-11-23"
    assert [whole for _, _, whole in found.rows] == [found.total, 0, 0]


def test_a_month_adds_up_and_without_a_forecast_ends_today() -> None:
    series = {"usecase/a": {TODAY: (1, 1, 2 * DOLLAR), TODAY - 1: (1, 1, DOLLAR), TODAY - 40: (1, 1, DOLLAR)}}
    found = month(series, TODAY, Forecast(3 * DOLLAR, 3 * DOLLAR, 3 * DOLLAR, 3 * DOLLAR, 1))
    assert found.rows[0] == ("2026-11-23", 2 * DOLLAR, 3 * DOLLAR)
    assert sum(cost for _, cost, _ in found.rows) == 3 * DOLLAR
    assert len(found.drawn()["t"]) == 23
    led = month(series, TODAY, Forecast(3 * DOLLAR, 9 * DOLLAR, 8 * DOLLAR, 10 * DOLLAR, 20)).drawn()
    assert len(led["t"]) == len(led["so_far"]) == len(led["low"]) == 30
    assert led["expected"][-1] == 9


@pytest.mark.parametrize(
    ("used", "state"), [(0, "ok"), (79, "ok"), (80, "warn"), (99, "warn"), (100, "over"), (250, "over")]
)
def test_a_bar_says_how_a_limit_stands_and_stays_in_its_picture(used: int, state: str) -> None:
    led = Forecast(used, used + 900, used + 500, used + 5000, 20)
    line = BudgetLine("usecase/a", "calls_per_month", used, 3, 100, led, "")
    found = bar(line, Limits(warn_percent=80))
    assert found.state == state
    assert 0 <= found.settled <= found.used <= 200
    assert found.low <= found.expected <= found.high <= 200
    assert found.warns < found.most <= 200
