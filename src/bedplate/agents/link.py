"""Signed links to one action, for one person, until it expires. A link opens it, and signs nobody in.

A link is `bpl_` and two base64url parts: what it says, as JSON, and HMAC-SHA-256 over that. Whoever follows it must be
signed in as the person it was made for: the approver comes from authentication, and a link that is passed on is
nobody's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass

from bedplate.errors import Denied, InvalidInput

PREFIX = "bpl_"
MAX_LINK = 1_000  # characters
HINT = "open it from your inbox: bedplate actions"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link leads to, and for whom."""

    approval: str
    person: str
    expires: int


class Links:
    """Makes and reads links under a secret of this installation."""

    def __init__(self, salt: bytes) -> None:
        self._secret = hashlib.sha256(b"bedplate links\n" + salt).digest()

    def make(self, approval: str, person: str, expires: int) -> str:
        """Return the link's text."""
        body = _text(json.dumps([approval, person, expires], separators=(",", ":")).encode())
        return f"{PREFIX}{body}.{self._sealed(body)}"

    def read(self, link: str, person: str, now: int) -> Link:
        """Return what a link leads to, for the person who is signed in.

        `InvalidInput` if it was not made here or is over, `Denied` if it is somebody else's.
        """
        body, _, seal = link.removeprefix(PREFIX).partition(".")
        known = link.startswith(PREFIX) and len(link) <= MAX_LINK and link.isascii()
        if not known or not hmac.compare_digest(seal, self._sealed(body)):
            raise InvalidInput("this link was not made here, or was changed", hint=HINT)
        approval, whose, expires = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if whose != person:
            why, fix = "this link was made for somebody else", "open your own, or find the action: bedplate actions"
            raise Denied(why, hint=fix, reasons=(("link", why, fix),))
        if now >= expires:
            raise InvalidInput("this link is over: nobody answered in time, which is a no", hint=HINT)
        return Link(approval, whose, expires)

    def _sealed(self, body: str) -> str:
        return _text(hmac.new(self._secret, body.encode(), hashlib.sha256).digest())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
