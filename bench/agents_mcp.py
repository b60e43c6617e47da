"""What the MCP proxy costs: the same calls straight to a server, through Bedplate, and through a framework's proxy.

The server is the official SDK's, in a process of its own; so are the proxies. Prints the median of one call after the
other, and calls a second with 100 at once. `fastmcp` is compared where it is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.parts.paying import prepared  # noqa: E402  the path comes first

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "read_invoice",
}
ADDED_MS, SHARE = 3.0, 60
RUNS = 50  # that the calls are spread over: a run has its limits
PROXY = """
import sys
from fastmcp import FastMCP, Client
from fastmcp.server import create_proxy
proxy = create_proxy(sys.argv[1])
proxy.run(transport="http", host="127.0.0.1", port=int(sys.argv[2]), stateless_http=True, show_banner=False)
"""


def main() -> int:
    """Start what is compared, measure and print; 1 if a figure was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=400, help="one after the other; four times as many at once")
    parser.add_argument("--fastmcp", default=sys.executable, help="a Python that has it, if this one has not")
    given = parser.parse_args()
    calls = given.calls
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        server, ours = _free(), _free()
        _start(running, [sys.executable, str(ROOT / "tests/agents/mcp/everything.py"), str(server)], server)
        direct = f"http://127.0.0.1:{server}/mcp"
        key = prepared(Path(folder), direct)
        environment = {**os.environ, "BEDPLATE_DATA": f"{folder}/data", "BEDPLATE_TOOLS": f"{folder}/tools.yaml"}
        command = [sys.executable, "-m", "bedplate", "up", "--port", str(ours)]
        _start(running, command, ours, environment)
        ways = [("direct", direct, ""), ("Bedplate", f"http://127.0.0.1:{ours}/mcp/every", key)]
        if _has(given.fastmcp, "fastmcp"):
            other = _free()
            _start(running, [given.fastmcp, "-c", PROXY, direct, str(other)], other)
            ways.append(("FastMCP proxy", f"http://127.0.0.1:{other}/mcp", ""))
        found = {}
        print(f"{'way':16} {'p50 ms':>8} {'p95 ms':>8} {'calls/s at 100':>15}")
        for name, url, key in ways:
            found[name] = asyncio.run(measured(url, key, calls))
            print(f"{name:16} {found[name][0]:8.2f} {found[name][1]:8.2f} {found[name][2]:15.0f}")
    added, share = found["Bedplate"][0] - found["direct"][0], found["Bedplate"][2] / found["direct"][2] * 100
    reached = added <= ADDED_MS and share >= SHARE
    print(f"added {added:.2f} ms (at most {ADDED_MS}), {share:.0f} % of its calls/s (at least {SHARE}): "
          f"{'reached' if reached else 'MISSED'}")  # fmt: skip
    return 0 if reached else 1


async def measured(url: str, key: str, calls: int) -> tuple[float, float, float]:
    """Return p50 and p95 of one call after the other, in ms, and calls a second with 100 at once."""
    headers = {**HEADERS, **({"authorization": f"Bearer {key}"} if key else {})}
    connector = aiohttp.TCPConnector(limit=100)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        for number in range(30):
            await _call(session, url, number)
        took = []
        for number in range(calls):
            began = time.perf_counter()
            await _call(session, url, number)
            took.append((time.perf_counter() - began) * 1000)
        left = iter(range(calls * 4))

        async def some() -> None:
            for number in left:
                await _call(session, url, number)

        began = time.perf_counter()
        await asyncio.gather(*(some() for _ in range(100)))
        rate = calls * 4 / (time.perf_counter() - began)
    took.sort()
    return statistics.median(took), took[int(len(took) * 0.95)], rate


async def _call(session: aiohttp.ClientSession, url: str, number: int) -> None:
    meta = {**META, "io.bedplate/run": f"bench-{number % RUNS}"}
    params = {"name": "read_invoice", "arguments": {"number": number}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    async with session.post(url, data=json.dumps(body)) as answer:
        text = await answer.text()
        if answer.status != 200 or '"isError":true' in text.replace(" ", "") or "Invoice" not in text:
            raise SystemExit(f"{url}: {answer.status} {text[:400]}")


def _start(running: ExitStack, command: list[str], port: int, environment: dict[str, str] | None = None) -> None:
    process = running.enter_context(
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    )
    running.callback(process.kill)
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"{command} does not come up")


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _has(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
