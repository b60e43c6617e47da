"""The whole comparison: what is started, in which order it is measured, and what is printed."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bedplate.sdk import Client

from . import peers, report, scenarios
from .compare import Target, compare, warm
from .goal import KEYS, USE_CASES, Found, goals
from .load import GENERATOR
from .memory import growth
from .organisation import ASSURED, ROUTINE, found, populate
from .process import Process, free_ports
from .suspension import suspension

PARTS = Path(__file__).parent
COPIES = ("safe", "loaded", "many")  # of the installation that is founded
PATIENCE_S = 180  # for a slow start on a busy machine


class Bench:
    """Starts what is compared, and measures it. All of it ends with the stack."""

    def __init__(self, options: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
        self._options, self._folder, self._stack = options, folder, stack
        self._ports = free_ports(8)
        self._upstream = self._ports.pop()
        self._url = f"http://127.0.0.1:{self._upstream}/v1"
        self._keys: dict[str, str] = {}
        self._code = ""  # the owner's invitation: good once in each copy
        self._found = Found()

    def run(self) -> Found:
        """Measure everything, and print each table when it is there."""
        options, figures = self._options, self._found
        targets = self._started()
        for target in targets:
            warm(target, self._upstream)
        for scenario in scenarios.ALL:
            if any(part in scenario.name for part in options.only):
                figures.tables[scenario.name] = compare(scenario, targets, self._upstream, options.turns)
                report.table(scenario, figures.tables[scenario.name])
        fast = next(target for target in targets if target.name == scenarios.FAST)
        figures.growth = growth(fast, self._upstream, options.calls)
        for target in targets:
            if target.process is not None:
                figures.resident[target.name] = max(target.process.resident().values())
        if options.loaded:
            self._loaded(fast)
        many = self._bedplate("many", BEDPLATE_PROCESSES=str(options.processes))
        self._suspended(f"{options.processes} processes", many, options.processes)
        return figures

    def _started(self) -> list[Target]:
        """Start everything, the slowest first."""
        bare = self._peer(peers.BARE)
        python = str(bare / "python") if bare else sys.executable
        self._start("upstream", [python, str(PARTS / "upstream.py"), str(self._upstream)], self._upstream).ready()
        targets = [Target(scenarios.DIRECT, self._upstream)]
        lite = None if self._options.without_litellm else self._peer(peers.LITELLM)
        if lite:
            config = peers.litellm_config(self._folder, self._url)
            command, port = [str(lite / "litellm"), "--config", str(config), "--host", "127.0.0.1"], self._ports.pop()
            process = self._start("litellm", [*command, "--port", str(port)], port, peers.QUIET, "/health/liveliness")
            targets.append(Target(scenarios.LITELLM, port, peers.MASTER_KEY, process, (peers.FILTER,), slow=True))
        if bare:
            command, port = [python, "-m", "uvicorn", "passthrough:app", "--app-dir", str(PARTS)], self._ports.pop()
            command += ["--http", "httptools", "--loop", "asyncio", "--no-access-log", "--log-level", "error"]
            process = self._start("bare", [*command, "--port", str(port)], port, {"UPSTREAM": self._url})
            targets.append(Target(scenarios.BARE, port, process=process))
        self._keys, self._code = found(self._folder / "fast", self._url)
        for copy in COPIES:  # before anything runs on it
            shutil.copytree(self._folder / "fast", self._folder / copy)
        fast, safe = self._bedplate("fast"), self._bedplate("safe", BEDPLATE_HTTP="safe")
        targets += [self._governed(scenarios.FAST, fast), self._governed(scenarios.REDACT, fast, ASSURED)]
        targets.append(self._governed(scenarios.SAFE, safe))
        for target in targets:
            if target.process is not None:
                target.process.ready(PATIENCE_S)
        return targets

    def _peer(self, packages: tuple[str, ...]) -> Path | None:
        try:
            return peers.environment(packages)
        except OSError as wrong:
            print(f"left out: {wrong}")
            return None

    def _bedplate(self, name: str, **settings: str) -> Process:
        """Start it as a user does, on the copy of that name."""
        told = {"BEDPLATE_UPSTREAM_URL": self._url, "BEDPLATE_UPSTREAM_MODEL": "gpt-4o-mini", "BEDPLATE_DATABASE": ""}
        port = self._ports.pop()
        command = [sys.executable, "-m", "bedplate", "up", "--data", str(self._folder / name), "--port", str(port)]
        return self._start(name, command, port, {**told, **settings}, "/readyz")

    def _governed(self, name: str, process: Process, use_case: str = ROUTINE) -> Target:
        return Target(name, process.port, self._keys[use_case], process)

    def _start(
        self, name: str, command: list[str], port: int, told: dict[str, str] | None = None, path: str = "/"
    ) -> Process:
        return self._stack.enter_context(Process(command, port, self._folder / f"{name}.log", told, path))

    def _loaded(self, fast: Target) -> None:
        """Measure beside the small installation one with ten thousand keys and a thousand live use cases."""
        began = time.monotonic()
        populate(self._folder / "loaded", self._url, USE_CASES, KEYS)
        made = time.monotonic() - began
        process = self._bedplate("loaded").ready(PATIENCE_S)
        up = time.monotonic() - began - made
        print(f"\n{USE_CASES:,} use cases and {KEYS:,} keys were made in {made:.0f} s; up with them in {up:.1f} s")
        loaded = self._governed(scenarios.LOADED, process)
        warm(loaded, self._upstream)
        scenario = scenarios.LOADED_MANY
        figures = compare(scenario, [fast, loaded], self._upstream, self._options.turns + 2)
        report.table(scenario, figures)
        self._found.loaded = figures[loaded.name].rate / figures[fast.name].rate
        self._found.resident[loaded.name] = max(process.resident().values())
        self._suspended(f"{USE_CASES:,} use cases", process, 1)

    def _suspended(self, what: str, process: Process, processes: int) -> None:
        target = self._governed(scenarios.FAST, process.ready(PATIENCE_S))
        owner = Client(f"http://127.0.0.1:{process.port}")
        owner.login(code=self._code)
        self._found.suspended[what] = suspension(target, owner, ROUTINE, processes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/gateway.py", description=__doc__)
    parser.add_argument("--without-litellm", action="store_true", help="leave LiteLLM out")
    parser.add_argument("--loaded", action="store_true", help="also with 10,000 keys and 1,000 use cases (2 minutes)")
    parser.add_argument("--calls", type=int, default=20_000, help="over which memory is watched")
    parser.add_argument("--only", nargs="+", default=[""], metavar="LOAD", help="loads with this in their name")
    parser.add_argument("--processes", type=int, default=2, help="of Bedplate, to suspend under load")
    parser.add_argument("--turns", type=int, default=3, help="of each target under each load; medians are printed")
    parser.add_argument("--folder", type=Path, help="where records are written; its disk is part of what is measured")
    options = parser.parse_known_args()[0]
    if not sys.platform.startswith("linux"):
        print("this reads /proc, so it runs on Linux only")
        return
    began, busy = time.monotonic(), os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, load {busy:.1f}; calls by {GENERATOR}")
    where = tempfile.TemporaryDirectory(prefix="bedplate-bench-", dir=options.folder, ignore_cleanup_errors=True)
    with where as folder, ExitStack() as stack:
        figures = Bench(options, Path(folder), stack).run()
    report.resident(figures.resident)
    report.goals(goals(figures))
    print(f"\n{time.monotonic() - began:.0f} s, load at the end {os.getloadavg()[0]:.1f}")
