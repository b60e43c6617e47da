"""What somebody looks for among calls: as it is asked, as it is looked for in entries, and where to go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bedplate.errors import InvalidInput
from bedplate.store.seek import MAX_MOMENT, Place, Sought

if TYPE_CHECKING:
    from .views import Call

VERDICTS = ("allow", "deny", "ask")
STATUSES = ("ok", "failed", "aborted", "refused")
ROUTES = ("live", "evaluation", "canary", "observed")
DIALECTS = ("chat", "responses", "embeddings", "messages", "observed")
ANY = "any"  # of a finding: whatever was found
WAYS = ("input", "output")
NOT_CALLS = (b'"kind":"call.intent"', b'"kind":"feedback.given"', b'"kind":"act.')
MOST_LOOKED = 25_000  # records looked at for one page: less than half a second, whatever is looked for
_EXACT = ("verdict", "status", "route", "dialect", "model")
_bytes = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Wanted:
    """Calls that somebody looks for; "" and 0 are any. Moments are microseconds since the epoch, both included.

    `subject` is `usecase/ID`, `key` an id or `sort/ID`, `finding` a label such as "payment card", or `any`; with
    `way` only in that direction. `text` is looked for in the entry, whatever its ASCII case.
    """

    subject: str = ""
    verdict: str = ""
    status: str = ""
    route: str = ""
    dialect: str = ""
    model: str = ""
    finding: str = ""
    way: str = ""
    key: str = ""
    text: str = ""
    since: int = 0
    until: int = 0
    cost_nano: int = 0  # at least
    latency_us: int = 0  # at least

    def sought(self) -> Sought:
        """Say it in terms of the entries' bytes: they are JSON without blanks, so that a field is found exactly."""
        has: list[tuple[bytes, ...]] = [(_field(name, value),) for name in _EXACT if (value := getattr(self, name))]
        if self.key:
            has.append((_field("key", self.key if "/" in self.key else f"key/{self.key}"),))
        lacks = [*NOT_CALLS]
        if self.finding == ANY and not self.way:
            lacks.append(b'"findings":[]')
        elif self.finding or self.way:
            has.append(_findings(self.finding, self.way))
        least = {"cost_nano": self.cost_nano, "latency_us": self.latency_us}
        return Sought(
            use_case=self.subject,
            has=tuple(has),
            lacks=tuple(lacks),
            text=self.text,
            least={name: value for name, value in least.items() if value},
            since=self.since,
            until=self.until or MAX_MOMENT,
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A page of calls, newest first. `older` is where the next page begins, "" where there is none.

    `looked` is how many records were looked at; `short` that this was all that one page may look at.
    """

    calls: list[Call]
    older: str
    looked: int
    short: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in the one order of all shards: by moment, then shard, then seq."""

    at: int
    shard: str
    seq: int

    def text(self) -> str:
        """Write it for an address."""
        return f"{self.at}-{self.seq}-{self.shard}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read it; `InvalidInput` if it is none."""
        at, _, rest = text.partition("-")
        seq, _, shard = rest.partition("-")
        if not (shard and all(n.isascii() and n.isdigit() and len(n) < 19 for n in (at, seq))):  # noqa: PLR2004  below 2^63
            raise InvalidInput("this is no place among the calls", hint="start from the newest")
        return cls(int(at), shard, int(seq))

    def within(self, shard: str) -> Place:
        """Return the place in one shard before which everything comes after this."""
        return Place(self.at, self.seq if shard == self.shard else MAX_MOMENT if shard < self.shard else 0)


def _field(name: str, value: str) -> bytes:
    return b'"%b":%b' % (name.encode(), _bytes(value))


def _findings(label: str, way: str) -> tuple[bytes, ...]:
    ways = (way,) if way else WAYS
    if label in {"", ANY}:
        return tuple(_bytes(f"{one}: ")[:-1] for one in ways)
    whole = [_bytes(f"{one}: {label}") for one in ways]
    return (*whole, *(f"{text[:-1].decode()} × ".encode() for text in whole))
