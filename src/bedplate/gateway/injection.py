"""Tells how much a text looks like a prompt injection: structural rules, and a small linear model of words.

It reports and is not made to decide alone: instructions inside a document are mostly missed, and people who write about
attacks are sometimes taken for attackers. What it finds and misses: `docs/model-cards/injection.md`.

The model adds up integer weights of words, of pairs of words, and of pieces of words that it does not know, and takes
the most suspicious stretch of `window` words: a long text costs what its words cost, and is no place to hide.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
import zlib
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate, repeat
from math import isqrt
from operator import add, sub
from pathlib import Path
from typing import TYPE_CHECKING, Any

import re2

from bedplate.errors import Tampered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Span = tuple[str, int, int]  # label, start, end

THRESHOLD = 500  # permille: a text that scores this or more is reported
VERSION = 1
DIGEST = "3b64df124c5f18731139c162e10452d7df29a4b988d55a70223ad6de58660152"
WEIGHTS = Path(__file__).with_name("injection.bin")
HEAD = b"bedplate injection weights"
RULES_DIGEST = "9e49151328b26d9715d8b5f3bae0ef32618eaf080a15aa336a0ff6448db51fd5"
RULES = Path(__file__).with_name("injection-rules.toml")

LONGEST = 40  # bytes of a word that are read
UNIT = 1 << 10  # weights and logits are integers in 1/1024

# What stands for nothing is left out before words are read; what looks like a Latin letter is read as one.
HIDDEN = re.compile(
    "[\u00ad\u0300-\u036f\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    "\U000e0000-\U000e01ef]+"
)
MARKS = re.compile("[\u00a0-\u00bf\u2000-\u200a\u2010-\u205f\u3000-\u303f\uff0c\uff0e\uff1a\uff1b\uff1f\uff01]")
ALIKE_LETTERS = re.compile("[\u0370-\u04ff\uff21-\uff5a]")
ALIKE = str.maketrans(
    "".join(map(chr, range(0xFF21, 0xFF3B)))
    + "".join(map(chr, range(0xFF41, 0xFF5B)))
    + "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u0501\u03bf\u03b1\u03b5\u03b9\u03bd\u03c1\u03c5"
    "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0406\u0391\u0392\u0395\u0397\u0399\u039a\u039c"
    "\u039d\u039f\u03a1\u03a4\u03a7",
    "abcdefghijklmnopqrstuvwxyz" * 2 + "aeopcyxisjd" + "oaeivpu" + "abekmhopctxi" + "abehikmnoptx",
)
PLAIN = bytes(ord(chr(n).lower()) if chr(n).isalnum() else 32 for n in range(128)) + bytes(range(128, 256))
TOKEN = re.compile("[^ ]+")
SURROGATES = re.compile("[\ud800-\udfff]")

# Hidden text: tag characters outside a flag, runs of what shows nothing, letters pulled apart by it, right-to-left
# overrides. A joiner in an emoji, a non-joiner in Persian and a soft hyphen in German are how people write.
TAGGED = re.compile("(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0020-\U000e007f]{2,}")
RUN = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff]{4,}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}|[\u202d\u202e]")
PULLED = re.compile("[A-Za-z][\u200b-\u200d\u2060\ufeff][A-Za-z]")
PULLED_LEAST = 3  # places in one text

MEMORY = 32 << 20  # bytes that one pattern's automaton may take; beyond that matching is slower, and still linear
CODED = r"[A-Za-z0-9+/_-]{24,}={0,2}"
CODED_MOST = 8  # pieces of one text that are decoded,
CODED_LONGEST = 4096  # and characters of each
CODED_WEIGHT = 950


@dataclass(frozen=True, slots=True)
class Model:
    """The weights: of words, of pairs of words run together, of pieces of words that are not in `words`."""

    window: int  # words
    bias: int
    slope: int  # off the logit for each doubling of the number of windows: a long text has more chances to look odd
    words: Words
    pairs: dict[bytes, int]
    steps: tuple[int, ...]  # the logit from which n + 1 permille are reached

    def sums(self, words: Sequence[bytes]) -> list[int]:
        """Return the running sum of the weights, from 0 on."""
        pairs = map(self.pairs.get, map(add, words, words[1:]), repeat(0))
        return list(accumulate(map(add, map(self.words.__getitem__, words), [0, *pairs]), initial=0))

    def highest(self, words: Sequence[bytes]) -> int:
        """Return the logit of the most suspicious window, in 1/1024; `words` may not be empty."""
        return self.logit(max(self.windows(self.sums(words))), len(words))

    def logit(self, total: int, length: int) -> int:
        """Return the logit of a window of this weight in a text of `length` words, in 1/1024.

        Bias and weight over the root of the number of words, less the slope.
        """
        count = min(length, self.window)
        doublings = (length * UNIT // count).bit_length() - UNIT.bit_length()
        return self.bias + total * UNIT // isqrt(count * UNIT * UNIT) - self.slope * doublings

    def windows(self, sums: Sequence[int]) -> list[int]:
        """Return the sum of every stretch of `window` words, or of the whole where there are fewer."""
        return list(map(sub, sums[self.window :], sums)) or [sums[-1]]


class Words(dict[bytes, int]):
    """Weights of words; a word that is not among them weighs what its pieces weigh."""

    pieces: dict[bytes, int]

    def __missing__(self, word: bytes) -> int:
        """Add up the pieces; nothing is kept, so that no text changes what the next one costs."""
        get = self.pieces.get
        return sum([get(piece, 0) for piece in pieces(word)])


def score(text: str) -> int:
    """Return how much `text` looks like an injection: permille, 0 to 1000, the same on every machine.

    `Tampered` where the weights are not those this version was measured with.
    """
    text = _valid(text)
    return max(_modelled(text), max((weight for _, weight, _, _ in _ruled(text)), default=0))


def findings(text: str) -> list[tuple[str, int, int]]:
    """Return what was found as (label, start, end), in the order of the text; nothing where `score` is below THRESHOLD.

    Positions are those of the text as given. Spans of different labels may overlap.
    """
    text = _valid(text)
    spans = {(label, start, end) for label, weight, start, end in _ruled(text) if weight >= THRESHOLD}
    if _modelled(text) >= THRESHOLD:
        spans |= {("prompt injection", *place) for place in _stretches(text)}
    return sorted(spans, key=lambda span: (span[1], -span[2], span[0]))


@cache
def load() -> Model:
    """Read the weights, once; a server that calls this when it starts reads no file while it serves."""
    return read(WEIGHTS.read_bytes(), DIGEST)


def read(data: bytes, digest: str) -> Model:
    """Read weights whose SHA-256 is `digest`. `Tampered` where they are others, damaged, or of another version."""
    _refuse_other(data, digest, WEIGHTS.name, "weights")
    head, _, body = data.partition(b"\n")
    if head != b"%s %d" % (HEAD, VERSION):
        raise Tampered(f"{WEIGHTS.name}: not injection weights of version {VERSION}", hint="install Bedplate again")
    known: dict[str, Any] = json.loads(zlib.decompress(body))
    words = Words(_weights(known["words"]))
    words.pieces = _weights(known["pieces"])
    return Model(known["window"], known["bias"], known["slope"], words, _weights(known["pairs"]), tuple(known["steps"]))


def read_rules(data: bytes, digest: str) -> tuple[tuple[str, int, str], ...]:
    """Read rules whose SHA-256 is `digest` as (label, permille, RE2 pattern). `Tampered` where they are others."""
    _refuse_other(data, digest, RULES.name, "rules")
    told = tomllib.loads(data.decode())
    parts = {f"{{{name}}}": "".join(part) for name, part in told["parts"].items()}
    return tuple((rule["label"], rule["permille"], _filled("".join(rule["pattern"]), parts)) for rule in told["rule"])


def _refuse_other(data: bytes, digest: str, name: str, what: str) -> None:
    if hashlib.sha256(data).hexdigest() != digest:
        raise Tampered(
            f"{name}: these are not the {what} that version {VERSION} of the injection detector was measured with",
            hint="install Bedplate again",
        )


def _filled(pattern: str, parts: dict[str, str]) -> str:
    for name, part in parts.items():
        pattern = pattern.replace(name, part)
    return pattern


def _weights(table: dict[str, Any]) -> dict[bytes, int]:
    return dict(zip(table["of"].encode().split(b" "), table["weights"], strict=True))


def tokens(text: str) -> list[bytes]:
    """Return the words as UTF-8: lower case, look-alike letters read as Latin ones, without what shows nothing."""
    return _flat(text if text.isascii() else HIDDEN.sub("", text)).split()


def pieces(word: bytes) -> list[bytes]:
    """Return the pieces of four bytes that begin at every second byte of a word, its ends marked."""
    word = b"^" + word[:LONGEST] + b"$"
    return [word[n : n + 4] for n in range(0, max(1, len(word) - 3), 2)]


def _flat(text: str) -> bytes:
    """Return UTF-8 of as many characters as the text: words in lower case, one blank for every other character."""
    if text.isascii():
        return text.encode().translate(PLAIN)
    if ALIKE_LETTERS.search(text):
        text = text.translate(ALIKE)
    lower = text.lower()
    if len(lower) != len(text):  # a capital dotted i becomes two characters
        lower = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
    return MARKS.sub(" ", lower).encode().translate(PLAIN)


def _valid(text: str) -> str:
    """Return the text with half surrogates, which no encoding allows, as replacement characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return SURROGATES.sub("\ufffd", text)
    return text


def _modelled(text: str) -> int:
    words = tokens(text)
    if not words:
        return 0
    model = load()
    return _permille(model, model.highest(words))


def _permille(model: Model, logit: int) -> int:
    low, high = 0, len(model.steps)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if model.steps[middle] <= logit else (low, middle)
    return low


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Find the stretches over the threshold, each from its first telling word to its last; none overlaps another."""
    spans = [span.span() for span in HIDDEN.finditer(text)] if not text.isascii() else []
    kept = [*zip([0, *(end for _, end in spans)], [*(start for start, _ in spans), len(text)], strict=True)]
    places = [n for start, end in kept for n in range(start, end)]
    flat = _flat("".join(text[start:end] for start, end in kept)).decode()
    words = [match.span() for match in TOKEN.finditer(flat)]
    model = load()
    sums = model.sums([flat[start:end].encode() for start, end in words])
    windows = model.windows(sums)
    count = min(len(words), model.window)
    at = 0
    while at < len(windows):
        if _permille(model, model.logit(windows[at], len(words))) < THRESHOLD:
            at += 1
            continue
        peak = max(range(at, min(at + count, len(windows))), key=windows.__getitem__)
        telling = [n for n in range(peak, peak + count) if sums[n + 1] > sums[n]] or [peak]
        yield places[words[telling[0]][0]], places[words[telling[-1]][1] - 1] + 1
        at = peak + count


def _ruled(text: str) -> Iterator[tuple[str, int, int, int]]:
    """Find what the rules say: label, permille, start, end."""
    if not text.isascii() and HIDDEN.search(text):
        for pattern, least in ((TAGGED, 1), (RUN, 1), (PULLED, PULLED_LEAST)):
            found = [match.span() for match in pattern.finditer(text)]
            if len(found) >= least:
                yield from (("hidden text", 900, start, end) for start, end in found)
    yield from _matched(text)
    yield from _decoded(text)


def _matched(text: str) -> Iterator[tuple[str, int, int, int]]:
    any_rule, rules = _compiled()
    if any_rule(text):
        for label, weight, rule in rules:
            yield from ((label, weight, *match.span()) for match in rule(text))


def _decoded(text: str) -> Iterator[tuple[str, int, int, int]]:
    """Decode what looks like base64 or hexadecimal, and look at what it says."""
    for coded, _ in zip(_coded()(text), range(CODED_MOST), strict=False):
        said = _said(coded[0][:CODED_LONGEST])
        if said and (_modelled(said) >= THRESHOLD or any(True for _ in _matched(said))):
            yield "encoded instruction", CODED_WEIGHT, *coded.span()


def _said(coded: str) -> str:
    """Return what base64 or hexadecimal says; nothing where that is no text of several words."""
    coded = coded.rstrip("=")
    try:
        said = (
            bytes.fromhex(coded)
            if re.fullmatch("(?:[0-9a-fA-F]{2})+", coded)
            else base64.b64decode(
                coded[: len(coded) - (len(coded) % 4 == 1)] + "==",
                altchars=b"-_" if "-" in coded or "_" in coded else None,
            )
        ).decode()
    except ValueError:
        return ""
    return said if " " in said and said.replace("\n", " ").replace("\t", " ").isprintable() else ""


@cache
def _compiled() -> tuple[Callable[[str], Any], tuple[tuple[str, int, Callable[[str], Any]], ...]]:
    """Read and compile the rules, once: all of them in one, to pass by quickly, and each."""
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = MEMORY
    options.log_errors = False
    told = read_rules(RULES.read_bytes(), RULES_DIGEST)
    rules = tuple((label, weight, re2.compile(pattern, options).finditer) for label, weight, pattern in told)
    return re2.compile("|".join(f"(?:{pattern})" for _, _, pattern in told), options).search, rules


@cache
def _coded() -> Callable[[str], Any]:
    return partial(re2.finditer, re2.compile(CODED))
