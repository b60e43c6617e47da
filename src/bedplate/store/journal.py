"""The journal: the durable log of run-time calls, one single-writer SQLite file (a shard) per serving process.

A record is acknowledged after the commit that holds it reached the disk, many records to one commit. The file also
holds the frontier of a Merkle tree over the records' entries, so that what was written can be checked, and is checked:
when the file is opened, before a segment is sealed, and by `Shard.verify` at any time.

Order is `seq`. Time is only ever a column: a clock that steps changes nothing.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

import apsw

from bedplate.errors import BedplateError, Conflict, Full, InvalidInput, Tampered, Unavailable
from bedplate.store import shard as read
from bedplate.store.checkpoint import Checkpointer
from bedplate.store.group import Group, Mark
from bedplate.store.groupcommit import GroupCommit
from bedplate.store.merkle import HASH_BYTES, Frontier, root_of
from bedplate.store.record import Receipt, Record, Segment, must_fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Journal", "Receipt", "Record", "Segment", "die"]

SEGMENT = 65_536  # records
MARK_WAIT = 60.0  # seconds
EXIT_FATAL = 70  # EX_SOFTWARE in sysexits.h
LOG_KEPT = 64 * 2**20  # bytes of write-ahead log file kept for reuse
DURABILITY = "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON"

_log = logging.getLogger(__name__)


def die(error: BaseException) -> None:
    """End the process: what the disk holds is unknown, and only reading it back at the next start can tell."""
    _log.critical("the journal failed; ending the process", exc_info=error)
    os._exit(EXIT_FATAL)


class Beside(Protocol):
    """What has to be durable before a record is acknowledged, in a file of its own."""

    @property
    def waiting(self) -> bool:
        """Whether anything is not durable yet."""
        ...

    def flush(self) -> None:
        """Make it durable; Unavailable or Full if that cannot be done now."""
        ...


class Journal:
    """The write side of one shard. All methods but `open` may be called from any thread.

    In memory are the frontier, 32 bytes for each record not yet marked as sealed, and what waits in the queue.
    """

    def __init__(self, path: Path, db: apsw.Connection, head: read.Head, lock: int) -> None:
        """Use `Journal.open`."""
        self.path, self.shard = path, head.shard
        self._db, self._lock = db, lock
        self._head = head
        self._sealed_frontier, self._held = read.rebuilt(db, head, trusted=head.sealed)
        self._frontier = Frontier.from_bytes(head.size, head.frontier)
        self._state = threading.Lock()  # head, frontiers and held leaves change together
        self._sealing = threading.Lock()
        self._before_commit: Callable[[], None] | None = None
        self._beside: Beside | None = None
        self._last: Mark | None = None  # what seal() returned and was not yet marked
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        shard: str,
        queue: int = 8192,
        batch: int = 512,
        vfs: str | None = None,
        on_fatal: Callable[[BaseException], None] = die,
        before_commit: Callable[[], None] | None = None,
        beside: Beside | None = None,
    ) -> Journal:
        """Open the shard for writing, creating it if it is not there, and check what it holds.

        `queue` bounds the records that wait, `batch` those in one commit. `on_fatal` is called once, from the thread
        that met an error after which nothing can be acknowledged. `before_commit` runs before each commit and must
        make durable whatever its records need; if it raises Unavailable the group is not written. `beside` (a vault)
        does so at the same time as the commit: a record is acknowledged after both. If it fails the callers are told
        so, though their records stand; the same again gets the receipt, once it works.
        Raises Conflict if another process or journal holds the shard, or it is another shard's file; Tampered if the
        records do not give the root in the head; Full; Unavailable.
        """
        lock = _hold(path)
        try:
            with read.reading(path), _writing(path):
                db = _connect(path, shard, vfs)
                journal = cls(path, db, _own_head(db, path, shard), lock)
                journal._beside = beside
                journal._start(queue, batch, vfs, on_fatal, before_commit)
        except BaseException:
            os.close(lock)
            raise
        return journal

    def _start(
        self,
        queue: int,
        batch: int,
        vfs: str | None,
        on_fatal: Callable[[BaseException], None],
        before_commit: Callable[[], None] | None,
    ) -> None:
        self._before_commit = before_commit
        self._reader = read.Shard(self.path, vfs=vfs)
        self._second = ThreadPoolExecutor(1, "journal-beside") if self._beside is not None else None
        second = read.connect(self.path, flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
        second.execute(DURABILITY).fetchall()
        self._group: GroupCommit[Record | Mark, Receipt] = GroupCommit(
            self._commit, name="journal", queue=queue, batch=batch, on_fatal=on_fatal
        )
        self._checkpointer = Checkpointer(second, self._group.fail)

    @property
    def size(self) -> int:
        """How many records are durable."""
        return self._head.size

    @property
    def sealed(self) -> int:
        """How many of them are in segments marked as sealed."""
        return self._head.sealed

    @property
    def head(self) -> read.Head:
        """The head as last committed."""
        return self._head

    @property
    def healthy(self) -> bool:
        """Whether records are taken: false for ever after an I/O error, and when closed."""
        return self._group.healthy

    @property
    def depth(self) -> int:
        """How many records wait in the queue."""
        return self._group.depth

    def root(self) -> bytes:
        """Return the 32-byte root over all durable records."""
        with self._state:
            return self._frontier.root()

    async def append(self, record: Record) -> Receipt:
        """Record one call; resumes after it is durable.

        The same id with the same entry returns the first receipt; with another entry it raises Conflict and nothing is
        written. Raises Unavailable at once if the queue is full, Full if the disk is, InvalidInput for a record no
        shard can hold. A caller that was cancelled may still have been recorded.
        """
        must_fit(record)
        return await self._group.submit(record)

    def append_sync(self, record: Record, timeout: float = 10) -> Receipt:
        """Do as `append`, from a thread; raises Unavailable after `timeout` seconds, and it may still be recorded."""
        must_fit(record)
        return self._group.submit_sync(record, timeout)

    def seal(self, limit: int = SEGMENT) -> Segment | None:
        """Return the next segment, at most `limit` records from the first unsealed one; None if there are none.

        Reads them back over another connection, recomputes every leaf from its entry and compares it with what was
        held in memory when it was written. Raises Tampered naming shard and seq: then nothing may be signed.
        Changes nothing; put the root into the ledger, then call `mark_sealed`. After a restart first mark what the
        ledger already has, for sealing again may give a longer segment.
        """
        if limit < 1:
            msg = f"a segment has at least one record, not {limit}"
            raise InvalidInput(msg)
        with self._sealing:
            self._group.must_be_healthy()
            head = self._head
            count = min(limit, head.size - head.sealed)
            if count == 0:
                return None
            self._last = self._read_back(head, count)
            return self._last.segment

    def mark_sealed(self, segment: Segment) -> None:
        """Note that this segment's root is in the ledger; once more for the same segment changes nothing.

        Raises Conflict if it is not the next one, Tampered if the records read back do not give its root.
        """
        with self._sealing:
            head = self._head
            end = segment.first + segment.count
            if segment.shard == head.shard and segment.number < head.segments and end <= head.sealed:
                if root_of(self._reader.leaves(segment.first, segment.count)) != segment.root:
                    msg = f"shard {head.shard}: segment {segment.number} was sealed with another root"
                    raise Conflict(msg)
                return
            self._group.must_be_healthy()
            mark = self._last
            if (mark is None or mark.segment != segment) and 0 < segment.count <= head.size - head.sealed:
                mark = self._read_back(head, segment.count)
            if mark is None or mark.segment != segment:
                msg = f"shard {head.shard}: segment {segment.number} from seq {segment.first} is not the next one"
                raise Conflict(msg, hint=f"segment {head.segments} from seq {head.sealed} is")
            self._group.submit_sync(mark, timeout=MARK_WAIT)
            self._last = None

    def close(self) -> None:
        """Commit what waits, move the log into the file, and let the shard go. May be called again."""
        with self._sealing:
            if self._closed:
                return
            self._closed = True
            self._group.close()
            if self._second is not None:
                self._second.shutdown()
            self._checkpointer.close()
            self._reader.close()
            try:
                if not self._group.failed:  # after a failed fsync this would be the retry that hides the loss
                    _move_log(self._db)
            except apsw.Error as error:  # a reader or a full disk in the way
                _log.warning("%s is closed with its write-ahead log beside it: %s", self.path, error)
            finally:
                self._db.close()
                os.close(self._lock)

    def _read_back(self, head: read.Head, count: int) -> Mark:
        with self._state:
            held = bytes(self._held[: count * HASH_BYTES])
            frontier = self._sealed_frontier.copy()
            whole = self._frontier.copy()
        leaves = self._reader.check(head.sealed, count)
        for place, leaf in enumerate(leaves):
            if held[place * HASH_BYTES : (place + 1) * HASH_BYTES] != leaf:
                msg = f"shard {head.shard} seq {head.sealed + place}: the leaf in memory is not the one on disk"
                raise Tampered(msg, hint="one of the two was damaged; seal nothing, restart and verify")
            frontier.append(leaf)
        if frontier.size == whole.size and frontier.root() != whole.root():
            msg = f"shard {head.shard}: the root in memory is not that of its records"
            raise Tampered(msg, hint="seal nothing, restart and verify")
        segment = Segment(
            head.shard, head.epoch, head.segments, head.sealed, count, root_of(leaves), previous=head.last_root
        )
        return Mark(segment, frontier)

    def _commit(self, batch: Sequence[Record | Mark]) -> list[Receipt | BedplateError]:
        """Write one group in one transaction; runs in the writer's thread alone."""
        if self._before_commit is not None:
            self._before_commit()
        flushed = None
        if self._beside is not None and self._second is not None and self._beside.waiting:
            flushed = self._second.submit(self._beside.flush)  # two files, two disk waits: at once, not in turn
        try:
            outcomes = self._committed(batch)
        finally:
            if flushed is not None:
                flushed.result()
        return outcomes

    def _committed(self, batch: Sequence[Record | Mark]) -> list[Receipt | BedplateError]:
        with _writing(self.path):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                group = Group(self._head, self._frontier.copy())
                outcomes = group.write(self._db, batch)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        self._publish(group)
        return outcomes

    def _publish(self, group: Group) -> None:
        with self._state:
            self._head, self._frontier = group.head, group.frontier
            self._held += b"".join(group.leaves)
            for mark in group.marks:
                self._sealed_frontier = mark.frontier
                del self._held[: mark.segment.count * HASH_BYTES]
        self._checkpointer.wake()


def _hold(path: Path) -> int:
    """Take the shard's lock for as long as the returned descriptor is open; raises Conflict if it is taken."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite would let others read it
    except OSError as error:
        msg = f"{path} cannot be opened for writing: {error.strerror}"
        raise Unavailable(msg) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        msg = f"{path} is already being written by process {holder}"
        raise Conflict(msg, hint="one process writes a shard; give this one a shard of its own") from None
    with suppress(OSError):  # only a courtesy to whoever is refused
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _connect(path: Path, shard: str, vfs: str | None) -> apsw.Connection:
    db = read.connect(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs=vfs)
    if db.execute("PRAGMA journal_mode = WAL").get != "wal":
        msg = f"{path} is on a file system without a write-ahead log"
        raise Unavailable(msg, hint="a local disk has one")
    db.execute(f"{DURABILITY}; PRAGMA journal_size_limit = {LOG_KEPT}").fetchall()
    # If the last run ended with a failed fsync, the log in the page cache may not be the log on the disk. Moved into
    # the file it is written, and synced, anew.
    _move_log(db)
    if db.execute("SELECT count(*) FROM sqlite_schema").get == 0:
        with db:
            db.execute(read.TABLES).fetchall()
            db.execute("INSERT INTO head VALUES (1, 0, x'', 0, ?, 0, 0, x'')", (shard,))
        _sync_directory(path)
    return db


def _own_head(db: apsw.Connection, path: Path, shard: str) -> read.Head:
    head = read.read_head(db, path)
    if head.shard != shard:
        msg = f"{path} belongs to shard {head.shard}, not {shard}"
        raise Conflict(msg)
    return head


def _move_log(db: apsw.Connection) -> None:
    db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _sync_directory(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn those of apsw's errors into ours after which the journal can go on; let the others through."""
    try:
        yield
    except apsw.BusyError as error:
        msg = f"{path} is locked by somebody else"
        raise Unavailable(msg, hint="nothing but its journal may write to a shard") from error
    except (apsw.FullError, apsw.IOError) as error:
        # SHMSIZE is the same full disk, met while growing the index of the write-ahead log.
        if isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) != apsw.SQLITE_IOERR_SHMSIZE:
            raise
        msg = f"no space left for {path}"
        raise Full(msg, hint="make room; writing resumes by itself") from error
