"""LangGraph's savers on an installation's data: durable, private, and beside the rest."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("langgraph.checkpoint.sqlite")

from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from sqlalchemy import create_engine, text

from bedplate import errors
from bedplate.sdk.checkpoint import FIXED, SCHEMA, checkpointer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres import Postgres

THREAD: Any = {"configurable": {"thread_id": "t"}}


def graph(saver: Any) -> Any:
    builder: Any = StateGraph(dict)
    builder.add_node("ask", lambda _: {"said": interrupt("well?")})
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


def goes_on(where: str | Path) -> None:
    """Park a graph in one saver, go on with it in another, sync and async, and forget it."""
    with checkpointer(where) as saver:
        assert graph(saver).invoke({"asked": 1}, THREAD)["__interrupt__"][0].value == "well?"

    async def later() -> None:
        with checkpointer(where) as saver:
            assert (await graph(saver).ainvoke(Command(resume="yes"), THREAD))["said"] == "yes"
            assert [s async for s in graph(saver).aget_state_history(THREAD)]
            await saver.adelete_thread("t")
            assert not [s async for s in graph(saver).aget_state_history(THREAD)]

    asyncio.run(later())


def test_a_file_of_its_own_in_the_data_folder(tmp_path: Path) -> None:
    goes_on(tmp_path)
    file = tmp_path / "agents" / "checkpoints.db"
    assert file.stat().st_mode & 0o077 == 0
    with sqlite3.connect(file) as opened:
        [mode] = opened.execute("PRAGMA journal_mode").fetchone()
    opened.close()
    assert mode == ("wal" if sqlite3.sqlite_version_info >= FIXED else "delete")


def test_where_it_cannot_be_is_said(tmp_path: Path) -> None:
    for where, said in ((tmp_path / "none", "no folder"), ("mysql://x", "mysql cannot")):
        with pytest.raises(errors.InvalidInput, match=said) as wrong, checkpointer(where):
            pass
        assert wrong.value.hint


@pytest.mark.postgres
def test_a_schema_of_its_own_in_postgresql(postgres: Postgres) -> None:
    postgres.execute("CREATE DATABASE langgraph_checkpoints")
    url = postgres.url("langgraph_checkpoints")
    goes_on(url)
    goes_on(url)  # it is there already
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT DISTINCT table_schema FROM information_schema.tables"))
        assert {schema for (schema,) in found} == {SCHEMA, "information_schema", "pg_catalog"}
    engine.dispose()
