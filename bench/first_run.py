"""The first run: packages and megabytes of the base install, seconds to the first console page, memory at rest."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUDGET = {"packages": 60, "megabytes": 150, "seconds to the first page": 3, "MB resident": 100}


def main() -> None:
    """Measure and print; `--here` measures the running environment instead of making a new one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--here", action="store_true", help="skip the clean install; count nothing")
    here = parser.parse_known_args()[0].here
    with tempfile.TemporaryDirectory() as folder:
        measured: dict[str, float] = {}
        python = sys.executable
        if not here:
            python = install(Path(folder) / "venv", measured)
        serve(python, Path(folder) / "data", measured)
    for what, value in measured.items():
        print(f"{what:<28}{value:8.1f}" + (f"   budget {BUDGET[what]}" if what in BUDGET else ""))


def install(place: Path, measured: dict[str, float]) -> str:
    """Install the locked base and the package into a new environment; count what came."""
    venv.create(place, with_pip=True)
    before = size(place)
    python = str(place / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements" / "base.txt")], check=True)
    wheels = Path(tempfile.mkdtemp())
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)], cwd=ROOT, check=True)
    subprocess.run([*pip, "--no-deps", *map(str, wheels.glob("*.whl"))], check=True)
    shutil.rmtree(wheels)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
        check=True,
        capture_output=True,
        text=True,
    )
    own = {"pip", "setuptools", "bedplate"}
    measured["packages"] = sum(line.partition("==")[0] not in own for line in listed.stdout.split())
    measured["megabytes"] = (size(place) - before) / 1e6
    return python


def size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())


def serve(python: str, data: Path, measured: dict[str, float]) -> None:
    """Start the server, ask for the first page, and read its resident memory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "BEDPLATE_DATA": str(data)}
    began = time.monotonic()
    process = subprocess.Popen(
        [python, "-m", "bedplate", "up", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        page(f"http://127.0.0.1:{port}/")
        measured["seconds to the first page"] = time.monotonic() - began
        measured["MB resident"] = resident(process.pid)
        page(f"http://127.0.0.1:{port}/api/openapi.json")
        measured["MB once the API is used"] = resident(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def resident(pid: int) -> float:
    """Megabytes resident once the process is at rest; 0 where the system does not tell."""
    time.sleep(1)
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def page(url: str) -> None:
    """Wait for a page that answers."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  loopback, ours
                assert b"Bedplate" in answer.read()
                return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("the server did not come up")


if __name__ == "__main__":
    main()
