"""Which upstream answers: retries, fallbacks, waiting and giving up, with nothing on the network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.gateway.breaker import BreakerPolicy
from bedplate.gateway.route import (
    PASSED_ON,
    RETRIED,
    Attempts,
    Done,
    GiveUp,
    Line,
    Outcome,
    Routes,
    Target,
    Try,
    Wait,
    retry_after,
    told,
)
from bedplate.gateway.supplier import SPOKEN, Retry, Supplier, Timeouts
from bedplate.gateway.supply import Supply
from bedplate.gateway.throttle import Rate

if TYPE_CHECKING:
    from bedplate.gateway.route import Kind, Step
    from bedplate.gateway.traffic import Traffic

MS, SECOND = 1_000, 1_000_000
START = 10**12
OK = Outcome("ok", tokens=10)
AWAY = Outcome("unreachable", error="connection refused")
KINDS: tuple[Kind, ...] = ("unreachable", "timeout", "garbage", "cut")


def supplier(name: str, **changes: Any) -> Supplier:
    url = f"https://{name}.example/v1"
    made = Supplier(name, url, "openai", url, SPOKEN["openai"], retry=Retry(2, 100, 1_000))
    return replace(made, **changes)


def status(code: int, after: int = -1) -> Outcome:
    return Outcome("status", status=code, retry_after=after)


class Road:
    """A few upstreams, the targets of a release over all of them, and a dice that always falls high."""

    def __init__(self, *suppliers: Supplier) -> None:
        self.supply = Supply(suppliers)
        self.targets = [Target(s.address, f"model-{s.name}") for s in suppliers]
        self.routes = Routes(self.supply, chance=lambda most: most)

    def plan(self, dialect: Any = "chat", tokens: int = 10) -> Attempts:
        return self.routes.plan(self.targets, dialect, tokens)

    def at(self, name: str) -> Traffic:
        found = self.supply.traffic(self.supply.of(name).address)
        assert found is not None
        return found

    def fills(self, name: str) -> list[Attempts]:
        """Take all places of an upstream."""
        target = [t for t in self.targets if t.model == f"model-{name}"]
        taken = []
        while not self.at(name).throttle.full:
            taken.append(self.routes.plan(target, "chat"))
            assert isinstance(taken[-1].first(START), Try)
        return taken

    def breaks(self, name: str) -> None:
        """Open the breaker of an upstream."""
        at = self.at(name)
        while not at.breaker.refuses(START):
            at.breaker.failed(at.breaker.enter(START), START, "status 503")


def whom(step: Step) -> str:
    assert isinstance(step, Try), step
    return step.supplier.name


def gave_up(step: Step) -> GiveUp:
    assert isinstance(step, GiveUp), step
    return step


def test_the_model_of_the_release_is_asked_first() -> None:
    road = Road(supplier("one"), supplier("two"))
    attempts = road.plan()
    step = attempts.first(START)
    assert isinstance(step, Try)
    assert (step.target, step.supplier.name, step.number) == (road.targets[0], "one", 1)
    attempts.first_byte(START + 30 * MS)
    assert attempts.after(OK, START + SECOND) == Done()
    view = road.at("one").view(START)
    assert (view.in_flight, view.calls, view.failed, view.first_byte_p50_ms) == (0, 1, 0, 30)


@pytest.mark.parametrize("code", sorted(RETRIED - {429}))
def test_what_may_pass_is_asked_again_with_longer_and_longer_pauses(code: int) -> None:
    attempts = Road(supplier("one")).plan()
    step, now, waits = attempts.first(START), START, []
    while not isinstance(step, GiveUp):
        step = attempts.after(status(code), now)
        if isinstance(step, Wait):
            waits.append(step.micros)
            now += step.micros
            step = attempts.resume(now)
    assert waits == [100 * MS, 200 * MS]
    assert attempts.number == 3


def test_a_pause_is_anything_from_nothing_to_the_most() -> None:
    asked: list[int] = []

    def least(most: int) -> int:
        asked.append(most)
        return 0

    road = Road(supplier("one", retry=Retry(3, 400, 1_000)))
    road.routes = Routes(road.supply, least)
    attempts = road.plan()
    attempts.first(START)
    for _ in range(3):
        assert whom(attempts.after(AWAY, START)) == "one"
    assert asked == [400 * MS, 800 * MS, 1_000 * MS]


@pytest.mark.parametrize(
    "outcome", [Outcome("timeout"), Outcome("garbage"), Outcome("cut"), status(501), status(401), status(302)]
)
def test_what_would_only_fail_again_is_not_repeated_but_another_of_the_release_is_asked(outcome: Outcome) -> None:
    attempts = Road(supplier("one"), supplier("two")).plan()
    attempts.first(START)
    assert whom(attempts.after(outcome, START)) == "two"


def test_fallbacks_are_asked_in_the_order_of_the_release_and_each_again() -> None:
    attempts = Road(supplier("one", retry=Retry(0)), supplier("two", retry=Retry(1)), supplier("three")).plan()
    asked, now = [whom(attempts.first(START))], START
    while len(asked) < 4:
        step = attempts.after(AWAY, now)
        if isinstance(step, Wait):
            now += step.micros
            step = attempts.resume(now)
        asked.append(whom(step))
    assert asked == ["one", "two", "two", "three"]


@pytest.mark.parametrize("code", sorted(PASSED_ON))
def test_the_clients_own_fault_goes_back_to_it_at_once_and_nobody_is_blamed(code: int) -> None:
    road = Road(supplier("one", breaker=BreakerPolicy(failures=1)), supplier("two"))
    attempts = road.plan()
    attempts.first(START)
    told_ = gave_up(attempts.after(status(code), START))
    assert (told_.status, told_.passed_on) == (code, True)
    assert road.at("one").view(START).failed == 0
    assert road.at("one").breaker.enter(START)


def test_after_the_first_byte_there_is_no_way_back() -> None:
    attempts = Road(supplier("one"), supplier("two")).plan()
    attempts.first(START)
    attempts.first_byte(START + 1)
    step = gave_up(attempts.after(Outcome("cut"), START + 2))
    assert (step.status, "middle" in step.message) == (502, True)


def test_where_the_client_left_nobody_is_asked_any_more_and_nobody_is_blamed() -> None:
    road = Road(supplier("one", breaker=BreakerPolicy(failures=1)), supplier("two"))
    attempts = road.plan()
    attempts.first(START)
    assert attempts.after(Outcome("gone"), START) == Done()
    assert road.at("one").breaker.enter(START)


def test_one_that_is_left_alone_is_passed_over() -> None:
    road = Road(supplier("one"), supplier("two"))
    road.breaks("one")
    assert whom(road.plan().first(START)) == "two"


def test_when_all_are_left_alone_the_client_is_told_when_to_come_back() -> None:
    road = Road(supplier("one"), supplier("two", breaker=BreakerPolicy(open_us=3 * SECOND - 1)))
    road.breaks("one")
    road.breaks("two")
    step = gave_up(road.plan().first(START))
    assert (step.status, step.code, step.retry_after_s) == (503, "upstream-open", 3)


def test_failures_of_calls_open_the_breaker_and_a_probe_closes_it() -> None:
    policy = BreakerPolicy(failures=2, open_us=SECOND)
    road = Road(supplier("one", retry=Retry(0), breaker=policy))
    for _ in range(2):
        attempts = road.plan()
        attempts.first(START)
        attempts.after(Outcome("timeout"), START)
    assert gave_up(road.plan().first(START)).status == 503
    probe = road.plan()
    assert whom(probe.first(START + SECOND)) == "one"
    assert gave_up(road.plan().first(START + SECOND)).code == "upstream-open"
    probe.after(OK, START + SECOND)
    assert whom(road.plan().first(START + SECOND)) == "one"


@pytest.mark.parametrize("outcome", [status(429), status(401), status(403), status(404), status(408), Outcome("gone")])
def test_what_is_no_fault_of_its_health_does_not_open_the_breaker(outcome: Outcome) -> None:
    road = Road(supplier("one", retry=Retry(0), breaker=BreakerPolicy(failures=1)))
    attempts = road.plan()
    attempts.first(START)
    attempts.after(outcome, START)
    assert road.at("one").breaker.enter(START)


@pytest.mark.parametrize("outcome", [*(Outcome(k) for k in KINDS), status(500), status(529), status(302)])
def test_what_is_a_fault_of_its_health_opens_the_breaker_and_is_shown(outcome: Outcome) -> None:
    road = Road(supplier("one", retry=Retry(0), breaker=BreakerPolicy(failures=1)))
    attempts = road.plan()
    attempts.first(START)
    attempts.after(outcome, START)
    view = road.at("one").view(START)
    assert (view.breaker.state, view.breaker.last_error, view.failed) == ("open", outcome.fault, 1)


def test_a_rate_limit_that_is_over_soon_is_waited_for() -> None:
    attempts = Road(supplier("one")).plan()
    attempts.first(START)
    step = attempts.after(status(429, 700 * MS), START)
    assert isinstance(step, Wait)
    assert 700 * MS <= step.micros <= 800 * MS
    assert whom(attempts.resume(START + step.micros)) == "one"


def test_a_rate_limit_without_a_time_is_tried_again_like_any_other() -> None:
    attempts = Road(supplier("one")).plan()
    attempts.first(START)
    assert attempts.after(status(429), START) == Wait(100 * MS)


def test_a_rate_limit_that_lasts_is_the_clients_to_wait_for() -> None:
    road = Road(supplier("one"))
    attempts = road.plan()
    attempts.first(START)
    step = gave_up(attempts.after(status(429, 7 * SECOND), START))
    assert (step.status, step.retry_after_s, step.passed_on) == (429, 7, False)

    later = gave_up(road.plan().first(START + SECOND))
    assert (later.status, later.code, later.retry_after_s) == (429, "upstream-busy", 6)


def test_while_one_cools_down_another_of_the_release_is_asked() -> None:
    road = Road(supplier("one"), supplier("two"))
    attempts = road.plan()
    attempts.first(START)
    assert whom(attempts.after(status(429, 700 * MS), START)) == "two"
    assert whom(road.plan().first(START)) == "two"
    assert whom(road.plan().first(START + 700 * MS)) == "one"


def test_one_without_room_is_passed_over() -> None:
    road = Road(supplier("one", max_concurrent=2, queue=5), supplier("two"))
    road.fills("one")
    assert whom(road.plan().first(START)) == "two"


def test_without_a_line_a_full_upstream_refuses_at_once() -> None:
    road = Road(supplier("one", max_concurrent=1))
    road.fills("one")
    step = gave_up(road.plan().first(START))
    assert (step.status, step.code, step.retry_after_s) == (429, "upstream-busy", 1)


def test_who_stands_in_line_is_woken_and_asks() -> None:
    road = Road(supplier("one", max_concurrent=1, queue=1))
    [busy] = road.fills("one")
    waiting, woken = road.plan(), []
    assert isinstance(waiting.first(START), Line)
    waiting.line_up(lambda: woken.append(True))
    assert gave_up(road.plan().first(START)).status == 429

    busy.after(OK, START)
    assert woken == [True]
    assert isinstance(road.plan().first(START), Line), "the place is taken already"
    assert whom(waiting.resume(START)) == "one"
    waiting.after(OK, START)
    assert road.at("one").throttle.in_flight == 0


def test_who_stood_in_line_in_vain_is_told_so_and_leaves_it() -> None:
    road = Road(supplier("one", max_concurrent=1, queue=1, timeouts=Timeouts(first_byte_ms=50)))
    road.fills("one")
    waiting = road.plan()
    assert waiting.first(START) == Line(50 * MS)
    waiting.line_up(lambda: None)
    step = gave_up(waiting.resume(START + 50 * MS))
    assert (step.status, step.code) == (429, "upstream-busy")
    assert road.at("one").throttle.waiting == 0


def test_who_leaves_the_line_gives_its_place_to_the_next() -> None:
    road = Road(supplier("one", max_concurrent=1, queue=2))
    [busy] = road.fills("one")
    first, second, woken = road.plan(), road.plan(), []
    for number, attempts in enumerate((first, second)):
        attempts.first(START)
        attempts.line_up(lambda n=number: woken.append(n))  # type: ignore[misc]  # bound now
    busy.close(START)
    first.close(START)
    assert woken == [0, 1]
    assert whom(second.resume(START)) == "one"


def test_a_place_at_one_that_broke_meanwhile_is_not_taken() -> None:
    road = Road(supplier("one", max_concurrent=1, queue=1))
    [busy] = road.fills("one")
    waiting = road.plan()
    waiting.first(START)
    waiting.line_up(lambda: None)
    road.breaks("one")
    busy.after(OK, START)
    assert gave_up(waiting.resume(START)).code == "upstream-open"
    assert road.at("one").throttle.in_flight == 0


def test_a_rate_of_our_own_is_waited_for_where_it_is_short() -> None:
    road = Road(supplier("one", rate=Rate(calls_per_minute=600)))
    now = START
    for _ in range(600):
        attempts = road.plan()
        assert whom(attempts.first(now)) == "one"
        attempts.after(OK, now)
    attempts = road.plan()
    step = attempts.first(now)
    assert isinstance(step, Wait)
    assert step.micros >= 100 * MS
    assert whom(attempts.resume(now + step.micros)) == "one"


def test_a_rate_of_our_own_that_is_used_up_for_long_refuses_with_the_time() -> None:
    road = Road(supplier("one", rate=Rate(tokens_per_minute=1_000)))
    assert whom(road.plan(tokens=1_000).first(START)) == "one"
    step = gave_up(road.plan(tokens=500).first(START))
    assert (step.status, step.retry_after_s) == (429, 30)


def test_what_a_call_did_not_use_of_its_estimate_is_given_back() -> None:
    road = Road(supplier("one", rate=Rate(tokens_per_minute=1_000)))
    attempts = road.plan(tokens=1_000)
    attempts.first(START)
    attempts.after(OK, START)
    assert whom(road.plan(tokens=900).first(START)) == "one"


def test_what_never_arrived_costs_nothing_of_the_rate() -> None:
    road = Road(supplier("one", retry=Retry(0), rate=Rate(tokens_per_minute=1_000)))
    attempts = road.plan(tokens=1_000)
    attempts.first(START)
    attempts.after(AWAY, START)
    assert whom(road.plan(tokens=1_000).first(START)) == "one"


def test_one_that_does_not_speak_the_protocol_is_not_asked() -> None:
    road = Road(supplier("one", protocols=SPOKEN["azure"]), supplier("two"))
    assert whom(road.plan("messages").first(START)) == "two"
    assert whom(road.plan("responses").first(START)) == "one"


def test_where_none_speaks_the_protocol_that_is_said() -> None:
    road = Road(supplier("one", protocols=SPOKEN["azure"]))
    step = gave_up(road.plan("messages").first(START))
    assert (step.status, step.code) == (400, "invalid-input")


def test_where_none_is_configured_any_more_that_is_said() -> None:
    road = Road(supplier("one"))
    road.targets = [Target("https://gone.example/v1", "m")]
    assert gave_up(road.plan().first(START)).status == 503


def test_nobody_waits_longer_than_the_whole_may_take() -> None:
    attempts = Road(supplier("one", timeouts=Timeouts(total_ms=50))).plan()
    attempts.first(START)
    assert gave_up(attempts.after(AWAY, START)).status == 502


@pytest.mark.parametrize(
    ("outcome", "expected", "says"),
    [
        (AWAY, 502, "cannot be reached"),
        (Outcome("timeout"), 504, "silent"),
        (Outcome("garbage"), 502, "protocol"),
        (status(401), 502, "refused our credentials"),
        (status(403), 502, "refused our credentials"),
        (status(402), 502, "answered 402"),
        (status(429), 429, "rate limit"),
        (status(500), 502, "answered 500"),
        (status(503), 503, "answered 503"),
        (status(529), 503, "answered 529"),
        (status(504), 504, "answered 504"),
        (status(408), 504, "answered 408"),
        (status(301), 502, "answered 301"),
    ],
)
def test_what_the_client_is_told_says_nothing_of_where_or_with_which_key(
    outcome: Outcome, expected: int, says: str
) -> None:
    step = told(replace(outcome, error="https://internal.example said sk-secret is wrong"))
    assert step.status == expected
    assert says in step.message
    assert "internal" not in repr(step)
    assert "sk-secret" not in repr(step)


@pytest.mark.parametrize(
    ("headers", "micros"),
    [
        ({}, -1),
        ({b"retry-after": b"7"}, 7 * SECOND),
        ({b"retry-after": b" 0 "}, 0),
        ({b"retry-after": b"7", b"retry-after-ms": b"250"}, 250 * MS),
        ({b"retry-after": b"Wed, 21 Oct 2026 07:28:00 GMT"}, 60 * SECOND),
        ({b"retry-after": b"Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({b"retry-after": b"999999999"}, 86_400 * SECOND),
        ({b"retry-after": b"9" * 400}, -1),
        ({b"retry-after": b"-3"}, -1),
        ({b"retry-after": b"soon"}, -1),
        ({b"retry-after": b"\xff\xfe"}, -1),
    ],
)
def test_a_wish_to_be_left_alone_is_read_in_every_form(headers: dict[bytes, bytes], micros: int) -> None:
    wall = 1_792_567_620 * SECOND  # one minute before 07:28 on 21 October 2026
    assert retry_after(headers, wall) == micros


STEPS = st.lists(
    st.sampled_from(
        [
            OK,
            AWAY,
            Outcome("gone"),
            *(Outcome(k) for k in KINDS),
            *(status(c) for c in (400, 401, 429, 500, 503)),
            status(429, 300 * MS),
            status(503, 300 * MS),
            status(429, 90 * SECOND),
        ]
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 3), st.integers(0, 2), st.sampled_from(["waits", "leaves"]))
def test_however_calls_end_nothing_stays_held_and_only_the_release_is_asked(
    outcomes: list[Outcome], places: int, queue: int, client: str
) -> None:
    policy = BreakerPolicy(failures=3, open_us=SECOND)
    road = Road(*(supplier(n, max_concurrent=places, queue=queue, breaker=policy) for n in ("one", "two", "never")))
    road.targets.pop()
    now, todo = START, list(outcomes)
    while todo:
        now += SECOND // 4  # else one that is left alone would be for ever
        attempts = road.plan()
        step, most = attempts.first(now), 0
        while not isinstance(step, Done | GiveUp) and todo:
            now += 1
            if isinstance(step, Try):
                assert step.target in road.targets
                assert step.supplier.name != "never"
                most += 1
                step = attempts.after(todo.pop(), now)
            elif isinstance(step, Wait):
                assert step.micros > 0
                now += step.micros
                step = attempts.resume(now)
        assert most <= 2 * (1 + 2), "each of two is asked at most three times"
        if client == "leaves" or not isinstance(step, Done | GiveUp):
            attempts.close(now)
        attempts.close(now)
    for at in road.supply:
        assert road.at(at.name).throttle.in_flight == 0
        assert road.at(at.name).throttle.waiting == 0
