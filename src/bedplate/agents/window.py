"""Windows: what people agreed to beforehand, so that an agent need not ask each time. Within bounds, and counted.

A window covers what asks because of its amount or its class. It never covers what asks because an outsider may have
chosen an argument, because the agent is one rung down, or because a breaker is half open. Like every approval it is
bound to the release and to the stop epoch in which people agreed: a new release or a stop ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .facts import plain
from .governance import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import apsw

    from bedplate.kernel.standing import Standing

    from .record import Act
    from .runfile import RunFile
    from .toolcall import Told

COVERED = ("policy/", "default/")  # whose asks: those of rules, by the beginning of their names
TABLE = """
CREATE TABLE IF NOT EXISTS windowed (action TEXT PRIMARY KEY, subject TEXT NOT NULL, window TEXT NOT NULL,
  amount INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS windowed_by_window ON windowed (subject, window);
"""


@dataclass(frozen=True, slots=True)
class Window:
    """What was agreed to. Amounts in micro-units; 0 and empty: no bound."""

    id: str
    subject: str
    agent: str
    tool: str
    amount: int  # of one action
    total: int  # of all of them
    unit: str
    counterparties: frozenset[str]
    count: int
    until: int
    release: str
    epoch: str

    @classmethod
    def of(cls, subject: str, told: Mapping[str, Any]) -> Window:
        """Read one as it stands on record."""
        return cls(
            str(told["window"]),
            subject,
            str(told["agent"]),
            str(told["tool"]),
            int(told["amount_micro"]),
            int(told["total_micro"]),
            str(told["unit"]),
            frozenset(plain(str(name)) for name in told["counterparties"]),
            int(told["count"]),
            int(told["until"]),
            str(told.get("release", "")),
            str(told.get("epoch", "")),
        )

    def fits(self, act: Act, party: str) -> bool:
        """Tell whether one action is within its bounds, whatever was used of it before."""
        return (
            (self.agent, self.tool) == (act.agent, act.tool)
            and (self.release, self.epoch) == (act.release, act.epoch)
            and act.started < self.until
            and act.amount >= 0
            and (not act.amount or not (self.amount or self.total) or self.unit == act.unit)
            and (not self.amount or act.amount <= self.amount)
            and (not self.counterparties or plain(party) in self.counterparties)
        )

    @property
    def told(self) -> Told:
        """Say that it was why nobody was asked."""
        return (f"window/{self.id}", "people agreed to it beforehand, within bounds", "")


class Windows:
    """Counts what was used of each window, in the file that all serving processes of a host share."""

    def __init__(self, file: RunFile) -> None:
        self._file = file
        with file.writing() as db:
            db.execute(TABLE).fetchall()

    def covering(self, standing: Standing | None, act: Act, party: str, asks: Sequence[Told]) -> Window | None:
        """Return a window that covers all of these asks, the one that ends first; None where people must be asked."""
        told: Any = standing.facts.get(WINDOWS) if standing is not None else None
        if not told or not asks or act.route != "live" or act.tainted or act.dry_run:
            return None
        if not all(control.startswith(COVERED) for control, _, _ in asks):
            return None
        found = (Window.of(act.subject, one) for one in told.values())
        fitting = sorted((one for one in found if one.fits(act, party)), key=lambda one: (one.until, one.id))
        if not fitting:
            return None
        with self._file.reading() as db:
            return next((one for one in fitting if _room(db, one, act.amount)), None)

    def take(self, window: Window, act: Act) -> bool:
        """Use a window for one action; False if others used it up meanwhile. Twice for one action is once."""
        with self._file.writing() as db:
            if db.execute("SELECT 1 FROM windowed WHERE action = ?", (act.id,)).get is not None:
                return True
            if not _room(db, window, act.amount):
                return False
            row = (act.id, window.subject, window.id, act.amount, act.started)
            db.execute("INSERT INTO windowed VALUES (?, ?, ?, ?, ?)", row)
            return True

    def give_back(self, action: str) -> None:
        """Give back what an action used: it will not be done."""
        with self._file.writing() as db:
            db.execute("DELETE FROM windowed WHERE action = ?", (action,))

    def used(self, subject: str, window: str) -> tuple[int, int]:
        """Return how many actions used a window, and how much they moved together."""
        with self._file.reading() as db:
            return _used(db, subject, window)

    def prune(self, before: int) -> None:
        """Forget what was used before a moment; a window is over by then."""
        with self._file.writing() as db:
            db.execute("DELETE FROM windowed WHERE at < ?", (before,))


def _room(db: apsw.Connection, window: Window, amount: int) -> bool:
    count, total = _used(db, window.subject, window.id)
    return (not window.count or count < window.count) and (not window.total or total + amount <= window.total)


def _used(db: apsw.Connection, subject: str, window: str) -> tuple[int, int]:
    order = "SELECT count(*), coalesce(sum(amount), 0) FROM windowed WHERE subject = ? AND window = ?"
    count, total = db.execute(order, (subject, window)).fetchone() or (0, 0)
    return int(str(count)), int(str(total))
