"""The standing in memory: what every call is judged against, following the ledger's head and knowing its own age."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing

    from .recipe import Recipe

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """A use case's key. Only the digest of its text is known."""

    id: str
    subject: str
    digest: str
    expires: int
    revoked: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent reading of the records. `keys` by digest; the others by subject."""

    size: int
    model: OperatingModel | None
    keys: Mapping[str, Key]
    standings: Mapping[str, Standing]
    recipes: Mapping[str, Recipe]


EMPTY = Snapshot(-1, None, {}, {}, {})


class Follower:
    """Keeps a snapshot no older than the last time the head was seen.

    `head` returns the ledger's size and must be cheap; `load` reads a new snapshot. Both may raise: then the
    snapshot stays and grows old, and calls stop when it is older than their tier allows.
    """

    def __init__(self, head: Callable[[], int], load: Callable[[], Snapshot], every_ms: int) -> None:
        self._head = head
        self._load = load
        self._every = every_ms / 1000
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bedplate-follower", daemon=True)
        self._looking = threading.Lock()  # one at a time: a slow reader must not put an older snapshot back
        self._proved = 0.0  # monotonic seconds; 0: never
        self.snapshot = EMPTY

    def start(self) -> None:
        """Read once, then keep following in a thread."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def age(self) -> int:
        """How long ago the snapshot was known to be current, in microseconds."""
        return int((time.monotonic() - self._proved) * 1_000_000) if self._proved else 1 << 62

    def look(self) -> None:
        """Look at the head now and reload if it moved."""
        with self._looking:
            began = time.monotonic()  # what happens while we read is newer than what we prove
            if self._head() != self.snapshot.size:
                self.snapshot = self._load()
            self._proved = began

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.look()
            except Exception as broken:  # noqa: BLE001  the snapshot grows old, and its age closes the door
                log.warning("follower.stale", error=type(broken).__name__, age_ms=self.age // 1000)
