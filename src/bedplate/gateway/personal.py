"""Personal data: payment cards, accounts, telephone numbers, and addresses of mail and of machines."""

from __future__ import annotations

import ipaddress
import re
from itertools import accumulate
from typing import TYPE_CHECKING

from . import checkdigit
from .detect import CONTEXT, EDGE, Detector, compiled
from .identifier import IDENTIFIERS, PERSONAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .detect import Found, Reading

# Whatever goes on with digits: no number here is longer than 64 characters, with its blanks and brackets.
DIGITS_BEGIN = ((r"[0-9+(][0-9 ().+/-]*", CONTEXT),)

CARD_RUN = compiled(r"([0-9](?:[ .-]?[0-9]){12,})")
DIGIT = re.compile(rb"[0-9]")
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
CARD_LENGTHS = {f"{n}".encode(): lengths for first, last, lengths in ISSUERS for n in range(first, last + 1)}

SEPARATOR = re.compile(rb"[ .-]")

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
IBAN_HEAD = rf"(?i:{'|'.join(IBAN_LENGTHS)})[0-9]{{2}}"
IBAN_START = compiled(rf"{EDGE}({IBAN_HEAD})")
IBAN_BODIES = {
    country: re.compile(rf"(?:[ -]?[A-Za-z0-9]){{{int(length) - 4}}}(?![A-Za-z0-9])", re.ASCII)
    for country, length in IBAN_LENGTHS.items()
}

AT = compiled(r"(@)[\w.\x80-\xff-]{4}")
DOMAIN = re.compile(r"[\w.-]{4,253}")
LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}")  # on the text before the @, reversed
LOCAL_CLASS = r"[\w.!#$%&'*+/=?^`{|}~\x80-\xff-]"

BYTES = frozenset(map(str, range(256)))  # no leading noughts
NOBODYS = ("0.", "127.", "255.255.255.255")  # RFC 6890: this host, loopback, broadcast
VERSION = re.compile(rb"(?i)\b(?:version|release|v)[ .]?$")
GLOBAL = re.compile(r"(?i)[23][0-9a-f]{3}:|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:")  # RFC 4291, RFC 4193
ADDRESS = compiled(r"\b([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3})\b")
ADDRESS6 = compiled(r"\b([0-9A-Fa-f]{4}:[0-9A-Fa-f:]{1,35})")

ABROAD = compiled(  # E.164: at most 15 digits; the North American plan always has ten after the 1
    r"(\+ ?(?:1(?:[ .()/-]{0,2}[0-9]){10}|[2-9](?:[ .()/-]{0,2}[0-9]){7,14}))\b"
)
HOME = compiled(  # with a trunk 0 (GB, DE, FR, NL, CH): 8 to 12 digits; US: area and exchange begin with 2 to 9
    r"((?:\b|\()0[1-9](?:[ ./()-]{0,2}[0-9]){6,10}|(?:\b|\()[2-9][0-9]{2}\)?[ .-]?[2-9][0-9]{2}[ .-]?[0-9]{4})\b"
)
HOME_WORDS = (
    r"(?i:phone|\btele?f|\btel\b|\bmobi|handy|\bcell|\bcall|\bfax|whatsapp|nummer|\bnumber|portable|natel|\bring\b"
    r"|appele|appel\b|\bbel(?:len)?\b|\breach|\bdial|\btext\b|\bsms\b|\banruf|erreich|joindre|bereik|contact)"
)
NEAR_HOME = compiled(HOME_WORDS)
DATE = re.compile(r"[0-9]{2}([./-])[0-9]{2}\1[0-9]{4}|0[0-9]([./-])[0-9]{2}\2[0-9]{2}(?: .*)?")
JOINED_BEFORE = re.compile(rb"[0-9][ ./()-]{1,2}$")
JOINED_BEHIND = re.compile(rb"[ ./()-]{1,2}[0-9]")


def _cards(reading: Reading) -> Iterator[Found]:
    """Try every group of digits as the start of a card number, in its issuer's lengths (Luhn, ISO/IEC 7812-1)."""
    for first, last in reading.each(CARD_RUN):
        run = reading.line[first:last]
        at = [match.start() for match in DIGIT.finditer(run)]
        digits = run.translate(None, b" .-")
        begins = [n for n, place in enumerate(at) if n == 0 or place > at[n - 1] + 1]
        edges = {*begins, len(at)}
        known = ((n, CARD_LENGTHS.get(digits[n : n + 2], ())) for n in begins)
        spans = [(n, n + length) for n, lengths in known for length in lengths if n + length in edges]
        # Sums up to each digit, every second one doubled: a span then costs two look-ups, however many there are.
        sums = [_sums(digits, odd) for odd in (0, 1)] if spans else []
        begun = -1
        for start, end in spans:
            if start > begun and (sums[end % 2][end] - sums[end % 2][start]) % 10 == 0:
                place, behind = at[start], at[end - 1] + 1
                if _grouped(run[place:behind], alone=(place, behind) == (0, len(run))):
                    begun = start
                    yield "payment card", first + place, first + behind


def _grouped(number: bytes, *, alone: bool) -> bool:
    """Tell whether digits are grouped as people group a card's: tables of figures are not, and hold many a sum.

    Digits in groups of less than four must be all that is there, in groups alike, with one separator.
    """
    *sizes, last = map(len, SEPARATOR.split(number))
    if not sizes or min(sizes) >= 4:  # noqa: PLR2004  a card's
        return True
    return alone and {*sizes} == {sizes[0]} and last <= sizes[0] and len({*number.translate(None, b"0123456789")}) == 1


def _sums(digits: bytes, odd: int) -> list[int]:
    """Add up the digits to each place; those at odd (1) or even (0) places count double, less nine above nine."""
    row = bytearray(digits.translate(VALUES))
    row[odd::2] = digits[odd::2].translate(DOUBLED)
    return list(accumulate(row, initial=0))


def _ibans(reading: Reading) -> Iterator[Found]:
    """Take as many characters as the country uses and check them."""
    for start, end in reading.each(IBAN_START):
        body = IBAN_BODIES[reading.text[start : start + 2].upper()].match(reading.text, end)
        if body and checkdigit.iban(re.sub("[ -]", "", reading.text[start : body.end()])):
            yield "IBAN", start, body.end()


def _emails(reading: Reading) -> Iterator[Found]:
    """Look both ways from each @, within the lengths of RFC 5321 (64 characters before it, 253 after)."""
    for at, _ in reading.each(AT):
        domain = DOMAIN.match(reading.text, at + 1)
        name = domain[0].partition("..")[0].rstrip(".-_") if domain else ""
        labels = name.split(".")
        if len(labels) > 1 and all(labels) and len(labels[-1]) > 1 and not labels[-1][0].isdigit():
            local = LOCAL.match(reading.text[max(0, at - 64) : at][::-1])
            if local:
                yield "email address", at - local.end(), at + 1 + len(name)


def _addresses(reading: Reading) -> Iterator[Found]:
    """Find IPv4 addresses, four bytes alone; what follows the word version is none."""
    line = reading.line
    for start, end in reading.each(ADDRESS):
        text = reading.text[start:end]
        more = line[end : end + 1] == b"." and line[end + 1 : end + 2].isdigit()
        if (
            line[max(0, start - 1) : start] != b"."
            and not more
            and all(part in BYTES for part in text.split("."))
            and not text.startswith(NOBODYS)
            and not VERSION.search(reading.before(start, 10))
        ):
            yield "IP address", start, end


def _addresses6(reading: Reading) -> Iterator[Found]:
    """Find IPv6 addresses that are somebody's: global, unique local or link-local (RFC 4291)."""
    for start, end in reading.each(ADDRESS6):
        text = reading.text[start:end].rstrip(":")
        alone = reading.line[max(0, start - 1) : start] not in {b":", b"."} and (
            start + len(text) != end or not reading.line[end : end + 1].isalnum()
        )
        if alone and GLOBAL.match(text) and _is_address6(text):
            yield "IP address", start, start + len(text)


def _is_address6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _phones(reading: Reading) -> Iterator[Found]:
    """Find numbers with a country's code, and those without one near a word that says what they are."""
    line = reading.line
    for start, end in reading.each(ABROAD):
        before = line[max(0, start - 1) : start]
        yield ("" if before.isalnum() or before == b"+" else "phone number"), start, end
    for start, end in reading.each(HOME):
        sound = (
            not JOINED_BEFORE.search(line[max(0, start - 3) : start])
            and line[max(0, start - 1) : start] not in {b"+", b"."}
            and not JOINED_BEHIND.match(line, end)
            and not DATE.fullmatch(reading.text[start:end])
            and NEAR_HOME.search(reading.before(start))
        )
        yield ("phone number" if sound else ""), start, end


PERSONAL_DATA = (
    Detector(PERSONAL, r"[0-9](?:[ .-]?[0-9]){12}", _cards, DIGITS_BEGIN),
    Detector(
        PERSONAL,
        IBAN_HEAD + r"(?:[ -]?[A-Za-z0-9]){11}",
        _ibans,
        ((IBAN_HEAD + r"(?:[ -]?[A-Za-z0-9])*[ -]?", CONTEXT + 8),),
    ),
    Detector(
        PERSONAL,
        r"[^\s@]@[\pL\pM\pN_.-]{4}",
        _emails,
        ((LOCAL_CLASS + "+", CONTEXT), (LOCAL_CLASS + r"*@[\w.\x80-\xff-]*", 320)),
    ),
    Detector(PERSONAL, r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]", _addresses),
    Detector(PERSONAL, r"[0-9A-Fa-f]{4}:[0-9A-Fa-f:]*:", _addresses6),
    Detector(
        PERSONAL,
        rf"\+ ?[1-9](?:[ .()/-]{{0,2}}[0-9]){{7}}|{HOME_WORDS}\C*[0-9](?:[ ./()-]{{0,2}}[0-9]){{7}}",
        _phones,
        DIGITS_BEGIN,
    ),
    *IDENTIFIERS,
)
