"""Short-lived tokens of agents: signed by this installation, for one agent, with whoever called it.

A token is `bpa_` and two base64url parts: what it says, as JSON, and HMAC-SHA-256 over that. It ends with the key that
it was made from, and with the stop that came after it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import Unauthenticated
from bedplate.kernel.clock import SECOND

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "bpa_"
LONGEST_S = 900
MAX_TOKEN = 4_000  # characters
MAX_CHAIN = 8  # agents that call one another
HINT = "have another made: POST /agents/v1/token with the agent's key"


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever asks: an agent of a use case, by which key, and on behalf of which agents before it."""

    agent: str
    subject: str
    key: str
    chain: tuple[str, ...] = ()  # the agent that called first comes first
    epoch: str = ""  # in which its token was made; "" for the key itself


class Mint:
    """Makes and reads tokens. One secret for an installation, in a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            own = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            handle = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(own, path)  # two processes may come first: one secret stands
            except FileExistsError:
                pass
            finally:
                own.unlink()
        self._secret = path.read_bytes()

    @property
    def salt(self) -> bytes:
        """What is hashed here under a secret of this installation, for good: 32 bytes, and not the secret itself."""
        return hashlib.sha256(b"bedplate provenance\n" + self._secret).digest()

    def make(self, actor: Actor, now: int, seconds: int) -> tuple[str, int]:
        """Return a token and when it ends, microseconds."""
        expires = now + max(1, min(seconds, LONGEST_S)) * SECOND
        told = [actor.agent, actor.subject, actor.key, list(actor.chain), actor.epoch, expires]
        body = _text(json.dumps(told, separators=(",", ":")).encode())
        return f"{PREFIX}{body}.{self._sealed(body)}", expires

    def read(self, token: str, now: int) -> Actor:
        """Return whose token it is; `Unauthenticated` if it is none of ours, or over."""
        body, _, seal = token.removeprefix(PREFIX).partition(".")
        if len(token) > MAX_TOKEN or not token.isascii() or not hmac.compare_digest(seal, self._sealed(body)):
            raise Unauthenticated("this token was not made here", hint=HINT)
        agent, subject, key, chain, epoch, expires = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if now >= expires:
            raise Unauthenticated("this token is over", hint=HINT)
        return Actor(agent, subject, key, tuple(chain), epoch)

    def _sealed(self, body: str) -> str:
        return _text(hmac.new(self._secret, body.encode(), hashlib.sha256).digest())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
