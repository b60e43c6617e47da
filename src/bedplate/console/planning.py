"""The portfolio as a whole: where everything stands and moves, the buckets, the trap, the ranking; and what if."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, Denied, InvalidInput
from bedplate.paths import planning
from bedplate.paths.planning import Setting
from bedplate.portfolio.select import NONE

from . import chart
from .problem import problem_of
from .visit import Page, Visit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

    from bedplate.paths.planning import Move, Plan, Table
    from bedplate.portfolio.rank import Proposal

NEAR = 8  # what is no farther apart stands in one place
AROUND = (50.0, 38.0)  # how far from it at most, across and up
SHOWN = 60  # rows of the ranking, bubbles, dots
ONE = 200  # per mille: the least of five points
STATES = {"live": "live", "accepted": "lowered", "proposed": "waiting", "deferred": "waiting", "taken-up": "lowered"}


@dataclass(frozen=True, slots=True)
class Spot:
    """A proposal in the picture of value by feasibility; `low` and `high` are the ends of its value's range."""

    proposal: Proposal
    x: float
    y: float
    radius: float
    low: float
    high: float
    state: str
    place: int  # in the ranking; 0 for what is live


@dataclass(frozen=True, slots=True)
class Arrow:
    """A use case that moved over the 2×2: from the middle of the quadrant it left to its dot."""

    move: Move
    dot: chart.Dot
    x: float
    y: float


def portfolio(visit: Visit) -> Response:
    """Show what there is, how it is balanced, and in which order it stands."""
    held, open_too = _held(visit), visit.query("ideas") != "no"
    days = visit.number("days", 30)
    window = days if days in planning.WINDOWS else planning.WINDOWS[0]
    cases = [c for c in held.cases if c.stage not in {"declined", "retired"}][:SHOWN]
    dots = chart.matrix(cases)
    moves = planning.movement(visit.at.engine, cases, visit.at.clock(), window)
    ranked = held.ranking
    now = visit.at.clock()
    shown = [*held.pool.open, *held.pool.portfolio][:SHOWN]
    return visit.show(
        "portfolio.html",
        held=held,
        open_too=open_too,
        days=window,
        windows=planning.WINDOWS,
        dots=dots,
        arrows=arrows(moves, dots),
        fresh=[m for m in moves if not m.tier_before],
        tiers={cell: f"{int(t)} {held.model.tiers[t].name}" for cell, t in held.model.matrix.items()},
        spots=spots(held, shown, {r.proposal.id: r.place for r in ranked}),
        buckets=held.buckets(open_too=open_too),
        trap=held.trap(open_too=open_too),
        ranked=ranked[:SHOWN],
        more=len(ranked) - SHOWN,
        moved=[m for m in held.sensitivity if m.swaps],
        titles={r.proposal.id: r.proposal.title for r in ranked},
        overdue=[i for i in held.ideas if i.overdue(now)],
    )


def what_if(visit: Visit) -> Response:
    """Choose with two settings, side by side. Nothing is decided by it."""
    held = _held(visit)
    given = {name: visit.query(name) for name in ("a_days", "a_cents", "b_days", "b_cents", "must", "without", "aim")}
    problem, difference = None, None
    plans: tuple[tuple[str, Plan], ...] = ()
    try:
        before, after = (_setting(visit, end, given) for end in ("a", "b"))
        if not given["b_days"] and not given["b_cents"]:
            after = _tenth_more(planning.choose(held, before))
        one, other, difference = planning.what_if(held, before, after)
        plans = (("as it is", one), ("what if", other))
    except BedplateError as wrong:
        problem = problem_of(wrong)
    return visit.show(
        "what_if.html",
        status=problem.status if problem is not None else 200,
        held=held,
        given=given,
        plans=plans,
        difference=difference,
        problem=problem,
        none=NONE,
    )


def spots(held: Table, proposals: Sequence[Proposal], places: Mapping[str, int]) -> list[Spot]:
    """Put proposals where their feasibility and value are, each 1 to 5; the area is the yearly value."""
    most = max((p.yearly_cents.mid for p in proposals), default=0) or 1
    found: list[Spot] = []
    for proposal in proposals:
        parts = held.scale.parts(proposal)
        value, feasible = parts["value"][0], parts["feasibility"][0]
        x, y, low, high = _across(feasible.mid), *(_up(end) for end in (value.mid, value.low, value.high))
        radius = chart.LEAST + chart.GROWTH * sqrt(max(0, proposal.yearly_cents.mid) / most)
        y = max(chart.TOP + radius, y)
        place = places.get(proposal.id, 0)
        found.append(Spot(proposal, x, round(y, 1), round(radius, 1), low, high, STATES[proposal.stage], place))
    return sorted(_apart(found), key=_large_first)


def _apart(found: Sequence[Spot]) -> list[Spot]:
    """Move what stands in one place around it, so that each can be seen and chosen."""
    nths = chart.places([(round(spot.x / NEAR), round(spot.y / NEAR)) for spot in found])
    moved = []
    for spot, nth in zip(found, nths, strict=True):
        x, y = chart.spread((spot.x, spot.y), nth, spot.radius, AROUND)
        shift = x - spot.x, y - spot.y
        moved.append(replace(spot, x=x, y=y, low=spot.low + shift[1], high=spot.high + shift[1]))
    return moved


def arrows(moves: Sequence[Move], dots: Sequence[chart.Dot]) -> list[Arrow]:
    """Draw what moved from one quadrant to another."""
    placed = {dot.case.subject: dot for dot in dots}
    found = []
    for move in moves:
        dot, (impact, autonomy) = placed.get(move.case.subject), move.before
        if dot is None or not move.tier_before:
            continue
        x = chart.LEFT + chart.WIDTH * (0.75 if autonomy == "autonomous" else 0.25)
        y = chart.TOP + chart.HEIGHT * (0.25 if impact == "high" else 0.75)
        found.append(Arrow(move, dot, x, y))
    return found


def _held(visit: Visit) -> Table:
    model = visit.at.model()
    if model is None:
        raise Denied("no operating model is in force", hint="bedplate apply operating-model.yaml")
    return planning.table(visit.at.engine, model, visit.at.clock())


def _setting(visit: Visit, end: str, given: Mapping[str, str]) -> Setting:
    def number(name: str, what: str, least_unit: int) -> int | None:
        text = visit.query(f"{end}_{name}")
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 12:  # noqa: PLR2004  below 2^53 in cents
            raise InvalidInput(f"{text!r} is no number of {what}", hint="whole numbers, without signs or commas")
        return int(text) * least_unit

    must, without = (tuple(given[name].replace(",", " ").split()) for name in ("must", "without"))
    aim = "score" if given["aim"] == "score" else "value"
    return Setting(number("days", "days", 1), number("cents", "money", 100), None, must, without, aim)


def _tenth_more(found: Plan) -> Setting:
    """Return the same setting with a tenth more days than there are now, committed work included."""
    days = found.limits.days + sum(p.effort_days for p in found.committed)
    asked = found.setting
    return Setting(days + days // 10, asked.cents, asked.hard, asked.must, asked.without, asked.aim)


def _across(permille: int) -> float:
    return round(chart.LEFT + chart.WIDTH * (permille - ONE) / (1000 - ONE), 1)


def _up(permille: int) -> float:
    return round(chart.TOP + chart.HEIGHT * (1000 - permille) / (1000 - ONE), 1)


def _large_first(spot: Spot) -> float:
    return -spot.radius


PAGES = (Page("/portfolio", portfolio), Page("/portfolio/what-if", what_if))
