"""The standing in memory: what every call is judged against, following the ledger's head and knowing its own age."""

from __future__ import annotations

import hmac
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bedplate.errors import Unauthenticated

from .call import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bedplate.kernel.model import OperatingModel, TierPlan
    from bedplate.kernel.standing import Standing

    from .held import Held, Question
    from .recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """A use case's key. Only the digest of its text is known."""

    id: str
    subject: str
    digest: str
    expires: int
    revoked: bool
    agent: str = ""  # whose it is, where it is an agent's


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent reading of the records. `keys` by digest, `held` by what asks for it; the others by subject."""

    size: int
    model: OperatingModel | None
    keys: Mapping[str, Key]
    standings: Mapping[str, Standing]
    recipes: Mapping[str, Recipe]
    held: Mapping[Question, Held] = field(default_factory=dict)
    charters: Mapping[str, Any] = field(default_factory=dict)  # of agents, by subject: theirs to read
    ids: Mapping[str, Key] = field(default_factory=dict)  # keys by id
    halted: str = ""  # why every call and action is stopped

    def known(self, secret: str, now: int) -> Key:
        """Return a key by its text; `Unauthenticated` if it is unknown or has ended."""
        digest = sha256(secret.encode())
        key = self.keys.get(digest)
        if key is None or not hmac.compare_digest(key.digest, digest):
            raise Unauthenticated("this key is not known here", hint="have one issued: bedplate key issue USE-CASE")
        if key.revoked or now >= key.expires:
            raise Unauthenticated("this key has ended", hint="have another issued: bedplate key issue USE-CASE")
        return key

    def key_by_id(self, name: str) -> Key | None:
        """Return a key by its id, ended or not."""
        return self.ids.get(name)

    def plan(self, subject: str) -> TierPlan | None:
        """Return what the tier of a use case compiles to; None while it has none."""
        standing = self.standings.get(subject)
        return self.model.plan(standing.tier) if self.model is not None and standing is not None else None


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
        self.moved: list[Callable[[], None]] = []  # told of each new snapshot; they must be quick and raise nothing

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
            new = self._head() != self.snapshot.size
            if new:
                self.snapshot = self._load()
            self._proved = began
        for told in self.moved if new else ():
            told()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.look()
            except Exception as broken:  # noqa: BLE001  the snapshot grows old, and its age closes the door
                log.warning("follower.stale", extra={"error": type(broken).__name__, "age_ms": self.age // 1000})
