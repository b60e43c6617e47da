"""What runs were told and have read: kept as keyed hashes in the host's file, and held here while a run goes on."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from .taint import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .record import Act
    from .runstore import RunStore
    from .sight import Sight
    from .toolcall import Outcome

MAX_RUNS = 2_000  # whose provenance is held in memory
MAX_TEXT = 4 << 20  # characters of a result that are looked through


class Memory:
    """What every run has read, as one process knows it."""

    def __init__(self, store: RunStore, sight: Sight, salt: bytes) -> None:
        self._store = store
        self._sight = sight
        self._salt = salt
        self._seen: OrderedDict[str, tuple[Provenance, int]] = OrderedDict()

    def provenance(self, run: str) -> Provenance:
        """Return what a run was told and has read, by whichever process."""
        known, place = self._seen.get(run) or (Provenance(self._salt), 0)
        rows, last = self._store.provenance(run, after=place)
        for row in rows:
            known.add(row.atoms, row.trusted, row.step, row.source)
        self._seen[run] = (known, last)
        self._seen.move_to_end(run)
        while len(self._seen) > MAX_RUNS:
            self._seen.popitem(last=False)
        return known

    def read(self, run: str, step: int, source: str, text: str, *, trusted: bool) -> None:
        """Take note of a text that came into a run."""
        atoms = self.provenance(run).atoms(text[:MAX_TEXT])
        if atoms:
            self._store.add_atoms(run, step, source, atoms, trusted=trusted)

    def readings(self, act: Act, arguments: Mapping[str, Any], outcome: Outcome) -> list[tuple[bool, bytes]]:
        """Return what stands in a tool's answer, hashed, and whether it is trusted: the charter says that."""
        if outcome.result is None and not outcome.message.strip():
            return []
        charter = self._sight.snapshot.charters.get(act.subject)
        seen = self._seen[act.run][0] if act.run in self._seen else self.provenance(act.run)
        tool = charter.tools.get(act.tool) if charter is not None else None
        if tool is None:  # the release changed meanwhile: nobody vouches for it
            text = "\n".join([*texts(outcome.result), outcome.message])
            return [(False, seen.atoms(text[:MAX_TEXT]))]
        return list(seen.learned(tool, arguments, outcome.result, outcome.message))

    def learn(self, act: Act, read: list[tuple[bool, bytes]]) -> None:
        """Keep what stood in a tool's answer."""
        for trusted, atoms in read:
            if atoms:
                self._store.add_atoms(act.run, act.step, act.tool, atoms, trusted=trusted)

    def forget(self, run: str) -> None:
        """Let a run go that has ended; what it read stays in the file."""
        self._seen.pop(run, None)


def texts(value: Any) -> Iterable[str]:  # noqa: ANN401  JSON
    """List every text and number in a result, the names of keys included."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict):
            left += [*part, *part.values()]
        elif isinstance(part, list | tuple):
            left += part
        elif isinstance(part, int | float) and not isinstance(part, bool):
            yield str(part)
