"""An environment of its own with the extras in it, as `pip install 'bedplate[evals,presidio]'` would make one.

What others wrote is installed from its lock, once for a lock and a Python, and kept in the user's cache folder.
Bedplate itself is the wheel of this source, built anew each time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.served import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "extras.txt"
ABSENT = "No matching distribution found for "  # what pip says of what the index does not offer


class NotOffered(Exception):
    """The index that pip is set up with does not offer what is needed."""


@dataclass(frozen=True)
class Installed:
    """A Python with the extras, and Bedplate's wheel unpacked in a folder."""

    python: Path
    bedplate: Path

    def environment(self, also: Path | None = None) -> dict[str, str]:
        """Return the variables of a process that runs there; `also` is a folder with more packages."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BEDPLATE_", "COLUMNS"))}
        return {**inherited, "PYTHONPATH": os.pathsep.join(str(p) for p in (self.bedplate, also) if p is not None)}

    def run(
        self, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run this Python to its end."""
        return subprocess.run(
            [self.python, *map(str, arguments)],
            env={**self.environment(), **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def server(self, data: Path, also: Path | None = None) -> Server:
        """Return `bedplate up` there, not started yet."""
        server = Server(data)
        server.python = str(self.python)
        server._environment["PYTHONPATH"] = self.environment(also)["PYTHONPATH"]
        return server


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    try:
        python = _with_extras()
    except NotOffered as missing:
        pytest.skip(f"the extras evals and presidio cannot be installed from the configured index: {missing}")
    built = tmp_path_factory.mktemp("wheel")
    _output(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built))
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(built / "bedplate")
    return Installed(python, built / "bedplate")


def _with_extras() -> Path:
    """Return the Python of an environment with what is locked; it is made unless there is one."""
    told = LOCK.read_bytes() + sys.version.encode() + sys.base_prefix.encode()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bedplate-tests"
    folder = cache / f"extras-{hashlib.sha256(told).hexdigest()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=cache))
        try:
            _install(making)
            with suppress(OSError):  # another run was quicker, and made the same
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return folder / "bin" / "python"


def _install(folder: Path) -> None:
    _output(sys.executable, "-m", "venv", "--without-pip", str(folder))
    install = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    # Compiling all of it takes longer than fetching it; Python compiles what is used.
    _output(*install, "--quiet", "--no-compile", "--no-deps", "--require-hashes", "--requirement", str(LOCK))


def _output(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=400)
    absent = [line for line in done.stderr.splitlines() if ABSENT in line]
    if absent:
        raise NotOffered(absent[0])
    assert done.returncode == 0, done.stderr[-4000:]
