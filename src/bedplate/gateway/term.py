"""Terms and topics that an organisation does not want spoken of: found as whole words, however they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import re2

from bedplate.errors import InvalidInput

from .detect import MEMORY, Detector
from .normal import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .detect import Found, Reading

KIND = "terms"
LONGEST, MOST = 100, 1000  # characters of a term, terms
MOST_BEGINNINGS = 20_000  # characters of the pattern of all their beginnings
GAP = r"[\s_-]"
OUTSIDE = r"[^\pL\pM\pN]"  # a word


def detector(terms: Sequence[str]) -> Detector:
    """Make the detector of a list of terms; `InvalidInput` on one that is empty, too long, or one too many."""
    if not terms or len(terms) > MOST:
        raise InvalidInput(
            f"guardrail terms: {len(terms)} terms are listed", hint=f"list 1 to {MOST} under guardrails.terms"
        )
    words = {term: _units(term) for term in terms}
    longest = sorted(words, key=lambda term: (-len(words[term]), term))
    said = "|".join("".join(unit for unit, _ in words[term]) for term in longest)
    options = re2.Options()
    options.max_mem = MEMORY
    pattern = re2.compile(f"(?i)(?:^|{OUTSIDE})({said})(?:{OUTSIDE}|$)".encode(), options)

    def find(reading: Reading) -> Iterator[Found]:
        data = reading.text.encode("utf-8", "surrogatepass")
        done = at = place = 0
        while match := pattern.search(data, place):
            start, place = match.span(1)
            at += _characters(data[done:start])
            length = _characters(data[start:place])
            yield "blocked term", at, at + length
            at, done = at + length, place

    reach = 3 * max(map(len, longest))
    begins = "|".join(_begun([coarse for _, coarse in words[term]]) for term in longest)
    # Of very many terms not the beginnings are told apart: as much as the longest is held back.
    held = f"(?i:{begins})" if len(begins) <= MOST_BEGINNINGS else r"[\x00-\xff]*"
    return Detector(KIND, f"(?i)(?:{said})", find, ((held, reach),))


def _units(term: str) -> list[tuple[str, str]]:
    """Write a term as one pattern a character, each for texts and for lines; blanks within are up to three."""
    plain = " ".join("".join(c for c in term if read(c).text).split())
    if not plain or len(plain) > LONGEST:
        raise InvalidInput(
            f"guardrail terms: {term!r} has {len(plain)} characters", hint=f"write 1 to {LONGEST} of them"
        )
    units = []
    for character in plain:
        if character == " ":
            units.append((GAP + "{1,3}", r"[\s_\x80-\xff-]{1,3}"))
            continue
        # Of a letter both cases count, and what each of them looks like.
        forms = sorted(
            {read(case).text for case in (character, character.lower(), character.upper()) if len(case) == 1}
        )
        told = "".join(map(re2.escape, forms))
        units.append((f"[{told}]", f"[{told}]" if told.isascii() else r"[\x80-\xff]"))
    return units


def _begun(units: Sequence[str]) -> str:
    """Write the pattern of every beginning of a term, the whole of it included."""
    return "(?:".join(units) + ")?" * (len(units) - 1)


def _characters(data: bytes) -> int:
    return len(data.decode("utf-8", "surrogatepass"))
