"""Which use cases the monitors look at now: with a thousand live ones, not all of them every second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.kernel.clock import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

ENOUGH = 5  # new calls: fewer prove nothing to any monitor
WAIT = 10 * SECOND  # until fewer, or what was said of calls, is looked at
REST = 60 * SECOND  # until a use case without any news is: a period may be over
MOST = 50  # use cases in one round


@dataclass(frozen=True, slots=True)
class _Looked:
    at: int
    calls: int
    records: int


class Rounds:
    """Remembers when each was looked at, and what it had done by then. Times in microseconds."""

    def __init__(self) -> None:
        self._looked: dict[str, _Looked] = {}

    def due(self, calls: Iterable[tuple[str, int]], records: int, now: int) -> list[str]:
        """Choose from (use case, calls today), with so many records in all; those that waited longest go first.

        What is returned counts as looked at.
        """
        found = [(self._since(name, made, records, now), name, made) for name, made in calls]
        chosen = sorted((since, name, made) for since, name, made in found if since is not None)[:MOST]
        for _, name, made in chosen:
            self._looked[name] = _Looked(now, made, records)
        return [name for _, name, _ in chosen]

    def _since(self, name: str, made: int, records: int, now: int) -> int | None:
        looked = self._looked.get(name)
        if looked is None:
            return 0
        news = made - looked.calls if made >= looked.calls else made  # a new day counts from nought
        waited = now - looked.at
        if news >= ENOUGH or waited >= REST or waited < 0:
            return looked.at
        return looked.at if waited >= WAIT and (news or records != looked.records) else None
