"""`bedplate evals`, command by command, against a server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from tests.cli.conftest import EXAMPLE, FIRST, run

if TYPE_CHECKING:
    from tests.cli.conftest import Live

DATA = Path(__file__).parents[1] / "models" / "data"
BOOK = f"handbook={EXAMPLE / 'handbook'}"


@pytest.fixture(scope="session")
def trial(live: Live) -> str:
    """A run of the example, not released; returns its results."""
    made = live.house.run("leo.fischer", "evals", "run", EXAMPLE / FIRST, "--source", BOOK, "-o", "json")
    assert (made.code, made.data["passes"]) == (0, True)
    return str(made.data["results"])


def test_a_run_without_a_release_is_on_record_and_proves_nothing(live: Live, trial: str) -> None:
    listed = live.house.json("victor.lam", "evals", "list", FIRST)["evals"]
    assert next(x for x in listed if x["results"] == trial)["purpose"] == "trial"
    assert [x["purpose"] for x in live.house.json("victor.lam", "evals", "list", FIRST, "--purpose", "evals")["evals"]]
    newest = live.house.json("victor.lam", "gate", FIRST)["gate"]
    assert trial[:12] not in next(x["summary"] for x in newest if x["control"] == "evals-passed")


def test_a_run_is_shown_with_the_record_of_every_call(live: Live, trial: str) -> None:
    shown = live.house.json("victor.lam", "evals", "show", FIRST, trial[:10])
    assert (shown["passed"], shown["total"], shown["lower_permille"]) == (26, 26, 871)
    sample = next(x for x in shown["samples"] if x["case"] == "pay-day")
    assert live.house.json("victor.lam", "call", sample["call"])["call"]["route"] == "evaluation"
    assert "87.1 % to 100.0 %" in live.house.run("victor.lam", "evals", "show", FIRST, trial).out
    assert live.house.run("victor.lam", "evals", "show", FIRST, "0000").code == 3


def test_a_worse_trial_is_named_case_by_case(live: Live, tmp_path: Path) -> None:
    folder = tmp_path / FIRST
    shutil.copytree(EXAMPLE / FIRST, folder)
    prompt = folder / "use-case.yaml"
    prompt.write_text(prompt.read_text().replace("  top: 4", "  top: 1"))
    made = live.house.run("leo.fischer", "evals", "run", folder, "--source", BOOK)
    assert "against the live release: 26 cases in common" in made.out
    found = live.house.json("leo.fischer", "evals", "list", FIRST)["evals"][0]["results"]
    told = live.house.run("leo.fischer", "evals", "compare", FIRST, found)
    assert "26 cases in common" in told.out
    assert told.code in {0, 5}


def test_junit_is_for_pipelines(live: Live, tmp_path: Path) -> None:
    folder = tmp_path / FIRST
    shutil.copytree(EXAMPLE / FIRST, folder)
    suite = (folder / "evals.yaml").read_text().replace('"28 days"', '"92 <days>"')
    (folder / "evals.yaml").write_text(suite)
    made = live.house.run("leo.fischer", "evals", "run", folder, "--source", BOOK, "--red-team", "-o", "junit")
    suites = ET.fromstring(made.out)  # noqa: S314  our own
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in suites] == [
        (FIRST, "26", "1"),
        ("red team", "64", "0"),
    ]
    assert "92 <days>" in str(suites[0].find("testcase/failure").get("message"))  # type: ignore[union-attr]  # it is there


def test_what_another_tool_found_is_brought_in(live: Live, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuite><testcase name="a"/><testcase name="b"><failure message="no"/></testcase></testsuite>'
    )
    made = live.house.run("leo.fischer", "evals", "import", FIRST, report, "--pass-percent", "90")
    assert made.code == 5
    assert "failed b: no" in made.out
    assert live.house.json("leo.fischer", "evals", "list", FIRST, "--purpose", "import")["evals"][0]["total"] == 2


def test_nobody_brings_in_what_a_machine_of_ours_shows(live: Live, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuite><testcase name="a"/></testsuite>')
    denied = live.house.run("priya.raman", "evals", "import", FIRST, report, "--control", "evals-passed")
    assert denied.code == 5
    assert "not asserted" in denied.err
    taken = live.house.run(
        "priya.raman", "evals", "import", FIRST, report, "--control", "red-teamed", "--pass-percent", "20"
    )
    assert taken.code == 0
    assert "proven" in taken.out


def test_inspect_that_is_not_installed_is_said(live: Live) -> None:
    told = live.house.run("leo.fischer", "evals", "inspect", "tasks.py")
    assert told.code == 3
    assert "bedplate[evals]" in told.err


def test_a_dataset_of_pydantic_evals_becomes_a_suite(tmp_path: Path) -> None:
    dataset = tmp_path / "d.yaml"
    dataset.write_text("cases:\n- name: Days\n  inputs: How many?\n  evaluators:\n  - Contains: 28 days\n")
    made = run("evals", "convert", dataset)
    assert (made.code, "id: days" in made.out) == (0, True)
    suite = tmp_path / "evals.yaml"
    suite.write_text(made.out)
    back = run("evals", "convert", suite, "--to", "pydantic-evals")
    assert "not said by the dataset: days: regex" in back.err


def test_a_file_that_is_not_there_is_said(live: Live) -> None:
    told = live.house.run("leo.fischer", "evals", "import", FIRST, DATA / "gone.json")
    assert told.code == 3
    assert "there is no file" in told.err
