"""The call proof: one text file that shows offline that a call is in the record, and whose record it is.

The chain is call -> root of its journal segment -> ledger event that sealed the segment -> signed checkpoint. What
follows the first blank line is a C2SP tlog-proof of the ledger event, with the event's bytes as its extra data.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from bedplate.errors import InvalidInput, Tampered
from bedplate.store.merkle import HASH_BYTES, MAX_ENTRY, MAX_PROOF, MAX_SIZE, leaf_hash, verify_inclusion
from bedplate.store.note import (
    COSIGNATURE,
    ED25519,
    Checkpoint,
    VerifierKey,
    open_note,
    read_base64,
    read_decimal,
    split_note,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = "bedplate.dev/proof@v1"
MAX_PROOF_FILE = 256 * 1024  # bytes
SEALED = "kernel.segment.sealed"
_TLOG_PROOF = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """A call's exact bytes and the way from them to a signed checkpoint; about 2 KB as text."""

    call: bytes
    call_index: int  # position in the segment
    segment_size: int
    call_path: tuple[bytes, ...]  # 32-byte hashes, the sibling first
    event: bytes
    event_index: int  # position in the ledger
    event_path: tuple[bytes, ...]
    note: str

    def __post_init__(self) -> None:
        """Refuse what could not be written and read back as it is."""
        for what, entry in (("call", self.call), ("ledger event", self.event)):
            if not 1 <= len(entry) <= MAX_ENTRY:
                raise InvalidInput(f"proof: the {what} has {len(entry)} bytes, not 1 to {MAX_ENTRY}")
        for number in (self.call_index, self.segment_size, self.event_index):
            if not 0 <= number <= MAX_SIZE:
                raise InvalidInput(f"proof: {number} is not between 0 and {MAX_SIZE}")
        for path in (self.call_path, self.event_path):
            if len(path) > MAX_PROOF or any(len(digest) != HASH_BYTES for digest in path):
                raise InvalidInput(
                    f"proof: a path has more than {MAX_PROOF} hashes, or one that is not {HASH_BYTES} bytes"
                )
        Checkpoint.parse(split_note(self.note)[0])

    def render(self) -> str:
        """Return the file's text; raises InvalidInput above 256 KiB."""
        head = (MAGIC, f"call {_base64(self.call)}", f"index {self.call_index}", f"size {self.segment_size}")
        tail = (_TLOG_PROOF, f"extra {_base64(self.event)}", f"index {self.event_index}")
        lines = (*head, *map(_base64, self.call_path), "", *tail, *map(_base64, self.event_path), "", self.note)
        text = "\n".join(lines)
        if len(text.encode()) > MAX_PROOF_FILE:
            raise InvalidInput(f"a proof may have {MAX_PROOF_FILE} bytes, this one has {len(text.encode())}")
        return text

    @classmethod
    def parse(cls, text: str | bytes) -> Proof:
        """Read a file's text; raises InvalidInput unless it is exactly what `render` would write."""
        content = _read_text(text)
        head, _, rest = content.partition("\n\n")
        tail, _, note = rest.partition("\n\n")
        magic, call, call_index, size, *call_path = _read_lines("call", head, 4)
        tlog, event, event_index, *event_path = _read_lines("ledger event", tail, 3)
        if magic != MAGIC or tlog != _TLOG_PROOF:
            raise InvalidInput(f"this is not a {MAGIC} file")
        proof = cls(
            call=read_base64("the call", _field("call", call)),
            call_index=read_decimal("the call's index", _field("index", call_index)),
            segment_size=read_decimal("the segment's size", _field("size", size)),
            call_path=tuple(read_base64("a hash of the call's path", line) for line in call_path),
            event=read_base64("the ledger event", _field("extra", event)),
            event_index=read_decimal("the ledger event's index", _field("index", event_index)),
            event_path=tuple(read_base64("a hash of the ledger event's path", line) for line in event_path),
            note=note,
        )
        if proof.render() != content:
            raise InvalidInput("the proof is not written the one way it can be written")
        return proof


@dataclass(frozen=True, slots=True)
class Verified:
    """What a proof has shown: these two entries are in the log `origin` as of `tree_size` ledger events."""

    origin: str
    tree_size: int
    call: dict[str, Any]
    event: dict[str, Any]
    witnesses: tuple[str, ...]


def verify(
    proof: Proof,
    verifiers: Sequence[VerifierKey],
    quorum_witnesses: Sequence[VerifierKey] = (),
    quorum: int = 0,
) -> Verified:
    """Return what the proof shows, or raise Tampered naming the step and the record that is wrong.

    `verifiers` are the log's note keys (0x01), each named as its log's origin; at least `quorum` distinct keys of
    `quorum_witnesses` (0x04) must have co-signed. Raises InvalidInput if these do not hold together.
    """
    _must_be_policy(verifiers, quorum_witnesses, quorum)
    checkpoint, witnesses = _verify_note(proof, verifiers, quorum_witnesses, quorum)
    ledger_event = f"ledger event {proof.event_index}"
    call = f"call {proof.call_index} of the segment sealed by {ledger_event}"
    _verify_included(
        f"step 2, {ledger_event}", proof.event, proof.event_index, checkpoint.size, proof.event_path, checkpoint.root
    )
    event = _read_entry(f"step 3, {ledger_event}", proof.event)
    root = _verify_sealed(f"step 3, {ledger_event}", event, proof.segment_size)
    _verify_included(f"step 4, {call}", proof.call, proof.call_index, proof.segment_size, proof.call_path, root)
    return Verified(checkpoint.origin, checkpoint.size, _read_entry(f"step 4, {call}", proof.call), event, witnesses)


def _must_be_policy(verifiers: Sequence[VerifierKey], witnesses: Sequence[VerifierKey], quorum: int) -> None:
    if any(key.algorithm != ED25519 for key in verifiers):
        raise InvalidInput("a log's verifier key must be a note key (0x01)")
    if any(key.algorithm != COSIGNATURE for key in witnesses):
        raise InvalidInput(
            "a witness's verifier key must be a cosignature key (0x04)",
            hint="a plain signature does not say that the history was checked",
        )
    # One key under two names, or the log's own key, is not a second witness.
    distinct = {key.public for key in witnesses} - {key.public for key in verifiers}
    if not 0 <= quorum <= len(distinct):
        raise InvalidInput(f"a quorum of {quorum} cannot be reached with {len(distinct)} distinct witness keys")


def _verify_note(
    proof: Proof, verifiers: Sequence[VerifierKey], witnesses: Sequence[VerifierKey], quorum: int
) -> tuple[Checkpoint, tuple[str, ...]]:
    """Step 1: a log key signed the checkpoint of its own log, and enough witnesses co-signed it."""
    try:
        opened = open_note(proof.note, *verifiers, *witnesses)
    except Tampered as error:
        raise Tampered(f"step 1, checkpoint note: {error.message}", hint=error.hint, code=error.code) from error
    checkpoint = Checkpoint.parse(opened.text)
    if not any(key.algorithm == ED25519 and key.name == checkpoint.origin for key in opened.keys):
        raise Tampered(
            f"step 1, checkpoint note: no trusted key of the log {checkpoint.origin!r} signed it", code="bad-signature"
        )
    logs = {key.public for key in verifiers}
    names = {key.public: key.name for key in opened.keys if key.algorithm == COSIGNATURE and key.public not in logs}
    if len(names) < quorum:
        raise Tampered(
            f"step 1, checkpoint note: {len(names)} trusted witnesses co-signed it, {quorum} are required",
            code="no-quorum",
        )
    return checkpoint, tuple(names.values())


def _verify_included(what: str, entry: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    try:
        verify_inclusion(leaf_hash(entry), index, size, path, root)
    except Tampered as error:
        raise Tampered(f"{what}: {error.message}") from error


def _verify_sealed(what: str, event: dict[str, Any], segment_size: int) -> bytes:
    """Step 3: the event seals a segment of that many calls; return the segment's root."""
    data = event.get("data")
    if event.get("kind") != SEALED or not isinstance(data, dict):
        raise Tampered(f"{what}: it does not seal a segment (its kind must be {SEALED})")
    count, root = data.get("count"), data.get("root")
    if type(count) is not int or count != segment_size:  # True == 1
        raise Tampered(f"{what}: it does not seal a segment of {segment_size} calls")
    try:
        digest = bytes.fromhex(root) if isinstance(root, str) else b""
    except ValueError:
        digest = b""
    if len(digest) != HASH_BYTES or digest.hex() != root:
        raise Tampered(f"{what}: its segment root is not {HASH_BYTES} bytes in lower-case hex")
    return digest


def _read_entry(what: str, entry: bytes) -> dict[str, Any]:
    """Read an entry's JSON as every strict reader would: no duplicate keys, floats, NaN or lone surrogates."""
    try:
        value = json.loads(entry.decode(), object_pairs_hook=_object, parse_float=_refuse, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()  # an escaped lone surrogate shows up only here
    except (ValueError, RecursionError) as error:
        raise Tampered(f"{what}: not strict JSON ({type(error).__name__})") from error
    if not isinstance(value, dict):
        raise Tampered(f"{what}: not a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _refuse(token: str) -> NoReturn:
    raise ValueError(f"{token} is not an integer")


def _read_text(text: str | bytes) -> str:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > MAX_PROOF_FILE:
            raise InvalidInput(f"a proof may have {MAX_PROOF_FILE} bytes, this one has {len(raw)}")
        return raw.decode()
    except UnicodeError:
        raise InvalidInput("a proof is UTF-8 text") from None


def _read_lines(what: str, section: str, least: int) -> list[str]:
    lines = section.split("\n")
    if len(lines) < least:
        raise InvalidInput(f"proof: the section of the {what} has {len(lines)} lines, at least {least} are needed")
    return lines


def _field(name: str, line: str) -> str:
    word, _, value = line.partition(" ")
    if word != name:
        raise InvalidInput(f"proof: a line must begin with {name!r}")
    return value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
