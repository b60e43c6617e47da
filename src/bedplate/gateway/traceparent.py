"""Trace context as W3C writes it: which trace a call belongs to, and which span of it the call is."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import NamedTuple

# W3C Trace Context, section 3.2. A later version may have more after the flags; version 00 ends there.
HEADER = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
UUID_HEX = re.compile(r"[0-9a-f]{32}")
SAMPLED = 0x01


class TraceParent(NamedTuple):
    """A span: 32 and 16 hexadecimal digits, and the flags."""

    trace: str
    span: str
    flags: int = SAMPLED

    @property
    def sampled(self) -> bool:
        """Whether the caller keeps this trace."""
        return bool(self.flags & SAMPLED)

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.span}-{self.flags & SAMPLED:02x}"


def read(header: str) -> TraceParent | None:
    """Read a `traceparent` header; None if it is not one: then a trace begins here."""
    found = HEADER.fullmatch(header)
    if found is None or (found[1] == "00" and found[5]):
        return None
    return TraceParent(found[2], found[3], int(found[4], 16))


def of_call(call_id: str, incoming: str = "") -> TraceParent:
    """Return the span of a call, from nothing but its id and the header it came with.

    A call that begins a trace gives it its own id: who holds the id of a call finds its trace, and the other way round.
    The last 16 digits of a UUIDv7 are random enough for a span.
    """
    parent = read(incoming) if incoming else None
    digits = call_id.replace("-", "")
    if not UUID_HEX.fullmatch(digits):
        digits = sha256(call_id.encode()).hexdigest()[:32]
    if parent is None:
        return TraceParent(digits, digits[16:])
    return TraceParent(parent.trace, digits[16:], parent.flags)
