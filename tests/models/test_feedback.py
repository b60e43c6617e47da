"""Feedback: what may be said, what of it stays for ever, what monitors make of it, and how it becomes an eval case."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bedplate.errors import InvalidInput, NotFound, Unavailable
from bedplate.models.feedback import (
    About,
    Draft,
    case_id,
    checked,
    entry,
    expects,
    question_of,
    repeats,
    yaml_of,
)
from bedplate.models.monitor import Monitor, Seen, monitors_of
from bedplate.models.suite import parse_suite
from bedplate.paths.pace import Pace
from bedplate.testing import SettableClock, small_model

ABOUT = About("call-1", "usecase/one", "ab" * 32, "r1")
DAY = 86_400_000_000


# what is said


def test_what_stays_for_ever_holds_no_words_of_anybody() -> None:
    said = checked("correction", "the right answer", "a comment", "user-7")

    told = json.loads(entry("f-1", ABOUT, said, "key/k", 1_750_000_000_000_000, {"ct": "c"}))

    assert said.content == {"correction": "the right answer", "comment": "a comment", "by": "user-7"}
    assert told == {
        "v": 1,
        "id": "f-1",
        "kind": "feedback.given",
        "use_case": "usecase/one",
        "call": "call-1",
        "leaf": "ab" * 32,
        "release": "r1",
        "feedback": "correction",
        "value": "",
        "giver": "key/k",
        "given": "2025-06-15T15:06:40.000000Z",
        "content": {"ct": "c"},
    }


def test_the_same_is_told_from_another() -> None:
    said = checked("thumb", "down")
    known = json.loads(entry("f-1", ABOUT, said, "key/k", 1, {}))

    assert repeats(known, ABOUT, said, "key/k")
    assert not repeats(known, ABOUT, checked("thumb", "up"), "key/k")
    assert not repeats(known, ABOUT, said, "key/other")
    assert not repeats({**known, "kind": "call.completed"}, ABOUT, said, "key/k")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (("star", "5"), "there is no feedback 'star'"),
        (("thumb", ""), "up or down"),
        (("label", "x" * 41), "one word"),
        (("correction", "x" * 4_001), "of 1 to 4000"),
        (("thumb", "up", "x" * 4_001), "`comment` has 4001"),
        (("thumb", "up", "", "x" * 201), "`by` has 201"),
        (("thumb", "up", "\ud800"), "not valid Unicode"),
    ],
)
def test_what_does_not_fit_is_refused(told: tuple[str, ...], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        checked(*told)


def test_each_giver_has_a_pace_of_its_own() -> None:
    clock = SettableClock()
    pace = Pace(clock)
    for _ in range(60):
        pace.take("person/ann")

    with pytest.raises(Unavailable, match="more than 60") as refused:
        pace.take("person/ann")
    assert refused.value.code == "too-many"
    pace.take("person/bob")
    clock.now += 1_000_000  # a second later one more
    pace.take("person/ann")
    with pytest.raises(Unavailable):
        pace.take("person/ann")


# what monitors make of it


def seen(*thumbs: str, harmed: int = 0) -> list[Seen]:
    return [
        Seen(str(n), n, failed=False, unanswered=False, grounded_permille=1000, thumb=thumb, harmed=n < harmed)
        for n, thumb in enumerate(thumbs)
    ]


def test_thumbs_down_are_a_share_of_the_calls_that_have_one() -> None:
    monitor = Monitor("thumbs-down", 300, 200, DAY)
    unrated = seen(*[""] * 195)

    assert monitor.value([*unrated, *seen("down", "down", "up", "up", "up")]) == 400
    assert monitor.breached([*unrated, *seen("down", "down", "up", "up", "up")])
    assert not monitor.breached([*unrated, *seen("down", "up", "up", "up", "up")]), "below the limit"
    assert not monitor.breached([*unrated, *seen("down", "down", "down", "down")]), "four prove nothing"
    assert monitor.value(unrated) == 0


def test_harm_is_a_share_of_all_calls() -> None:
    monitor = Monitor("harm", 10, 200, DAY)

    assert monitor.value(seen(*[""] * 100, harmed=2)) == 20
    assert monitor.breached(seen(*[""] * 100, harmed=2))
    assert not monitor.breached(seen(*[""] * 100, harmed=1))


def test_of_what_people_say_five_are_enough_to_look() -> None:
    assert Monitor("thumbs-down", 300, 200, DAY).due(5, 0, 1)
    assert not Monitor("thumbs-down", 300, 200, DAY).due(4, 0, 1)
    assert Monitor("thumbs-down", 300, 200, DAY).due(1, 0, DAY)
    assert not Monitor("unanswered", 300, 200, DAY).due(5, 0, 1)


def test_the_template_watches_what_people_say_from_tier_2_on() -> None:
    watched = {tier: {m.measure for m in monitors_of(plan.monitors)} for tier, plan in small_model().tiers.items()}

    assert {tier for tier, names in watched.items() if {"thumbs-down", "harm"} <= names} == {2, 3, 4}


# as an eval case


@pytest.mark.parametrize(
    ("sort", "value", "grounded", "said", "expected"),
    [
        ("correction", "", 1000, "", "contains"),
        ("correction", "", 1000, "unanswered", "unanswered"),
        ("thumb", "down", 0, "", "unanswered"),
        ("thumb", "down", 1000, "unanswered", "unanswered"),
        ("harm", "", 1000, "unanswered", "unanswered"),
    ],
)
def test_what_a_case_expects(sort: str, value: str, grounded: int, said: str, expected: str) -> None:
    assert expects(sort, value, {"grounded_permille": grounded}, unanswered=bool(said)) == expected


@pytest.mark.parametrize(
    "call",
    [{"grounded_permille": 1000}, {}, {"grounded_permille": 0, "unanswered": 1}],
    ids=["sound", "old", "declined"],
)
def test_what_nobody_has_said_is_not_guessed(call: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="nobody has said yet"):
        expects("thumb", "down", call, unanswered=False)


@pytest.mark.parametrize(
    ("content", "question"),
    [
        ({"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "x"}]}, "one"),
        ({"messages": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]}, "two"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]}, "a"),
        ({"input": "one"}, "one"),
    ],
)
def test_the_question_is_the_last_thing_the_user_said(content: dict[str, Any], question: str) -> None:
    assert question_of(content) == question


def test_a_call_without_words_has_no_question() -> None:
    odd: list[dict[str, Any]] = [
        {},
        {"messages": []},
        {"messages": [{"role": "user", "content": None}]},
        {"input": [5]},
    ]
    for content in odd:
        with pytest.raises(NotFound):
            question_of(content)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip)


@settings(deadline=None)
@given(TEXT, st.lists(TEXT, max_size=2))
@example("\x85\u2028\ufeff\x7f😀 # {{ - \"'", ["\\n: *a &b !c"])
def test_a_suite_reads_what_is_printed(question: str, contains: list[str]) -> None:
    draft = Draft(case_id("0197-7a"), question, tuple(contains), "thumb down\nabout call x # y")

    [case] = parse_suite("cases:\n" + yaml_of([draft]), "evals.yaml").cases

    assert (case.id, case.question) == ("feedback-0197-7a", question)
    assert (case.contains, case.unanswered) == (tuple(contains), not contains)
    assert yaml_of([]) == ""
