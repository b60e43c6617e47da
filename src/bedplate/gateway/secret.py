"""Secrets: keys and tokens by the form their issuers give them, and passwords where they are assigned or sent along."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

from .detect import EDGE, Detector, compiled, matching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .detect import Found, Reading

SECRETS_KIND = "secrets"
PRIVATE_KEY = "private key"

_HEADER = r"[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
KEY_BEGIN = compiled(f"(-----BEGIN {_HEADER})")
KEY_END = compiled(f"(-----END {_HEADER})")
LONGEST_END = 80  # no end of a private key is longer
KEY_BEGINS = ((r"[A-Za-z0-9%._~+/=@:&?#$!*-]*-----BEGIN [A-Z0-9 ]{0,57}-{0,4}", 0),)

# The words as far as they tell a password from other text; what stands before them, as in DB_PASSWORD, is no matter.
_WORDS = (
    r"(?i:pass(?:word|wd|phrase|wort)|kennwort|(?:\b|_)pwd|client_secret|secret_(?:access_)?key"
    r"|api_?key|(?:access|auth)_?token)"
)
_SIGN = r"(?::=|=>|[:=])"
PASSWORD = compiled(
    rf"({_WORDS}[\"']?[ \t]{{0,3}}{_SIGN}[ \t]{{0,3}}"
    rf"(?:\"[^\"\n]{{4,200}}\"|'[^'\n]{{4,200}}'|[\"']?[^\s\"',;&]{{4,}}))"
)
ASSIGNED = re.compile(
    rf"{_WORDS.replace('(?i:', '(?:', 1)}[\"']?[ \t]{{0,3}}({_SIGN})[ \t]{{0,3}}", re.IGNORECASE | re.ASCII
)
NO_PASSWORD = re.compile(  # already redacted, or the place where one is filled in or read from
    r"\[redacted|\$[{(]|\$[A-Z_]+\b|\{|<[\w -]{1,40}>|%\w{1,40}%|\*{3}|\.{3}|x{4}|os\.|process\."
    r"|(?i:none|null|true|false)\b"
)
CONNECTION = compiled(r"(://[^\s/:@\"'<>]{0,64}:[^\s/@\"'<>]{1,200}@)[\w\[.%-]")


def _passwords(reading: Reading) -> Iterator[Found]:
    """Find the value of an assignment; after a colon no plain word, as people write "password: forgotten"."""
    for start, end in reading.each(PASSWORD):
        yield "", start, end
        assigned = ASSIGNED.match(reading.text, start)
        if assigned is None:
            continue
        given = reading.text[assigned.end() : end]
        value = given.strip("\"'")
        told = "=" in assigned[1] or given != value or not value.rstrip(".!?)").isalpha()
        place = assigned.end() + given.index(value)
        if told and value and not NO_PASSWORD.match(reading.text, place):
            yield "password", place, place + len(value)


def _connections(reading: Reading) -> Iterator[Found]:
    """Find the password in `scheme://user:password@host` (RFC 3986, section 3.2.1)."""
    for start, end in reading.each(CONNECTION):
        yield "", start, end
        place = reading.line.index(b":", start + 1) + 1
        if not NO_PASSWORD.match(reading.text, place):
            yield "password", place, end - 1


def _private_keys(reading: Reading) -> Iterator[Found]:
    """Find keys whole; one that was cut off reaches to the end of the text."""
    done = 0
    while begin := KEY_BEGIN.search(reading.line, done):
        end = KEY_END.search(reading.line, begin.end())
        done = end.end() if end else len(reading.line)
        yield PRIVATE_KEY, begin.start(), done


def _is_token(text: str) -> bool:
    head = text.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def _token(label: str, form: str) -> Detector:
    return matching(SECRETS_KIND, label, rf"{EDGE}({form})", coarse=form)


# Keys are not among these: they may be of any length, and are looked for first (`segment`).
SECRETS = (
    matching(SECRETS_KIND, "AWS access key", rf"{EDGE}(A[KS]IA[A-Z0-9]{{16}}){EDGE}", coarse=r"A[KS]IA[A-Z0-9]{16}"),
    matching(  # OpenAI, Anthropic (sk-…), Stripe (sk_live_…, rk_live_…, whsec_…)
        SECRETS_KIND,
        "API key",
        rf"{EDGE}((?:sk[-_]|rk_(?:live|test)_|whsec_)[A-Za-z0-9_-]{{20,}})",
        _has_digit,
        coarse=r"(?:[rs]k[-_]|whsec_)[A-Za-z0-9_-]{20}",
    ),
    _token("GitHub token", r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}"),
    _token("GitLab token", r"gl(?:pat|ptt|dt|rt|cbt|oas|ft|soat|agent|imt)-[A-Za-z0-9_-]{20,}(?:\.[A-Za-z0-9_-]+)*"),
    _token("Slack token", r"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,}"),
    _token("Slack webhook", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}"),
    _token("Google API key", r"AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}"),
    matching(
        SECRETS_KIND,
        "JSON web token",
        r"(?:^|[^A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*)",
        _is_token,
        coarse=r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}\.",
    ),
    _token("Bedplate token", r"bp[tki]_[A-Za-z0-9_-]{16,}"),
    Detector(
        SECRETS_KIND,
        rf"{_WORDS}[\"']?[ \t]{{0,3}}[:=]",
        _passwords,
        (
            (rf"{_WORDS}[\"']?[ \t]{{0,3}}(?:{_SIGN}[ \t]{{0,3}}(?:\"[^\"\n]*|'[^'\n]*)?)?", 240),
            (rf"{_WORDS}[\"']?[ \t]{{0,3}}{_SIGN}[ \t]{{0,3}}[\"']?[^\s\"',;&]*", 0),
        ),
    ),
    Detector(
        SECRETS_KIND,
        r"://[^\s/:@]{0,64}:[^\s/@]{1,64}",
        _connections,
        ((r"://[^\s/@\"'<>]*(?:@[\w\[.%-]?)?", 320),),
    ),
)
KEYS = Detector(SECRETS_KIND, "-----BEGIN " + _HEADER, _private_keys, KEY_BEGINS)
