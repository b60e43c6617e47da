from __future__ import annotations

import signal as signals
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.agents.runs import AGENT, SUBJECT, begun, opened

from bedplate.agents.breaker import Breakers
from bedplate.agents.run import Run, Step
from bedplate.agents.trip import Signal, Standing, Trip, rules_by_tier, scopes
from bedplate.errors import InvalidInput, NotFound
from bedplate.kernel.clock import DAY, SECOND
from bedplate.testing import SettableClock

if TYPE_CHECKING:
    from bedplate.agents.runstore import RunStore

TOOL, MODEL = "bank/pay", "small"
ALL = scopes(SUBJECT, AGENT, TOOL)
DOLLAR_CENT = 10_000_000


class Agent:
    """An agent that does what it is told to, and whose breakers are told of it."""

    def __init__(self, folder: Path, tier: int = 4, *, process: str = "shard-0") -> None:
        self.clock = SettableClock(1_750_000_200 * SECOND)
        self.store: RunStore = opened(folder, self.clock, process)
        self.breakers = Breakers(self.store)
        self.tier, self.name = tier, AGENT
        self.count = 0
        begun(self.store)

    def signal(self, kind: Any, **told: Any) -> list[Trip]:
        base = Signal(kind, SUBJECT, self.name, self.tier, self.clock.now, run="run-1", tool=TOOL)
        return self.breakers.note(replace(base, **told))

    def call(self, verdict: Any = "allow", digest: str = "", **told: Any) -> list[Trip]:
        self.count += 1
        self.store.step("run-1", Step("tool", TOOL, digest or f"{self.count}", verdict, "ok"))
        return self.signal("call", verdict=verdict, **told)

    def ended(self, **told: Any) -> list[Trip]:
        return self.signal("outcome", **told)

    def model(self, cents: float, **told: Any) -> list[Trip]:
        nano = int(cents * DOLLAR_CENT)
        self.store.step("run-1", Step("llm", MODEL, cost_nano=nano))
        return self.signal("model", tool="", model=MODEL, nano=nano, **told)

    def state(self, class_: str = "write", names: tuple[str, ...] = ALL) -> Standing:
        return self.breakers.state(SUBJECT, names, self.clock.now, class_)


def names(trips: list[Trip]) -> list[tuple[str, str, str]]:
    return [(trip.scope, trip.measure, trip.state) for trip in trips]


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    return Agent(tmp_path)


def test_a_tool_that_is_not_reached_half_the_time_is_left_alone(agent: Agent) -> None:
    tripped = [agent.ended(transport=bool(place % 2)) for place in range(10)]

    assert tripped[:9] == [[]] * 9  # of nine calls nothing can be said yet
    assert names(tripped[9]) == [(f"tool/{TOOL}", "transport", "open")]
    assert agent.state().open
    assert agent.state().why == f"tool/{TOOL}: 5 of 10 calls within 60 s did not get through"
    assert not agent.state(names=scopes(SUBJECT, AGENT, "bank/other")).open


def test_what_answers_that_it_failed_was_reached(agent: Agent) -> None:
    for _ in range(50):
        assert agent.ended(failed=True) == []
    assert agent.state() == Standing()


def test_failures_of_long_ago_count_no_more(agent: Agent) -> None:
    for _ in range(9):
        agent.ended(transport=True)
    agent.clock.advance(61 * SECOND)

    assert agent.ended(transport=True) == []


def test_a_tool_that_works_for_others_is_closed_to_this_agent_only(agent: Agent) -> None:
    for _ in range(30):
        agent.ended(agent="other")
    tripped = [trip for _ in range(10) for trip in agent.ended(transport=True)]

    assert names(tripped) == [(f"agent/{AGENT}|tool/{TOOL}", "transport", "open")]
    assert agent.breakers.state(SUBJECT, scopes(SUBJECT, "other", TOOL), agent.clock.now) == Standing()


def test_a_model_that_is_not_reached_opens_the_models_breaker(agent: Agent) -> None:
    tripped = [trip for _ in range(10) for trip in agent.model(0, transport=True)]

    assert names(tripped) == [(f"model/{MODEL}", "transport", "open")]
    assert agent.state(names=scopes(SUBJECT, AGENT, model=MODEL)).open


def test_a_tool_three_times_as_slow_as_the_day_before_is_left_alone(agent: Agent) -> None:
    for _ in range(120):
        assert agent.ended(latency_us=30_000) == []
        agent.clock.advance(10 * SECOND)
    agent.clock.advance(600 * SECOND)
    for _ in range(40):
        assert agent.ended(latency_us=60_000) == []  # twice is not three times
    agent.clock.advance(700 * SECOND)
    for _ in range(30):
        assert agent.ended(latency_us=400_000) == []  # too few within a minute; and it is not usual because of them
        agent.clock.advance(5 * SECOND)
    tripped = [trip for _ in range(20) for trip in agent.ended(latency_us=400_000)]

    assert names(tripped) == [(f"tool/{TOOL}", "latency", "open")]


def test_nobody_can_say_what_is_slow_before_it_is_known_what_is_usual(agent: Agent) -> None:
    agent.ended(latency_us=1_000)
    agent.clock.advance(700 * SECOND)

    assert [trip for _ in range(99) for trip in agent.ended(latency_us=9_000_000)] == []


@pytest.mark.parametrize(("tier", "calls"), [(1, 6), (2, 5), (3, 4), (4, 3)])
def test_the_same_call_again_and_again_is_a_loop(tmp_path: Path, tier: int, calls: int) -> None:
    agent = Agent(tmp_path, tier)

    tripped = [agent.call(digest="same") for _ in range(calls)]

    assert tripped[:-1] == [[]] * (calls - 1)
    assert names(tripped[-1]) == [(f"agent/{AGENT}|tool/{TOOL}", "repeats", "open")]


def test_two_calls_in_turn_are_a_loop_too(agent: Agent) -> None:
    tripped = [agent.call(digest=digest) for digest in ("a", "b", "a", "b")]

    assert tripped[:3] == [[]] * 3
    assert names(tripped[3]) == [(f"agent/{AGENT}", "swings", "open")]


def test_calls_that_differ_are_no_loop(agent: Agent) -> None:
    assert [trip for digest in "abcabcabcabc" for trip in agent.call(digest=digest)] == []


@pytest.mark.parametrize(("tier", "steps"), [(1, 100), (2, 50), (3, 30), (4, 15)])
def test_a_run_that_takes_too_many_steps_is_stopped_once(tmp_path: Path, tier: int, steps: int) -> None:
    agent = Agent(tmp_path, tier)

    assert [trip for _ in range(steps) for trip in agent.call()] == []
    assert names(agent.call()) == [(f"agent/{AGENT}", "steps", "open")]
    agent.breakers.close(SUBJECT, f"agent/{AGENT}", "person/ann", "it was a long list", agent.clock.now + 1)
    assert agent.call() == []  # whoever closed it has seen this run


@pytest.mark.parametrize(("tier", "row"), [(1, 10), (2, 8), (3, 5), (4, 3)])
def test_refusals_one_after_the_other_stop_an_agent(tmp_path: Path, tier: int, row: int) -> None:
    agent = Agent(tmp_path, tier)
    for _ in range(row - 1):
        assert agent.call("deny") == []
    assert agent.call("ask") == []  # in between one waited: it begins anew
    for _ in range(row - 1):
        assert agent.call("deny") == []

    assert names(agent.call("deny")) == [(f"agent/{AGENT}", "denials", "open")]


def test_a_third_of_all_calls_refused_stops_an_agent(tmp_path: Path) -> None:
    agent = Agent(tmp_path, tier=2)
    tripped = [(place, trip) for place in range(30) for trip in agent.call("deny" if place % 3 == 2 else "allow")]

    assert [(place, trip.measure, trip.scope) for place, trip in tripped] == [(20, "denials", f"agent/{AGENT}")]


def test_what_is_not_the_agents_doing_is_not_held_against_it(agent: Agent) -> None:
    for _ in range(100):
        assert [t for t in agent.call("deny", own=False) if t.measure == "denials"] == []


def test_people_who_keep_refusing_stop_an_agent(agent: Agent) -> None:
    tripped = [agent.signal("answer", granted=granted) for granted in (False, False, True, False)]

    assert names(tripped[3]) == [(f"agent/{AGENT}", "refusals", "open")]  # half of the last four
    assert tripped[:3] == [[]] * 3


def test_a_run_that_costs_too_much_stops_its_agent(agent: Agent) -> None:
    assert agent.model(60) == []
    assert names(agent.model(40)) == [(f"agent/{AGENT}", "cost", "open")]
    assert "100.0 cents" in agent.state().why


def test_a_day_that_costs_too_much_stops_its_agent(agent: Agent) -> None:
    tripped = []
    for number in range(25):
        run = f"long-{number}"
        agent.store.begin(Run(run, SUBJECT, AGENT))
        agent.store.step(run, Step("llm", MODEL, cost_nano=90 * DOLLAR_CENT))
        agent.clock.advance(700 * SECOND)
        tripped += agent.signal("model", run=run, tool="", model=MODEL, nano=90 * DOLLAR_CENT)

    assert names(tripped) == [(f"agent/{AGENT}", "cost", "open")]
    assert "the day" in tripped[0].why


def test_money_that_flows_much_faster_than_usual_stops_an_agent(tmp_path: Path) -> None:
    agent = Agent(tmp_path, tier=1)
    for _ in range(40):
        assert agent.model(1) == []
        agent.clock.advance(600 * SECOND)
    agent.store.end("run-1", "done")
    told = {"run": "", "tool": "", "model": MODEL, "nano": 11 * DOLLAR_CENT}
    tripped = [trip for _ in range(50) for trip in agent.signal("model", **told)]

    assert names(tripped) == [(f"agent/{AGENT}", "velocity", "open")]


def test_tools_and_destinations_an_agent_never_used_are_news_once_it_has_settled_in(agent: Agent) -> None:
    rules = rules_by_tier()
    agent.breakers = Breakers(agent.store, {tier: replace_rules(rule) for tier, rule in rules.items()})
    for number in range(60):
        assert agent.signal("call", destination=f"payee-{number % 10}") == []
        agent.clock.advance(SECOND)
    assert agent.signal("call", destination="payee-3") == []
    assert agent.signal("call", destination="new-1") == []
    assert agent.signal("call", destination="new-2") == []
    tripped = agent.signal("call", destination="new-3")
    assert names(tripped) == [(f"agent/{AGENT}", "news", "open")]
    assert "3 destinations" in tripped[0].why

    other = Agent(agent.store.folder.parent / "elsewhere")
    for _ in range(60):
        other.signal("call")
    assert names(other.signal("call", tool="bank/close-account")) == [(f"agent/{AGENT}", "news", "open")]


def replace_rules(rule: Any) -> Any:
    from msgspec.structs import replace as changed  # noqa: PLC0415

    return changed(rule, steps=0)


def test_two_agents_that_are_stopped_stop_the_use_case(agent: Agent) -> None:
    for _ in range(3):
        agent.call("deny")
    agent.name = "second"
    tripped = [trip for _ in range(3) for trip in agent.call("deny")]

    assert names(tripped) == [("agent/second", "denials", "open"), ("usecase/payments", "agents", "open")]
    assert agent.breakers.state(SUBJECT, scopes(SUBJECT, "third", "any/tool"), agent.clock.now).open
    assert not agent.breakers.state("usecase/other", scopes("usecase/other", AGENT, TOOL), agent.clock.now).open


# What closes them


def test_at_tier_four_only_somebody_named_closes_it_and_what_follows_is_supervised(agent: Agent) -> None:
    for _ in range(3):
        agent.call("deny")
    agent.clock.advance(30 * DAY)
    assert agent.state().open
    assert "somebody named" in (agent.state().told or ("", "", ""))[2]

    for by, reason in (("", "why"), ("person/ann", " ")):
        with pytest.raises(InvalidInput, match="somebody named"):
            agent.breakers.close(SUBJECT, f"agent/{AGENT}", by, reason, agent.clock.now)
    with pytest.raises(NotFound, match="no breaker of agent/nobody is open"):
        agent.breakers.close(SUBJECT, "agent/nobody", "person/ann", "why", agent.clock.now)
    agent.breakers.close(SUBJECT, f"agent/{AGENT}", "person/ann", "the policy was wrong", agent.clock.now)

    assert agent.state().supervised
    assert agent.state("read").supervised
    for _ in range(9):
        assert agent.ended(agreed=True, class_="write") == []
        assert agent.ended(class_="read") == []  # it was let through before: nobody agreed to it
    assert agent.state().supervised
    closed = agent.ended(agreed=True, class_="write")
    assert names(closed) == [(f"agent/{AGENT}", "denials", "closed")]
    assert (closed[0].by, closed[0].reason) == ("person/ann", "the policy was wrong")
    assert agent.state() == Standing()


def test_one_refusal_while_it_is_supervised_opens_it_again(agent: Agent) -> None:
    for _ in range(3):
        agent.call("deny")
    agent.clock.advance(1)
    agent.breakers.close(SUBJECT, f"agent/{AGENT}", "person/ann", "it is mended", agent.clock.now)
    agent.clock.advance(1)

    assert names(agent.call("deny")) == [(f"agent/{AGENT}", "denials", "open")]
    assert agent.state().open


def test_who_closes_what_is_supervised_ends_the_supervision(agent: Agent) -> None:
    for _ in range(3):
        agent.call("deny")
    agent.breakers.close(SUBJECT, f"agent/{AGENT}", "person/ann", "it is mended", agent.clock.now + 1)
    closed = agent.breakers.close(SUBJECT, f"agent/{AGENT}", "person/ann", "it is well", agent.clock.now + 2)

    assert names(closed) == [(f"agent/{AGENT}", "denials", "closed")]
    assert agent.state() == Standing()


@pytest.mark.parametrize(("tier", "probes"), [(1, 1), (2, 2)])
def test_a_tool_that_was_down_is_probed_by_reading_only(tmp_path: Path, tier: int, probes: int) -> None:
    agent = Agent(tmp_path, tier)
    for _ in range(10):
        agent.ended(transport=True)
    agent.clock.advance(30 * SECOND - 1)
    assert agent.state("read").open
    agent.clock.advance(1)

    assert agent.state("read") == Standing()  # the probe
    assert agent.state("write").supervised  # people agree to it, or it waits
    assert agent.state("irreversible").supervised
    closed = [trip for _ in range(probes) for trip in agent.ended(class_="read")]
    assert names(closed) == [(f"tool/{TOOL}", "transport", "closed")]
    assert agent.state("write") == Standing()
    assert [t for _ in range(7) for t in agent.ended(transport=True)] == []  # it is counted anew


def test_a_tool_that_is_still_down_is_left_alone_twice_as_long(tmp_path: Path) -> None:
    agent = Agent(tmp_path, tier=1)
    for _ in range(10):
        agent.ended(transport=True)
    for wait in (30, 60, 120, 240, 480, 480):
        assert agent.state("read").open
        agent.clock.advance(wait * SECOND - 1)
        assert agent.state("read").open, wait
        agent.clock.advance(1)
        assert agent.state("read") == Standing(), wait
        assert names(agent.ended(class_="read", transport=True)) == [(f"tool/{TOOL}", "transport", "open")]


@pytest.mark.parametrize(("tier", "wait"), [(1, 300), (2, 900), (3, 0), (4, 0)])
def test_what_a_refused_agent_may_do_after_a_while_is_the_tiers_to_say(tmp_path: Path, tier: int, wait: int) -> None:
    agent = Agent(tmp_path, tier)
    for _ in range(10):
        agent.call("deny")
    agent.clock.advance(wait * SECOND or 365 * DAY)

    assert (agent.state().supervised, agent.state().open) == (bool(wait), not wait)
    assert agent.state("read") != Standing()


def test_at_tier_four_even_a_tool_that_is_back_waits_for_a_person(agent: Agent) -> None:
    for _ in range(10):
        agent.ended(transport=True)
    agent.clock.advance(DAY)

    assert agent.state("read").open


# Over processes, hosts and deaths


def test_calls_are_counted_together_and_a_trip_holds_in_every_process_at_once(tmp_path: Path) -> None:
    one, two = Agent(tmp_path), Agent(tmp_path, process="shard-1")
    assert one.state() == two.state() == Standing()

    assert one.call("deny") == []
    assert two.call("deny") == []
    assert len(one.call("deny")) == 1

    assert two.state().open  # with a clock that stands still: nothing was waited for
    two.clock.advance(1)
    two.breakers.close(SUBJECT, f"agent/{AGENT}", "person/ann", "it is mended", two.clock.now)
    assert one.state().supervised


def test_what_was_said_before_a_kill_is_seen_within_a_second_all_the_same(tmp_path: Path) -> None:
    one, two = Agent(tmp_path), Agent(tmp_path, process="shard-1")
    two.state()
    two.breakers._turn[0] = 7  # the number that is mapped says nothing new, as where its writer was killed in between
    two.state()
    for _ in range(3):
        one.call("deny")
    two.breakers._turn[0] = 7

    assert two.state() == Standing()
    two.clock.advance(SECOND)
    assert two.state().open


TRIPPED = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from tests.agents.test_breaker import Agent
    agent = Agent(Path(sys.argv[1]), process="shard-9")
    for _ in range(3):
        agent.call("deny")
    os.kill(os.getpid(), signal.SIGKILL)
""")


def test_a_breaker_outlives_the_process_that_opened_it(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    ran = subprocess.run(
        [sys.executable, "-c", TRIPPED, str(tmp_path)], cwd=root, env={"PYTHONPATH": root}, check=False, timeout=60
    )

    assert ran.returncode == -signals.SIGKILL
    assert Agent(tmp_path).state().open


def test_what_opened_on_another_host_is_open_here_once(tmp_path: Path) -> None:
    agent = Agent(tmp_path, tier=1)
    far = Trip(SUBJECT, f"tool/{TOOL}", "transport", 1, "5 of 10", at=agent.clock.now, changed=agent.clock.now)

    assert agent.breakers.impose(far)
    assert agent.state().open
    assert not agent.breakers.impose(replace_trip(far, agent.clock.now + 5))  # an echo of what is open here
    assert agent.state().trip is not None
    agent.clock.advance(30 * SECOND)
    assert agent.state("read") == Standing()  # the tier's rules hold here too
    agent.ended(class_="read")
    assert agent.state() == Standing()
    assert not agent.breakers.impose(far)  # it was closed since
    assert agent.breakers.impose(replace_trip(far, agent.clock.now + 1))


def replace_trip(trip: Trip, at: int) -> Trip:
    from msgspec.structs import replace as changed  # noqa: PLC0415

    return changed(trip, at=at, changed=at)


def test_what_was_closed_on_another_host_is_followed_once(agent: Agent) -> None:
    for _ in range(3):
        agent.call("deny")
    scope, now = f"agent/{AGENT}", agent.clock.now

    assert agent.breakers.lift(SUBJECT, scope, "person/ann", "mended", now - 1) == []  # it opened after that
    assert len(agent.breakers.lift(SUBJECT, scope, "person/ann", "mended", now + 1)) == 1
    assert agent.breakers.lift(SUBJECT, scope, "person/ann", "mended", now + 1) == []  # told twice
    assert agent.state().supervised


def test_of_a_scope_with_two_breakers_open_nothing_is_closed_until_both_are(tmp_path: Path) -> None:
    agent = Agent(tmp_path, tier=1)
    for _ in range(10):
        agent.call("deny")
    agent.clock.advance(DAY)
    assert agent.ended(agreed=True) == []
    assert names(agent.model(600)) == [(f"agent/{AGENT}", "cost", "open")]
    agent.clock.advance(DAY)
    for _ in range(9):
        assert agent.model(0) == []  # that it goes on thinking proves nothing

    told = [agent.ended(agreed=True) for _ in range(3)]

    assert told[:2] == [[], []]  # though with the second its denials are forgiven
    assert names(told[2]) == [(f"agent/{AGENT}", "cost", "closed")]


def test_old_counts_go_and_what_is_open_stays(agent: Agent) -> None:
    for _ in range(3):
        agent.call("deny")
    agent.ended()
    agent.breakers.prune(agent.clock.now + DAY)

    with agent.store.reading() as db:
        assert db.execute("SELECT count(*) FROM tally WHERE slot > 0").get == 0
    assert agent.state().open


# Rules


def test_every_tier_has_rules_and_a_higher_one_is_never_laxer() -> None:
    rules = rules_by_tier()

    assert sorted(rules) == [1, 2, 3, 4]
    for tier in (2, 3, 4):
        lower, higher = rules[tier - 1], rules[tier]
        for name in ("steps", "repeats", "swings", "agents"):
            assert 0 < getattr(higher, name) <= getattr(lower, name)
        for name in ("denials", "refusals"):
            assert 0 < getattr(higher, name).in_a_row <= getattr(lower, name).in_a_row
        assert higher.cost.cents_per_run <= lower.cost.cents_per_run
        assert (higher.transport.percent, higher.transport.of, higher.transport.within_s) == (50, 10, 60)
    assert {rules[tier].closing["otherwise"] for tier in (3, 4)} == {"person"}
    assert set(rules[4].closing.values()) == {"person"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("steps: 100", "stepz: 100"), "stepz"),
        (("repeats: 5", "repeats: many"), "int"),
        (("otherwise: supervised", "else: supervised"), "closing lacks otherwise"),
        (("1:\n", "9:\n"), "tier 1 has no rules"),
        (("steps: 100", "steps: [100"), "while parsing"),
    ],
)
def test_rules_that_cannot_be_read_are_named(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    from importlib import resources  # noqa: PLC0415

    ours = resources.files("bedplate.agents").joinpath("breakers.yaml").read_text()
    assert change[0] in ours
    file = tmp_path / "mine.yaml"
    file.write_text(ours.replace(*change))

    with pytest.raises(InvalidInput, match=said) as told:
        rules_by_tier(file)
    assert "mine.yaml" in str(told.value)


def test_an_unknown_tier_gets_the_strictest_rules(tmp_path: Path) -> None:
    agent = Agent(tmp_path, tier=0)

    assert len([t for _ in range(3) for t in agent.call("deny")]) == 1


def test_to_look_takes_microseconds(agent: Agent) -> None:
    for _ in range(3):
        agent.call("deny", agent="other")
    best = min(_looked(agent) for _ in range(20))

    assert best < 5, f"{best:.1f} µs"


def _looked(agent: Agent) -> float:
    begun_at = time.perf_counter_ns()
    for _ in range(1_000):
        agent.breakers.state(SUBJECT, ALL, agent.clock.now)
    return (time.perf_counter_ns() - begun_at) / 1_000_000


def test_the_number_that_is_mapped_is_nobody_elses_to_read(agent: Agent) -> None:
    assert (agent.store.folder / "breakers").stat().st_mode & 0o777 == 0o600
