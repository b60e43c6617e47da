"""Which set to build: the most value under people, money, appetite and balance, solved exactly (HiGHS in SciPy)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput, Unavailable

from .usecase import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Capacity = tuple[Callable[["Choice"], bool], int, Callable[["Choice"], int], str]  # of whom, most, of what, name

TIME_LIMIT_S = 20
MOST = 2000  # proposals
NONE = -1  # no limit


@dataclass(frozen=True, slots=True)
class Choice:
    """What may be chosen. `value` in cents a year, or points, whichever is to be maximised."""

    id: str
    title: str
    domain: str
    tier: int
    bucket: str
    days: int
    cents: int
    value: int
    after: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What there is: days and cents in all and by domain, how many of each tier, and each bucket's percent of the days.

    `within_percent`: how far a bucket's share may be off. `hard`: further is not allowed; otherwise it costs value.
    """

    days: int
    cents: int
    domains: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    tiers: Mapping[int, int] = field(default_factory=dict)
    buckets: Mapping[str, int] = field(default_factory=dict)
    within_percent: int = 5
    hard: bool = False

    def made(self, *, hard: bool) -> Limits:
        """Return the same with the buckets as limits, or as targets."""
        return replace(self, hard=hard)


@dataclass(frozen=True, slots=True)
class Used:
    """One limit: how much of it the chosen set uses, and of how much."""

    limit: str
    used: int
    most: int


@dataclass(frozen=True, slots=True)
class Selected:
    """The chosen set. `optimal`: proven that none is better; `gap_permille`: how much better one could be otherwise.

    `objective` is the value less what being off balance costs; `price` is that cost, in value a day.
    """

    chosen: tuple[Choice, ...]
    left: tuple[tuple[Choice, str], ...]  # and why
    value: int
    objective: int
    optimal: bool
    gap_permille: int
    price: int
    used: tuple[Used, ...]
    shares: Mapping[str, int]  # per mille of the days, by bucket


@dataclass(frozen=True, slots=True)
class Difference:
    """Two selections side by side: what the second takes in, what falls out of it, and what it is worth more."""

    comes: tuple[Choice, ...]
    falls: tuple[Choice, ...]
    value: int


def compare(before: Selected, after: Selected) -> Difference:
    """Set two selections side by side."""
    old, new = {c.id for c in before.chosen}, {c.id for c in after.chosen}
    comes = tuple(c for c in after.chosen if c.id not in old)
    falls = tuple(c for c in before.chosen if c.id not in new)
    return Difference(comes, falls, after.value - before.value)


def select(
    choices: Sequence[Choice],
    limits: Limits,
    *,
    must: Iterable[str] = (),
    without: Iterable[str] = (),
    done: Iterable[str] = (),
) -> Selected:
    """Choose the set of most value. `done` are what others may come after and need not choose.

    `InvalidInput` names an unknown must-have and limits that no set keeps; `Unavailable` without the extra.
    """
    ids = {c.id: n for n, c in enumerate(choices)}
    musts, outs = set(must), set(without)
    _sensible(ids, limits, musts, outs)
    if not choices:
        return _told(choices, limits, [], 0, (True, 0), {})
    rows = _Rows(len(choices), limits, _price(choices))
    rows.capacity(choices)
    gone = rows.order(choices, ids, set(done))
    rows.balance(choices)
    low = [int(c.id in musts) for c in choices]
    high = [int(c.id not in outs and c.id not in gone) for c in choices]
    if blocked := sorted(musts & gone.keys()):
        raise InvalidInput(
            f"{blocked[0]} must be in, but {gone[blocked[0]]}", hint="leave it out, or choose the other too"
        )
    picked, proof = rows.solve([c.value for c in choices], low, high)
    if picked is None:
        raise InvalidInput(_why_none(choices, limits, musts), hint="raise the limit, or have fewer must-haves")
    why = {**gone, **dict.fromkeys(outs, "it was left out on request")}
    return _told(choices, limits, picked, rows.price, proof, why)


class _Rows:
    """The constraints, row by row, and the columns: one a proposal, then two a bucket for being over and under."""

    def __init__(self, count: int, limits: Limits, price: int) -> None:
        self.count = count
        self.limits = limits
        self.soft = bool(limits.buckets) and not limits.hard
        self.price = price if self.soft else 0
        self.rows: list[dict[int, float]] = []
        self.most: list[float] = []

    def add(self, row: dict[int, float], most: float) -> None:
        """Require that the row's sum is at most this."""
        if row:
            self.rows.append(row)
            self.most.append(most)

    def capacity(self, choices: Sequence[Choice]) -> None:
        """Add what there is of people, money and appetite."""
        for of, most, measure, _ in _capacities(self.limits):
            if most != NONE:
                self.add({n: float(measure(c)) for n, c in enumerate(choices) if of(c) and measure(c)}, most)

    def order(self, choices: Sequence[Choice], ids: Mapping[str, int], done: set[str]) -> dict[str, str]:
        """Add what comes after what, and what excludes what. Returns what cannot be chosen at all, and why."""
        gone: dict[str, str] = {}
        for n, choice in enumerate(choices):
            for name in choice.after:
                if name in ids:
                    self.add({n: 1.0, ids[name]: -1.0}, 0)
                elif name not in done:
                    gone[choice.id] = f"it comes after {name}, which is not there"
            for name in choice.excludes:
                if name in ids:
                    self.add({n: 1.0, ids[name]: 1.0}, 1)
                elif name in done:
                    gone[choice.id] = f"it is excluded by {name}, which is there"
        return gone

    def balance(self, choices: Sequence[Choice]) -> None:
        """Add the buckets' shares of the days: as a limit, or with a column that takes up what is off and costs."""
        for place, bucket in enumerate(sorted(self.limits.buckets)):
            target, within = self.limits.buckets[bucket], self.limits.within_percent
            for sign, edge, slack in ((1, target + within, 0), (-1, target - within, 1)):
                if not 0 <= edge <= 100:  # noqa: PLR2004  percent
                    continue
                row = {n: sign * (100 * (c.bucket == bucket) - edge) * float(c.days) for n, c in enumerate(choices)}
                if self.soft:
                    row[self.count + 2 * place + slack] = -100.0
                self.add({n: v for n, v in row.items() if v}, 0)

    def solve(
        self, values: Sequence[int], low: list[int], high: list[int]
    ) -> tuple[list[int] | None, tuple[bool, int]]:
        """Return what is chosen, None if nothing can be, with whether it is proven, and the gap in per mille."""
        milp, constraint, bounds, sparse = _solver()
        slacks = 2 * len(self.limits.buckets) if self.soft else 0
        objective = [-float(v) for v in values] + [float(self.price)] * slacks
        where = [(n, column, v) for n, row in enumerate(self.rows) for column, v in row.items()]
        matrix = sparse(
            ([v for _, _, v in where], ([n for n, _, _ in where], [c for _, c, _ in where])),
            shape=(len(self.rows), self.count + slacks),
        )
        found = milp(
            objective,
            constraints=[constraint(matrix, -float("inf"), self.most)] if self.rows else [],
            integrality=[1] * self.count + [0] * slacks,
            bounds=bounds([*map(float, low), *[0.0] * slacks], [*map(float, high), *[float("inf")] * slacks]),
            options={"mip_rel_gap": 0.0, "time_limit": float(TIME_LIMIT_S)},
        )
        if found.x is None:
            return None, (False, 0)
        gap = float(found.mip_gap or 0)
        return [n for n in range(self.count) if found.x[n] > 0.5], (found.status == 0, round(1000 * gap))  # noqa: PLR2004  chosen is one


def _solver() -> tuple[Any, Any, Any, Any]:
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415  heavy, and an extra
        from scipy.sparse import csr_matrix  # noqa: PLC0415  as above
    except ImportError:
        raise Unavailable("choosing a set needs SciPy", hint="pip install 'bedplate[planning]'") from None
    return milp, LinearConstraint, Bounds, csr_matrix


def _capacities(limits: Limits) -> list[Capacity]:
    """List the limits that are sums: of whom, how much at most, of what, and its name."""

    def everyone(_: Choice) -> bool:
        return True

    def days(c: Choice) -> int:
        return c.days

    def cents(c: Choice) -> int:
        return c.cents

    def one(_: Choice) -> int:
        return 1

    def within(domain: str) -> Callable[[Choice], bool]:
        return lambda c: c.domain == domain

    def rated(tier: int) -> Callable[[Choice], bool]:
        return lambda c: c.tier == tier

    found: list[Capacity] = [
        (everyone, limits.days, days, "person-days"),
        (everyone, limits.cents, cents, "cents"),
    ]
    for domain, (most_days, most_cents) in sorted(limits.domains.items()):
        found.append((within(domain), most_days, days, f"person-days of {domain}"))
        found.append((within(domain), most_cents, cents, f"cents of {domain}"))
    found += [(rated(tier), most, one, f"of tier {tier}") for tier, most in sorted(limits.tiers.items())]
    return found


def _price(choices: Sequence[Choice]) -> int:
    """Return what a day off balance costs: half of what a day of all proposals is worth."""
    days = sum(c.days for c in choices)
    return sum(c.value for c in choices) // (2 * days) if days else 0


def _sensible(ids: Mapping[str, int], limits: Limits, musts: set[str], outs: set[str]) -> None:
    if len(ids) > MOST:
        raise InvalidInput(f"{len(ids)} proposals; {MOST} are chosen from", hint="decide about some of them first")
    for name in sorted(musts | outs):
        if name not in ids:
            known = ", ".join(sorted(ids)[:10]) or "none"
            raise InvalidInput(f"{name!r} is no proposal that may be chosen", hint=f"some that are: {known}")
    if both := sorted(musts & outs):
        raise InvalidInput(f"{both[0]} must be in and must be out", hint="name it once")
    wrong = sorted(b for b in limits.buckets if b not in BUCKETS)
    if wrong:
        raise InvalidInput(f"no bucket {wrong[0]!r}", hint=f"one of: {', '.join(BUCKETS)}")


def _why_none(choices: Sequence[Choice], limits: Limits, musts: set[str]) -> str:
    """Say which limit the must-haves alone break, if one does."""
    held = [c for c in choices if c.id in musts]
    for of, most, measure, name in _capacities(limits):
        need = sum(measure(c) for c in held if of(c))
        if most != NONE and need > most:
            return f"what must be in needs {need} {name}, and there are {most}"
    return "no set keeps every limit: must-haves, what comes after what, and the buckets' limits contradict each other"


def _told(
    choices: Sequence[Choice],
    limits: Limits,
    picked: list[int],
    price: int,
    proof: tuple[bool, int],
    why: Mapping[str, str],
) -> Selected:
    chosen = [choices[n] for n in picked]
    used = [
        Used(name, sum(measure(c) for c in chosen if of(c)), most)
        for of, most, measure, name in _capacities(limits)
        if most != NONE
    ]
    taken = {c.id for c in chosen}
    left = tuple((c, why.get(c.id) or _outside(c, chosen, limits)) for c in choices if c.id not in taken)
    days = sum(c.days for c in chosen)
    shares = {b: round(1000 * sum(c.days for c in chosen if c.bucket == b) / days) if days else 0 for b in BUCKETS}
    off = sum(_off(limits, b, sum(c.days for c in chosen if c.bucket == b), days) for b in limits.buckets)
    value = sum(c.value for c in chosen)
    return Selected(
        tuple(chosen), left, value, value - round(price * off), proof[0], proof[1], price, tuple(used), shares
    )


def _outside(choice: Choice, chosen: Sequence[Choice], limits: Limits) -> str:
    """Say what keeps a proposal out, as the set is now; more than one thing may."""
    full = [
        name
        for of, most, measure, name in _capacities(limits)
        if most != NONE and of(choice) and sum(measure(c) for c in chosen if of(c)) + measure(choice) > most
    ]
    if full:
        return f"no room: {', '.join(full)}"
    taken = {c.id for c in chosen}
    if missing := [name for name in choice.after if name not in taken]:
        return f"it comes after {missing[0]}, which is not chosen"
    if rivals := [c.id for c in chosen if c.id in choice.excludes or choice.id in c.excludes]:
        return f"it is excluded by {rivals[0]}"
    return "it would take the buckets further from their targets than it is worth"


def _off(limits: Limits, bucket: str, mine: int, days: int) -> float:
    """Return by how many days a bucket is outside of its target and the tolerance."""
    target, within = limits.buckets[bucket], limits.within_percent
    return max(0.0, mine - (target + within) * days / 100, (target - within) * days / 100 - mine)


def remaining(limits: Limits, committed: Sequence[Choice], standing: Mapping[int, int]) -> Limits:
    """Return what is left once what was taken up already has its part; `standing` counts live use cases by tier."""
    tiers = {
        tier: max(0, most - standing.get(tier, 0) - sum(c.tier == tier for c in committed))
        for tier, most in limits.tiers.items()
    }

    def less(most: int, taken: int) -> int:
        return NONE if most == NONE else max(0, most - taken)

    domains = {
        name: (
            less(days, sum(c.days for c in committed if c.domain == name)),
            less(cents, sum(c.cents for c in committed if c.domain == name)),
        )
        for name, (days, cents) in limits.domains.items()
    }
    return replace(
        limits,
        days=less(limits.days, sum(c.days for c in committed)),
        cents=less(limits.cents, sum(c.cents for c in committed)),
        domains=domains,
        tiers=tiers,
    )
