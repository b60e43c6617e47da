"""Server-sent events (WHATWG HTML, section 9.2) cut out of the bytes of a stream, each as it came."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_EVENT = 16 << 20  # bytes
# A line ends with LF, CRLF or CR; a CR that came last may yet be half of a CRLF.
LINE = re.compile(rb"\r\n|\n|\r(?=[^\n])")
END = re.compile(rb"(?:\r\n|\n|\r(?=[^\n])){2}")
BOM = b"\xef\xbb\xbf"


class EventTooLarge(BedplateError):
    """One event is larger than any honest one."""

    code = "event-too-large"


class Events:
    """Takes chunks of bytes as they come and gives back whole events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (the event's bytes with its empty line, its data) for each event that is complete.

        Data is b"" where an event has none (a comment, say). `EventTooLarge` if one does not end.
        """
        whole = self._rest + chunk if self._rest else chunk
        start = 0
        if b"\r" not in whole:  # the usual case, without a pattern
            while (end := whole.find(b"\n\n", start)) >= 0:
                raw = whole[start : end + 2]
                start = end + 2
                yield raw, _data(raw)
        else:
            while match := END.search(whole, start):
                raw = whole[start : match.end()]
                start = match.end()
                yield raw, _data(LINE.sub(b"\n", raw))
        self._rest = whole[start:] if start else whole
        if len(self._rest) > MAX_EVENT:
            raise EventTooLarge(f"an event of the stream is larger than {MAX_EVENT} bytes")

    @property
    def rest(self) -> bytes:
        """What came after the last whole event."""
        return self._rest


def data_of(raw: bytes) -> bytes:
    """Return the data of one whole event."""
    return _data(raw if b"\r" not in raw else LINE.sub(b"\n", raw))


def _data(raw: bytes) -> bytes:
    if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2:
        return raw[6:-2]
    lines = [line for line in raw.removeprefix(BOM).split(b"\n") if line.partition(b":")[0] == b"data"]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines)


def with_data(raw: bytes, data: bytes) -> bytes:
    """Return an event with other data: its name, id and comments stay."""
    kept = [line for line in LINE.split(raw.removeprefix(BOM)) if line and line.partition(b":")[0] != b"data"]
    return b"".join([*(line + b"\n" for line in kept), b"data: ", data, b"\n\n"])
