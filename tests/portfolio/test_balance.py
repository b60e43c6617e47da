"""Balance: the buckets' shares, and the trap with its numbers."""

from __future__ import annotations

from typing import Any

from tests.portfolio.test_rank import CONTRACTS, proposal

from bedplate.portfolio.balance import buckets, trap, unlocks
from bedplate.portfolio.rank import Proposal, Span


def worth(name: str, cents: int, *contracts: str, **changes: Any) -> Proposal:
    return proposal(name, yearly_cents=Span(cents, cents, cents), contracts=contracts, **changes)


def test_shares_are_by_effort_and_by_value_beside_the_targets() -> None:
    pool = [worth("a", 300, effort_days=75), worth("b", 700, effort_days=25, bucket="transformation")]
    found = {b.name: (b.effort, b.worth, b.target) for b in buckets(pool, {"efficiency": 60, "augmentation": 40})}
    assert found == {
        "efficiency": (750, 300, 600),
        "augmentation": (0, 0, 400),
        "transformation": (250, 700, -1),
    }


def test_the_trap_springs_only_when_effort_leans_and_the_data_is_in_disorder() -> None:
    lean = [worth("a", 1000, "torn", effort_days=80), worth("b", 500, "good", effort_days=20, generative=False)]
    found = trap(lean, CONTRACTS)
    assert found.sprung
    assert (found.generative_days, found.days, found.generative_permille) == (80, 100, 800)
    assert [c.id for c in found.broken] == ["torn"]
    assert (found.standing_days, found.standing_cents, found.needed) == (80, 1000, 1)
    assert not trap([worth("a", 1000, "good")], CONTRACTS).sprung
    other = [worth("a", 1000, "torn", effort_days=20), worth("b", 1, "torn", effort_days=80, generative=False)]
    assert not trap(other, CONTRACTS).sprung
    assert not trap([], CONTRACTS).sprung


def test_money_alone_may_lean() -> None:
    pool = [
        worth("a", 1, "torn", effort_days=10, cost_cents=900),
        worth("b", 1, "good", effort_days=90, cost_cents=100, generative=False),
    ]
    assert trap(pool, CONTRACTS).sprung


def test_data_work_is_ordered_by_value_for_a_day_and_promises_nothing_twice() -> None:
    pool = [
        worth("alone", 9_000, "torn"),
        worth("both", 1_200, "torn", "new"),
        worth("old", 100, "old"),
        worth("fine", 50_000, "good"),
        worth("undeclared", 10, "ghost"),
    ]
    found = {u.contract.id: u for u in unlocks(pool, CONTRACTS)}
    assert list(found) == ["torn", "new", "old", "ghost"]
    assert (found["torn"].alone_cents, found["torn"].share_cents) == (9_000, 9_000 + 900)
    assert (found["new"].alone_cents, found["new"].share_cents) == (0, 300)
    assert found["torn"].cents_a_day == 1_100
    assert sum(u.share_cents for u in found.values()) == 9_000 + 1_200 + 100 + 10
    assert found["torn"].waiting == ("alone", "both")
    assert found["ghost"].contract.state == "unknown"
