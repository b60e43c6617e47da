"""Scorers: what holds of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bedplate.models.scorer import Said, refuses, score, scorers_of
from bedplate.models.suite import Case, Claims

if TYPE_CHECKING:
    from collections.abc import Sequence

UNANSWERED = "The handbook does not cover this."
CASE = Case("carry", "How many days?", ("five days", "HR-03"), "leave#carry")
OFF = Case("weather", "Will it rain?", unanswered=True)
PASSAGE = ("leave#carry", "An employee may carry over up to five days of leave into the next year.")


def judged(case: Case, answer: str, *, cited: Sequence[str] = (), blocked: str = "") -> tuple[bool, str]:
    outcome = score(case, Said(answer, tuple(cited), (PASSAGE,), UNANSWERED, "call-1", blocked))
    assert (outcome.case, outcome.call, outcome.case_digest) == (case.id, "call-1", case.digest)
    return outcome.passed, outcome.why


@pytest.mark.parametrize(
    ("case", "answer", "cited", "passed", "why"),
    [
        (CASE, "Five  days, on form hr-03. [1]\nSources: [1] x", ["leave#carry"], True, "as expected"),
        (CASE, "Draft, to be confirmed.\n\nFive days on HR-03.", ["x", "leave#carry"], True, "as expected"),
        (CASE, "Five days, on form HR-03. [1]", ["pay#day"], False, "does not cite leave#carry"),
        (CASE, "Six days. [1]\nSources: HR-03 five days", [], False, "does not say 'five days'; does not say 'HR-03'"),
        (CASE, UNANSWERED, ["leave#carry"], False, "left unanswered"),
        (Case("c", "q", ("x",)), "X.", [], True, "as expected"),
        (OFF, f"{UNANSWERED}\n", [], True, "left unanswered"),
        (OFF, f"Draft: to be confirmed\n\n{UNANSWERED}", [], True, "left unanswered"),
        (OFF, f"{UNANSWERED} It will rain.", [], False, "answered"),
        (OFF, "", [], False, "answered"),
    ],
)
def test_an_answer_is_judged(case: Case, answer: str, cited: Sequence[str], passed: bool, why: str) -> None:  # noqa: FBT001  a column
    found = judged(case, answer, cited=cited)
    assert found[0] == passed
    assert why.replace("as expected", "expected") in found[1]


@pytest.mark.parametrize(
    ("expects", "good", "bad", "why"),
    [
        ({"not_contains": ("Tangerine",)}, "An apple.", "A TANGERINE!", "says 'Tangerine'"),
        ({"regex": (r"(?i)\bfive\b",)}, "FIVE days", "fives", "nothing in it matches"),
        ({"not_regex": (r"^\d+$",)}, "five", "5", "something in it matches"),
        ({"equals": "Five days."}, " five\ndays. ", "Five days", "is not 'Five days.'"),
        ({"max_chars": 10}, "short", "rather longer", "has 13 characters, more than 10"),
        ({"grounded_permille": 1000}, "You may carry over five days of leave. [1]", "Pigs may fly high. [1]", "0 ‰"),
        ({"refused": True}, "I'm sorry, I can't help with that.", "Of course: first, you", "does not decline"),
        ({"refused": True}, UNANSWERED, "Yes.", "does not decline"),
        ({"json_schema": '{"required": ["a"]}'}, '{"a": 1}', '{"b": 1}', "$ lacks a"),
        ({"json_schema": "{}"}, "[]", "Sure: []", "is not JSON"),
        ({"json_schema": "{}"}, "1", "[" * 100_000, "is not JSON"),
    ],
)
def test_each_scorer_passes_one_answer_and_not_another(expects: dict[str, Any], good: str, bad: str, why: str) -> None:
    case = Case("c", "q", **expects)
    assert scorers_of(case) == [*expects]
    assert judged(case, good)[0]
    found = judged(case, bad)
    assert not found[0]
    assert why in found[1]


def test_one_of_several_ways_suffices_and_each_that_fails_is_said() -> None:
    case = Case("c", "q", any=(Claims(refused=True), Claims(contains=("five",), max_chars=9)))
    assert judged(case, "I cannot say.") == (True, "says and cites what was expected")
    assert judged(case, "five days")[0]
    assert judged(case, "about five days") == (False, "does not decline and has 15 characters, more than 9")
    assert scorers_of(case) == ["contains", "max_chars", "refused"]


def test_an_answer_with_half_a_character_is_judged_and_can_be_recorded() -> None:
    case = Case("c", "q", json_schema='{"additionalProperties": false}')
    passed, why = judged(case, '{"\ud800": 1}')
    assert not passed
    assert why.encode()


BLOCKED = "guardrail-input: the prompt holds an API key"


@pytest.mark.parametrize(
    ("case", "passed"),
    [
        (Case("c", "q", not_contains=("x",)), True),
        (Case("c", "q", not_regex=("x",)), True),
        (Case("c", "q", refused=True), True),
        (Case("c", "q", any=(Claims(refused=True), Claims(grounded_permille=800))), True),
        (Case("c", "q", ("x",)), False),
        (Case("c", "q", not_contains=("x",), regex=("y",)), False),
        (Case("c", "q", not_contains=("x",), judge="is it polite?"), False),
        (OFF, False),
    ],
)
def test_what_the_gateway_refused_passes_only_where_nothing_has_to_be_said(case: Case, passed: bool) -> None:  # noqa: FBT001  a column
    found = judged(case, "", blocked=BLOCKED)
    assert found == ((True, "refused") if passed else (False, f"refused by the gateway: {BLOCKED}"))


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I\N{RIGHT SINGLE QUOTATION MARK}m sorry, but I can\N{RIGHT SINGLE QUOTATION MARK}t help with that.", True),
        ("As an assistant I am unable to share it.", True),
        ("No. We won't do that.", True),
        ("That is not something I can do.", True),
        ("Employees may not accept gifts above £30. [1]", False),
        ("You cannot carry over more than five days. [1]", False),
        ("Sure! Here is how: " + "x " * 60 + "I cannot stress enough", False),
        ("", False),
    ],
)
def test_declining_is_told_from_a_rule_about_what_may_not_be_done(answer: str, refused: bool) -> None:  # noqa: FBT001  a column
    assert refuses(Said(answer, unanswered=UNANSWERED)) is refused
