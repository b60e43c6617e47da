"""The drill: a stop is raised, and each serving process says how soon it refuses what is stopped.

What is stopped for a drill is an agent that no release has, so that nobody's work is held up, unless a real one is
named. Each process of this host answers by itself, once its snapshot holds the stop: it tries an action and a model's
call through its own doors, and writes what came of them into the file that the processes share.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, Conflict

from .decoy import FORBIDDEN, KEY
from .runfile import lock_of, take_lock
from .stop import stopped
from .token import Actor
from .toolcall import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .door import AgentDoor
    from .runfile import RunFile

    Point = Callable[[str, str], bool]  # subject and agent: whether this door refuses them as stopped

log = logging.getLogger(__name__)
WITHIN_MS = 1_000  # in which a stop must be in force everywhere
PATIENCE_S = 5.0  # how long a process may take to answer before it counts as not having done so
LOOK_S = 0.005
OLD_US = 60_000_000
TABLES = """
CREATE TABLE IF NOT EXISTS drilling (subject TEXT NOT NULL, scope TEXT NOT NULL, begun INTEGER NOT NULL,
  PRIMARY KEY (subject, scope)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS drilled (subject TEXT NOT NULL, scope TEXT NOT NULL, process TEXT NOT NULL,
  point TEXT NOT NULL, at INTEGER NOT NULL, refused INTEGER NOT NULL,
  PRIMARY KEY (subject, scope, process, point)) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one door of one process did about what is stopped, and how long after the stop was begun."""

    process: str
    point: str
    refused: bool
    ms: int


@dataclass(frozen=True, slots=True)
class Result:
    """How a drill came out."""

    answers: tuple[Answer, ...]
    silent: tuple[str, ...]  # processes that did not answer

    @property
    def ms(self) -> int:
        """How long it took until the last door refused; what did not answer took as long as was waited for it."""
        waited = [int(PATIENCE_S * 1000)] if self.silent or not self.answers else []
        return max([a.ms for a in self.answers] + waited)

    @property
    def outcome(self) -> str:
        """Say `in-force`, `late`, `passed` (a door let it through) or `silent` (a process did not answer)."""
        if self.silent or not self.answers:
            return "silent"
        if not all(a.refused for a in self.answers):
            return "passed"
        return "in-force" if self.ms <= WITHIN_MS else "late"

    @property
    def summary(self) -> str:
        """Say it in a sentence."""
        processes = len({a.process for a in self.answers})
        said = f"{len(self.answers)} doors of {processes} processes of this host answered; the last after {self.ms} ms"
        through = sorted({f"{a.process} ({a.point})" for a in self.answers if not a.refused})
        if through:
            said += f"; let through by {', '.join(through)}"
        if self.silent:
            said += f"; no answer from {', '.join(self.silent)}"
        return said


class Drills:
    """One process's part in drills; `points` are its doors besides that of actions, by name."""

    def __init__(self, file: RunFile, door: AgentDoor, points: Mapping[str, Point]) -> None:
        self._file = file
        self._door = door
        self._points = dict(points)
        self._answering = threading.Lock()
        with file.writing() as db:
            db.execute(TABLES).fetchall()

    # Every process

    def moved(self) -> None:
        """Look whether something is drilled, now that there is a new snapshot; what is, is answered in a thread."""
        try:
            due = self._due()
        except BedplateError as fault:
            log.warning("drill.not_seen", extra={"why": fault.message})
            return
        if due:
            threading.Thread(target=self._answer, args=(due,), name="bedplate-drill", daemon=True).start()

    def _due(self) -> list[tuple[str, str]]:
        standings = self._door.parts.sight.snapshot.standings
        with self._file.reading() as db:
            asked = db.execute(
                "SELECT subject, scope FROM drilling WHERE NOT EXISTS (SELECT 1 FROM drilled WHERE process = ? AND "
                "drilled.subject = drilling.subject AND drilled.scope = drilling.scope)",
                (self._file.process,),
            ).fetchall()
        found = [(str(subject), str(scope)) for subject, scope in asked]
        return [(subject, scope) for subject, scope in found if stopped(standings.get(subject), scope)]

    def _answer(self, due: Sequence[tuple[str, str]]) -> None:
        with self._answering:
            for subject, scope in due:
                try:
                    self._tell(subject, scope)
                except Exception:  # whoever asked counts this process as silent
                    log.exception("drill.not_answered", extra={"subject": subject})

    def _tell(self, subject: str, scope: str) -> None:
        called = Actor("", subject, KEY, (scope,))
        ruling = asyncio.run(self._door.decoy(called, ToolCall("drill", FORBIDDEN, {"drill": scope})))
        refused = any(control == "act-not-stopped" for control, _, _ in ruling.reasons)
        told = [("actions", _now(), refused)]
        told += [(name, _now(), point(subject, scope)) for name, point in self._points.items()]
        with self._file.writing() as db:
            for name, at, no in told:
                row = (subject, scope, self._file.process, name, at, int(no))
                db.execute("INSERT INTO drilled VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)

    # Whoever drills

    def serving(self) -> list[str]:
        """Name the processes of this host that are alive."""
        found = []
        for path in sorted(self._file.folder.glob("*.lock")):
            try:
                os.close(take_lock(lock_of(self._file.folder, path.stem)))
            except Conflict:
                found.append(path.stem)
        return found

    def run(self, subject: str, scope: str, stop: Callable[[], None], seen: Callable[[], None]) -> Result:
        """Raise a stop by `stop`, have this process look by `seen`, and wait until every process has answered."""
        processes = self.serving()
        with self._file.writing() as db:
            db.execute("DELETE FROM drilled WHERE subject = ? AND scope = ?", (subject, scope))
            begun = _now()
            db.execute("INSERT OR REPLACE INTO drilling VALUES (?, ?, ?)", (subject, scope, begun))
        try:
            begun = _now()
            stop()
            seen()
            return self._awaited(subject, scope, begun, processes)
        finally:
            with self._file.writing() as db:
                db.execute("DELETE FROM drilling WHERE subject = ? AND scope = ?", (subject, scope))
                db.execute("DELETE FROM drilled WHERE at < ?", (_now() - OLD_US,))

    def _awaited(self, subject: str, scope: str, begun: int, processes: Sequence[str]) -> Result:
        until = time.monotonic() + PATIENCE_S
        while True:
            with self._file.reading() as db:
                rows = db.execute(
                    "SELECT process, point, refused, at FROM drilled WHERE subject = ? AND scope = ?", (subject, scope)
                ).fetchall()
            answers = [
                Answer(str(process), str(point), bool(refused), max(0, -(-(int(str(at)) - begun) // 1000)))
                for process, point, refused, at in rows
            ]
            silent = sorted(set(processes) - {a.process for a in answers})
            if not silent or time.monotonic() >= until:
                return Result(tuple(answers), tuple(silent))
            time.sleep(LOOK_S)


def _now() -> int:
    """Return microseconds of the clock that all processes of a host share and that nobody sets."""
    return time.monotonic_ns() // 1000
