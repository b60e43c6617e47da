"""The ledger: events appended and verified a second, beside plain inserts into the same database."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from bedplate.bootstrap import open_engine_and_migrate, open_ledger, wall_clock
from bedplate.config import Settings
from bedplate.kernel.event import Draft
from bedplate.store.engine import writing
from bedplate.store.fsck import verify_ledger

if TYPE_CHECKING:
    from collections.abc import Callable

APPENDS, BATCH = 300, 20


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine_and_migrate(Settings(data=Path(folder)))
        ledger, _, _ = open_ledger(engine, wall_clock)
        draft = Draft("kernel.clock.stepped", "ledger", {"back": 1})
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE plain (seq INTEGER PRIMARY KEY, entry BLOB)"))

        def plain(number: int) -> None:
            with writing(engine.connect()) as connection, connection.begin():
                connection.execute(text("INSERT INTO plain VALUES (:n, :e)"), {"n": number, "e": b"x" * 250})

        def append(_number: int) -> None:
            with ledger.transaction() as tx:
                tx.append("bench", [draft], authz={"action": "bench", "digest": ""})

        base = rate(plain, APPENDS)
        one = rate(append, APPENDS)
        with ledger.transaction() as tx:
            began = time.perf_counter()
            for _ in range(APPENDS // BATCH):
                tx.append("bench", [draft] * BATCH, authz={"action": "bench", "digest": ""})
            many = APPENDS / (time.perf_counter() - began)
        began = time.perf_counter()
        events = verify_ledger(engine)
        verified = events / (time.perf_counter() - began)
        assert events == 2 * APPENDS
        print(f"plain insert, one a transaction   {base:8.0f} /s")
        print(f"event, one a transaction          {one:8.0f} /s   {one / base:.2f} of a plain insert")
        print(f"events, {BATCH} at a time in one      {many:8.0f} /s")
        print(f"events verified                   {verified:8.0f} /s")
        engine.dispose()


def rate(do: Callable[[int], None], times: int) -> float:
    """How many a second."""
    began = time.perf_counter()
    for number in range(times):
        do(number)
    return times / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
