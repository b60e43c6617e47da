"""Eval suites: how they are read, digested and summed up."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedplate.document import InvalidDocument
from bedplate.models.suite import Case, Claims, Outcome, Summary, parse_suite, summarise

EXAMPLES = Path(__file__).parents[2] / "examples" / "harbour-mutual" / "hr-policy-assistant"
CASE = Case("carry", "How many days?", ("five days", "HR-03"), "leave#carry")
OFF = Case("weather", "Will it rain?", unanswered=True)
GOOD = """\
cases:
  - id: carry
    question: How many days?
    expect: {contains: ["five days", "HR-03"], cites: "leave#carry"}
  - id: weather
    question: Will it rain?
    expect: {unanswered: true}
"""
NEW = """\
cases:
  - id: all
    question: What?
    weight: 3
    tags: [must, leave]
    expect:
      not_contains: [six]
      regex: ['(?i)five']
      not_regex: ['^No']
      equals: Five days.
      json_schema: '{"type": "object", "required": ["days"]}'
      grounded_permille: 800
      max_chars: 300
      refused: true
      judge: It is polite.
      any: [{refused: true}, {contains: [five]}]
  - id: judged
    question: What?
    answer: Five, of course.
    label: pass
    expect: {judge: It is polite.}
"""


def test_a_suite_is_read() -> None:
    suite = parse_suite(GOOD, "evals.yaml")
    assert (suite.name, suite.cases) == ("evals.yaml", (CASE, OFF))


def test_every_expectation_is_read() -> None:
    case, judged = parse_suite(NEW, "evals.yaml").cases
    assert case == Case(
        "all",
        "What?",
        not_contains=("six",),
        regex=("(?i)five",),
        not_regex=("^No",),
        equals="Five days.",
        json_schema='{"type": "object", "required": ["days"]}',
        grounded_permille=800,
        max_chars=300,
        refused=True,
        judge="It is polite.",
        any=(Claims(refused=True), Claims(contains=("five",))),
        weight=3,
        tags=("must", "leave"),
    )
    assert (judged.answer, judged.label) == ("Five, of course.", "pass")


def test_a_labelled_answer_is_for_the_judge_and_not_asked() -> None:
    suite = parse_suite(NEW, "evals.yaml")
    assert [c.id for c in suite.asked] == ["all"]
    assert [c.id for c in suite.labelled] == ["judged"]


@pytest.mark.parametrize(("file", "cases"), [("evals.yaml", 26), ("evals-supplement.yaml", 8)])
def test_the_examples_are_suites(file: str, cases: int) -> None:
    assert len(parse_suite((EXAMPLES / file).read_text(encoding="utf-8"), file).cases) == cases


def test_the_digest_is_of_the_cases_alone() -> None:
    digest = parse_suite(GOOD, "evals.yaml").digest
    assert len(digest) == 64
    assert parse_suite("# a comment\n" + GOOD.replace("true", "yes"), "other.yaml").digest == digest
    assert parse_suite(GOOD.replace("five", "six"), "evals.yaml").digest != digest


def test_a_suite_of_before_the_newer_expectations_keeps_its_digest() -> None:
    """It is in bundles that were approved: another digest would be another release."""
    text = (EXAMPLES / "evals.yaml").read_text(encoding="utf-8")
    assert parse_suite(text, "evals.yaml").digest == "1f0b50a24bd13a96c1945985eb152b11df1b366d786d1aa7caf800c0db290f7a"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("weight: 3", "weight: 4"),
        ("[must, leave]", "[leave]"),
        ("[six]", "[seven]"),
        ("(?i)five", "five"),
        ("grounded_permille: 800", "grounded_permille: 801"),
        ("      refused: true\n", ""),
        ("[{refused: true}, {", "[{max_chars: 3}, {"),
        ("label: pass", "label: fail"),
        ("Five, of course", "Four, of course"),
    ],
)
def test_every_expectation_is_in_the_digest(old: str, new: str) -> None:
    assert old in NEW
    assert parse_suite(NEW.replace(old, new), "s").digest != parse_suite(NEW, "s").digest


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        (("unanswered: true", "unanswered: false"), "7:14", "'yes'"),
        (("unanswered: true", "unanswered: true, contains: [rain]"), "7:5", "one of the two"),
        (("unanswered: true", "unanswered: true, judge: kind"), "7:5", "one of the two"),
        (("unanswered: true", 'cites: "a#b"'), "7:5", "one of the two"),
        (("unanswered: true", 'unanswered: true, cites: "a#b"'), "7:5", "cites nothing"),
        (("unanswered: true", "contains: []"), "7:14", "at least 1"),
        (("unanswered: true", 'contains: [" "]'), "7:25", "it fits"),
        (("unanswered: true", "contains: [28]"), "7:25", "found 28"),
        (("unanswered: true", "unanswered: true, contain: [rain]"), "7:32", "unknown key; known here: any, cites"),
        (("unanswered: true", "regex: ['(']"), "7:22", "not a pattern of RE2"),
        (("unanswered: true", r"regex: ['(a)\1']"), "7:22", "not a pattern of RE2"),
        (("unanswered: true", "json_schema: '{\"anyOf\": []}'"), "7:14", "$.anyOf is not checked here"),
        (("unanswered: true", "json_schema: '{'"), "7:14", "Expecting"),
        (("unanswered: true", "any: [{refused: true}]"), "7:14", "at least 2"),
        (("unanswered: true", "grounded_permille: 1001"), "7:14", "less than or equal to 1000"),
        (("unanswered: true}", "judge: kind}\n    label: pass"), "5:5", "come together"),
        (("unanswered: true}", "max_chars: 9}\n    label: pass\n    answer: x"), "5:5", "by which rubric"),
        (("id: weather", "id: carry"), "5:5", "carry is the id of an earlier case"),
        (("id: weather", "id: The Weather"), "5:5", "it fits"),
        (("    question: Will it rain?\n", ""), "5:5", "required, and missing"),
        (("cases:", "case:"), "1:1", "unknown key"),
        ((GOOD, "cases: []"), "1:1", "at least 1"),
        ((GOOD, "- cases"), "1:1", "expected keys"),
        ((GOOD, "cases:\n" + NEW[NEW.index("  - id: judged") :]), "1:1", "none asks the release"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: tuple[str, str], place: str, says: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_suite(GOOD.replace(*change), "evals.yaml")
    assert any(f"evals.yaml:{place} " in str(c) and says in c.message for c in refused.value.complaints), refused.value


def outcomes(passed: int, total: int, weight: int = 1) -> list[Outcome]:
    return [Outcome(f"c{n}", n < passed, "", weight=weight) for n in range(total)]


def test_outcomes_are_summed_up_with_their_interval() -> None:
    assert summarise([]) == Summary(0, 0, 0, 0, 1000)
    assert summarise(outcomes(26, 26)) == Summary(26, 26, 1000, 871, 1000)
    assert summarise(outcomes(0, 5)) == Summary(0, 5, 0, 0, 435)
    assert summarise(outcomes(2, 3)) == Summary(2, 3, 666, 207, 939)


def test_a_heavy_case_counts_more_and_makes_the_result_less_sure() -> None:
    even = summarise([*outcomes(9, 9), Outcome("last", passed=False, why="")])
    heavy = summarise([*outcomes(9, 9), Outcome("last", passed=False, why="", weight=9)])
    assert (even.permille, heavy.permille) == (900, 500)
    assert heavy.upper_permille - heavy.lower_permille > even.upper_permille - even.lower_permille


def test_a_share_reaches_what_its_lower_bound_reaches() -> None:
    assert summarise(outcomes(26, 26)).reaches(87)
    assert not summarise(outcomes(26, 26)).reaches(88)
    assert not summarise([]).reaches(0)
