"""Rows of a file, read one at a time: all of them are checked, and if any is wrong none counts."""

from __future__ import annotations

import csv
import hashlib
import io
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SHOWN = 20  # wrong rows that are told one by one
MAX_LINE = 64 << 10  # bytes


@dataclass(slots=True)
class Wrong:
    """The rows that cannot be read: the first of them, and how many in all."""

    name: str
    first: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, line: int, why: str) -> None:
        """Note a row; `why` says what was expected."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(f"{self.name}:{line}: {why}")

    def settle(self) -> None:
        """Raise `InvalidInput` with the rows that are wrong, if any is."""
        if not self.count:
            return
        more = f"\n... and {self.count - len(self.first):,} more" if self.count > len(self.first) else ""
        rows = "row is" if self.count == 1 else "rows are"
        message = f"{self.count:,} {rows} wrong; nothing was imported\n" + "\n".join(self.first) + more
        raise InvalidInput(message, hint="mend these rows, or leave them out, and import the file again")


class Reader:
    """A file that is read line by line; `digest` is of all its bytes once it was read to its end."""

    def __init__(self, file: IO[bytes], name: str, wrong: Wrong) -> None:
        self._file, self._hash = file, hashlib.sha256()
        self.name, self.wrong = name, wrong

    @property
    def digest(self) -> str:
        """The SHA-256 of what was read, hex."""
        return self._hash.hexdigest()

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield lines with their numbers, from 1; without empty ones. What is no UTF-8, or too long, is a wrong row."""
        number = 0
        while line := self._file.readline(MAX_LINE):
            number += 1
            self._hash.update(line)
            if not line.endswith(b"\n") and len(line) == MAX_LINE:
                self.wrong.add(number, f"the line has more than {MAX_LINE} bytes")
                self._skip()
                continue
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                self.wrong.add(number, "the line is not UTF-8")
                continue
            if text.strip():
                yield number, text

    def table(self, *needed: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield rows of a CSV by headings in small letters. Of each choice in `needed` one heading has to be there."""
        lines: list[int] = []
        rows = csv.reader(self._texts(lines))
        try:
            head = [name.strip().lower() for name in next(rows, [])]
            for choice in needed:
                if not set(choice) & set(head):
                    hint = f"the first row names the columns; here they are: {', '.join(head)[:200] or 'none'}"
                    raise InvalidInput(f"{self.name} has no column {' or '.join(choice)}", hint=hint)
            if len(set(head)) != len(head):
                raise InvalidInput(f"{self.name} names a column twice: {', '.join(head)[:200]}", hint="rename one")
            for row in rows:
                if len(row) != len(head):
                    self.wrong.add(lines[-1], f"{len(row)} fields where {len(head)} columns are named")
                else:
                    yield lines[-1], {name: value.strip() for name, value in zip(head, row, strict=True)}
        except csv.Error as odd:
            raise InvalidInput(f"{self.name}:{lines[-1] if lines else 1}: {odd}", hint="it is no CSV") from None

    def _texts(self, numbers: list[int]) -> Iterator[str]:
        for number, text in self.lines():
            numbers[:] = [number]
            yield text + "\n"

    def _skip(self) -> None:
        while piece := self._file.readline(MAX_LINE):
            self._hash.update(piece)
            if piece.endswith(b"\n"):
                return


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Open a file of rows; afterwards, wrong rows are an error."""
    try:
        file = path.open("rb")
    except OSError as away:
        raise InvalidInput(f"{path} cannot be read: {away.strerror}", hint="name a file") from None
    with file:
        reader = Reader(file, path.name, Wrong(path.name))
        yield reader
        reader.wrong.settle()


def read_text(text: str, name: str) -> Reader:
    """Return a reader over text that is at hand."""
    return Reader(io.BytesIO(text.encode()), name, Wrong(name))
