"""The demonstration holds on PostgreSQL and on SQLite."""

from __future__ import annotations

import os
import sqlite3
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
    assert "16. The kill switch, and the drill that proves it" in done.stdout


@pytest.mark.slow
def test_an_agent_that_pays_is_governed_to_the_bank_itself(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "bedplate", "demo", "--exit", "--data", str(folder)]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with sqlite3.connect(folder / "bank.db") as bank:
        paid = bank.execute("SELECT invoice, payee, cents FROM payment ORDER BY invoice").fetchall()
        [(left,)] = bank.execute("SELECT sum(cents) FROM entry").fetchall()
    assert paid == [("INV-101", "P-2001", 42_000), ("INV-102", "P-2002", 620_000)]
    assert left == 0, "what leaves one account enters another"
    for said in ("approval_required", "denied: an outsider may have chosen", "was called 3 times", "act-not-stopped"):
        assert said in " ".join(done.stdout.lower().split())
