"""LangGraph's own savers on an installation's data: durable runs for teams that have no place for checkpoints.

```python
with checkpointer("bedplate-data") as saver:          # a folder: a SQLite file of its own in there
with checkpointer("postgresql://...") as saver:       # PostgreSQL: a schema of its own, `bedplate_langgraph`
    graph = builder.compile(checkpointer=saver)
```

Checkpoints hold a thread's messages in clear text: keep them where those may be kept.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple

SCHEMA = "bedplate_langgraph"
FIXED = (3, 51, 3)  # before it, SQLite may lose what several connections wrote to a write-ahead log


class _Connection(sqlite3.Connection):
    """Keeps to the rollback journal where SQLite's write-ahead log cannot be trusted."""

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        if sqlite3.sqlite_version_info < FIXED:
            script = script.replace("PRAGMA journal_mode=WAL;", "")
        return super().executescript(script)


class _Async(BaseCheckpointSaver[str]):
    """The async half of a saver that has only the other: its calls run in threads."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self, config: RunnableConfig | None, *, filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's name
        before: RunnableConfig | None = None, limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:  # fmt: skip
        found = await asyncio.to_thread(lambda: list(self.list(config, filter=filter, before=before, limit=limit)))
        for each in found:
            yield each

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)


class _SqliteSaver(_Async, SqliteSaver):
    """LangGraph's SQLite saver, for sync and async graphs."""


@contextmanager
def checkpointer(where: str | Path) -> Iterator[BaseCheckpointSaver[str]]:
    """Open the checkpoints of an installation: its data folder, or a PostgreSQL URL. For sync and async graphs."""
    place = str(where)
    if "://" in place:
        if not place.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
            raise InvalidInput(
                f"{place.partition('://')[0]} cannot keep checkpoints", hint="a folder, or postgresql://..."
            )
        with _postgres(place.replace("postgresql+psycopg://", "postgresql://", 1)) as saver:
            yield saver
        return
    folder = Path(where)
    if not folder.is_dir():
        raise InvalidInput(f"there is no folder {folder}", hint="name the installation's data folder")
    file = folder / "agents" / "checkpoints.db"
    file.parent.mkdir(exist_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))  # it holds what people wrote
    opened = sqlite3.connect(file, timeout=30, check_same_thread=False, factory=_Connection)
    with closing(opened):
        opened.execute("PRAGMA synchronous=FULL")
        saver = _SqliteSaver(opened)
        saver.setup()
        yield saver


@contextmanager
def _postgres(url: str) -> Iterator[BaseCheckpointSaver[str]]:
    from langgraph.checkpoint.postgres import PostgresSaver  # noqa: PLC0415  only those who use it need it
    from psycopg import Connection  # noqa: PLC0415  as above
    from psycopg.rows import DictRow, dict_row  # noqa: PLC0415  as above
    from psycopg_pool import ConnectionPool  # noqa: PLC0415  as above

    class Saver(_Async, PostgresSaver):
        """LangGraph's PostgreSQL saver, for sync and async graphs."""

    with Connection.connect(url, autocommit=True) as first:
        first.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    how = {
        "autocommit": True, "prepare_threshold": 0, "row_factory": dict_row,
        "options": f"-c search_path={SCHEMA} -c synchronous_commit=on",
    }  # fmt: skip
    with ConnectionPool(url, kwargs=how, min_size=1, max_size=8, open=True) as pool:
        saver = Saver(cast("ConnectionPool[Connection[DictRow]]", pool))
        saver.setup()
        yield saver
