"""A PostgreSQL server of one's own, from the distribution's binaries, in a temporary folder. Never as root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

SHM = Path("/dev/shm")  # noqa: S108  memory, so that fsync stays on and costs nothing


class NoPostgres(Exception):
    """The binaries are missing."""


def binaries() -> Path:
    """Return the folder of the newest PostgreSQL installed; `NoPostgres` if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    if elsewhere is None:
        raise NoPostgres("PostgreSQL's binaries are missing: apt-get install postgresql-15 (they are not optional)")
    return Path(elsewhere).resolve().parent


class Postgres:
    """One server. It listens on a socket in its own folder only."""

    def __init__(self) -> None:
        self._bin = binaries()
        self._as: dict[str, Any] = {}
        base = SHM if os.access(SHM, os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="bedplate-pg-", dir=base))
        self.folder.chmod(0o755)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            who = _somebody()
            os.chown(self.folder, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        self.data = self.folder / "data"
        self._run("initdb", "-D", str(self.data), "-U", "bedplate", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = (
            f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c max_connections=120 "
            "-c shared_buffers=32MB -c fsync=on -c full_page_writes=on -c log_min_messages=fatal"
        )
        self._run(
            "pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", str(self.folder / "log"), "-o", options, "start"
        )

    def stop(self, how: str = "fast") -> None:
        """Stop it: smart, fast or immediate (as after a crash)."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "-m", how, "stop")

    def remove(self) -> None:
        """Stop it and remove its folder."""
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql+psycopg://bedplate@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Run one statement outside of a transaction, as the owner of everything."""
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to every process of it."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        order = [postmaster, *map(int, children)]
        for pid in order if number is not signal.SIGCONT else reversed(order):
            os.kill(pid, number)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        # Not captured: the server inherits the outputs, and reading them would wait until it ends.
        log = self.folder / f"{program}.out"
        with log.open("wb") as out:
            done = subprocess.run(command, check=False, stdout=out, stderr=out, cwd=self.folder, env=_env(), **self._as)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {log.read_text()}")


def _somebody() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("the tests run as root, and there is neither a user postgres nor nobody to run the server as")


def _env() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
