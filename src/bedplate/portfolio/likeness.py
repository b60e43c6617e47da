"""Which texts are alike: TF-IDF cosine over words and over trigrams of letters, with the words that say why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from math import log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DUPLICATE, SIBLING = 600, 250  # per mille of likeness from which two are called so
WORDS = 0.6  # the words' share of the likeness; the trigrams' is the rest: they forgive endings and spelling
MOST, TERMS = 5, 6
_WORD = re.compile(r"[^\W_]{2,}")
# What nearly every purpose says, and what therefore says nothing.
_EMPTY = frozenset(
    _WORD.findall(
        "an and are as at be by can do each every for from has have help helps how if in into is it its more no not "
        "of on or our so that the their them they this to use used uses using we what when where which who will with"
    )
)
Vector = dict[str, float]


@dataclass(frozen=True, slots=True)
class Text:
    """Something with words of its own: an idea, a use case or a golden path."""

    subject: str  # idea/ID, usecase/ID, path/NAME
    title: str
    words: str
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Alike:
    """Another text, how alike it is in per mille, and the words that both have, the telling ones first."""

    subject: str
    title: str
    verdict: str  # duplicate, sibling
    permille: int
    shared: tuple[str, ...]


def alike(text: Text, others: Sequence[Text]) -> list[Alike]:
    """List what is like a text, the most alike first."""
    corpus = [text, *(o for o in others if o.subject != text.subject)]
    words = _weighed([_words(t) for t in corpus])
    grams = _weighed([_trigrams(t) for t in corpus])
    found = []
    for other, theirs, letters in zip(corpus[1:], words[1:], grams[1:], strict=True):
        near = WORDS * _cosine(words[0], theirs) + (1 - WORDS) * _cosine(grams[0], letters)
        permille = min(1000, round(1000 * near))
        shared = sorted(words[0].keys() & theirs.keys(), key=lambda w: (-words[0][w] * theirs[w], w))
        if permille >= SIBLING and shared:
            same = permille >= DUPLICATE or _named(other) == _named(text)
            verdict = "duplicate" if same else "sibling"
            found.append(Alike(other.subject, other.title, verdict, permille, tuple(shared[:TERMS])))
    return sorted(found, key=lambda a: (-a.permille, a.subject))[:MOST]


def _named(text: Text) -> set[str]:
    return set(_split(text.title)) - _EMPTY


def _words(text: Text) -> Counter[str]:
    return Counter(w for w in _split(f"{text.title} {text.words}") if w not in _EMPTY)


def _trigrams(text: Text) -> Counter[str]:
    words = (f" {w} " for w in _split(f"{text.title} {text.words}") if w not in _EMPTY)
    return Counter(w[i : i + 3] for w in words for i in range(len(w) - 2))


def _split(text: str) -> Iterable[str]:
    return (w.group() for w in _WORD.finditer(text.lower()))


def _weighed(counts: Sequence[Counter[str]]) -> list[Vector]:
    """Weigh terms by how often they are here and how seldom elsewhere, to vectors of length one."""
    held = Counter(term for count in counts for term in count)
    rare = {term: log((1 + len(counts)) / (1 + n)) + 1 for term, n in held.items()}
    return [_unit({term: (1 + log(n)) * rare[term] for term, n in count.items()}) for count in counts]


def _unit(vector: Mapping[str, float]) -> Vector:
    length = sqrt(sum(v * v for v in vector.values())) or 1.0
    return {term: v / length for term, v in vector.items()}


def _cosine(one: Vector, other: Vector) -> float:
    small, large = sorted((one, other), key=len)
    return sum(v * large[term] for term, v in small.items() if term in large)
