"""What a detector is, and how many of them read a text at once: one pass says which can find anything, those look.

Patterns run on RE2, in time linear in the text. Detectors read a *line*: the plain text as one byte a character, in
Latin-1, where 0x80 stands for every character that Latin-1 has not. So places in the line are places in the text.

Two things a detector must keep to, so that a stream comes out as the whole text would (see `window`): whether it finds
something depends on `CONTEXT` characters before that, what `begins` says after it, and nothing else; and a place that
it read past as one piece, with whatever outcome, it reports, with the label "" if it was nothing.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import re2

from .normal import UNUSUAL, Plain, read, tidied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Found = tuple[str, int, int]  # label, or "" for what turned out to be nothing; start, end
    Span = tuple[int, int, str, str]  # start, end, kind, label

CONTEXT = 64  # how many characters before a place a detector may look at
EDGE = r"(?:\b|_)"
MEMORY = 64 << 20  # bytes for the states of one set; a set that runs out of it finds nothing, and says so to nobody
FOREIGN = "bedplate-foreign"
codecs.register_error(FOREIGN, lambda error: (b"\x80" * (error.end - error.start), error.end))  # type: ignore[attr-defined]  # one of encoding


def compiled(pattern: str) -> re2._Regexp:
    """Compile a pattern for lines; write bytes above 0x7f as escapes."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(pattern.encode("latin-1"), options)


@dataclass(frozen=True)
class Reading:
    """A plain text, and its line."""

    text: str

    @cached_property
    def line(self) -> bytes:
        """One byte a character."""
        return self.text.encode("latin-1", FOREIGN)

    def before(self, start: int, most: int = 48) -> bytes:
        """Return what stands before a place."""
        return self.line[max(0, start - most) : start]

    def each(self, pattern: re2._Regexp) -> Iterator[tuple[int, int]]:
        """Yield where the pattern's first group stands; the next search begins behind it."""
        place = 0
        while match := pattern.search(self.line, place):
            yield match.span(1)
            place = match.end(1)


@dataclass(frozen=True, slots=True)
class Detector:
    """Finds things of one kind. `coarse` (RE2, UTF-8) matches in every text in which `find` finds anything.

    `begins` (RE2, Latin-1) match whatever could become something, or something else, with more text behind it, each
    with the most characters that may take (0: any number). What lies within one run of `hold.RUN` needs none.
    """

    kind: str
    coarse: str
    find: Callable[[Reading], Iterable[Found]]
    begins: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, slots=True)
class Decoder:
    """Finds encoded runs and what is in them, of whatever kind. A run lies within one of `hold.RUN` characters."""

    coarse: str
    find: Callable[[Reading], Iterable[Span]]


def matching(
    kind: str,
    label: str,
    pattern: str,
    valid: Callable[[str], object] = bool,
    *,
    near: str = "",
    begins: Sequence[tuple[str, int]] = (),
    coarse: str = "",
) -> Detector:
    """Make a detector of a pattern: its first group, where `valid` says so of its text.

    `near` is a pattern for the words of which one must stand shortly before it.
    """
    regexp = compiled(pattern)
    words = compiled(f"(?i){near}") if near else None

    def find(reading: Reading) -> Iterator[Found]:
        for start, end in reading.each(regexp):
            sound = valid(reading.text[start:end]) and (words is None or words.search(reading.before(start)))
            yield (label if sound else ""), start, end

    return Detector(kind, coarse or pattern, find, begins)


class Scanner:
    """Reads texts with a set of detectors. Stateless, so that any number of threads may use it."""

    def __init__(self, detectors: Sequence[Detector], decoders: Sequence[Decoder] = ()) -> None:
        self._detectors = detectors
        self._decoders = decoders
        options = re2.Options()
        options.max_mem = MEMORY
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        for pattern in (*(d.coarse for d in detectors), *(d.coarse for d in decoders), UNUSUAL):
            self._set.Add(pattern)
        self._set.Compile()
        self._unusual = len(detectors) + len(decoders)
        if self.hits("\u200b") != [self._unusual]:
            raise RuntimeError("the patterns of the guardrails need more memory than they have")

    def hits(self, plain: str) -> list[int]:
        """Return the numbers of those that may find something in a plain text: one pass over it."""
        return self._set.Match(plain.encode("utf-8", "surrogatepass")) or []

    def plainly(self, text: str) -> tuple[Plain, list[int]]:
        """Read a text as it came; returns its plain reading and what may find something in that."""
        plain = Plain(text if text.isascii() else tidied(text))
        hits = self.hits(plain.text)
        if self._unusual in hits:
            plain = read(text)
            hits = self.hits(plain.text)
        return plain, hits

    def hints(self, text: str) -> list[int]:
        """Return what may find something in a text as it came, or in any line of it: one pass. `taken` reads them."""
        hits = self.hits(text if text.isascii() else tidied(text))
        if self._unusual not in hits:
            return hits
        hits = self.hits(read(text).text)
        return [*hits, self._unusual] if hits else hits

    def taken(self, text: str, hints: list[int]) -> tuple[Plain, list[int]]:
        """Do as `plainly`, for a text, or some lines of one, with what was said of it before."""
        if self._unusual in hints:
            return read(text), [hint for hint in hints if hint != self._unusual]
        return Plain(text if text.isascii() else tidied(text)), hints

    def spans(self, reading: Reading, hits: Iterable[int] | None = None) -> Iterator[Span]:
        """Yield what is found in a plain text, in no order, and with the label "" what only looked like it."""
        for index in self.hits(reading.text) if hits is None else hits:
            if index < len(self._detectors):
                detector = self._detectors[index]
                for label, start, end in detector.find(reading):
                    yield start, end, detector.kind, label
            else:
                yield from self._decoders[index - len(self._detectors)].find(reading)
