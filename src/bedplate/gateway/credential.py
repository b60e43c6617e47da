"""A key by reference: the name of a variable, or a file that may be rotated while we run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOOK_EVERY = 1_000_000  # µs between two looks at the file
MAX_BYTES = 16_384
_VISIBLE = re.compile(rb"[\x21-\x7e]+")  # nothing that could end a header


class Credential:
    """The secret of one upstream. `source` says where it stands; neither `repr` nor an error holds the secret."""

    __slots__ = ("_looked", "_path", "_secret", "_seen", "source", "trouble")

    def __init__(self, source: str, secret: bytes = b"", path: Path | None = None) -> None:
        self.source = source
        self.trouble = ""  # why the last look at the file failed; the key read before stays in use meanwhile
        self._secret = secret
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._looked = 0

    def __repr__(self) -> str:
        return f"Credential({self.source!r})"

    @classmethod
    def none(cls) -> Credential:
        """Make one that holds nothing, for an upstream that asks for no key."""
        return cls("none")

    @classmethod
    def of_variable(cls, name: str, environment: Mapping[str, str]) -> Credential:
        """Take the key from a variable; `InvalidInput` if it is not set or cannot be one."""
        value = environment.get(name, "")
        if not value:
            raise InvalidInput(f"the variable {name} is not set", hint="set it where the server starts")
        return cls(f"env {name}", _checked(value.encode(), f"the variable {name}"))

    @classmethod
    def of_file(cls, path: Path) -> Credential:
        """Take the key from a file; `InvalidInput` if it cannot be read or holds no key."""
        made = cls(f"file {path}", path=path)
        made._read(path)
        return made

    def secret(self, now: int) -> bytes:
        """Return the key, read again where its file has changed; looks at most once a second (`now`: monotonic µs)."""
        if self._path is not None and now - self._looked >= LOOK_EVERY:
            self._looked = now
            try:
                if _identity(self._path) != self._seen:
                    self._read(self._path)
                self.trouble = ""
            except (OSError, InvalidInput) as wrong:  # in the middle of a rotation, say
                self.trouble = f"{self.source}: {wrong.message if isinstance(wrong, InvalidInput) else wrong.strerror}"
        return self._secret

    def _read(self, path: Path) -> None:
        try:
            seen = _identity(path)  # before the content: a change in between is found by the next look
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as wrong:
            raise InvalidInput(f"the key file {path} cannot be read: {wrong.strerror}") from None
        self._secret = _checked(content.strip(), f"the key file {path}")
        self._seen = seen


def _identity(path: Path) -> tuple[int, int, int]:
    """Return what tells two versions of a file apart, through symbolic links: secrets are rotated by swapping those."""
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size


def _checked(secret: bytes, where: str) -> bytes:
    if not secret:
        raise InvalidInput(f"{where} is empty", hint="put the key there, and nothing else")
    if len(secret) > MAX_BYTES or not _VISIBLE.fullmatch(secret):
        raise InvalidInput(f"{where} does not hold a key: one line of visible ASCII", hint="put the key there alone")
    return secret
