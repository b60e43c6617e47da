"""What goes wrong with the ledger's disk, database, clock and insiders (docs: the fault cases, by number)."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError

from bedplate.bootstrap import open_ledger
from bedplate.errors import BedplateError, Conflict, Full, InvalidInput, NeedsApproval, Tampered, Unavailable
from bedplate.kernel.clock import DAY, SECOND
from bedplate.kernel.event import Draft, unseal
from bedplate.portfolio.actions import propose
from bedplate.store import engine as engines
from bedplate.store import tables as t
from bedplate.store.anchor import Anchor
from bedplate.store.engine import open_engine
from bedplate.store.fsck import compare_read_tables, verify_ledger
from bedplate.store.merkle import Frontier, consistency_proof, leaf_hash
from bedplate.store.note import Checkpoint, SigningKey, sign_note
from bedplate.store.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from tests.conftest import House
    from tests.postgres import Postgres

    from bedplate.store.ledger import SqlLedger
    from bedplate.testing import SettableClock

KEY = SigningKey("test.local/ledger", bytes(range(32)))
WITNESS = SigningKey("witness.example/w1", bytes(range(64, 96)))
HOUR = 3_600 * SECOND


def beat(size: int = 0) -> Draft:
    return Draft("kernel.shard.beat", "shard/s", {"shard": "s", "size": size, "root": ""})


def add(ledger: SqlLedger, count: int = 1) -> None:
    for n in range(count):
        with ledger.transaction() as tx:
            tx.append("ann", [beat(n)], authz={})


@contextmanager
def unguarded(engine: Engine) -> Iterator[Any]:
    """Write as an insider does who has dropped the triggers; they are gone afterwards."""
    with engine.begin() as connection:
        for table in ("event", "node", "blob", "checkpoint"):
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
            else:
                for verb in ("update", "delete"):
                    connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_{verb}"))
        yield connection


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    (tmp_path / "witness").mkdir()
    return Witness(tmp_path / "witness", WITNESS, {KEY.name: KEY.verifier})


@pytest.fixture
def anchor(ledger: SqlLedger, clock: SettableClock, witness: Witness) -> Anchor:
    return Anchor(ledger.engine, KEY, clock, witness)


# 4, 5: writers


def test_05_a_writer_waits_for_the_other_and_builds_on_what_it_left(ledger: SqlLedger) -> None:
    inside, go_on, order = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        with ledger.transaction() as tx:
            tx.append("first", [beat()], authz={})
            inside.set()
            go_on.wait(10)
            order.append("first")

    def second() -> None:
        inside.wait(10)
        with ledger.transaction() as tx:
            order.append("second")
            tx.append("second", [beat()], authz={})

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    go_on.set()
    for thread in threads:
        thread.join()
    assert order == ["first", "second"]
    assert verify_ledger(ledger.engine) == 2


@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["postgresql"])
def test_04_a_connection_killed_in_the_middle_leaves_nothing_half_done(house: House) -> None:
    subject, size = house.accepted(), house.ledger.size()

    def killed() -> None:
        with house.governor.act("mara.quinn", _suspend(), subject, facts={"reason": "x"}) as act:
            act.record("incidents.usecase.suspended", {"reason": "x"})
            pid = _connection(act.tx).execute(text("SELECT pg_backend_pid()")).scalar_one()
            with house.engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

    with pytest.raises(Unavailable):
        killed()
    assert house.ledger.size() == size
    assert house.standing(subject).suspended == ""
    with house.governor.act("mara.quinn", _suspend(), subject, facts={"reason": "x"}) as act:
        act.record("incidents.usecase.suspended", {"reason": "x"})
    assert house.standing(subject).suspended == "x"
    house.sound()


def _suspend() -> Any:
    from bedplate.incidents.governance import SUSPEND  # noqa: PLC0415  only here

    return SUSPEND


def _connection(tx: Any) -> Any:
    return tx.connection


# 8: bits


@pytest.mark.parametrize("kind", ["sqlite"])
def test_08_a_flipped_bit_is_named_or_the_ledger_refuses_to_open(ledger: SqlLedger, tmp_path: Path) -> None:
    """Whatever bit of whatever record flips: it is found, or it was no part of a record."""
    add(ledger, 30)
    with ledger.transaction() as tx:
        tx.keep(b"content of a document" * 20)
    path = Path(str(ledger.engine.url.database))
    whole, dice, seen = path.read_bytes(), random.Random(8), set[str]()  # noqa: S311  repeatable is the point
    with closing(sqlite3.connect(path)) as db:
        guarded = [bytes(r[0]) for r in db.execute("SELECT entry FROM event")]
        guarded += [bytes(r[0]) for r in db.execute("SELECT leaf FROM event")]
        guarded += [bytes(r[0]) for r in db.execute("SELECT hash FROM node WHERE level > 0")]
        guarded += [bytes(r[0]) for r in db.execute("SELECT content FROM blob")]
    for content in guarded:
        spoilt = bytearray(whole)
        at = whole.index(content) + dice.randrange(len(content))
        spoilt[at] ^= 1 << dice.randrange(8)
        with pytest.raises(Tampered) as found:
            _verify(bytes(spoilt), tmp_path / "spoilt.db")
        seen.add(found.value.message.split()[0])
    for _ in range(150):  # anywhere, pages of indexes and free space included
        spoilt = bytearray(whole)
        spoilt[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        try:
            _verify(bytes(spoilt), tmp_path / "spoilt.db")
        except (Tampered, Unavailable, DBAPIError) as refused:
            seen.add(type(refused).__name__)
    assert "event" in seen


def _verify(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    engine = open_engine(f"sqlite:///{path}")
    try:
        assert verify_ledger(engine) == 30
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("UPDATE event SET entry = {entry} WHERE seq = 7", "event 7 was changed: its bytes"),
        ("UPDATE event SET actor = 'eve' WHERE seq = 7", "event 7 was changed: its columns"),
        ("UPDATE event SET at = at + 1 WHERE seq = 7", "event 7 was changed: its columns"),
        ('UPDATE node SET hash = {leaf} WHERE level = 1 AND "index" = 3', "the tree over event 7 was changed"),
        ('DELETE FROM node WHERE level = 0 AND "index" = 9', "the tree over event 9 was changed"),
        ("DELETE FROM event WHERE seq = 7", "event 7 is missing: the next one is event 8"),
        ("DELETE FROM event WHERE seq > 7", "the head says 12 events, the ledger holds 8"),
        ("DELETE FROM head", "the head of the ledger is missing"),
        ("UPDATE head SET size = 11", "the head says 11 events, the ledger holds 12"),
        ("UPDATE blob SET content = {entry}", "the content kept under"),
    ],
)
def test_08_what_an_insider_changes_is_named(ledger: SqlLedger, statement: str, names: str) -> None:
    add(ledger, 12)
    with ledger.transaction() as tx:
        tx.keep(b"content")
    binary = "'\\x{}'::bytea" if ledger.engine.dialect.name == "postgresql" else "X'{}'"
    forged = statement.format(entry=binary.format("7b7d"), leaf=binary.format("00" * 32))
    with unguarded(ledger.engine) as connection:
        connection.exec_driver_sql(forged)
    with pytest.raises(Tampered, match=names):
        verify_ledger(ledger.engine)


def test_08_a_changed_read_table_is_found_by_the_rebuild(house: House) -> None:
    house.live()
    with house.engine.begin() as connection:
        connection.execute(text("UPDATE standing SET owner = 'eve'"))
    assert verify_ledger(house.engine) == house.ledger.size()
    assert compare_read_tables(house.engine, house.ledger.projector) == ["standing"]


# 11, 12: insiders


def test_11_a_tail_that_is_removed_with_care_is_missed_at_the_checkpoint(ledger: SqlLedger, anchor: Anchor) -> None:
    add(ledger, 12)
    anchor.checkpoint()
    _truncate(ledger, 8)
    assert verify_ledger(ledger.engine) == 8, "in itself it is sound"
    with pytest.raises(Tampered, match="the ledger holds 8 events, but the checkpoint signed at 12"):
        anchor.check()
    with unguarded(ledger.engine) as connection:
        connection.execute(t.checkpoint.delete())
    with pytest.raises(Tampered, match="but its witness saw the ledger at 12"):
        anchor.check()


def test_11_a_ledger_that_is_removed_is_missed_by_its_witness(
    ledger: SqlLedger, anchor: Anchor, tmp_path: Path, witness: Witness, clock: SettableClock
) -> None:
    add(ledger, 5)
    anchor.checkpoint()
    engine = open_engine(f"sqlite:///{tmp_path / 'new.db'}")
    try:
        engines_migrate(engine)
        fresh, _, _ = open_ledger(engine, clock)
        with pytest.raises(Tampered, match="the ledger holds 0 events, but its witness saw the ledger at 5"):
            Anchor(engine, KEY, clock, witness).check()
        assert fresh.size() == 0
    finally:
        engine.dispose()


def engines_migrate(engine: Engine) -> None:
    from bedplate.store.migrate import migrate  # noqa: PLC0415  costs 200 ms

    migrate(engine)


def _truncate(ledger: SqlLedger, size: int) -> None:
    """Remove the tail as somebody would who knows how the tables hang together."""
    with ledger.engine.connect() as connection:
        entries = list(connection.execute(select(t.event.c.entry).order_by(t.event.c.seq)).scalars())[:size]
    _rewrite(ledger, entries)


def _rewrite(ledger: SqlLedger, entries: list[bytes]) -> Frontier:
    frontier = Frontier()
    nodes = [n for entry in entries for n in frontier.append(leaf_hash(entry))]
    with unguarded(ledger.engine) as connection:
        connection.execute(t.event.delete())
        connection.execute(t.node.delete())
        for entry in entries:
            e = unseal(entry)
            row = {"seq": e.seq, "id": e.id, "stream": e.stream, "version": e.version, "kind": e.kind, "actor": e.actor}
            connection.execute(t.event.insert().values(**row, at=e.at, entry=entry, leaf=leaf_hash(entry)))
        for n in nodes:
            connection.execute(t.node.insert().values(level=n.level, index=n.index, hash=n.hash))
        connection.execute(t.head.update().values(size=frontier.size, frontier=frontier.to_bytes()))
    return frontier


def test_12_an_insider_who_rewrites_history_with_the_key_is_refused_by_the_witness(
    ledger: SqlLedger, anchor: Anchor, witness: Witness
) -> None:
    add(ledger, 9)
    anchor.checkpoint()
    with ledger.engine.connect() as connection:
        entries = list(connection.execute(select(t.event.c.entry).order_by(t.event.c.seq)).scalars())
    forged = [e.replace(b'"actor":"ann"', b'"actor":"eve"') if n == 4 else bytes(e) for n, e in enumerate(entries)]
    frontier = _rewrite(ledger, forged)
    again = Checkpoint(KEY.name, frontier.size, frontier.root())
    with unguarded(ledger.engine) as connection:
        connection.execute(t.checkpoint.delete())
        connection.execute(t.checkpoint.insert().values(size=9, note=sign_note(again.text(), KEY), at=0))
    assert verify_ledger(ledger.engine) == 9, "without a witness it is sound: a key on the same host proves nothing"
    with pytest.raises(Tampered, match="the first 9 events are not those for which its witness saw"):
        anchor.check()
    with pytest.raises(Tampered):
        witness.add_checkpoint(9, [], sign_note(again.text(), KEY), 1)
    add(ledger)
    with pytest.raises(Tampered):
        anchor.checkpoint()
    assert consistency_proof(0, 9, lambda _level, _index: b"") == []


# 13: backups


@pytest.mark.parametrize("kind", ["sqlite"])
def test_13_yesterdays_backup_refuses_to_write(
    ledger: SqlLedger, anchor: Anchor, tmp_path: Path, witness: Witness, clock: SettableClock
) -> None:
    add(ledger, 4)
    anchor.checkpoint()
    shutil.copyfile(str(ledger.engine.url.database), tmp_path / "yesterday.db")
    add(ledger, 4)
    anchor.checkpoint()
    engine = open_engine(f"sqlite:///{tmp_path / 'yesterday.db'}")
    try:
        restored, _, _ = open_ledger(engine, clock)
        assert verify_ledger(engine) == 4
        with pytest.raises(Tampered, match="restored") as older:
            Anchor(engine, KEY, clock, witness).check()
        restored.refuses = older.value.message
        with pytest.raises(Tampered):
            add(restored)
        assert restored.size() == 4
    finally:
        engine.dispose()


# 15: clocks


@pytest.mark.parametrize("step", [-HOUR, 365 * DAY])
def test_15_a_clock_that_steps_changes_no_order_and_is_on_record(house: House, step: int) -> None:
    before = house.ledger.size()  # made by another process
    waiting = house.propose()
    house.clock.advance(step)
    other = house.propose(house.use_case(id="other-one"))
    house.clock.advance(-step)
    third = house.propose(house.use_case(id="third-one"))
    house.propose(house.use_case(id="fourth-one"))
    events = house.events()
    assert [e.seq for e in events] == list(range(len(events)))
    assert [e.id for e in events[before:]] == sorted(e.id for e in events[before:])
    stepped = house.events("kernel.clock.stepped")
    assert [e.data["back"] for e in stepped] == [abs(step)], "a step is one event, not one for every event after it"
    assert waiting < other < third
    assert house.grant(third).state == "granted"
    house.sound()


def test_15_a_year_ahead_ends_what_was_open_for_good(house: House) -> None:
    waiting, other = house.propose(), house.use_case(id="other-one")
    house.clock.advance(365 * DAY)
    with pytest.raises(Conflict, match="expired"):
        house.vote("hanna.osei", waiting)
    assert house.governor.expire() == 1
    house.clock.advance(-365 * DAY)
    with pytest.raises(Conflict, match="expired"):
        house.vote("hanna.osei", waiting)
    with pytest.raises(NeedsApproval):
        propose(house.governor, "leo.fischer", other, house.model)


# 7, 17: databases that are full, away or silent


@pytest.mark.parametrize("kind", ["sqlite"])
def test_07_a_full_disk_loses_nothing_and_recovers(ledger: SqlLedger) -> None:
    add(ledger, 3)
    pages = 0

    @event.listens_for(ledger.engine, "begin")
    def quota(connection: Any) -> None:
        now = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages or now}")

    with pytest.raises(Full, match="nothing acknowledged was lost"):
        _fill(ledger)
    size = ledger.size()
    assert verify_ledger(ledger.engine) == size
    pages = 1 << 20
    add(ledger)
    assert verify_ledger(ledger.engine) == size + 1


def _fill(ledger: SqlLedger) -> None:
    for n in range(200):
        with ledger.transaction() as tx:
            tx.keep(bytes([n]) * 5_000)
            tx.append("ann", [beat(n)], authz={})


@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["postgresql"])
def test_17_a_pool_that_is_used_up_says_so(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.engine.pool, "_timeout", 0.05)
    held = [ledger.engine.connect() for _ in range(15)]
    try:
        with pytest.raises(Unavailable, match="every connection"):
            add(ledger)
    finally:
        for connection in held:
            connection.close()
    add(ledger)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["postgresql"])
def test_17_a_database_that_is_silent_is_given_up(
    ledger: SqlLedger, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped server counts none of its own limits: only ours end the wait."""
    monkeypatch.setattr(engines, "ANSWER_S", 1.0)
    add(ledger)
    postgres.signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            with pytest.raises(Unavailable):
                add(ledger)
        assert ledger.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a queue's own
    finally:
        postgres.signal(signal.SIGCONT)
    add(ledger)
    assert verify_ledger(ledger.engine) == 2


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["postgresql"])
def test_03_a_server_that_crashes_has_kept_what_it_acknowledged(ledger: SqlLedger, postgres: Postgres) -> None:
    add(ledger, 5)
    postgres.stop("immediate")
    with pytest.raises(Unavailable):
        add(ledger)
    postgres.start()
    add(ledger)
    assert verify_ledger(ledger.engine) == 6


@pytest.mark.postgres
@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_server_that_may_lose_commits_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engines.refuse_unsafe(engine)
    monkeypatch.setattr(engines, "text", lambda _: text("SELECT '130000'"))
    with pytest.raises(InvalidInput, match="14 or newer"):
        engines.refuse_unsafe(engine)
    monkeypatch.setattr(engines, "text", lambda s: text("SELECT '150000'" if "version" in s else "SELECT 'off'"))
    with pytest.raises(InvalidInput, match="fsync = off"):
        engines.refuse_unsafe(engine)


def test_an_unknown_database_is_refused() -> None:
    with pytest.raises(InvalidInput, match="unknown database mysql"):
        open_engine("mysql://x/y")


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_database_that_is_gone_is_unavailable(ledger: SqlLedger) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(text("DROP TABLE head"))
    with pytest.raises(Unavailable) as away:
        add(ledger)
    assert isinstance(away.value, BedplateError)
    assert away.value.code == "unavailable"
