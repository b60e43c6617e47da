"""The ledger in a database: contiguous, contended, append-only, rebuilt; on SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from bedplate.bootstrap import open_ledger
from bedplate.errors import (
    BedplateError,
    Conflict,
    Denied,
    InvalidInput,
    NeedsApproval,
    NotFound,
    Tampered,
    Unavailable,
)
from bedplate.gateway.actions import issue_key
from bedplate.gateway.price import Prices
from bedplate.gateway.snapshot import Follower, Snapshot
from bedplate.incidents.actions import suspend
from bedplate.kernel.event import MAX_ENTRY, Draft, unseal
from bedplate.kernel.evidence import Evidence
from bedplate.models.prompt import Shelf
from bedplate.paths.snapshots import Snapshots
from bedplate.portfolio.actions import propose
from bedplate.releases.actions import go_live
from bedplate.store import tables as t
from bedplate.store.engine import open_engine
from bedplate.store.fsck import compare_read_tables, verify_ledger
from bedplate.store.merkle import Frontier, leaf_hash, root_of
from bedplate.testing import MemoryLedger, SettableClock, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine
    from tests.conftest import Database, House

    from bedplate.kernel.manifest import Catalogue
    from bedplate.store.ledger import SqlLedger

REQUEST = "01977420-dc00-7000-8000-000000000001"
BEAT = "kernel.shard.beat"
WRITER = """
import sys
from bedplate.bootstrap import open_ledger, wall_clock
from bedplate.kernel.event import Draft
from bedplate.store.engine import open_engine
engine = open_engine(sys.argv[1])
ledger, _, _ = open_ledger(engine, wall_clock)
for n in range(int(sys.argv[3])):
    with ledger.transaction() as tx:
        tx.append("w", [Draft("kernel.shard.beat", sys.argv[2], {"shard": "s", "size": n, "root": ""})], authz={})
engine.dispose()
"""


def beat(size: int = 0, stream: str = "shard/s", **more: Any) -> Draft:
    return Draft(BEAT, stream, {"shard": "s", "size": size, "root": "", **more})


def add(ledger: SqlLedger, *drafts: Draft, first_id: str = "") -> list[str]:
    with ledger.transaction() as tx:
        return [e.id for e in tx.append("ann", drafts or [beat()], authz={}, first_id=first_id)]


def rows(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(t.event).order_by(t.event.c.seq)))


def test_an_empty_ledger_verifies(ledger: SqlLedger) -> None:
    assert (ledger.size(), verify_ledger(ledger.engine)) == (0, 0)
    ledger.create()
    with ledger.transaction() as tx:
        assert (tx.model(), tx.in_force(), tx.standing("x"), tx.approval("x"), tx.event("x")) == (
            None,
            False,
            *[None] * 3,
        )
        assert (tx.append("ann", [], authz={}), tx.approvals("x", "y"), tx.overdue(1 << 60)) == ([], [], [])
    assert ledger.size() == 0


def test_events_are_contiguous_hashed_and_versioned(ledger: SqlLedger) -> None:
    for n in range(9):
        add(ledger, beat(n), beat(n, "shard/other"))
    found_rows = rows(ledger.engine)
    assert [r.seq for r in found_rows] == list(range(18))
    assert [r.version for r in found_rows if r.stream == "shard/s"] == list(range(1, 10))
    assert all(r.leaf == leaf_hash(r.entry) for r in found_rows)
    with ledger.engine.connect() as connection:
        head = connection.execute(select(t.head)).one()
    assert Frontier.from_bytes(head.size, head.frontier).root() == root_of([r.leaf for r in found_rows])
    assert verify_ledger(ledger.engine) == 18


def test_threads_and_processes_that_append_at_once_lose_nothing(database: Database, ledger: SqlLedger) -> None:
    """8 threads here and 4 processes beside: no fork, no gap, no lost update."""
    each = 8
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, database.url, f"shard/p{n}", f"{each}"], stderr=subprocess.PIPE)
        for n in range(4)
    ]

    def write(name: str) -> None:
        for n in range(each):
            add(ledger, beat(n, name))

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write, f"shard/t{n}") for n in range(8)]:
            done.result()
    told = [process.communicate()[1].decode() for process in running]
    assert [p.returncode for p in running] == [0] * 4, told
    every = rows(ledger.engine)
    events = [r for r in every if r.kind == BEAT]
    assert len(events) == 12 * each
    assert [r.seq for r in every] == list(range(len(every)))
    by_stream: dict[str, list[int]] = {}
    for row in events:
        by_stream.setdefault(row.stream, []).append(row.version)
    assert set(map(tuple, by_stream.values())) == {tuple(range(1, each + 1))}
    assert verify_ledger(ledger.engine) == len(every)


def at_once(count: int, does: Callable[[], object]) -> list[str]:
    """Do it from many threads at the same moment; returns how each ended."""
    barrier = threading.Barrier(count)

    def one() -> str:
        barrier.wait()
        try:
            does()
        except BedplateError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(count) as pool:
        return sorted(future.result() for future in [pool.submit(one) for _ in range(count)])


def test_two_votes_at_once_are_both_counted_and_grant_once(house: House) -> None:
    subject = house.accepted(house.tier(4))
    digest, number = house.built(subject)
    approval = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    waiting = iter(["priya.raman", "jonas.weber", "ruth.adeyemi", "tomas.lindgren"])
    outcomes = at_once(4, lambda: house.governor.vote(next(waiting), approval, yes=True, reason=""))
    assert outcomes == ["done"] * 4
    assert [v.stage for v in house.approval(approval).votes].count(0) == 2
    assert len([e for e in house.events("kernel.approval.granted") if e.stream == approval]) == 1
    house.sound()


def test_one_person_who_votes_twice_at_once_votes_once(house: House) -> None:
    approval = house.propose(house.tier(4))
    outcomes = at_once(4, lambda: house.governor.vote("priya.raman", approval, yes=True, reason=""))
    assert outcomes == ["denied"] * 3 + ["done"]
    assert len(house.approval(approval).votes) == 1


def test_two_go_lives_at_once_spend_one_approval_once(house: House) -> None:
    subject = house.accepted()
    digest, number = house.built(subject)
    approval = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    house.governor.vote("hanna.osei", approval, yes=True, reason="")
    outcomes = at_once(4, lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    assert outcomes.count("done") == 1
    assert len([e for e in house.events("kernel.approval.spent") if e.stream == approval]) == 1
    assert len(house.events("releases.release.live")) == 1
    house.sound()


def test_a_request_is_done_once_by_whoever_comes_first(house: House) -> None:
    subject = house.live()
    incident = {"reason": "look"}

    def stop() -> None:
        from bedplate.incidents.governance import SUSPEND  # noqa: PLC0415  only here

        with house.governor.act("mara.quinn", SUSPEND, subject, facts=incident, request=REQUEST) as act:
            act.record("incidents.usecase.suspended", incident)

    assert at_once(4, stop) == ["already-done"] * 3 + ["done"]
    assert [e.id for e in house.events("incidents.usecase.suspended")] == [REQUEST]


def test_an_id_is_unique_and_so_is_a_streams_version(ledger: SqlLedger) -> None:
    add(ledger, first_id=REQUEST)
    with pytest.raises(Unavailable):
        add(ledger, first_id=REQUEST)
    row = dict(rows(ledger.engine)[0]._mapping)
    for changed in ({"seq": 1}, {"seq": 1, "id": "x"}, {"id": "x", "version": 2}):
        with pytest.raises(IntegrityError), ledger.engine.begin() as connection:
            connection.execute(insert(t.event).values({**row, **changed}))
    assert verify_ledger(ledger.engine) == 1


@pytest.mark.parametrize("table", ["event", "node", "blob", "checkpoint"])
def test_what_is_on_record_is_neither_changed_nor_removed(ledger: SqlLedger, table: str) -> None:
    add(ledger)
    with ledger.transaction() as tx:
        tx.keep(b"content")
    with ledger.engine.begin() as connection:
        connection.execute(insert(t.checkpoint).values(size=1, note="n", at=1))
    target = t.metadata.tables[table]
    column = next(iter(target.c))
    for statement in (delete(target), update(target).values({column.name: column})):
        with pytest.raises(DBAPIError, match="append-only"), ledger.engine.begin() as connection:
            connection.execute(statement)
    if ledger.engine.dialect.name == "postgresql":
        with pytest.raises(DBAPIError, match="append-only"), ledger.engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {table}"))
    assert verify_ledger(ledger.engine) == 1


def test_a_body_that_raises_leaves_nothing(ledger: SqlLedger) -> None:
    add(ledger)

    def fails() -> None:
        with ledger.transaction() as tx:
            tx.keep(b"content")
            tx.append("ann", [beat(), Draft("portfolio.usecase.retired", "usecase/x", {"reason": "x"})], authz={})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert (ledger.size(), verify_ledger(ledger.engine)) == (1, 1)
    with pytest.raises(NotFound), ledger.transaction() as tx:
        tx.content(hashlib.sha256(b"content").hexdigest())
    assert compare_read_tables(ledger.engine, ledger.projector) == []


def test_undeclared_events_and_fields_are_refused_at_the_door(house: House) -> None:
    from bedplate.evidence.governance import ANCHOR  # noqa: PLC0415  the least demanding action

    size = house.ledger.size()
    for draft in (Draft("kernel.shard.burst", "s", {}), beat(more=1), Draft(BEAT, "s", {"shard": "s"})):
        with pytest.raises(InvalidInput), house.governor.act("system", ANCHOR, "shard/s") as act:
            act.record(draft.kind, draft.data)
    assert house.ledger.size() == size


def test_an_event_that_is_too_large_is_refused_with_a_hint(ledger: SqlLedger) -> None:
    with pytest.raises(InvalidInput, match="keep large content as a blob"):
        add(ledger, Draft(BEAT, "shard/s", {"shard": "s", "size": 1, "root": "x" * MAX_ENTRY}))
    assert ledger.size() == 0


def test_content_is_kept_by_its_digest(ledger: SqlLedger) -> None:
    with ledger.transaction() as tx:
        digest = tx.keep(b"content")
        assert tx.keep(b"content") == digest == hashlib.sha256(b"content").hexdigest()
        assert tx.content(digest) == b"content"
        assert len(tx.content(tx.keep(b"x" * (1 << 20)))) == 1 << 20
        with pytest.raises(NotFound):
            tx.content("0" * 64)


def test_a_commit_whose_outcome_is_unknown_is_tried_again_by_its_request(ledger: SqlLedger) -> None:
    """The answer to COMMIT is lost: the caller cannot know, tries again, and it is there once."""

    def lost() -> None:
        add(ledger, first_id=REQUEST)
        raise Unavailable("the connection broke after COMMIT was sent")

    with pytest.raises(Unavailable):
        lost()
    with ledger.transaction() as tx:
        before = tx.event(REQUEST)
    assert before is not None
    assert (before.id, before.data["size"]) == (REQUEST, 0)
    with pytest.raises(Unavailable):
        add(ledger, first_id=REQUEST)
    assert ledger.size() == 1


def test_a_follower_sees_a_suspension_of_another_process(house: House) -> None:
    subject = house.live()
    other = open_engine(house.database.url)
    try:
        ledger, _, _ = open_ledger(other, house.clock)
        reading = Snapshots(other, ledger.model_of, Prices(), Shelf(), house.clock)
        follower = Follower(ledger.size, reading.load, 100)
        follower.look()
        assert follower.snapshot.standings[subject].suspended == ""
        suspend(house.governor, "mara.quinn", subject, "look")
        follower.look()
        assert follower.snapshot.standings[subject].suspended == "look"
    finally:
        other.dispose()


def test_what_is_read_step_by_step_is_what_is_read_at_once(house: House) -> None:
    following = Snapshots(house.engine, house.ledger.model_of, Prices(), Shelf(), house.clock)

    def fresh() -> Snapshot:
        return Snapshots(house.engine, house.ledger.model_of, Prices(), Shelf(), house.clock).load()

    before = following.load()
    assert before == fresh()
    subject = house.live()
    between = following.load()
    assert between == fresh()
    assert subject in between.standings
    issue_key(house.governor, "leo.fischer", subject, key="k1", digest="d" * 64, label="one", days=1)
    suspend(house.governor, "mara.quinn", subject, "look")
    after = following.load()

    assert after == fresh()
    assert [k.subject for k in after.keys.values()] == [subject]
    assert after.keys["d" * 64].id == "k1"
    assert after.standings[subject].suspended == "look"
    assert between.standings[subject].suspended == ""  # what calls were judged against is not changed beneath them
    assert before.keys == {}


def test_a_fault_found_at_the_start_closes_the_door(ledger: SqlLedger) -> None:
    ledger.refuses = "event 7 was changed"
    with pytest.raises(Tampered, match="event 7 was changed"):
        add(ledger)


def test_read_tables_are_rebuilt_from_the_ledger(house: House) -> None:
    subject = house.live(house.tier(3))
    suspend(house.governor, "mara.quinn", subject, "look")
    with pytest.raises(Denied):
        propose(house.governor, "leo.fischer", house.use_case(id="poor", owner="victor.lam"), house.model)
    with house.engine.connect() as connection:
        before = house.ledger.projector.dump(connection)
    with house.engine.connect() as connection, connection.begin():
        house.ledger.projector.rebuild(connection)
    with house.engine.connect() as connection:
        assert house.ledger.projector.dump(connection) == before
    assert before["usecase"][0]["last_seq"]
    house.sound()


def test_evidence_is_the_newest_about_that_content(house: House) -> None:
    subject = house.accepted()
    digest, _ = house.built(subject)
    with house.ledger.transaction() as tx:
        found_evidence = tx.evidence(subject, digest)["evals-passed"]
        assert tx.evidence(subject, "other") == {}
    assert isinstance(found_evidence, Evidence)
    assert found_evidence.expires == house.clock() + 90 * 86_400_000_000


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob"]), st.sampled_from(["shard/a", "shard/b"]), st.integers(-5_000_000, 5_000_000)
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_ledger_in_memory_records_what_the_database_does(
    steps: list[tuple[str, str, int]], declared: Catalogue, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What is tested with the fake holds for the real one."""
    clock = SettableClock()
    memory = MemoryLedger(declared, clock)
    with _fresh(tmp_path_factory, clock) as real:
        for actor, stream, step in steps:
            clock.advance(step)
            for ledger in (memory, real):
                with ledger.transaction() as tx:
                    tx.append(actor, [beat(1, stream)], authz={"a": "b"})
        told = [(e.seq, e.kind, e.stream, e.version, e.at, e.actor, e.data) for e in memory.events]
        seen = [unseal(r.entry) for r in rows(real.engine)]
        assert [(e.seq, e.kind, e.stream, e.version, e.at, e.actor, e.data) for e in seen] == told
    assert found(memory).catalogue is declared


@contextmanager
def _fresh(factory: pytest.TempPathFactory, clock: SettableClock) -> Iterator[SqlLedger]:
    from bedplate.store.migrate import migrate  # noqa: PLC0415  only here

    engine = open_engine(f"sqlite:///{factory.mktemp('ledger') / 'l.db'}")
    try:
        migrate(engine)
        yield open_ledger(engine, clock)[0]
    finally:
        engine.dispose()


def test_errors_say_what_to_do(house: House) -> None:
    with pytest.raises(NeedsApproval) as asked:
        propose(house.governor, "leo.fischer", house.use_case(), house.model)
    assert asked.value.hint == f"bedplate approvals {asked.value.approval}"


def test_a_head_that_moved_meanwhile_is_not_overwritten(ledger: SqlLedger) -> None:
    """Belt and braces: the writer's lock keeps this from happening."""

    def overtaken() -> None:
        with ledger.transaction() as tx:
            tx.connection.execute(update(t.head).values(size=1 << 40))
            tx.append("ann", [beat()], authz={})

    with pytest.raises(Conflict, match="another writer"):
        overtaken()
    assert (ledger.size(), verify_ledger(ledger.engine)) == (0, 0)
