"""What is done about keys. Calls themselves pass the fast door, `door.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import DAY

from .governance import ISSUE_KEY, REVOKE_KEY

if TYPE_CHECKING:
    from bedplate.kernel.governor import Governor

MAX_DAYS = 366


def issue_key(governor: Governor, by: str, subject: str, *, key: str, digest: str, label: str, days: int) -> None:
    """Record a key for a use case. The caller made it and shows its text once; only the digest comes here."""
    if not 1 <= days <= MAX_DAYS:
        raise InvalidInput(f"a key lives 1 to {MAX_DAYS} days")
    with governor.act(by, ISSUE_KEY, subject, facts={"label": label, "days": days}) as act:
        expires = governor.clock() + days * DAY
        act.record("gateway.key.issued", {"key": key, "digest": digest, "label": label, "expires": expires})


def revoke_key(governor: Governor, by: str, subject: str, key: str, reason: str) -> None:
    """End a key; calls with it are refused within a second."""
    with governor.act(by, REVOKE_KEY, subject, facts={"key": key}) as act:
        act.record("gateway.key.revoked", {"key": key, "reason": reason})
