"""Read tables of evaluations and measures, prompts, and eval cases that were proposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, insert, select

from bedplate.store.projector import upsert
from bedplate.store.tables import Projection, metadata

if TYPE_CHECKING:
    from bedplate.kernel.event import Event

evaluation = Table(
    "evaluation",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("suite", Text, nullable=False),
    Column("passed", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("lower_permille", Integer, nullable=False),
    Column("results", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("upper_permille", Integer, nullable=False, server_default="1000"),
    Column("purpose", Text, nullable=False, server_default="evals"),  # evals, red-team, trial, import
    Column("name", Text, nullable=False, server_default=""),  # the suite's file
    Index(None, "subject", "seq"),
)
measure = Table(
    "measure",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("release", Text, nullable=False),
    Column("monitor", Text, nullable=False),
    Column("permille", Integer, nullable=False),
    Column("limit", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("breach", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Index(None, "subject", "monitor", "seq"),
    Index(None, "breach", "seq"),
)
prompt = Table(
    "prompt",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("release", Text, nullable=False),
    Column("registered_by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),  # versions are counted in this order
)
prompt_alias = Table(
    "prompt_alias",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("moved_by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)
proposed_case = Table(
    "proposed_case",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("case", Text, primary_key=True),
    Column("feedback", Text, nullable=False),
    Column("call", Text, nullable=False),
    Column("expect", Text, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
)


def _keep(connection: Connection, table: Table, event: Event) -> None:
    row = {"seq": event.seq, "subject": event.stream, "at": event.at, "last_seq": event.seq, **event.data}
    connection.execute(insert(table).values(**row))


def _registered(connection: Connection, event: Event) -> None:
    key = {"subject": event.stream, "id": event.data["prompt"], "digest": event.data["digest"]}
    match = [prompt.c[name] == value for name, value in key.items()]
    if connection.execute(select(prompt.c.digest).where(*match)).first() is not None:
        return  # two releases at once carried it first; a version keeps its number
    values = {"release": event.data["release"], "registered_by": event.actor, "at": event.at, "last_seq": event.seq}
    connection.execute(insert(prompt).values(**key, **values))


def _aliased(connection: Connection, event: Event) -> None:
    key = {"subject": event.stream, "id": event.data["prompt"], "alias": event.data["alias"]}
    values = {"digest": event.data["digest"], "moved_by": event.actor, "at": event.at, "last_seq": event.seq}
    upsert(connection, prompt_alias, key, values)


def _proposed(connection: Connection, event: Event) -> None:
    data = event.data
    values = {name: data[name] for name in ("feedback", "call", "expect")}
    values |= {"proposed_by": event.actor, "at": event.at, "last_seq": event.seq}
    upsert(connection, proposed_case, {"subject": event.stream, "case": data["case"]}, values)


PROJECTION = Projection(
    tables=(evaluation, measure, prompt, prompt_alias, proposed_case),
    handlers={
        "models.evaluation.recorded": lambda connection, event: _keep(connection, evaluation, event),
        "models.measure.recorded": lambda connection, event: _keep(connection, measure, event),
        "models.prompt.registered": _registered,
        "models.prompt.aliased": _aliased,
        "models.case.proposed": _proposed,
    },
)
