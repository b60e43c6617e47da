"""The file in which a host's serving processes share what they know of runs: opened, locked and written."""

from __future__ import annotations

import fcntl
import os
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import apsw

from bedplate.errors import Conflict, Full, Tampered, Unavailable
from bedplate.store.shard import must_be_safe

from .runschema import TABLES, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bedplate.kernel.clock import Clock

FILE = "runs.db"
TURN = "runs.turn"
BUSY_MS = 5_000  # for those who do not wait for their turn: a backup, say
HOLD_TRIES, HOLD_WAIT = 40, 0.05  # seconds: whoever recovers a dead process has its lock for a moment


class RunFile:
    """The file, as one process has it open. Methods may be called from any thread."""

    def __init__(self, folder: Path, process: str, clock: Clock) -> None:
        """Open `folder`/runs.db as a process of this name, of which there is one at a time.

        Raises Conflict if another one has the name, Unavailable if the file cannot be used, Tampered if it is none.
        """
        self.path, self.process, self.life = folder / FILE, process, uuid.uuid4().hex
        self.clock = clock
        self.folder = folder
        self._lock, self._sync = threading.RLock(), threading.RLock()  # nobody who reads waits for the disk
        self._broken = ""
        self._after: list[Callable[[], None]] = []
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._held = _hold(lock_of(folder, process))
        self._turn, self._sync_turn = (_file(folder / TURN) for _ in range(2))
        try:
            with _told(self.path), _turn(self._turn):
                os.close(_file(self.path))  # SQLite would let others read it
                self._db = _connect(self.path, "NORMAL")
                self._durable = _connect(self.path, "FULL")
        except BaseException:
            self._let_go()
            raise

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Give the connection to read from, for those whose tables are in the same file."""
        with self._lock, _told(self.path):
            yield self._db

    def close(self) -> None:
        """Close the file and let the name go."""
        with self._lock, self._sync:
            self._db.close()
            self._durable.close()
            self._let_go()

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[apsw.Connection]:
        """Give the connection within a transaction that no other process writes beside; `durable` ones are synced.

        One within another of the same sort is part of it: what is done together is written together, or not at all.
        """
        lock, turn, db = (self._sync, self._sync_turn, self._durable) if durable else (self._lock, self._turn, self._db)
        with lock:
            if db.in_transaction:  # nobody else can have the lock, so it is of whoever asks
                yield db
                return
            with _told(self.path), _turn(turn):
                yield from self._written(db)
            if not durable:
                self._follow()

    def afterwards(self, follow: Callable[[], None]) -> None:
        """Do something once what is being written can be read by others: now, if nothing is."""
        with self._lock:
            if self._db.in_transaction:
                self._after.append(follow)
            else:
                follow()

    def _follow(self) -> None:
        after, self._after = self._after, []
        for follow in after:
            follow()

    def _written(self, db: apsw.Connection) -> Iterator[apsw.Connection]:
        if self._broken:
            raise Unavailable(f"{self.path} could not be written: {self._broken}", hint="restart this process")
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException as error:
            # A sync that failed is never tried again: it could seem to succeed. SHMSIZE is only a full disk.
            if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) != apsw.SQLITE_IOERR_SHMSIZE:
                self._broken = str(error)
            if db.in_transaction:
                db.execute("ROLLBACK")
            if db is self._db:
                self._after = []
            raise

    def _let_go(self) -> None:
        for fd in (self._held, self._turn, self._sync_turn):
            with suppress(OSError):
                os.close(fd)
        self._held = self._turn = self._sync_turn = -1  # a number that is closed twice may be somebody else's by then


@contextmanager
def _turn(fd: int) -> Iterator[None]:
    """Wait for the turn to write. The kernel wakes who is next: SQLite only looks again, later and later.

    One that stops in the middle of its turn makes all others wait: nothing is let through until it goes on or is ended.
    """
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _file(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _connect(path: Path, synchronous: str) -> apsw.Connection:
    must_be_safe(apsw.sqlite_lib_version())
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    db.set_busy_timeout(BUSY_MS)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    if db.execute("PRAGMA journal_mode = WAL").get != "wal":
        raise Unavailable(f"{path} is on a file system without a write-ahead log", hint="a local disk has one")
    db.execute(
        f"PRAGMA synchronous = {synchronous}; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF"
    ).fetchall()
    _begin(db, path)
    return db


def _begin(db: apsw.Connection, path: Path) -> None:
    """Make the tables, if they are not there. Processes that start together wait for each other."""
    db.execute("BEGIN IMMEDIATE")
    try:
        version = db.pragma("user_version")
        if version == 0:
            db.execute(TABLES).fetchall()
            version = VERSION
    finally:
        db.execute("COMMIT" if db.in_transaction else "SELECT 1").fetchall()
    if version != VERSION:
        msg = f"{path} is of version {version}, not {VERSION}"
        raise Unavailable(msg, hint="stop all processes and move the file away; the journal has what it held")


def lock_of(folder: Path, process: str) -> Path:
    """Return the file that a process of this name holds for as long as it lives; raises Conflict for no name."""
    if not process or "/" in process or process.startswith("."):
        raise Conflict(f"{process!r} is no name of a process", hint="use letters, digits and dashes")
    return folder / f"{process}.lock"


def take_lock(path: Path) -> int:
    """Take it until the returned descriptor is closed; raises Conflict if its process lives."""
    fd = _file(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Conflict(f"{path} is held by a process that runs", hint="give each process a name of its own") from None
    return fd


def _hold(path: Path) -> int:
    for _ in range(HOLD_TRIES):
        try:
            return take_lock(path)
        except Conflict:
            time.sleep(HOLD_WAIT)
    return take_lock(path)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what SQLite says into our errors."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise Tampered(
            f"{path} cannot be read: {error}", hint="keep the file as evidence and begin a new one"
        ) from error
    except apsw.FullError as error:
        raise Full(f"no space left for {path}", hint="make room; it goes on by itself") from error
    except (apsw.CantOpenError, apsw.BusyError, apsw.IOError, apsw.ReadOnlyError, OSError) as error:
        raise Unavailable(f"{path} cannot be used now: {error}", hint="try again") from error
