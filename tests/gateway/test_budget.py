"""The counters behind a budget's hard stop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bedplate.gateway.budget import Budgets
from bedplate.kernel.clock import DAY, SECOND

NOON = 20_000 * DAY + DAY // 2
HR = "usecase/hr-policy-assistant"


def none(_subject: str, _since: int) -> tuple[int, int]:
    return 0, 0


def test_counting_begins_with_what_is_on_record_since_midnight_utc() -> None:
    asked = []

    def recorded(subject: str, since: int) -> tuple[int, int]:
        asked.append((subject, since))
        return 7, 900

    budgets = Budgets(recorded)
    spent = budgets.today(HR, NOON)
    budgets.today(HR, NOON + SECOND)

    assert (spent.calls, spent.tokens) == (7, 900)
    assert asked == [(HR, 20_000 * DAY)]


def test_a_reservation_is_seen_by_the_next_call_and_then_settled() -> None:
    budgets = Budgets(none)

    budgets.reserve(HR, 100, NOON)
    assert (budgets.today(HR, NOON).calls, budgets.today(HR, NOON).tokens) == (1, 100)

    budgets.settle(HR, 100, 30, NOON)
    assert (budgets.today(HR, NOON).calls, budgets.today(HR, NOON).tokens) == (1, 30)


def test_a_new_day_begins_at_nought() -> None:
    budgets = Budgets(none)
    budgets.reserve(HR, 100, NOON)

    assert budgets.today(HR, NOON + DAY).calls == 0


def test_a_call_that_ends_after_midnight_does_not_empty_the_new_days_counters() -> None:
    budgets = Budgets(none)
    budgets.reserve(HR, 100, NOON)  # yesterday's, still running
    for _ in range(5):
        budgets.reserve(HR, 10, NOON + DAY)

    budgets.settle(HR, 100, 400, NOON)

    assert (budgets.today(HR, NOON + DAY).calls, budgets.today(HR, NOON + DAY).tokens) == (5, 50)


def test_a_clock_that_steps_back_over_midnight_does_not_empty_them_either() -> None:
    budgets = Budgets(none)
    budgets.reserve(HR, 10, NOON)

    assert budgets.today(HR, NOON - DAY).calls == 1
    assert budgets.today(HR, NOON).calls == 1


def test_use_cases_do_not_share() -> None:
    budgets = Budgets(none)
    budgets.reserve(HR, 10, NOON)

    assert budgets.today("usecase/other", NOON).calls == 0


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=30))
def test_whatever_is_reserved_and_settled_the_sum_is_what_was_used(pairs: list[tuple[int, int]]) -> None:
    budgets = Budgets(none)
    for estimated, _ in pairs:
        budgets.reserve(HR, estimated, NOON)
    for estimated, used in pairs:
        budgets.settle(HR, estimated, used, NOON)

    spent = budgets.today(HR, NOON)
    assert (spent.calls, spent.tokens) == (len(pairs), sum(used for _, used in pairs))
