"""What calls cost, over the API: by anything, for whoever may see it, and under the prices in force."""

from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.served import HR, RIGHTS, ask

from bedplate.errors import Denied, InvalidInput
from bedplate.sdk import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour

PRICES = """kind: prices
currency: USD
prices:
  - {{model: "*", upstream: embedded, input: "2.50", output: "10.00", from: {day}, contract: house}}
"""


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh(), tick_ms="50") as server:
        yield served.harbour(server)
    assert "Traceback" not in server.said(), server.said()


@pytest.fixture(scope="module")
def counted(harbour: Harbour) -> dict[str, Any]:
    """Return the costs once the calls that were made to release the use cases are added up."""
    for _ in range(200):
        told = harbour.person("victor").get("/api/cost")
        if told["costs"]:
            return told
        time.sleep(0.05)
    raise AssertionError("nothing was added up")


def test_costs_are_told_for_this_month_by_use_case(counted: dict[str, Any]) -> None:
    assert {c["name"] for c in counted["costs"]} == {f"usecase/{HR}", f"usecase/{RIGHTS}"}
    assert counted["since"].endswith("-01")
    for name in ("calls", "tokens_in", "cost_nano"):
        assert sum(c[name] for c in counted["costs"]) == counted["total"][name]
    assert counted["total"]["calls"] > 0


@pytest.mark.parametrize("by", ["team", "model", "release", "key", "day", "route", "dialect"])
def test_by_whatever_it_is_added_up_the_total_is_the_same(harbour: Harbour, counted: dict[str, Any], by: str) -> None:
    told = harbour.person("victor").get("/api/cost", by=by)
    assert told["total"] == counted["total"]
    assert told["by"] == by


def test_a_domain_sees_its_own_use_cases_only(harbour: Harbour, counted: dict[str, Any]) -> None:
    assert harbour.person("leo").get("/api/cost")["total"] == counted["total"]
    theirs = harbour.person("daniel")
    for path in ("/api/cost", "/api/cost/budgets", "/api/cost/forecast"):
        assert HR not in str(theirs.get(path))
    assert len(theirs.text("/api/cost.csv").splitlines()) == 1


def test_somebody_without_a_seat_sees_no_cost(harbour: Harbour) -> None:
    code = harbour.person("priya").post("/api/invitations", {"person": "new.one", "name": "New"})["code"]
    stranger = Client(harbour.url)
    stranger.login(code=str(code))
    for path in ("/api/cost", "/api/cost/budgets", "/api/cost/forecast", "/api/cost.csv"):
        with pytest.raises(Denied, match="gateway:cost:read") as denied:
            stranger.get(path)
        assert denied.value.controls == ("authority",)


def test_a_call_is_told_with_its_cost_to_those_alone_who_may_read_it(harbour: Harbour) -> None:
    assert harbour.call(ask())[0] == 200
    code = harbour.person("priya").post("/api/invitations", {"person": "new.two", "name": "New"})["code"]
    stranger = Client(harbour.url)
    stranger.login(code=str(code))
    may = {"victor": harbour.person("victor"), "leo": harbour.person("leo")}
    may_not = {"of another domain": harbour.person("daniel"), "without a seat": stranger}

    for who, client in (may | may_not).items():
        listed = client.calls(use_case=HR, limit=1)[0]
        for told in (listed, client.call(listed["id"])):
            assert told["tokens_in"] >= 0
            assert ("cost_nano" in told) is (who in may), who


def test_the_showback_table_is_a_file_for_a_spreadsheet(harbour: Harbour, counted: dict[str, Any]) -> None:
    token = {"authorization": f"Bearer {harbour.token('victor')}"}
    status, headers, content = served.fetch(harbour.url, "/api/cost.csv", headers=token)
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert headers["content-disposition"].startswith('attachment; filename="bedplate-cost-')
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert {(r["team"], r["use_case"]) for r in rows} == {("people", HR), ("people", RIGHTS)}
    assert sum(int(r["calls"]) for r in rows) == counted["total"]["calls"]
    by_team = harbour.person("victor").text("/api/cost.csv", by="team").splitlines()
    assert by_team[0].startswith("team,calls,")
    assert len(by_team) == 2


@pytest.mark.parametrize(
    "query",
    [
        {"since": "yesterday"},
        {"since": "2026-13-01"},
        {"since": "2026-02-02", "until": "2026-02-01"},
        {"since": "1990-01-01"},
        {"by": "colour"},
        {"use_case": "../x"},
    ],
)
def test_a_question_that_cannot_be_read_is_refused(harbour: Harbour, query: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        harbour.person("victor").get("/api/cost", **query)


def test_budgets_count_a_call_at_once(harbour: Harbour) -> None:
    def used() -> int:
        lines = harbour.person("leo").get("/api/cost/budgets")["budgets"]
        found = {(line["subject"], line["limit"]): line for line in lines}
        return int(found[f"usecase/{HR}", "calls_per_day"]["used"])

    before = used()
    assert harbour.call(ask())[0] == 200
    assert used() == before + 1


def test_every_limit_says_the_most_and_how_it_stands(harbour: Harbour) -> None:
    lines = harbour.person("leo").get("/api/cost/budgets")["budgets"]
    assert {line["subject"] for line in lines} == {f"usecase/{HR}", f"usecase/{RIGHTS}"}
    assert {line["limit"] for line in lines} == {"calls_per_day", "tokens_per_day"}
    assert all(line["most"] > line["used"] and line["state"] == "ok" for line in lines)


def test_a_forecast_that_would_be_a_guess_is_not_made(harbour: Harbour, counted: dict[str, Any]) -> None:
    told = harbour.person("leo").get("/api/cost/forecast")
    assert counted
    assert [f["judged"] for f in told["use_cases"]] == [False, False]


def test_prices_are_planned_applied_and_in_force_at_once(harbour: Harbour) -> None:
    day = harbour.person("victor").get("/api/cost")["until"]
    text = PRICES.format(day=day)
    planned = harbour.person("leo").plan("prices", "prices.yaml", text)
    assert [c["change"] for c in planned["changes"]] == ["begins"]
    assert planned["refused"] == []
    with pytest.raises(Denied, match="gateway:price:set"):
        harbour.person("leo").apply("prices", "prices.yaml", text)
    assert harbour.person("priya").apply("prices", "prices.yaml", text)["lines"] == 1
    told = harbour.person("leo").get("/api/prices")
    assert {live["price"].split("/")[0] for live in told["live"]} == {"contract"}
    assert [line["contract"] for line in told["prices"]] == ["house"]
    with pytest.raises(InvalidInput, match="in force already"):
        harbour.person("priya").apply("prices", "prices.yaml", text)
    with pytest.raises(Denied, match="was in force at another price"):
        harbour.person("priya").apply("prices", "prices.yaml", text.replace("2.50", "2.49"))
    asked = harbour.person("leo").plan("prices", "prices.yaml", text.replace("2.50", "2.49"))
    assert "another price" in asked["refused"][0]


def test_what_overlaps_names_both_lines(harbour: Harbour) -> None:
    text = PRICES.format(day="2030-01-01")
    with pytest.raises(InvalidInput, match=r"prices\.yaml:5:.*overlaps line 4"):
        harbour.person("priya").apply("prices", "prices.yaml", text + text.splitlines()[-1] + "\n")
