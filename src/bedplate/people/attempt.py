"""Attempts to sign in: counted by account and by address, slower with each that fails, and told when they are limited.

An attempt is counted before anything is checked, and taken back when it succeeds: attempts that are made side by side
count, and a process that ends in between leaves them counted. A name that nobody has is counted as any other, so that
the answers tell nothing of who has an account. While an account or an address has to wait, nothing is checked at all.
An invitation's code is counted by address alone: it has 256 bits, and whoever others lock out still gets in by it.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from bedplate.errors import BedplateError, TooMany, Unauthenticated, Unavailable
from bedplate.kernel.clock import DAY, SECOND
from bedplate.store.engine import writing

from .account import password_matches
from .actions import note_limit
from .tables import account, attempt
from .views import password_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bedplate.kernel.governor import Governor

log = logging.getLogger(__name__)
FREE: Mapping[str, int] = {"account": 5, "address": 30}  # failures until waiting begins; many share an address
FIRST_WAIT, LONGEST_WAIT = 5 * SECOND, 900 * SECOND  # doubled with each failure
FORGET = DAY  # without an attempt


@dataclass(frozen=True, slots=True)
class Counted:
    """One attempt as it was counted: of what ("account" or "address"), how many failed, and until when it waits."""

    of: str
    name: str
    failures: int
    until: int


class Attempts:
    """The door before signing in. Its methods wait for the database, so call them from a thread."""

    def __init__(self, engine: Engine, governor: Governor) -> None:
        self._engine = engine
        self._governor = governor

    def password(self, person: str, word: str, address: str) -> None:
        """Check a password; `Unauthenticated` for a wrong one, `TooMany` before anything is checked."""
        with self.counted(address, person):
            if not password_matches(word, password_of(self._engine, person)):
                raise Unauthenticated("person and password do not match", hint="ask for an invitation: bedplate invite")

    @contextmanager
    def counted(self, address: str, person: str | None = None) -> Iterator[None]:
        """Count what is attempted inside: `Unauthenticated` is a failure. `TooMany` while somebody has to wait."""
        counts = self._begin(address, person)
        try:
            yield
        except Unauthenticated:
            self._failed(counts, person)
            raise
        self._succeeded(counts)

    def waits(self, person: str) -> int:
        """Return until when this account takes no password; 0 if it does."""
        with self._engine.connect() as connection:
            name = _digest("account", person)
            until = connection.execute(select(attempt.c.until).where(attempt.c.name == name)).scalar_one_or_none() or 0
        return until if until > self._governor.clock() else 0

    def _begin(self, address: str, person: str | None) -> list[Counted]:
        now = self._governor.clock()
        wanted = [("address", _digest("address", address))]
        if person is not None:
            wanted.insert(0, ("account", _digest("account", person)))  # in one order always: no two wait for each other
        try:
            with writing(self._engine.connect()) as connection, connection.begin():
                rows = {name: _row(connection, name, now) for _, name in wanted}
                longest = max(until for _, _, until in rows.values())
                if longest > now:
                    seconds = -(-(longest - now) // SECOND)
                    raise TooMany(
                        f"too many attempts to sign in; try again in {seconds} seconds",
                        hint="wait, or sign in with an invitation: bedplate invite",
                        wait_s=seconds,
                    )
                counts = []
                for of, name in wanted:
                    failures, last_at, _ = rows[name]
                    failures = 1 + (failures if now - last_at < FORGET else 0)
                    counts.append(Counted(of, name, failures, now + _wait(of, failures)))
                    values = {"failures": failures, "last_at": now, "until": counts[-1].until}
                    connection.execute(update(attempt).where(attempt.c.name == name).values(**values))
        except SQLAlchemyError as away:  # what cannot be counted is not tried
            raise Unavailable(
                "attempts to sign in cannot be counted now", hint="the database does not answer"
            ) from away
        return counts

    def _succeeded(self, counts: list[Counted]) -> None:
        with writing(self._engine.connect()) as connection, connection.begin():
            for one in counts:
                mine = attempt.c.name == one.name
                if one.of == "account":
                    connection.execute(delete(attempt).where(mine))
                else:  # others failed from there, and may go on to
                    fewer = {"failures": attempt.c.failures - 1, "until": 0}
                    connection.execute(update(attempt).where(mine, attempt.c.failures > 0).values(**fewer))

    def _failed(self, counts: list[Counted], person: str | None) -> None:
        with writing(self._engine.connect()) as connection, connection.begin():
            # In a transaction that holds no other row, so that no two wait for each other.
            connection.execute(delete(attempt).where(attempt.c.last_at < self._governor.clock() - FORGET))
            known = connection.execute(select(account.c.person).where(account.c.person == person)).scalar_one_or_none()
        for one in counts:
            if one.failures < FREE[one.of]:
                continue
            name = (known or "") if one.of == "account" else one.name.partition("/")[2][:16]
            log.warning("sign_in.limited", extra={"of": one.of, "failures": one.failures})
            try:
                note_limit(self._governor, one.of, name, one.failures, one.until)
            except BedplateError as fault:  # the limit holds, whether or not it could be put on record
                log.warning("sign_in.limit_not_recorded", extra={"of": one.of, "why": fault.message})


def _wait(of: str, failures: int) -> int:
    over = failures - FREE[of]
    return 0 if over < 0 else min(LONGEST_WAIT, FIRST_WAIT << min(over, 32))


def _digest(of: str, text: str) -> str:
    """Name what is counted: however long the text is, and without keeping it."""
    return f"{of}/{hashlib.sha256(f'bedplate/attempt/v1/{of}/{text}'.encode(errors='replace')).hexdigest()}"


def _row(connection: Connection, name: str, now: int) -> tuple[int, int, int]:
    """Return failures, last attempt and end of waiting, and hold the row until the transaction ends."""
    # The one that is connected to is loaded already; the other is 2 MB that nobody uses.
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    fresh = dialect.insert(attempt).values(name=name, failures=0, last_at=now, until=0)
    connection.execute(fresh.on_conflict_do_nothing())
    columns = select(attempt.c.failures, attempt.c.last_at, attempt.c.until)
    failures, last_at, until = connection.execute(columns.where(attempt.c.name == name).with_for_update()).one()
    return failures, last_at, until
