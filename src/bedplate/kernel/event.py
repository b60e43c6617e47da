"""An event: one fact. Its entry, the exact bytes below, is what the ledger hashes and keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from bedplate.errors import InvalidInput, Tampered

from .clock import parse_rfc3339, rfc3339

Value = str | int | Sequence["Value"] | Mapping[str, "Value"]  # no floats, booleans or nulls: one reading only
Data = Mapping[str, Value]
MAX_ENTRY = 65_535  # C2SP tlog-tiles: an entry's length is a uint16


@dataclass(frozen=True, slots=True)
class Draft:
    """A fact not yet in the ledger, about the subject named by `stream`."""

    kind: str  # "plane.noun.verb", past tense: "portfolio.usecase.proposed"
    stream: str
    data: Data


@dataclass(frozen=True, slots=True)
class Event:
    """A fact in the ledger. `entry` is what was hashed; the other fields are read from it."""

    seq: int
    id: str
    kind: str
    stream: str
    version: int  # position within the stream, from 1
    at: int  # microseconds since the epoch
    actor: str
    data: Data
    authz: Data = field(default_factory=dict)  # the action and digest that allowed it
    entry: bytes = b""


def canonical(value: object) -> bytes:
    """Write integers, strings, lists and objects as compact JSON with sorted keys; refuse anything else."""
    _check(value, "$")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _check(value: object, where: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InvalidInput(f"{where} has a key that is not text: {key!r}")
            _check(key, f"{where}.{key}")
            _check(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            _check(inner, f"{where}[{position}]")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{where} holds text that is not valid Unicode", hint="remove lone surrogates") from None
    elif isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInput(f"{where} is {type(value).__name__}; records hold text and whole numbers only")


def seal(draft: Draft, *, seq: int, id: str, version: int, at: int, actor: str, authz: Data) -> Event:  # noqa: A002  the ledger's own words
    """Turn a draft into an event with its entry bytes; `InvalidInput` if it is too large."""
    entry = canonical(
        {
            "v": 1,
            "seq": seq,
            "id": id,
            "kind": draft.kind,
            "stream": draft.stream,
            "sv": version,
            "at": rfc3339(at),
            "actor": actor,
            "data": draft.data,
            "authz": authz,
        }
    )
    if len(entry) > MAX_ENTRY:
        raise InvalidInput(
            f"{draft.kind} on {draft.stream} is {len(entry)} bytes; an event holds {MAX_ENTRY} at most",
            hint="keep large content as a blob and record its digest",
        )
    return unseal(entry)  # read back from the bytes, so that what is applied now is what a rebuild will apply


def unseal(entry: bytes) -> Event:
    """Read an event back from its entry; `Tampered` if it is not one."""
    try:
        body = cast("dict[str, Any]", json.loads(entry))
        return Event(
            body["seq"],
            body["id"],
            body["kind"],
            body["stream"],
            body["sv"],
            parse_rfc3339(body["at"]),
            body["actor"],
            body["data"],
            body["authz"],
            entry,
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise Tampered(f"a ledger entry cannot be read: {broken}") from broken
