"""Everything on a timer: expire, carry out, seal, monitor. One process of an installation does it at a time."""

from __future__ import annotations

import fcntl
import json
import threading
from typing import IO, TYPE_CHECKING

import structlog

from bedplate.errors import BedplateError
from bedplate.evidence.actions import note_shard
from bedplate.evidence.views import sealed_size, segments
from bedplate.incidents.actions import Happening, open_incident
from bedplate.incidents.views import incidents
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import SECOND
from bedplate.kernel.event import canonical
from bedplate.models.actions import record_measure
from bedplate.models.monitor import Monitor, Seen, monitors_of
from bedplate.models.views import measures
from bedplate.store.record import Segment

if TYPE_CHECKING:
    from bedplate.bootstrap import Installation
    from bedplate.gateway.views import Call
    from bedplate.kernel.standing import Standing

log = structlog.get_logger(__name__)
BEAT_EVERY = 60 * SECOND
LIVE_ROUTE = '"route":"live"'  # as it stands in an entry: evaluations must not crowd out the calls of a window
FROZEN = 50  # calls kept as an incident's evidence


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
            self._at.seal()
            journal = self._at.journal
            note_shard(self._at.governor, "closed", journal.shard, journal.size, journal.root().hex())
            self._at.anchor.checkpoint()
        if self._lock_file is not None:
            self._lock_file.close()

    def tick(self) -> None:
        """Do one round."""
        now = self._at.clock()
        if now - self._sealed_at >= self._at.settings.seal_every_s * SECOND:
            self._sealed_at = now
            self._at.seal()
            self._at.anchor.checkpoint()
        if now - self._beat_at >= BEAT_EVERY and self._at.journal.size:
            self._beat_at = now
            journal = self._at.journal
            note_shard(self._at.governor, "beat", journal.shard, journal.size, journal.root().hex())
        if self._leads():
            self._at.governor.expire()
            self.carry_out()
            self.monitor()

    def carry_out(self) -> None:
        """Carry out what was granted while nobody could, say because the process ended between vote and effect."""
        for approval in self._at.approvals("granted"):
            if approval.id in self._tried:
                continue
            self._tried.add(approval.id)  # once a process: what is denied now is on record, and may be asked again
            try:
                self._at.governor.carry_out(approval)
            except BedplateError as refused:
                log.warning("approval.not_carried_out", approval=approval.id, why=refused.message)

    def monitor(self) -> None:
        """Look at every live use case with each monitor that is due; a breach opens an incident."""
        model = self._at.model()
        if model is None:
            return
        for subject, standing in self._at.follower.snapshot.standings.items():
            plan = model.plan(standing.tier)
            if standing.stage == "live" and plan is not None and not standing.suspended:
                for monitor in monitors_of(plan.monitors):
                    try:
                        self._look(subject, standing, monitor)
                    except BedplateError as fault:  # one use case's trouble is not the others'
                        log.warning("monitor.failed", subject=subject, monitor=monitor.measure, why=fault.message)

    def _look(self, subject: str, standing: Standing, monitor: Monitor) -> None:
        at, now = self._at, self._at.clock()
        live_at = int(str(standing.facts["releases.live_at"]))
        calls = [
            c
            for c in at.calls.search(
                use_case=subject, verdict="allow", text=LIVE_ROUTE, since=live_at, limit=monitor.window
            )
            if c.entry["route"] == "live" and c.entry["release"] == standing.release
        ]
        last = measures(at.engine, subject, monitor.measure, limit=1)
        last_at = max(last[0]["at"] if last else 0, live_at)
        if not monitor.due(sum(c.at > last_at for c in calls), last_at, now):
            return
        seen = [_seen(c) for c in calls]
        record_measure(at.governor, SYSTEM, subject, standing.release, monitor, monitor.value(seen), len(seen))
        if monitor.breached(seen) and not self._open(subject, standing, monitor):
            open_incident(at.governor, SYSTEM, _happening(subject, standing, monitor, calls, seen))
            at.follower.look()

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
                log.exception("worker.round_failed", error=type(broken).__name__)


def _seen(call: Call) -> Seen:
    entry = call.entry
    return Seen(call.id, call.at, entry["status"] == "failed", bool(entry["unanswered"]), entry["grounded_permille"])


def _happening(subject: str, standing: Standing, monitor: Monitor, calls: list[Call], seen: list[Seen]) -> Happening:
    value = monitor.value(seen)
    frozen = {
        "monitor": monitor.measure,
        "permille": value,
        "limit": monitor.limit,
        "release": standing.release,
        "rung": standing.rung.name.lower(),
        "calls": [{"id": c.id, "shard": c.shard, "seq": c.seq, "leaf": c.leaf} for c in calls[:FROZEN]],
    }
    title = f"{monitor.measure}: {value / 10:.0f} % of {len(seen)} calls, the limit is {monitor.limit / 10:.0f} %"
    return Happening(subject, title, f"monitor/{monitor.measure}", "breach", canonical(json.loads(json.dumps(frozen))))


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
