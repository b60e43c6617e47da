"""Ranking: scores explained by their parts, exact intervals, and whether the order holds."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import pytest

from bedplate.portfolio.rank import (
    PARTS,
    WEIGHTS,
    Contract,
    Proposal,
    Scale,
    Span,
    rank,
    sensitivity,
    value_points,
    weights_of,
)
from bedplate.testing import small_model

MODEL = small_model()
CONTRACTS = {
    "good": Contract("good", "Good", "passing", 1000, 0),
    "old": Contract("old", "Old", "stale", 1000, 5),
    "torn": Contract("torn", "Torn", "failing", 300, 9),
    "new": Contract("new", "New", "unchecked", 0, 3),
}
SCALE = Scale(MODEL, CONTRACTS)


def proposal(name: str = "one", **changes: Any) -> Proposal:
    made = Proposal(
        id=name,
        subject=f"idea/{name}",
        title=name.capitalize(),
        domain="people",
        bucket="efficiency",
        tier=1,
        stage="proposed",
        yearly_cents=Span(10_000_000, 10_000_000, 10_000_000),
        feasibility=Span(600, 600, 600),
        contracts=("good",),
        effort_days=50,
        cost_cents=0,
        generative=True,
    )
    return replace(made, **changes)


def test_a_score_is_the_product_of_the_factors_that_are_shown() -> None:
    (found,) = rank([proposal(tier=3, contracts=("torn", "good"))], SCALE, WEIGHTS)
    assert found.score.mid == pytest.approx(1000 * prod(p.factor.mid / 1000 for p in found.parts), abs=2)
    assert [p.part for p in found.parts] == list(PARTS)
    for part in found.parts:
        assert part.factor.mid == round(1000 * (part.measure.mid / 1000) ** (WEIGHTS[part.part] / 100))
    assert "torn is failing, 30 % of its checks pass" in found.parts[2].why
    assert "tier 3 owes" in found.parts[3].why


@pytest.mark.parametrize(
    ("contracts", "ready"),
    [
        (("good",), 1000),
        (("good", "old"), 600),
        (("torn", "old"), 300),
        (("new",), 200),
        (("nobody-declared-it",), 200),
        ((), 200),
    ],
)
def test_data_is_as_ready_as_its_weakest_contract_and_unknown_is_not_ready(
    contracts: tuple[str, ...], ready: int
) -> None:
    assert SCALE.parts(proposal(contracts=contracts))["data"][0].mid == ready


@pytest.mark.parametrize(
    ("cents", "points"), [(0, 200), (500_000, 300), (1_000_000, 400), (20_000_000, 800), (10**12, 1000)]
)
def test_value_runs_straight_between_the_bands_of_the_appetite(cents: int, points: int) -> None:
    assert value_points(cents, [10_000, 50_000, 200_000, 1_000_000]) == points


def test_a_higher_tier_costs_more_control() -> None:
    told = [SCALE.parts(proposal(tier=t))["control"][0].mid for t in (1, 2, 3, 4)]
    assert told == sorted(told, reverse=True)
    assert len(set(told)) == 4


def test_intervals_of_places_hold_every_combination_of_the_ends() -> None:
    pool = [
        proposal("a", feasibility=Span(400, 600, 900)),
        proposal("b", yearly_cents=Span(4_000_000, 9_000_000, 30_000_000)),
        proposal("c", feasibility=Span(500, 500, 500)),
        proposal("d", contracts=("old",)),
    ]
    told = {r.proposal.id: (r.best, r.worst) for r in rank(pool, SCALE, WEIGHTS)}
    seen: dict[str, set[int]] = {p.id: set() for p in pool}
    for ends in product(("low", "high"), repeat=len(pool)):
        fixed = [
            replace(
                p,
                feasibility=Span(*[getattr(p.feasibility, end)] * 3),
                yearly_cents=Span(*[getattr(p.yearly_cents, end)] * 3),
            )
            for p, end in zip(pool, ends, strict=True)
        ]
        for r in rank(fixed, SCALE, WEIGHTS):
            seen[r.proposal.id].add(r.place)
    assert told == {name: (min(places), max(places)) for name, places in seen.items()}
    assert told["a"] != (1, 1)


def test_what_nearly_ties_swaps_when_a_weight_moves_and_what_leads_by_far_does_not() -> None:
    close = [
        proposal("feasible", feasibility=Span(800, 800, 800)),
        proposal("worth", yearly_cents=Span(*[36_000_000] * 3)),
    ]
    moved = sensitivity(close, SCALE, WEIGHTS)
    assert [(m.part, m.by_percent) for m in moved] == [(p, by) for p in PARTS for by in (-20, 20)]
    assert all(sum(m.weights.values()) == pytest.approx(1000, abs=2) for m in moved)
    swapped = {(m.part, m.by_percent): m.pairs for m in moved if m.swaps}
    first, second = (r.proposal.id for r in rank(close, SCALE, WEIGHTS))
    assert swapped
    assert all(pairs == ((first, second),) for pairs in swapped.values())
    far = [proposal("best", feasibility=Span(1000, 1000, 1000)), proposal("worst", tier=4, contracts=())]
    assert not any(m.swaps for m in sensitivity(far, SCALE, WEIGHTS))


def test_weights_are_the_operating_models_where_it_says_any() -> None:
    assert weights_of(MODEL) == WEIGHTS
    said = {"value": 70, "feasibility": 10, "data": 10, "control": 10}
    assert weights_of(replace(MODEL, sections={"portfolio": {"weights": said}})) == said
