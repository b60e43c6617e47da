"""The ten steps hold on PostgreSQL as well; on SQLite `make demo` runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.postgres import Postgres

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.postgres
def test_the_ten_steps_hold_on_postgresql(tmp_path: Path) -> None:
    server = Postgres()
    try:
        server.execute("CREATE DATABASE demo")
        environment = {**os.environ, "BEDPLATE_DATABASE": server.url("demo"), "NO_COLOR": "1"}
        command = [sys.executable, "-m", "bedplate", "demo", "--exit", "--data", str(tmp_path / "demo")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110, check=False)
    finally:
        server.remove()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "10. The proven use case becomes a path" in done.stdout
