"""The limits of one upstream: places, the line for them, and rates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bedplate.gateway.throttle import MINUTE, Bucket, Rate, Throttle

START = 10**12


@given(
    st.integers(1, 1_000_000),
    st.lists(st.tuples(st.integers(0, 2 * MINUTE), st.integers(0, 5_000)), max_size=60),
)
def test_a_bucket_never_lets_through_more_than_its_rate(per_minute: int, asked: list[tuple[int, int]]) -> None:
    bucket, now, taken = Bucket(per_minute), START, 0
    bucket.wait(0, now)
    largest = 0
    for pause, amount in asked:
        now += pause
        if bucket.wait(amount, now) == 0:
            bucket.take(amount)
            taken += amount
            largest = max(largest, amount)
    # One full bucket, what ran in since, and at most one call that was larger than what there was.
    assert taken * MINUTE <= per_minute * (MINUTE + now - START) + max(0, largest - per_minute) * MINUTE


@given(st.integers(1, 1_000_000), st.integers(1, 5_000_000), st.integers(0, MINUTE))
def test_who_waits_as_long_as_it_was_told_passes_and_not_a_microsecond_sooner(
    per_minute: int, amount: int, pause: int
) -> None:
    bucket = Bucket(per_minute)
    bucket.wait(0, START)
    bucket.take(per_minute)
    now = START + pause
    wait = bucket.wait(amount, now)
    if wait:
        assert bucket.wait(amount, now + wait - 1) == 1
    assert bucket.wait(amount, now + wait) == 0


def test_what_is_larger_than_the_bucket_passes_when_it_is_full_and_leaves_a_debt() -> None:
    bucket = Bucket(1_000)
    assert bucket.wait(3_000, START) == 0
    bucket.take(3_000)
    assert bucket.wait(1, START) > 2 * MINUTE
    assert bucket.wait(1_000, START + 3 * MINUTE) == 0


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    bucket = Bucket(60)
    bucket.wait(0, START)
    bucket.take(60)
    assert bucket.wait(1, START - MINUTE) == 1_000_000
    assert bucket.wait(1, START) == 1_000_000


def test_what_was_not_used_is_given_back() -> None:
    throttle = Throttle(10, 0, Rate(tokens_per_minute=1_000))
    assert throttle.wait(1_000, START) == 0
    throttle.pay(1_000)
    assert throttle.wait(500, START) > 0
    throttle.settle(-600)
    assert throttle.wait(500, START) == 0


def test_calls_and_tokens_are_limited_each() -> None:
    throttle = Throttle(10, 0, Rate(calls_per_minute=60, tokens_per_minute=6_000))
    for _ in range(60):
        assert throttle.wait(1, START) == 0
        throttle.pay(1)
    assert throttle.wait(1, START) == 1_000_000
    throttle.pay(12_000)
    assert throttle.wait(100, START) > MINUTE


def test_without_a_rate_nobody_waits() -> None:
    throttle = Throttle(10, 0, Rate())
    throttle.pay(10**12)
    assert throttle.wait(10**12, START) == 0


def test_places_go_to_those_in_line_in_their_order_and_are_never_free_in_between() -> None:
    throttle, woken = Throttle(1, 2, Rate()), []
    throttle.enter()
    first = throttle.line_up(lambda: woken.append("first"))
    second = throttle.line_up(lambda: woken.append("second"))
    assert throttle.line_full

    throttle.leave()
    assert (woken, first.given, second.given) == (["first"], True, False)
    assert (throttle.full, throttle.in_flight, throttle.waiting) == (True, 1, 1)
    throttle.leave()
    throttle.leave()
    assert (woken, throttle.in_flight) == (["first", "second"], 0)


def test_who_steps_out_of_the_line_leaves_its_place_to_the_next() -> None:
    throttle, woken = Throttle(1, 5, Rate()), []
    throttle.enter()
    places = [throttle.line_up(lambda n=n: woken.append(n)) for n in range(3)]  # type: ignore[misc]  # bound now
    throttle.step_out(places[0])
    throttle.leave()
    assert woken == [1]
    throttle.step_out(places[1])  # it was given one in the meantime
    assert woken == [1, 2]
    throttle.step_out(places[2])
    assert (throttle.in_flight, throttle.waiting) == (0, 0)


@given(st.lists(st.sampled_from(["enter", "leave", "line", "out"]), max_size=80), st.integers(1, 4), st.integers(0, 3))
def test_however_it_goes_no_place_is_lost_and_none_is_given_twice(steps: list[str], places: int, queue: int) -> None:
    throttle = Throttle(places, queue, Rate())
    inside, line = 0, []
    for step in steps:
        if step == "enter" and not throttle.full:
            throttle.enter()
            inside += 1
        elif step == "line" and throttle.full and not throttle.line_full:
            line.append(throttle.line_up(lambda: None))
        elif step == "leave" and inside:
            throttle.leave()
            inside -= 1
        elif step == "out" and line:
            throttle.step_out(line.pop())
        given = [place for place in line if place.given]
        inside += len(given)
        line = [place for place in line if not place.given]
        assert throttle.in_flight == inside <= places
        assert throttle.waiting == len(line) <= queue
