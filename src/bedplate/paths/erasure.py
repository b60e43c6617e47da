"""Erasing what was said: one call for a reason, and whatever is older than its tier keeps it.

The event comes first and the keys are destroyed after it. A process that ends in between leaves content that can still
be opened: `expire` finds it by its key, and `again` destroys anew what the ledger says was erased. Both begin with
the whole journal when a process starts; after that only what has become old since is looked at.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, Denied, NotFound
from bedplate.evidence.actions import Batch, Erasing, note_erased, note_expired, note_rotated
from bedplate.evidence.governance import ON_HOLD
from bedplate.evidence.views import erased, erased_calls, expired
from bedplate.gateway.views import Calls, filed
from bedplate.incidents.views import frozen
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY, SECOND
from bedplate.store.seek import MAX_MOMENT, Place, Sought

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine

    from bedplate.gateway.snapshot import Follower
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing
    from bedplate.store.seek import Glance
    from bedplate.store.shard import Shard
    from bedplate.store.vault import Vault

log = logging.getLogger(__name__)
AT_ONCE = 500  # records to an event
LOOKED = 2_000  # records of one shard looked at in a step: the worker has more to do
EVERY = 3600 * SECOND  # between looking at everything
FAR = MAX_MOMENT  # no incident was closed since then: only open ones count


@dataclass(frozen=True, slots=True)
class Parts:
    """What the eraser works with; the composition root hands it over."""

    engine: Engine
    governor: Governor
    follower: Follower
    calls: Calls
    vault: Vault
    clock: Clock


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of a call's content: by whom it was erased, when, and why."""

    by: str
    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class Old:
    """A record that may be old enough. `about`: the call, where it is feedback about one."""

    id: str
    about: str
    at: int
    tier: int


class Eraser:
    """Destroys keys. Its methods wait for the disk, so call them from a thread; the worker alone calls `expire`."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._steps: Iterator[int] | None = None  # what is left of the round
        self._last = -EVERY
        self._refused: set[tuple[str, str]] = set()  # use case, and the operating model that does not let us
        self._done: dict[str, int] = {}  # by use case: everything up to then was looked at, and is erased or never was

    def erase(self, by: str, call_id: str, reason: str) -> int:
        """Erase what was said in a call, and of it in feedback; returns how many records lost their content.

        `Denied` without the permission, while an open incident froze the call, or while its use case is held. Erasing
        twice changes nothing.
        """
        call = self._p.calls.get(call_id)
        subject = call.entry["use_case"]
        names = self._names(call_id)
        incident = next((i for i, text in frozen(self._p.engine, subject, FAR) if call_id in text), "")
        waiting = self._p.vault.holds(names)
        what = Erasing(subject, call_id, call.leaf, len(waiting), incident)
        again = not waiting and erased(self._p.engine, call_id) is not None
        note_erased(self._p.governor, by, what, reason, again=again)
        return self._p.vault.erase(names)

    def rotate(self, by: str, reason: str) -> int:
        """Wrap every key anew, so that no backup opens what was erased; returns how many keys there are."""
        note_rotated(self._p.governor, by, self._p.vault.size(), reason)
        return self._p.vault.rotate()

    def why(self, call_id: str) -> Erased | None:
        """Tell why what was said cannot be read any more; None where it can be, or where nothing was kept."""
        _, row, _ = self._p.calls.find(call_id)
        if not row.content or self._p.vault.holds([call_id]):
            return None
        entry = json.loads(row.entry)
        of_time = expired(self._p.engine, entry["use_case"], int(entry.get("tier", 0)), row.at)
        found = erased(self._p.engine, call_id) or of_time
        if found is None:
            return Erased("", 0, "its key is not in the vault, and nothing on record says why")
        return Erased(found["by"], found["at"], found["reason"])

    def again(self) -> int:
        """Destroy what the ledger says was erased, in case a process ended between the event and the deed."""
        names: list[str] = []
        for call_id in erased_calls(self._p.engine):
            try:
                names += self._names(call_id)
            except NotFound:
                names.append(call_id)  # its shard is away; the key is not
        left = self._p.vault.holds(names)
        return self._p.vault.erase(left) if left else 0

    def expire(self, model: OperatingModel | None) -> int:
        """Do one step of a round, as the system; returns how many records lost their content in it.

        A round looks at every use case once, and an hour later the next begins. Nothing is erased before the tier's
        time, of a use case that is held or without a tier, or of what an incident froze: as long as it is open, and
        after that as long as the tier keeps what was said.
        """
        now = self._p.clock()
        if self._steps is None:
            if model is None or 0 <= now - self._last < EVERY:
                return 0
            if self._last < 0:
                self.again()
            self._last = now
            self._steps = self._round(model, now)
        for count in self._steps:
            return count
        self._steps = None
        return 0

    def _names(self, call_id: str) -> list[str]:
        return [call_id, f"{call_id}/intent", *(record.id for record in self._p.calls.feedback(call_id))]

    def _round(self, model: OperatingModel, now: int) -> Iterator[int]:
        for subject, standing in sorted(self._p.follower.snapshot.standings.items()):
            if standing.facts.get(ON_HOLD) or (subject, model.digest) in self._refused:
                continue
            try:
                yield from self._of_case(standing, model, now)
            except Denied as refused:  # on record, once: not anew every hour
                self._refused.add((subject, model.digest))
                log.warning("content.not_erased", extra={"subject": subject, "why": refused.message})
            except BedplateError as fault:  # one use case's trouble is not the others'
                log.warning("content.not_erased", extra={"subject": subject, "why": fault.message})

    def _of_case(self, standing: Standing, model: OperatingModel, now: int) -> Iterator[int]:
        plan = model.plan(standing.tier)
        if plan is None:
            return
        subject, until = standing.subject, now - plan.keep_days * DAY - 1
        since = self._done.get(subject, -1) + 1
        if until < since:
            return
        kept = frozen(self._p.engine, subject, now - plan.keep_days * DAY)
        first_kept = until + 1
        for shard in self._p.calls.shards().values():
            for name in (subject, filed(subject)):
                sought = Sought(use_case=name, since=since, until=until)
                for page in _pages(shard, sought, standing.tier):
                    going = [one for one in page if _over(one, model, now) and not _named(one, kept)]
                    gone = {one.id for one in going}
                    first_kept = min([first_kept, *(one.at for one in page if one.id not in gone)])
                    yield self._go(subject, going)
        self._done[subject] = first_kept - 1

    def _go(self, subject: str, old: list[Old]) -> int:
        held = self._p.vault.holds(one.id for one in old)
        by_tier: dict[int, list[Old]] = {}
        for one in old:
            if one.id in held:
                by_tier.setdefault(one.tier, []).append(one)
        count = 0
        for tier, ones in by_tier.items():
            for start in range(0, len(ones), AT_ONCE):
                part = ones[start : start + AT_ONCE]
                moments = [one.at for one in part]
                batch = Batch(subject, tier, min(moments), max(moments), len(part))
                note_expired(self._p.governor, SYSTEM, batch)
                count += self._p.vault.erase(one.id for one in part)
        return count


def _pages(shard: Shard, sought: Sought, tier: int) -> Iterator[list[Old]]:
    place: Place | None = Place(MAX_MOMENT, MAX_MOMENT)
    while place is not None:
        found, place, _ = shard.seek(sought, before=place, limit=LOOKED, most=LOOKED)
        yield [_old(glance, tier) for glance in found]


def _old(glance: Glance, tier: int) -> Old:
    """Read what matters of a record; what was said of a call has no tier of its own, and follows today's."""
    entry = json.loads(glance.entry)
    return Old(glance.id, str(entry.get("call", "")) or glance.id, glance.at, int(entry.get("tier", 0)) or tier)


def _named(one: Old, kept: Sequence[tuple[str, str]]) -> bool:
    return any(one.id in text or one.about in text for _, text in kept)


def _over(one: Old, model: OperatingModel, now: int) -> bool:
    plan = model.plan(one.tier)
    return plan is None or one.at < now - plan.keep_days * DAY
