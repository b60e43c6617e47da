"""Console pages and `bedplate status` over 1,000 use cases, 10,000 releases and 1 million events: p95 at most 150 ms.

Fills SQLite through the ledger's own sealing and copies it into PostgreSQL; serves in this process, over ASGI, signed
in as somebody of the CoE. Some ten minutes. `--small` fills a fiftieth, to see whether it runs; `--keep FOLDER` keeps
what was filled, and uses it when it is there.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.parts.filled import copy, fill
from tests.postgres import Postgres

from bedplate.bootstrap import open_engine_and_migrate, open_installation
from bedplate.config import Settings
from bedplate.console.app import PLANES
from bedplate.people.actions import sign_in
from bedplate.serve import create_for
from bedplate.store.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from sqlalchemy import Engine
    from starlette.types import ASGIApp

BUDGET_MS, TIMES = 150, 30
MORE = ("/use-cases?page=5", "/use-cases?text=case%200999", "/approvals?state=any", "/incidents?state=open")
API = (
    "/api/use-cases",
    "/api/flow",
    "/api/flow/dora",
    "/api/incidents",
    "/api/approvals",
)  # the first is `bedplate status`
APART = {"/palette", "/tail", "/sign-in", "/flow/options"}  # no list, or seconds of work that somebody asks for


def main() -> None:
    """Fill, serve, measure and print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--small", action="store_true")
    asked.add_argument("--keep", type=Path)
    asked.add_argument("--only", choices=("sqlite", "postgresql"))
    asked.add_argument("--pages", nargs="*")
    given = asked.parse_args()
    scale = 50 if given.small else 1
    with tempfile.TemporaryDirectory() as made:
        folder = given.keep or Path(made)
        token_file = folder / "token"
        if not token_file.exists():
            began = time.perf_counter()
            _, token = fill(
                folder, cases=1_000 // scale, releases=10_000 // scale, events=1_000_000 // scale, say=print
            )
            token_file.write_text(token)
            print(f"filled in {time.perf_counter() - began:.0f} s")
        settings, token = Settings(data=folder), token_file.read_text()
        pages = given.pages or addresses()
        missed = 0
        if given.only != "postgresql":
            missed += asyncio.run(measure("sqlite", settings, token, pages))
        if given.only != "sqlite":
            missed += on_postgresql(settings, token, pages)
        sys.exit(1 if missed else 0)


def addresses() -> list[str]:
    """Return every page that needs nothing in its address, some with a query, and the API behind `bedplate status`."""
    own = [p.path for plane in PLANES for p in plane.PAGES if p.method == "GET" and "{" not in p.path]
    return [*(path for path in own if path not in APART and "." not in path), *MORE, *API]


def on_postgresql(settings: Settings, token: str, pages: list[str]) -> int:
    """Copy what was filled into a server of our own, and measure there."""
    server = Postgres()
    try:
        server.execute("CREATE DATABASE filled")
        began = time.perf_counter()
        target = settings.model_copy(update={"database": server.url("filled")})
        engine = open_engine_and_migrate(target)
        source = open_engine(settings.database_url)
        copy(source, engine)
        analyse(engine)
        print(f"copied in {time.perf_counter() - began:.0f} s")
        for one in (source, engine):
            one.dispose()
        return asyncio.run(measure("postgresql", target, token, pages))
    finally:
        server.remove()


def analyse(engine: Engine) -> None:
    """Let the planner know what is there, as the server's own autovacuum soon would."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")


async def measure(name: str, settings: Settings, token: str, pages: list[str]) -> int:
    """Ask for every page in turn; returns how many missed their budget."""
    began = time.perf_counter()
    at = open_installation(settings)
    assert not at.faults, at.faults
    token = sign_in(at.governor, "jonas.weber", "session").text
    app = create_for(at)
    at.follower.look()
    gc.collect()
    gc.freeze()  # as the server does once it is up
    print(f"\n{name}: {at.ledger.size():,} events, opened and verified in {time.perf_counter() - began:.0f} s")
    print(f"{'page':34} {'p50 ms':>8} {'p95 ms':>8}  of {BUDGET_MS} ms")
    missed = 0
    for page in pages:
        times = []
        status = 0
        for _ in range(TIMES + 2):
            start = time.perf_counter()
            status = await ask(app, page, token)
            times.append(1000 * (time.perf_counter() - start))
        times = sorted(times[2:])  # templates are compiled when they are first shown
        p50, p95 = times[len(times) // 2], times[-(-len(times) * 95 // 100) - 1]
        verdict = f"HTTP {status}" if status != 200 else "reached" if p95 <= BUDGET_MS else "MISSED"
        missed += verdict == "MISSED"
        print(f"{page:34} {p50:8.1f} {p95:8.1f}  {verdict}", flush=True)
    await at.close()
    return missed


async def ask(app: ASGIApp, address: str, token: str) -> int:
    """Send one request through the whole application; returns its status."""
    path, _, query = address.partition("?")
    headers = [(b"host", b"bench"), (b"cookie", f"bedplate_session={token}".encode())]
    headers.append((b"authorization", f"Bearer {token}".encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("bench", 80),
    }
    told: list[MutableMapping[str, Any]] = []
    gone = asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        if not told:
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message)

    await app(scope, receive, send)
    gone.set()
    return int(told[0]["status"])


if __name__ == "__main__":
    main()
