"""The read tables of indexed sources, data contracts and their checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, delete, insert, select, update

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.event import Event, Value

source = Table(
    "source",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("passages", Integer, nullable=False),
    Column("files", Integer, nullable=False),
    Column("personal", Text, nullable=False),
    Column("indexed_at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
contract = Table(
    "contract",
    metadata,
    Column("id", Text, primary_key=True),
    Column("title", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("mend_days", Integer, nullable=False),
    Column("spec", Text, nullable=False),  # digest of the contract as it is read
    Column("file", Text, nullable=False),  # digest of the file as it was sent
    Column("declared_by", Text, nullable=False),
    Column("declared_at", BigInteger, nullable=False),
    Column("failing_since", BigInteger, nullable=False),  # 0 while nothing fails
    Column("last_seq", BigInteger, nullable=False),
)
contract_check = Table(
    "contract_check",
    metadata,
    Column("contract", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("place", Integer, nullable=False),
    Column("dimension", Text, nullable=False),
    Column("fresh_hours", Integer, nullable=False),
    Column("outcome", Text, nullable=False),  # of the last result; "" while there is none
    Column("value", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("run", Text, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
contract_run = Table(
    "contract_run",
    metadata,
    Column("contract", Text, primary_key=True),
    Column("run", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("reported_by", Text, nullable=False),
    Column("reported_at", BigInteger, nullable=False),
    Column("passed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "contract", "at"),
)
contract_use = Table(
    "contract_use",
    metadata,
    Column("contract", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("last_seq", BigInteger, nullable=False),
)


def _indexed(connection: Connection, event: Event) -> None:
    data = event.data
    values = {
        "name": data["source"],
        "passages": data["passages"],
        "files": data["files"],
        "personal": data["personal"],
    }
    key = {"subject": event.stream, "version": data["version"]}
    upsert(connection, source, key, {**values, "indexed_at": event.at, "last_seq": event.seq})


def _declared(connection: Connection, event: Event) -> None:
    """Take the contract and its checks over; a check of the same name and dimension keeps its last result."""
    data, known = event.data, event.stream.partition("/")[2]
    plain = ("title", "owner", "domain", "description", "source", "mend_days", "spec", "file")
    values: dict[str, object] = {name: data[name] for name in plain}
    values |= {"declared_by": event.actor, "declared_at": event.at, "last_seq": event.seq}
    where = contract_check.c.contract == known
    before = {row.name: row for row in connection.execute(select(contract_check).where(where)).all()}
    connection.execute(delete(contract_check).where(where))
    for place, (name, dimension, fresh_hours) in enumerate(_rows(data, "checks")):
        old = before.get(str(name))
        kept = old is not None and old.dimension == dimension
        connection.execute(
            insert(contract_check).values(
                contract=known,
                name=name,
                place=place,
                dimension=dimension,
                fresh_hours=fresh_hours,
                outcome=old.outcome if old is not None and kept else "",
                value=old.value if old is not None and kept else "",
                rows=old.rows if old is not None and kept else 0,
                at=old.at if old is not None and kept else 0,
                run=old.run if old is not None and kept else "",
                last_seq=event.seq,
            )
        )
    upsert(connection, contract, {"id": known}, {**values, "failing_since": _failing_since(connection, event)})


def _checked(connection: Connection, event: Event) -> None:
    data, known = event.data, event.stream.partition("/")[2]
    at, rows = int(str(data["checked_at"])), _rows(data, "results")
    for name, outcome, value, count in rows:
        connection.execute(
            update(contract_check)
            .where(contract_check.c.contract == known, contract_check.c.name == name, contract_check.c.at <= at)
            .values(outcome=outcome, value=value, rows=count, at=at, run=data["run"], last_seq=event.seq)
        )
    failed = sum(row[1] == "failed" for row in rows)
    values = {"at": at, "reported_by": event.actor, "reported_at": event.at, "digest": data["digest"]}
    values |= {"passed": len(rows) - failed, "failed": failed, "last_seq": event.seq}
    upsert(connection, contract_run, {"contract": known, "run": data["run"]}, values)
    since = _failing_since(connection, event)
    connection.execute(update(contract).where(contract.c.id == known).values(failing_since=since, last_seq=event.seq))


def _relied(connection: Connection, event: Event) -> None:
    connection.execute(delete(contract_use).where(contract_use.c.subject == event.stream))
    contracts = event.data["contracts"]
    for one in contracts if isinstance(contracts, list) else ():
        if isinstance(one, dict):
            values = {"contract": one["contract"], "subject": event.stream, "last_seq": event.seq}
            connection.execute(insert(contract_use).values(**values))


def _failing_since(connection: Connection, event: Event) -> int:
    known = event.stream.partition("/")[2]
    where = (contract_check.c.contract == known) & (contract_check.c.outcome == "failed")
    if connection.execute(select(contract_check.c.name).where(where).limit(1)).first() is None:
        return 0
    before = connection.execute(select(contract.c.failing_since).where(contract.c.id == known)).scalar_one_or_none()
    return int(before or event.at)


def _rows(data: Mapping[str, Value], name: str) -> list[list[Value]]:
    found = data[name]
    return [row for row in found if isinstance(row, list)] if isinstance(found, list) else []


PROJECTION = Projection(
    tables=(source, contract, contract_check, contract_run, contract_use),
    handlers={
        "data.source.indexed": _indexed,
        "data.contract.declared": _declared,
        "data.contract.checked": _checked,
        "data.contract.relied": _relied,
    },
)
