"""Finds personal data and secrets in text, and redacts or blocks what policy says.

Every detector checks what its pattern suggests (a check digit, a range, a decoded header), and reads text in time
linear in its length. Zero-width characters, full-width forms and unusual blanks and hyphens do not hide anything.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    Span = tuple[str, int, int]  # label, start, end

MODES = ("observe", "redact", "block")

# Characters that show nothing, and look-alikes of one character each: positions change only where one is left out.
HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]+"
)
PLAIN = (
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
    | dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
    | dict.fromkeys([*range(0x2010, 0x2016), 0x2212, 0xFE63], "-")
)

DIGITS = re.compile(r"[0-9](?:[ .-]?[0-9]){12,}")
DIGIT = re.compile(r"[0-9]")
VALUES = bytes.maketrans(b"0123456789", bytes(range(10)))
DOUBLED = bytes.maketrans(b"0123456789", bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))
ISSUERS = (  # first and last prefix, then the lengths in use (ISO/IEC 7812 ranges of the card networks)
    (34, 34, (15,)),
    (37, 37, (15,)),
    (30, 30, (14, 16)),
    (36, 36, (14, 16)),
    (38, 39, (14, 16)),
    (35, 35, (16, 19)),
    (40, 49, (13, 16, 19)),
    (51, 55, (16,)),
    (22, 27, (16,)),
    (50, 50, (16, 19)),
    (56, 69, (16, 19)),
)
CARD_LENGTHS = {f"{n}": lengths for first, last, lengths in ISSUERS for n in range(first, last + 1)}

# Looking behind comes after the first characters: a pattern that starts with one is tried at every place of the text.
IBAN_HEAD = re.compile(r"[A-Za-z]{2}[0-9]{2}(?<![A-Za-z0-9].{4})(?=[ -]?[A-Za-z0-9])")
IBAN_LENGTHS = dict(  # characters per country (SWIFT IBAN registry, ISO 13616)
    re.findall(
        r"([A-Z]{2})([0-9]{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29"
        " ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28"
        " LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25"
        " QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
        " YE30",
    )
)
IBAN_BODIES = {
    country: re.compile(rf"(?:[ -]?[A-Za-z0-9]){{{int(length) - 4}}}(?![A-Za-z0-9])")
    for country, length in IBAN_LENGTHS.items()
}

AT = re.compile(r"@([\w.-]{4,253})")
LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}")  # on the text before the @, reversed

INSURANCE = re.compile(  # HMRC manual NIM39110: no D, F, I, Q, U, V; no O second; D is the last suffix
    r"[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z](?<![A-Za-z0-9]..)"
    r"(?<!BG|GB|KN|NK|NT|TN|ZZ)(?<!bg|gb|kn|nk|nt|tn|zz)"
    r"[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-Da-d](?![A-Za-z0-9])"
)
SOCIAL = re.compile(  # ssa.gov: area not 000, 666 or 9xx, group not 00, serial not 0000
    r"[0-8][0-9]{2}(?<![A-Za-z0-9-]...)(?<!000|666)([ -])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![A-Za-z0-9]|-[0-9])"
)
PHONE = re.compile(  # E.164: at most 15 digits; the North American plan always has ten after the 1
    r"\+(?<![A-Za-z0-9+].)(?:1(?:[ .()/-]{0,2}[0-9]){10}|[2-9](?:[ .()/-]{0,2}[0-9]){7,14})(?![0-9])"
)
ADDRESS = re.compile(r"[0-9](?<![A-Za-z0-9.].)[0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![A-Za-z0-9]|\.[0-9])")

BYTES = frozenset(map(str, range(256)))  # no leading noughts

KEY_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
AWS = re.compile(r"A[KS]IA(?<![A-Za-z0-9].{4})[A-Z0-9]{16}(?![A-Za-z0-9])")
API_KEY = re.compile(r"sk[-_](?<![A-Za-z0-9]...)[A-Za-z0-9_-]{20,}")
GITHUB = re.compile(r"gh[pousr]_(?<![A-Za-z0-9].{4})[A-Za-z0-9]{36,}|github_pat_(?<![A-Za-z0-9].{11})[A-Za-z0-9_]{22,}")
JWT = re.compile(r"eyJ(?<![A-Za-z0-9_-]...)[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*")
OURS = re.compile(r"bp[tki]_(?<![A-Za-z0-9].{4})[A-Za-z0-9_-]{16,}")
PASSWORD = re.compile(
    r"[PpCcSsAa](?i:(?<=p)(?:ass(?:word|wd|phrase)|(?<![a-z].)wd)|(?<=c)lient_secret|(?<=s)ecret_key|(?<=a)pi_?key)"
    r"[\"']?[ \t]{0,3}([:=])[ \t]{0,3}(\"[^\"\n]{4,200}\"|'[^'\n]{4,200}'|[\"']?[^\s\"',;&]{4,})"
)
NO_PASSWORD = re.compile(  # already redacted, or the place where one is filled in or read from
    r"\[redacted|\$[{(]|\$[A-Z_]+\b|\{|<[\w -]{1,40}>|%\w{1,40}%|\*{3}|\.{3}|x{4}|os\.|process\."
    r"|(?i:none|null|true|false)\b"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found in `text[start:end]`; `label` says what it is, `kind` which policy it falls under."""

    kind: str
    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Guarded:
    """The text as it may go on, everything found in the original, and whether it must not go on at all."""

    text: str
    findings: tuple[Finding, ...]
    blocked: bool


def find(text: str, kinds: Collection[str]) -> list[Finding]:
    """Find what belongs to the kinds named ("personal-data", "secrets"), in the order of the text.

    Positions are those of the text as given. Findings may overlap. `InvalidInput` on an unknown kind.
    """
    if unknown := set(kinds) - set(DETECTORS):
        raise InvalidInput(
            f"guardrail: no such kind: {', '.join(sorted(unknown))}", hint=f"known: {', '.join(sorted(DETECTORS))}"
        )
    plain, places = _normalised(text)
    found = [
        Finding(kind, label, places[start], places[end - 1] + 1)
        for kind in DETECTORS
        if kind in kinds
        for detector in DETECTORS[kind]
        for label, start, end in detector(plain)
    ]
    return sorted(found, key=lambda finding: (finding.start, -finding.end, finding.label))


def redact(text: str, findings: Collection[Finding]) -> str:
    """Put `[redacted: payment card]` in the place of each finding; of those that overlap, the first gives its name."""
    pieces, done = [], 0
    for finding in sorted(findings, key=lambda finding: (finding.start, -finding.end)):
        if finding.start >= done:
            pieces += [text[done : finding.start], f"[redacted: {finding.label}]"]
        done = max(done, finding.end)
    return "".join([*pieces, text[done:]])


def apply(text: str, policy: Mapping[str, str]) -> Guarded:
    """Do what `policy` (kind → observe, redact or block) says; a kind it does not name is not looked for.

    A blocked text is redacted as well, so that it can be shown to whoever asks why. `InvalidInput` on an unknown
    kind or mode.
    """
    if wrong := sorted(set(policy.values()) - set(MODES)):
        raise InvalidInput(f"guardrail: no such mode: {', '.join(wrong)}", hint=f"known: {', '.join(MODES)}")
    findings = find(text, policy.keys())
    hidden = [finding for finding in findings if policy[finding.kind] != "observe"]
    blocked = any(policy[finding.kind] == "block" for finding in findings)
    return Guarded(redact(text, hidden) if hidden else text, tuple(findings), blocked)


def _normalised(text: str) -> tuple[str, range | list[int]]:
    """Return plain text, and for each of its characters where it stood."""
    if text.isascii():
        return text, range(len(text))
    spans = [match.span() for match in HIDDEN.finditer(text)]
    kept = list(zip([0, *(end for _, end in spans)], [*(start for start, _ in spans), len(text)], strict=True))
    plain = "".join(text[start:end] for start, end in kept).translate(PLAIN)
    return plain, list(chain.from_iterable(range(start, end) for start, end in kept)) if spans else range(len(text))


def _matching(
    label: str, pattern: re.Pattern[str], valid: Callable[[str], bool] = bool
) -> Callable[[str], Iterator[Span]]:
    def detector(text: str) -> Iterator[Span]:
        return ((label, *match.span()) for match in pattern.finditer(text) if valid(match[0]))

    return detector


def _cards(text: str) -> Iterator[Span]:
    """Try every group of digits as the start of a card number, in its issuer's lengths (Luhn, ISO/IEC 7812-1)."""
    for run in DIGITS.finditer(text):
        at = [match.start() for match in DIGIT.finditer(text, *run.span())]
        digits = re.sub("[^0-9]", "", run[0])
        begins = [n for n, place in enumerate(at) if n == 0 or place > at[n - 1] + 1]
        edges = {*begins, len(at)}
        candidates = ((n, n + length) for n in begins for length in CARD_LENGTHS.get(digits[n : n + 2], ()))
        spans = [(start, end) for start, end in candidates if end in edges]
        # Sums up to each digit, every second one doubled: a span then costs two look-ups, however many there are.
        sums = [_sums(digits.encode(), odd) for odd in (0, 1)] if spans else []
        done = 0
        for start, end in spans:
            if start >= done and (sums[end % 2][end] - sums[end % 2][start]) % 10 == 0:
                done = end
                yield "payment card", at[start], at[end - 1] + 1


def _sums(digits: bytes, odd: int) -> list[int]:
    """Add up the digits to each place; those at odd (1) or even (0) places count double, less nine above nine."""
    row = bytearray(digits.translate(VALUES))
    row[odd::2] = digits[odd::2].translate(DOUBLED)
    return list(accumulate(row, initial=0))


def _ibans(text: str) -> Iterator[Span]:
    """Take as many characters as the country uses and check them modulo 97 (ISO 7064)."""
    for head in IBAN_HEAD.finditer(text):
        country = head[0][:2].upper()
        body = IBAN_BODIES[country].match(text, head.end()) if country in IBAN_BODIES else None
        if body and int("".join(str(int(c, 36)) for c in body[0] + head[0] if c not in " -")) % 97 == 1:
            yield "IBAN", head.start(), body.end()


def _emails(text: str) -> Iterator[Span]:
    """Look both ways from each @, within the lengths of RFC 5321 (64 characters before it, 253 after)."""
    for at in AT.finditer(text):
        place, name = at.start(), at[1].partition("..")[0].rstrip(".-_")
        labels = name.split(".")
        if len(labels) > 1 and all(labels) and len(labels[-1]) > 1 and not labels[-1][0].isdigit():
            local = LOCAL.match(text[max(0, place - 64) : place][::-1])
            if local:
                yield "email address", place - local.end(), place + 1 + len(name)


def _private_keys(text: str) -> Iterator[Span]:
    """Find keys whole; one that was cut off reaches to the end of the text."""
    done = 0
    while begin := KEY_BEGIN.search(text, done):
        end = KEY_END.search(text, begin.end())
        done = end.end() if end else len(text)
        yield "private key", begin.start(), done


def _passwords(text: str) -> Iterator[Span]:
    """Find the value of an assignment; after a colon no plain word, as people write "password: forgotten"."""
    for match in PASSWORD.finditer(text):
        value = match[2].strip("\"'")
        told = match[1] == "=" or match[2] != value or not value.rstrip(".!?)").isalpha()
        start = match.start(2) + match[2].index(value)
        if told and value and not NO_PASSWORD.match(text, start):
            yield "password", start, start + len(value)


def _is_token(text: str) -> bool:
    head = text.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def _has_digit(text: str) -> bool:
    return DIGIT.search(text) is not None


def _is_address(text: str) -> bool:
    return all(part in BYTES for part in text.split("."))


DETECTORS: Mapping[str, tuple[Callable[[str], Iterator[Span]], ...]] = {
    "personal-data": (
        _cards,
        _ibans,
        _emails,
        _matching("National Insurance number", INSURANCE),
        _matching("Social Security number", SOCIAL),
        _matching("phone number", PHONE),
        _matching("IP address", ADDRESS, _is_address),
    ),
    "secrets": (
        _private_keys,
        _matching("AWS access key", AWS),
        _matching("API key", API_KEY, _has_digit),
        _matching("GitHub token", GITHUB),
        _matching("JSON web token", JWT, _is_token),
        _matching("Bedplate token", OURS),
        _passwords,
    ),
}
