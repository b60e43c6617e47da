"""A notice: somebody is to be told of an action that waits for people."""

from __future__ import annotations

from dataclasses import dataclass

ASKED, AGAIN, NEXT, ABOVE = (1, 2, 3, 4)  # how far an action was told of


@dataclass(frozen=True, slots=True)
class Reminder:
    """Somebody is to be told of an action that waits: how far it was taken, and to whom."""

    approval: str
    subject: str
    step: int
    body: str
    people: tuple[str, ...]
    due: int  # when it expires, which is a no
    summary: str = ""

    @property
    def text(self) -> str:
        """What they are told. The arguments are not in it: they are read where one is signed in."""
        said = {
            ASKED: "waits for your answer",
            AGAIN: "still waits for your answer",
            NEXT: "was not answered in time: it now waits for you too",
            ABOVE: "was answered by nobody: you are told because you stand above those who were asked, or own it",
        }[self.step]
        return f"{self.summary or 'An action of an agent'} ({said}; unanswered it is refused)"
