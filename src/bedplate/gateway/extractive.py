"""The embedded answerer: it repeats sentences of the passages and says where they stand, or says that it found none.

It generates nothing, needs no model and gives the same answer every time. A question is answered when one sentence,
read under its heading, holds enough of the question's content words; a word that is rare in the passages counts more.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .grounding import Numbered

THRESHOLD = 0.5  # of the question's content words, by weight, in one sentence and its heading
HEADING = 0.7  # what a word counts that only the heading holds: the sentence itself must speak to the question
SECOND = 0.85  # of the best score, for a second sentence to be given as well
FIGURE = 0.1  # added where a question asks for a figure and the sentence has one; orders, never admits
MAX_WORDS = 64  # distinct words of a question that are looked for
MAX_TEXT = 200_000  # characters of a passage that are read

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")
END = re.compile(r"(?<=[.!?])[\"'\u201d\u2019)]?\s+(?=[^\sa-z])|\n[ \t]*\n|\n(?=[ \t]*(?:[-*|#>]|[0-9]{1,3}[.)])[ \t])")
ASKS_FIGURE = re.compile(
    r"\bhow (?:many|much|long|soon|often|fast)\b|\bwhen\b|\bwhat (?:time|rate|limit|age|percentage)\b"
)
FIGURES = re.compile(
    r"[0-9]|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|half|double|first|once|twice)\b"
)
STOP = frozenset(
    WORD.findall(
        "a about all also am an and any are as at be been being but by can could did do does each every for from get"
        " give given had has have he her his how i if in into is it its long many may me much must my of on or our"
        " shall she should so such than that the their them then there these they this those to us was we were what"
        " when where which while who whom whose why will with would you your"
    )
)
ALIKE = {  # forms that no ending explains
    "paid": "pay",
    "bought": "buy",
    "sold": "sell",
    "taken": "take",
    "took": "take",
    "left": "leave",
    "went": "go",
    "children": "child",
    "people": "person",
    "died": "die",
    "dies": "die",
    "dying": "die",
}


@dataclass(frozen=True, slots=True)
class _Sentence:
    place: int  # of the passage among those given, from 0
    text: str
    words: frozenset[str]
    heading: frozenset[str]


def answer(question: str, passages: Sequence[Numbered], *, unanswered: str, limit: int = 2) -> str:
    """Return at most `limit` sentences of the passages that answer the question, or exactly `unanswered`.

    Each sentence is followed by the number of its passage, ` [n]`; a last line lists the passages cited.
    """
    wanted = _content(question)[:MAX_WORDS]
    sentences = list(_sentences(passages))
    weights = _weights(wanted, sentences)
    chosen = _chosen(question, sentences, weights, limit)
    if not chosen:
        return unanswered
    said = " ".join(f"{s.text} [{passages[s.place].number}]" for s in chosen)
    return f"{said}\n{_sources([passages[s.place] for s in chosen])}"


def quote(passages: Sequence[Numbered], question: str, *, limit: int = 2) -> str:
    """Return the passages nearest to the question word for word, with their citations and nothing else.

    Where the question does not tell them apart their order stays. Without passages the text is empty.
    """
    wanted = set(_content(question)[:MAX_WORDS])

    def held(passage: Numbered) -> int:
        return len(wanted.intersection(_content(passage.title), _content(passage.text[:MAX_TEXT])))

    nearest = sorted(passages, key=held, reverse=True)[:limit]
    if not nearest:
        return ""
    return "\n\n".join(f"{p.text.strip()} [{p.number}]" for p in nearest) + f"\n{_sources(nearest)}"


def _chosen(question: str, sentences: Sequence[_Sentence], weights: Mapping[str, float], limit: int) -> list[_Sentence]:
    total = sum(weights.values())
    asks_figure = bool(ASKS_FIGURE.search(question.lower()))
    scored = []
    for order, sentence in enumerate(sentences):
        counts = {word: _counts(word, sentence) for word in weights}
        # By weight and by number: one rare word that happens to occur does not make an answer.
        share = min(
            sum(weight * counts[word] for word, weight in weights.items()) / (total or 1.0),
            sum(counts.values()) / (len(weights) or 1),
        )
        if share >= THRESHOLD:
            bonus = FIGURE if asks_figure and FIGURES.search(sentence.text.lower()) else 0.0
            scored.append((share + bonus, -order, sentence))
    scored.sort(key=lambda entry: entry[:2], reverse=True)
    return [sentence for score, _, sentence in scored[:limit] if score >= SECOND * scored[0][0]]


def _counts(word: str, sentence: _Sentence) -> float:
    if word in sentence.words:
        return 1.0
    return HEADING if word in sentence.heading else 0.0


def _weights(wanted: Sequence[str], sentences: Sequence[_Sentence]) -> dict[str, float]:
    """Weigh each word by how few of the sentences hold it; one that none holds weighs most and speaks against all."""
    held = {word: sum(word in s.words or word in s.heading for s in sentences) for word in wanted}
    return {word: math.sqrt(1.0 + math.log((1 + len(sentences)) / (1 + count))) for word, count in held.items()}


def _sentences(passages: Sequence[Numbered]) -> Iterator[_Sentence]:
    for place, passage in enumerate(passages):
        heading = frozenset(_content(passage.title))
        for piece in END.split(passage.text[:MAX_TEXT]):
            text = " ".join(piece.split())
            if words := frozenset(_content(text)):
                yield _Sentence(place, text, words, heading)


def _sources(cited: Sequence[Numbered]) -> str:
    listed = {p.number: f"[{p.number}] {p.title} ({p.ref})" for p in sorted(cited, key=lambda p: p.number)}
    return "Sources: " + "; ".join(listed.values())


def _content(text: str) -> list[str]:
    """Return the distinct stems of the content words, in their order."""
    words = (match.partition("'")[0] for match in WORD.findall(text.lower().replace("\u2019", "'")))
    return list(dict.fromkeys(_stem(word) for word in words if word not in STOP))


def _stem(word: str) -> str:
    """Take off the commonest English endings, the same way on both sides of a comparison."""
    word = ALIKE.get(word, word)
    for ending, instead, least in (("ies", "y", 5), ("ied", "y", 5), ("ing", "", 6), ("ed", "", 5), ("ly", "", 6)):
        if word.endswith(ending) and len(word) >= least:
            word = word.removesuffix(ending) + instead
            break
    else:
        if word.endswith("s") and not word.endswith("ss") and len(word) > 3:  # noqa: PLR2004  "bus", "gas"
            word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":  # noqa: PLR2004  "shipped", not "fell"
        word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word  # noqa: PLR2004  "leave", "leaving"
