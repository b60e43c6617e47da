"""The official MCP conformance suite, straight to a server of the official SDK and through the proxy, side by side.

The suite is an npm package, needs Node 22 or newer, and both can be had in one folder, which `--modules` names:
`npm install @modelcontextprotocol/conformance@0.2.0-alpha.12 node@24`.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.agents_mcp import _free, _start  # noqa: E402  the path comes first
from bench.parts.paying import prepared  # noqa: E402  as above

from bedplate.bootstrap import open_installation  # noqa: E402  as above
from bedplate.config import Settings  # noqa: E402  as above
from bedplate.serve import create_for  # noqa: E402  as above

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

WANTED = {"2025-11-25": 73, "2026-07-28": 41}  # checks of 0.2.0-alpha.12
TOTAL = re.compile(r"Total: (\d+) passed, (\d+) failed")


def main() -> int:
    """Run both revisions both ways and print; 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", type=Path, help="the folder node_modules")
    modules = parser.parse_args().modules
    if modules is None:
        print("left out: --modules names the folder node_modules with the suite and Node in it")
        return 0
    suite = [str(modules / "node/bin/node"), str(modules / "@modelcontextprotocol/conformance/dist/index.js")]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        port = _free()
        _start(running, [sys.executable, str(ROOT / "tests/agents/mcp/everything.py"), str(port)], port)
        direct = f"http://127.0.0.1:{port}/mcp"
        key = prepared(
            Path(folder), direct, "{resources: ['test://*'], prompts: ['*'], asks: [sampling, elicitation, roots]}"
        )
        proxy = running.enter_context(served(Path(folder), key))
        print(f"{'revision':12} {'direct':>8} {'proxy':>8}")
        good = True
        for revision, wanted in WANTED.items():
            ways = [_passed(suite, url, revision) for url in (direct, proxy)]
            good = good and ways == [(wanted, 0)] * 2
            print(f"{revision:12} " + " ".join(f"{passed:>4}/{passed + failed:<3}" for passed, failed in ways))
    return 0 if good else 1


@contextlib.contextmanager
def served(folder: Path, key: str) -> Iterator[str]:
    """Serve the installation to a client that cannot be given a key: it is put in for it."""
    at = open_installation(Settings(data=folder / "data", tools=str(folder / "tools.yaml")))
    app, secret = create_for(at), (b"authorization", b"Bearer " + key.encode())

    async def keyed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not any(name == b"authorization" for name, _ in scope["headers"]):
            scope = {**scope, "headers": [*scope["headers"], secret]}
        await app(scope, receive, send)

    port = _free()
    server = uvicorn.Server(uvicorn.Config(keyed, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            threading.Event().wait(0.05)
        yield f"http://127.0.0.1:{port}/mcp/every"
    finally:
        server.should_exit = True
        thread.join()


def _passed(suite: list[str], url: str, revision: str) -> tuple[int, int]:
    command = [*suite, "server", "--url", url, "--spec-version", revision]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = TOTAL.search(done.stdout)
    if found is None:
        raise SystemExit(f"the suite said no total:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    sys.exit(main())
