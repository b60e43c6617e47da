"""Hard stops: counted before the call, over every process of the host, and never lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedplate.errors import Conflict
from bedplate.gateway import budget
from bedplate.gateway.budget import Budgets, Limits, Over, Reservation, Spent
from bedplate.gateway.cells import Cells, Counted, digest, path_of
from bedplate.gateway.limit import CENT
from bedplate.kernel.clock import DAY
from bedplate.testing import small_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

NOON = 20_000 * DAY + DAY // 2  # 2024-10-04
MONTH = 2024 * 12 + 9
HR = "usecase/hr-policy-assistant"
FREE = Limits()


def nothing(_shard: str) -> Mapping[str, Counted]:
    return {}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """Open budgets of one folder, as several processes would."""
    every: list[Budgets] = []

    def make(number: int = 0, recorded: Callable[[str], Mapping[str, Counted]] = nothing) -> Budgets:
        every.append(Budgets(tmp_path, f"shard-{number}", recorded))
        return every[-1]

    yield make
    for made in every:
        made.close()


def reserved(budgets: Budgets, tokens: int = 0, nano: int = 0, now: int = NOON, limits: Limits = FREE) -> Reservation:
    made = budgets.reserve(HR, limits, tokens, nano, now)
    assert isinstance(made, Reservation)
    return made


def spent(budgets: Budgets, now: int = NOON) -> tuple[int, int, int]:
    found = budgets.today(HR, now)
    return found.calls, found.tokens, found.nano


def test_a_reservation_is_seen_by_the_next_call_and_then_settled(opened: Any) -> None:
    budgets = opened()
    made = reserved(budgets, 100, 7_000)
    assert spent(budgets) == (1, 100, 7_000)
    budgets.settle(made, 30, 2_500)
    assert spent(budgets) == (1, 30, 2_500)


def test_a_reservation_that_is_released_was_never_made(opened: Any) -> None:
    budgets = opened()
    budgets.release(reserved(budgets, 100, 7_000))
    assert budgets.today(HR, NOON)[2:] == (0, 0, 0, 0, 0, 0)


def test_a_reservation_is_settled_once(opened: Any) -> None:
    budgets = opened()
    made = reserved(budgets, 100)
    for _ in range(2):
        budgets.settle(made, 30, 0)
        budgets.release(made)
    assert spent(budgets) == (1, 30, 0)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(calls_per_day=2), "calls_per_day"),
        (Limits(tokens_per_day=200), "tokens_per_day"),
        (Limits(nano_per_day=2_000), "nano_per_day"),
        (Limits(calls_per_month=2), "calls_per_month"),
        (Limits(tokens_per_month=200), "tokens_per_month"),
        (Limits(nano_per_month=2_000), "nano_per_month"),
    ],
)
def test_what_would_pass_a_limit_is_refused_and_takes_nothing(opened: Any, limits: Limits, name: str) -> None:
    budgets = opened()
    for _ in range(2):
        reserved(budgets, 100, 1_000, limits=limits)
    over = budgets.reserve(HR, limits, 100, 1_000, NOON)
    assert isinstance(over, Over)
    assert over.limit == name
    assert over.used == over.most == max(getattr(limits, name), 0)
    assert "are used" in over.reason
    assert spent(budgets) == (2, 200, 2_000)


def test_the_reason_says_dollars_where_it_is_about_money() -> None:
    assert "$12.34 of $20.00 are used this month" in Over("nano_per_month", 12_340_000_000, 20_000_000_000).reason
    assert "1,000 of 1,000 calls are used today" in Over("calls_per_day", 1_000, 1_000).reason


def test_a_new_day_begins_at_nought_and_the_month_goes_on(opened: Any) -> None:
    budgets = opened()
    budgets.settle(reserved(budgets, 100, 5), 100, 5)
    found = budgets.today(HR, NOON + DAY)
    assert found[2:] == (0, 0, 0, 1, 100, 5)


def test_a_new_month_begins_at_nought(opened: Any) -> None:
    budgets = opened()
    reserved(budgets, 100, 5)
    assert budgets.today(HR, NOON + 40 * DAY)[2:] == (0, 0, 0, 0, 0, 0)


def test_a_call_that_ends_after_midnight_counts_in_its_month_and_not_in_the_new_day(opened: Any) -> None:
    budgets = opened()
    over_night = reserved(budgets, 100, 10)
    reserved(budgets, 10, 1, NOON + DAY)
    budgets.settle(over_night, 400, 40)
    assert budgets.today(HR, NOON + DAY)[2:] == (1, 10, 1, 2, 410, 41)


@pytest.mark.parametrize("back", [DAY, 40 * DAY])
def test_a_clock_that_steps_back_empties_nothing(opened: Any, back: int) -> None:
    budgets = opened()
    reserved(budgets, 10)
    assert spent(budgets, NOON - back) == (1, 10, 0)
    reserved(budgets, 10, now=NOON - back)
    assert spent(budgets) == (2, 20, 0)


def test_a_process_whose_clock_is_behind_counts_on_the_newest_day(opened: Any) -> None:
    ahead, behind = opened(0), opened(1)
    reserved(behind, 5, now=NOON)
    reserved(ahead, 10, now=NOON + DAY)
    reserved(behind, 5, now=NOON)
    assert spent(behind, NOON) == spent(ahead, NOON + DAY) == (1, 10, 0)
    reserved(behind, 5, now=NOON)
    assert spent(ahead, NOON + DAY) == (2, 15, 0)


def test_use_cases_do_not_share(opened: Any) -> None:
    budgets = opened()
    reserved(budgets, 10)
    assert budgets.today("usecase/other", NOON).calls == 0


def test_processes_see_each_other_at_once(opened: Any) -> None:
    one, two = opened(0), opened(1)
    made = reserved(one, 100, 7)
    assert spent(two) == (1, 100, 7)
    reserved(two, 50, 3)
    assert spent(one) == (2, 150, 10)
    one.settle(made, 20, 2)
    assert spent(two) == (2, 70, 5)
    assert two.held(HR) == (50, 3)
    late = opened(2)
    assert spent(late) == (2, 70, 5)
    reserved(late, 1)
    assert spent(one) == (3, 71, 5)


def test_two_at_the_edge_may_both_be_refused_and_never_both_pass(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = opened(0), opened(1)
    limits = Limits(calls_per_day=1)
    reserved(one, now=NOON - DAY)
    reserved(two, now=NOON - DAY)
    summed = Budgets._sum
    answers: list[Reservation | Over] = []

    def meanwhile(self: Budgets, own: Any) -> tuple[int, ...]:
        """The other adds its call after this one did, and before this one looks."""
        if self is one and not answers:
            answers.append(two.reserve(HR, limits, 0, 0, NOON))
        return summed(self, own)

    monkeypatch.setattr(Budgets, "_sum", meanwhile)
    answers.append(one.reserve(HR, limits, 0, 0, NOON))
    assert sum(isinstance(a, Reservation) for a in answers) <= 1
    assert one.today(HR, NOON).calls <= 1


def test_a_shard_is_counted_by_one_process(opened: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "HOLD_TRIES", 1)
    opened(0)
    with pytest.raises(Conflict, match="another process"):
        Budgets(tmp_path, "shard-0", nothing)


def test_counting_begins_with_what_is_on_record(opened: Any) -> None:
    asked = []

    def recorded(shard: str) -> Mapping[str, Counted]:
        asked.append(shard)
        return {HR: Counted(NOON // DAY, MONTH, 7, 900, 40, 100, 9_000, 400)}

    budgets = opened(3, recorded)
    assert budgets.today(HR, NOON) == Spent(NOON // DAY, MONTH, 7, 900, 40, 107, 9_900, 440)
    assert asked == ["shard-3"]


def test_opening_anew_forgets_what_was_only_reserved(opened: Any, tmp_path: Path) -> None:
    other = opened(1)
    first = Budgets(tmp_path, "shard-0", nothing)
    reserved(first, 100)
    assert spent(other) == (1, 100, 0)
    first.close()
    assert spent(other) == (1, 100, 0), "until somebody knows better it counts"
    opened(0, lambda _: {"usecase/before": Counted(), HR: Counted(NOON // DAY, MONTH, 1, 30)})
    assert spent(other) == (1, 30, 0)


def test_whoever_leads_mends_the_cells_of_shards_that_nobody_holds(opened: Any, tmp_path: Path) -> None:
    leader = opened(0, lambda shard: {HR: Counted(NOON // DAY, MONTH, 1, 30)} if shard == "shard-1" else {})
    gone = Budgets(tmp_path, "shard-1", nothing)
    for _ in range(5):
        reserved(gone, 100)
    alive = opened(2)
    reserved(alive, 1)
    assert leader.mend() == []
    gone.close()
    assert spent(leader) == (6, 501, 0)
    assert leader.mend() == ["shard-1"]
    assert spent(leader) == (2, 31, 0)
    assert leader.mend() == []


def test_a_damaged_file_is_begun_anew_and_followed_by_who_had_it_open(opened: Any, tmp_path: Path) -> None:
    other = opened(1)
    first = Budgets(tmp_path, "shard-0", lambda _: {"usecase/a": Counted(), HR: Counted(NOON // DAY, MONTH, 1, 100)})
    assert spent(other) == (1, 100, 0)
    first.close()
    file = path_of(tmp_path, 0)
    size = file.stat().st_size
    with file.open("r+b") as damaged:
        damaged.write(b"\xff" * 100)
    again = opened(0, lambda _: {HR: Counted(NOON // DAY, MONTH, 2, 200)})
    assert file.stat().st_size == size
    assert spent(other) == spent(again) == (2, 200, 0)


def test_cells_are_kept_under_a_digest_of_the_use_case(tmp_path: Path) -> None:
    Budgets(tmp_path, "shard-0", lambda _: {HR: Counted(5, 6, 7)}).close()
    file = Cells(path_of(tmp_path, 0), write=False)
    assert list(file.digests(0, 1)) == [(digest(HR), 0)]
    assert file.read(0) == Counted(5, 6, 7)
    assert HR.encode() not in path_of(tmp_path, 0).read_bytes()
    file.close()


Step = tuple[str, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "release", "day"]),
        st.integers(0, 2),
        st.integers(0, 500),
        st.integers(0, 500),
    ),
    max_size=60,
)


@given(STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_reserved_settled_and_released_the_sum_is_what_is_left(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """Three processes against one count in plain Python."""
    folder = tmp_path_factory.mktemp("cells")
    every = [Budgets(folder, f"shard-{n}", nothing) for n in range(3)]
    limits, now = Limits(tokens_per_day=2_000, nano_per_month=6_000), NOON
    open_ones: list[tuple[int, int, int, int, Reservation]] = []
    today, before = [0, 0, 0], [0, 0, 0]
    try:
        for what, place, tokens, nano in steps:
            if what == "day":
                now += DAY
                before = [b + t for b, t in zip(before, today, strict=True)]
                today = [0, 0, 0]
            elif what == "reserve":
                made = every[place].reserve(HR, limits, tokens, nano, now)
                fits = today[1] + tokens <= 2_000 and before[2] + today[2] + nano <= 6_000
                assert isinstance(made, Reservation) == fits
                if isinstance(made, Reservation):
                    open_ones.append((place, now // DAY, tokens, nano, made))
                    today = [today[0] + 1, today[1] + tokens, today[2] + nano]
            elif open_ones:
                owner, day, was_tokens, was_nano, made = open_ones.pop(place % len(open_ones))
                used = (0, tokens - was_tokens, nano - was_nano) if what == "settle" else (-1, -was_tokens, -was_nano)
                if what == "settle":
                    every[owner].settle(made, tokens, nano)
                else:
                    every[owner].release(made)
                counts = today if day == now // DAY else before
                counts[:] = [c + u for c, u in zip(counts, used, strict=True)]
            for budgets in every:
                found = budgets.today(HR, now)
                assert list(found[2:5]) == today
                if found.month == every[0].today(HR, NOON).month:
                    assert list(found[5:]) == [b + t for b, t in zip(before, today, strict=True)]
    finally:
        for budgets in every:
            budgets.close()


RUN = """
import asyncio, json, random, sys
from pathlib import Path
from bedplate.gateway.budget import Budgets, Limits, Reservation

folder, shard, seed, journal = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), open(sys.argv[4], "a", buffering=1)
budgets = Budgets(folder, shard, lambda _: {})
limits, rng = Limits(tokens_per_day=LIMIT, calls_per_day=10**9), random.Random(seed)

async def caller():
    while True:
        estimate = rng.randrange(1, 200)
        made = budgets.reserve("usecase/one", limits, estimate, estimate * 7, NOW)
        if not isinstance(made, Reservation):
            return
        await asyncio.sleep(0)
        used = rng.randrange(0, estimate + 1)
        journal.write(json.dumps([used, used * 7]) + "\\n")  # recorded, then settled
        budgets.settle(made, used, used * 7)

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    await asyncio.gather(*(caller() for _ in range(64)))

asyncio.run(main())
print("done", flush=True)
sys.stdin.readline()
"""


def callers(tmp_path: Path, limit: int) -> list[subprocess.Popen[str]]:
    """Start three processes of 64 tasks each against one limit; they wait for a line."""
    script = RUN.replace("LIMIT", str(limit)).replace("NOW", str(NOON))
    command = [sys.executable, "-c", script, str(tmp_path / "cells")]
    started = [
        subprocess.Popen(
            [*command, f"shard-{n}", str(n), str(tmp_path / f"{n}.jsonl")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        go(process)
    return started


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def recorded_in(tmp_path: Path, shard: str) -> list[list[int]]:
    return [json.loads(line) for line in (tmp_path / f"{shard[6:]}.jsonl").read_text().splitlines()]


def test_64_tasks_in_each_of_three_processes_do_not_overspend(tmp_path: Path) -> None:
    limit = 300_000
    started = callers(tmp_path, limit)
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
    (tmp_path / "3.jsonl").touch()
    watching = Budgets(tmp_path / "cells", "shard-3", nothing)
    used = [record for n in range(3) for record in recorded_in(tmp_path, f"shard-{n}")]
    found = watching.today("usecase/one", NOON)
    assert (found.calls, found.tokens, found.nano) == (len(used), sum(t for t, _ in used), sum(n for _, n in used))
    assert watching.held("usecase/one") == (0, 0)
    assert limit - 200 <= found.tokens <= limit, "no more than the limit, and no less than what no call fits into"
    for process in started:
        process.communicate("\n")
    watching.close()


def test_after_kill_9_the_cells_are_what_is_on_record(tmp_path: Path) -> None:
    started = callers(tmp_path, 1_000_000_000)
    while not (tmp_path / "1.jsonl").exists() or (tmp_path / "1.jsonl").stat().st_size < 20_000:
        assert started[1].poll() is None
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def recorded(shard: str) -> Mapping[str, Counted]:
        if shard == "shard-3":
            return {}
        records = recorded_in(tmp_path, shard)
        tokens, nano = sum(t for t, _ in records), sum(n for _, n in records)
        return {"usecase/one": Counted(NOON // DAY, MONTH, len(records), tokens, nano)}

    leader = Budgets(tmp_path / "cells", "shard-3", recorded)
    leaked = leader.today("usecase/one", NOON)
    assert leader.mend() == ["shard-0", "shard-1", "shard-2"]
    told = [recorded(f"shard-{n}")["usecase/one"] for n in range(3)]
    sums = tuple(sum(counted[place] for counted in told) for place in (2, 3, 4))
    found = leader.today("usecase/one", NOON)
    assert (found.calls, found.tokens, found.nano) == sums
    assert leaked.calls > found.calls, "calls were under way when the processes were killed"
    leader.close()


class Plan:
    """What a release plans to use."""

    calls_per_day, tokens_per_day, cents_per_day, cents_per_month, warn_percent = 50, 10**9, 300, 0, 80


def test_the_smaller_of_tier_and_release_counts() -> None:
    tier = small_model().tiers[1]
    found = Limits.of(tier, Plan())
    assert found == Limits(50, tier.tokens_per_day, 300 * CENT, 0, 0, 0, 80)
    assert Limits.of(tier) == Limits(tier.calls_per_day, tier.tokens_per_day)


@given(st.tuples(*[st.integers(0, 5)] * 7), st.tuples(*[st.integers(0, 5)] * 7))
def test_no_limit_is_more_than_any_limit(one: tuple[int, ...], two: tuple[int, ...]) -> None:
    for a, b, least in zip(one, two, [getattr(Limits(*one).least(Limits(*two)), n) for n in NAMES], strict=True):
        assert least == (min(a, b) if a and b else max(a, b))


NAMES = [*Limits.__dataclass_fields__]


@pytest.mark.parametrize(
    ("tokens", "state"), [(0, "ok"), (79, "ok"), (80, "warn"), (99, "warn"), (100, "over"), (101, "over")]
)
def test_how_a_budget_stands(tokens: int, state: str) -> None:
    limits = Limits(tokens_per_day=100, calls_per_day=10, warn_percent=80)
    assert Spent(tokens=tokens).state(limits) == state


def test_without_a_warning_percentage_there_is_no_warning() -> None:
    assert Spent(tokens=99).state(Limits(tokens_per_day=100)) == "ok"
