"""Checkpoints: the ledger's head, signed, compared with what was signed before, and co-signed by a witness."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Row, insert, select

from bedplate.errors import BedplateError, Tampered
from bedplate.kernel.clock import SECOND, Clock

from . import tables as t
from .engine import writing
from .merkle import EMPTY_ROOT, Frontier, consistency_proof, inclusion_proof, verify_consistency
from .note import Checkpoint, SigningKey, open_note, sign_note, split_note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .merkle import NodeReader
    from .witness import Witness


class Anchor:
    """Signs the ledger's head. A key on the same host proves nothing against the operator; a witness elsewhere does."""

    def __init__(self, engine: Engine, key: SigningKey, clock: Clock, witness: Witness | None = None) -> None:
        self._engine = engine
        self._key = key
        self._clock = clock
        self._witness = witness
        self._lock = threading.Lock()
        self.witnessed_at = 0  # microseconds; 0: never in this process

    @property
    def origin(self) -> str:
        """The log's name: that of its key."""
        return self._key.name

    def checkpoint(self) -> str:
        """Sign the head as it is now and keep the note; the same head gives the same note.

        Raises Tampered, and signs nothing, when the tree does not extend what was signed before.
        """
        with self._lock, writing(self._engine.connect()) as connection, connection.begin():
            head = connection.execute(select(t.head.c.size, t.head.c.frontier).with_for_update()).one()
            newest = _newest(connection, self.origin)
            if newest is not None and newest.size == head.size:
                return str(newest.note)
            now = Checkpoint(self.origin, head.size, Frontier.from_bytes(head.size, head.frontier).root())
            before = self._parsed(newest.note) if newest is not None else Checkpoint(self.origin, 0, EMPTY_ROOT)
            nodes = reader(connection)
            verify_consistency(
                before.size, before.root, now.size, now.root, consistency_proof(before.size, now.size, nodes)
            )
            note = self._witnessed(sign_note(now.text(), self._key), now, nodes)
            connection.execute(insert(t.checkpoint).values(size=now.size, note=note, at=self._clock()))
            return note

    def latest(self) -> str:
        """Return the newest note; "" before the first."""
        with self._engine.connect() as connection:
            newest = _newest(connection, self.origin)
            return "" if newest is None else str(newest.note)

    def check(self) -> None:
        """Compare the ledger with what was signed and witnessed; `Tampered` when it is shorter or different."""
        with self._engine.connect() as connection:
            size = int(connection.execute(select(t.head.c.size)).scalar_one())
            nodes = reader(connection)
            for row in connection.execute(select(t.checkpoint).order_by(t.checkpoint.c.size)):
                # One of an earlier epoch was signed with a key that is put away; the tree must still agree with it.
                signed = Checkpoint.parse(split_note(row.note)[0])
                known = self._parsed(row.note) if signed.origin == self.origin else signed
                self._same(known, size, nodes, "the checkpoint signed")
            witnessed = self._witness.latest(self.origin) if self._witness is not None else None
            if witnessed is not None:
                self._same(witnessed, size, nodes, "its witness saw the ledger")

    def prove(self, seq: int) -> tuple[int, list[bytes], str]:
        """Return the tree size, the inclusion proof of an event, and the note of a checkpoint that covers it."""
        note = self.checkpoint()
        size = self._parsed(note).size
        with self._engine.connect() as connection:
            return size, inclusion_proof(seq, size, reader(connection)), note

    def _same(self, signed: Checkpoint, size: int, nodes: NodeReader, what: str) -> None:
        if size < signed.size:
            raise Tampered(
                f"the ledger holds {size} events, but {what} at {signed.size}: its tail is gone, or it was restored",
                hint="restore the newest copy, or continue it knowingly: bedplate doctor --continue-ledger REASON",
            )
        if _root(signed.size, nodes) != signed.root:
            raise Tampered(
                f"the first {signed.size} events are not those for which {what}", hint="bedplate doctor --full"
            )

    def _parsed(self, note: str) -> Checkpoint:
        return Checkpoint.parse(open_note(note, self._key.verifier).text)

    def _witnessed(self, note: str, now: Checkpoint, nodes: NodeReader) -> str:
        if self._witness is None:
            return note
        try:
            known = self._witness.latest(self.origin)
            old = known.size if known is not None else 0
            line = self._witness.add_checkpoint(
                old, consistency_proof(old, now.size, nodes), note, self._clock() // SECOND
            )
        except Tampered:
            raise
        except (BedplateError, OSError):
            return note  # a witness that is away does not stop the organisation; the age of its signature is shown
        self.witnessed_at = self._clock()
        return note + line


def reader(connection: Connection) -> NodeReader:
    """Return a reader of complete subtrees from the node table."""

    def node(level: int, index: int) -> bytes:
        found = connection.execute(
            select(t.node.c.hash).where(t.node.c.level == level, t.node.c.index == index)
        ).scalar_one_or_none()
        if found is None:
            raise Tampered(f"the ledger's tree lacks node {index} of level {level}")
        return bytes(found)

    return node


def _root(size: int, nodes: NodeReader) -> bytes:
    """Compute the root over the first `size` leaves from O(log n) nodes."""
    edge: list[bytes] = []
    offset = 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            edge.append(nodes(level, offset >> level))
            offset += 1 << level
    return Frontier.from_bytes(size, b"".join(edge)).root() if size else EMPTY_ROOT


def _newest(connection: Connection, origin: str) -> Row[Any] | None:
    mine = t.checkpoint.c.note.startswith(f"{origin}\n", autoescape=True)
    query = select(t.checkpoint).where(mine).order_by(t.checkpoint.c.size.desc()).limit(1)
    return connection.execute(query).one_or_none()


def notes(engine: Engine, limit: int = 20) -> Sequence[str]:
    """Return the newest notes, newest first."""
    query = select(t.checkpoint.c.note).order_by(t.checkpoint.c.size.desc()).limit(limit)
    with engine.connect() as connection:
        return [str(note) for note in connection.execute(query).scalars()]
