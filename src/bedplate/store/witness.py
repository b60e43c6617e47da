"""The witness: co-signs a log's checkpoints only while its history grows (C2SP tlog-witness, without the HTTP).

Run it where the log's operator cannot write: a key on the log's own host proves nothing against that operator.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from bedplate.errors import Conflict, InvalidInput, NotFound, Tampered, Unavailable
from bedplate.store.merkle import EMPTY_ROOT, verify_consistency
from bedplate.store.note import Checkpoint, SigningKey, VerifierKey, cosign, open_note, split_note, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


class StaleCheckpoint(Conflict):
    """The proof starts at another size than the one this witness co-signed last (HTTP 409)."""

    code = "stale-checkpoint"

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message, hint=f"send a consistency proof from size {size}")
        self.size = size  # leaves, in the latest checkpoint co-signed


class Witness:
    """One witness key, the logs it watches, and a folder with one small file for each of them."""

    __slots__ = ("_folder", "_key", "_log_keys")

    def __init__(self, folder: Path, key: SigningKey, log_keys: Mapping[str, VerifierKey]) -> None:
        # Not created here: over an unmounted disk an empty memory would co-sign any fork.
        if not folder.is_dir():
            raise Unavailable(
                f"the witness folder {folder} is not there", hint="mount it, or create it if this witness is new"
            )
        self._folder = folder
        self._key = key
        self._log_keys = dict(log_keys)  # by origin

    def add_checkpoint(self, old_size: int, proof: Sequence[bytes], note: str | bytes, now: int) -> str:
        """Return this witness's signature line for the note, after the checkpoint is remembered durably.

        `proof` leads from `old_size` to the checkpoint, `now` is in POSIX seconds. Raises NotFound for an unknown
        origin (HTTP 404), BadSignature (403), InvalidInput for what cannot be read or an old size above the new one
        (400), StaleCheckpoint (409) and Tampered for a tree that does not extend the one known (422; its code is
        `forked-tree` where two roots of one size are signed, for which C2SP's HTTP answers 409).
        """
        text, _ = split_note(note)
        offered = Checkpoint.parse(text)
        log_key = self._log_keys.get(offered.origin)
        if log_key is None:
            raise NotFound(f"this witness does not watch the log {offered.origin!r}")
        open_note(note, log_key)
        if not 0 <= old_size <= offered.size:
            raise InvalidInput(f"the old size {old_size} is not between 0 and the checkpoint's {offered.size}")
        with self._locked(offered.origin):
            known = self.latest(offered.origin) or Checkpoint(offered.origin, 0, EMPTY_ROOT)
            if old_size != known.size:
                raise StaleCheckpoint(
                    f"log {offered.origin!r} was last co-signed at size {known.size}, not {old_size}", size=known.size
                )
            verify_consistency(known.size, known.root, offered.size, offered.root, proof)
            line = cosign(text, self._key, now)
            self._remember(offered.origin, f"{text}\n{line}")
        return line

    def latest(self, origin: str) -> Checkpoint | None:
        """Return the last checkpoint co-signed, or None; raises Tampered if this witness did not write the file."""
        path = self._path(origin, "checkpoint")
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            checkpoint = Checkpoint.parse(open_note(data, self._key.cosigner).text)
        except (InvalidInput, Tampered) as error:
            raise Tampered(
                f"the witness file {path} is damaged: {error}", hint="find out who wrote it; do not delete it"
            ) from error
        if checkpoint.origin != origin:
            raise Tampered(f"the witness file {path} belongs to the log {checkpoint.origin!r}")
        return checkpoint

    def _path(self, origin: str, suffix: str) -> Path:
        return self._folder / f"{sha256(origin.encode()).hexdigest()}.{suffix}"  # an origin may hold slashes and dots

    @contextmanager
    def _locked(self, origin: str) -> Iterator[None]:
        """Hold off other threads and processes from compare to rename: between them two forks could be co-signed."""
        handle = os.open(self._path(origin, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _remember(self, origin: str, note: str) -> None:
        """Replace the file whole: after a crash it is the old one or the new one."""
        draft = self._path(origin, "draft")
        with draft.open("wb") as file:
            file.write(note.encode())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path(origin, "checkpoint"))
        sync_folder(self._folder)
