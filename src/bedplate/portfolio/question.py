"""What an idea is asked about feasibility: each question, and what its scores mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """One question with a score from 1 to 5; `scores` says what each stands for."""

    id: str
    text: str
    help: str
    scores: tuple[str, str, str, str, str]


# The data is not asked for: how ready it is follows from the checks of the contracts that the idea names.
FEASIBILITY = (
    Asked(
        "technology",
        "Can it be built with what there is?",
        "Think of the hardest case it must handle, not of the demo.",
        (
            "nobody has shown that it can be done",
            "shown elsewhere, not on material like ours",
            "a trial on our material worked in part",
            "a trial on our material worked",
            "it runs here already for something alike",
        ),
    ),
    Asked(
        "people",
        "Are there people to build, run and own it?",
        "Count who is free for it, not who could do it.",
        (
            "no owner, and nobody to build it",
            "an owner, nobody to build it",
            "people are named, their time is not agreed",
            "people and their time are agreed",
            "the team is in place and has run one before",
        ),
    ),
    Asked(
        "change",
        "Will those who are to use it work differently for it?",
        "Ask them: who loses something by it, and who says so?",
        (
            "they have not been asked, or are against it",
            "asked, and doubtful",
            "willing, but processes and roles are not thought through",
            "process and roles are agreed",
            "they ask for it, and have tried it",
        ),
    ),
)
