"""Everything on a timer: expire, carry out, seal, monitor. One process of an installation does it at a time."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import threading
from typing import IO, TYPE_CHECKING

from bedplate.errors import BedplateError, Tampered
from bedplate.evidence.actions import note_shard
from bedplate.evidence.views import sealed_size, segments
from bedplate.gateway.actions import note_canary
from bedplate.gateway.canary import Canaries, Tried
from bedplate.gateway.cost import anomalies
from bedplate.gateway.governance import unproven
from bedplate.incidents.actions import open_incident
from bedplate.incidents.escalation import Escalation
from bedplate.incidents.views import incidents
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY, SECOND
from bedplate.models.actions import record_measure
from bedplate.models.monitor import SAID, Monitor, Seen, monitors_of
from bedplate.models.rounds import Rounds
from bedplate.models.views import measures
from bedplate.paths.agentwatch import AgentWatch
from bedplate.paths.bottleneck import Signals
from bedplate.paths.contracts import ContractWatch
from bedplate.paths.happening import COST_ANOMALY, breached, dear, passed, unowned
from bedplate.paths.oversight import OversightWatch
from bedplate.paths.reckoning import Reckoning
from bedplate.people.owners import vacant
from bedplate.shadow.actions import report_strangers
from bedplate.store.record import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bedplate.gateway.views import Call
    from bedplate.installation import Installation
    from bedplate.kernel.standing import Standing

log = logging.getLogger(__name__)
SEAL_AT = 16_384  # records
BEAT_EVERY = 60 * SECOND
ADD_UP_AT, ADD_UP_EVERY = 512, 5 * SECOND  # records, or time, until usage is written
MOST_AT_ONCE = 65_536  # records in one round: what was never added up must not hold up the rest
WATCH_EVERY = 60 * SECOND
FIRST_CANARIES = 60 * SECOND  # at most, after the start: a process that has just come up has calls to take
LIVE_ROUTE = '"route":"live"'  # as it stands in an entry: evaluations must not crowd out the calls of a window
COUNTED = {"thumbs-down": ("thumb",), "harm": ("harm",)}  # kinds of feedback, by measure
MAX_SAID = 50_000  # records of feedback looked at, the newest


class Worker:
    """The rounds of one process. Its own journal it always seals; the rest only while it holds the lock."""

    def __init__(self, at: Installation) -> None:
        self._at = at
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bedplate-worker", daemon=True)
        self._lock_file: IO[bytes] | None = None
        self._sealed_at = 0
        self._beat_at = 0
        self._tried: set[str] = set()
        self._rounds = Rounds()
        self._counted, self._counted_at = -1, 0  # of the own shard: records added up, and when
        self._behind: set[str] | None = None  # shards of others whose records are not added up; None: not looked yet
        self._watched_at = 0
        self._told_at = 0
        self._owners_at = 0
        self._escalation = Escalation(at.engine, at.governor)
        self._contracts = ContractWatch(at.governor, at.engine)
        self._signals = Signals(at.engine, at.governor)
        self._reckoning = Reckoning(at.engine, at.governor, at.calls)
        self._agents = AgentWatch(at)
        self._oversight = OversightWatch(at)
        self._canaries = Canaries(at.door, at.catalogue.controls.values())
        every = at.settings.canary_every_s * SECOND
        self._canaries_at = at.clock() - max(0, every - FIRST_CANARIES)  # when their last round was, or would have been

    def start(self) -> None:
        """Open the shard on record, then go round until `stop`."""
        self._on_record()
        self._thread.start()

    def stop(self) -> None:
        """End the rounds; seal and close the shard on record."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self._at.ledger.refuses:
            self._told_at = 0
            self.tell(self._at.clock())
            self._at.seal()
            journal = self._at.journal
            self._added_up(journal.shard)
            note_shard(self._at.governor, "closed", journal.shard, journal.size, journal.root().hex())
            self._at.anchor.checkpoint()
        if self._lock_file is not None:
            self._lock_file.close()

    def tick(self) -> None:
        """Do one round."""
        now = self._at.clock()
        journal = self._at.journal
        if (
            now - self._sealed_at >= self._at.settings.seal_every_s * SECOND
            or journal.size - journal.sealed >= SEAL_AT  # their leaves are held in memory
        ):
            self._sealed_at = now
            self._at.seal()
            self._at.anchor.checkpoint()
        if now - self._beat_at >= BEAT_EVERY and self._at.journal.size:
            self._beat_at = now
            note_shard(self._at.governor, "beat", journal.shard, journal.size, journal.root().hex())
        if self._leads():
            self._each(
                self._at.governor.expire,
                self.carry_out,
                self.monitor,
                self.mend,
                self.escalate,
                lambda: self._signals.round(self._at.model()),
                self.reckon,
                lambda: self._owners(now),
                lambda: self._at.eraser.expire(self._at.model()),
                lambda: self._watch(now),
                self.contracts,
                lambda: self.canaries(now),
                lambda: self._agents.round(now),
                lambda: self._oversight.round(now),
            )
        self.add_up(now)
        self.tell(now)

    def _each(self, *steps: Callable[[], object]) -> None:
        """Take every step, whatever becomes of the others: what stops one must not stop them all, round after round."""
        for step in steps:
            try:
                step()
            except Exception as broken:
                log.exception("worker.step_failed", extra={"error": type(broken).__name__})

    def escalate(self) -> None:
        """Tell who stands above of what is overdue."""
        if self._escalation.round():
            self._at.follower.look()

    def reckon(self) -> None:
        """Put on record what months came to, and ask about use cases that fell short of what was agreed."""
        if self._reckoning.round(self._at.model):
            self._at.follower.look()

    def contracts(self) -> None:
        """Open an incident where the data that a live use case stands on fails its contract."""
        if self._contracts.round():
            self._at.follower.look()

    def add_up(self, now: int) -> None:
        """Add this process's records to the usage of their day: many at once, or what there is after some seconds."""
        shard, size = self._at.journal.shard, self._at.journal.size
        waiting = size - self._counted
        if waiting >= ADD_UP_AT or (waiting and now - self._counted_at >= ADD_UP_EVERY):
            self._counted_at = now
            if self._added_up(shard):
                self._counted = size

    def tell(self, now: int) -> None:
        """Report who knocked at this process's gateway without being known."""
        if now - self._told_at >= WATCH_EVERY:
            self._told_at = now
            try:
                report_strangers(self._at.governor, self._at.strangers, self._at.model())
            except BedplateError as fault:
                log.warning("strangers.not_reported", extra={"why": fault.message})

    def mend(self) -> None:
        """Free what killed processes had reserved, and add up what they recorded last."""
        if self._behind is None:
            self._behind = set(self._at.calls.shards()) - {self._at.journal.shard}
        self._behind.update(self._at.budgets.mend())
        for shard in sorted(self._behind & self._at.calls.shards().keys()):
            if self._added_up(shard):
                self._behind.discard(shard)

    def _added_up(self, shard: str) -> bool:
        """Add up some of a shard; True if nothing is left, or nothing can be done: `doctor` names what is damaged."""
        try:
            return self._at.usage.roll(shard, MOST_AT_ONCE) < MOST_AT_ONCE
        except Tampered as damaged:
            log.warning("usage.not_added_up", extra={"shard": shard, "why": damaged.message})
            return True

    def _watch(self, now: int) -> None:
        if now - self._watched_at >= WATCH_EVERY:
            self._watched_at = now
            self.watch_cost(now)

    def _owners(self, now: int) -> None:
        if now - self._owners_at >= WATCH_EVERY:
            self._owners_at = now
            self.owners(now)

    def owners(self, now: int) -> None:
        """Open an incident where nobody answers for a live use case any more: its clock runs until somebody does."""
        model, standings = self._at.model(), self._at.follower.snapshot.standings
        if model is None:
            return
        for subject, standing in standings.items():
            gone = None
            if standing.stage == "live":
                gone = vacant(model, standing, standings.get(f"person/{standing.owner}"), now)
            if gone is None:
                continue
            cause, why = gone
            if any(i["cause"] == cause for i in incidents(self._at.engine, subject, only_open=True)):
                continue
            try:
                open_incident(self._at.governor, SYSTEM, unowned(standing, cause, why, model))
                self._at.follower.look()
            except BedplateError as fault:  # one use case's trouble is not the others'
                log.warning("owner.not_told", extra={"subject": subject, "why": fault.message})

    def watch_cost(self, now: int) -> None:
        """Open an incident where a use case costs far more than it does: one a day, and none beside an open one."""
        for subject, seen in anomalies(self._at.engine, now // DAY).items():
            standing = self._at.follower.snapshot.standings.get(subject)
            if standing is None or standing.stage != "live" or standing.suspended:
                continue
            known = [i for i in incidents(self._at.engine, subject) if i["cause"] == COST_ANOMALY]
            if any(not i["closed_at"] or i["opened_at"] // DAY == now // DAY for i in known):
                continue
            try:
                open_incident(self._at.governor, SYSTEM, dear(subject, standing, seen, now))
                self._at.follower.look()
            except BedplateError as fault:
                log.warning("anomaly.not_opened", extra={"subject": subject, "why": fault.message})

    def canaries(self, now: int) -> None:
        """Try what guards calls, of some use cases in turn, when it is time; a clock that was put back is no delay."""
        if 0 <= now - self._canaries_at < self._at.settings.canary_every_s * SECOND:
            return
        self._canaries_at = now
        for subject in self._canaries.due():
            try:
                self._prove(subject)
            except Exception as broken:  # whatever it is: one use case's trouble is not the others'
                log.exception("canaries.failed", extra={"subject": subject, "error": type(broken).__name__})

    def _prove(self, subject: str) -> None:
        """Try one use case; what does not fire is unproven from then on, and has an open incident until it fires."""
        at, standing = self._at, self._at.follower.snapshot.standings[subject]
        known, tried = unproven(standing), asyncio.run(self._canaries.tried(subject))
        gone = [name for name in known if name not in self._canaries.names(subject)]
        tried += [Tried(subject, name, fired=True, why="it is not owed any more", call="") for name in gone]
        opened = {i["cause"] for i in incidents(at.engine, subject, only_open=True)}
        for one in tried:
            if one.fired == (one.control in known):
                note_canary(at.governor, SYSTEM, one)
            if not one.fired and f"canary/{one.control}" not in opened:
                open_incident(at.governor, SYSTEM, passed(standing, one))
        at.follower.look()

    def carry_out(self) -> None:
        """Carry out what was granted while nobody could, say because the process ended between vote and effect."""
        for approval in self._at.approvals("granted"):
            if approval.id in self._tried:
                continue
            self._tried.add(approval.id)  # once a process: what is denied now is on record, and may be asked again
            try:
                self._at.governor.carry_out(approval)
            except BedplateError as refused:
                log.warning("approval.not_carried_out", extra={"approval": approval.id, "why": refused.message})

    def monitor(self) -> None:
        """Look at the live use cases with anything new, with each monitor that is due; a breach opens an incident."""
        model, snapshot, now = self._at.model(), self._at.follower.snapshot, self._at.clock()
        if model is None:
            return
        live = {s: x for s, x in snapshot.standings.items() if x.stage == "live" and not x.suspended}
        records = sum(shard.head().size for shard in self._at.calls.shards().values())
        made = ((subject, self._at.budgets.today(subject, now).calls) for subject in live)
        for subject in self._rounds.due(made, records, now):
            standing = live[subject]
            plan = model.plan(standing.tier)
            if plan is not None:
                monitors = monitors_of(plan.monitors)
                try:
                    calls = self._recent(subject, standing, max(m.window for m in monitors))
                except BedplateError as fault:  # one use case's trouble is not the others'
                    log.warning("monitor.failed", extra={"subject": subject, "monitor": "all", "why": fault.message})
                    continue
                for monitor in monitors:
                    try:
                        self._look(subject, standing, monitor, calls[: monitor.window])
                    except BedplateError as fault:  # nor one monitor's the others'
                        log.warning(
                            "monitor.failed",
                            extra={"subject": subject, "monitor": monitor.measure, "why": fault.message},
                        )

    def _recent(self, subject: str, standing: Standing, most: int) -> list[Call]:
        """Return the newest calls of the live release: read once for all of its monitors."""
        live_at = int(str(standing.facts["releases.live_at"]))
        found = self._at.calls.search(use_case=subject, verdict="allow", text=LIVE_ROUTE, since=live_at, limit=most)
        return [c for c in found if c.entry["route"] == "live" and c.entry["release"] == standing.release]

    def _look(self, subject: str, standing: Standing, monitor: Monitor, calls: list[Call]) -> None:
        at, now = self._at, self._at.clock()
        live_at = int(str(standing.facts["releases.live_at"]))
        last = measures(at.engine, subject, monitor.measure, limit=1)
        last_at = max(last[0]["at"] if last else 0, live_at)
        said = self._said(subject, monitor, calls)
        fresh = calls if said is None else [record for about in said.values() for record in about]
        if not monitor.due(sum(c.at > last_at for c in fresh), last_at, now):
            return
        seen = [_seen(c, (said or {}).get(c.id, ())) for c in calls]
        judged = len(monitor.judged(seen))
        record_measure(at.governor, SYSTEM, subject, standing.release, monitor, monitor.value(seen), judged)
        if monitor.breached(seen) and not self._open(subject, standing, monitor):
            open_incident(at.governor, SYSTEM, breached(subject, standing, monitor, calls, seen))
            at.follower.look()

    def _said(self, subject: str, monitor: Monitor, calls: list[Call]) -> dict[str, list[Call]] | None:
        """Return what the monitor counts of what was said of these calls, by call, newest first; None if of nothing."""
        if monitor.measure not in SAID:
            return None
        found: dict[str, list[Call]] = {c.id: [] for c in calls}
        since = min((c.at for c in calls), default=0)
        for record in self._at.calls.feedback_of(subject, since, limit=MAX_SAID) if calls else ():
            if record.entry["call"] in found and record.entry["feedback"] in COUNTED[monitor.measure]:
                found[record.entry["call"]].append(record)
        return found

    def _open(self, subject: str, standing: Standing, monitor: Monitor) -> bool:
        known = incidents(self._at.engine, subject, only_open=True)
        return any(i["cause"] == f"monitor/{monitor.measure}" and i["release"] == standing.release for i in known)

    def _on_record(self) -> None:
        journal, anchored = self._at.journal, sealed_size(self._at.engine, self._at.journal.shard)
        if self._at.ledger.refuses:
            return
        for row in segments(self._at.engine, journal.shard):
            if row["first"] >= journal.sealed or row["first"] + row["count"] > journal.sealed:
                journal.mark_sealed(_segment(journal.head.epoch, row))  # anchored, but the process ended before it knew
        if anchored > journal.size:
            raise BedplateError(f"shard {journal.shard} holds {journal.size} records, but {anchored} were anchored")
        note_shard(self._at.governor, "opened", journal.shard, journal.size)

    def _leads(self) -> bool:
        if self._lock_file is None:
            file = (self._at.settings.data / "worker.lock").open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                return False
            self._lock_file = file
        return True

    def _run(self) -> None:
        while not self._stop.wait(self._at.settings.tick_ms / 1000):
            try:
                self.tick()
            except Exception as broken:
                log.exception("worker.round_failed", extra={"error": type(broken).__name__})


def _seen(call: Call, said: Sequence[Call]) -> Seen:
    entry = call.entry
    thumb = next((record.entry["value"] for record in said if record.entry["feedback"] == "thumb"), "")
    harmed = any(record.entry["feedback"] == "harm" for record in said)
    failed, unanswered = entry["status"] == "failed", bool(entry["unanswered"])
    return Seen(call.id, call.at, failed, unanswered, entry["grounded_permille"], thumb, harmed)


def _segment(epoch: int, row: dict[str, int | str]) -> Segment:
    return Segment(
        shard=str(row["shard"]),
        epoch=epoch,
        number=int(row["number"]),
        first=int(row["first"]),
        count=int(row["count"]),
        root=bytes.fromhex(str(row["root"])),
        previous=bytes.fromhex(str(row["previous"])),
    )
