"""Brings a database's tables up to date, one process at a time."""

from __future__ import annotations

from importlib import resources

from sqlalchemy import Engine, text

from .engine import writing

LOCK = 0x62656470  # "bedp": PostgreSQL's advisory lock, for the length of the transaction


def migrate(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction under the writer's lock."""
    from alembic import command  # noqa: PLC0415  costs 200 ms; only `up` and tests migrate
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(resources.files("bedplate.store").joinpath("migrations")))
    with writing(engine.connect()) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
