"""An effect: something an agent does outside. On record before it is done, and done once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bedplate.errors import Conflict, NotFound

from .runfile import RunFile, lock_of, take_lock

if TYPE_CHECKING:
    import apsw

    from .toolcall import State

EffectState = Literal["intended", "ok", "error", "unknown", "settled"]
INTENDED: Literal["intended"] = "intended"
OK: Literal["ok"] = "ok"
ERROR: Literal["error"] = "error"
UNKNOWN: Literal["unknown"] = "unknown"
SETTLED: Literal["settled"] = "settled"

# What may follow on what. An outcome that is known is never changed. What nobody knows may still become known, when an
# answer comes late or a person looks; and it may be intended again, which the caller must be entitled to.
AFTER: dict[str, frozenset[str]] = {
    INTENDED: frozenset((OK, ERROR, UNKNOWN, SETTLED)),
    UNKNOWN: frozenset((OK, ERROR, SETTLED, INTENDED)),
    OK: frozenset(),
    ERROR: frozenset(),
    SETTLED: frozenset(),
}
COLUMNS = (
    "action, run, step, key, tool, digest, tier, idempotent, at, due, state, tries, ended, result_sha256, "
    "result, message"
)


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect and what is known of it. Times in microseconds since the epoch; `due` 0: for as long as it takes.

    `fresh` is true for whoever has just put it on record, and for nobody else: who gets it back fresh carries it out.
    """

    action: str
    run: str = ""
    step: int = 0
    key: str = ""
    tool: str = ""
    digest: str = ""
    tier: int = 4
    idempotent: bool = False
    at: int = 0
    due: int = 0  # when nobody has heard of it by then, it is unknown
    state: EffectState = "intended"
    tries: int = 1
    ended: int = 0
    result_sha256: str = ""
    result: bytes = field(default=b"", repr=False)  # sealed by whoever settled it
    message: str = ""
    fresh: bool = False

    @property
    def open(self) -> bool:
        """Whether nobody knows yet, or any more, what became of it."""
        return bool(AFTER[self.state])


class Effects(RunFile):
    """The effects of all runs, in the file that the processes of a host share."""

    def intend(self, run: str, step: int, effect: Effect) -> Effect:
        """Put an effect on record before it is done, synced to the disk. `fresh` says whether to do it.

        One that has the same action, or the same key in the same run, is returned as it is, and not fresh.
        """
        row = (
            effect.action, run, step, effect.key, effect.tool, effect.digest, effect.tier, int(effect.idempotent),
            effect.at or self.clock(), effect.due, INTENDED, 1, 0, "", b"", "", self.process, self.life,
        )  # fmt: skip
        with self.writing(durable=True) as db:
            places = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO effect VALUES ({places}) ON CONFLICT DO NOTHING", row)  # noqa: S608
            fresh = bool(db.changes())
            if fresh:  # from here on its share is this effect's, and no dead process's to give back
                db.execute("UPDATE taken SET process = '' WHERE action = ?", (effect.action,))
                return _effect(db, "action = ?", (effect.action,), fresh=True)
            known = _effect_or_none(db, "action = ?", (effect.action,))
            if known is None:
                known = _effect(db, "run = ? AND key = ?", (run, effect.key))
                given_back(db, effect.action)  # what it was to do is done, or being done, under the other's name
            return known

    def retry(self, action: str, due: int = 0) -> Effect:
        """Intend an effect again of which nobody knows what became of it; fresh for one caller only.

        Whether it may be done again is the caller's to know: only where the tool takes it for the same.
        """
        with self.writing(durable=True) as db:
            db.execute(
                "UPDATE effect SET state = 'intended', tries = tries + 1, due = ?, process = ?, life = ?, ended = 0 "
                "WHERE action = ? AND state = 'unknown'",
                (due, self.process, self.life, action),
            )
            fresh = bool(db.changes())
            if fresh:
                mark(db, action, "intended")
            return _effect(db, "action = ?", (action,), fresh=fresh)

    def settle(
        self, action: str, state: EffectState, *, result_sha256: str = "", result: bytes = b"", message: str = "",
        at: int = 0, latency_us: int = 0,
    ) -> Effect:  # fmt: skip
        """Say what became of an effect. What is known already stays: the effect is returned as it is.

        Raises NotFound for an action that was never intended.
        """
        with self.writing() as db:
            known = _effect(db, "action = ?", (action,))
            if state not in AFTER[known.state] or state == INTENDED:
                return known
            db.execute(
                "UPDATE effect SET state = ?, result_sha256 = ?, result = ?, message = ?, ended = ? WHERE action = ?",
                (state, result_sha256, result, message, at or self.clock(), action),
            )
            mark(db, action, state, latency_us)
            return _effect(db, "action = ?", (action,))

    def effect(self, action: str) -> Effect | None:
        """Return an effect, or None."""
        with self.reading() as db:
            return _effect_or_none(db, "action = ?", (action,))

    def effect_of(self, run: str, key: str) -> Effect | None:
        """Return the effect that has this key in its run, or None."""
        with self.reading() as db:
            return _effect_or_none(db, "run = ? AND key = ? AND key <> ''", (run, key))

    def effects(self, run: str) -> list[Effect]:
        """Return all effects of a run, in the order of its steps."""
        with self.reading() as db:
            order = f"SELECT {COLUMNS} FROM effect WHERE run = ? ORDER BY step, at"  # noqa: S608
            return [_effect_row(row) for row in db.execute(order, (run,))]

    def unknown(self, limit: int = 100) -> list[Effect]:
        """Return effects of which nobody knows what became of them, oldest first."""
        with self.reading() as db:
            order = f"SELECT {COLUMNS} FROM effect WHERE state = 'unknown' ORDER BY at LIMIT ?"  # noqa: S608
            return [_effect_row(row) for row in db.execute(order, (limit,))]

    def recover(self) -> list[Effect]:
        """Mark as unknown what dead processes intended, and what is overdue; give back what they held for nothing.

        A process is dead if its name can be taken. Returns the effects that became unknown.
        """
        with self.reading() as db:
            names = "SELECT process FROM effect WHERE state = 'intended' UNION SELECT process FROM taken"
            found = [str(name) for (name,) in db.execute(f"{names} WHERE process <> ''")]
        lost = self._lost("due > 0 AND due <= ?", (self.clock(),))
        for name in found:
            if name == self.process:
                lost += self._dead(name)
                continue
            try:
                held = take_lock(lock_of(self.folder, name))
            except Conflict:
                continue  # it is alive
            try:
                lost += self._dead(name)
            finally:
                os.close(held)
        return lost

    def _dead(self, process: str) -> list[Effect]:
        """Give up what a process had in hand, but for its life that is this one."""
        gone = (process, self.life)
        lost = self._lost("process = ? AND life <> ?", gone)
        nothing = (
            "SELECT action FROM taken WHERE process = ? AND process <> '' AND life <> ? AND NOT EXISTS "
            "(SELECT 1 FROM effect WHERE effect.action = taken.action)"
        )
        with self.writing() as db:
            for action in [str(action) for (action,) in db.execute(nothing, gone)]:
                # Nobody was told to go ahead: that is only said once the intent is on record.
                given_back(db, action)
                db.execute(
                    "UPDATE step SET state = 'error' WHERE action = ? AND action <> '' AND state = 'intended'",
                    (action,),
                )
        return lost

    def _lost(self, where: str, bound: tuple[Any, ...]) -> list[Effect]:
        with self.writing() as db:
            order = f"SELECT {COLUMNS} FROM effect WHERE state = 'intended' AND {where}"  # noqa: S608
            found = [_effect_row(row) for row in db.execute(order, bound)]
            for each in found:
                db.execute(
                    "UPDATE effect SET state = 'unknown', ended = ? WHERE action = ?", (self.clock(), each.action)
                )
                mark(db, each.action, UNKNOWN)
            return [_effect(db, "action = ?", (each.action,)) for each in found]


def given_back(db: apsw.Connection, action: str) -> bool:
    """Give back what an action held of its agent's limits; False: it held nothing."""
    row = db.execute(
        "DELETE FROM taken WHERE action = ? RETURNING run, subject, agent, day, amount", (action,)
    ).fetchone()
    if row is None:
        return False
    run, subject, agent, day, amount = row
    db.execute("UPDATE run SET actions = actions - 1, amount = amount - ? WHERE id = ?", (amount, run))
    count(db, subject, agent, day, actions=-1, amount=-amount)
    return True


def mark(db: apsw.Connection, action: str, state: State, latency_us: int = 0) -> None:
    """Bring the step of an action up to date."""
    db.execute(
        "UPDATE step SET state = ?, latency_us = max(latency_us, ?) WHERE action = ? AND action <> ''",
        (state, latency_us, action),
    )


def count(
    db: apsw.Connection, subject: str, agent: str, day: int, *, runs: int = 0, steps: int = 0, actions: int = 0,
    denied: int = 0, amount: int = 0, cost_nano: int = 0,
) -> None:  # fmt: skip
    """Add to what an agent did in a day; what is given back is less than nought."""
    db.execute(
        "INSERT INTO day VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET runs = runs + excluded.runs, "
        "steps = steps + excluded.steps, actions = actions + excluded.actions, denied = denied + excluded.denied, "
        "amount = amount + excluded.amount, cost_nano = cost_nano + excluded.cost_nano",
        (subject, agent, day, runs, steps, actions, denied, amount, cost_nano),
    )


def _effect_row(row: tuple[Any, ...], *, fresh: bool = False) -> Effect:
    values: tuple[Any, ...] = (*row[:7], bool(row[7]), *row[8:], fresh)
    return Effect(*values)


def _effect_or_none(db: apsw.Connection, where: str, bound: tuple[Any, ...], *, fresh: bool = False) -> Effect | None:
    row = db.execute(f"SELECT {COLUMNS} FROM effect WHERE {where}", bound).fetchone()  # noqa: S608
    return None if row is None else _effect_row(row, fresh=fresh)


def _effect(db: apsw.Connection, where: str, bound: tuple[Any, ...], *, fresh: bool = False) -> Effect:
    found = _effect_or_none(db, where, bound, fresh=fresh)
    if found is None:
        raise NotFound(f"no effect is on record for {' and '.join(map(str, bound))}", hint="intend it first")
    return found
