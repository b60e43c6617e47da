"""Brings a database's tables up to date, one process at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import resources

from sqlalchemy import Engine, inspect, text

from bedplate.errors import Unavailable

from .engine import open_engine, writing

LOCK = 0x62656470  # "bedp": PostgreSQL's advisory lock, for the length of the transaction
DATABASE = "BEDPLATE_MIGRATE_DATABASE"  # by environment: an address may hold a password, and arguments are public


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction under the writer's lock; nothing if there are none."""
    if current(engine) == newest():
        return
    from alembic import command  # noqa: PLC0415  12 MB that a serving process has no use for
    from alembic.config import Config  # noqa: PLC0415  as above

    config = Config()
    config.set_main_option("script_location", str(resources.files("bedplate.store").joinpath("migrations")))
    with writing(engine.connect()) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def migrate_apart(engine: Engine) -> None:
    """Do as `migrate`, in a process of its own, which takes Alembic's memory with it when it ends."""
    if current(engine) == newest():
        return
    environment = {**os.environ, DATABASE: engine.url.render_as_string(hide_password=False)}
    done = subprocess.run(
        [sys.executable, "-m", "bedplate.store.migrate"], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = done.stderr.strip().splitlines()
        raise Unavailable(f"the database cannot be brought up to date: {told[-1] if told else 'no word why'}")


def current(engine: Engine) -> str:
    """Return the revision a database is at; "" for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none() or "")


def newest() -> str:
    """Return the revision this version of Bedplate needs: the number its last migration file begins with."""
    folder = resources.files("bedplate.store").joinpath("migrations", "versions")
    return max(file.name.partition("_")[0] for file in folder.iterdir() if file.name[:1].isdigit())


if __name__ == "__main__":
    migrate(open_engine(os.environ[DATABASE]))
