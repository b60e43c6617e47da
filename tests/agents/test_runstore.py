from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from tests.agents.runs import AGENT, SUBJECT, Most, act, begun, opened

from bedplate.agents import runfile
from bedplate.agents.run import MOST, RECENT, Claim, Run, Step
from bedplate.agents.toolcall import Tainted
from bedplate.errors import Conflict, NotFound, Tampered, Unavailable
from bedplate.kernel.clock import DAY, SECOND
from bedplate.testing import SettableClock

if TYPE_CHECKING:
    from bedplate.agents.runstore import RunStore


def denied(store: RunStore, digest: str = "d", *, why: str = "too much", tool: str = "bank/pay") -> int:
    step = Step("tool", tool, digest, "deny", "denied", reasons=(("tool-policy", why, "ask for less"),))
    return store.step("run-1", step)


def test_a_run_that_is_begun_twice_is_the_same_run(tmp_path: Path) -> None:
    store = opened(tmp_path)
    first = store.begin(Run("run-1", SUBJECT, AGENT, chain=("clerk", "buyer"), principal="person/ann"))
    denied(store)

    again = store.begin(Run("run-1", SUBJECT, AGENT))

    assert (again.started, again.chain, again.principal, again.steps) == (
        first.started,
        ("clerk", "buyer"),
        "person/ann",
        1,
    )
    assert store.day(SUBJECT, AGENT, first.started // DAY).runs == 1


@pytest.mark.parametrize("other", [Run("run-1", SUBJECT, "someone"), Run("run-1", "usecase/other", AGENT)])
def test_a_run_is_never_given_to_another_agent_or_use_case(tmp_path: Path, other: Run) -> None:
    store = opened(tmp_path)
    begun(store)

    with pytest.raises(Conflict, match="another agent's"):
        store.begin(other)


def test_what_nobody_began_is_not_there(tmp_path: Path) -> None:
    store = opened(tmp_path)

    assert store.run("run-1") is None
    with pytest.raises(NotFound, match="begin it first"):
        denied(store)


def test_a_run_remembers_its_last_calls_and_the_tools_it_used(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    for place in range(RECENT + 5):
        store.step("run-1", Step("tool", f"bank/{place % 3}", str(place)))
    denied(store, tool="bank/never")
    store.step("run-1", Step("llm", "model", cost_nano=7))

    run = store.run("run-1")

    assert run is not None
    assert len(run.recent) == RECENT
    assert run.recent[-1] == ("bank/never", "d", "deny")
    assert run.recent[-2] == ("bank/0", str(RECENT + 4), "allow")
    assert run.tools == {"bank/0", "bank/1", "bank/2"}
    assert (run.steps, run.denied, run.cost_nano, run.today.steps) == (RECENT + 7, 1, 7, RECENT + 7)


def test_steps_come_back_as_they_were_put(tmp_path: Path) -> None:
    clock = SettableClock()
    store = opened(tmp_path, clock)
    begun(store)
    step = Step(
        "tool", "bank/pay", "d", "ask", "parked", 5, "act-1", "call-1", "key-1", "irreversible", 8,
        (("tool-policy", "why", "fix"),), (Tainted("iban", 2, "mail/read"),), 3, 4,
    )  # fmt: skip

    number = store.step("run-1", step)

    assert store.steps("run-1") == [replace(step, number=number)]
    assert store.step_of("act-1") == ("run-1", replace(step, number=number))
    assert store.last_like("run-1", "d", "key-1") == replace(step, number=number)
    assert store.last_like("run-1", "d", "another") is None
    assert store.steps("run-1", after=number) == []


def test_a_refusal_that_is_ignored_ten_thousand_times_is_one_step(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    for _ in range(10_000):
        assert denied(store) == 1

    (step,) = store.steps("run-1")
    run = store.run("run-1")

    assert step.times == 10_000
    assert run is not None
    assert (run.steps, run.denied, run.today.denied) == (1, 10_000, 10_000)
    assert run.denied_in_a_row() == run.same("d") == RECENT


def test_the_same_refusal_for_another_reason_is_another_step(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)

    assert [denied(store), denied(store, why="stopped"), denied(store, why="stopped"), denied(store)] == [1, 2, 2, 3]


def test_an_action_has_one_step(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    act(store, "act-1", Most())

    with pytest.raises(Conflict, match="act-1"):
        act(store, "act-1", Most())
    assert len(store.steps("run-1")) == 1


@pytest.mark.parametrize(
    ("limits", "amounts", "through"),
    [
        (Most(actions_per_run=2), [1, 1, 1], 2),
        (Most(actions_per_day=2), [1, 1, 1], 2),
        (Most(amount_per_action=10), [10, 11, 9], 2),
        (Most(amount_per_run=10), [4, 6, 1], 2),
        (Most(amount_per_day=10), [4, 7, 6], 2),
        (Most(steps_per_run=2), [0, 0, 0], 2),
        (Most(), [1, 1, 1], 3),
    ],
)
def test_a_limit_lets_through_as_much_as_it_says(
    tmp_path: Path, limits: Most, amounts: list[int], through: int
) -> None:
    store = opened(tmp_path)
    begun(store)

    placed = [act(store, f"act-{place}", limits, amount) for place, amount in enumerate(amounts)]

    refused = [one for one in placed if one.told is not None]
    name = next((name for name in Most.__dataclass_fields__ if getattr(limits, name)), "")
    assert len(placed) - len(refused) == through
    for number, told in refused:
        assert told is not None
        assert told[0] == f"limits.{name}"
        step = next(step for step in store.steps("run-1") if step.number == number)
        assert (step.verdict, step.state, step.reasons) == ("deny", "denied", (told,))


def test_an_amount_can_make_no_room_for_others(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)

    assert act(store, "act-1", Most(), -5).told is not None
    assert act(store, "act-2", Most(), MOST + 1).told is not None
    run = store.run("run-1")
    assert run is not None
    assert (run.amount, run.actions) == (0, 0)


def test_reading_takes_a_step_but_no_action(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)

    limits = Most(actions_per_run=1, steps_per_run=3)
    assert act(store, "act-1", limits, 9, class_="read").told is None
    assert act(store, "act-2", limits, 9).told is None
    assert act(store, "act-3", limits, 9, class_="read").told is None  # though its actions are used up
    assert act(store, "act-4", limits, 9, class_="read").told is not None
    run = store.run("run-1")
    assert run is not None
    assert (run.actions, run.amount) == (1, 9)


def test_time_and_cost_end_a_run(tmp_path: Path) -> None:
    clock = SettableClock()
    store = opened(tmp_path, clock)
    begun(store)

    clock.advance(60 * SECOND - 1)
    assert act(store, "act-1", Most(seconds_per_run=60)).told is None
    clock.advance(1)
    assert act(store, "act-2", Most(seconds_per_run=60)).told is not None
    store.step("run-1", Step("llm", "model", cost_nano=9_999_999))
    assert act(store, "act-3", Most(cents_per_run=1, cents_per_day=1)).told is None
    store.step("run-1", Step("llm", "model", cost_nano=1))
    for limits in (Most(cents_per_run=1), Most(cents_per_day=1)):
        told = act(store, f"act-{limits}", limits).told
        assert told is not None
        assert "1 of 1 cents" in told[1]


def test_a_day_is_over_at_midnight_and_belongs_to_one_use_case(tmp_path: Path) -> None:
    clock = SettableClock(20_000 * DAY + DAY - 1)
    store = opened(tmp_path, clock)
    begun(store)
    store.begin(Run("run-2", "usecase/other", AGENT))
    one = Most(actions_per_day=1)

    assert act(store, "act-1", one).told is None
    assert act(store, "act-2", one).told is not None
    assert act(store, "act-3", one, run="run-2").told is None  # the agent of that name of another use case
    clock.advance(1)
    assert act(store, "act-4", one).told is None
    clock.advance(-2)  # the clock stepped back: the day that was used up still is
    assert act(store, "act-5", one).told is not None


def test_what_has_ended_does_nothing_more(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    ended = store.end("run-1", "done")

    assert store.end("run-1", "failed").state == ended.state == "done"
    told = act(store, "act-1", Most()).told
    assert told is not None
    assert told[0] == "run-open"


def test_what_is_given_back_is_there_again_and_only_once(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    limits = Most(amount_per_run=10, actions_per_day=1)
    act(store, "act-1", limits, 10)

    assert act(store, "act-2", limits, 10).told is not None
    assert store.give_back("act-1")
    assert not store.give_back("act-1")
    assert act(store, "act-3", limits, 10).told is None


def test_an_action_that_waits_takes_its_share_once_people_agreed(tmp_path: Path) -> None:
    clock = SettableClock()
    store = opened(tmp_path, clock)
    begun(store)
    limits = Most(amount_per_day=10, steps_per_run=3, seconds_per_run=60)
    for name in ("act-1", "act-2"):
        step = Step("tool", "bank/pay", name, "ask", "parked", action=name, class_="write")
        assert store.take("run-1", step, Claim(limits, 10, "write", held=False)).told is None
    run = store.run("run-1")
    assert run is not None
    assert (run.actions, run.asked) == (0, 2)

    clock.advance(3_600 * SECOND)  # people took their time
    claim = Claim(limits, 10, "write")
    assert store.claim("act-1", claim) is None
    assert store.claim("act-1", claim) is None  # asked again: it has it already
    told = store.claim("act-2", claim)

    assert told is not None
    assert told[0] == "limits.amount_per_day"
    assert store.mark("act-1", "intended", "allow")
    assert not store.mark("act-9", "intended", "allow")
    assert [step.state for step in store.steps("run-1")] == ["intended", "parked"]
    with pytest.raises(NotFound):
        store.claim("act-9", claim)


class Limited(RuleBasedStateMachine):
    """Whatever is taken, claimed and given back, in whatever order and by whichever process, a limit holds."""

    held = Bundle("held")

    @initialize(actions=st.integers(1, 6), amount=st.integers(1, 50))
    def begin(self, actions: int, amount: int) -> None:
        import tempfile  # noqa: PLC0415

        self.folder = tempfile.TemporaryDirectory()
        self.stores = [opened(Path(self.folder.name), process=f"shard-{number}") for number in range(2)]
        begun(self.stores[0])
        self.limits = Most(actions_per_day=actions, amount_per_run=amount)
        self.model: dict[str, int] = {}
        self.count = 0

    @rule(target=held, amount=st.integers(0, 30), which=st.integers(0, 1))
    def take(self, amount: int, which: int) -> Any:
        self.count += 1
        name = f"act-{self.count}"
        room = len(self.model) < self.limits.actions_per_day
        room = room and sum(self.model.values()) + amount <= self.limits.amount_per_run
        told = act(self.stores[which], name, self.limits, amount).told
        assert (told is None) == room
        if told is not None:
            return multiple()
        self.model[name] = amount
        return name

    @rule(name=consumes(held), which=st.integers(0, 1))
    def give_back(self, name: str, which: int) -> None:
        assert self.stores[which].give_back(name)
        del self.model[name]

    @invariant()
    def counted(self) -> None:
        for store in self.stores:
            run = store.run("run-1")
            assert run is not None
            assert (run.actions, run.amount) == (len(self.model), sum(self.model.values()))
            assert (run.today.actions, run.today.amount) == (run.actions, run.amount)

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            self.folder.cleanup()


TestLimited = Limited.TestCase
TestLimited.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)

CROWD = textwrap.dedent("""
    import os, sys, threading
    from pathlib import Path
    from bedplate.agents.run import Run
    from bedplate.agents.runstore import RunStore
    from bedplate.testing import SettableClock
    from tests.agents.runs import AGENT, SUBJECT, Most, act

    def one_of_eight(name):
        store = RunStore(Path(sys.argv[1]), name, SettableClock())
        store.begin(Run(name, SUBJECT, AGENT))
        limits, through = Most(actions_per_day=25, amount_per_day=2_000), []
        os.close(go)
        os.read(start, 1)  # until the parent lets go, all at once

        def calls(place):
            for turn in range(4):
                if act(store, f"{name}-{place}-{turn}", limits, 90, run=name).told is None:
                    through.append(90)

        threads = [threading.Thread(target=calls, args=(place,)) for place in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        os._exit(len(through))

    start, go = os.pipe()
    children = []
    for number in range(8):
        if not (child := os.fork()):
            try:
                one_of_eight(f"shard-{number}")
            finally:
                os._exit(255)
        children.append(child)
    os.close(go)
    print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
""")


def test_sixty_four_at_once_in_eight_processes_pass_no_limit_together(tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CROWD, str(tmp_path / "agents")],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        timeout=60,
        env={"PYTHONPATH": root},
    )
    assert ran.stderr == ""
    counts = [int(count) for count in ran.stdout.split()]

    assert len(counts) == 8
    assert sum(counts) == 22  # 22 × 90 = 1,980, and 23 would be more than 2,000
    store = opened(tmp_path, process="looking")
    day = store.day(SUBJECT, AGENT, SettableClock().now // DAY)
    assert (day.actions, day.amount, day.steps, day.denied) == (22, 1_980, 256, 256 - 22)
    store.close()


def test_runs_are_paged_the_latest_first(tmp_path: Path) -> None:
    clock = SettableClock()
    store = opened(tmp_path, clock)
    for number in range(7):
        begun(store, f"run-{number}", AGENT if number % 2 else "other")
        clock.advance(number % 3)  # some begin at the same moment
    store.end("run-3", "failed")

    pages, before = [], None
    while page := store.runs(subject=SUBJECT, before=before, limit=3):
        pages += [run.id for run in page]
        before = (page[-1].started, page[-1].id)

    assert sorted(pages) == [f"run-{number}" for number in range(7)]
    assert [run.id for run in store.runs(agent=AGENT)] == ["run-5", "run-3", "run-1"]
    assert [run.id for run in store.runs(state="failed")] == ["run-3"]


def test_what_was_read_is_kept_in_order_and_read_on_from_a_place(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    store.add_atoms("run-1", 1, "mail/read", b"12345678", trusted=False)
    first, place = store.provenance("run-1")
    store.add_atoms("run-1", 2, "bank/payees", b"abcdefgh", trusted=True)
    more, _ = store.provenance("run-1", after=place)

    assert [(a.step, a.source, a.trusted, a.atoms) for a in first] == [(1, "mail/read", False, b"12345678")]
    assert [(a.step, a.source, a.trusted, a.atoms) for a in more] == [(2, "bank/payees", True, b"abcdefgh")]


def test_old_runs_go_but_not_what_is_still_open(tmp_path: Path) -> None:
    from bedplate.agents.effect import Effect  # noqa: PLC0415

    clock = SettableClock()
    store = opened(tmp_path, clock)
    for name in ("old", "waits", "runs"):
        begun(store, name)
        store.intend(name, 1, Effect(f"act-{name}"))
        store.add_atoms(name, 1, "mail/read", b"12345678", trusted=False)
    store.settle("act-old", "ok")
    store.settle("act-runs", "ok")
    store.end("old", "done")
    store.end("waits", "failed")

    assert store.prune(clock.now) == 0  # not before they ended
    assert store.prune(clock.now + 1) == 1
    assert sorted(run.id for run in store.runs()) == ["runs", "waits"]
    assert store.effect("act-old") is None
    assert store.provenance("old")[0] == []


def test_nobody_else_can_read_the_file_nor_take_its_process_name(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.folder.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    with pytest.raises(Conflict, match="held by a process that runs"):
        opened(tmp_path)
    store.close()
    opened(tmp_path).close()


@pytest.mark.parametrize("name", ["", "../out", ".hidden"])
def test_a_process_needs_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(Conflict, match="no name of a process"):
        opened(tmp_path, process=name)


def test_a_file_that_somebody_else_keeps_locked_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runfile, "BUSY_MS", 50)
    store = opened(tmp_path)
    begun(store)
    other = apsw.Connection(str(store.path))  # one that does not wait for its turn

    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable, match=r"runs\.db"):
        denied(store)
    other.execute("ROLLBACK")
    assert denied(store) == 1  # nothing of it was left behind


def test_what_fails_within_leaves_nothing_behind(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)

    def half() -> None:
        with store.writing() as db:
            db.execute("UPDATE run SET steps = 99")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    run = store.run("run-1")
    assert run is not None
    assert run.steps == 0


def test_reading_does_not_wait_for_an_intent_that_is_being_synced(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    seen: list[Run | None] = []

    with store.writing(durable=True):  # as while the disk is slow
        reader = threading.Thread(target=lambda: seen.append(store.run("run-1")))
        reader.start()
        reader.join(5)

    assert seen
    assert seen[0] is not None


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "runs.db").write_bytes(os.urandom(8_192))

    with pytest.raises(Tampered, match=r"runs\.db"):
        opened(tmp_path)


def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with store.writing() as db:
        db.execute("PRAGMA user_version = 9")
    store.close()

    with pytest.raises(Unavailable, match="version 9, not 1"):
        opened(tmp_path)
