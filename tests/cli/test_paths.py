"""A path from its publication to a sibling that is live without a vote, its upgrade, and its end."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import EXAMPLE, FIRST, Live, Result, first_live, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DECLARED = EXAMPLE / "paths" / f"{FIRST}.yaml"
SIBLING = "benefits-assistant"
PURPOSE = "purpose=Answers employees' questions about pension, cars and insurance, with citations."
CASES = EXAMPLE / "benefits-assistant" / "evals-own.yaml"


@dataclass(frozen=True)
class Grown:
    """A published path and the sibling that was made from it."""

    live: Live
    folder: Path
    asked: Result
    made: Result
    released: Result

    def run(self, person: str, *arguments: str | Path) -> Result:
        return self.live.house.run(person, *arguments)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    """Grow a path and a sibling in a house of its own: what is withdrawn here would be missed elsewhere."""
    for house in served(tmp_path_factory.mktemp("house")):
        yield _grown(first_live(house), tmp_path_factory.mktemp("path") / SIBLING)


def _grown(live: Live, folder: Path) -> Grown:
    house = live.house
    asked = house.run("mara.quinn", "path", "publish", FIRST, "--declaration", DECLARED, "-o", "json")
    for person in ("jonas.weber", "hanna.osei"):
        assert house.run(person, "approve", asked.data["approval"]).code == 0
    made = house.run("leo.fischer", "new", SIBLING, "--from", FIRST, "--set", PURPOSE, "--folder", folder)
    shutil.copytree(EXAMPLE / "handbook-supplement", folder / "handbook")
    with (folder / "evals.yaml").open("a") as evals:
        evals.write(CASES.read_text())
    return Grown(live, folder, asked, made, house.run("leo.fischer", "release", folder))


def test_publishing_asks_the_bodies_of_the_envelope(grown: Grown) -> None:
    assert grown.asked.code == 6
    asked = grown.live.house.json("victor.lam", "approvals", grown.asked.data["approval"])["approval"]
    assert {s["body"] for s in asked["stages"]} == {"coe", "domain"}
    assert "need no new vote" in asked["summary"]


def test_a_sibling_inside_the_envelope_goes_live_without_a_vote(grown: Grown) -> None:
    assert grown.made.code == 0, grown.made.err
    assert "inside the path's envelope no vote is owed" in grown.made.out
    assert grown.released.code == 0, grown.released.out + grown.released.err
    owed = grown.run("leo.fischer", "path", "owed", SIBLING)
    assert (owed.code, owed.out.count("no vote")) == (0, 2), owed.out
    shown = grown.live.house.json("victor.lam", "path", "show", FIRST)
    (sibling,) = shown["siblings"]
    assert (sibling["version"], sibling["deviations"], sibling["stage"]) == (1, [], "live")
    assert 0 < sibling["written"] < shown["siblings"][0]["lines"] // 2


def test_what_leaves_the_envelope_is_asked_for_with_the_reason(grown: Grown, tmp_path: Path) -> None:
    folder = _copied(grown, tmp_path)
    spec = folder / "use-case.yaml"
    spec.write_text(spec.read_text().replace("calls_per_day: 5000", "calls_per_day: 9000"))
    (folder / "prompts" / "system.md").write_text("Say what you like.\n")
    owed = grown.run("leo.fischer", "path", "owed", "--folder", folder)
    assert owed.code == 5
    assert "deviates: calls_per_day is 9000, agreed up to 5000" in owed.out
    assert "deviates: prompts/system.md is not the path's" in owed.out
    assert "release: 1 of domain (ownership) must agree" in owed.out
    asked = grown.run("leo.fischer", "release", folder)
    assert asked.code in {5, 6}


def test_a_new_version_comes_as_a_diff_or_as_a_conflict(grown: Grown, tmp_path: Path) -> None:
    live, mine = grown.live, _copied(grown, tmp_path)
    first = tmp_path / "first"
    shutil.copytree(EXAMPLE / FIRST, first)
    (first / "runbook.md").write_text((first / "runbook.md").read_text() + "\n7. Tell the owner within an hour.\n")
    source = f"handbook={EXAMPLE / 'handbook'}"
    waits = live.house.run("leo.fischer", "release", first, "--source", source, "-o", "json")
    assert live.house.run("hanna.osei", "approve", waits.data["approval"]).code == 0
    asked = live.house.run("mara.quinn", "path", "publish", FIRST, "--declaration", DECLARED, "-o", "json")
    for person in ("jonas.weber", "hanna.osei"):
        assert live.house.run(person, "approve", asked.data["approval"]).code == 0
    checked = grown.run("leo.fischer", "path", "upgrade", mine, "--check")
    assert checked.code == 4, checked.err
    assert "+7. Tell the owner within an hour." in checked.out
    assert "re-approval needed: no" in checked.out
    before = {f: f.read_text() for f in mine.rglob("*") if f.is_file()}
    assert grown.run("leo.fischer", "path", "upgrade", mine).code == 0
    assert "version: 2" in (mine / "use-case.yaml").read_text()
    assert grown.run("leo.fischer", "path", "upgrade", mine, "--check").code == 0
    for file, text in before.items():
        file.write_text(text)
    (mine / "runbook.md").write_text((mine / "runbook.md").read_text() + "\n7. Ask nobody.\n")
    refused = grown.run("leo.fischer", "path", "upgrade", mine)
    assert refused.code == 3
    assert "runbook.md:" in refused.err
    assert "version: 1" in (mine / "use-case.yaml").read_text()
    assert grown.run("leo.fischer", "path", "upgrade", mine, "--write-conflicts").code == 3
    assert "<<<<<<< yours" in (mine / "runbook.md").read_text()
    listed = live.house.run("victor.lam", "path", "list")
    assert "1 of 1" in listed.out


def test_a_withdrawn_path_ends_the_pre_approval(grown: Grown, tmp_path: Path) -> None:
    ended = grown.run("mara.quinn", "path", "withdraw", FIRST, "--reason", "found wanting", "-o", "json")
    assert ended.code == 0
    assert all("found wanting" in v["ended"] for v in ended.data["versions"])
    owed = grown.run("leo.fischer", "path", "owed", SIBLING)
    assert (owed.code, "was withdrawn: found wanting" in owed.out) == (5, True)
    folder = tmp_path / "late"
    late = grown.run("leo.fischer", "new", "late-one", "--from", FIRST, "--set", PURPOSE, "--folder", folder)
    assert late.code == 6
    assert "was withdrawn: found wanting" in late.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "colour=red"), "does not ask for colour"),
        (("--set", "colour"), "is no answer"),
        ((), "purpose is missing"),
        (("--set", PURPOSE, "--set", "per_month=many"), "per_month is a whole number"),
        (("--set", "purpose=a: b\nanswers: {}"), "needs an answer of one line"),
    ],
)
def test_a_wrong_answer_writes_nothing(grown: Grown, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    made = grown.run("leo.fischer", "new", "odd-one", "--from", FIRST, *arguments, "--folder", tmp_path / "odd")
    assert made.code == 3
    assert said in made.err
    assert not (tmp_path / "odd").exists()


def _copied(grown: Grown, tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    shutil.copytree(grown.folder, folder)
    return folder
