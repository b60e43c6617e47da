"""National identification numbers, each with its own check; those of bare digits count only near a word for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from . import checkdigit
from .detect import CONTEXT, EDGE, Detector, compiled, matching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .detect import Found, Reading

PERSONAL = "personal-data"
SEPARATORS = re.compile(r"[ ./-]")
NUMBER = r"[0-9](?:[ ./-]?[0-9ABab]){8}"  # what every number here is, for the first pass


def numbers(
    label: str, pattern: str, valid: Callable[[str], bool], near: str, written: str = "", begins: str = ""
) -> Detector:
    """Make a detector of a number that stands for itself: not the middle of a longer one with the same separators.

    It needs a word of `near` (RE2) shortly before it, unless it is written as `written` (RE2) says: then blanks end it.
    """
    shape, words, unmistakable = compiled(pattern), compiled(f"(?i){near}"), compiled(written) if written else None

    def find(reading: Reading) -> Iterator[Found]:
        for start, end in reading.each(shape):
            text = reading.text[start:end]
            plain = unmistakable is not None and bool(unmistakable.fullmatch(reading.line[start:end]))
            told = (
                _alone(reading.line, start, end, apart=plain)
                and valid(SEPARATORS.sub("", text))
                and (plain or words.search(reading.before(start)))
            )
            yield (label if told else ""), start, end

    coarse = rf"(?i:{near})\C*{NUMBER}" + (f"|{written}" if written else "")
    return Detector(PERSONAL, coarse, find, ((begins, CONTEXT),) if begins else ())


def _alone(line: bytes, start: int, end: int, *, apart: bool) -> bool:
    """Tell whether no digit is joined to it. `apart`: its own form says where it ends, so a blank joins nothing to it.

    Else two numbers side by side would hide each other.
    """
    joins = b"./-" + (b" " if b" " in line[start:end] and not apart else b"")
    before, behind = line[max(0, start - 2) : start], line[end : end + 2]
    return not (
        (len(before) == 2 and before[1] in joins and before[:1].isdigit())  # noqa: PLR2004  a joint and a digit
        or (len(behind) == 2 and behind[0] in joins and behind[1:].isdigit())  # noqa: PLR2004  as above
    )


IDENTIFIERS = (
    matching(
        PERSONAL,
        "National Insurance number",
        rf"(?i){EDGE}([A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?[0-9]{{2}}[ -]?[0-9]{{2}}[ -]?[0-9]{{2}}[ -]?[A-D])\b",
        checkdigit.national_insurance,
        begins=((r"[A-Za-z]{2}[ -]?(?:[0-9][0-9 -]*[A-Da-d]?)?", CONTEXT),),
        coarse=r"[A-Za-z]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-Da-d]",
    ),
    numbers(
        "Social Security number",
        r"\b([0-8][0-9]{2}(?:-[0-9]{2}-| [0-9]{2} |[0-9]{2})[0-9]{4})\b",
        checkdigit.social_security,
        r"\b(?:ssn|social)",
        written=r"[0-9]{3}[ -][0-9]{2}[ -][0-9]{4}",
    ),
    numbers(
        "tax id",
        r"\b([1-9][0-9]{10}|[1-9][0-9] [0-9]{3} [0-9]{3} [0-9]{3})\b",
        checkdigit.steuer_id,
        r"(?:steuer|identifikationsn|\bidnr|\btin\b|tax[ -]?id|\btax\b)",
    ),
    numbers(
        "NIR",
        r"\b([1-478] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[ABab]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2})\b",
        checkdigit.nir,
        r"(?:s\xe9cu|secu|\bnir\b|insee|vitale|social|immatriculation)",
        written=r"[12] [0-9]{2} [0-9]{2} [0-9][0-9ABab] [0-9]{3} [0-9]{3} [0-9]{2}",
        begins=r"[1-478][0-9 ]{4,7}2[ABab][0-9 ]*",
    ),
    matching(
        PERSONAL,
        "DNI",
        rf"{EDGE}([0-9]{{8}}-?[A-HJ-NP-TV-Za-hj-np-tv-z]|[XYZxyz]-?[0-9]{{7}}-?[A-HJ-NP-TV-Za-hj-np-tv-z])\b",
        lambda text: checkdigit.dni(text.replace("-", "")),
    ),
    matching(
        PERSONAL,
        "codice fiscale",
        rf"(?i){EDGE}([A-Z]{{6}}[0-9L-NP-V]{{2}}[A-EHLMPR-T][0-9L-NP-V]{{2}}[A-Z][0-9L-NP-V]{{3}}[A-Z])\b",
        checkdigit.codice_fiscale,
        coarse=r"(?i)[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPR-T][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z]",
    ),
    numbers(
        "BSN",
        r"\b([0-9]{9}|[0-9]{4}\.[0-9]{2}\.[0-9]{3}|[0-9]{4} [0-9]{2} [0-9]{3})\b",
        checkdigit.bsn,
        r"(?:\bbsn\b|burgerservice|sofi)",
    ),
    numbers(
        "AHV number",
        r"\b(756(?:\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}| [0-9]{4} [0-9]{4} [0-9]{2}|[0-9]{10}))\b",
        checkdigit.ean13,
        r"(?:\bahv|\bavs\b|versicherten|\bnavs)",
        written=r"756[ .][0-9. ]+",
    ),
    numbers(
        "Aadhaar number",
        r"\b([2-9][0-9]{3} [0-9]{4} [0-9]{4}|[2-9][0-9]{3}-[0-9]{4}-[0-9]{4}|[2-9][0-9]{11})\b",
        checkdigit.aadhaar,
        r"(?:aadha+r|\buidai|\buid\b)",
    ),
    numbers(
        "CPF",
        r"\b([0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}|[0-9]{11})\b",
        checkdigit.cpf,
        r"\bcpf\b",
        written=r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}",
    ),
)
