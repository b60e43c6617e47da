"""Atoms: a text taken apart into words, numbers, mail addresses, hosts, account numbers, runs of digits and names.

They are the same however a text is written: without case, invisible characters and separators.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORD, NUMBER, MAIL, HOST, ACCOUNT, DIGITS, ECHO, VALUE, NAME = range(1, 10)
TYPED = frozenset({MAIL, HOST, ACCOUNT, DIGITS})  # of which a text may hold exactly one
PART = 0x80  # a piece of something larger
IN_A_ROW = 6  # words, for an echo
LONGEST_NAME = 5  # words
FEW_DIGITS, MOST_GROUPS = 7, 8
SHORT = 16  # characters; nothing is hidden in less
Found = tuple[int, str]  # kind and text of an atom

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_MAIL = re.compile(r"[\w.+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,10}")  # bounds: none is longer, nor takes long
_HOST = re.compile(
    r"(?:https?://|ftp://)?(?:[\w-]{1,64}@)?((?:[\w-]{1,63}\.){1,10}[a-z][\w-]{1,62})(?::\d{1,5})?"
    r"((?:[/?#][^\s\"'<>)\]}]*)?)"
)
_ACCOUNT = re.compile(r"(?<![^\W_])(?=([a-z]{2}\d{2}(?:[ \-.]?[a-z0-9]{1,30}){1,10}))")  # also where another may go on
_WHOLE_ACCOUNT = re.compile(r"[a-z]{2}\d{2}[a-z0-9]{11,30}")
_COMPACT = re.compile(r"(?<![^\W_])[a-z]{2}\d{2}[a-z0-9]{11,30}(?![^\W_])")
_APART = re.compile(r"(?<!\w)\d[\d ()./,'\u2019\-]{5,60}\d(?!\w)")
_DIGITS = re.compile(r"\d[\d ()./,'\u2019\-]{5,60}\d")
_NUMBER = re.compile(r"\d+(?:[.,'\u2019]\d+)*")
_LOOSE = re.compile(r"(?<!\w)\d+(?:[.,'\u2019]\d+)*(?!\w)")
_WORD = re.compile(r"\w+")
_PIECE = re.compile(r"\d+|[^\W\d_]+")
_CAPITALS = re.compile(r"(?:(?<!\w)(?![a-z\d_])\w[\w'\u2019&-]*[ \t]+){1,12}(?![a-z\d_])\w[\w'\u2019&-]*")
_GLUED = re.compile(r"(?<=[a-z]{2})\.(?=[A-Z][a-z]+\b)")
_BETWEEN = re.compile(r"[^\w@]+|_+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_SMALL = frozenset(  # words that say nothing about whence a value is
    re.findall(
        "[a-z]+",
        "a an and are as at be by for from fw fwd in is it its mr mrs ms my of on or our per re that the this to"
        " with your",
    )
)


def whole(value: object) -> str:
    """Return a value as it is compared as a whole: letters, digits and @ only."""
    if isinstance(value, int | float):
        return _number(Decimal(repr(value)))
    return _BETWEEN.sub("", normal(str(value)))


def normal(text: str) -> str:
    """Return a text without case, invisible characters and forms that only look different."""
    if text.isascii():
        return text.lower()
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))).casefold()


def heard(text: str) -> Iterator[Found]:
    """Yield every atom that a text may be said to hold."""
    for one in (text, *_decoded(text)):
        yield from _heard_plain(normal(one))
        for name in names_in(one):
            yield NAME, name


def _heard_plain(text: str) -> Iterator[Found]:
    for match in _MAIL.finditer(text) if "@" in text else ():  # to look for a sign is cheaper than for a pattern
        yield MAIL, _mail(match.group())
    for match in _HOST.finditer(text) if "." in text else ():
        of_mail = "@" in match.group() or (match.start() and text[match.start() - 1] == "@")
        names = _host(match.group(1)).split(".")
        yield HOST | (PART if of_mail else 0), ".".join(names)
        yield from ((HOST | PART, ".".join(names[place:])) for place in range(1, len(names) - 1))
    for match in _ACCOUNT.finditer(text):
        yield from _accounts(re.split(r"[ \-.]", match.group(1)))
    for match in _DIGITS.finditer(text):
        yield from _joined(re.findall(r"\d+", match.group()))
    for match in _NUMBER.finditer(text):
        first, *others = _numbers(match.group())
        before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
        yield (NUMBER | PART if before.isalpha() or after.isalpha() else NUMBER), first
        yield from ((NUMBER | PART, other) for other in others)
    words = words_in(text)
    for word in words:
        yield WORD, word
        pieces = _PIECE.findall(word)
        yield from ((WORD | PART, piece) for piece in pieces if len(pieces) > 1)
    yield from ((ECHO, row) for row in rows_of(words))


def _joined(groups: Sequence[str]) -> Iterator[Found]:
    """Yield the runs of digits that these groups may be, one or several in a row."""
    for begin in range(len(groups)):
        for end in range(begin + 1, min(len(groups), begin + MOST_GROUPS) + 1):
            if len(joined := "".join(groups[begin:end])) >= FEW_DIGITS:
                yield DIGITS, _digits(joined)


def _accounts(groups: Sequence[str]) -> Iterator[Found]:
    """Yield the account numbers that these groups may be, up to any of them; only the right one, if one is an IBAN."""
    joined = ["".join(groups[:count]) for count in range(1, len(groups) + 1)]
    possible = [one for one in joined if _WHOLE_ACCOUNT.fullmatch(one)]
    right = [one for one in possible if int("".join(str(int(c, 36)) for c in one[4:] + one[:4])) % 97 == 1]
    for one in possible:
        yield (ACCOUNT if not right or one in right else ACCOUNT | PART), one


def said(value: object) -> list[tuple[Found, ...]]:
    """Return the atoms that a value consists of, each in the ways in which it may be written elsewhere."""
    if isinstance(value, int | float):
        return [((NUMBER, _number(Decimal(repr(value)))),)]
    if not isinstance(value, str):
        return []
    plain = normal(value)
    if _WHOLE_ACCOUNT.fullmatch(plain) and sum(map(str.isdigit, plain)) >= FEW_DIGITS:
        return [((ACCOUNT, plain),)]
    if plain.isalpha() and len(plain) < SHORT:
        return [((WORD, plain),)]
    found: dict[tuple[Found, ...], None] = {}
    for one in (value, *_decoded(value)):
        found.update(dict.fromkeys(_said_plain(normal(one))))
    large = [one for one in found if one[0][1] not in _SMALL]
    return large or list(found)


def _said_plain(text: str) -> Iterator[tuple[Found, ...]]:
    rest = text.strip()
    bare = re.sub(r"[\s\-.]", "", rest)
    if _WHOLE_ACCOUNT.fullmatch(bare) and sum(map(str.isdigit, bare)) >= FEW_DIGITS:
        yield ((ACCOUNT, bare),)
        return
    spans: list[tuple[Found, ...]] = []

    def mail(match: re.Match[str]) -> str:
        spans.append(((MAIL, _mail(match.group())),))
        return " "

    def host(match: re.Match[str]) -> str:
        spans.append(((HOST, _host(match.group(1))),))
        return f" {match.group(2)} "

    def account(match: re.Match[str]) -> str:
        if not (_WHOLE_ACCOUNT.fullmatch(match.group()) and sum(map(str.isdigit, match.group())) >= FEW_DIGITS):
            return match.group()
        spans.append(((ACCOUNT, match.group()),))
        return " "

    def digits(match: re.Match[str]) -> str:
        groups = re.findall(r"\d+", match.group())
        joined = "".join(groups)
        if len(joined) < FEW_DIGITS:
            return match.group()
        number = _numbers(match.group())[:1] if _NUMBER.fullmatch(match.group()) else []
        spans.append(((DIGITS, _digits(joined)), *((NUMBER, one) for one in number)))
        return " "

    for pattern, take in ((_MAIL, mail), (_HOST, host), (_COMPACT, account), (_APART, digits)):
        rest = pattern.sub(take, rest)
    yield from spans
    rest, numbers = _loose_numbers(rest)
    yield from (((NUMBER, number),) for number in numbers)
    yield from (((WORD, word),) for word in words_in(rest))


def _loose_numbers(text: str) -> tuple[str, list[str]]:
    found: list[str] = []

    def take(match: re.Match[str]) -> str:
        found.append(_numbers(match.group())[0])
        return " "

    return _LOOSE.sub(take, text), found


def words_in(text: str) -> list[str]:
    """Return the words of a normal text; numbers are none."""
    return [word for word in _WORD.findall(text) if not word.isdecimal()]


def rows_of(words: Sequence[str]) -> Iterator[str]:
    """Yield every six words in a row."""
    for place in range(len(words) - IN_A_ROW + 1):
        yield " ".join(words[place : place + IN_A_ROW])


def names_in(text: str) -> Iterator[str]:
    """Yield every two to five words in a row that begin with capitals."""
    for match in _CAPITALS.finditer(text):
        words = words_in(normal(match.group()))
        for begin in range(len(words)):
            for end in range(begin + 2, min(len(words), begin + LONGEST_NAME) + 1):
                yield " ".join(words[begin:end])


def _mail(text: str) -> str:
    return text.strip(".'-")


def _host(text: str) -> str:
    return text.removeprefix("www.").strip(".-")


def _digits(joined: str) -> str:
    return joined.removeprefix("00") if len(joined) > FEW_DIGITS + 1 else joined


def _number(value: Decimal) -> str:
    return f"{abs(value).normalize():f}"


def _numbers(text: str) -> list[str]:
    """Return a number as it is most likely meant, then the other ways to read it, and its pieces."""
    marks = [c for c in text if not c.isdecimal()]
    groups = [str(int(group)) if group.isdecimal() else group for group in re.split(r"[.,'\u2019]", text)]
    if not marks:
        return [_number(Decimal(text))]
    whole, last = re.sub(r"\D", "", text), re.sub(r"\D", "", text[text.rindex(marks[-1]) :])
    split = _number(Decimal(f"{whole[: -len(last)] or 0}.{last}"))
    joined = _number(Decimal(whole))
    thousands = len(last) == 3 and (marks[-1] != "." or len(marks) > 1)  # noqa: PLR2004  1,000 but 1.234
    one_kind = len(set(marks)) == 1
    first, second = (joined, split) if (thousands and one_kind) or (one_kind and len(marks) > 1) else (split, joined)
    return [first, second, *groups]


def _decoded(text: str) -> Iterator[str]:
    """Yield what stands in a text in another writing: percent signs, character references, base64, no space."""
    if (other := _GLUED.sub(". ", text)) != text:
        yield other  # "see example.org.Then go on"
    if "%" in text and (other := unquote(text)) != text:
        yield other
    if "&" in text and (other := html.unescape(text)) != text:
        yield other
    for match in _BASE64.finditer(text):
        blob = match.group().rstrip("=").replace("-", "+").replace("_", "/")
        try:
            other = base64.b64decode(blob + "=" * (-len(blob) % 4), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if other.isprintable() and len(other) > 3:  # noqa: PLR2004  less is chance
            yield other
