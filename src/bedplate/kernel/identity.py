"""UUIDv7 identifiers: sortable by time, strictly rising within a process even when the clock steps back."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from .clock import Clock


class Identities:
    """A source of UUIDv7 (RFC 9562, section 5.7, method 2: the random part counts up within a millisecond)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0  # 48 bits of milliseconds, then 74 random bits

    def next(self) -> str:
        """Return the next identifier as text."""
        with self._lock:
            fresh = (self._clock() // 1000 << 74) | secrets.randbits(73)
            self._last = fresh if fresh > self._last else self._last + 1 + secrets.randbits(32)
            value = self._last
        milliseconds, rest = value >> 74, value & ((1 << 74) - 1)
        high, low = rest >> 62, rest & ((1 << 62) - 1)
        return str(UUID(int=(milliseconds << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low))
