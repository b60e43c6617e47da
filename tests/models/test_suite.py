"""Eval suites: how they are read, judged and summed up."""

from __future__ import annotations

from math import floor, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.document import InvalidDocument
from bedplate.models.suite import Case, Outcome, Summary, parse_suite, score, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = Path(__file__).parents[2] / "examples" / "harbour-mutual" / "hr-policy-assistant"
UNANSWERED = "The handbook does not cover this."
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


def test_a_suite_is_read() -> None:
    suite = parse_suite(GOOD, "evals.yaml")
    assert (suite.name, suite.cases) == ("evals.yaml", (CASE, OFF))


@pytest.mark.parametrize(("file", "cases"), [("evals.yaml", 26), ("evals-supplement.yaml", 8)])
def test_the_examples_are_suites(file: str, cases: int) -> None:
    assert len(parse_suite((EXAMPLES / file).read_text(encoding="utf-8"), file).cases) == cases


def test_the_digest_is_of_the_cases_alone() -> None:
    digest = parse_suite(GOOD, "evals.yaml").digest
    assert len(digest) == 64
    assert parse_suite("# a comment\n" + GOOD.replace("true", "yes"), "other.yaml").digest == digest
    assert parse_suite(GOOD.replace("five", "six"), "evals.yaml").digest != digest


@pytest.mark.parametrize(
    ("change", "place", "says"),
    [
        (("unanswered: true", "unanswered: false"), "7:14", "'yes'"),
        (("unanswered: true", "unanswered: true, contains: [rain]"), "7:5", "one of the two"),
        (("unanswered: true", 'cites: "a#b"'), "7:5", "one of the two"),
        (("unanswered: true", 'unanswered: true, cites: "a#b"'), "7:5", "cites nothing"),
        (("unanswered: true", "contains: []"), "7:14", "at least 1"),
        (("unanswered: true", 'contains: [" "]'), "7:25", "pattern"),
        (("unanswered: true", "contains: [28]"), "7:25", "found 28"),
        (("unanswered: true", "unanswered: true, contain: [rain]"), "7:32", "unknown key; known here: cites, contains"),
        (("id: weather", "id: carry"), "5:5", "carry is the id of an earlier case"),
        (("id: weather", "id: The Weather"), "5:5", "pattern"),
        (("    question: Will it rain?\n", ""), "5:5", "required, and missing"),
        (("cases:", "case:"), "1:1", "unknown key"),
        ((GOOD, "cases: []"), "1:1", "at least 1"),
        ((GOOD, "- cases"), "1:1", "expected keys"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: tuple[str, str], place: str, says: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_suite(GOOD.replace(*change), "evals.yaml")
    assert any(f"evals.yaml:{place} " in str(c) and says in c.message for c in refused.value.complaints), refused.value


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
    outcome = score(case, answer, cited, UNANSWERED)
    assert (outcome.case, outcome.passed) == (case.id, passed)
    assert why.replace("as expected", "expected") in outcome.why


def wilson(passed: int, total: int) -> float:
    z, p = 1.959963984540054, passed / total
    return (p + z * z / (2 * total) - z * sqrt(p * (1 - p) / total + z * z / (4 * total * total))) / (1 + z * z / total)


def outcomes(passed: int, total: int) -> list[Outcome]:
    return [Outcome(f"c{n}", n < passed, "") for n in range(total)]


def test_the_lower_bound_is_wilsons() -> None:
    assert summarise([]) == Summary(0, 0, 0, 0)
    assert summarise(outcomes(26, 26)) == Summary(26, 26, 1000, 871)
    assert summarise(outcomes(0, 5)) == Summary(0, 5, 0, 0)
    assert summarise(outcomes(2, 3)) == Summary(2, 3, 666, 207)


@given(st.integers(1, 400).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_whole_numbers_agree_with_the_formula(counts: tuple[int, int]) -> None:
    found = summarise(outcomes(*counts))
    assert abs(found.lower_permille - floor(1000 * wilson(*counts) + 1e-9)) <= (1 if counts[0] == 0 else 0)
    assert 0 <= found.lower_permille <= found.permille <= 1000
