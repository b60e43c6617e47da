"""What each process of a host has counted today and this month, in memory that all of them map.

Every process writes its own file only (`shard-N.cells`, the shard whose journal it holds) and reads the others'. A cell
is one aligned 64-bit integer, written by one store: a reader sees the old value or the new one. Files hold nothing that
is not in the journal as well; one that is damaged, or of another version, is begun anew.

```
shards            64 × int64: of shard N's file, how often it was begun and how many rows are in use; 0: there is none
shard-N.cells     header of 16 × int64 (magic, version, whether it has to be mended), then rows of 16 × int64
row               digest (2), day, month; of that day calls, tokens, nano; of that month's days before it calls, tokens,
                  nano; and of that day, reserved only, tokens, nano
```
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from bedplate.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC, VERSION = 0x6265_6470_6365_6C6C, 1  # "bedpcell"
SHARDS = 64  # serving processes that share one data folder
ROW = 16  # int64s
BYTES = ROW * 8
BLOCK = 1 << 16
ROWS = 1 << 16  # use cases; the file is sparse, so that only those in use take space
INDEX = "shards"
TURN = 1 << 20  # more than there are rows
# Places within a row.
DAY, MONTH, CALLS, TOKENS, NANO, BEFORE_CALLS, BEFORE_TOKENS, BEFORE_NANO, HELD_TOKENS, HELD_NANO = range(2, 12)
_read_row = struct.Struct("@8q").unpack_from  # native: each value is copied as a whole
_DAY_AT = DAY * 8


class Counted(NamedTuple):
    """What a row says of the day (since the epoch) and month (years × 12 + months) it was last used in.

    `before_` is of the same month, up to the day before.
    """

    day: int = -1
    month: int = -1
    calls: int = 0
    tokens: int = 0
    nano: int = 0
    before_calls: int = 0
    before_tokens: int = 0
    before_nano: int = 0


class Cells:
    """One file of rows. Opened for writing it is this process's alone, until it is closed or the process ends."""

    def __init__(self, path: Path, *, write: bool) -> None:
        """Open the file; raises Conflict if another process writes it."""
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if write:
                _hold(self._fd, path)
            size = BYTES * (ROWS + 1)
            if os.fstat(self._fd).st_size != size:
                os.ftruncate(self._fd, size)
            self._map = mmap.mmap(self._fd, size)
        except OSError as broken:
            os.close(self._fd)
            raise Unavailable(f"{path} cannot be used: {broken.strerror}") from broken
        except BaseException:
            os.close(self._fd)
            raise
        self.view = memoryview(self._map).cast("q")

    def begin(self) -> None:
        """Empty what is no file of this version. It is not cut: another process may be reading it."""
        nothing = bytes(BLOCK)
        for start in range(0, len(self._map), BLOCK):
            there = self._map[start : start + BLOCK]
            if there != nothing[: len(there)]:  # what is not written takes no space
                self._map[start : start + BLOCK] = nothing[: len(there)]
        self.view[0], self.view[1] = MAGIC, VERSION

    @property
    def loose(self) -> bool:
        """Whether something may stand in it that never came to be recorded: so from its opening until it is mended."""
        return self.view[2] != 0

    @loose.setter
    def loose(self, value: bool) -> None:
        self.view[2] = int(value)

    @property
    def sound(self) -> bool:
        """Whether it is a file of this version."""
        return self.view[0] == MAGIC and self.view[1] == VERSION

    def read(self, row: int) -> tuple[int, ...]:
        """Return a row as `Counted` has it."""
        return _read_row(self._map, (row + 1) * BYTES + _DAY_AT)

    def held(self, row: int) -> tuple[int, int]:
        """Return the tokens and nano-dollars of a row that are only reserved."""
        base = (row + 1) * ROW
        return self.view[base + HELD_TOKENS], self.view[base + HELD_NANO]

    def digests(self, first: int, until: int) -> Iterator[tuple[bytes, int]]:
        """Yield the subject's digest and place of each row."""
        for row in range(first, until):
            start = (row + 1) * BYTES
            yield self._map[start : start + 16], row

    def name(self, row: int, digest: bytes) -> int:
        """Give a row to a subject; returns where its cells begin in `view`."""
        start = (row + 1) * BYTES
        self._map[start : start + 16] = digest
        return (row + 1) * ROW

    def write(self, row: int, counted: Counted) -> None:
        """Set a row to what is on record."""
        base = (row + 1) * ROW
        for place, value in enumerate((*counted[2:], 0, 0), CALLS):
            self.view[base + place] = value
        self.view[base + MONTH] = counted.month
        self.view[base + DAY] = counted.day  # last: a new day is seen with its own numbers

    def close(self) -> None:
        """Let the file go."""
        self.view.release()
        self._map.close()
        os.close(self._fd)


class Index:
    """How many rows each shard's file has in use: one look tells whether anything is new in any of them."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder / INDEX, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._fd).st_size < SHARDS * 8:
            os.ftruncate(self._fd, SHARDS * 8)
        self.map = mmap.mmap(self._fd, SHARDS * 8)
        self._view = memoryview(self.map).cast("q")

    def of(self, number: int) -> tuple[int, int]:
        """Return how often a shard's file was begun, and how many rows are in use."""
        return divmod(self._view[number], TURN)

    def tell(self, number: int, begun: int, used: int) -> None:
        """Say it of the own shard's file."""
        self._view[number] = begun * TURN + used

    def close(self) -> None:
        """Let it go."""
        self._view.release()
        self.map.close()
        os.close(self._fd)


def digest(subject: str) -> bytes:
    """Return the 16 bytes under which a subject has its row."""
    return hashlib.sha256(subject.encode()).digest()[:16]


def path_of(folder: Path, number: int) -> Path:
    """Return the file of a shard."""
    return folder / f"shard-{number}.cells"


def _hold(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"{path} is another process's", hint="each serving process has a shard of its own") from None
