"""The thread that moves committed records from the write-ahead log into the file, so that the writer need not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY = 0.25  # seconds
LONG_LOG = 16_384  # frames of 4 KiB: 64 MiB
YIELD_MS = 20


class Checkpointer:
    """Checkpoints over a connection of its own, `every` seconds while there are commits, never while there are none.

    A disk that is full or a reader in the way is tried again later. Any other error goes to `on_error` and ends it:
    after a failed fsync another attempt could report pages as stored that are not.
    """

    def __init__(
        self,
        db: apsw.Connection,
        on_error: Callable[[BaseException], None],
        *,
        every: float = EVERY,
        long_log: int = LONG_LOG,
    ) -> None:
        self._db, self._on_error, self._every, self._long_log = db, on_error, every, long_log
        # Waiting for readers holds up the writer (see _once), so it is kept short.
        db.set_busy_timeout(YIELD_MS)
        # A connection that never read does not know that the file has a log, and its checkpoints would do nothing.
        db.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        self._dirty, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="bedplate-checkpoint", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that something was committed."""
        self._dirty.set()

    def close(self) -> None:
        """End the thread and close its connection."""
        self._stop.set()
        self._dirty.set()
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        while True:
            self._dirty.wait()
            self._dirty.clear()
            if self._stop.wait(self._every):
                return
            try:
                self._once()
            except (apsw.BusyError, apsw.FullError):
                self._dirty.set()
            except BaseException as error:  # noqa: BLE001 - whatever it was, the log is not being moved any more
                self._on_error(error)
                return

    def _once(self) -> None:
        frames, _ = self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if frames > self._long_log:
            # Under steady load a passive checkpoint never meets a moment without newer frames, and the log would grow
            # for ever. Nearly all of it has just been moved, so holding the writer for the rest is short.
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
