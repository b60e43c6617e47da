"""The embedded answerer, on the example handbook and at its edges. The figures are the ones promised, not averages."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.data.index import Index, chunk
from bedplate.gateway.extractive import answer, quote
from bedplate.gateway.grounding import Numbered, parse, render
from bedplate.models.groundedness import assess
from bedplate.models.scorer import Said, score
from bedplate.models.suite import Outcome, parse_suite

EXAMPLE = Path(__file__).parents[2] / "examples" / "harbour-mutual"
UNANSWERED = "The handbook does not cover this."
LEAVE = Numbered(
    1,
    "03-annual-leave#carrying-leave-over",
    "Annual leave \u203a Carrying leave over",
    "An employee may carry over up to five days of unused leave. Requests are made on form HR-03 by 30 November.",
)
PAY = Numbered(
    2, "09-pay#pay-day", "Pay \u203a Pay day", "Salaries are paid on the 25th.\n\n- Not at weekends.\n- Never in cash."
)


class Assistant:
    """Retrieval, the passages as text and back, and the answerer."""

    def __init__(self, folder: Path, *sources: str) -> None:
        files = {str(p): p.read_text(encoding="utf-8") for name in sources for p in (EXAMPLE / name).glob("*.md")}
        self.index = Index.build(folder, chunk(files))

    def passages(self, question: str) -> list[Numbered]:
        found = enumerate(self.index.search(question, 4), 1)
        numbered = [Numbered(n, p.ref, f"{p.title} \u203a {p.heading}", p.text) for n, p in found]
        return parse(f"You answer from the handbook.\n\n{render(numbered)}")

    def ask(self, question: str) -> str:
        return answer(question, self.passages(question), unanswered=UNANSWERED)

    def answered(self, file: str) -> int:
        questions = (EXAMPLE / file).read_text(encoding="utf-8").splitlines()
        assert len(questions) == 30
        return sum(self.ask(question) != UNANSWERED for question in questions)

    def evaluate(self, file: str) -> list[Outcome]:
        suite = parse_suite((EXAMPLE / "hr-policy-assistant" / file).read_text(encoding="utf-8"), file)
        outcomes = []
        for case in suite.cases:
            said = self.ask(case.question)
            pairs = [(p.ref, p.text) for p in self.passages(case.question)]
            measured = assess(said, pairs, UNANSWERED)
            assert measured.permille == 1000, said  # it repeats what it cites
            outcomes.append(score(case, Said(said, tuple(measured.cited), tuple(pairs), UNANSWERED)))
        return outcomes


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    return Assistant(tmp_path_factory.mktemp("alone"), "handbook")


@pytest.fixture(scope="module")
def supplemented(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    return Assistant(tmp_path_factory.mktemp("supplemented"), "handbook", "handbook-supplement")


def failed(outcomes: list[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if not outcome.passed]


def test_the_suite_passes_and_what_cannot_be_answered_is_not(alone: Assistant) -> None:
    outcomes = alone.evaluate("evals.yaml")
    assert len(outcomes) == 26
    assert len(failed(outcomes)) <= 2, failed(outcomes)
    assert not [outcome for outcome in failed(outcomes) if outcome.case.startswith("off-topic")]


def test_everyday_questions_are_answered(alone: Assistant) -> None:
    assert alone.answered("everyday-questions.txt") >= 27


def test_questions_beyond_the_handbook_are_left_unanswered(alone: Assistant) -> None:
    assert alone.answered("drift-questions.txt") <= 3


def test_the_supplement_answers_them_and_spoils_nothing(supplemented: Assistant) -> None:
    assert supplemented.answered("drift-questions.txt") >= 18
    assert supplemented.answered("everyday-questions.txt") >= 27
    assert len(failed(supplemented.evaluate("evals-supplement.yaml"))) <= 1
    assert len(failed(supplemented.evaluate("evals.yaml"))) <= 2


def test_an_answer_is_sentences_with_their_numbers_and_the_sources() -> None:
    assert answer("How many unused days may I carry over?", [PAY, LEAVE], unanswered=UNANSWERED) == (
        "An employee may carry over up to five days of unused leave. [1]\n"
        "Sources: [1] Annual leave \u203a Carrying leave over (03-annual-leave#carrying-leave-over)"
    )


def test_at_most_so_many_sentences_are_given_and_each_source_once() -> None:
    both = [LEAVE, Numbered(7, "x#y", "Carrying over", "Unused leave of five days is what employees carry over.")]
    question = "carry over unused leave five days"
    said = answer(question, both, unanswered=UNANSWERED)
    assert said.split("\n")[1].startswith("Sources: [1] Annual leave")
    assert said.endswith("; [7] Carrying over (x#y)")
    assert answer(question, both, unanswered=UNANSWERED, limit=1).count("[") == 2
    assert answer(question, both, unanswered=UNANSWERED, limit=0) == UNANSWERED


@pytest.mark.parametrize("question", ["", "What is it?", "Who sells espresso machines?", "🦀", "\0"])
def test_what_the_passages_do_not_say_is_left_unanswered(question: str) -> None:
    assert answer(question, [LEAVE, PAY], unanswered=UNANSWERED) == UNANSWERED
    assert answer(question, [], unanswered=UNANSWERED) == UNANSWERED


@given(
    st.text(max_size=200), st.lists(st.builds(Numbered, st.integers(1, 9), st.text(), st.text(), st.text()), max_size=4)
)
@settings(max_examples=50)
def test_every_sentence_given_stands_in_a_passage(question: str, passages: list[Numbered]) -> None:
    said = answer(question, passages, unanswered=UNANSWERED, limit=1)
    if said != UNANSWERED:
        texts = [" ".join(passage.text.split()) for passage in passages]
        assert any(said.startswith(tuple(t[n:] for n in range(len(t)))) or said.split(" [")[0] in t for t in texts)
    assert quote(passages, question) or not passages


def test_quoting_gives_passages_word_for_word_nearest_first() -> None:
    said = quote([LEAVE, PAY], "When are salaries paid?")
    assert said.startswith(f"{PAY.text} [2]\n\n{LEAVE.text} [1]\nSources: [1] Annual leave")
    assert quote([LEAVE, PAY], "", limit=1).startswith(f"{LEAVE.text} [1]\nSources: [1] ")
    assert quote([], "anything") == ""
