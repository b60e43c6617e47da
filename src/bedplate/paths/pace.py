"""How fast somebody may speak: a bucket for each, in this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from bedplate.errors import Unavailable
from bedplate.kernel.clock import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.clock import Clock

A_MINUTE: Mapping[str, int] = {"key": 600, "person": 60}  # so many at once, and so many in a minute, by who speaks
MINUTE = 60 * SECOND
MAX_GIVERS = 10_000


class Pace:
    """How fast each giver may speak: so many at once, and so many a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, int]] = {}  # what is left, and when that was so

    def take(self, giver: str) -> None:
        """Take one; `Unavailable` with the code `too-many` if there is none left."""
        most = A_MINUTE[giver.partition("/")[0]]
        now = self._clock()
        with self._lock:
            if len(self._left) > MAX_GIVERS:  # those who were silent for a minute have all of theirs again
                self._left = {g: (n, at) for g, (n, at) in self._left.items() if now - at < MINUTE}
            left, at = self._left.get(giver, (float(most), now))
            left = min(float(most), left + max(0, now - at) * most / (MINUTE))
            if left < 1:
                raise Unavailable(
                    f"{giver} said more than {most} things in a minute", hint="wait some seconds", code="too-many"
                )
            self._left[giver] = (left - 1, now)
