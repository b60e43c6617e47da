"""`bedplate feedback`: saying something of a call, and making an eval case of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.conftest import FIRST

from bedplate.models.suite import parse_suite

if TYPE_CHECKING:
    from tests.cli.conftest import Live


def test_a_thumb_is_given_and_listed(live: Live) -> None:
    given = live.house.run("hanna.osei", "feedback", "give", live.call, "--thumb", "down", "--comment", "out of date")
    assert given.code == 0
    feedback = given.out.split()[-1]

    listed = live.house.run("victor.lam", "feedback", "list", FIRST)
    [row] = [line for line in listed.out.splitlines() if line.startswith(feedback)]
    assert row.split()[3:] == ["thumb", "down", live.call, "person/hanna.osei"]
    shown = live.house.run("victor.lam", "feedback", "show", feedback)
    assert "out of date" in shown.out
    of_call = live.house.json("victor.lam", "feedback", "list", "--call", live.call)["feedback"]
    assert feedback in {f["id"] for f in of_call}


def test_one_thing_is_said_at_a_time(live: Live) -> None:
    for flags in ((), ("--thumb", "up", "--label", "x")):
        said = live.house.run("hanna.osei", "feedback", "give", live.call, *flags, "-o", "json")
        assert (said.code, said.error["code"]) == (3, "invalid-input")
    assert live.house.run("victor.lam", "feedback", "give", live.call, "--thumb", "up").code == 5


def test_a_correction_becomes_yaml_for_the_teams_file(live: Live) -> None:
    house = live.house
    given = house.json("leo.fischer", "feedback", "give", live.call, "--correction", "28 days: HR-03")["feedback"]

    made = house.run("leo.fischer", "feedback", "to-evals", given["id"])
    waiting = house.run("leo.fischer", "feedback", "pending", FIRST)

    assert made.code == waiting.code == 0
    assert made.out.strip() in waiting.out
    cases = {c.id: c for c in parse_suite("cases:\n" + waiting.out, "evals.yaml").cases}
    assert cases[f"feedback-{given['id']}"].contains == ("28 days: HR-03",)


def test_a_thumb_down_says_what_is_missing(live: Live) -> None:
    given = live.house.json("leo.fischer", "feedback", "give", live.call, "--thumb", "down")["feedback"]

    said = live.house.run("leo.fischer", "feedback", "to-evals", given["id"])

    assert said.code == 3
    assert "--contains TEXT" in said.err
    made = live.house.run("leo.fischer", "feedback", "to-evals", given["id"], "--unanswered")
    assert "expect: {unanswered: true}" in made.out


def test_feedback_is_proven_like_a_call(live: Live) -> None:
    house = live.house
    given = house.json("leo.fischer", "feedback", "give", live.call, "--label", "fine")["feedback"]
    file = house.root / "feedback.proof"

    assert house.run("leo.fischer", "prove", given["id"], "--out", file).code == 0
    checked = house.run("leo.fischer", "verify", file)

    assert checked.code == 0
    assert given["id"] in checked.out
