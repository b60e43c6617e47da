"""Taint: whence the values in a call are. Kept are keyed hashes of what a run was told and read, never the text.

A text is taken apart into atoms: words, numbers, mail addresses, hosts, account numbers and runs of digits, without
case, invisible characters and separators. A value is the user's or a trusted source's own if all its atoms stand in what
they said; it is tainted if one of the others stands in what an outsider said; else nobody knows whence it is.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import unicodedata
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec

from .toolcall import Tainted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .charter import Tool

TASK = "task"  # the source of what the user said
NOWHERE = "nowhere"
MAX_CHARS, MAX_ATOMS = 1 << 20, 100_000  # of one text; a longer one taints whatever is not trusted
IN_A_ROW = 6  # words, for an echo
WORD, NUMBER, MAIL, HOST, ACCOUNT, DIGITS, ECHO = range(1, 8)
TYPED = frozenset({MAIL, HOST, ACCOUNT, DIGITS})  # of which a text may hold exactly one
PART, NAMED, FLOOD = 0x80, 0x7E, 0x7F  # a piece of something larger; flags of the whole text
SIZE = 9  # bytes of an atom: kind, and eight of the hash
FEW_DIGITS, MOST_GROUPS = 7, 8
SHORT = 16  # characters; nothing is hidden in less
Found = tuple[int, str]  # kind and text of an atom

_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]")  # fmt: skip
_MAIL = re.compile(r"[\w.+'-]+@[\w-]+(?:\.[\w-]+)+")
_HOST = re.compile(
    r"(?:https?://|ftp://)?(?:[\w-]+@)?((?:[\w-]+\.)+[a-z][\w-]{1,62})(?::\d{1,5})?((?:[/?#][^\s\"'<>)\]}]*)?)"
)
_ACCOUNT = re.compile(r"(?<![^\W_])[a-z]{2}\d{2}(?:[ \-.]?[a-z0-9]{1,30}){1,10}")
_WHOLE_ACCOUNT = re.compile(r"[a-z]{2}\d{2}[a-z0-9]{11,30}")
_COMPACT = re.compile(r"(?<![^\W_])[a-z]{2}\d{2}[a-z0-9]{11,30}(?![^\W_])")
_APART = re.compile(r"(?<!\w)\d[\d ()./,'\u2019\-]{5,60}\d(?!\w)")
_DIGITS = re.compile(r"\d[\d ()./,'\u2019\-]{5,60}\d")
_NUMBER = re.compile(r"\d+(?:[.,'\u2019]\d+)*")
_LOOSE = re.compile(r"(?<!\w)\d+(?:[.,'\u2019]\d+)*(?!\w)")
_WORD = re.compile(r"\w+")
_PIECE = re.compile(r"\d+|[^\W\d_]+")
_GLUED = re.compile(r"(?<=[a-z]{2})\.(?=[A-Z][a-z]+\b)")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_SMALL = frozenset(
    "a an the of to with and or in on at for by from is are be it its this that re fwd fw as per our your my mr mrs ms".split()
)


class Provenance:
    """What one run was told and has read. `key`: so that nobody can tell words from hashes; at most 64 bytes."""

    __slots__ = ("_asked", "_flood", "_key", "_kinds", "_named", "_sources", "_trusted", "_untrusted")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._trusted: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._untrusted: dict[bytes, list[int]] = {}  # the steps that read it
        self._sources: dict[int, str] = {}
        self._kinds: dict[tuple[int, int], set[bytes]] = {}  # what a step read of one kind
        self._named: set[int] = set()  # steps that read what the user named
        self._flood: int | None = None

    # Learning

    def trust(self, text: str, step: int, source: str) -> None:
        """Take note of what the user said (source `task`), or of what a trusted source returned."""
        self.add(self.atoms(text), trusted=True, step=step, source=source)

    def distrust(self, text: str, step: int, source: str, *, named: bool = False) -> None:
        """Take note of a text that an outsider may have written. `named`: the user named the place it was read from."""
        self.add(self.atoms(text, named=named), trusted=False, step=step, source=source)

    def atoms(self, text: str, *, named: bool = False) -> bytes:
        """Return a text's atoms as hashes, to be kept and added again."""
        found = bytearray(bytes([NAMED]) + bytes(8)) if named else bytearray()
        seen: set[tuple[int, str]] = set()
        for kind, atom in _heard(text[:MAX_CHARS]):
            if (kind, atom) not in seen:
                seen.add((kind, atom))
                found += self._hash(kind, atom)
            if len(seen) >= MAX_ATOMS:
                break
        if len(text) > MAX_CHARS or len(seen) >= MAX_ATOMS:
            found += bytes([FLOOD]) + bytes(8)
        return bytes(found)

    def add(self, atoms: bytes, trusted: bool, step: int, source: str) -> None:  # noqa: FBT001  as it is kept
        """Add a text by its atoms."""
        if len(atoms) % SIZE:
            raise ValueError(f"{len(atoms)} bytes are no atoms")
        records = [atoms[place : place + SIZE] for place in range(0, len(atoms), SIZE)]
        if trusted:
            whole = [one for one in records if one[0] <= ECHO]
            self._trusted.update(whole)
            if source == TASK:
                self._asked.update(whole)
            return
        self._sources[step] = source
        for one in records:
            kind = one[0]
            if kind == NAMED:
                self._named.add(step)
            elif kind == FLOOD:
                self._flood = step if self._flood is None else self._flood
            else:
                if kind in TYPED:
                    self._kinds.setdefault((step, kind), set()).add(one)
                bare = bytes([kind & ~PART]) + one[1:]
                self._untrusted.setdefault(bare, []).append(step)

    # Asking

    @property
    def distrusts(self) -> bool:
        """Tell whether the run has read anything that an outsider may have written."""
        return bool(self._untrusted) or self._flood is not None

    def asked(self, phrases: Iterable[str]) -> bool:
        """Tell whether the user said one of these: every word of it."""
        return any(
            words and all(self._hash(*one) in self._asked for one in words)
            for words in ([f for alternatives in _said(phrase) for f in alternatives[:1]] for phrase in phrases)
        )

    def names(self, arguments: Mapping[str, Any]) -> bool:
        """Tell whether the user named what is read: every text in these arguments is in the user's own words."""
        texts = [value for _, value, _ in _leaves("", dict(arguments)) if isinstance(value, str) and value.strip()]
        return bool(texts) and all(
            bool(said := _said(text)) and all(any(self._hash(*f) in self._asked for f in alts) for alts in said)
            for text in texts
        )

    def tainted(
        self,
        arguments: Mapping[str, Any],
        paths: Sequence[str],
        vouch: bool = False,  # noqa: FBT001, FBT002  mostly left out
        *,
        links: bool = False,
    ) -> list[Tainted]:
        """List values at these paths that are not the user's or a trusted source's own.

        `vouch`: an address, host or number that stands in a place the user named, the only one of its kind there, counts
        as the user's own. `links`: look at addresses, hosts and numbers of accounts and telephones only.
        """
        found: dict[str, Tainted] = {}
        for path in paths:
            for name, value, key in _at(arguments, path):
                one = None if name in found else self._judge(name, value, vouch=vouch, links=links)
                if one is not None and (not key or one.source != NOWHERE):
                    found[name] = one
        return list(found.values())

    def echoes(self, arguments: Mapping[str, Any], paths: Sequence[str]) -> bool:
        """Tell whether a text at these paths repeats six words in a row of what an outsider said."""
        for path in paths:
            for _, value, _ in _at(arguments, path):
                for row in _rows(_words(_plain(value))) if isinstance(value, str) else ():
                    atom = self._hash(ECHO, row)
                    if atom in self._untrusted and atom not in self._trusted:
                        return True
        return False

    def _judge(self, name: str, value: object, *, vouch: bool, links: bool = False) -> Tainted | None:
        steps: list[int] = []
        nowhere = False
        for alternatives in _said(value):
            if links and alternatives[0][0] not in TYPED:
                continue
            atoms = [self._hash(kind, atom) for kind, atom in alternatives]
            if any(atom in self._trusted for atom in atoms):
                continue
            where = [step for atom in atoms for step in self._untrusted.get(atom, ())]
            if vouch and any(self._vouched(atom) for atom in atoms):
                continue
            steps += where
            nowhere = nowhere or not where
        if steps:
            return Tainted(name, min(steps), self._sources[min(steps)])
        if nowhere and self._flood is not None:
            return Tainted(name, self._flood, self._sources[self._flood])
        return Tainted(name, 0, NOWHERE) if nowhere else None

    def _vouched(self, atom: bytes) -> bool:
        return any(
            step in self._named and self._kinds.get((step, atom[0])) == {atom} for step in self._untrusted.get(atom, ())
        )

    def _hash(self, kind: int, atom: str) -> bytes:
        told = bytes([kind & ~PART]) + atom.encode("utf-8", "surrogatepass")
        return bytes([kind]) + blake2b(told, digest_size=8, key=self._key).digest()


def readings(tool: Tool, result: object, message: str = "") -> list[tuple[str, bool]]:
    """Split what a tool returned into texts, and tell of each whether it is trusted: as the charter declares its fields."""
    if isinstance(result, str) and result[:1] in {"{", "["} and tool.trusted:
        try:
            result = msgspec.json.decode(result)
        except msgspec.DecodeError:
            return [(f"{result}\n{message}", tool.output == "trusted")]
    own = {name for path in tool.trusted for name, _, key in _at(result, path) if not key}
    sides: dict[bool, list[str]] = {True: [], False: [message] if message else []}
    for name, value, _ in _leaves("", result):
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            sides[tool.output == "trusted" or name in own].append(str(value))
    return [("\n".join(texts), trusted) for trusted, texts in sides.items() if texts]


# Walking through values


def _leaves(name: str, value: object) -> Iterator[tuple[str, object, bool]]:
    """Yield every value within a value, with its path; keys too, marked as such."""
    if isinstance(value, dict):
        for key, inner in value.items():
            path = f"{name}.{key}" if name else str(key)
            if name:
                yield f"{path}.(key)", str(key), True
            yield from _leaves(path, inner)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _leaves(f"{name}.{number}" if name else str(number), inner)
    elif value is not None and not isinstance(value, bool):
        yield name, value, False


def _at(arguments: object, path: str) -> Iterator[tuple[str, object, bool]]:
    """Yield every value at or below a path, in which `*` stands for every key or place."""
    if "." not in path and path != "*" and isinstance(arguments, dict):  # as nearly every path is
        if path in arguments:
            yield from _leaves(path, arguments[path])
        return
    here: list[tuple[str, object]] = [("", arguments)]
    for part in path.split("."):
        onward: list[tuple[str, object]] = []
        for name, value in here:
            pairs: Iterable[tuple[Any, object]] = ()
            if isinstance(value, dict):
                pairs = value.items() if part == "*" else [(part, value[part])] if part in value else ()
            elif isinstance(value, list | tuple):
                if part == "*":
                    pairs = enumerate(value)
                elif part.isdecimal() and int(part) < len(value):
                    pairs = [(part, value[int(part)])]
            onward += [(f"{name}.{key}" if name else str(key), inner) for key, inner in pairs]
        here = onward
    for name, value in here:
        yield from _leaves(name, value)


# Taking texts apart


def _plain(text: str) -> str:
    """Return a text without case, invisible characters and forms that only look different."""
    if text.isascii():
        return text.lower()
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))).casefold()


def _heard(text: str) -> Iterator[Found]:
    """Yield every atom that a text may be said to hold."""
    for one in (text, *_decoded(text)):
        yield from _heard_plain(_plain(one))


def _heard_plain(text: str) -> Iterator[Found]:
    for match in _MAIL.finditer(text):
        yield MAIL, _mail(match.group())
    for match in _HOST.finditer(text):
        after = match.start() and text[match.start() - 1] == "@"
        names = _host(match.group(1)).split(".")
        yield HOST | (PART if after or "@" in match.group() else 0), ".".join(names)
        for place in range(1, len(names) - 1):
            yield HOST | PART, ".".join(names[place:])
    for match in _ACCOUNT.finditer(text):
        yield from _accounts(re.split(r"[ \-.]", match.group()))
    for match in _DIGITS.finditer(text):
        groups = re.findall(r"\d+", match.group())
        for begin in range(len(groups)):
            for end in range(begin + 1, min(len(groups), begin + MOST_GROUPS) + 1):
                if len(joined := "".join(groups[begin:end])) >= FEW_DIGITS:
                    yield DIGITS, _digits(joined)
    for match in _NUMBER.finditer(text):
        first, *others = _numbers(match.group())
        alone = (
            not (match.start() and text[match.start() - 1].isalpha())
            and not text[match.end() : match.end() + 1].isalpha()
        )
        yield (NUMBER if alone else NUMBER | PART), first
        for other in others:
            yield NUMBER | PART, other
    words = _words(text)
    for word in words:
        yield WORD, word
        pieces = _PIECE.findall(word)
        if len(pieces) > 1:
            for piece in pieces:
                yield WORD | PART, piece
    for row in _rows(words):
        yield ECHO, row


def _accounts(groups: Sequence[str]) -> Iterator[Found]:
    """Yield the account numbers that these groups may be, up to any of them; only the right one, if one is an IBAN."""
    joined = ["".join(groups[:count]) for count in range(1, len(groups) + 1)]
    possible = [one for one in joined if _WHOLE_ACCOUNT.fullmatch(one)]
    right = [one for one in possible if int("".join(str(int(c, 36)) for c in one[4:] + one[:4])) % 97 == 1]
    for one in possible:
        yield (ACCOUNT if not right or one in right else ACCOUNT | PART), one


def _said(value: object) -> list[tuple[Found, ...]]:
    """Return the atoms that a value consists of, each in the ways in which it may be written elsewhere."""
    if isinstance(value, int | float):
        return [((NUMBER, _number(Decimal(repr(value)))),)]
    if not isinstance(value, str):
        return []
    plain = _plain(value)
    if _WHOLE_ACCOUNT.fullmatch(plain) and sum(map(str.isdigit, plain)) >= FEW_DIGITS:
        return [((ACCOUNT, plain),)]
    if plain.isalpha() and len(plain) < SHORT:
        return [((WORD, plain),)]
    found: dict[tuple[Found, ...], None] = {}
    for one in (value, *_decoded(value)):
        found.update(dict.fromkeys(_said_plain(_plain(one))))
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
    yield from (((WORD, word),) for word in _words(rest))


def _loose_numbers(text: str) -> tuple[str, list[str]]:
    found: list[str] = []

    def take(match: re.Match[str]) -> str:
        found.append(_numbers(match.group())[0])
        return " "

    return _LOOSE.sub(take, text), found


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if not word.isdecimal()]


def _rows(words: Sequence[str]) -> Iterator[str]:
    for place in range(len(words) - IN_A_ROW + 1):
        yield " ".join(words[place : place + IN_A_ROW])


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
