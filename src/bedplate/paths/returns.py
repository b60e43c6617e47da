"""What use cases were worth: hypotheses and measures of the portfolio, cost of the gateway's calls, and feedback."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedplate.errors import Denied, InvalidInput, NotFound
from bedplate.gateway.cost import csv_text
from bedplate.kernel.clock import rfc3339
from bedplate.models.interval import wilson
from bedplate.portfolio import book, entries
from bedplate.portfolio.benefit import (
    COSTS,
    YEAR,
    Known,
    Month,
    Sum,
    added,
    month_at,
    month_of,
    period,
    series,
    total,
)
from bedplate.portfolio.measure import COST_KINDS, MONEY, Measure, Terms, checked, read_measures

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Engine

    from bedplate.kernel.clock import Clock
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel
    from bedplate.portfolio.book import Booked
    from bedplate.portfolio.entries import Firing, Stake

BY = ("bucket", "domain", "tier")
ON_PAGE = 14  # use cases of the one-page report
NANO_CENTS = 10**10  # nano-US-dollars times permille of the currency, to a cent
COLUMNS = (
    *("use_case", "title", "domain", "bucket", "tier", "stage", "currency", "months", "forecast_cents"),
    *("realised_cents", "low_cents", "high_cents", "without_interval_cents", "estimated_cents", "percent_of_forecast"),
    *(f"{kind}_cents" for kind in COSTS),
    *("cost_cents", "net_cents", "return_percent"),
)


@dataclass(frozen=True, slots=True)
class Money:
    """The currency of every amount, and how much of it a US dollar is. Without a currency nothing is converted."""

    currency: str = ""
    permille: int = 0

    @classmethod
    def of(cls, model: OperatingModel | None) -> Money:
        """Read it from the operating model."""
        found: Any = model.sections.get("money") if model is not None else None
        return cls(str(found["currency"]), int(found["per_usd_permille"])) if found else cls()

    def cents(self, nano: int) -> int:
        """Convert nano-US-dollars to cents, at the rate that is in force now."""
        return (nano * self.permille + NANO_CENTS // 2) // NANO_CENTS


@dataclass(frozen=True, slots=True)
class Return:
    """One use case: what it was accepted for, its months, their sum, and how its stop rule stands.

    `foreign` amounts were recorded in a currency that is not the operating model's any more; they are in no sum.
    """

    stake: Stake
    months: tuple[Month, ...]
    sum: Sum
    foreign: int
    firings: tuple[Firing, ...] = ()

    @property
    def judged_since(self) -> int:
        """The first whole month that its stop rule counts; 0 while it was never live."""
        renewed = max((month_at(f.renewed_at) for f in self.firings if f.renewed_at), default=0)
        begun = month_at(self.stake.live_at) if self.stake.live_at else 0
        return max(renewed, begun) + 1 if begun else 0

    @property
    def counted(self) -> int:
        """How many whole months the stop rule has counted so far."""
        since = self.judged_since
        return sum(m.over and m.number >= since for m in self.months) if since else 0

    @property
    def since_judged(self) -> Sum:
        """The sum of the months that the stop rule counts."""
        since = self.judged_since
        return total([m for m in self.months if m.number >= since]) if since else Sum()

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        stake, stop = self.stake, self.stake.stop
        of = stake.hypothesis
        told = {name: getattr(stake, name) for name in ("id", "title", "owner", "domain", "bucket", "tier", "stage")}
        hypothesis = {name: getattr(of, name) for name in ("unit", "baseline", "target", "per_month", "cents_per_unit")}
        rule: dict[str, Any] | None = None
        if stop is not None:
            rule = {"after_months": stop.after_months, "below_percent": stop.below_percent, "then": stop.then}
            rule |= {"counted_months": self.counted, "percent": self.since_judged.percent}
            rule |= {"fired": stake.why, "due": stake.due}
        return {
            **told,
            "hypothesis": {**hypothesis, "monthly_cents": of.monthly_cents},
            "sum": self.sum.plain(),
            "amounts_in_other_currencies": self.foreign,
            "stop": rule,
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Use cases added up by what they have in common."""

    name: str
    cases: int
    sum: Sum

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return {"name": self.name, "use_cases": self.cases, **self.sum.plain()}


def returns(
    engine: Engine, model: OperatingModel | None, now: int, domains: Collection[str] | None = None, subject: str = ""
) -> list[Return]:
    """Return what was taken into the portfolio, by title, with all of its months; of these domains, if named."""
    money = Money.of(model)
    staked = entries.stakes(engine, domains, subject)
    fired: dict[str, list[Firing]] = defaultdict(list)
    for firing in entries.firings(engine, subject):
        fired[firing.subject].append(firing)
    worked = {} if subject else _worked(engine, money, now)
    missing = [s for s in staked if _key(s) not in worked]
    if missing:
        measures = _by_subject(entries.measures(engine, {subject} if subject else None))
        seen = entries.observed(engine, subject)
        for stake in missing:
            known, foreign = _known(measures.get(stake.subject, ()), seen.get(stake.subject, {}), money)
            ended = month_at(stake.ended) if stake.ended else None
            months = series(stake.hypothesis, known, stake.live_at, ended, now)
            worked[_key(stake)] = months, total(months), foreign
    return [Return(stake, *worked[_key(stake)], tuple(fired[stake.subject])) for stake in staked]


def one(
    engine: Engine,
    model: OperatingModel | None,
    now: int,
    subject: str,
    domains: Collection[str] | None = None,
) -> Return:
    """Return one use case; `NotFound` if it was never taken into the portfolio, or is of none of these domains."""
    found = returns(engine, model, now, domains, subject)
    if not found:
        raise NotFound(f"no use case {subject.partition('/')[2]} was accepted", hint="list them: bedplate value")
    return found[0]


def grouped(found: Sequence[Return], by: str) -> list[Group]:
    """Add use cases up by bucket, domain or tier, in order of their names."""
    parts: dict[str, list[Sum]] = defaultdict(list)
    for one in found:
        parts[str(getattr(one.stake, by))].append(one.sum)
    return [Group(name, len(sums), added(sums)) for name, sums in sorted(parts.items())]


def whole(found: Sequence[Return]) -> Group:
    """Add all of them up."""
    return Group("together", len(found), added([one.sum for one in found]))


def by_month(found: Sequence[Return], this: int, count: int = YEAR) -> list[tuple[str, Sum]]:
    """Add the use cases up month by month: the last months that are over, oldest first."""
    parts: dict[int, list[Month]] = defaultdict(list)
    for one in found:
        for month in one.months:
            if this - count <= month.number < this:
                parts[month.number].append(month)
    begun = min(parts, default=this)
    return [(period(number), total(parts[number])) for number in range(begun, this)]


def table(found: Sequence[Return], currency: str) -> str:
    """Write a row for each use case as CSV, amounts in cents."""
    return csv_text([_row(one, currency) for one in found], COLUMNS)


def page(found: Sequence[Return], model: OperatingModel | None, now: int) -> dict[str, Any]:
    """Return what the one-page report shows, as plain values: the sums, the months, and the use cases that matter."""
    together = whole(found)
    domains = model.domains if model is not None else {}
    months = [{"period": name, **sums.plain()} for name, sums in by_month(found, month_at(now))]
    most = sorted(found, key=_weight)[:ON_PAGE]
    return {
        "organisation": model.organisation if model is not None else "",
        "currency": Money.of(model).currency,
        "at": rfc3339(now),
        "total": together.plain(),
        "by_bucket": [g.plain() for g in grouped(found, "bucket")],
        "by_domain": [{**g.plain(), "name": domains.get(g.name, g.name)} for g in grouped(found, "domain")],
        "by_tier": [{**g.plain(), "name": f"tier {g.name}"} for g in grouped(found, "tier")],
        "months": months,
        "use_cases": [{**r.plain(), "domain": domains.get(r.stake.domain, r.stake.domain)} for r in most],
        "more": len(found) - len(most),
        "stopped": [r.plain() for r in found if r.stake.why and r.stake.stage == "live"],
        "foreign": sum(r.foreign for r in found),
    }


def terms_of(engine: Engine, model: OperatingModel | None, now: int, stakes: Sequence[Stake] | None = None) -> Terms:
    """Return what measures are checked against; `InvalidInput` while the operating model names no currency."""
    if model is None:
        raise Denied("no operating model is in force", hint="bedplate apply operating-model.yaml")
    currency = Money.of(model).currency
    if not currency:
        raise InvalidInput(
            "the operating model names no currency, so no amount can be told from another",
            hint="add to operating-model.yaml: money: {currency: EUR, per_usd_permille: 920}, and apply it",
        )
    found = stakes if stakes is not None else entries.stakes(engine)
    return Terms(currency, month_at(now), {s.subject: s.hypothesis for s in found})


@dataclass(frozen=True, slots=True)
class Book:
    """Puts measures on record. One for an installation."""

    engine: Engine
    governor: Governor
    clock: Clock

    def put(self, by: str, model: OperatingModel | None, row: Mapping[str, str]) -> Booked:
        """Record one measure, given by column; an amount without a currency is in the operating model's."""
        book.refuse_strangers(self.governor, by, f"usecase/{row['use_case'].removeprefix('usecase/')}")
        staked = entries.stakes(self.engine)
        terms = terms_of(self.engine, model, self.clock(), staked)
        given = dict(row)
        if not given["currency"] and given["metric"] in MONEY:
            given["currency"] = terms.currency
        of = terms.hypotheses.get(f"usecase/{given['use_case'].removeprefix('usecase/')}")
        if of is not None and not given["unit"] and given["metric"] == "level":
            given["unit"] = of.unit
        return self._record(by, (checked(given, terms),), terms, staked, "by hand")

    def bring(self, by: str, model: OperatingModel | None, lines: Iterable[str], name: str) -> Booked:
        """Record the measures of a CSV file, all or nothing; `InvalidDocument` names the rows that are wrong."""
        staked = entries.stakes(self.engine)
        terms = terms_of(self.engine, model, self.clock(), staked)
        return self._record(by, read_measures(lines, name, terms), terms, staked, name)

    def _record(
        self, by: str, measures: Sequence[Measure], terms: Terms, staked: Sequence[Stake], source: str
    ) -> Booked:
        known = {m.key: m for m in entries.measures(self.engine, {m.subject for m in measures})}
        domains = {s.subject: s.domain for s in staked}
        return book.record(self.governor, by, measures, terms, known, domains, source)


Worked = tuple[tuple[Month, ...], Sum, int]
_newest: tuple[tuple[object, ...], dict[tuple[object, ...], Worked]] = ((), {})


def _worked(engine: Engine, money: Money, now: int) -> dict[tuple[object, ...], Worked]:
    """Return what was worked out before, of exactly these records: a thousand use cases take half a second.

    Read before the records are: what comes in between is worked out again with the next look.
    """
    global _newest  # noqa: PLW0603  one, and the newest only
    state = (str(engine.url), entries.newest(engine), money, month_at(now))
    if _newest[0] != state:
        _newest = (state, {})
    return _newest[1]


def _key(stake: Stake) -> tuple[object, ...]:
    return stake.subject, stake.hypothesis, stake.live_at, stake.ended


def _weight(one: Return) -> tuple[int, str]:
    """Put first what moves most money, whichever way."""
    return -(abs(one.sum.realised.cents) + one.sum.cost + one.sum.forecast), one.stake.title


def _by_subject(found: Sequence[Measure]) -> dict[str, list[Measure]]:
    parts: dict[str, list[Measure]] = defaultdict(list)
    for measure in found:
        parts[measure.subject].append(measure)
    return parts


def _known(
    measures: Iterable[Measure], seen: Mapping[str, tuple[int, int, int, int]], money: Money
) -> tuple[dict[int, Known], int]:
    """Return what is on record of each month, and how many amounts are in another currency."""
    told: dict[str, dict[str, tuple[int, int, int]]] = defaultdict(dict)
    costs: dict[str, dict[str, int]] = defaultdict(dict)
    foreign = 0
    for m in measures:
        if m.metric in MONEY and m.currency != money.currency:
            foreign += 1
        elif m.metric in COST_KINDS:
            costs[m.period][m.metric] = m.milli // 10
        else:
            told[m.period][m.metric] = (m.milli, m.n, m.sd_milli)
    for month, (_, _, _, nano) in seen.items():
        if money.currency and nano:
            costs[month]["tokens"] = money.cents(nano)
    found = {}
    for month in {*told, *costs, *seen}:
        calls, up, down, _ = seen.get(month, (0, 0, 0, 0))
        share = (1000 * up // (up + down), *wilson(up, up + down)) if up + down else None
        found[month_of(month)] = Known(told.get(month, {}), calls, share, costs.get(month, {}))
    return found, foreign


def _row(one: Return, currency: str) -> dict[str, str | int]:
    stake, found = one.stake, one.sum
    known = bool(found.realised.below or found.realised.above)
    return {
        "use_case": stake.id,
        "title": stake.title,
        "domain": stake.domain,
        "bucket": stake.bucket,
        "tier": stake.tier,
        "stage": stake.stage,
        "currency": currency,
        "months": sum(m.over for m in one.months),
        "forecast_cents": found.forecast,
        "realised_cents": found.realised.cents,
        "low_cents": found.realised.low if known else "",
        "high_cents": found.realised.high if known else "",
        "without_interval_cents": found.realised.bare,
        "estimated_cents": found.estimated,
        "percent_of_forecast": "" if found.percent is None else found.percent,
        **{f"{kind}_cents": found.costs.get(kind, 0) for kind in COSTS},
        "cost_cents": found.cost,
        "net_cents": found.net,
        "return_percent": "" if found.return_percent is None else found.return_percent,
    }
