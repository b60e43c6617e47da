"""What is done about evidence: anchor a journal's records, erase what was said, hold it, rotate its keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import InvalidInput
from bedplate.kernel.authority import SYSTEM

from .governance import ANCHOR, ERASE, EXPIRE, HOLD, LIFT, ROTATE, kept_days

if TYPE_CHECKING:
    from bedplate.kernel.action import Action
    from bedplate.kernel.event import Value
    from bedplate.kernel.governor import Governor


@dataclass(frozen=True, slots=True)
class Erasing:
    """A call whose content is to go. `records`: how many have a key; `incident`: an open one that froze it, or ""."""

    subject: str
    call: str
    leaf: str
    records: int
    incident: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one use case and tier whose content has had its time: of which moments, and how many."""

    subject: str
    tier: int
    since: int
    until: int
    count: int


def note_shard(governor: Governor, what: str, shard: str, size: int, root: str = "") -> None:
    """Record that a shard was opened, still beats, or was closed, and how long it is: silence differs from removal."""
    data: dict[str, Value] = {"shard": shard, "size": size}
    if what != "opened":
        data["root"] = root
    _record(governor, ANCHOR, shard, f"kernel.shard.{what}", data)


def note_segment(governor: Governor, shard: str, segment: dict[str, Value]) -> None:
    """Anchor a sealed segment: `number`, `first`, `count`, `root` and `previous` (hex)."""
    _record(governor, ANCHOR, shard, "kernel.segment.sealed", {"shard": shard, **segment})


def note_erased(governor: Governor, by: str, what: Erasing, reason: str, *, again: bool) -> None:
    """Put on record that what was said in a call is erased; the keys are destroyed after this.

    `again`: it is on record already. Then only the permission is asked for.
    """
    _must(reason, "erasing")
    facts: dict[str, Value] = {"call": what.call, "leaf": what.leaf, "incident": what.incident, "reason": reason}
    with governor.act(by, ERASE, what.subject, facts=facts) as act:
        if not again:
            data: dict[str, Value] = {"call": what.call, "leaf": what.leaf, "reason": reason, "records": what.records}
            act.record("evidence.content.erased", data)


def note_expired(governor: Governor, by: str, batch: Batch) -> None:
    """Put on record that a batch has had its time; the keys are destroyed after this."""
    facts: dict[str, Value] = {"until": batch.until, "tier": batch.tier, "incident": ""}
    with governor.act(by, EXPIRE, batch.subject, facts=facts) as act:
        data: dict[str, Value] = {"since": batch.since, "until": batch.until, "count": batch.count, "tier": batch.tier}
        act.record("evidence.content.expired", {**data, "keep_days": kept_days(act.case, batch.tier)})


def hold(governor: Governor, by: str, subject: str, reason: str) -> None:
    """Keep all that was said in a use case's calls, say for a dispute, until the hold is lifted."""
    _must(reason, "holding")
    with governor.act(by, HOLD, subject, facts={"reason": reason}) as act:
        act.record("evidence.hold.placed", {"reason": reason})


def lift(governor: Governor, by: str, subject: str, reason: str) -> None:
    """End a hold."""
    _must(reason, "lifting a hold")
    with governor.act(by, LIFT, subject, facts={"reason": reason}) as act:
        act.record("evidence.hold.lifted", {"reason": reason})


def note_rotated(governor: Governor, by: str, keys: int, reason: str) -> None:
    """Put on record that so many keys are wrapped anew; it is done after this."""
    _must(reason, "rotating")
    with governor.act(by, ROTATE, "vault", facts={"reason": reason}) as act:
        act.record("evidence.keys.rotated", {"keys": keys, "reason": reason})


def _must(reason: str, what: str) -> None:
    if not reason.strip():
        raise InvalidInput(f"{what} needs a reason", hint="--reason '...'")


def _record(governor: Governor, action: Action, shard: str, kind: str, data: dict[str, Value]) -> None:
    with governor.act(SYSTEM, action, f"shard/{shard}", facts={}) as act:
        act.record(kind, data)
