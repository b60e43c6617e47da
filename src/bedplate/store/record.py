"""What the journal takes and gives: a record, the receipt for it, and a segment of them under one root."""

from __future__ import annotations

from dataclasses import dataclass

from bedplate.errors import InvalidInput
from bedplate.store.merkle import MAX_ENTRY

MAX_CONTENT = 64 * 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Record:
    """One call to be recorded.

    `entry` is the exact bytes that are hashed (at most 65,535), `content` optional ciphertext that is not (its digest
    is in the entry), `at` microseconds since the epoch. The other fields are only for searching.
    """

    id: str
    entry: bytes
    at: int
    use_case: str
    kind: str
    verdict: str
    status: str
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an acknowledged caller holds: where the record is and its 32-byte leaf."""

    shard: str
    seq: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """The records first ... first + count - 1 under one root (RFC 9162, over these leaves alone).

    `number` counts from 0, `previous` is the root of the segment before, or empty.
    """

    shard: str
    epoch: int
    number: int
    first: int
    count: int
    root: bytes
    previous: bytes


def must_fit(record: Record) -> None:
    """Refuse with InvalidInput what would break the whole group it is written with."""
    texts = (record.id, record.use_case, record.kind, record.verdict, record.status)
    try:
        sound = b"\0" not in "".join(texts).encode() and record.id != ""
    except (TypeError, UnicodeEncodeError):  # not a string, or a lone surrogate in it
        sound = False
    if not sound:
        msg = "a record's id must not be empty, and its words must be Unicode without NUL"
        raise InvalidInput(msg)
    if not all(isinstance(value, bytes) for value in (record.entry, record.content)):
        msg = f"record {record.id}: entry and content are bytes"
        raise InvalidInput(msg)
    if not 0 < len(record.entry) <= MAX_ENTRY or len(record.content) > MAX_CONTENT:
        msg = f"record {record.id}: an entry has 1 to {MAX_ENTRY} bytes, content at most {MAX_CONTENT}"
        raise InvalidInput(msg, hint="put what is large into the content, and its digest into the entry")
    if not 0 <= record.at < 2**63:
        msg = f"record {record.id}: {record.at} is not a time in microseconds since the epoch"
        raise InvalidInput(msg)
