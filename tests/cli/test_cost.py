from __future__ import annotations

import csv
import io
import time
from typing import TYPE_CHECKING

from tests.cli.conftest import FIRST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import House, Live

PRICES = """kind: prices
currency: USD
prices:
  - {{model: house-llm, upstream: "https://llm.example.com", input: "2.50", output: "10.00", from: {day}, contract: C7}}
"""


def counted(house: House) -> None:
    """Wait until the calls of the first use case are added up."""
    for _ in range(200):
        if house.json("victor.lam", "cost")["costs"]:
            return
        time.sleep(0.05)
    raise AssertionError("nothing was added up")


def test_cost_is_shown_by_use_case_with_a_total(live: Live) -> None:
    counted(live.house)
    shown = live.house.run("victor.lam", "cost")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0].split()[:3] == ["use", "case", "US"]
    assert lines[1].startswith(FIRST)
    assert lines[-1].startswith("total")


def test_cost_is_shown_by_team_and_as_json(live: Live) -> None:
    counted(live.house)
    told = live.house.json("leo.fischer", "cost", "--by", "team")
    assert [c["name"] for c in told["costs"]] == ["people"]


def test_cost_is_a_table_for_a_spreadsheet(live: Live) -> None:
    counted(live.house)
    shown = live.house.run("victor.lam", "cost", "--by", "model", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(shown.out)))
    assert [r["model"] for r in rows] == ["bedplate-extractive-1"]
    assert rows[0]["unpriced_calls"] == "0"


def test_no_calls_are_said_to_be_none(live: Live) -> None:
    shown = live.house.run("victor.lam", "cost", "--since", "2020-01-01", "--until", "2020-01-02")
    assert (shown.code, shown.out) == (0, "")
    assert "No calls from 2020-01-01 to 2020-01-02" in shown.err


def test_a_day_that_is_none_is_an_error(live: Live) -> None:
    assert live.house.run("victor.lam", "cost", "--since", "2020-02-30").code == 3
    assert live.house.run("victor.lam", "cost", "--by", "colour").code == 2


def test_budgets_are_shown_with_what_is_left(live: Live) -> None:
    shown = live.house.run("leo.fischer", "cost", "budgets")
    assert shown.code == 0
    assert f"{FIRST}" in shown.out
    assert "calls a day" in shown.out
    assert {b["state"] for b in live.house.json("leo.fischer", "cost", "budgets")["budgets"]} == {"ok"}


def test_a_forecast_says_when_it_is_too_early(live: Live) -> None:
    counted(live.house)
    assert "too early to say" in live.house.run("leo.fischer", "cost", "forecast").out


def test_prices_are_planned_and_applied_as_other_files_are(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES.format(day=live.house.json("victor.lam", "cost")["until"]))
    planned = live.house.run("priya.raman", "plan", file)
    assert planned.code == 4
    assert "+ house-llm at https://llm.example.com" in planned.out
    assert live.house.run("leo.fischer", "apply", file).code == 5
    assert live.house.run("priya.raman", "apply", file).code == 0
    assert live.house.run("priya.raman", "plan", file).code == 0
    assert "in force already" in live.house.run("priya.raman", "apply", file).out
    assert "agreed: house-llm" in live.house.run("leo.fischer", "cost", "prices").out
    file.write_text(file.read_text().replace("2.50", "2.49"))
    assert "refused:" in live.house.run("priya.raman", "plan", file).out
    wrong = live.house.run("priya.raman", "apply", file)
    assert wrong.code == 5
    assert "prices-forward" in wrong.err


def test_a_wrong_file_of_prices_names_its_line(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES.format(day="2030-01-01").replace('"2.50"', "2.50"))
    wrong = live.house.run("priya.raman", "apply", file)
    assert wrong.code == 3
    assert f"{file}:4:" in wrong.err
    assert "in quotes" in wrong.err


def test_the_doctor_adds_up_usage_anew(live: Live) -> None:
    counted(live.house)
    told = live.house.json("victor.lam", "doctor", "--full", "--data", live.house.data)
    assert {c["name"]: c["ok"] for c in told["checks"]}["usage"]
