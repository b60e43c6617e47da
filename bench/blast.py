"""Blast radius: a million calls of 30 days replayed under a proposed model, beside the budget of 30 seconds."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from multiprocessing import Process
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.parts.bundle import small_bundle

from bedplate.bootstrap import open_engine_and_migrate, open_governor, open_ledger
from bedplate.config import Settings
from bedplate.document import parse
from bedplate.errors import NeedsApproval
from bedplate.gateway.call import Trace, entry
from bedplate.kernel.clock import DAY
from bedplate.kernel.event import Draft, Value, canonical
from bedplate.paths.blast import Ground, blast, proposed
from bedplate.people.actions import apply_model, check_model
from bedplate.people.blank import blank_model
from bedplate.portfolio.usecase import UseCaseFile
from bedplate.store.group import Group
from bedplate.store.journal import Journal, Record
from bedplate.store.merkle import Frontier
from bedplate.store.shard import Shard
from bedplate.testing import SettableClock

CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
CASES, BATCH, BUDGET_S = 200, 8_192, 30.0
EXAMPLE = Path(__file__).parents[1] / "examples" / "harbour-mutual"


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        engine = open_engine_and_migrate(Settings(data=data))
        clock = SettableClock()
        ledger, declared, identities = open_ledger(engine, clock)
        governor = open_governor(ledger, declared, clock, identities)
        text = blank_model("Harbour Mutual", (EXAMPLE / "people.yaml").read_text())
        file = check_model(governor, parse(text, "operating-model.yaml"))
        try:
            apply_model(governor, "priya.raman", file, None)
        except NeedsApproval as asked:
            governor.vote("jonas.weber", asked.approval, yes=True, reason="")
            governor.carry_out(governor.vote("ruth.adeyemi", asked.approval, yes=True, reason=""))
        releases = live(ledger, clock)
        began = time.perf_counter()
        writer = Process(target=write, args=(data / "shard-0.db", releases, clock()))  # whose memory is not counted
        writer.start()
        writer.join()
        print(f"written in {time.perf_counter() - began:.0f} s")
        clock.advance(30 * DAY)
        stricter = text.replace("calls_per_day: 20000,", f"calls_per_day: {CALLS // CASES // 60},")
        stricter = stricter.replace("review_days: 365", "review_days: 20").replace(
            "output: {secrets: observe", "output: {secrets: block"
        )
        body = check_model(governor, parse(stricter, "operating-model.yaml")).plain()
        with engine.connect() as connection:
            in_force = ledger.model_of(connection)
        assert in_force is not None
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, busy = time.perf_counter(), time.process_time()
        ground = Ground(engine, declared, {"shard-0": Shard(data / "shard-0.db")}, clock())
        found = blast(ground, in_force, proposed(body), 31)
        took, worked = time.perf_counter() - began, time.process_time() - busy
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert found.calls is not None
        assert found.calls.replayed == CALLS
        refused = sum(one.refused for one in found.calls.use_cases)
        controls = sorted({(e.when, e.control) for one in found.calls.use_cases for e in one.effects})
        json.dumps(found.plain())
        print(f"{CALLS:,} calls of {CASES} use cases, {refused:,} refused at once; {controls}")
        told = "reached" if took <= BUDGET_S else "MISSED"
        print(f"blast radius   {took:6.1f} s   of {BUDGET_S:.0f} s   {told}")
        print(f"               {worked:6.1f} s of one core, and {more:.0f} MiB more at the peak")
        engine.dispose()


def live(ledger: object, clock: SettableClock) -> dict[str, str]:
    """Have use cases live, by their events alone."""
    made: dict[str, str] = {}
    raw = (EXAMPLE / "hr-policy-assistant" / "use-case.yaml").read_text()
    file = parse(raw, "use-case.yaml").read(UseCaseFile)
    with ledger.transaction() as tx:  # type: ignore[attr-defined]  # the ledger of the bench
        for number in range(CASES):
            one = file.model_copy(update={"id": f"case-{number:03d}"})
            spec = tx.keep(canonical(one.plain()))
            bundle = small_bundle(one.subject, "1" * 64, 1_000_000, 1_000_000_000)
            tx.keep(bundle.content())
            facts: dict[str, Value] = {"title": one.id, "owner": one.owner, "domain": one.domain}
            facts |= {"impact": "low", "autonomy": "assistive", "tier": 1, "spec": spec}
            drafts = [
                Draft("portfolio.usecase.accepted", one.subject, facts),
                Draft("releases.release.live", one.subject, {"release": bundle.digest, "number": 1, "previous": ""}),
            ]
            tx.append("bench", drafts, authz={"action": "bench", "digest": ""})
            made[one.subject] = bundle.digest
    assert clock()
    return made


def write(path: Path, releases: dict[str, str], start: int) -> None:
    """Write the calls as groups of the journal: what it commits, without waiting for the disk each time."""
    journal = Journal.open(path, shard="shard-0")
    journal.close()
    shard = Shard(path)
    head = shard.head()
    shard.close()
    import apsw  # noqa: PLC0415  only here

    db = apsw.Connection(str(path))
    db.execute("PRAGMA synchronous = OFF").fetchall()
    group = Group(head, Frontier.from_bytes(head.size, head.frontier))
    subjects = sorted(releases)
    gap = 30 * DAY // CALLS
    for first in range(0, CALLS, BATCH):
        batch = [
            _record(number, subjects[number * 7 % CASES], releases, start + 1_000_000 + number * gap)
            for number in range(first, min(CALLS, first + BATCH))
        ]
        with db:
            group.write(db, batch)
    db.close()


def _record(number: int, subject: str, releases: dict[str, str], began: int) -> Record:
    trace = Trace(f"{number:036d}", subject, "key/0123456789abcdef", "live", began, "0" * 64)
    trace.verdict, trace.status, trace.tier, trace.rung = "allow", "ok", 1, "act"
    trace.release, trace.model, trace.prompt = releases[subject], "bedplate-extractive-1", "1" * 64
    trace.tokens_in, trace.tokens_out, trace.cost_nano = 400, 100, 120_000
    trace.passages = ["leave.md#annual", "leave.md#carry", "leave.md#sick", "pay.md#dates"]
    if number % 50 == 0:
        trace.findings = ["output: password"]
    body = entry(trace, "call.completed", began + 800_000, {"ct": "2" * 64, "commitment": "3" * 64, "kid": "4" * 16})
    return Record(trace.id, body, began + 800_000, subject, "call.completed", "allow", "ok", b"")


if __name__ == "__main__":
    main()
