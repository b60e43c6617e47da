"""A disk for tests: it can lose power, fail, fill up or hang. An apsw VFS over the real one; needs no root.

What SQLite writes goes into the real files, as into a page cache. Beside it the disk keeps, for each file, what was
synced. `cut` writes the state a power cut could leave: what was synced, plus each unsynced 512-byte sector or not.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

SECTOR = 512


def nothing(_path: str) -> None:
    """Do nothing: the default for a disk's hooks."""


class Disk(apsw.VFS):
    """`on_sync` and `on_write` are called with the file's path before each and may raise or block."""

    def __init__(self, name: str) -> None:
        self.name, self.lock = name, threading.RLock()
        self.synced: dict[str, bytearray] = {}
        self.dirty: dict[str, set[int]] = {}
        self.on_sync: Callable[[str], None] = nothing
        self.on_write: Callable[[str], None] = nothing
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> DiskFile:  # noqa: N802
        """Open a file on this disk; a temporary one (without a name) would be a surprise."""
        assert name is not None, "nothing may spill into a temporary file"
        return DiskFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802
        """Delete a file; the directory is synced with it."""
        with self.lock:
            super().xDelete(filename, syncdir)
            self.synced.pop(filename, None)
            self.dirty.pop(filename, None)

    def cut(self, into: Path, chance: random.Random) -> None:
        """Write to the directory `into` what a power cut now could leave; the disk itself goes on."""
        into.mkdir(parents=True)
        with self.lock:
            for path, synced in self.synced.items():
                now, image = Path(path).read_bytes(), bytearray(synced)
                keep = chance.choice((0.0, 0.5, 0.9))  # dropped, or torn
                for sector in sorted(self.dirty[path]):
                    if chance.random() < keep:
                        start = sector * SECTOR
                        image.extend(bytes(max(0, start - len(image))))
                        image[start : start + SECTOR] = now[start : start + SECTOR]
                (into / Path(path).name).write_bytes(image)


class DiskFile(apsw.VFSFile):
    """One open file; SQLite's shared memory is not a file on the disk and does not outlive the power."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename, flags: list[int]) -> None:
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)
        with disk.lock:
            disk.synced.setdefault(self.path, bytearray(Path(self.path).read_bytes()))
            disk.dirty.setdefault(self.path, set())

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Write to the page cache."""
        self.disk.on_write(self.path)
        with self.disk.lock:
            super().xWrite(data, offset)
            self.disk.dirty[self.path].update(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        """Cut the file; that it is shorter reaches the disk with the next sync."""
        with self.disk.lock:
            super().xTruncate(newsize)
            self.disk.dirty[self.path] = {s for s in self.disk.dirty[self.path] if s * SECTOR < newsize}

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - no real sync: the simulated disk is what counts
        """Make what was written survive the next power cut."""
        self.disk.on_sync(self.path)
        with self.disk.lock:
            now, image = Path(self.path).read_bytes(), self.disk.synced[self.path]
            image.extend(bytes(max(0, len(now) - len(image))))
            del image[len(now) :]
            for sector in self.disk.dirty[self.path]:
                image[sector * SECTOR : (sector + 1) * SECTOR] = now[sector * SECTOR : (sector + 1) * SECTOR]
            self.disk.dirty[self.path].clear()
