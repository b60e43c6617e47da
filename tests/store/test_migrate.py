"""Migrations: they make what the tables say, once, whoever runs them and however many."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

import bedplate.bootstrap
from bedplate.store import tables as t
from bedplate.store.engine import open_engine, refuse_unsafe
from bedplate.store.migrate import migrate

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine
    from tests.conftest import Database
    from tests.postgres import Postgres

SCRIPT = "import sys; from bedplate.store.engine import open_engine; from bedplate.store.migrate import migrate; "
SCRIPT += "migrate(open_engine(sys.argv[1]))"


def differences(engine: Engine) -> list[object]:
    assert bedplate.bootstrap.PROJECTIONS  # every plane's tables are known by now
    with engine.connect() as connection:
        found: list[object] = compare_metadata(MigrationContext.configure(connection), t.metadata)
        return found


def test_migrations_make_the_tables_that_are_declared(engine: Engine) -> None:
    assert differences(engine) == []


def test_migrations_run_twice_change_nothing(engine: Engine) -> None:
    before = inspect(engine).get_table_names()
    migrate(engine)
    assert inspect(engine).get_table_names() == before
    with engine.connect() as connection:
        assert connection.execute(select(t.head.c.size)).scalar_one() == 0
        assert len(connection.execute(text("SELECT version_num FROM alembic_version")).all()) == 1


@pytest.fixture
def bare(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if kind == "sqlite":
        return f"sqlite:///{tmp_path / 'bare.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    name = f"bare_{abs(hash(str(tmp_path)))}"
    server.execute(f"CREATE DATABASE {name}")
    return server.url(name)


def test_processes_that_migrate_at_once_do_it_once(bare: str) -> None:
    running = [subprocess.Popen([sys.executable, "-c", SCRIPT, bare], stderr=subprocess.PIPE) for _ in range(3)]
    told = [process.communicate()[1].decode() for process in running]
    assert [(process.returncode, error) for process, error in zip(running, told, strict=True)] == [(0, "")] * 3
    engine = open_engine(bare)
    try:
        assert differences(engine) == []
        refuse_unsafe(engine)
    finally:
        engine.dispose()


def test_a_migration_that_fails_leaves_nothing(bare: str) -> None:
    engine = open_engine(bare)
    try:
        with engine.connect() as connection, connection.begin():
            connection.execute(text("CREATE TABLE usecase (subject TEXT)"))  # in the way of the last one
        with pytest.raises(Exception, match="usecase"):
            migrate(engine)
        assert inspect(engine).get_table_names() == ["usecase"]
    finally:
        engine.dispose()


def test_the_database_of_a_test_is_its_own(database: Database, engine: Engine) -> None:
    assert database.url.startswith(engine.dialect.name)
