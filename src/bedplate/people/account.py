"""Tokens and passwords: 256-bit secrets of which only the digest is kept, and argon2 for what people remember."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from bedplate.errors import InvalidInput, Unauthenticated

if TYPE_CHECKING:
    from pwdlib import PasswordHash

Purpose = Literal["invitation", "cli", "session"]
_FORM = re.compile(r"bp(?P<sort>[a-z])_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")
MIN_PASSWORD = 12


@dataclass(frozen=True, slots=True)
class Token:
    """A fresh token. `text` is shown once and never stored."""

    id: str
    text: str
    digest: str


def mint(sort: Literal["t", "k", "i"]) -> Token:
    """Make a token: t for a person, k for a use case's key, i for an invitation."""
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    text = f"bp{sort}_{token_id}_{secret}"
    return Token(token_id, text, digest(text))


def digest(text: str) -> str:
    """Return what is stored of a token: SHA-256, hex. The secret has 256 bits, so no salt is needed."""
    return hashlib.sha256(text.encode()).hexdigest()


def token_id(text: str) -> str:
    """Return the public id within a token; `Unauthenticated` if it does not have the form of one."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise Unauthenticated(
            "this is not a Bedplate token", hint="copy all of it; an invitation's code begins with bpi_"
        )
    return found["id"]


def matches(text: str, stored: str) -> bool:
    """Compare a token with its stored digest in constant time."""
    return hmac.compare_digest(digest(text), stored)


def hash_password(password: str) -> str:
    """Hash a password with argon2id; `InvalidInput` if it is too short."""
    if len(password) < MIN_PASSWORD:
        raise InvalidInput(f"a password has {MIN_PASSWORD} characters or more")
    return _argon2().hash(password)


def password_matches(password: str, stored: str | None) -> bool:
    """Check a password; takes as long for an unknown person as for a known one."""
    known = _argon2().verify(password, stored or _decoy())
    return known and stored is not None


@cache
def _argon2() -> PasswordHash:
    from pwdlib import PasswordHash  # noqa: PLC0415  only those who sign in pay for it
    from pwdlib.hashers.argon2 import Argon2Hasher  # noqa: PLC0415  as above

    return PasswordHash((Argon2Hasher(memory_cost=19_456, time_cost=2, parallelism=1),))  # OWASP's minimum, 2024


@cache
def _decoy() -> str:
    return _argon2().hash(secrets.token_urlsafe(16))
