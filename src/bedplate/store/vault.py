"""The vault: content encrypted under one key per record, so that destroying the key erases the content.

The ciphertext goes wherever the caller puts it (the journal's `content` column, a segment, a backup); the keys are
here, in a file of their own, each wrapped (RFC 3394) by the key-encryption key, the KEK, that is in another file.

Why keys are written in groups. A key must be on disk before its record is acknowledged, but an fsync of its own for
each call would halve the journal's rate. So `seal` only computes and remembers the key, and `flush` writes all that
are remembered in one durable transaction. The journal calls `flush` beside each of its commits
(`Journal.open(..., beside=vault)`) and acknowledges its records after both: one more fsync for a group of up to 512
calls, waited for at the same time, and none for a group without content. A crash between the two leaves keys without a
record, or a record without its key: neither was acknowledged. A retry seals under a second key; each ciphertext names
its own.

What erasure means. `erase` deletes the wrapped keys, zeroes their pages and empties the write-ahead log. A backup of
the vault made before still holds them, so once a month, or after an erasure that cannot wait, `rotate` wraps what is
left under a new KEK and destroys the old one: then a backup opens nothing that was erased. Back the two files up apart.

Format of a ciphertext: key id (8 bytes), nonce (12), AES-256-GCM of salt (32) ‖ plaintext with the record's id as
associated data. GCM does not commit to its key; the commitment, SHA-256("bedplate/content/v1" NUL ‖ salt ‖
plaintext), does, and without the salt it cannot be guessed from a short text.
"""

from __future__ import annotations

import functools
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import apsw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from bedplate.errors import Full, InvalidInput, NotFound, Tampered, Unavailable
from bedplate.store.shard import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KEY_BYTES, KID_BYTES, NONCE_BYTES, SALT_BYTES, TAG_BYTES = 32, 8, 12, 32, 16
ROWS_AT_ONCE = 64
NAMES_AT_ONCE = 256
PENDING = 4096  # keys remembered before seal() flushes by itself
PURPOSE = b"bedplate/content/v1\0"
TABLES = """
CREATE TABLE key (id TEXT NOT NULL, kid BLOB NOT NULL, wrapped BLOB NOT NULL, PRIMARY KEY (id, kid))
  STRICT, WITHOUT ROWID;
CREATE TABLE kek (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Encrypted content, and what its record's entry says of it.

    `ct` is the SHA-256 of the ciphertext and `commitment` that of the salted plaintext, both in hex; `kid` is the key's
    id, 16 hex digits.
    """

    ciphertext: bytes
    ct: str
    commitment: str
    kid: str


class Vault:
    """The keys of one installation. Methods may be called from any thread, the file may be shared by processes."""

    def __init__(self, path: Path, kek: Path, *, vfs: str | None = None) -> None:
        """Open or create the vault at `path` and the KEK file, mode 0600, at `kek`.

        Raises Unavailable if the KEK file is missing for a vault in use or readable by others, Tampered if either file
        is damaged, Full.
        """
        self.path, self._kek_path = path, kek
        self._lock = threading.RLock()  # one transaction at a time; held while the disk is waited for
        self._remembering = threading.Lock()  # the keys below; never held while anything is waited for
        self._pending: dict[tuple[str, bytes], bytes] = {}
        self._failure = ""
        self._keks: dict[str, bytes] = {}  # by name, as last read
        with self._storing():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = connect(path, flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, vfs=vfs)
            self._db.execute("PRAGMA journal_mode = WAL").fetchall()
            self._db.execute("PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON")
            self._db.execute("PRAGMA secure_delete = ON").fetchall()
            # Moved and synced anew, in case the last run ended with a failed fsync.
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            with self._transaction():
                self._create_or_check()

    def seal(self, record_id: str, plaintext: bytes) -> Sealed:
        """Encrypt a record's content under a key of its own, which is durable after the next `flush`.

        Raises Unavailable if the vault failed; the plaintext is written nowhere.
        """
        if not record_id or "\0" in record_id:
            msg = "content belongs to a record: its id must not be empty or hold a NUL"
            raise InvalidInput(msg)
        name = record_id.encode()
        drawn = os.urandom(KEY_BYTES + KID_BYTES + NONCE_BYTES + SALT_BYTES)  # one system call, not four
        key, kid, salt = drawn[:KEY_BYTES], drawn[KEY_BYTES : KEY_BYTES + KID_BYTES], drawn[-SALT_BYTES:]
        nonce = drawn[KEY_BYTES + KID_BYTES : -SALT_BYTES]
        ciphertext = kid + nonce + AESGCM(key).encrypt(nonce, salt + plaintext, name)
        self._must_work()
        with self._remembering:
            self._pending[record_id, kid] = key
        if len(self._pending) >= PENDING:
            self.flush()
        commitment = sha256(PURPOSE + salt + plaintext).hexdigest()
        return Sealed(ciphertext, sha256(ciphertext).hexdigest(), commitment, kid.hex())

    def flush(self) -> None:
        """Make all keys durable; costs nothing when there are none. Raises Full (they are kept) or Unavailable."""
        with self._lock:
            self._must_work()
            with self._remembering:
                pending = dict(self._pending)
            if not pending:
                return
            with self._storing(), self._transaction():
                # Wrapped now, not at seal(): another process may have rotated the KEK in between.
                kek = self._kek()
                rows = [(name, kid, aes_key_wrap(kek, key)) for (name, kid), key in pending.items()]
                for start in range(0, len(rows), ROWS_AT_ONCE):
                    part = rows[start : start + ROWS_AT_ONCE]
                    self._db.execute(_insert(len(part)), [value for row in part for value in row])
            with self._remembering:
                for pair in pending:
                    self._pending.pop(pair, None)

    def open(self, record_id: str, ciphertext: bytes) -> bytes:
        """Return the plaintext; raises NotFound if its key was erased, Tampered if it is not what was sealed."""
        if len(ciphertext) < KID_BYTES + NONCE_BYTES + SALT_BYTES + TAG_BYTES:
            msg = f"the content of record {record_id} is cut short"
            raise Tampered(msg)
        kid, nonce, body = ciphertext[:KID_BYTES], ciphertext[KID_BYTES:][:NONCE_BYTES], ciphertext[KID_BYTES:]
        try:
            key = self._key(record_id, kid)
            return AESGCM(key).decrypt(nonce, body[NONCE_BYTES:], record_id.encode())[SALT_BYTES:]
        except (InvalidTag, InvalidUnwrap):
            msg = f"the content of record {record_id} or its key is not what was sealed"
            raise Tampered(msg) from None

    def erase(self, record_ids: Iterable[str]) -> int:
        """Destroy the keys of these records, durably, and return how many of the records had one.

        See the module about backups and `rotate`. Erasing twice changes nothing.
        """
        erased = 0
        with self._lock:
            self._must_work()
            names = set(record_ids)
            with self._remembering:
                waiting = {pair for pair in self._pending if pair[0] in names}
            with self._storing(), self._transaction():
                for name in names:
                    self._db.execute("DELETE FROM key WHERE id = ?", (name,))
                    erased += self._db.changes() > 0 or any(name == pair[0] for pair in waiting)
            with self._remembering:
                for pair in waiting:
                    self._pending.pop(pair, None)
            self._empty_log()
        return erased

    def holds(self, record_ids: Iterable[str]) -> set[str]:
        """Return those of the records whose content can still be opened."""
        names = list(dict.fromkeys(record_ids))
        found: set[str] = set()
        with self._lock:
            self._must_work()
            with self._remembering:
                waiting = {name for name, _ in self._pending}
            with self._storing(), self._transaction("DEFERRED"):
                for start in range(0, len(names), NAMES_AT_ONCE):
                    part = names[start : start + NAMES_AT_ONCE]
                    wanted = f"SELECT DISTINCT id FROM key WHERE id IN ({', '.join('?' * len(part))})"  # noqa: S608  nothing but places
                    found.update(name for (name,) in self._db.execute(wanted, part))
        return found | waiting.intersection(names)

    def size(self) -> int:
        """Return how many keys there are."""
        with self._lock:
            self._must_work()
            with self._storing(), self._transaction("DEFERRED"):
                return int(self._db.execute("SELECT count(*) FROM key").get) + len(self._pending)

    def rotate(self) -> int:
        """Wrap every key under a new KEK, destroy the old one, and return how many keys there are.

        A crash in between leaves both KEKs in their file and every key readable; call it again.
        """
        with self._lock:
            self._must_work()
            with self._storing():
                new = os.urandom(KEY_BYTES)
                with self._transaction():
                    old = self._kek()
                    _write_keks(self._kek_path, [old, new])
                    rows: list[Any] = self._db.execute("SELECT id, kid, wrapped FROM key").fetchall()
                    again = [(aes_key_wrap(new, aes_key_unwrap(old, key)), name, kid) for name, kid, key in rows]
                    self._db.executemany("UPDATE key SET wrapped = ? WHERE id = ? AND kid = ?", again)
                    self._db.execute("UPDATE kek SET name = ?", (_name(new),))
                self._empty_log()
                _write_keks(self._kek_path, [new])
            return len(rows)

    def close(self) -> None:
        """Make all keys durable and close the file. May be called again."""
        with self._lock:
            if not self._failure:
                self.flush()
                self._failure = "it is closed"
            self._db.close()

    def _key(self, record_id: str, kid: bytes) -> bytes:
        with self._lock:
            self._must_work()
            waiting = self._pending.get((record_id, kid))
            if waiting is not None:
                return waiting
            with self._storing(), self._transaction("DEFERRED"):
                wanted = "SELECT wrapped FROM key WHERE id = ? AND kid = ?"
                found = self._db.execute(wanted, (record_id, kid)).fetchone()
                if found is None:
                    msg = f"the content of record {record_id} was erased"
                    raise NotFound(msg)
                return aes_key_unwrap(self._kek(), found[0])

    def _kek(self) -> bytes:
        """Return the KEK the keys are wrapped with as of this transaction."""
        current = self._db.execute("SELECT name FROM kek").get
        if current in self._keks:  # the file is read again only when somebody rotated it
            return self._keks[current]
        self._keks = {_name(kek): kek for kek in _read_keks(self._kek_path)}
        if current in self._keks:
            return self._keks[current]
        msg = f"{self._kek_path} does not hold the key {current} that the vault's keys are wrapped with"
        raise Unavailable(msg, hint="restore the key file that belongs to this vault")

    def _create_or_check(self) -> None:
        if self._db.execute("SELECT count(*) FROM sqlite_schema").get:
            self._kek()
            return
        if not self._kek_path.exists():
            _write_keks(self._kek_path, [os.urandom(KEY_BYTES)])
        self._db.execute(TABLES).fetchall()
        self._db.execute("INSERT INTO kek VALUES (1, ?)", (_name(_read_keks(self._kek_path)[-1]),))

    def _empty_log(self) -> None:
        """Move the log into the file, so that neither holds what was deleted; raises Unavailable if a reader is on."""
        with self._storing():
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    @property
    def waiting(self) -> bool:
        """Whether there are keys that are not durable yet."""
        return bool(self._pending)

    @property
    def healthy(self) -> bool:
        """Tell whether keys can be kept."""
        return not self._failure

    def _must_work(self) -> None:
        if self._failure:
            msg = f"the vault at {self.path} takes nothing: {self._failure}"
            raise Unavailable(msg, hint="the process has to be restarted")

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[None]:
        self._db.execute(f"BEGIN {kind}")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Turn storage errors into ours; an I/O error is the end of this vault, for an fsync is never retried."""
        try:
            yield
        except apsw.BusyError as error:
            msg = f"the vault at {self.path} is in use by somebody else"
            raise Unavailable(msg) from error
        except apsw.FullError as error:
            msg = f"no space left for the vault at {self.path}"
            raise Full(msg, hint="make room; writing resumes by itself") from error
        except (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError) as error:
            self._failure = str(error)
            msg = f"{self.path} cannot be read as a vault: {error}"
            raise Tampered(msg, hint="restore the vault") from error
        except (apsw.Error, OSError) as error:
            self._failure = str(error)
            msg = f"the vault at {self.path} failed: {error}"
            raise Unavailable(msg, hint="the process has to be restarted") from error


@functools.cache
def _insert(rows: int) -> str:
    # Many rows to a statement: every step of one gives the interpreter lock away, and has to get it back.
    return f"INSERT INTO key VALUES {', '.join(['(?, ?, ?)'] * rows)}"  # noqa: S608  nothing but places


def _name(kek: bytes) -> str:
    return sha256(b"bedplate/kek/v1\0" + kek).hexdigest()[:16]


def _read_keks(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            mode, text = os.fstat(file.fileno()).st_mode, file.read()
    except FileNotFoundError:
        msg = f"the key file {path} is missing; nothing the vault holds can be opened without it"
        raise Unavailable(msg, hint="restore it; a new one would not fit") from None
    if mode & 0o077:
        msg = f"the key file {path} can be read by others"
        raise Unavailable(msg, hint=f"chmod 600 {path}")
    try:
        keks = [bytes.fromhex(line) for line in text.decode().split()]
    except ValueError:
        keks = []
    if not keks or any(len(kek) != KEY_BYTES for kek in keks):
        msg = f"the key file {path} is damaged"
        raise Tampered(msg, hint="restore it; a new one would not fit")
    return keks


def _write_keks(path: Path, keks: list[bytes]) -> None:
    """Replace the file in one step: at any moment it holds either the old lines or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, "".join(f"{kek.hex()}\n" for kek in keks).encode())
        os.fsync(file)
    finally:
        os.close(file)
    beside.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
