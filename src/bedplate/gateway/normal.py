"""The plain reading of a text: what shows nothing is left out, and look-alikes become what they look like.

Each character stands for itself, for one other, or for none, whatever its neighbours are. So a text has one plain
reading however it is cut into pieces, and every place in it leads back to a place in the text as it came.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = (
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0, 0xE0001),
    *(*range(0x180B, 0x180F), *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065)),
    *(*range(0x2066, 0x2070), *range(0xFE00, 0xFE10), *range(0xE0020, 0xE0080), *range(0xE0100, 0xE01F0)),
)
BLANKS = (0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)
DASHES = (*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63, 0xFF0D)
FULL_WIDTH = range(0xFF01, 0xFF5F)
MATHEMATICAL = range(0x1D400, 0x1D6A4)  # thirteen alphabets of 26 capital and 26 small letters, one after the other

# Greek and Cyrillic letters that are drawn as Latin ones: Unicode Technical Standard 39, confusables.txt, version 15.
# Left out are letters that look like digits: a word is no number. Where it says l for a capital, I is meant here.
LOOKALIKES = (
    "A 0391 0410,B 0392 0412,C 03f9 0421,E 0395 0415,F 03dc,G 050c,H 0397 041d,I 0399 0406 04c0,J 037f 0408,"
    "K 039a 041a,M 039c 03fa 041c,N 039d,O 039f 041e,P 03a1 0420,S 0405,T 03a4 0422,V 0474,W 051c,X 03a7 0425,"
    "Y 03a5 03d2 0423 04ae,Z 0396,a 03b1 0430,b 042c,c 03f2 0441,d 0501,e 0435 04bd,h 04bb,"
    "i 037a 03b9 0456 04cf,j 03f3 0458,o 03bf 03c3 043e,p 03c1 03f1 0440,q 051b,r 0433,s 0455,u 03c5,"
    "v 03bd 0475,w 0461 051d,x 0445,y 03b3 0443 04af"
)
# Where the ten digits of every other script begin (Unicode 14, general category Nd).
NOUGHTS = (
    "0660 06f0 07c0 0966 09e6 0a66 0ae6 0b66 0be6 0c66 0ce6 0d66 0de6 0e50 0ed0 0f20 1040 1090 17e0 1810 1946 19d0 1a80"
    " 1a90 1b50 1bb0 1c40 1c50 a620 a8d0 a900 a9d0 a9f0 aa50 abf0 104a0 10d30 11066 110f0 11136 111d0 112f0 11450 114d0"
    " 11650 116c0 11730 118e0 11950 11c50 11d50 11da0 16a60 16ac0 16b50 1d7ce 1d7d8 1d7e2 1d7ec 1d7f6 1e140 1e2f0 1e950"
    " 1fbf0"
)


class _Table(dict[int, "str | int | None"]):
    """What each character becomes; others become themselves, which is remembered of the first few thousand of them."""

    def __missing__(self, code: int) -> int:
        if len(self) < 1 << 14:
            self[code] = code
        return code


REPLACED: dict[int, str] = (
    {int(code, 16): entry[0] for entry in LOOKALIKES.split(",") for code in entry[2:].split()}
    | {int(nought, 16) + n: str(n) for nought in NOUGHTS.split() for n in range(10)}
    | {code: chr((65, 97)[(code - 0x1D400) // 26 % 2] + (code - 0x1D400) % 26) for code in MATHEMATICAL}
    | {code: chr(code - 0xFEE0) for code in FULL_WIDTH}
    | dict.fromkeys(BLANKS, " ")
    | dict.fromkeys(DASHES, "-")
)


def _ranges(codes: Sequence[int]) -> str:
    """Write code points as the inside of a character class."""
    firsts = [code for n, code in enumerate(codes) if n == 0 or codes[n - 1] != code - 1]
    lasts = [code for n, code in enumerate(codes) if n == len(codes) - 1 or codes[n + 1] != code + 1]
    return "".join(f"{chr(a)}-{chr(b)}" for a, b in zip(firsts, lasts, strict=True))


# What stands in ordinary prose is told apart, as replacing it alone takes next to no time.
COMMON = {"\u00a0": " ", "\u202f": " ", "\u2010": "-", "\u2011": "-", "\u2013": "-", "\u2014": "-"}
UNUSUAL = f"[{_ranges(sorted(HIDDEN))}{_ranges(sorted(REPLACED.keys() - set(map(ord, COMMON))))}]"
_TABLE = _Table(dict.fromkeys(HIDDEN, None) | REPLACED)
_FOREIGN = re.compile(r"[^\x00-\x7f](?:[\x00-\x7f]{0,8}[^\x00-\x7f])*")  # what is not ASCII, and short gaps in it


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain reading. `at` are the places in it before which something was left out, `gone` how much so far."""

    text: str
    at: Sequence[int] = ()
    gone: Sequence[int] = ()

    def place(self, index: int) -> int:
        """Return where the character at `index` stood in the text as it came."""
        before = bisect_right(self.at, index)
        return index + self.gone[before - 1] if before else index

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a part of the reading, not empty, stood in the text as it came."""
        return self.place(start), self.place(end - 1) + 1


def tidied(text: str) -> str:
    """Read a text plainly as far as nothing in it is unusual; places stay what they were."""
    for character, instead in COMMON.items():
        text = text.replace(character, instead)
    return text


def read(text: str) -> Plain:
    """Read a text plainly; takes time linear in its length, and next to none where it is ASCII."""
    if text.isascii():
        return Plain(text)
    at: list[int] = []
    gone: list[int] = []
    pieces: list[str] = []
    done = total = 0
    for match in _FOREIGN.finditer(text):
        part = match[0]
        shown = part.translate(_TABLE)
        if len(shown) < len(part):
            for place, character in enumerate(part, match.start()):
                if not character.translate(_TABLE):
                    at.append(place - total)
                    total += 1
                    gone.append(total)
        pieces += [text[done : match.start()], shown]
        done = match.end()
    return Plain("".join([*pieces, text[done:]]), at, gone)
