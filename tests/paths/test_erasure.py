"""Erasing what was said: by time and for a reason, on record, never too early, and never what is held."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests import served

from bedplate.api.gateway import make_proof
from bedplate.bootstrap import open_installation, wall_clock
from bedplate.config import Settings
from bedplate.errors import Denied, InvalidInput
from bedplate.evidence.actions import Batch, hold, lift, note_expired
from bedplate.evidence.audit import audit
from bedplate.gateway.call import Trace
from bedplate.gateway.price import Prices
from bedplate.gateway.recorder import JournalRecorder
from bedplate.gateway.snapshot import Follower
from bedplate.gateway.views import Calls
from bedplate.incidents.actions import Happening, close, open_incident
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY
from bedplate.kernel.event import canonical
from bedplate.models.feedback import checked
from bedplate.models.prompt import Shelf
from bedplate.paths.erasure import EVERY, Eraser, Parts
from bedplate.paths.feedback import Desk, Giver
from bedplate.paths.feedback import Parts as DeskParts
from bedplate.paths.snapshots import Snapshots
from bedplate.store.journal import Journal
from bedplate.store.proof import Proof, verify
from bedplate.store.vault import Vault
from bedplate.testing import SettableClock
from bedplate.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import House

SAID = {"messages": "what the patient said"}
CHAIR = "priya.raman"  # of the CoE


@dataclass(slots=True)
class Kept:
    """A house that keeps what is said."""

    house: House
    journal: Journal
    vault: Vault
    calls: Calls
    follower: Follower
    eraser: Eraser
    desk: Desk

    def call(self, subject: str, tier: int = 1) -> str:
        """Put a call on record now; returns its id."""
        clock = self.house.clock
        call_id = self.house.governor.identities.next()
        trace = Trace(call_id, subject, "key/x", "live", clock(), "0" * 64, tier=tier, verdict="allow", status="ok")
        asyncio.run(JournalRecorder(self.journal, self.vault, clock).record(trace, "call.ok", SAID))
        return call_id

    def readable(self, *calls: str) -> list[bool]:
        return [self.calls.content(call_id) is not None for call_id in calls]

    def round(self) -> int:
        """Do a whole round, an hour after the last one."""
        self.house.clock.advance(EVERY)
        self.follower.look()
        model, done = self.house.model, self.eraser.expire(self.house.model)
        while self.eraser._steps is not None:
            done += self.eraser.expire(model)
        return done


@pytest.fixture
def kept(house: House, tmp_path: Path) -> Iterator[Kept]:
    vault = Vault(tmp_path / "vault.db", tmp_path / "keys" / "kek")
    (tmp_path / "journal").mkdir()
    journal = Journal.open(tmp_path / "journal" / "shard-0.db", shard="shard-0", beside=vault)
    calls, engine, governor, clock = Calls(tmp_path / "journal", vault.open), house.engine, house.governor, house.clock
    snapshots = Snapshots(engine, house.ledger.model_of, Prices(), Shelf(), clock)
    follower = Follower(house.ledger.size, snapshots.load, 1_000)
    eraser = Eraser(Parts(engine, governor, follower, calls, vault, clock))
    desk = Desk(DeskParts(engine, governor, follower, calls, journal, vault, clock, governor.identities))
    yield Kept(house, journal, vault, calls, follower, eraser, desk)
    journal.close()
    calls.close()
    vault.close()


# by time


def test_what_is_older_than_the_tier_keeps_it_is_erased_on_record(kept: Kept) -> None:
    subject = kept.house.accepted()
    old = [kept.call(subject), kept.call(subject)]
    said = kept.desk.give(Giver("key/x", subject), old[0], checked("correction", "the right answer")).id
    kept.house.clock.advance(100 * DAY)
    young = kept.call(subject)
    kept.house.clock.advance(84 * DAY - 2 * EVERY)
    assert kept.round() == 0, "an hour before its time"
    assert kept.readable(*old, young) == [True, True, True]
    kept.house.clock.advance(EVERY)
    assert kept.round() == 3
    assert kept.readable(*old, said, young) == [False, False, False, True]
    found = kept.house.events("evidence.content.expired")
    assert [(e.actor, e.stream, e.data["tier"], e.data["keep_days"]) for e in found] == [(SYSTEM, subject, 1, 184)] * 2
    assert sum(int(str(e.data["count"])) for e in found) == 3
    now = kept.house.clock()
    assert all(int(str(e.data["since"])) <= int(str(e.data["until"])) < now - 184 * DAY for e in found)
    gone = kept.eraser.why(old[0])
    assert gone is not None
    assert (gone.by, gone.reason) == (SYSTEM, "kept 184 days")
    assert kept.eraser.why(young) is None
    assert kept.calls.get(old[0]).entry["content"]["commitment"], "the record and its digests stay"
    assert kept.calls.shards()["shard-0"].verify()[0] == kept.journal.size
    assert kept.round() == 0
    kept.house.sound()


def test_a_round_waits_an_hour_and_later_rounds_find_what_has_become_old(kept: Kept) -> None:
    subject = kept.house.accepted()
    first = kept.call(subject)
    kept.house.clock.advance(30 * DAY)
    second = kept.call(subject)
    kept.house.clock.advance(155 * DAY)
    assert kept.round() == 1
    assert kept.eraser.expire(kept.house.model) == 0, "not again within the hour"
    assert kept.readable(first, second) == [False, True]
    kept.house.clock.advance(30 * DAY)
    assert kept.round() == 1
    assert kept.readable(first, second) == [False, False]


def test_a_call_is_kept_as_long_as_the_tier_it_was_made_in(kept: Kept) -> None:
    subject = kept.house.accepted()  # of tier 1 today
    critical, routine = kept.call(subject, tier=4), kept.call(subject)
    kept.house.clock.advance(200 * DAY)
    assert kept.round() == 1
    assert kept.readable(critical, routine) == [True, False]
    kept.house.clock.advance(2_400 * DAY)
    assert kept.round() == 1
    assert kept.readable(critical) == [False]
    assert [e.data["keep_days"] for e in kept.house.events("evidence.content.expired")] == [184, 2557]


def test_a_call_is_kept_as_long_as_the_tier_of_today(kept: Kept) -> None:
    subject = kept.house.accepted(kept.house.tier(3))
    made = kept.call(subject, tier=1)
    kept.house.clock.advance(200 * DAY)
    assert kept.round() == 0
    assert kept.readable(made) == [True]


def test_the_door_refuses_what_is_not_old_enough_whoever_asks(kept: Kept) -> None:
    subject = kept.house.accepted()
    now = kept.house.clock()
    early = Batch(subject, 1, 0, now - 184 * DAY, 1)
    with pytest.raises(Denied, match="kept 184 days") as refused:
        note_expired(kept.house.governor, SYSTEM, early)
    assert refused.value.controls == ("kept-long-enough",)
    with pytest.raises(Denied, match="kept 1096 days"):
        note_expired(kept.house.governor, SYSTEM, Batch(subject, 3, 0, now - 185 * DAY, 1))
    with pytest.raises(Denied, match="may not do this"):
        note_expired(kept.house.governor, CHAIR, Batch(subject, 1, 0, 0, 1))
    note_expired(kept.house.governor, SYSTEM, Batch(subject, 1, 0, now - 184 * DAY - 1, 1))


def test_frozen_evidence_is_kept_while_its_incident_is_open_and_for_its_time_after(kept: Kept) -> None:
    subject = kept.house.accepted()
    frozen, other = kept.call(subject), kept.call(subject)
    evidence = canonical({"calls": [{"id": frozen, "leaf": "x"}]})
    incident = open_incident(kept.house.governor, SYSTEM, Happening(subject, "t", "monitor/failed", "breach", evidence))
    said = kept.desk.give(Giver("key/x", subject), frozen, checked("correction", "the right answer")).id
    kept.house.clock.advance(400 * DAY)
    assert kept.round() == 1
    assert kept.readable(frozen, said, other) == [True, True, False]
    close(kept.house.governor, "mara.quinn", subject, incident, "mended")
    assert kept.round() == 0, "closed only now"
    kept.house.clock.advance(185 * DAY)
    assert kept.round() == 2
    assert kept.readable(frozen, said) == [False, False]


def test_nothing_of_a_held_use_case_is_erased(kept: Kept) -> None:
    governor, subject = kept.house.governor, kept.house.accepted()
    made = kept.call(subject)
    with pytest.raises(Denied):
        hold(governor, "leo.fischer", subject, "no seat for this")
    hold(governor, "victor.lam", subject, "a claim in court")
    kept.house.clock.advance(400 * DAY)
    assert kept.round() == 0
    with pytest.raises(Denied, match="a claim in court") as refused:
        kept.eraser.erase(CHAIR, made, "they asked for it")
    assert refused.value.controls == ("not-held",)
    with pytest.raises(Denied):
        note_expired(governor, SYSTEM, Batch(subject, 1, 0, 0, 1))
    lift(governor, "victor.lam", subject, "settled")
    assert kept.round() == 1
    assert kept.readable(made) == [False]
    kept.house.sound()


def test_a_model_that_does_not_let_the_system_erase_is_told_once(kept: Kept) -> None:
    subject = kept.house.accepted()
    kept.call(subject)
    file = kept.house.model_file()
    for_none = file.model_copy(update={"permissions": {**file.permissions, "evidence:content:expire": []}})
    kept.house.apply(for_none)
    kept.house.clock.advance(200 * DAY)
    before = len(kept.house.events("kernel.action.denied"))
    assert (kept.round(), kept.round()) == (0, 0)
    assert len(kept.house.events("kernel.action.denied")) == before + 1
    kept.house.apply(file)
    assert kept.round() == 1


# for a reason


def test_a_call_is_erased_for_a_reason_on_record(kept: Kept) -> None:
    subject = kept.house.accepted()
    made, other = kept.call(subject), kept.call(subject)
    said = kept.desk.give(Giver("key/x", subject), made, checked("correction", "the right answer")).id
    with pytest.raises(InvalidInput, match="reason"):
        kept.eraser.erase(CHAIR, made, " ")
    assert kept.eraser.erase(CHAIR, made, "the person asked for it") == 2
    assert kept.readable(made, said, other) == [False, False, True]
    gone = kept.eraser.why(made)
    assert gone is not None
    assert (gone.by, gone.reason) == (CHAIR, "the person asked for it")
    (event,) = kept.house.events("evidence.content.erased")
    assert (event.data["call"], event.data["leaf"], event.data["records"]) == (made, kept.calls.get(made).leaf, 2)
    assert kept.eraser.erase(CHAIR, made, "once more") == 0
    assert len(kept.house.events("evidence.content.erased")) == 1, "erasing twice changes nothing"
    kept.house.sound()


@pytest.mark.parametrize("person", ["mara.quinn", "leo.fischer", "victor.lam", "tomas.lindgren", SYSTEM])
def test_erasing_without_the_permission_is_refused_and_on_record(kept: Kept, person: str) -> None:
    made = kept.call(kept.house.accepted())
    with pytest.raises(Denied, match="evidence:content:erase"):
        kept.eraser.erase(person, made, "to hide it")
    assert kept.readable(made) == [True]
    (refused,) = kept.house.events("kernel.action.denied")
    assert (refused.actor, refused.data["action"]) == (person, "evidence.erase")
    with pytest.raises(Denied, match="evidence:content:rotate"):
        kept.eraser.rotate(person, "as well")
    assert len(kept.house.events("kernel.action.denied")) == 2


def test_what_an_open_incident_froze_is_not_erased_for_a_reason_either(kept: Kept) -> None:
    governor, subject = kept.house.governor, kept.house.accepted()
    made = kept.call(subject)
    frozen = canonical({"call": {"id": made}})
    incident = open_incident(governor, SYSTEM, Happening(subject, "t", f"call/{made}", "harm", frozen))
    with pytest.raises(Denied, match=incident):
        kept.eraser.erase(CHAIR, made, "the person asked for it")
    assert kept.readable(made) == [True]
    close(governor, "mara.quinn", subject, incident, "looked into")
    assert kept.eraser.erase(CHAIR, made, "the person asked for it") == 1


def test_what_a_crash_left_is_erased_by_the_next_process(kept: Kept) -> None:
    subject = kept.house.accepted()
    made, old = kept.call(subject), kept.call(subject)
    kept.vault.flush()
    before = kept.vault.path.read_bytes(), kept.vault.path.with_name("vault.db-wal").read_bytes()
    kept.eraser.erase(CHAIR, made, "the person asked for it")
    kept.vault.close()
    for suffix, content in zip(("", "-wal"), before, strict=True):  # as if it had ended right after the event
        kept.vault.path.with_name(f"vault.db{suffix}").write_bytes(content)
    kept.vault.path.with_name("vault.db-shm").unlink(missing_ok=True)
    vault = Vault(kept.vault.path, kept.vault.path.parent / "keys" / "kek")
    assert vault.holds([made, old]) == {made, old}
    house = kept.house
    again = Eraser(Parts(house.engine, house.governor, kept.follower, kept.calls, vault, house.clock))
    again.expire(house.model)
    assert vault.holds([made, old]) == {old}
    vault.close()


def test_rotation_is_on_record_and_makes_backups_blind(kept: Kept, tmp_path: Path) -> None:
    subject = kept.house.accepted()
    made, other = kept.call(subject), kept.call(subject)
    kept.vault.flush()
    kek = tmp_path / "keys" / "kek"
    before = kek.read_text()
    kept.eraser.erase(CHAIR, made, "the person asked for it")
    assert kept.eraser.rotate(CHAIR, "the monthly rotation") == 1
    assert kek.read_text() != before
    assert kept.readable(made, other) == [False, True]
    (event,) = kept.house.events("evidence.keys.rotated")
    assert (event.actor, event.data) == (CHAIR, {"keys": 1, "reason": "the monthly rotation"})


# in a whole installation


def test_the_worker_erases_and_proofs_still_hold() -> None:
    clock = SettableClock(wall_clock())
    at = open_installation(Settings(data=served.fresh()), clock)
    try:
        at.follower.look()
        made = [c for c in at.calls.search(use_case=f"usecase/{served.HR}") if at.calls.content(c.id) is not None]
        assert made
        before = make_proof(at, made[0].id)
        clock.advance(185 * DAY)
        worker = Worker(at)
        for _ in range(10):
            at.follower.look()
            worker.tick()
        assert [at.calls.content(c.id) for c in made] == [None] * len(made)
        told = verify(Proof.parse(make_proof(at, made[0].id)), [at.key.verifier])
        assert told.call == verify(Proof.parse(before), [at.key.verifier]).call
        gone = at.eraser.why(made[0].id)
        assert gone is not None
        assert gone.reason == "kept 184 days"
        worker.stop()
        assert audit(at.engine, at.anchor.check, at.calls.shards(), at.ledger.projector).faults == ()
    finally:
        asyncio.run(at.close())
