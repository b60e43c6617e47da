from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.conftest import FIRST

if TYPE_CHECKING:
    from tests.cli.conftest import Live


def test_the_bodies_are_shown_with_who_votes(live: Live) -> None:
    told = live.house.run("leo.fischer", "people", "structures")
    assert told.code == 0
    assert "AI Risk Board" in told.out
    assert "hanna.osei" in told.out
    board = live.house.json("leo.fischer", "people", "structures")["structures"][0]
    assert (board["id"], board["voters"]) == ("board", ["ruth.adeyemi", "tomas.lindgren"])


def test_who_decides_is_derived_for_a_use_case(live: Live) -> None:
    lines = {x["action"]: x for x in live.house.json("leo.fischer", "people", "raci", FIRST)["raci"]}
    assert lines["releases.golive"]["accountable"] == ["hanna.osei"]
    assert live.house.run("leo.fischer", "people", "raci", "nothing").code == 3


def test_a_competence_that_nobody_declared_cannot_be_recorded(live: Live) -> None:
    house = live.house
    assert "declares no competences" in house.run("leo.fischer", "people", "competence").err
    refused = house.run("priya.raman", "people", "train", "hanna.osei", "ai-literacy", "--evidence", "course 4")
    assert refused.code == 5
    assert "declare it in `competences`" in refused.err
    late = house.run(
        "priya.raman", "people", "train", "hanna.osei", "ai-literacy", "--evidence", "x", "--on", "2027-02-30"
    )
    assert late.code == 3
    assert "write it like 2027-01-31" in late.err
