"""`bedplate prompts`: what is printed of versions, differences and aliases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.conftest import EXAMPLE, FIRST

if TYPE_CHECKING:
    from tests.cli.conftest import Live

SYSTEM = (EXAMPLE / FIRST / "prompts" / "system.md").read_text()


def test_versions_are_listed(live: Live) -> None:
    shown = live.house.run("leo.fischer", "prompts", "list", FIRST)

    assert shown.code == 0
    [_, row] = shown.out.splitlines()
    assert row.split()[:2] == ["system", "1"]
    assert "live" in row


def test_a_use_case_without_releases_has_none(live: Live) -> None:
    shown = live.house.run("leo.fischer", "prompts", "list", "nothing-here")

    assert (shown.code, shown.out) == (3, "")


def test_a_version_is_shown(live: Live) -> None:
    shown = live.house.run("leo.fischer", "prompts", "show", FIRST, "system")

    assert shown.code == 0
    assert SYSTEM.splitlines()[-1] in shown.out
    assert live.house.json("leo.fischer", "prompts", "show", FIRST, "system", "1")["prompt"]["text"] == SYSTEM


def test_what_is_the_same_has_no_difference(live: Live) -> None:
    shown = live.house.run("leo.fischer", "prompts", "diff", FIRST, "system", "1", "live")

    assert (shown.code, shown.out) == (0, "")
    assert "the same" in shown.err


def test_an_alias_is_moved_and_taken_away(live: Live) -> None:
    house = live.house
    moved = house.run("leo.fischer", "prompts", "alias", FIRST, "system", "blessed", "1")
    assert "blessed of system is version 1" in moved.out
    assert "blessed" in house.run("leo.fischer", "prompts", "list", FIRST).out

    assert house.run("hanna.osei", "prompts", "alias", FIRST, "system", "blessed", "--remove").code == 5
    assert house.run("leo.fischer", "prompts", "alias", FIRST, "system", "blessed").code == 3
    assert house.run("leo.fischer", "prompts", "alias", FIRST, "system", "blessed", "--remove").code == 0
    assert "blessed" not in house.run("leo.fischer", "prompts", "list", FIRST).out
