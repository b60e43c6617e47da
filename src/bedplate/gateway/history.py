"""Calls that were made, read once from the journal and grouped by everything that a verdict about them depends on."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bedplate.errors import InvalidInput, Tampered
from bedplate.kernel.clock import DAY, SECOND

from .usage import CANARY, LIVE, day_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bedplate.store.shard import Shard

BATCH = 8_192  # records read at once
MOST = 2_000_000  # records of one reading
_SEQ = 1 << 40  # records of a shard; a place is shard × _SEQ + seq


class Told(msgspec.Struct):
    """What a record says that a verdict may depend on; what older records do not say is nothing."""

    kind: str = ""
    use_case: str = ""
    started: str = ""
    release: str = ""
    index: str = ""
    route: str = ""
    verdict: str = ""
    status: str = ""
    answer_of: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_nano: int = 0
    findings: list[str] = []  # copied for each by msgspec


class Alike(NamedTuple):
    """What calls have in common that are decided alike: `span` is which of the subject's standings was in force."""

    subject: str
    span: int
    release: str
    version: str  # of the index it answered from
    findings: tuple[str, ...]  # "input: payment card", each once


@dataclass(slots=True)
class Past:
    """The calls of one use case, by the moment they began; the arrays belong together, one place a call."""

    moments: array[int] = field(default_factory=lambda: array("q"))
    groups: array[int] = field(default_factory=lambda: array("q"))  # into History.alike
    tokens: array[int] = field(default_factory=lambda: array("q"))
    nano: array[int] = field(default_factory=lambda: array("q"))
    places: array[int] = field(default_factory=lambda: array("q"))

    def order(self) -> None:
        """Put the calls in the order in which they began: records stand in the order in which calls ended."""
        moments = self.moments
        order = sorted(range(len(moments)), key=moments.__getitem__)
        for name in ("moments", "groups", "tokens", "nano", "places"):
            setattr(self, name, array("q", map(getattr(self, name).__getitem__, order)))


@dataclass(slots=True)
class History:
    """What was read: calls that were let through, by use case, and how many records are none of these, by why."""

    shards: list[str]
    alike: list[Alike] = field(default_factory=list)
    cases: dict[str, Past] = field(default_factory=dict)
    looked: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    refused_then: Counter[str] = field(default_factory=Counter)  # by use case: the model in force then refused them

    def place(self, subject: str, call: int) -> tuple[str, int]:
        """Return the shard and seq of a use case's call."""
        shard, seq = divmod(self.cases[subject].places[call], _SEQ)
        return self.shards[shard], seq


def read(shards: Mapping[str, Shard], since: int, spans: Callable[[str], Sequence[int]]) -> History:
    """Read the live calls that began at `since` or later.

    `spans(subject)` gives the moments from which on each of its standings was in force, ascending. `InvalidInput` if
    there are more records than may be read in one go; `Tampered` if one cannot be read.
    """
    found = History(sorted(shards))
    firsts = {name: shards[name].first_since(since) for name in found.shards}
    total = sum(shards[name].head().size - first for name, first in firsts.items())
    if total > MOST:
        raise InvalidInput(f"{total:,} records are too many to replay; {MOST:,} are read", hint="ask for fewer days")
    known: dict[Alike, int] = {}
    moments: dict[str, Sequence[int]] = {}
    for number, name in enumerate(found.shards):
        first = firsts[name]
        while rows := shards[name].entries(first, BATCH):
            try:
                _take(found, rows, number * _SEQ, since, (known, moments, spans))
            except (msgspec.DecodeError, ValueError) as broken:
                raise Tampered(f"a record of {name} cannot be read: {broken}") from broken
            first = rows[-1][0] + 1
    found.alike = list(known)
    for past in found.cases.values():
        past.order()
    return found


_Known = tuple[dict[Alike, int], dict[str, "Sequence[int]"], "Callable[[str], Sequence[int]]"]
_decode = msgspec.json.Decoder(Told).decode


def _take(found: History, rows: list[tuple[int, bytes]], base: int, since: int, known: _Known) -> None:
    groups, moments, spans = known
    days: dict[str, int] = {}
    found.looked += len(rows)
    for seq, entry in rows:
        told = _decode(entry)
        why = _left_out(told)
        if why:
            found.left_out[why] += 1
            found.refused_then[told.use_case] += why == "refused then"
            continue
        text, subject = told.started, told.use_case
        day = days.get(text[:10])
        if day is None:
            day = days[text[:10]] = day_of(text[:10]) * DAY
        second = int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
        moment = day + second * SECOND + int(text[20:26])
        if moment < since:
            continue
        past = found.cases.get(subject)
        if past is None:
            past, moments[subject] = found.cases.setdefault(subject, Past()), spans(subject)
        said = _said(told.findings) if told.findings else ()
        span = bisect_right(moments[subject], moment) - 1
        alike = Alike(subject, span, told.release, told.index, said)
        past.moments.append(moment)
        past.groups.append(groups.setdefault(alike, len(groups)))
        past.tokens.append(told.tokens_in + told.tokens_out)
        past.nano.append(told.cost_nano)
        past.places.append(base + seq)


def _left_out(told: Told) -> str:
    """Say why a record is no call that was let through by the gateway; "" if it is one."""
    if told.kind == "call.intent" or not told.kind.startswith("call."):
        return "no calls"  # intents, and what was said of calls later
    if told.route != LIVE:
        return {CANARY: "canaries", "evaluation": "evaluations"}.get(told.route, "not through the gateway")
    if told.answer_of:
        return "held answers"  # decided, and counted, when they were made
    made = told.verdict == "allow" or (told.verdict == "ask" and told.status == "ok")
    return "" if made else "refused then"


def _said(findings: list[str]) -> tuple[str, ...]:
    return tuple(sorted({finding.partition(" × ")[0] for finding in findings}))
