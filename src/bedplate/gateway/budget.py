"""Hard stops per use case, UTC day and UTC month, on calls, tokens and money, over every process of this host.

A call is counted before it is made. A process adds to its own cells first and then reads everybody's: of two calls at
the very edge each sees the other, so both may be refused, but never both pass. There is no lock between processes.

What bounds what: the sum of what is reserved never passes a limit. A call may use more than was reserved for it, so a
budget is as hard as the estimates are high. Processes on other hosts, with a data folder of their own, are not seen.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import Conflict, Tampered, Unavailable
from bedplate.kernel.clock import DAY as A_DAY
from bedplate.kernel.clock import EPOCH, MICROSECOND

from .cells import (
    BEFORE_CALLS,
    BEFORE_NANO,
    BEFORE_TOKENS,
    CALLS,
    DAY,
    HELD_NANO,
    HELD_TOKENS,
    MONTH,
    NANO,
    ROWS,
    SHARDS,
    TOKENS,
    Cells,
    Counted,
    Index,
    digest,
    path_of,
)
from .limit import Limits, Over, Spent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Budgets", "Limits", "Over", "Reservation", "Spent"]
Sum = tuple[int, int, int, int, int, int, int, int]  # as Spent has it
MOST = 1 << 46  # tokens or nano-dollars that one call can count: the cells hold 63 bits, for all calls of a day
HOLD_TRIES, HOLD_WAIT = 40, 0.05  # seconds: a leader that mends a file has it for a moment


@dataclass(slots=True)
class Reservation:
    """What was counted for a call before it was made. Settled or released once; more often changes nothing."""

    row: Own
    day: int
    month: int
    tokens: int
    nano: int
    open: bool = True


@dataclass(slots=True)
class Own:
    """A row of this process: what stands in its cells, which nobody else writes."""

    digest: bytes
    base: int  # where its cells begin
    day: int = -1
    month: int = -1
    calls: int = 0
    tokens: int = 0
    nano: int = 0
    before_calls: int = 0
    before_tokens: int = 0
    before_nano: int = 0
    held_tokens: int = 0
    held_nano: int = 0
    others: tuple[tuple[Cells, int], ...] = ()  # the same use case in the other files
    seen: bytes = b""  # the index when they were looked up


class Budgets:
    """The counters of one process, beside those of the others that share its data folder."""

    def __init__(self, folder: Path, shard: str, recorded: Callable[[str], Mapping[str, Counted]]) -> None:
        """Open the cells of `shard`, and set them to what `recorded(shard)` says is on record of today and this month.

        Raises Conflict if another process holds the shard; Unavailable if the files cannot be used.
        """
        self._folder = folder
        self._number = int(shard.rpartition("-")[2])
        self._recorded = recorded
        self._lock = threading.Lock()  # within the process: reservations may be settled from other threads
        self._rows: dict[str, Own] = {}
        self._files: dict[int, Cells] = {}
        self._places: dict[int, tuple[int, int, dict[bytes, int]]] = {}
        self._day = self._month = -1
        told = {digest(subject): (subject, counted) for subject, counted in recorded(shard).items()}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._index = Index(folder)
        self._map = self._index.map
        self._own = _held(path_of(folder, self._number))
        self._begun, self._used = self._index.of(self._number)
        if not (self._own.sound and self._begun):
            self._begun, self._used = self._begun + 1, 0
            self._index.tell(self._number, self._begun, 0)
            self._own.begin()
        self._view = self._own.view
        self._named = dict(self._own.digests(0, self._used))  # rows that stand keep their places, and are counted on
        self._own.loose = True
        for name, row in self._named.items():
            if name not in told:
                self._own.write(row, Counted())
        for subject, counted in told.values():
            self._row(subject, counted)

    def today(self, subject: str, now: int) -> Spent:
        """Return what a use case has used and reserved, over all processes. The clock stepping back empties nothing."""
        own = self._rows.get(subject) or self._row(subject, Counted())
        if now // A_DAY > own.day:
            with self._lock:
                self._roll(own, now // A_DAY)
        return Spent(*self._sum(own))

    def reserve(self, subject: str, limits: Limits, tokens: int, nano: int, now: int) -> Reservation | Over:
        """Count a call with its estimated tokens and nano-dollars, or say which limit it would pass."""
        tokens, nano = min(tokens, MOST), min(nano, MOST)
        own = self._rows.get(subject) or self._row(subject, Counted())
        view, base = self._view, own.base
        with self._lock:
            if now // A_DAY > own.day:
                self._roll(own, now // A_DAY)
            view[base + CALLS] = own.calls = own.calls + 1
            view[base + TOKENS] = own.tokens = own.tokens + tokens
            view[base + HELD_TOKENS] = own.held_tokens = own.held_tokens + tokens
            if nano:
                view[base + NANO] = own.nano = own.nano + nano
                view[base + HELD_NANO] = own.held_nano = own.held_nano + nano
        made = Reservation(own, own.day, own.month, tokens, nano)
        _, _, calls, its_tokens, its_nano, month_calls, month_tokens, month_nano = spent = self._sum(own)
        if (
            (0 < limits.calls_per_day < calls)
            or (0 < limits.tokens_per_day < its_tokens)
            or (0 < limits.nano_per_day < its_nano)
            or (0 < limits.calls_per_month < month_calls)
            or (0 < limits.tokens_per_month < month_tokens)
            or (0 < limits.nano_per_month < month_nano)
        ):
            self.release(made)
            return _over(Spent(*spent), limits, tokens, nano)
        return made

    def settle(self, reservation: Reservation, tokens: int, nano: int) -> None:
        """Replace the estimate by what is on record. Of a day or month that is over, nothing is counted any more."""
        self._close(reservation, 0, min(tokens, MOST) - reservation.tokens, min(nano, MOST) - reservation.nano)

    def release(self, reservation: Reservation) -> None:
        """Take a reservation back: no call was made."""
        self._close(reservation, -1, -reservation.tokens, -reservation.nano)

    def held(self, subject: str) -> tuple[int, int]:
        """Return the tokens and nano-dollars that are reserved and not settled, over all processes."""
        own = self._rows.get(subject) or self._row(subject, Counted())
        if own.seen != self._map[:]:
            self._look(own)
        found = [file.held(row) for file, row in own.others]
        return own.held_tokens + sum(t for t, _ in found), own.held_nano + sum(n for _, n in found)

    def mend(self) -> list[str]:
        """Set the cells of every shard that no process holds to what is on record; returns the shards.

        For the one process that leads. What a killed process had reserved, and never recorded, is free again. Where the
        records cannot be read, what stands in the cells counts on.
        """
        mended = []
        for number in range(SHARDS):
            begun, used = self._index.of(number)
            if number == self._number or not begun:
                continue
            try:
                file = Cells(path_of(self._folder, number), write=True)
            except Conflict:
                continue  # its process is alive
            try:
                if file.sound and file.loose:
                    self._mended(file, f"shard-{number}", used)
                    mended.append(f"shard-{number}")
            except Tampered:
                continue
            finally:
                file.close()
        return mended

    def close(self) -> None:
        """Let the files go; whoever opens or mends them next sets them to what is on record."""
        for file in (*self._files.values(), self._own):
            file.close()
        self._index.close()

    def _mended(self, file: Cells, shard: str, used: int) -> None:
        recorded = {digest(subject): counted for subject, counted in self._recorded(shard).items()}
        for name, row in file.digests(0, used):
            file.write(row, recorded.get(name, Counted()))
        file.loose = False

    def _row(self, subject: str, counted: Counted) -> Own:
        with self._lock:
            if subject in self._rows:
                return self._rows[subject]
            name = digest(subject)
            row = self._named.get(name, self._used)
            if row >= ROWS:
                raise Unavailable(f"more than {ROWS} use cases have budgets in this folder")
            base = self._own.name(row, name)
            self._own.write(row, counted)
            if row == self._used:
                self._used += 1
                self._index.tell(self._number, self._begun, self._used)  # from here on the others see it
            self._named[name] = row
            own = self._rows[subject] = Own(name, base, *counted)
            return own

    def _roll(self, own: Own, day: int) -> None:
        """Begin a new day, or month, at nought; never an earlier one."""
        if day != self._day:
            moment = EPOCH + day * A_DAY * MICROSECOND
            self._day, self._month = day, moment.year * 12 + moment.month - 1
        view, base = self._view, own.base
        same = own.month == self._month
        view[base + BEFORE_CALLS] = own.before_calls = own.before_calls + own.calls if same else 0
        view[base + BEFORE_TOKENS] = own.before_tokens = own.before_tokens + own.tokens if same else 0
        view[base + BEFORE_NANO] = own.before_nano = own.before_nano + own.nano if same else 0
        view[base + CALLS] = own.calls = 0  # after them: for a moment too much is seen, never too little
        view[base + TOKENS] = own.tokens = 0
        view[base + NANO] = own.nano = 0
        view[base + HELD_TOKENS] = own.held_tokens = 0
        view[base + HELD_NANO] = own.held_nano = 0
        view[base + MONTH] = own.month = self._month
        view[base + DAY] = own.day = day

    def _close(self, made: Reservation, calls: int, tokens: int, nano: int) -> None:
        own, view = made.row, self._view
        base = own.base
        with self._lock:
            if not made.open:
                return
            made.open = False
            if made.day == own.day:
                view[base + HELD_TOKENS] = own.held_tokens = own.held_tokens - made.tokens
                view[base + TOKENS] = own.tokens = own.tokens + tokens
                if nano or made.nano:
                    view[base + HELD_NANO] = own.held_nano = own.held_nano - made.nano
                    view[base + NANO] = own.nano = own.nano + nano
                if calls:
                    view[base + CALLS] = own.calls = own.calls + calls
            elif made.month == own.month:
                view[base + BEFORE_CALLS] = own.before_calls = own.before_calls + calls
                view[base + BEFORE_TOKENS] = own.before_tokens = own.before_tokens + tokens
                view[base + BEFORE_NANO] = own.before_nano = own.before_nano + nano

    def _sum(self, own: Own) -> Sum:
        if own.seen != self._map[:]:
            self._look(own)
        day, month, calls, tokens, nano = own.day, own.month, own.calls, own.tokens, own.nano
        month_calls, month_tokens = own.before_calls + calls, own.before_tokens + tokens
        month_nano = own.before_nano + nano
        for file, row in own.others:
            its = file.read(row)
            if its[0] == day:
                calls += its[2]
                tokens += its[3]
                nano += its[4]
            elif its[0] > day:  # its clock is past midnight, or went further and stepped back: the newest day counts
                with self._lock:
                    self._roll(own, its[0])
                return self._sum(own)
            if its[1] == month:
                month_calls += its[2] + its[5]
                month_tokens += its[3] + its[6]
                month_nano += its[4] + its[7]
        return day, month, calls, tokens, nano, month_calls, month_tokens, month_nano

    def _look(self, own: Own) -> None:
        """Find the use case in the files of the other shards, opening those that are new."""
        with self._lock:
            seen = self._map[:]
            found = ((number, self._place(number, own.digest)) for number in range(SHARDS) if number != self._number)
            own.others = tuple((self._files[number], row) for number, row in found if row is not None)
            own.seen = seen

    def _place(self, number: int, name: bytes) -> int | None:
        begun, used = self._index.of(number)
        if not begun:
            return None
        if number not in self._files:
            self._files[number] = Cells(path_of(self._folder, number), write=False)
        before, known, places = self._places.get(number, (begun, 0, {}))
        if begun != before:  # its process found it damaged
            known, places = 0, {}
        if used != known:
            places = {**places, **dict(self._files[number].digests(known, used))}
        self._places[number] = (begun, used, places)
        return places.get(name)


def _over(spent: Spent, limits: Limits, tokens: int, nano: int) -> Over:
    over = next(line for line in spent.against(limits) if line.used > line.most)
    wanted = {"calls": 1, "tokens": tokens, "nano": nano}[over.limit.partition("_")[0]]
    return Over(over.limit, over.used - wanted, over.most)


def _held(path: Path) -> Cells:
    for _ in range(HOLD_TRIES):
        try:
            return Cells(path, write=True)
        except Conflict:
            time.sleep(HOLD_WAIT)  # whoever leads mends it just now
    return Cells(path, write=True)
