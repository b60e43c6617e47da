"""Runs, their steps, effects and counters: one SQLite file that all serving processes of a host share.

Everything here is counted and limited in the transaction that also writes it, so that calls in parallel, in however
many processes, never pass a limit together. What survives a killed process: everything; what survives a power cut:
every intent of an effect and all that was written before it, for intents are synced and the log is one.

The ledger and the journal are the record. This file is what the next call is judged against.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw
import msgspec

from bedplate.errors import Conflict, NotFound

from .effect import Effects, count, given_back
from .run import RECENT, Atoms, Claim, Day, Run, RunState, Step, day_of, over
from .toolcall import READ, Tainted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .toolcall import Ruled, State, Told

PAGE = 100
DAY_US = 86_400_000_000
RUN = (
    "id, subject, agent, key, parent, chain, principal, task_sha256, release, epoch, started, ended, state, steps, "
    "actions, denied, asked, amount, cost_nano, recent, tools"
)
STEP = (
    "kind, tool, digest, verdict, state, at, action, call, key, class, amount, reasons, tainted, cost_nano, "
    "latency_us, number, times"
)
DAY = "subject, agent, day, runs, steps, actions, denied, amount, cost_nano"
_json = msgspec.json.Encoder().encode
_calls = msgspec.json.Decoder(list[tuple[str, str, str]]).decode
_names = msgspec.json.Decoder(list[str]).decode
_tainted = msgspec.json.Decoder(list[Tainted]).decode


class Placed(NamedTuple):
    """Where a step stands in its run; `told` says which limit it would have passed, if it was refused for that."""

    number: int
    told: Told | None


class RunStore(Effects):
    """Runs with their steps, limits and effects. Each call is one transaction."""

    # Runs

    def begin(self, run: Run) -> Run:
        """Put a run on record, or return the one that has its id; raises Conflict if that is another agent's."""
        now = run.started or self.clock()
        with self.writing() as db:
            row = (
                run.id, run.subject, run.agent, run.key, run.parent, _json(run.chain).decode(), run.principal,
                run.task_sha256, run.release, run.epoch, now, 0, "running", 0, 0, 0, 0, 0, 0, b"[]", b"[]", 0,
            )  # fmt: skip
            places = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO run VALUES ({places}) ON CONFLICT DO NOTHING", row)  # noqa: S608 - only places
            if db.changes():
                count(db, run.subject, run.agent, day_of(now), runs=1)
            known = self._read(db, run.id)
        if (known.agent, known.subject) != (run.agent, run.subject):
            raise Conflict(f"run {run.id} is another agent's", hint="name the run anew, or leave its name out")
        return known

    def run(self, id: str) -> Run | None:  # noqa: A002 - the column's name
        """Return a run as it is now, or None."""
        with self.reading() as db:
            row = _run_row(db, id)
            return None if row is None else _run(row, _day(db, str(row[1]), str(row[2]), day_of(self.clock())))

    def end(self, id: str, state: RunState) -> Run:  # noqa: A002 - the column's name
        """End a run; one that has ended stays as it ended."""
        with self.writing() as db:
            db.execute(
                "UPDATE run SET state = ?, ended = ? WHERE id = ? AND state = 'running'", (state, self.clock(), id)
            )
            return self._read(db, id)

    def runs(
        self, *, subject: str = "", agent: str = "", state: str = "", before: tuple[int, str] | None = None,
        limit: int = PAGE,
    ) -> list[Run]:  # fmt: skip
        """Return runs, those begun last first; `before` is (started, id) of the last one of the page before."""
        where, bound = ["1"], list[Any]()
        for column, value in (("subject", subject), ("agent", agent), ("state", state)):
            if value:
                where.append(f"{column} = ?")
                bound.append(value)
        if before is not None:
            where.append("(started, id) < (?, ?)")
            bound += before
        order = f"SELECT {RUN} FROM run WHERE {' AND '.join(where)} ORDER BY started DESC, id DESC LIMIT ?"  # noqa: S608
        with self.reading() as db:
            return [_run(row, Day(row[1], row[2], 0)) for row in db.execute(order, (*bound, limit))]

    def day(self, subject: str, agent: str, day: int) -> Day:
        """Return what an agent did in a UTC day (since the epoch)."""
        with self.reading() as db:
            return _day(db, subject, agent, day)

    # Steps

    def step(self, run: str, step: Step) -> int:
        """Append a step that takes nothing of the limits: a refusal, a model's call, a note. Returns its number.

        The same call refused again for the same reasons, with nothing else called in between, adds to `times` of the
        step that was refused first: its action's id is the one on record.
        """
        with self.writing() as db:
            return self._append(db, self._read(db, run), step)

    def take(self, run: str, step: Step, claim: Claim) -> Placed:
        """Append a step if the limits have room for it, and hold its share; otherwise append it as refused.

        What is checked and what is held is one transaction. An action held this way is given back by `give_back`.
        """
        with self.writing() as db:
            found = self._read(db, run)
            told = over(found, claim, step.at or self.clock())
            if told is not None:
                refused = replace(step, verdict="deny", state="denied", reasons=(*step.reasons, told))
                return Placed(self._append(db, found, refused), told)
            number = self._append(db, found, step)
            if claim.held and claim.class_ != READ:
                self._take(db, found, step.action, claim)
            return Placed(number, None)

    def claim(self, action: str, claim: Claim) -> Told | None:
        """Hold the share of an action that waited and was agreed to, or say which limit it would pass. Once only."""
        with self.writing() as db:
            if db.execute("SELECT 1 FROM taken WHERE action = ?", (action,)).get is not None:
                return None
            run = db.execute("SELECT run FROM step WHERE action = ? AND action <> ''", (action,)).get
            if run is None:
                raise NotFound(f"there is no action {action}")
            found = self._read(db, str(run))
            told = over(found, replace(claim, waited=True), self.clock())
            if told is None and claim.class_ != READ:
                self._take(db, found, action, claim)
            return told

    def give_back(self, action: str) -> bool:
        """Give back what an action held: it will not be done. False: it held nothing."""
        with self.writing() as db:
            return given_back(db, action)

    def mark(self, action: str, state: State, verdict: Ruled) -> bool:
        """Bring a step up to date, such as one that waited and was agreed to; False: there is none."""
        with self.writing() as db:
            db.execute(
                "UPDATE step SET state = ?, verdict = ? WHERE action = ? AND action <> ''", (state, verdict, action)
            )
            return bool(db.changes())

    def step_of(self, action: str) -> tuple[str, Step] | None:
        """Return the run and the step of an action, or None."""
        return self._step("WHERE action = ? AND action <> ''", (action,))

    def let_like(self, subject: str, agent: str, digest: str, since: int, until: int) -> bool:
        """Tell whether an agent was let through with this very call, of tool and arguments, at that time."""
        order = (
            "SELECT 1 FROM run JOIN step ON step.run = run.id WHERE run.subject = ? AND run.agent = ? AND "
            "run.started BETWEEN ? AND ? AND step.digest = ? AND step.at BETWEEN ? AND ? AND step.verdict <> 'deny' "
            "AND run.id NOT LIKE 'observed/%' LIMIT 1"
        )
        with self.reading() as db:
            row = db.execute(order, (subject, agent, since - DAY_US, until, digest, since, until)).fetchone()
        return row is not None

    def step_at(self, run: str, number: int) -> Step | None:
        """Return the step of a run that has this number, or None."""
        found = self._step("WHERE run = ? AND number = ?", (run, number))
        return found[1] if found else None

    def last_like(self, run: str, digest: str, key: str = "") -> Step | None:
        """Return the newest step of a run that was this very call, under this key, or None."""
        found = self._step("WHERE run = ? AND digest = ? AND key = ? ORDER BY number DESC LIMIT 1", (run, digest, key))
        return found[1] if found else None

    def steps(self, run: str, *, after: int = 0, limit: int = 1_000) -> list[Step]:
        """Return the steps of a run in order, from behind a number on."""
        order = f"SELECT {STEP} FROM step WHERE run = ? AND number > ? ORDER BY number LIMIT ?"  # noqa: S608
        with self.reading() as db:
            return [_step(row) for row in db.execute(order, (run, after, limit))]

    # What was read

    def add_atoms(self, run: str, step: int, source: str, atoms: bytes, *, trusted: bool) -> None:
        """Keep the keyed hashes of what a run has read in a step."""
        with self.writing() as db:
            db.execute("INSERT INTO atoms VALUES (?, ?, ?, ?, ?)", (run, step, source, int(trusted), atoms))

    def provenance(self, run: str, *, after: int = 0) -> tuple[list[Atoms], int]:
        """Return what a run has read from behind a place on, in order, and the place where that ended."""
        order = "SELECT rowid, step, source, trusted, atoms FROM atoms WHERE run = ? AND rowid > ? ORDER BY rowid"
        with self.reading() as db:
            rows: list[Any] = db.execute(order, (run, after)).fetchall()
        last = int(rows[-1][0]) if rows else after
        return [Atoms(step, source, bool(trusted), atoms) for _, step, source, trusted, atoms in rows], last

    # The file

    def prune(self, before: int, most: int = 1_000) -> int:
        """Drop up to `most` runs that ended before a moment and have nothing open, with all that belongs to them.

        What nobody knows the outcome of is never dropped. Returns how many runs went.
        """
        gone = (
            "SELECT id FROM run WHERE ended > 0 AND ended < ? AND NOT EXISTS (SELECT 1 FROM effect WHERE "
            "effect.run = run.id AND effect.state IN ('intended', 'unknown')) ORDER BY started LIMIT ?"
        )
        with self.writing() as db:
            ids = [(id_,) for (id_,) in db.execute(gone, (before, most))]
            for table in ("step", "taken", "effect", "atoms"):
                db.executemany(f"DELETE FROM {table} WHERE run = ?", ids)  # noqa: S608 - our own tables
            db.executemany("DELETE FROM run WHERE id = ?", ids)
            db.execute("DELETE FROM day WHERE day < ?", (day_of(before),))
        return len(ids)

    def _read(self, db: apsw.Connection, id: str) -> Run:  # noqa: A002 - the column's name
        row = _run_row(db, id)
        if row is None:
            raise NotFound(f"there is no run {id}", hint="begin it first")
        return _run(row, _day(db, str(row[1]), str(row[2]), day_of(self.clock())))

    def _append(self, db: apsw.Connection, run: Run, step: Step) -> int:
        at = step.at or self.clock()
        tool, denied = step.kind == "tool", step.verdict == "deny"
        call = (step.tool, step.digest, step.verdict)
        refused = int(db.execute("SELECT refused FROM run WHERE id = ?", (run.id,)).get or 0)
        again = tool and denied and refused > 0 and run.recent[-1:] == (call,)
        if again:
            db.execute(
                "UPDATE step SET times = times + 1, at = ? WHERE run = ? AND number = ? AND reasons = ?",
                (at, run.id, refused, _json(step.reasons)),
            )
            again = bool(db.changes())
        number = refused if again else run.steps + 1
        if not again:
            row = (
                run.id, number, step.kind, step.tool, step.digest, step.verdict, step.state, at, step.action, step.call,
                step.key, step.class_, step.amount, _json(step.reasons), _json(step.tainted), step.cost_nano,
                step.latency_us, step.times,
            )  # fmt: skip
            try:
                db.execute(f"INSERT INTO step VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - only places
            except apsw.ConstraintError as error:
                raise Conflict(f"action {step.action} has a step already") from error
        recent = (*run.recent[1 - RECENT :], call) if tool else run.recent
        tools = run.tools | {step.tool} if tool and step.verdict == "allow" else run.tools
        db.execute(
            "UPDATE run SET steps = ?, denied = ?, asked = ?, cost_nano = ?, recent = ?, tools = ?, refused = ? "
            "WHERE id = ?",
            (
                run.steps + (not again), run.denied + (tool and denied), run.asked + (tool and step.verdict == "ask"),
                run.cost_nano + step.cost_nano, _json(recent), _json(sorted(tools)),
                refused if not tool else number if denied else 0, run.id,
            ),
        )  # fmt: skip
        count(
            db,
            run.subject,
            run.agent,
            day_of(at),
            steps=int(not again),
            denied=int(tool and denied),
            cost_nano=step.cost_nano,
        )
        return number

    def _take(self, db: apsw.Connection, run: Run, action: str, claim: Claim) -> None:
        day = run.today.day
        row = (action, run.id, run.subject, run.agent, day, claim.amount, self.process, self.life)
        try:
            db.execute("INSERT INTO taken VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except apsw.ConstraintError as error:
            raise Conflict(f"action {action} has its share already") from error
        db.execute("UPDATE run SET actions = actions + 1, amount = amount + ? WHERE id = ?", (claim.amount, run.id))
        count(db, run.subject, run.agent, day, actions=1, amount=claim.amount)

    def _step(self, where: str, bound: Sequence[Any]) -> tuple[str, Step] | None:
        with self.reading() as db:
            row = db.execute(f"SELECT run, {STEP} FROM step {where}", bound).fetchone()  # noqa: S608
        return None if row is None else (str(row[0]), _step(row[1:]))


def _run_row(db: apsw.Connection, id: str) -> tuple[Any, ...] | None:  # noqa: A002 - the column's name
    return db.execute(f"SELECT {RUN} FROM run WHERE id = ?", (id,)).fetchone()  # noqa: S608


def _run(row: tuple[Any, ...], today: Day) -> Run:
    chain, recent, tools = tuple(_names(row[5])), tuple(_calls(row[19])), frozenset(_names(row[20]))
    values: tuple[Any, ...] = (*row[:5], chain, *row[6:19], recent, tools, today)
    return Run(*values)


def _day(db: apsw.Connection, subject: str, agent: str, day: int) -> Day:
    order = f"SELECT {DAY} FROM day WHERE subject = ? AND agent = ? AND day = ?"  # noqa: S608 - our own columns
    row = db.execute(order, (subject, agent, day)).fetchone()
    return Day(subject, agent, day) if row is None else Day(*row)


def _step(row: tuple[Any, ...]) -> Step:
    reasons = tuple((control, why, fix) for control, why, fix in msgspec.json.decode(row[11]))
    values: tuple[Any, ...] = (*row[:11], reasons, tuple(_tainted(row[12])), *row[13:])
    return Step(*values)
