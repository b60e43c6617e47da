"""Runs the console blocks of the README: `person$ command` lines, each as that person, against a real server.

`python -m tests.docs.walkthrough` prints every command with its output, to be pasted into the README.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMPT = re.compile(r"^(?P<who>[a-z.]+)\$ (?P<command>.+?)(?:\s+# exit (?P<status>\d))?$")


@dataclass(frozen=True)
class Step:
    who: str
    command: str
    status: int
    output: str = ""


def steps(text: str) -> list[Step]:
    """The commands of every ```console block, with the exit status each announces (0 unless said)."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        prompts = filter(None, map(PROMPT.match, block.splitlines()))
        found += [Step(p["who"], p["command"], int(p["status"] or 0)) for p in prompts]
    return found


class Walk:
    """A workspace, a server, and a home for each person."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.kept: dict[str, str] = {}
        shutil.copytree(ROOT / "examples" / "harbour-mutual", folder / "examples")

    def run(self, step: Step) -> Step:
        """Run one command; `up` is started and left running."""
        command = step.command
        for name, value in self.kept.items():
            command = command.replace(f"${name}", value)
        if command.endswith("&"):
            self._start(command.rstrip("& "), step.who)
            return step
        environment = self._environment(step.who)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self._keep(done.stdout + done.stderr)
        if invited := re.match(r"bedplate invite (?P<name>[a-z]+)\.", command):
            self.kept[f"{invited['name'].upper()}_CODE"] = re.findall(
                r"bpi_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", done.stdout
            )[0]
        return Step(step.who, step.command, done.returncode, done.stdout + done.stderr)

    def close(self) -> None:
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            self.server.wait(20)

    def _start(self, command: str, who: str) -> None:
        program = ["bash", "-c", f"exec {command}"]
        self.server = subprocess.Popen(
            program, cwd=self.folder, env=self._environment(who), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("the server did not come up")

    def _environment(self, who: str) -> dict[str, str]:
        home = self.folder / "homes" / who
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "BEDPLATE_CONFIG_HOME": str(home),
            "BEDPLATE_URL": f"http://127.0.0.1:{self.port}",
            "BEDPLATE_PORT": str(self.port),
            "NO_COLOR": "1",
            "COLUMNS": "110",
            **{k: v for k, v in os.environ.items() if k.startswith("COVERAGE") or k == "COV_CORE_SOURCE"},
        }

    def _keep(self, output: str) -> None:
        """Remember what later commands refer to: codes, approvals, keys and call ids."""
        for name, pattern in (
            ("KEY", r"bpk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}"),
            ("APPROVAL", r"(?:(?<=bedplate approve )|(?<=approval ))[0-9a-f-]{36}"),
            ("CALL", r"(?<=x-bedplate-call-id: )[0-9a-f-]{36}"),
            ("INCIDENT", r"(?m)^id +([0-9a-f-]{36})$"),
        ):
            if found := re.findall(pattern, output):
                self.kept[name] = found[-1]


def main() -> None:
    walk = Walk(Path(tempfile.mkdtemp()))
    try:
        for step in steps((ROOT / "README.md").read_text()):
            done = walk.run(step)
            mark = "" if done.status == step.status else f"   <-- exit {done.status}, not {step.status}"
            sys.stdout.write(f"{step.who}$ {step.command}{f'  # exit {done.status}' if done.status else ''}{mark}\n")
            sys.stdout.write(f"{done.output}\n")
    finally:
        walk.close()


if __name__ == "__main__":
    main()
