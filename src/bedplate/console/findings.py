"""What guardrails found, by day, use case, direction and label, and what people said of it: counted as it comes."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bedplate.errors import BedplateError
from bedplate.gateway.search import WAYS
from bedplate.gateway.usage import day_of
from bedplate.kernel.clock import DAY, parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bedplate.gateway.views import Calls

DAYS = 90  # that are counted, today included
BATCH = 4_096
MOST_AT_ONCE = 32_768  # records for one page: what is left is counted for the next
NOTHING = b'"findings":[]'  # exact: within a text of the entry its quotes would be escaped
SAID = b'"kind":"feedback.given"'
INTENT = b'"kind":"call.intent"'
ACT = b'"kind":"act.'  # what an agent did with a tool
CANARY = b'"route":"canary"'  # synthetic: they are found by design
TIMES = re.compile(r" × \d+$")
NO_WORD = re.compile(r"[^a-z0-9]+")
WRONG, RIGHT = "not-", "is-"
MAX_WORD = 35  # of a label in what feedback calls it


class Line(NamedTuple):
    """What is counted together; `day` since the epoch."""

    day: int
    subject: str
    way: str
    label: str


class Judged(NamedTuple):
    """Calls in which a label was found, and of how many of them people said that it is right, or wrong."""

    found: int
    right: int
    wrong: int


class _Entry(msgspec.Struct):
    id: str = ""
    use_case: str = ""
    started: str = ""
    given: str = ""
    findings: list[str] = []  # copied for each by msgspec
    call: str = ""
    feedback: str = ""
    value: str = ""


_decode = msgspec.json.Decoder(_Entry).decode


@dataclass(slots=True)
class Findings:
    """Counts over every shard; safe to ask from any thread."""

    calls: Calls
    waiting: int = 0  # records that are not counted yet
    _next: dict[str, int] = field(default_factory=dict)
    _found: dict[Line, int] = field(default_factory=dict)
    _said: dict[tuple[str, str], tuple[int, bool]] = field(default_factory=dict)  # by call and label's word
    _about: dict[tuple[str, str], tuple[Line, ...]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, now: int) -> None:
        """Count what is new, as much as one page may wait for."""
        with self._lock:
            oldest, left = now // DAY - DAYS + 1, MOST_AT_ONCE
            self._found = {line: n for line, n in self._found.items() if line.day >= oldest}
            self.waiting = 0
            for name, shard in self.calls.shards().items():
                if name not in self._next:
                    self._next[name] = shard.first_since(oldest * DAY)
                while left > 0 and (rows := shard.entries(self._next[name], min(BATCH, left))):
                    for _, entry in rows:
                        self._add(entry)
                    self._next[name] += len(rows)
                    left -= len(rows)
                self.waiting += max(0, shard.head().size - self._next[name])

    def lines(self, since: int, subject: str = "", way: str = "") -> dict[Line, int]:
        """Return how many calls there were on each line since a day; of one use case, and one direction, if named."""
        with self._lock:
            return {
                line: n
                for line, n in self._found.items()
                if line.day >= since and subject in {"", line.subject} and way in {"", line.way}
            }

    def judged(self, since: int, subject: str = "", way: str = "") -> dict[str, Judged]:
        """Return the same by label, with what people said, the most found first."""
        found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for line, n in self.lines(since, subject, way).items():
            found[line.label][0] += n
        with self._lock:
            for key, (_, right) in self._said.items():
                lines = self._about.get(key) or self._lines_of(key)
                for label in {
                    x.label
                    for x in lines
                    if x.day >= since and subject in {"", x.subject} and way in {"", x.way} and x.label in found
                }:
                    found[label][1 if right else 2] += 1
        return {label: Judged(*counts) for label, counts in sorted(found.items(), key=_most_first)}

    def labels(self) -> list[str]:
        """Return every label that was found, by name."""
        with self._lock:
            return sorted({line.label for line in self._found})

    def _add(self, entry: bytes) -> None:
        if SAID in entry:
            said = _decode(entry)
            right = said.value.startswith(RIGHT)
            if said.feedback == "label" and (right or said.value.startswith(WRONG)):
                key = said.call, said.value.partition("-")[2]
                given = parse_rfc3339(said.given)
                if self._said.get(key, (0, False))[0] <= given:  # who says something last is heard
                    self._said[key] = given, right
        elif NOTHING not in entry and CANARY not in entry and INTENT not in entry and ACT not in entry:
            call = _decode(entry)
            for way, label in dict.fromkeys((w, text) for w, text, _ in _told(call.findings)):
                line = Line(day_of(call.started[:10]), call.use_case, way, label)
                self._found[line] = self._found.get(line, 0) + 1

    def _lines_of(self, key: tuple[str, str]) -> tuple[Line, ...]:
        """Return where a call that somebody spoke of was counted under a label's word."""
        try:
            call = self.calls.get(key[0])
        except BedplateError:
            return ()
        day, subject = day_of(call.entry["started"][:10]), call.entry["use_case"]
        lines = tuple(Line(day, subject, w, text) for w, text, _ in told(call.entry) if word(text) == key[1])
        self._about[key] = lines
        return lines


def told(entry: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what was found in a call as (input or output, label, " × 2" or "")."""
    return list(_told(entry.get("findings", ())))


def word(label: str) -> str:
    """Return a label as one word: small letters, digits and hyphens."""
    return NO_WORD.sub("-", label.lower()).strip("-")[:MAX_WORD].strip("-") or "finding"


def word_of(label: str, *, right: bool = False) -> str:
    """Return what feedback calls it when a finding is wrong, or right: `not-payment-card`, `is-payment-card`."""
    return f"{RIGHT if right else WRONG}{word(label)}"


def _told(findings: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    for finding in findings:
        way, named, rest = finding.partition(": ")
        way, rest = (way, rest) if named else ("", finding)
        times = TIMES.search(rest)
        label = rest[: times.start()] if times else rest
        yield way if way in WAYS else "input", label, times[0] if times else ""


def _most_first(found: tuple[str, list[int]]) -> tuple[int, str]:
    return -found[1][0], found[0]
