"""Server-sent events, taken apart as they come and handed on as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_EVENT = 50 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """One event: the bytes as they came, its data, and its id."""

    raw: bytes
    data: bytes
    id: bytes = b""

    def with_data(self, data: bytes) -> bytes:
        """Return the event with other data."""
        head = b"id: %b\r\n" % self.id if self.id else b""
        return head + b"event: message\r\ndata: " + data + b"\r\n\r\n"


class Splitter:
    """Collects bytes and gives whole events. `InvalidInput` for one that is too large."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Event]:
        """Take bytes; give the events that are whole by now."""
        self._rest += piece
        while True:
            ends = [(at, len(mark)) for mark in (b"\r\n\r\n", b"\n\n", b"\r\r") if (at := self._rest.find(mark)) >= 0]
            if not ends:
                break
            at, width = min(ends)
            raw, self._rest = self._rest[: at + width], self._rest[at + width :]
            yield _event(raw)
        if len(self._rest) > MAX_EVENT:
            raise InvalidInput(f"an event of more than {MAX_EVENT} bytes")

    def rest(self) -> bytes:
        """Return what came after the last whole event."""
        return self._rest


def _event(raw: bytes) -> Event:
    data, ident = [], b""
    for line in raw.splitlines():
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"id":
            ident = value
    return Event(raw, b"\n".join(data), ident)
