"""Selection: the best set against every set there is, and what it says of what it left out."""

from __future__ import annotations

import random
import sys
from itertools import combinations
from typing import Any

import pytest

from bedplate.errors import InvalidInput, Unavailable
from bedplate.portfolio.select import NONE, Choice, Limits, Selected, compare, remaining, select

FREE = Limits(10_000, NONE)


def choice(name: str, value: int = 100, days: int = 10, **changes: Any) -> Choice:
    told = {"domain": "people", "tier": 1, "bucket": "efficiency", "cents": 0, **changes}
    return Choice(id=name, title=name, days=days, value=value, **told)


def names(found: Selected) -> set[str]:
    return {c.id for c in found.chosen}


@pytest.mark.parametrize("seed", range(4))
def test_no_set_is_worth_more_than_the_chosen_one(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  the same each time
    pool = [
        choice(
            f"i{n}",
            rng.randint(10, 99),
            rng.randint(5, 40),
            cents=rng.randint(0, 900),
            tier=rng.choice((1, 3)),
            domain=rng.choice(("people", "claims")),
            after=(f"i{n - 1}",) if n % 4 == 3 else (),
            excludes=(f"i{n - 2}",) if n % 5 == 4 else (),
        )
        for n in range(9)
    ]
    limits = Limits(100, 2_500, domains={"claims": (50, NONE)}, tiers={3: 2})
    found = select(pool, limits)
    assert found.optimal
    assert found.gap_permille == 0
    assert found.value == max(sum(c.value for c in some) for some in every_set(pool) if keeps(some, limits))
    assert keeps(found.chosen, limits)


def every_set(pool: list[Choice]) -> list[tuple[Choice, ...]]:
    return [some for size in range(len(pool) + 1) for some in combinations(pool, size)]


def keeps(some: tuple[Choice, ...], limits: Limits) -> bool:
    ids = {c.id for c in some}
    return (
        sum(c.days for c in some) <= limits.days
        and sum(c.cents for c in some) <= limits.cents
        and sum(c.days for c in some if c.domain == "claims") <= limits.domains["claims"][0]
        and sum(c.tier == 3 for c in some) <= limits.tiers[3]
        and all(set(c.after) <= ids and not set(c.excludes) & ids for c in some)
    )


def test_buckets_as_limits_are_kept_and_as_targets_cost() -> None:
    pool = [choice(f"e{n}", 100) for n in range(6)] + [choice(f"t{n}", 30, bucket="transformation") for n in range(6)]
    shares = {"efficiency": 50, "augmentation": 0, "transformation": 50}
    hard = select(pool, Limits(60, NONE, buckets=shares, within_percent=10, hard=True))
    assert 400 <= hard.shares["efficiency"] <= 600
    none = select(pool, Limits(60, NONE))
    soft = select(pool, Limits(60, NONE, buckets=shares, within_percent=10))
    assert none.shares["efficiency"] == 1000
    assert soft.objective >= hard.value - 1
    assert soft.value >= hard.value
    assert none.value >= soft.value


def test_what_is_left_out_says_why() -> None:
    pool = [
        choice("big", 500, 90),
        choice("small", 10, 20),
        choice("orphan", 50, 1, after=("nobody",)),
        choice("rival", 20, 1, excludes=("big",)),
        choice("next", 40, 1, after=("done",)),
    ]
    found = select(pool, Limits(100, NONE), without=["next"], done=["done"])
    assert names(found) == {"big"}
    assert {c.id: why for c, why in found.left} == {
        "small": "no room: person-days",
        "orphan": "it comes after nobody, which is not there",
        "rival": "it is excluded by big",
        "next": "it was left out on request",
    }
    assert names(select(pool, Limits(100, NONE), done=["done"])) == {"big", "next"}


@pytest.mark.parametrize(
    ("must", "said"),
    [
        (["a", "b"], "needs 20 person-days, and there are 15"),
        (["nobody"], "'nobody' is no proposal"),
        (["c"], "comes after nobody"),
    ],
)
def test_must_haves_that_cannot_be_are_refused_by_name(must: list[str], said: str) -> None:
    pool = [choice("a"), choice("b"), choice("c", after=("nobody",))]
    with pytest.raises(InvalidInput, match=said):
        select(pool, Limits(15, NONE), must=must)


def test_nothing_to_choose_from_is_nothing() -> None:
    found = select([], FREE)
    assert (found.chosen, found.value, found.optimal) == ((), 0, True)


def test_what_was_committed_keeps_its_part() -> None:
    limits = Limits(100, 1_000, domains={"people": (80, NONE)}, tiers={3: 2})
    left = remaining(limits, [choice("c", days=30, cents=400, tier=3)], {3: 1, 1: 4})
    assert (left.days, left.cents, left.domains, left.tiers) == (70, 600, {"people": (50, NONE)}, {3: 0})
    assert remaining(Limits(10, NONE), [choice("c", days=30)], {}).days == 0


def test_two_selections_differ_by_what_comes_and_what_falls() -> None:
    pool = [choice("a", 100, 10), choice("b", 90, 9), choice("c", 150, 18)]
    before, after = select(pool, Limits(19, NONE)), select(pool, Limits(18, NONE))
    found = compare(before, after)
    assert ({c.id for c in found.comes}, {c.id for c in found.falls}, found.value) == ({"c"}, {"a", "b"}, -40)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(Unavailable) as missing:
        select([choice("a")], FREE)
    assert "bedplate[planning]" in missing.value.hint
