"""The database engine: SQLite by default, PostgreSQL by URL. Durable or not at all."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

from bedplate.errors import BedplateError, Full, InvalidInput, Unavailable

if TYPE_CHECKING:
    from psycopg.abc import RV, PQGen
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import ConnectionPoolEntry

WAL_IS_SAFE_FROM = (3, 51, 3)  # before it, two connections that checkpoint can lose commits (the WAL-reset bug)
BUSY_MS = 15_000
ANSWER_S = 20.0  # after its own limit of 15 s, a PostgreSQL that still says nothing never will


def open_engine(url: str) -> Engine:
    """Open an engine on `sqlite:///path` or `postgresql+psycopg://...`; refuses a server that may lose commits."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(url)
    if parsed.get_backend_name() == "postgresql":
        return _postgresql(url)
    raise InvalidInput(f"unknown database {parsed.get_backend_name()}", hint="use sqlite:///... or postgresql://...")


def writing(connection: Connection) -> Connection:
    """Mark a connection so that its transaction takes the writer's lock when it begins."""
    return connection.execution_options(bedplate_writes=True)


def readable(error: DBAPIError) -> BedplateError:
    """Say in our words why the database failed."""
    told = str(error.orig)
    if "disk is full" in told or "No space left" in told:
        return Full(
            "the disk is full; nothing acknowledged was lost", hint="free some space; writing resumes by itself"
        )
    return Unavailable(f"the database cannot be used now: {told.strip()}", hint="try again; see bedplate doctor")


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False})
    wal = sqlite3.sqlite_version_info >= WAL_IS_SAFE_FROM

    @event.listens_for(engine, "connect")
    def prepare(dbapi: Any, _record: ConnectionPoolEntry) -> None:  # noqa: ANN401  sqlite3's own connection
        dbapi.isolation_level = None  # we say BEGIN ourselves
        for pragma in (f"journal_mode={'WAL' if wal else 'DELETE'}", "synchronous=FULL", f"busy_timeout={BUSY_MS}"):
            dbapi.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("bedplate_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: str) -> Engine:
    import psycopg  # noqa: PLC0415  only those who use it pay for it

    class Bounded(psycopg.Connection[Any]):
        """Gives up a server that is there but silent: its own limits do not count while it is stopped."""

        def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
            try:
                return super().wait(gen, interval, timeout or ANSWER_S)
            except psycopg.OperationalError:
                if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    self.pgconn.finish()  # an answer that came later would be taken for the next question's
                raise

    parsed = make_url(url).set(drivername="postgresql+psycopg")
    engine = create_engine(parsed, pool_pre_ping=True, connect_args={"connect_timeout": 5})

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, arguments: list[Any], named: dict[str, Any]) -> Bounded:
        return Bounded.connect(*arguments, **named)

    @event.listens_for(engine, "connect")
    def prepare(dbapi: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        cursor = dbapi.cursor()
        for setting in ("synchronous_commit = on", "statement_timeout = '15s'", "lock_timeout = '15s'"):
            cursor.execute(f"SET {setting}")
        cursor.close()
        dbapi.commit()

    return engine


def refuse_unsafe(engine: Engine) -> None:
    """Refuse a PostgreSQL server that may lose what it acknowledged, or is too old."""
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        settings = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("server_version_num", "fsync", "full_page_writes")
        }
    if int(settings["server_version_num"]) < 140000:  # noqa: PLR2004  PostgreSQL writes 14.0 so
        raise InvalidInput("PostgreSQL 14 or newer is needed")
    for name in ("fsync", "full_page_writes"):
        if settings[name] != "on":
            raise InvalidInput(
                f"PostgreSQL runs with {name} = {settings[name]} and may lose commits", hint=f"set {name} = on"
            )
