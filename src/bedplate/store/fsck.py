"""Full verification of the ledger: every entry against its leaf, its columns, the tree, and what it refers to."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Integer, Row, cast, func, select
from sqlalchemy.exc import DBAPIError

from bedplate.errors import Tampered
from bedplate.kernel.event import unseal

from . import tables as t
from .engine import writing
from .merkle import Frontier, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .projector import Projector


def verify_ledger(engine: Engine) -> int:
    """Recompute the whole ledger in one snapshot; returns how many events it holds. `Tampered` names the record."""
    seq = 0
    with engine.connect() as connection, closing(_rows(connection)) as rows, closing(_nodes(connection)) as nodes:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")  # head and events of one snapshot
        frontier = Frontier()
        try:
            for seq, row in enumerate(rows):
                _check(seq, row)
                _check_nodes(nodes, frontier, row.leaf)
            _check_head(connection, frontier)
            _check_blobs(connection)
        except DBAPIError as error:
            raise Tampered(f"the ledger cannot be read at or after event {seq}: {error.orig}") from error
    return frontier.size


def compare_read_tables(engine: Engine, projector: Projector) -> list[str]:
    """Rebuild every read table from the ledger, compare, and put everything back; names the tables that differ."""
    with writing(engine.connect()) as connection, connection.begin() as transaction:
        connection.execute(select(t.head.c.id).with_for_update())  # nobody writes while the two are compared
        before = projector.dump(connection)
        projector.rebuild(connection)
        after = projector.dump(connection)
        transaction.rollback()
    return [name for name, rows in before.items() if rows != after[name]]


def _rows(connection: Connection) -> Generator[Row[*tuple[Any, ...]], None, None]:
    query = select(t.event).order_by(t.event.c.seq)
    with connection.execute(query, execution_options={"stream_results": True}) as found:
        yield from found


def _check(seq: int, row: Row[*tuple[Any, ...]]) -> None:
    if row.seq != seq:
        raise Tampered(f"event {seq} is missing: the next one is event {row.seq}")
    # A flipped bit may have made a number of what was bytes: it is compared only once it is bytes again.
    if not isinstance(row.entry, bytes) or leaf_hash(row.entry) != row.leaf:
        raise Tampered(f"event {seq} was changed: its bytes do not give its leaf")
    try:
        event = unseal(row.entry)
    except Tampered as broken:
        raise Tampered(f"event {seq} was changed: {broken.message}") from broken
    columns = (row.seq, row.id, row.stream, row.version, row.kind, row.actor, row.at)
    if columns != (event.seq, event.id, event.stream, event.version, event.kind, event.actor, event.at):
        raise Tampered(f"event {seq} was changed: its columns do not say what its entry says")


def _nodes(connection: Connection) -> Generator[Row[*tuple[Any, ...]], None, None]:
    """Yield the tree's nodes in the order in which the appends that finished them made them."""
    finished = (t.node.c.index + 1).op("<<")(cast(t.node.c.level, Integer))
    query = select(t.node.c.level, t.node.c.index.label("place"), t.node.c.hash).order_by(finished, t.node.c.level)
    with connection.execute(query, execution_options={"stream_results": True}) as found:
        yield from found


def _check_nodes(nodes: Iterator[Row[*tuple[Any, ...]]], frontier: Frontier, leaf: bytes) -> None:
    seq = frontier.size
    for node in frontier.append(leaf):
        stored = next(nodes, None)
        if stored is None or (stored.level, stored.place, stored.hash) != (node.level, node.index, node.hash):
            raise Tampered(f"the tree over event {seq} was changed, at level {node.level}")


def _check_head(connection: Connection, frontier: Frontier) -> None:
    head = connection.execute(select(t.head)).one_or_none()
    if head is None:
        raise Tampered("the head of the ledger is missing")
    nodes = connection.execute(select(func.count()).select_from(t.node)).scalar_one()
    if head.size != frontier.size or head.frontier != frontier.to_bytes():
        raise Tampered(
            f"the head says {head.size} events, the ledger holds {frontier.size}: its tail was removed or changed"
        )
    if nodes != 2 * frontier.size - frontier.size.bit_count():
        raise Tampered("the tree has nodes that belong to no event")


def _check_blobs(connection: Connection) -> None:
    for digest, content in connection.execute(select(t.blob.c.digest, t.blob.c.content)):
        if not isinstance(content, bytes) or hashlib.sha256(content).hexdigest() != digest:
            raise Tampered(f"the content kept under {digest} was changed")
