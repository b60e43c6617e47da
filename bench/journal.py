"""Append and verify rates of the journal, beside one transaction per record on the same disk. About 20 seconds."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from bedplate.store.journal import Journal, Record
from bedplate.store.shard import TABLES, Shard

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 2.5
ENTRY, CONTENT = b'{"pad":"' + b"x" * 490 + b'"}', b"c" * 500


def record(number: str) -> Record:
    """Return a record of about 1 KiB."""
    return Record(number, ENTRY, time.time_ns() // 1000, "bench", "llm", "allow", "ok", CONTENT)


async def load(journal: Journal, callers: int, name: str) -> list[float]:
    """Return every acknowledgement's latency in seconds, in a closed loop of `callers` for SECONDS."""
    latencies: list[float] = []
    end = time.perf_counter() + SECONDS

    async def call(caller: int) -> None:
        turn = 0
        while (start := time.perf_counter()) < end:
            await journal.append(record(f"{name}-{callers}-{caller}-{turn}"))
            latencies.append(time.perf_counter() - start)
            turn += 1

    await asyncio.gather(*map(call, range(callers)))
    return latencies


def naive(path: Path) -> float:
    """Return the records per second of one durable transaction each."""
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("PRAGMA synchronous = FULL").fetchall()
    db.execute(TABLES).fetchall()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        one = record(f"naive-{done}")
        db.execute(
            "INSERT INTO rec VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (done, one.id, bytes(32), one.entry, one.content, one.at, one.use_case, one.kind, one.verdict, one.status),
        )
        done += 1
    db.close()
    return done / SECONDS


def timed(act: Callable[[], object]) -> float:
    """Return how many seconds `act` takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:
        base = naive(Path(directory, "naive.db"))
        print(f"one transaction per record: {base:,.0f}/s")
        path = Path(directory, "journal.db")
        journal = Journal.open(path, shard="bench")
        for callers in (1, 32, 256):
            report(f"{callers:>3} callers", asyncio.run(load(journal, callers, "quiet")), base)
        busy = threading.Event()
        burner = threading.Thread(target=burn, args=(busy,))
        burner.start()
        report("256 callers, a busy thread", asyncio.run(load(journal, 256, "busy")), base)
        busy.set()
        burner.join()
        size = journal.size
        print(f"seal 65,536 records: {timed(journal.seal):.2f} s")
        journal.close()
        print(f"verify: {size / timed(Shard(path).verify):,.0f} records/s")
        print(f"open: {size / timed(lambda: Journal.open(path, shard='bench').close()):,.0f} records/s, none sealed")


def report(name: str, latencies: list[float], base: float) -> None:
    """Print one line: rate, ratio to the base, latencies."""
    latencies.sort()
    rate, p50, p99 = len(latencies) / SECONDS, latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100]
    print(f"{name}: {rate:,.0f}/s = {rate / base:.1f} x, ack p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms")


def burn(stop: threading.Event) -> None:
    """Keep the interpreter lock busy, as a loaded event loop does."""
    while not stop.is_set():
        sum(range(1000))


if __name__ == "__main__":
    main()
