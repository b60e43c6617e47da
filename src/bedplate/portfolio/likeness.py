"""Which texts are alike: TF-IDF cosine over words and over trigrams of letters, with the words that say why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    corpus = tuple(others)
    words, grams = _index(corpus)
    mine, letters = words.vector(_words(text)), grams.vector(_trigrams(text))
    near = {n: WORDS * w for n, w in words.cosines(mine).items()}
    for n, g in grams.cosines(letters).items():
        near[n] = near.get(n, 0.0) + (1 - WORDS) * g
    found = []
    for number, cosine in near.items():
        other, permille = corpus[number], min(1000, round(1000 * cosine))
        theirs = words.vectors[number]
        if permille < SIBLING or other.subject == text.subject or not mine.keys() & theirs.keys():
            continue
        shared = sorted((-mine[w] * theirs[w], w) for w in mine.keys() & theirs.keys())
        same = permille >= DUPLICATE or _named(other) == _named(text)
        verdict = "duplicate" if same else "sibling"
        found.append(Alike(other.subject, other.title, verdict, permille, tuple(w for _, w in shared[:TERMS])))
    return sorted(found, key=lambda a: (-a.permille, a.subject))[:MOST]


class _Terms:
    """The terms of a corpus: how telling each is, every text as a vector of length one, and where each term stands."""

    def __init__(self, counts: Sequence[Counter[str]]) -> None:
        held = Counter(term for count in counts for term in count)
        self.size = len(counts)
        self.rare = {term: self._telling(n) for term, n in held.items()}
        self.vectors = [self.vector(count) for count in counts]
        self.places: dict[str, list[int]] = {}
        for number, vector in enumerate(self.vectors):
            for term in vector:
                self.places.setdefault(term, []).append(number)

    def vector(self, count: Counter[str]) -> Vector:
        """Weigh terms by how often they are here and how seldom elsewhere."""
        weighed = {t: (1 + log(n)) * self.rare.get(t, self._telling(0)) for t, n in count.items()}
        length = sqrt(sum(v * v for v in weighed.values())) or 1.0
        return {term: v / length for term, v in weighed.items()}

    def cosines(self, mine: Vector) -> dict[int, float]:
        """Return how near a vector is to every text that shares a term with it."""
        found: dict[int, float] = {}
        for term, weight in mine.items():
            for number in self.places.get(term, ()):
                found[number] = found.get(number, 0.0) + weight * self.vectors[number][term]
        return found

    def _telling(self, held: int) -> float:
        return log((1 + self.size) / (1 + held)) + 1


@lru_cache(maxsize=2)  # pages ask about the same thousand texts again and again
def _index(corpus: tuple[Text, ...]) -> tuple[_Terms, _Terms]:
    return _Terms([_words(t) for t in corpus]), _Terms([_trigrams(t) for t in corpus])


def _named(text: Text) -> set[str]:
    return set(_split(text.title)) - _EMPTY


def _words(text: Text) -> Counter[str]:
    return Counter(w for w in _split(f"{text.title} {text.words}") if w not in _EMPTY)


def _trigrams(text: Text) -> Counter[str]:
    words = (f" {w} " for w in _split(f"{text.title} {text.words}") if w not in _EMPTY)
    return Counter(w[i : i + 3] for w in words for i in range(len(w) - 2))


def _split(text: str) -> Iterable[str]:
    return (w.group() for w in _WORD.finditer(text.lower()))
