"""How much of an answer stands on what it cites."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.models.groundedness import Groundedness, assess, body_of

UNANSWERED = "The handbook does not cover this."
PASSAGES = [
    ("leave#carry", "An employee may carry over up to five days of unused annual leave. See form HR-03."),
    ("pay#day", "Salaries are paid on the 25th of each month by bank transfer."),
]
DRAFT = "Draft, to be confirmed by a person before use.\n\n"
FIVE = "You may carry over five days of unused leave"


@pytest.mark.parametrize(
    ("answer", "permille", "cited"),
    [
        (f"{FIVE} [1].", 1000, ("leave#carry",)),
        (f"{FIVE}. [1]", 1000, ("leave#carry",)),
        (f"{FIVE}.[1] Salaries are paid on the 25th. [2]", 1000, ("leave#carry", "pay#day")),
        (f"Salaries are paid on the 25th [2], and {FIVE} [1][2].", 1000, ("pay#day", "leave#carry")),
        (f"{FIVE}.", 0, ()),
        (f"{FIVE} [3].", 0, ()),
        (f"{FIVE} [0].", 0, ()),
        (f"{FIVE} [2].", 0, ("pay#day",)),
        (f"{FIVE} [1]. Ask your manager about Paris!", 500, ("leave#carry",)),
        (
            f"{FIVE}. [1]\n- Penguins fly south in winter. [1]\n- Salaries are paid monthly [2]",
            666,
            ("leave#carry", "pay#day"),
        ),
        (f"1. {FIVE} [1]\n2. Salaries are paid on the 25th [2]", 1000, ("leave#carry", "pay#day")),
        (f"{DRAFT}{FIVE}. [1]\nSources: [1] Leave (leave#carry); [2] Pay (pay#day)", 1000, ("leave#carry",)),
        ("", 0, ()),
        ("[1]", 0, ("leave#carry",)),
    ],
)
def test_a_sentence_counts_if_what_it_cites_holds_its_words(answer: str, permille: int, cited: tuple[str, ...]) -> None:
    assert assess(answer, PASSAGES, UNANSWERED) == Groundedness(unanswered=False, permille=permille, cited=cited)


@pytest.mark.parametrize("answer", [UNANSWERED, f" {UNANSWERED}\n", DRAFT + UNANSWERED])
def test_a_reply_that_declines_claims_nothing(answer: str) -> None:
    assert assess(answer, PASSAGES, UNANSWERED) == Groundedness(unanswered=True, permille=1000, cited=())


def test_declining_and_answering_all_the_same_is_no_declining() -> None:
    found = assess(f"{UNANSWERED} But five weeks is usual.", PASSAGES, UNANSWERED)
    assert (found.unanswered, found.permille) == (False, 0)


def test_only_a_notice_and_the_list_of_sources_are_left_out() -> None:
    assert body_of(f"{DRAFT}Draft rules apply [1].\nSources: [1] x") == "Draft rules apply [1]."
    assert body_of("Draft rules apply [1].\nThey do.") == "Draft rules apply [1].\nThey do."
    assert body_of("Draft rules apply.") == "Draft rules apply."
    assert body_of("Sources: none") == ""


@given(st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=3), st.text())
def test_any_answer_has_a_measure(answer: str, passages: list[tuple[str, str]], unanswered: str) -> None:
    found = assess(answer, passages, unanswered)
    assert 0 <= found.permille <= 1000
    assert set(found.cited) <= {ref for ref, _ in passages}
