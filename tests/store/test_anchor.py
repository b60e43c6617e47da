"""Checkpoints: the head, signed; compared at every start; co-signed by a witness who remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select, update

from bedplate.errors import Tampered
from bedplate.kernel.clock import SECOND
from bedplate.kernel.event import Draft
from bedplate.store import tables as t
from bedplate.store.anchor import Anchor, notes, reader
from bedplate.store.merkle import leaf_hash, verify_inclusion
from bedplate.store.note import Checkpoint, SigningKey, open_note
from bedplate.store.witness import Witness

if TYPE_CHECKING:
    from pathlib import Path

    from bedplate.kernel.event import Value
    from bedplate.store.ledger import SqlLedger
    from bedplate.testing import SettableClock

KEY = SigningKey("test.local/ledger", bytes(range(32)))
OTHER = SigningKey("test.local/ledger", bytes(range(32, 64)))
WITNESS = SigningKey("witness.example/w1", bytes(range(64, 96)))


def add(ledger: SqlLedger, count: int = 1) -> None:
    for n in range(count):
        with ledger.transaction() as tx:
            data: dict[str, Value] = {"shard": "s", "size": n, "root": ""}
            tx.append("ann", [Draft("kernel.shard.beat", "shard/s", data)], authz={})


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    (tmp_path / "witness").mkdir()
    return Witness(tmp_path / "witness", WITNESS, {KEY.name: KEY.verifier})


@pytest.fixture
def anchor(ledger: SqlLedger, clock: SettableClock, witness: Witness) -> Anchor:
    return Anchor(ledger.engine, KEY, clock, witness)


def test_a_checkpoint_signs_the_head_once(ledger: SqlLedger, anchor: Anchor, clock: SettableClock) -> None:
    assert (anchor.latest(), anchor.origin, anchor.witnessed_at) == ("", KEY.name, 0)
    anchor.check()
    first = anchor.checkpoint()
    add(ledger, 5)
    second = anchor.checkpoint()
    assert anchor.checkpoint() == second == anchor.latest() != first
    assert Checkpoint.parse(open_note(second, KEY.verifier).text).size == 5
    assert open_note(second, KEY.verifier, WITNESS.cosigner).names == (KEY.name, WITNESS.name)
    assert notes(ledger.engine) == [second, first]
    assert anchor.witnessed_at == clock()
    anchor.check()


def test_every_event_is_proved_against_a_checkpoint(ledger: SqlLedger, anchor: Anchor) -> None:
    add(ledger, 11)
    with ledger.engine.connect() as connection:
        entries = list(connection.execute(select(t.event.c.entry).order_by(t.event.c.seq)).scalars())
    for seq, entry in enumerate(entries):
        size, path, note = anchor.prove(seq)
        root = Checkpoint.parse(open_note(note, KEY.verifier).text).root
        verify_inclusion(leaf_hash(entry), seq, size, path, root)


def test_a_witness_that_is_away_stops_nobody(
    ledger: SqlLedger, anchor: Anchor, tmp_path: Path, clock: SettableClock
) -> None:
    add(ledger)
    (tmp_path / "witness").rename(tmp_path / "gone")
    assert open_note(anchor.checkpoint(), KEY.verifier).names == (KEY.name,)
    assert anchor.witnessed_at == 0
    (tmp_path / "gone").rename(tmp_path / "witness")
    add(ledger)
    clock.advance(SECOND)
    assert WITNESS.name in anchor.checkpoint()
    assert anchor.witnessed_at == clock()
    anchor.check()


def test_a_witness_that_refuses_stops_the_signing(ledger: SqlLedger, anchor: Anchor, witness: Witness) -> None:
    add(ledger, 3)
    anchor.checkpoint()
    known = witness.latest(KEY.name)
    assert known is not None
    add(ledger)
    path = witness._path(KEY.name, "checkpoint")
    path.write_bytes(path.read_bytes().replace(b"3", b"4", 1))
    with pytest.raises(Tampered, match="is damaged"):
        anchor.checkpoint()
    assert len(notes(ledger.engine)) == 1


def test_a_tree_that_does_not_extend_what_was_signed_is_not_signed(ledger: SqlLedger, clock: SettableClock) -> None:
    anchor = Anchor(ledger.engine, KEY, clock)
    add(ledger, 4)
    anchor.checkpoint()
    add(ledger)
    with ledger.engine.begin() as connection:  # the head alone: the triggers guard the rest
        connection.execute(update(t.head).values(frontier=leaf_hash(b"a") + leaf_hash(b"b")))
    with pytest.raises(Tampered):
        anchor.checkpoint()


def test_a_note_of_another_key_is_not_ours(ledger: SqlLedger, clock: SettableClock) -> None:
    add(ledger)
    Anchor(ledger.engine, OTHER, clock).checkpoint()
    mine = Anchor(ledger.engine, KEY, clock)
    with pytest.raises(Tampered):
        mine.check()
    add(ledger)
    with pytest.raises(Tampered):
        mine.checkpoint()


def test_what_was_signed_but_is_not_there_is_missed(ledger: SqlLedger, clock: SettableClock) -> None:
    anchor = Anchor(ledger.engine, KEY, clock)
    add(ledger, 3)
    anchor.checkpoint()
    with ledger.engine.begin() as connection:
        note = str(connection.execute(select(t.checkpoint.c.note)).scalar_one())
        connection.execute(update(t.head).values(size=2))
    with pytest.raises(Tampered, match="the ledger holds 2 events, but the checkpoint signed at 3"):
        anchor.check()
    with ledger.engine.begin() as connection:
        connection.execute(update(t.head).values(size=3))
        connection.execute(insert(t.checkpoint).values(size=4, note=note.replace("\n3\n", "\n4\n"), at=0))
    with pytest.raises(Tampered):
        anchor.check()


def test_a_tree_with_a_hole_cannot_be_read(ledger: SqlLedger) -> None:
    with ledger.engine.connect() as connection, pytest.raises(Tampered, match="lacks node 7 of level 0"):
        reader(connection)(0, 7)
