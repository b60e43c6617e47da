"""What stops if a vendor stops: every live use case's models, its calls, its spend and its value, by vendor."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Engine, func, select

from bedplate.gateway.tables import usage
from bedplate.gateway.usage import LIVE
from bedplate.kernel.clock import DAY
from bedplate.portfolio.views import use_cases
from bedplate.vendors.governance import ENDED
from bedplate.vendors.vendor import Target, suppliers
from bedplate.vendors.views import vendors

from .reliance import target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.gateway.recipe import Recipe
    from bedplate.portfolio.views import UseCase
    from bedplate.vendors.views import Vendor

    from .thread import Offer

Effect = Literal["stops", "degrades", "unaffected"]
DAYS = 30
UNKNOWN = "unregistered"  # no vendor has this id: nobody on the register supplies it
ORDER: dict[Effect, int] = {"stops": 0, "degrades": 1, "unaffected": 2}


@dataclass(frozen=True, slots=True)
class Hit:
    """What becomes of one live use case if a vendor stops, and why."""

    id: str
    title: str
    effect: Effect
    why: str
    yearly_cents: int


@dataclass(frozen=True, slots=True)
class Share:
    """One vendor, with what goes through it. Shares in permille, of all vendors' calls and spend.

    `state`: as on the register; "" for what is not on it. `yearly_cents`: promised by the use cases that would stop.
    """

    id: str
    name: str
    state: str
    calls: int
    calls_permille: int
    cost_nano: int
    cost_permille: int
    yearly_cents: int
    yearly_permille: int
    hits: tuple[Hit, ...]

    def count(self, effect: Effect) -> int:
        """Count the use cases that this would become of."""
        return sum(hit.effect == effect for hit in self.hits)


@dataclass(frozen=True, slots=True)
class Concentration:
    """How much depends on how few. The Herfindahl index goes from 0 to 10,000, all with one; -1 while nothing counts.

    Where a call has two vendors, its host and its model's maker, each has half of it in the index, and all of it in
    its own share. `own_calls` were answered here, by nobody else.
    """

    days: int
    live: int
    shares: tuple[Share, ...]
    own_calls: int
    vendor_calls: int
    vendor_nano: int
    yearly_cents: int
    herfindahl_calls: int
    herfindahl_cost: int

    def plain(self, *, money: bool) -> dict[str, Any]:
        """Return it as JSON-ready values; what was spent only to those who may read it."""
        told = asdict(self)
        if not money:
            told |= {"vendor_nano": None, "herfindahl_cost": None}
            told["shares"] = [{**one, "cost_nano": None, "cost_permille": None} for one in told["shares"]]
        return told


def concentration(
    engine: Engine, recipes: Mapping[str, Recipe], offers: Mapping[str, Offer], now: int, days: int = DAYS
) -> Concentration:
    """Say what depends on whom, of what is live and of the calls of the last days."""
    known = [v for v in vendors(engine, now) if v.state != ENDED]
    live = [u for u in use_cases(engine) if u.stage == "live"]
    supplies = [v.supply for v in known]
    behind: dict[str, list[tuple[Target, list[str]]]] = {}
    for subject, recipe in recipes.items():
        behind[subject] = [(t, suppliers(t, supplies) or _unknown(t)) for t in _targets(recipe, offers)]
    hits = {v.id: _hits(v.id, v, live, behind, recipes) for v in known}
    if any(UNKNOWN in names for asked in behind.values() for _, names in asked):
        hits[UNKNOWN] = _hits(UNKNOWN, None, live, behind, recipes)
    calls, cost = _used(engine, behind, supplies, now // DAY, days)
    names = {v.id: v for v in known}
    yearly = sum(u.yearly_cents for u in live)
    all_calls, all_cost = _whole(calls), _whole(cost)
    shares = []
    for name, found in hits.items():
        lost = sum(hit.yearly_cents for hit in found if hit.effect == "stops")
        through, spent = _through(calls, name), _through(cost, name)
        vendor = names.get(name)
        shares.append(
            Share(
                id=name,
                name=vendor.name if vendor is not None else "not on the register",
                state=vendor.state if vendor is not None else "",
                calls=through,
                calls_permille=_permille(through, all_calls),
                cost_nano=spent,
                cost_permille=_permille(spent, all_cost),
                yearly_cents=lost,
                yearly_permille=_permille(lost, yearly),
                hits=tuple(sorted(found, key=_gravest)),
            )
        )
    return Concentration(
        days=days,
        live=len(live),
        shares=tuple(sorted(shares, key=_heaviest)),
        own_calls=calls.get((), 0),
        vendor_calls=all_calls,
        vendor_nano=all_cost,
        yearly_cents=yearly,
        herfindahl_calls=herfindahl(calls),
        herfindahl_cost=herfindahl(cost),
    )


def herfindahl(amounts: Mapping[tuple[str, ...], int]) -> int:
    """Return the Herfindahl-Hirschman index of what goes through vendors, 0 to 10,000; -1 where nothing does.

    The amount of several vendors together is split evenly; what has no vendor does not count.
    """
    sums: dict[str, float] = defaultdict(float)
    for names, amount in amounts.items():
        for name in names:
            sums[name] += amount / len(names)
    whole = sum(sums.values())
    return round(sum((part / whole) ** 2 for part in sums.values()) * 10_000) if whole else -1


def _targets(recipe: Recipe, offers: Mapping[str, Offer]) -> list[Target]:
    """Return what answers, then what answers where that fails; last, if there is one, what embeds."""
    every = [{"upstream": recipe.upstream, "model": recipe.model}, *recipe.fallbacks]
    every += [recipe.embedding] if recipe.embedding else []
    return [target(one["upstream"], one["model"], offers) for one in every]


def _unknown(target: Target) -> list[str]:
    return [] if target.own else [UNKNOWN]


def _hits(
    name: str,
    vendor: Vendor | None,
    live: list[UseCase],
    behind: Mapping[str, list[tuple[Target, list[str]]]],
    recipes: Mapping[str, Recipe],
) -> list[Hit]:
    products = [] if vendor is None else vendor.entry.get("products", [])
    run_on = {use_case: p["name"] for p in products for use_case in p.get("use_cases", ())}
    found = []
    for use_case in live:
        asked = behind.get(use_case.subject, [])
        embeds = bool(recipes[use_case.subject].embedding) if asked else False
        effect = _effect(name, asked, embeds=embeds)
        if use_case.id in run_on:
            effect = ("stops", f"it runs on {run_on[use_case.id]}")
        if effect is not None:
            found.append(Hit(use_case.id, use_case.title, effect[0], effect[1], use_case.yearly_cents))
    return found


def _effect(name: str, asked: list[tuple[Target, list[str]]], *, embeds: bool) -> tuple[Effect, str] | None:
    """Say what becomes of a use case whose models these are; None if it has nothing to do with the vendor."""
    answering = asked[:-1] if embeds else asked
    if not any(name in names for _, names in asked):
        return None
    left = [t for t, names in answering if name not in names]
    if answering and name in answering[0][1]:
        if not left:
            return "stops", f"{answering[0][0].model} answers, and nothing else may"
        return "degrades", f"{left[0].model} answers instead of {answering[0][0].model}"
    if embeds and name in asked[-1][1]:
        return "degrades", f"{asked[-1][0].model} makes no embeddings"
    return "unaffected", "it loses a fallback"


def _used(
    engine: Engine, behind: Mapping[str, list[tuple[Target, list[str]]]], supplies: list[Any], today: int, days: int
) -> tuple[dict[tuple[str, ...], int], dict[tuple[str, ...], int]]:
    """Add up live calls and their cost of the last days by the vendors that they went through, () for none."""
    columns = (usage.c.subject, usage.c.model)
    query = select(*columns, func.sum(usage.c.calls), func.sum(usage.c.cost_nano)).group_by(*columns)
    query = query.where(usage.c.day > today - days, usage.c.day <= today, usage.c.route == LIVE)
    calls: dict[tuple[str, ...], int] = defaultdict(int)
    cost: dict[tuple[str, ...], int] = defaultdict(int)
    with engine.connect() as connection:
        for subject, model, made, nano in connection.execute(query):
            now = next((names for t, names in behind.get(subject, ()) if t.model == model), None)
            # A model that the live release asks no more is known by its name alone.
            names = tuple(now if now is not None else suppliers(Target("", model), supplies))
            calls[names] += int(made)
            cost[names] += int(nano)
    return dict(calls), dict(cost)


def _whole(amounts: Mapping[tuple[str, ...], int]) -> int:
    return sum(amount for names, amount in amounts.items() if names)


def _through(amounts: Mapping[tuple[str, ...], int], name: str) -> int:
    return sum(amount for names, amount in amounts.items() if name in names)


def _permille(part: int, whole: int) -> int:
    return part * 1000 // whole if whole else 0


def _gravest(hit: Hit) -> tuple[int, int, str]:
    return ORDER[hit.effect], -hit.yearly_cents, hit.title


def _heaviest(share: Share) -> tuple[int, int, int, str]:
    return -share.yearly_cents, -share.count("stops"), -share.calls, share.name
