"""Value on the command line: recorded, refused with reasons, shown, and printed."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import FIRST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import House, Live

MONTH = "2026-01"
MONEY = "\nmoney: {currency: EUR, per_usd_permille: 920}\n"


@pytest.fixture
def rich(live: Live) -> House:
    """The house of the first use case, which counts in euros."""
    house = live.house
    text = live.model.read_text()
    if MONEY not in text:
        assert house.run("leo.fischer", "value", "record", FIRST, "--period", MONTH, "--value", "9").code == 3
        live.model.write_text(text + MONEY)
        assert house.run("priya.raman", "apply", live.model).code == 6
        assert house.run("ruth.adeyemi", "approve", house.newest_approval()).code == 0
    return house


def test_a_level_and_a_cost_are_recorded_and_shown(rich: House) -> None:
    told = rich.run(
        "leo.fischer", "value", "record", FIRST, "--period", MONTH, "--value", "9.5", "--n", "80", "--sd", "2"
    )
    assert (told.code, told.out) == (0, "1 recorded, 0 changed, 0 on record as they are\n")
    again = rich.run("leo.fischer", "value", "cost", FIRST, "--kind", "people", "--period", MONTH, "--cents", "120050")
    assert again.out.startswith("1 recorded")
    shown = rich.run("victor.lam", "value", "show", FIRST).out
    row = next(line for line in shown.splitlines() if line.startswith(MONTH))
    assert row.split() == [MONTH, "0", "700", "675", "…", "725", "measured", "1,200"]
    told = rich.run("victor.lam", "value")
    assert told.out.splitlines()[-1].split()[0] == "together"
    table = list(csv.DictReader(io.StringIO(rich.run("victor.lam", "value", "-o", "csv").out)))
    assert [(r["use_case"], r["people_cents"]) for r in table] == [(FIRST, "120050")]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--value", "1", "--metric", "benefit", "--currency", "USD"), "counts in EUR (money.currency)"),
        (("--value", "-1", "--metric", "benefit"), "that is a loss"),
        (("--value", "1", "--unit", "hours"), "the hypothesis counts"),
        (("--value", "many"), "is not a number"),
    ],
)
def test_what_is_wrong_is_said_and_how_to_mend_it(rich: House, arguments: tuple[str, ...], why: str) -> None:
    told = rich.run("leo.fischer", "value", "record", FIRST, "--period", MONTH, *arguments)
    assert told.code == 3
    assert why in told.err


def test_a_file_is_brought_in_whole_or_its_wrong_rows_are_told(rich: House, tmp_path: Path) -> None:
    head = "use_case,metric,period,value,n,sd,unit,currency\n"
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(f"{head}{FIRST},count,2026-02,40,,,,\n")
    bad.write_text(good.read_text() + "nobody,count,2026-02,40,,,,\n" * 30)
    refused = rich.run("leo.fischer", "value", "import", bad)
    assert refused.code == 3
    assert "bad.csv:3:1 use_case: no use case nobody was accepted" in refused.err
    assert "10 more rows are wrong, 30 in all" in refused.err
    assert rich.run("leo.fischer", "value", "import", good).out.startswith("1 recorded")
    assert rich.run("leo.fischer", "value", "import", good).out.startswith("0 recorded, 0 changed, 1 on record")
    good.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in rich.run("leo.fischer", "value", "import", good).err
    assert rich.run("leo.fischer", "value", "import", tmp_path / "none.csv").code == 3


def test_pages_are_written_and_nothing_is_overwritten(rich: House, tmp_path: Path) -> None:
    for arguments in (("value", "report"), ("board", "pack")):
        file = tmp_path / f"{arguments[0]}.pdf"
        assert rich.run("victor.lam", *arguments, "-o", file).code == 0
        assert file.read_bytes().startswith(b"%PDF-")
        assert "is not overwritten" in rich.run("victor.lam", *arguments, "-o", file).err
    assert rich.run("victor.lam", "board", "pack").code == 3
    assert "live" in rich.run("victor.lam", "board").out


def test_nothing_is_renewed_that_did_not_fall_short(rich: House) -> None:
    told = rich.run("leo.fischer", "value", "renew", FIRST, "--reason", "it goes well")
    assert told.code == 3
    assert "there is nothing to renew" in told.err
