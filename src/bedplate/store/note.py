"""Signed notes, checkpoints and cosignatures: C2SP signed-note, tlog-checkpoint and tlog-cosignature with Ed25519.

`cryptography` is imported inside the functions that need it: it costs more than 50 ms, and reading needs none of it.
"""

from __future__ import annotations

import base64
import os
import re
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from bedplate.errors import Conflict, InvalidInput, NotFound, Tampered
from bedplate.store.merkle import HASH_BYTES, MAX_SIZE

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ED25519 = 0x01  # algorithm bytes of C2SP signed-note
COSIGNATURE = 0x04
MAX_NOTE = 1_000_000  # bytes
MAX_SIGNATURES = 100
MAX_TIME = 2**63 - 1  # POSIX seconds, tlog-cosignature

_KEY_BYTES = 32
_ID_BYTES = 4
_TIME_BYTES = 8
_KEY_FILE_MAX = 4096  # bytes
_KEY_FILE_PREFIX = "PRIVATE+KEY+"  # as Go's sumdb/note writes it
_COSIGNED = "cosignature/v1\n"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class BadSignature(Tampered):
    """No trusted key signed this, or a trusted key's signature does not verify."""

    code = "bad-signature"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line; `blob` is what follows the 4-byte key id: 64 bytes, or 72 in a cosignature."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        """Return the line with its newline."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.blob).decode()}\n"

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read a line that ends in a newline; raises InvalidInput."""
        mark, _, rest = line.removesuffix("\n").partition(" ")
        name, _, encoded = rest.partition(" ")
        if mark != "—" or not line.endswith("\n"):
            raise InvalidInput("a signature line does not begin with an em dash and end in a newline")
        _must_be_name("key name", name)
        data = read_base64("signature", encoded)
        if len(data) <= _ID_BYTES:
            raise InvalidInput(f"the signature of {name!r} is empty")
        return cls(name, data[:_ID_BYTES], data[_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public Ed25519 key with its name and what it signs: notes (0x01) or cosignatures (0x04)."""

    name: str
    public: bytes
    algorithm: int = ED25519
    key_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Check the parts and derive the 4-byte key id."""
        _must_be_name("key name", self.name)
        if self.algorithm not in (ED25519, COSIGNATURE) or len(self.public) != _KEY_BYTES:
            raise InvalidInput(f"key {self.name!r} is neither Ed25519 (0x01) nor cosignature/v1 (0x04) with 32 bytes")
        identity = self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public
        object.__setattr__(self, "key_id", sha256(identity).digest()[:_ID_BYTES])

    def __str__(self) -> str:
        """Return `<name>+<hex id>+<base64>`, the form that is handed to verifiers."""
        key = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read `<name>+<hex id>+<base64>`; raises InvalidInput."""
        name, algorithm, public = _read_key("verifier key", text)
        key = cls(name, public, algorithm)
        if str(key) != text:
            raise InvalidInput(f"verifier key {name!r} is not of the form <name>+<its 8-digit id>+<base64>")
        return key

    def verifies(self, text: str, signature: Signature) -> bool:
        """Say whether this key made `signature` over the note text; name and id are the caller's to compare."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  6 MB that only checking signatures needs
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415  as above

        blob, message = signature.blob, text
        if self.algorithm == COSIGNATURE:
            time, blob = int.from_bytes(blob[:_TIME_BYTES], "big"), blob[_TIME_BYTES:]
            if time > MAX_TIME:
                return False
            message = _cosigned_message(text, time)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(blob, message.encode())
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private Ed25519 key; its name should be the log's origin, or the witness's name."""

    __slots__ = ("_private", "_seed", "cosigner", "name", "verifier")

    def __init__(self, name: str, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        _must_be_name("key name", name)
        if len(seed) != _KEY_BYTES:
            raise InvalidInput(f"signing key {name!r} has {len(seed)} bytes, not {_KEY_BYTES}")
        self.name = name
        self._seed = seed
        self._private: Ed25519PrivateKey = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        self.verifier = VerifierKey(name, public)
        self.cosigner = VerifierKey(name, public, COSIGNATURE)

    def __repr__(self) -> str:
        """Return the public part only: a repr ends up in logs."""
        return f"<SigningKey {self.verifier}>"

    @property
    def key_id(self) -> bytes:
        """The 4-byte id of the note key; a cosignature carries `cosigner.key_id`."""
        return self.verifier.key_id

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """Make a new key from the operating system's randomness."""
        return cls(name, os.urandom(_KEY_BYTES))

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read what `save` wrote; raises NotFound, and InvalidInput if others can read it or it is damaged."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not make us wait
        except FileNotFoundError:
            raise NotFound(f"there is no signing key at {path}") from None
        try:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise InvalidInput(f"signing key {path} is not a regular file")
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise InvalidInput(f"signing key {path} is open to others than its owner", hint=f"chmod 600 {path}")
            data = os.read(handle, _KEY_FILE_MAX)
        finally:
            os.close(handle)
        return cls._parse(data, path)

    @classmethod
    def _parse(cls, data: bytes, path: Path) -> SigningKey:
        what = f"signing key {path}"
        text = _read_text(what, data)
        name, _, seed = _read_key(what, text.removeprefix(_KEY_FILE_PREFIX).removesuffix("\n"))
        key = cls(name, seed)
        if key._file_text() != text:
            raise InvalidInput(f"{what} is damaged, or is not an Ed25519 key", hint="restore it from a backup")
        return key

    def _file_text(self) -> str:
        key = base64.b64encode(bytes([ED25519]) + self._seed).decode()
        return f"{_KEY_FILE_PREFIX}{self.name}+{self.key_id.hex()}+{key}\n"

    def save(self, path: Path) -> None:
        """Write a new file that only its owner can read, durably; raises Conflict if the path is taken."""
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise Conflict(
                f"{path} is already there and a key is never overwritten",
                hint="choose another path, or move the old key away",
            ) from None
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._file_text().encode())
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink()  # half a key would block the next attempt
            raise
        sync_folder(path.parent)

    def sign(self, text: str) -> Signature:
        """Sign a note text; raises InvalidInput if it is not one."""
        _must_be_text(text)
        if text.startswith(_COSIGNED):  # else whoever chooses the text obtains a witness's statement from this key
            raise InvalidInput("a note text must not look like a cosigned message")
        return Signature(self.name, self.key_id, self._private.sign(text.encode()))

    def cosign(self, checkpoint_text: str, timestamp: int) -> Signature:
        """State that at `timestamp` (POSIX seconds) this was the largest consistent tree seen (cosignature/v1)."""
        Checkpoint.parse(checkpoint_text)
        if not 0 <= timestamp <= MAX_TIME:
            raise InvalidInput(f"{timestamp} is not a POSIX time in seconds")
        signature = self._private.sign(_cosigned_message(checkpoint_text, timestamp).encode())
        return Signature(self.name, self.cosigner.key_id, timestamp.to_bytes(_TIME_BYTES, "big") + signature)


@dataclass(frozen=True, slots=True)
class Opened:
    """A note of which at least one trusted signature verified."""

    text: str
    keys: tuple[VerifierKey, ...]  # those that verified, each once
    signatures: tuple[Signature, ...]  # the lines that verified

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys that verified."""
        return tuple(key.name for key in self.keys)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says its tree is: origin, number of leaves and 32-byte root (C2SP tlog-checkpoint)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could not be written and read back as it is."""
        _must_be_name("origin", self.origin)
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise InvalidInput(f"checkpoint of {self.origin!r}: size or root hash is out of range")
        if any(not line or "\n" in line for line in self.extensions):
            raise InvalidInput(f"checkpoint of {self.origin!r}: an extension must be one line that is not empty")
        _must_be_text(self.text())

    def text(self) -> str:
        """Return the note text to sign."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note text; raises InvalidInput unless it is exactly what `text` would write."""
        if not text.endswith("\n") or text.count("\n") < 3:  # noqa: PLR2004 (origin, size, root)
            raise InvalidInput("a checkpoint has at least three lines: origin, tree size, root hash")
        origin, size, root, *extensions = text[:-1].split("\n")
        return cls(origin, read_decimal("tree size", size), read_base64("root hash", root), tuple(extensions))


def sign_note(text: str, *keys: SigningKey) -> str:
    """Return the note: the text (ending in a newline), a blank line and one signature line for each key."""
    if not keys:
        raise InvalidInput("a note needs at least one key to sign it")
    return text + "\n" + "".join(str(key.sign(text)) for key in keys)


def cosign(checkpoint_text: str, key: SigningKey, timestamp: int) -> str:
    """Return a witness's signature line, to be appended to the note; `timestamp` is in POSIX seconds."""
    return str(key.cosign(checkpoint_text, timestamp))


def split_note(note: str | bytes) -> tuple[str, tuple[Signature, ...]]:
    """Return text and signature lines, verified by nobody yet; raises InvalidInput."""
    content = _read_text("note", note)
    text, blank, lines = content.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise InvalidInput("a note is a text, a blank line and signature lines, each ending in a newline")
    if lines.count("\n") > MAX_SIGNATURES:
        raise InvalidInput(f"a note may have {MAX_SIGNATURES} signatures, this one has {lines.count(chr(10))}")
    return text + "\n", tuple(Signature.parse(f"{line}\n") for line in lines[:-1].split("\n"))


def open_note(note: str | bytes, *verifiers: VerifierKey) -> Opened:
    """Verify a note; raises InvalidInput if it is malformed, BadSignature if no or a wrong trusted signature is there.

    Signatures of unknown keys are ignored; every signature of a known key (name and id) must verify.
    """
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in verifiers:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise InvalidInput(
                f"two trusted keys share the name {key.name!r} and the id {key.key_id.hex()}", hint="rename one of them"
            )
    text, signatures = split_note(note)
    verified: list[tuple[VerifierKey, Signature]] = []
    for signature in signatures:
        signer = known.get((signature.name, signature.key_id))
        if signer is None:
            continue
        if not signer.verifies(text, signature):
            raise BadSignature(f"the note's signature by {signature.name!r} does not verify")
        verified.append((signer, signature))
    if not verified:
        raise BadSignature("the note is not signed by a trusted key", hint="check which verifier keys are configured")
    return Opened(text, tuple(dict.fromkeys(k for k, _ in verified)), tuple(s for _, s in verified))


def read_base64(what: str, text: str) -> bytes:
    """Decode standard base64 that has exactly one spelling (RFC 4648, section 4); raises InvalidInput."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        data = b""
    if base64.b64encode(data).decode() != text:
        raise InvalidInput(f"{what} is not standard base64")
    return data


def read_decimal(what: str, text: str) -> int:
    """Read an ASCII decimal without sign or leading zeroes, at most 2**63 - 1; raises InvalidInput."""
    number = int(text) if _DECIMAL.fullmatch(text) else -1
    if not 0 <= number <= MAX_SIZE:
        raise InvalidInput(f"{what} is not a decimal number from 0 to {MAX_SIZE} without leading zeroes")
    return number


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a new or renamed file survives a power cut only after this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_key(what: str, text: str) -> tuple[str, int, bytes]:
    """Take `<name>+<hex id>+<base64(algorithm byte, key)>` apart; callers write the key again and compare."""
    name, _, rest = text.partition("+")
    encoded = rest.partition("+")[2]  # base64 has plus signs of its own
    data = read_base64(what, encoded)
    return name, int.from_bytes(data[:1], "big"), data[1:]


def _read_text(what: str, data: str | bytes) -> str:
    """Return valid UTF-8 of bounded size without control characters."""
    try:
        text = data if isinstance(data, str) else data.decode()
        size = len(text.encode())
    except UnicodeError:
        raise InvalidInput(f"{what} is not valid UTF-8") from None
    if size > MAX_NOTE:
        raise InvalidInput(f"{what} may have {MAX_NOTE} bytes, this one has {size}")
    if found := _CONTROL.search(text):
        raise InvalidInput(f"{what} has the control character {found.group()!r} at position {found.start()}")
    return text


def _must_be_text(text: str) -> None:
    if not _read_text("note text", text).endswith("\n"):
        raise InvalidInput("a note text ends in a newline")


def _must_be_name(what: str, name: str) -> None:
    _read_text(what, name)
    if not name or "+" in name or any(letter.isspace() for letter in name):
        raise InvalidInput(f"the {what} is empty or has a space or a plus sign")


def _cosigned_message(text: str, time: int) -> str:
    return f"{_COSIGNED}time {time}\n{text}"
