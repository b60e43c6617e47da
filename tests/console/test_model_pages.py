"""The operating model's pages, its blast radius and maturity, over the API, the console and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML
from tests.cli.conftest import run
from tests.console.conftest import EXAMPLE, NAME, House, serve

from bedplate.errors import InvalidInput, NeedsApproval
from bedplate.people.blank import blank_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STRICTER = (
    ("calls_per_day: 20000,", "calls_per_day: 2,"),
    ("live_use_cases: 3 ", "live_use_cases: 1 "),
    ("accept: [{body: domain, decides: ownership}]", "accept: [{body: coe, decides: technical}]"),
    ("review-current]", "review-current, stop-drilled]"),
    ("portfolio:usecase:propose: [domain.owner, domain.engineer]", "portfolio:usecase:propose: [domain.owner]"),
    ("personal-data: observe", "personal-data: block"),
)


def stricter() -> str:
    text = model()
    for old, new in STRICTER:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def model() -> str:
    return blank_model("Harbour Mutual", (EXAMPLE / "people.yaml").read_text())


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """A house of its own, where a stricter model waits for board and CoE."""
    for house in serve(tmp_path_factory.mktemp("changed")):
        with pytest.raises(NeedsApproval) as asked:
            house.client("priya.raman").apply("operating-model", "operating-model.yaml", stricter())
        yield house, asked.value.approval.removeprefix("approval/")


def cli(house: House, *arguments: str | Path, person: str = "priya.raman") -> tuple[int, str, str]:
    done = run(*arguments, BEDPLATE_URL=house.url, BEDPLATE_TOKEN=house.client(person).token, COLUMNS="200")
    return done.code, done.out, done.err


def test_whoever_votes_sees_what_it_changes_first(changed: tuple[House, str]) -> None:
    house, approval = changed
    page = house.page(f"/approvals/{approval}", "jonas.weber")
    assert "Blast radius" in page
    assert "would be refused at once" in page
    assert "within-budget" in page
    assert "stop-drilled" in page
    assert "portfolio:usecase:propose" in page
    whole = house.page(f"/approvals/{approval}/blast?days=7", "jonas.weber")
    assert "2 of 2 calls are used today" in whole
    assert f"/use-cases/{NAME}" in whole
    assert house.send("GET", f"/approvals/{house.waiting[0]}/blast").status == 422
    assert house.send("GET", f"/approvals/{approval}/blast?days=900").status == 422


def test_the_command_line_says_the_same_and_changes_nothing(changed: tuple[House, str], tmp_path: Path) -> None:
    house, _ = changed
    file = tmp_path / "operating-model.yaml"
    file.write_text(stricter())
    code, out, _ = cli(house, "plan", file)
    assert code == 4
    assert "calls of 30 days would be refused at once" in out
    assert "within-budget" in out
    assert "approvals do not stand" in out
    assert house.client("priya.raman").get("/api/model/versions")["versions"][0]["changes"][0]["path"] == "(everything)"
    code, out, said = cli(house, "plan", file, "--days", "0")
    assert (code, "calls of" in out) == (4, False), said


def test_the_model_in_force_can_be_read(changed: tuple[House, str]) -> None:
    house, approval = changed
    page = house.page("/model")
    assert f"/approvals/{approval}" in page
    assert "Founding" in page or "founding" in page
    assert "Jonas Weber" in page
    assert "kernel:approval:vote" in page


def test_maturity_links_to_what_it_was_counted_from(changed: tuple[House, str]) -> None:
    house, _ = changed
    told = house.client("leo.fischer").get("/api/maturity")
    points = {p["id"]: p for layer in told["layers"] for p in layer["points"]}
    assert (points["owned"]["state"], points["owned"]["links"]) == ("reached", [f"usecase/{NAME}"])
    assert points["separated"]["state"] == "reached"
    assert points["heard"]["state"] in {"not reached", "too early"}
    assert told["stage"]["stage"] == "steel-thread"
    assert told["steps"]
    page = house.page("/maturity")
    assert f'href="/use-cases/{NAME}"' in page
    assert told["steps"][0]["command"] in page


def test_a_stage_is_proposed_to_a_file_and_never_applied(changed: tuple[House, str], tmp_path: Path) -> None:
    house, _ = changed
    file = tmp_path / "operating-model.yaml"
    file.write_text(model())
    code, _, err = cli(house, "maturity", "plan", file)
    assert code == 3
    assert "bear out steel-thread" in err
    code, out, err = cli(house, "maturity", "plan", file, "--stage", "first-ten")
    assert code == 4, err
    written = tmp_path / "operating-model.first-ten.yaml"
    assert "delegations.tier-2-releases" in out
    assert YAML().load(written.read_text())["maturity"] == "first-ten"
    assert file.read_text() == model()
    code, _, err = cli(house, "maturity", "plan", file, "--stage", "first-ten")
    assert (code, "never overwritten" in err or "not overwritten" in err) == (3, True)
    code, out, _ = cli(house, "plan", written)
    assert (code, "maturity: steel-thread → first-ten" in out) == (4, True)
    with pytest.raises(InvalidInput, match="first-ten, and the records bear out steel-thread"):
        house.client("leo.fischer").post("/api/maturity/plan", {"name": "m", "text": written.read_text()})
    code, out, _ = cli(house, "maturity")
    assert (code, "worth most to do next" in out) == (0, True)
