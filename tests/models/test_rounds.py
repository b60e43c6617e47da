"""Who is looked at, and that nobody is forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.clock import SECOND
from bedplate.models.rounds import ENOUGH, MOST, REST, WAIT, Rounds


def test_a_use_case_is_looked_at_once_and_then_when_it_has_done_enough() -> None:
    rounds = Rounds()
    assert rounds.due([("a", 0)], 0, SECOND) == ["a"]
    assert rounds.due([("a", 0)], 0, 2 * SECOND) == []
    assert rounds.due([("a", ENOUGH - 1)], 4, 3 * SECOND) == []
    assert rounds.due([("a", ENOUGH)], 5, 4 * SECOND) == ["a"]
    assert rounds.due([("a", ENOUGH + 1)], 6, 4 * SECOND + WAIT) == ["a"], "few, but a while ago"


def test_what_is_said_of_calls_is_seen_without_a_new_call() -> None:
    rounds = Rounds()
    rounds.due([("a", 7)], 7, 0)
    assert rounds.due([("a", 7)], 8, WAIT - 1) == []
    assert rounds.due([("a", 7)], 8, WAIT) == ["a"]


def test_a_new_day_counts_from_nought() -> None:
    rounds = Rounds()
    rounds.due([("a", 900)], 900, 0)
    assert rounds.due([("a", ENOUGH)], 905, SECOND) == ["a"]


def test_a_clock_that_steps_back_holds_nothing_up() -> None:
    rounds = Rounds()
    rounds.due([("a", 1)], 1, REST)
    assert rounds.due([("a", 1)], 1, 0) == ["a"]


@given(st.integers(1, 4 * MOST))
def test_nobody_is_forgotten_however_many_there_are(many: int) -> None:
    rounds, seen = Rounds(), list[str]()
    names = [(f"u{n}", 0) for n in range(many)]
    for second in range(-(-many // MOST)):
        chosen = rounds.due(names, 0, second * SECOND)
        assert len(chosen) <= MOST
        seen += chosen
    assert sorted(seen) == sorted(name for name, _ in names)
