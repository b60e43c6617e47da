from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.agents.runs import Most, act, begun, opened

from bedplate.agents.effect import Effect
from bedplate.errors import NotFound
from bedplate.testing import SettableClock

if TYPE_CHECKING:
    from bedplate.agents.effect import EffectState
    from bedplate.agents.runstore import RunStore

ROOT = str(Path(__file__).parents[2])


def intended(store: RunStore, action: str = "act-1", key: str = "", **more: Any) -> Effect:
    placed = act(store, action, Most(), 5)
    return store.intend("run-1", placed.number, Effect(action, key=key, tool="bank/pay", **more))


def test_an_effect_is_carried_out_by_whoever_got_it_fresh(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)

    first = intended(store)
    again = store.intend("run-1", 1, Effect("act-1"))

    assert (first.fresh, first.state, first.step, first.tool) == (True, "intended", 1, "bank/pay")
    assert not again.fresh
    assert again.tool == "bank/pay"


def test_the_same_key_in_the_same_run_is_the_same_effect_and_holds_one_share(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    begun(store, "run-2")
    intended(store, key="pay-17")
    second = intended(store, "act-2", "pay-17")
    elsewhere = store.intend("run-2", 1, Effect("act-3", key="pay-17"))

    assert (second.fresh, second.action) == (False, "act-1")
    assert elsewhere.fresh
    run, found = store.run("run-1"), store.effect_of("run-1", "pay-17")
    assert run is not None
    assert found is not None
    assert (run.actions, run.amount, found.action) == (1, 5, "act-1")
    assert store.effect_of("run-1", "") is None


def test_effects_without_a_key_are_each_their_own(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)

    assert [intended(store, f"act-{number}").fresh for number in range(3)] == [True, True, True]
    assert [effect.action for effect in store.effects("run-1")] == ["act-0", "act-1", "act-2"]


@pytest.mark.parametrize("state", ["ok", "error", "settled"])
def test_what_is_known_stays_known(tmp_path: Path, state: EffectState) -> None:
    clock = SettableClock()
    store = opened(tmp_path, clock)
    begun(store)
    intended(store)
    clock.advance(7)
    store.settle("act-1", state, result_sha256="ab", result=b"sealed", message="said", latency_us=9)

    for other in ("ok", "error", "unknown", "settled"):
        store.settle("act-1", other, result=b"another")
    assert not store.retry("act-1").fresh

    found = store.effect("act-1")
    assert found is not None
    assert (found.state, found.result, found.result_sha256, found.message) == (state, b"sealed", "ab", "said")
    assert (found.ended, found.open) == (clock.now, False)
    assert [(step.state, step.latency_us) for step in store.steps("run-1")] == [(state, 9)]


def test_what_nobody_knows_may_still_become_known(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    intended(store)
    store.settle("act-1", "unknown")
    assert [effect.action for effect in store.unknown()] == ["act-1"]
    assert store.steps("run-1")[0].state == "unknown"

    assert store.settle("act-1", "ok").state == "ok"  # the answer came late
    assert store.unknown() == []


def test_what_nobody_knows_is_tried_again_by_one_only(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    intended(store, idempotent=True)
    assert not store.retry("act-1").fresh  # it is in hand
    store.settle("act-1", "unknown")

    tried = [store.retry("act-1") for _ in range(3)]

    assert [effect.fresh for effect in tried] == [True, False, False]
    assert tried[0].tries == 2
    assert store.steps("run-1")[0].state == "intended"


def test_what_was_never_intended_has_no_outcome(tmp_path: Path) -> None:
    store = opened(tmp_path)

    with pytest.raises(NotFound, match="act-1"):
        store.settle("act-1", "ok")
    with pytest.raises(NotFound, match="act-1"):
        store.retry("act-1")


def test_what_nobody_heard_of_in_time_is_unknown(tmp_path: Path) -> None:
    clock = SettableClock()
    store = opened(tmp_path, clock)
    begun(store)
    intended(store, due=clock.now + 10)
    intended(store, "act-2")

    clock.advance(9)
    assert store.recover() == []
    clock.advance(1)
    assert [effect.action for effect in store.recover()] == ["act-1"]
    assert store.recover() == []


def test_a_process_that_lives_keeps_what_it_has_in_hand(tmp_path: Path) -> None:
    store, other = opened(tmp_path), opened(tmp_path, process="shard-1")
    begun(store)
    intended(store)

    assert other.recover() == []
    assert store.recover() == []
    store.close()  # it ended without saying what became of it
    assert [effect.action for effect in other.recover()] == ["act-1"]


def test_a_process_that_begins_again_under_its_name_finds_what_it_left(tmp_path: Path) -> None:
    store = opened(tmp_path)
    begun(store)
    intended(store)
    store.close()
    store = opened(tmp_path)
    intended(store, "act-2")

    assert [effect.action for effect in store.recover()] == ["act-1"]
    found = store.effect("act-2")
    assert found is not None
    assert found.state == "intended"


KILLED = textwrap.dedent("""
    import os, signal, sys
    from pathlib import Path
    from bedplate.agents.effect import Effect
    from bedplate.agents.run import Claim, Run, Step
    from bedplate.agents.runstore import RunStore
    from tests.agents.runs import AGENT, SUBJECT, Most
    from bedplate.testing import SettableClock
    folder, log = Path(sys.argv[1]), Path(sys.argv[2])
    STEPS, POINTS = 20, ("begun", "taken", "intended", "done", "settled")

    def killed_at(run, step, point):
        # One life: it takes the run up where it stands, and is killed at its point, or comes to the end.
        store = RunStore(folder, "shard-0", SettableClock())
        for lost in store.recover():
            # Nobody retries it: a person looks whether it was done.
            was = f"{lost.run} {lost.key} " in log.read_text()
            store.settle(lost.action, "settled" if was else "error", message="a person looked")
        store.begin(Run(run, SUBJECT, AGENT))
        for number in range(STEPS):
            key, tries = f"step-{number}", 0
            die = lambda where: number == step and where == point and os.kill(os.getpid(), signal.SIGKILL)
            known = store.effect_of(run, key)
            if known is not None and known.state != "intended":
                continue
            assert known is None, known
            die("begun")
            action = f"{run}-{number}-{os.urandom(4).hex()}"
            asked = Step("tool", "bank/pay", key, state="intended", action=action, key=key, class_="write")
            placed = store.take(run, asked, Claim(Most(), 5, "write"))
            die("taken")
            held = store.intend(run, placed.number, Effect(action, key=key, tool="bank/pay"))
            assert held.fresh
            die("intended")
            with log.open("a") as out:
                out.write(f"{run} {key} {action}\\n")
            die("done")
            store.settle(action, "ok")
            die("settled")
        os._exit(0)

    log.touch()
    ends = []
    for point, step in [(point, step) for point in POINTS for step in (*range(STEPS), -1)]:
        child = os.fork()
        if not child:
            try:
                killed_at(point, step, point)
            finally:
                os._exit(3)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(*ends)
""")


def test_killed_at_every_transition_of_twenty_steps_nothing_is_done_twice_and_nothing_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "done"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path / "agents"), str(log)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=100,
        env={"PYTHONPATH": ROOT},
    )
    store, done = opened(tmp_path), [line.split()[:2] for line in log.read_text().splitlines()]

    assert ran.stderr == ""
    assert ran.stdout.split() == (["-9"] * 20 + ["0"]) * 5  # each life was killed where it had to be
    assert len({(run, key) for run, key in done}) == len(done)  # nothing twice
    keys = [f"step-{number}" for number in range(20)]
    for point, state, count in [
        ("begun", "ok", 20),
        ("taken", "ok", 20),
        ("intended", "error", 0),  # on record, and not done: a person says so
        ("done", "settled", 20),  # done, and nobody had heard of it
        ("settled", "ok", 20),
    ]:
        effects, run = store.effects(point), store.run(point)
        assert sorted(effect.key for effect in effects) == sorted(keys), point  # nothing lost
        assert {effect.state for effect in effects} == {state}, point
        assert sum(run_ == point for run_, _ in done) == count, point
        assert run is not None
        assert (run.actions, run.amount) == (20, 100), point  # what was held for nothing was given back
    store.close()


class Kept(RuleBasedStateMachine):
    """However intents, outcomes and recoveries follow on each other: done at most once, and never forgotten."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.stores = [opened(Path(self.folder.name), process=f"shard-{number}") for number in range(2)]
        begun(self.stores[0])
        self.model: dict[str, str] = {}
        self.owner: dict[str, int] = {}
        self.done: dict[str, int] = {}

    @rule(key=st.sampled_from("abc"), which=st.integers(0, 1))
    def intend(self, key: str, which: int) -> None:
        effect = self.stores[which].intend("run-1", 1, Effect(f"act-{key}-{which}", key=key))
        assert effect.fresh == (key not in self.model)
        if effect.fresh:
            self.model[key], self.owner[key] = "intended", which
            self.done[key] = self.done.get(key, 0) + 1
        assert effect.state == self.model[key]

    @rule(key=st.sampled_from("abc"), which=st.integers(0, 1), state=st.sampled_from(["ok", "error", "unknown"]))
    def settle(self, key: str, which: int, state: EffectState) -> None:
        known = self.stores[which].effect_of("run-1", key)
        if known is not None:
            if self.model[key] in {"intended", "unknown"}:
                self.model[key] = state
            assert self.stores[which].settle(known.action, state).state == self.model[key]

    @rule(which=st.integers(0, 1))
    def die_and_recover(self, which: int) -> None:
        self.stores[which].close()
        other = self.stores[1 - which]
        lost = {effect.key for effect in other.recover()}
        mine = {key for key, state in self.model.items() if state == "intended" and self.owner[key] == which}
        assert lost == mine
        self.model.update(dict.fromkeys(mine, "unknown"))
        self.stores[which] = opened(Path(self.folder.name), process=f"shard-{which}")

    @invariant()
    def known_to_both(self) -> None:
        for store in self.stores:
            assert {effect.key: effect.state for effect in store.effects("run-1")} == self.model
        assert all(count == 1 for count in self.done.values())

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            self.folder.cleanup()


TestKept = Kept.TestCase
TestKept.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
