"""The 2×2: unknown is always high."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.risk import Question, Tier, rate

if TYPE_CHECKING:
    from collections.abc import Mapping

QUESTIONS = tuple(Question(f"{axis}-{n}", f"{n}?", axis) for axis in ("impact", "autonomy") for n in range(3))
MATRIX: Mapping[tuple[str, str], Tier] = {
    ("low", "assistive"): Tier.ROUTINE,
    ("low", "autonomous"): Tier.SUPERVISED,
    ("high", "assistive"): Tier.ASSURED,
    ("high", "autonomous"): Tier.CRITICAL,
}
ANSWERS = st.dictionaries(st.sampled_from([q.id for q in QUESTIONS]), st.sampled_from(["yes", "no", "", "maybe"]))
ALL_NO = {q.id: "no" for q in QUESTIONS}


@given(ANSWERS)
def test_an_axis_is_low_only_when_every_question_was_answered_no(answers: dict[str, str]) -> None:
    rating = rate(QUESTIONS, answers, MATRIX)
    quiet = {
        axis: all(answers.get(q.id) == "no" for q in QUESTIONS if q.axis == axis) for axis in ("impact", "autonomy")
    }
    assert (rating.impact == "low") == quiet["impact"]
    assert (rating.autonomy == "assistive") == quiet["autonomy"]
    assert rating.tier == MATRIX[rating.impact, rating.autonomy]


@given(ANSWERS, st.sampled_from(QUESTIONS))
def test_one_more_unanswered_question_never_lowers_a_tier(answers: dict[str, str], question: Question) -> None:
    without = {k: v for k, v in answers.items() if k != question.id}
    before, after = rate(QUESTIONS, answers, MATRIX), rate(QUESTIONS, without, MATRIX)
    assert after.tier >= before.tier
    raised = after.impact == "high" if question.axis == "impact" else after.autonomy == "autonomous"
    assert raised
    assert any(question.text in reason and "unanswered" in reason for reason in after.reasons)


def test_an_unknown_cell_is_critical() -> None:
    assert rate(QUESTIONS, ALL_NO, {}).tier is Tier.CRITICAL
    assert rate(QUESTIONS, ALL_NO, MATRIX).tier is Tier.ROUTINE


def test_an_axis_nobody_asks_about_is_high() -> None:
    assert rate((), {}, MATRIX).tier is Tier.CRITICAL
    assert rate(QUESTIONS[:3], ALL_NO, MATRIX).tier is Tier.SUPERVISED
    assert rate(QUESTIONS[3:], ALL_NO, MATRIX).tier is Tier.ASSURED


def test_every_rating_says_why() -> None:
    assert len(rate(QUESTIONS, ALL_NO, MATRIX).reasons) == 2
    assert len(rate(QUESTIONS, {}, MATRIX).reasons) == 6
