"""UUIDv7 identifiers: sortable by time, strictly rising within a process even when the clock steps back."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clock import Clock


DRAWN = 1024  # bytes


class Identities:
    """A source of UUIDv7 (RFC 9562, section 5.7, method 2: the random part counts up within a millisecond)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._drawn, self._taken = b"", 0
        self._last = 0  # 48 bits of milliseconds, then 74 random bits

    def next(self) -> str:
        """Return the next identifier as text."""
        with self._lock:
            fresh = (self._clock() // 1000 << 74) | self._random(10) >> 7
            self._last = fresh if fresh > self._last else self._last + 1 + self._random(4)
            value = self._last
        milliseconds, rest = value >> 74, value & ((1 << 74) - 1)
        high, low = rest >> 62, rest & ((1 << 62) - 1)
        text = f"{(milliseconds << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _random(self, size: int) -> int:
        """Draw bytes from what the system gave at once: a system call for each would cost more than the rest."""
        if len(self._drawn) - self._taken < size:
            self._drawn, self._taken = os.urandom(DRAWN), 0
        start = self._taken
        self._taken = start + size
        return int.from_bytes(self._drawn[start : self._taken])
