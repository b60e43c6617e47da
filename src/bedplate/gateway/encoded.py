"""Runs of base64 and percent-encoding: decoded once, and looked into. What is found inside marks the whole run."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from .detect import Decoder, Reading, Scanner, compiled
from .normal import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .detect import Span

SHORTEST = 24  # characters of base64; eighteen bytes
PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\n\r"
STANDARD = bytes.maketrans(b"-_", b"+/")

BASE64 = r"[A-Za-z0-9+/_-]{24}"
BASE64_RUN = compiled(r"([A-Za-z0-9+/_-]{24,}={0,2})")
PERCENT = r"%[0-9A-Fa-f]{2}"
PERCENT_RUN = compiled(r"([A-Za-z0-9%._~+/=@:&?#$!*-]*%[0-9A-Fa-f]{2}[A-Za-z0-9%._~+/=@:&?#$!*-]*)")


def looking_inside(scanner: Scanner) -> tuple[Decoder, Decoder]:
    """Make what decodes runs and lets a scanner look inside."""

    def inside(texts: Iterable[str]) -> set[tuple[str, str]]:
        readings = (Reading(read(text).text) for text in texts)
        return {(kind, label) for r in readings for _, _, kind, label in scanner.spans(r) if label}

    def base64_runs(reading: Reading) -> Iterator[Span]:
        for start, end in reading.each(BASE64_RUN):
            for kind, label in inside(_decoded(reading.line[start:end])):
                yield start, end, kind, label

    def percent_runs(reading: Reading) -> Iterator[Span]:
        for start, end in reading.each(PERCENT_RUN):
            decoded = unquote_to_bytes(reading.line[start:end]).decode("utf-8", "replace")
            for kind, label in inside([decoded]):
                yield start, end, kind, label

    return Decoder(BASE64, base64_runs), Decoder(PERCENT, percent_runs)


def _decoded(run: bytes) -> Iterator[str]:
    """Yield what a run decodes to from each of its first four characters, where that reads as text.

    A run may begin with what is no part of the encoding, such as the end of a path.
    """
    if run.islower() or run.isupper():
        return  # a word, a path, a hexadecimal digest
    run = run.rstrip(b"=").translate(STANDARD)
    for first in range(4):
        part = run[first:]
        if len(part) < SHORTEST - 3:
            return
        content = base64.b64decode(part[: len(part) // 4 * 4] + _rest(part))
        if 4 * len(content.translate(None, PRINTABLE)) <= len(content):
            yield content.decode("utf-8", "replace")


def _rest(part: bytes) -> bytes:
    """Pad what is left over after groups of four; one character alone says nothing."""
    left = part[len(part) // 4 * 4 :]
    return left + b"=" * (4 - len(left)) if len(left) > 1 else b""
