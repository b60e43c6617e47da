"""Where a text that goes on may be cut: before whatever could still become something, or something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .detect import compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .detect import Detector

RUN = r"[A-Za-z0-9%._~+/=@:&?#$!*-]"  # keys, addresses, encoded runs: no blank, quotation mark, bracket or comma
OUTSIDE = compiled(f"([^{RUN[1:]})")
INSIDE = compiled(f"({RUN}*)")


class Hold:
    """Knows what must be held back at the end of a text, for a set of detectors.

    What a detector says of how far back it reaches is kept out of the patterns: a counter in one multiplies its states.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        begins = dict.fromkeys(begin for detector in detectors for begin in detector.begins)
        reaches = sorted({reach for _, reach in begins if reach})
        self._levels = []
        for least, most in zip([0, *reaches], [*reaches, 0], strict=True):
            patterns = [pattern for pattern, reach in begins if not reach or reach > least]
            self._levels.append((most, compiled("(?:" + "|".join([f"{RUN}+", *patterns]) + r")\z")))

    def place(self, line: bytes, cut: int) -> int:
        """Return where what must be held back begins, not before `cut`; the line's length if nothing must."""
        end = least = len(line)
        for reach, pattern in self._levels:  # from all patterns to those that reach any distance
            match = pattern.search(line, cut)
            start = match.start() if match is not None else end
            if not reach or start >= end - reach:
                return min(start, least)
            least = min(least, end - reach)
        return least
