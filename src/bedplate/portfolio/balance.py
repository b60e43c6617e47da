"""Whether the portfolio is what it is meant to be, and the trap: generative AI on data that nobody keeps in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .rank import Contract
from .usecase import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .rank import Proposal

LEAN = 500  # per mille of the effort from which the portfolio leans to generative AI
WHOLE = 1000


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket: its part of the effort and of the yearly value, and its target, all in per mille; -1: no target."""

    name: str
    count: int
    days: int
    cents: int
    effort: int
    worth: int
    target: int


@dataclass(frozen=True, slots=True)
class Unlock:
    """Data work: the contract, its days, and the yearly value that waits for it.

    `alone_cents` waits for this contract only; `share_cents` is its part of all that waits, by days where several lack.
    """

    contract: Contract
    days: int
    alone_cents: int
    share_cents: int
    waiting: tuple[str, ...]

    @property
    def cents_a_day(self) -> int:
        """Yearly value unlocked for a day of work."""
        return self.share_cents // self.days


@dataclass(frozen=True, slots=True)
class Trap:
    """The trap, in numbers. `sprung` tells whether to warn; the work is ordered by value for a day."""

    sprung: bool
    days: int
    generative_days: int
    generative_permille: int
    cents: int  # spent beside the days
    generative_cents: int
    needed: int  # contracts that the generative ones need
    broken: tuple[Contract, ...]  # of these, those that do not pass
    standing_days: int  # of the generative effort, what stands on them
    standing_cents: int  # and the yearly value that it promises
    unnamed: tuple[str, ...]  # generative ones that name no contract at all
    work: tuple[Unlock, ...]


def buckets(proposals: Sequence[Proposal], targets: Mapping[str, int]) -> list[Bucket]:
    """Return each bucket's part of the effort and of the value. `targets` in percent."""
    days, cents = sum(p.effort_days for p in proposals), sum(p.yearly_cents.mid for p in proposals)
    found = []
    for name in BUCKETS:
        mine = [p for p in proposals if p.bucket == name]
        effort, worth = sum(p.effort_days for p in mine), sum(p.yearly_cents.mid for p in mine)
        target = targets[name] * 10 if name in targets else -1
        found.append(Bucket(name, len(mine), effort, worth, _permille(effort, days), _permille(worth, cents), target))
    return found


def trap(proposals: Sequence[Proposal], contracts: Mapping[str, Contract]) -> Trap:
    """Look whether effort leans to generative AI while the data that it needs does not pass its checks."""
    generative = [p for p in proposals if p.generative]
    days, mine = sum(p.effort_days for p in proposals), sum(p.effort_days for p in generative)
    cents, spent = sum(p.cost_cents for p in proposals), sum(p.cost_cents for p in generative)
    needed = sorted({name for p in generative for name in p.contracts})
    broken = [c for c in (_contract(contracts, name) for name in needed) if c.state != "passing"]
    names = {c.id for c in broken}
    standing = [p for p in generative if names & set(p.contracts)]
    leaning = _permille(mine, days) >= LEAN or _permille(spent, cents) >= LEAN
    return Trap(
        sprung=leaning and bool(broken),
        days=days,
        generative_days=mine,
        generative_permille=_permille(mine, days),
        cents=cents,
        generative_cents=spent,
        needed=len(needed),
        broken=tuple(broken),
        standing_days=sum(p.effort_days for p in standing),
        standing_cents=sum(p.yearly_cents.mid for p in standing),
        unnamed=tuple(p.id for p in generative if not p.contracts),
        work=tuple(unlocks(proposals, contracts)),
    )


def unlocks(proposals: Sequence[Proposal], contracts: Mapping[str, Contract]) -> list[Unlock]:
    """List the data work that would unlock value, the most value for a day of work first.

    What lacks several contracts is unlocked by all of them only: its value is shared among them by their days, so that
    the shares together are what waits, and nothing is promised twice.
    """
    lacks = {
        p.id: [c for c in (_contract(contracts, name) for name in p.contracts) if c.state != "passing"]
        for p in proposals
    }
    found = []
    for contract in {c.id: c for held in lacks.values() for c in held}.values():
        waiting = [p for p in proposals if contract.id in {c.id for c in lacks[p.id]}]
        alone = sum(p.yearly_cents.mid for p in waiting if len(lacks[p.id]) == 1)
        share = sum(p.yearly_cents.mid * _days(contract) // sum(_days(c) for c in lacks[p.id]) for p in waiting)
        found.append(Unlock(contract, _days(contract), alone, share, tuple(p.id for p in waiting)))
    return sorted(found, key=lambda u: (-u.cents_a_day, u.contract.id))


def _contract(contracts: Mapping[str, Contract], name: str) -> Contract:
    return contracts.get(name) or Contract(name, name, "unknown", 0, 0)


def _days(contract: Contract) -> int:
    return max(1, contract.mend_days)


def _permille(part: int, whole: int) -> int:
    return round(WHOLE * part / whole) if whole else 0
