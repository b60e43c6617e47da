"""How far an answer stands on the passages it cites: counted from the words, the same every time, no model asked.

It tells unsupported sentences from supported ones by their words; a sentence that turns a passage's words round
(negates it, swaps who owes what) still counts as grounded. Eval suites and people judge that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WORD = re.compile(r"[^\W_]+")
CITATION = re.compile(r"\[([0-9]{1,6})\]")
# A sentence ends at a full stop and the citations after it, unless a small letter follows, or with its line.
END = re.compile(r"(?<=[.!?])(?:[ \t]*\[[0-9]{1,6}\])*(?=\s+[^\sa-z]|\s*\Z)|\n")
MARKER = re.compile(r"\s*[0-9]{1,3}\.\s*")  # of a numbered list, which is no sentence
SOURCES = re.compile(r"^sources:", re.IGNORECASE)
NOTICE = re.compile(r"\W*draft\b", re.IGNORECASE)
STEM = 5  # letters of a word that are compared: "approve" and "approval" are one
STOP = frozenset(
    WORD.findall(
        "a an and any are as at be been but by can do does for from had has have he her his i if in into is it its"
        " may must my of on or our shall she should so such than that the their them then there these they this those"
        " to us was we were what when where which who whom whose will with would you your"
    )
)


@dataclass(frozen=True, slots=True)
class Groundedness:
    """`permille` of the answer's sentences are grounded; `cited` are references in the order they first appear."""

    unanswered: bool
    permille: int
    cited: tuple[str, ...]


def assess(answer: str, passages: Sequence[tuple[str, str]], unanswered: str) -> Groundedness:
    """Measure one answer against `passages`, pairs of (reference, text) in citation order from [1].

    A sentence is grounded if it cites a passage that was given and at least half of its content words stand in what
    it cites. A reply that is exactly `unanswered` claims nothing: 1000 permille. An empty one says nothing: 0.
    """
    said = body_of(answer)
    if said and said == unanswered.strip():
        return Groundedness(unanswered=True, permille=1000, cited=())
    held = [_content(text) for _, text in passages]
    sentences = [s for s in _sentences(said) if WORD.search(CITATION.sub("", s)) and not MARKER.fullmatch(s)]
    grounded = sum(_grounded(sentence, held) for sentence in sentences)
    cited = dict.fromkeys(passages[place][0] for place in _places(said, len(passages)))
    return Groundedness(
        unanswered=False, permille=grounded * 1000 // len(sentences) if sentences else 0, cited=tuple(cited)
    )


def body_of(answer: str) -> str:
    """Return the answer without a draft notice on its first line and without the list of sources on its last."""
    first, broken, rest = answer.strip().partition("\n")
    lines = (rest if broken and NOTICE.match(first) and not CITATION.search(first) else answer).strip().split("\n")
    if SOURCES.match(lines[-1]):
        lines.pop()
    return "\n".join(lines).strip()


def _grounded(sentence: str, held: Sequence[frozenset[str]]) -> bool:
    cited = [held[place] for place in _places(sentence, len(held))]
    words = _content(CITATION.sub("", sentence))
    return bool(cited) and 2 * len(words & frozenset().union(*cited)) >= len(words)


def _places(text: str, count: int) -> list[int]:
    numbers = (int(number) for number in CITATION.findall(text))
    return [number - 1 for number in numbers if 1 <= number <= count]


def _sentences(text: str) -> list[str]:
    ends = [match.end() for match in END.finditer(text)]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def _content(text: str) -> frozenset[str]:
    return frozenset(word[:STEM] for word in WORD.findall(text.lower()) if word not in STOP)
