"""What `bedplate doctor` looks at. It changes nothing: a database that is not up to date is told, not migrated."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, Tampered

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from bedplate.config import Settings
    from bedplate.store.shard import Shard

PYTHON = (3, 11)
LITTLE_SPACE = 1 << 30  # bytes
RESTORE = "keep the damaged copy as evidence and restore the newest backup"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `remedy` may be told for what is right, too."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def checkup(at: Settings, *, full: bool = False) -> list[Check]:
    """Look at everything; a check that cannot be made is one that failed."""
    return list(_checks(at, full=full))


def _checks(at: Settings, *, full: bool) -> Iterator[Check]:
    yield _python()
    yield _attempt("SQLite", _sqlite)
    if not at.data.is_dir():
        remedy = "name it with --data, or start with: bedplate up"
        yield Check("data folder", ok=False, found=f"there is none at {at.data.absolute()}", remedy=remedy)
        return
    yield _attempt("data folder", lambda: _rights(at.data))
    yield _space(at.data)
    if not at.database and not (at.data / "bedplate.db").exists():
        yield Check("database", ok=False, found="there is none in the data folder yet", remedy="start: bedplate up")
        return
    from sqlalchemy.exc import SQLAlchemyError

    from bedplate.store.engine import open_engine

    engine = open_engine(at.database_url)
    try:
        migrated = _attempt("database", lambda: _migrated(engine))
        yield migrated
        if migrated.ok:
            yield from _records(at, engine, full=full)
    except SQLAlchemyError as broken:
        yield Check("database", ok=False, found=_first_line(broken), remedy=RESTORE)
    finally:
        engine.dispose()


def _records(at: Settings, engine: Engine, *, full: bool) -> Iterator[Check]:
    from bedplate import bootstrap
    from bedplate.store.fsck import compare_read_tables, verify_ledger

    yield _attempt("ledger", lambda: f"{verify_ledger(engine)} events, each recomputed")
    ledger, _, _ = bootstrap.open_ledger(engine, bootstrap.wall_clock)

    def tables() -> str:
        differ = compare_read_tables(engine, ledger.projector)
        if differ:
            raise Tampered(f"not what the ledger says: {', '.join(differ)}", hint=RESTORE)
        return "rebuilt from the ledger, and the same"

    yield _attempt("read tables", tables)
    if full:
        yield _attempt("usage", lambda: _usage(at, engine))
    yield _attempt("checkpoints", lambda: _checkpoints(at, engine))
    yield _witness(at)
    for path in sorted((at.data / "journal").glob("*.db")):
        yield _attempt(f"calls in {path.stem}", lambda path=path: _shard(engine, path, full=full))  # type: ignore[misc]  # bound now


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= PYTHON
    return Check("Python", ok, version, "" if ok else f"install Python {PYTHON[0]}.{PYTHON[1]} or newer")


def _sqlite() -> str:
    import apsw

    from bedplate.store.engine import WAL_IS_SAFE_FROM
    from bedplate.store.shard import must_be_safe

    must_be_safe(apsw.sqlite_lib_version())
    mode = "write-ahead log" if sqlite3.sqlite_version_info >= WAL_IS_SAFE_FROM else "rollback journal"
    return f"{apsw.sqlite_lib_version()} for calls; {sqlite3.sqlite_version} for the database ({mode})"


def _rights(data: Path) -> str:
    secret = [data, data / "keys", *sorted((data / "keys").glob("*"))]
    open_to = [p for p in secret if p.exists() and p.stat().st_mode & 0o077]
    if open_to:
        names = ", ".join(map(str, open_to))
        raise Tampered(f"others may read {names}", hint=f"chmod go= {' '.join(map(str, open_to))}")
    probe = data / ".doctor"
    try:
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as wrong:
        raise Tampered(f"{data} cannot be written: {wrong.strerror}", hint="run as the user that owns it") from None
    return f"{data.absolute()}, yours alone"


def _space(data: Path) -> Check:
    free = shutil.disk_usage(data).free
    ok = free >= LITTLE_SPACE
    return Check(
        "disk space", ok, f"{free / (1 << 30):.1f} GiB free", "" if ok else "free some: calls stop when it is full"
    )


def _migrated(engine: Engine) -> str:
    from importlib import resources

    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy.exc import SQLAlchemyError

    scripts = ScriptDirectory(str(resources.files("bedplate.store").joinpath("migrations")))
    try:
        with engine.connect() as connection:
            now = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as broken:
        raise Tampered(f"{engine.url!r} cannot be read: {_first_line(broken)}", hint=RESTORE) from None
    newest = scripts.get_current_head()
    if now != newest:
        raise Tampered(
            f"its tables are at {now}, this Bedplate's at {newest}", hint="bedplate up brings them up to date"
        )
    return f"{engine.url!r}, tables at {now}"


def _checkpoints(at: Settings, engine: Engine) -> str:
    from bedplate.bootstrap import wall_clock
    from bedplate.store.anchor import Anchor
    from bedplate.store.note import Checkpoint, SigningKey, split_note
    from bedplate.store.witness import Witness

    path = at.data / "keys" / "ledger"
    if not path.exists():
        return "none signed yet: the server has not run"
    key = SigningKey.load(path)
    witness = None
    if at.witness and (Path(at.witness) / "witness-key").exists():
        own = SigningKey.load(Path(at.witness) / "witness-key")
        witness = Witness(Path(at.witness), own, {key.name: key.verifier})
    anchor = Anchor(engine, key, wall_clock, witness)
    anchor.check()
    note = anchor.latest()
    return f"the newest covers {Checkpoint.parse(split_note(note)[0]).size} events" if note else "none signed yet"


def _usage(at: Settings, engine: Engine) -> str:
    from bedplate.gateway.usage import Usage
    from bedplate.store.shard import Shard

    shards = {path.stem: Shard(path) for path in sorted((at.data / "journal").glob("*.db"))}
    try:
        differ = Usage(engine, lambda: shards).differs()
    finally:
        for shard in shards.values():
            shard.close()
    if differ:
        remedy = "stop every process, empty the tables usage and usage_cursor, and start: it is added up anew"
        raise Tampered("; ".join(differ[:5]), hint=remedy)
    return "added up anew from the calls, and the same"


def _witness(at: Settings) -> Check:
    if not at.witness:
        remedy = "bedplate doctor --new-witness FOLDER, and BEDPLATE_WITNESS=FOLDER"
        found = "none: proofs show nothing against whoever runs this host"
        return Check("witness", ok=True, found=found, remedy=remedy)
    path = Path(at.witness) / "witness-key"
    if not path.exists():
        remedy = f"bedplate doctor --new-witness {at.witness}"
        return Check("witness", ok=False, found=f"there is no key at {path}", remedy=remedy)
    if at.data.resolve() in path.resolve().parents:
        found = f"{path} is inside the data folder"
        return Check("witness", ok=False, found=found, remedy="move it where the operator cannot write")
    return Check("witness", ok=True, found=str(path))


def _shard(engine: Engine, path: Path, *, full: bool) -> str:
    from bedplate.evidence.views import check_shard
    from bedplate.store.shard import Shard

    shard = Shard(path)
    try:
        if full:
            return f"{check_shard(engine, shard, path.stem)} records, each recomputed, as anchored in the ledger"
        return _anchored(engine, shard, path.stem)
    finally:
        shard.close()


def _anchored(engine: Engine, shard: Shard, name: str) -> str:
    """Compare the stored leaves with what the ledger anchored; `check_shard` also recomputes them from the records."""
    from bedplate.evidence.views import segments
    from bedplate.store.merkle import root_of

    size = shard.head().size
    end = 0
    for row in segments(engine, name):
        end = row["first"] + row["count"]
        if size < end or root_of(shard.leaves(row["first"], row["count"])).hex() != row["root"]:
            raise Tampered(f"segment {row['number']} is not what the ledger anchored", hint="bedplate doctor --full")
    return f"{size} records, {end} of them anchored in the ledger (--full recomputes each)"


def _attempt(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, ok=True, found=look())
    except BedplateError as wrong:
        return Check(name, ok=False, found=wrong.message, remedy=wrong.hint or RESTORE)
    except OSError as wrong:
        return Check(name, ok=False, found=str(wrong), remedy="run as the user that owns the data folder")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
