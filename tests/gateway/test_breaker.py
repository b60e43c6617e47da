"""The circuit breaker, against a model that remembers everything, and case by case."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bedplate.gateway.breaker import MAX_COOLING, MAX_GROWTH, MAX_SAID, SLOTS, Breaker, BreakerPolicy

SECOND = 1_000_000
POLICY = BreakerPolicy(failures=3, percent=50, window_us=10 * SECOND, open_us=5 * SECOND, half_open=2)
START = 1_000 * SECOND


def broken(policy: BreakerPolicy = POLICY, now: int = START) -> Breaker:
    breaker = Breaker(policy)
    for _ in range(policy.failures):
        breaker.failed(breaker.enter(now), now, "status 503")
    return breaker


def test_a_new_one_lets_everybody_in() -> None:
    breaker = Breaker(POLICY)
    assert all(breaker.enter(START) for _ in range(100))
    assert breaker.view(START).state == "closed"


def test_it_opens_at_the_failure_that_is_one_too_many_and_says_why() -> None:
    breaker = Breaker(POLICY)
    for error in ("one", "two"):
        breaker.failed(breaker.enter(START), START, error)
        assert breaker.view(START).state == "closed"

    breaker.failed(breaker.enter(START), START, "status 503" + "x" * 1_000)

    view = breaker.view(START)
    assert (view.state, view.since, view.failures, view.next_probe) == ("open", START, 3, START + 5 * SECOND)
    assert view.last_error.startswith("status 503")
    assert len(view.last_error) == MAX_SAID
    assert breaker.enter(START) == 0
    assert breaker.refuses(START + SECOND) == 4 * SECOND


def test_failures_that_are_few_among_many_answers_do_not_open_it() -> None:
    breaker = Breaker(POLICY)
    for _ in range(100):
        breaker.succeeded(breaker.enter(START), START)
        breaker.succeeded(breaker.enter(START), START)
        breaker.failed(breaker.enter(START), START, "x")
    assert breaker.view(START).state == "closed"


def test_failures_that_left_the_window_are_forgotten() -> None:
    breaker = Breaker(POLICY)
    for after in (0, 1, 12):
        breaker.failed(breaker.enter(START), START + after * SECOND, "x")
    assert (breaker.view(START + 12 * SECOND).state, breaker.view(START + 12 * SECOND).failures) == ("closed", 1)


def test_after_its_time_it_lets_so_many_probes_in_and_no_more() -> None:
    breaker, later = broken(), START + 5 * SECOND
    assert breaker.enter(later - 1) == 0
    assert breaker.view(later).state == "half-open"

    assert breaker.enter(later)
    assert breaker.enter(later)
    assert breaker.enter(later) == 0
    assert breaker.view(later).state == "half-open"


def test_a_probe_that_is_answered_closes_it_and_forgets_what_was() -> None:
    breaker, later = broken(), START + 5 * SECOND
    breaker.succeeded(breaker.enter(later), later)

    assert (breaker.view(later).state, breaker.view(later).failures) == ("closed", 0)
    breaker.failed(breaker.enter(later), later, "x")
    assert breaker.view(later).state == "closed"


def test_a_probe_that_fails_opens_it_for_twice_as_long_and_not_for_ever() -> None:
    breaker, now, waits = broken(), START, []
    for _ in range(8):
        now += breaker.refuses(now)
        breaker.failed(breaker.enter(now), now, "x")
        waits.append(breaker.refuses(now) // SECOND)
    assert waits[:3] == [10, 20, 40]
    assert waits[-1] == MAX_GROWTH * 5

    now += breaker.refuses(now)
    breaker.succeeded(breaker.enter(now), now)
    for _ in range(3):
        breaker.failed(breaker.enter(now), now, "x")
    assert breaker.refuses(now) == 5 * SECOND


def test_a_probe_whose_client_left_makes_room_for_another() -> None:
    breaker, later = broken(), START + 5 * SECOND
    tickets = [breaker.enter(later), breaker.enter(later)]
    breaker.left(tickets[0])
    assert breaker.enter(later)
    assert breaker.enter(later) == 0


def test_probes_that_never_come_back_do_not_keep_it_half_open() -> None:
    breaker, later = broken(), START + 5 * SECOND
    assert breaker.enter(later)
    assert breaker.enter(later)
    assert breaker.refuses(later) == 5 * SECOND
    assert breaker.enter(later + 5 * SECOND)


def test_what_began_before_it_opened_says_nothing_about_now() -> None:
    breaker = Breaker(POLICY)
    old = breaker.enter(START)
    for _ in range(3):
        breaker.failed(breaker.enter(START), START, "x")
    breaker.succeeded(old, START)
    assert breaker.view(START).state == "open"

    later = START + 5 * SECOND
    probe = breaker.enter(later)
    breaker.succeeded(old, later)
    breaker.failed(old, later, "late")
    assert breaker.view(later).state == "half-open"
    breaker.succeeded(probe, later)
    assert breaker.view(later).state == "closed"


def test_a_rate_limit_cools_it_down_and_is_no_failure() -> None:
    breaker = Breaker(POLICY)
    for _ in range(10):
        ticket = breaker.enter(START)
        breaker.left(ticket, "status 429")
    breaker.cool(START + 3 * SECOND, START)

    view = breaker.view(START)
    assert (view.state, view.failures, view.last_error) == ("closed", 0, "status 429")
    assert view.cooling_until == START + 3 * SECOND
    assert (breaker.enter(START), breaker.refuses(START)) == (0, 3 * SECOND)
    assert breaker.enter(START + 3 * SECOND)
    assert breaker.view(START + 3 * SECOND).cooling_until == 0


@pytest.mark.parametrize("wish", [86_400 * SECOND, 10**18])
def test_no_upstream_takes_itself_away_for_a_day(wish: int) -> None:
    breaker = Breaker(POLICY)
    breaker.cool(START + wish, START)
    assert breaker.refuses(START) == MAX_COOLING


class Compared(RuleBasedStateMachine):
    """The breaker beside a model that keeps every outcome and counts anew each time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY)
        self.now = START
        self.outcomes: list[tuple[int, bool]] = []
        self.state = "closed"
        self.until = 0
        self.reopened = 0
        self.round = 0
        self.tickets: list[tuple[int, int]] = []  # (the breaker's, the model's round)
        self.probes: list[int] = []

    def counted(self) -> tuple[int, int]:
        width = POLICY.window_us // SLOTS
        oldest = self.now // width - SLOTS + 1
        inside = [ok for at, ok in self.outcomes if at // width >= oldest]
        return inside.count(False), len(inside)

    def become(self, state: str, until: int = 0) -> None:
        self.state, self.until = state, until
        self.round += 1
        self.probes = []
        if state == "closed":
            self.outcomes = []

    @rule(micros=st.integers(0, 4 * SECOND))
    def passes(self, micros: int) -> None:
        self.now += micros

    @rule()
    def enters(self) -> None:
        if self.state == "open" and self.now >= self.until:
            may = True
        elif self.state == "half-open":
            stale = bool(self.probes) and self.now >= max(self.probes) + POLICY.open_us
            may = len(self.probes) < POLICY.half_open or stale
        else:
            may = self.state == "closed"
        assert (self.breaker.refuses(self.now) == 0) == may
        ticket = self.breaker.enter(self.now)
        assert (ticket > 0) == may
        if not may:
            return
        if self.state == "open":
            self.become("half-open")
        if self.state == "half-open":
            self.probes = [*(self.probes if len(self.probes) < POLICY.half_open else []), self.now]
        self.tickets.append((ticket, self.round))

    @precondition(lambda self: self.tickets)
    @rule(which=st.integers(0, 100), how=st.sampled_from(["succeeds", "fails", "leaves"]))
    def comes_back(self, which: int, how: str) -> None:
        ticket, round_ = self.tickets.pop(which % len(self.tickets))
        if how == "leaves":
            self.breaker.left(ticket)
            if self.state == "half-open" and round_ == self.round and self.probes:
                self.probes = sorted(self.probes)[1:] if len(self.probes) > 1 else []
            return
        if how == "succeeds":
            self.breaker.succeeded(ticket, self.now)
        else:
            self.breaker.failed(ticket, self.now, "x")
        if self.state == "closed":
            self.outcomes.append((self.now, how == "succeeds"))
            failures, all_ = self.counted()
            if how == "fails" and failures >= POLICY.failures and failures * 100 // all_ >= POLICY.percent:
                self.become("open", self.now + POLICY.open_us)
        elif self.state == "half-open" and round_ == self.round:
            if how == "succeeds":
                self.become("closed")
                self.reopened = 0
            else:
                self.reopened += 1
                self.become("open", self.now + POLICY.open_us * min(MAX_GROWTH, 2**self.reopened))

    @invariant()
    def agrees(self) -> None:
        view = self.breaker.view(self.now)
        due = self.state == "open" and self.now >= self.until
        assert view.state == ("half-open" if due else self.state)
        if self.state == "closed":
            assert view.failures == self.counted()[0]
        if self.state == "open" and not due:
            assert view.next_probe == self.until


Compared.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
test_it_agrees_with_a_model_that_remembers_everything = Compared.TestCase
