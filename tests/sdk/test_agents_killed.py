"""Agents that are killed (kill -9) at every point of a tool call: nothing is done twice, and no approval is lost."""

from __future__ import annotations

import multiprocessing
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("langgraph.checkpoint.sqlite")
pytest.importorskip("pydantic_ai")

from tests.sdk import agent_graph
from tests.sdk.agent_door import KEY, AgentDoor
from tests.sdk.agent_graph import POINTS, RUNNERS, Start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.postgres import Postgres

pytestmark = pytest.mark.slow

# Processes are forked from one that has loaded what all need: they are as mortal as any, and start at once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.sdk.agent_graph"])


@pytest.fixture(params=sorted(RUNNERS))
def go_on(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """Return what starts the agent's process, which goes on where the one before it was killed."""

    def start(door: AgentDoor, point: str = "", amount: int = 5) -> Any:
        return started(Start(request.param, door.url, KEY, tmp_path, point, amount))

    return start


def started(start: Start) -> Any:
    """Run one process of the agent to its end; returns what it told, or that it was killed."""
    ours, its = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=agent_graph.process, args=(start, its))
    process.start()
    its.close()
    try:
        told = ours.recv() if ours.poll(60) else {"broken": "it said nothing for a minute"}
    except EOFError:
        told = None
    process.join(60)
    if process.exitcode == -signal.SIGKILL:
        assert told is None
        return "killed"
    assert told is not None, process.exitcode
    assert "broken" not in told, told["broken"]
    return told


def paid(folder: Path, thread: str = "invoice-17") -> list[list[str]]:
    """List the payments that the bank got: action, to, amount."""
    file = folder / f"{thread}.txt"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def settled(go_on: Callable[..., Any], door: AgentDoor, amount: int) -> Any:
    """Start the agent again until it no longer waits for a step that a dead process had in hand."""
    for _ in range(20):
        told = go_on(door, amount=amount)
        if "waits" not in told or told["waits"]["approval"]:
            return told
        time.sleep(door.lease_s)
    raise AssertionError("it waits for ever")


@pytest.mark.parametrize("asks", [False, True], ids=["allowed", "parked"])
@pytest.mark.parametrize("point", POINTS)
def test_nothing_is_done_twice_and_unknown_is_never_tried_again_in_tier_4(
    go_on: Callable[..., Any], tmp_path: Path, point: str, *, asks: bool
) -> None:
    amount = 500 if asks else 5
    with AgentDoor() as door:
        if asks:
            assert go_on(door, amount=amount)["waits"]["approval"] == door.waiting[0].id
            assert go_on(door, amount=amount)["waits"]["approval"] == door.waiting[0].id  # nobody said anything yet
            door.say("granted")
        assert go_on(door, point, amount) == "killed"
        told = settled(go_on, door, amount)

        assert len(paid(tmp_path)) == (0 if point in {"after-asking", "before-effect"} else 1)
        assert len(door.approvals) == asks
        if point in {"before-asking", "after-outcome"}:
            assert told == {"said": f"It says: paid {amount} to LU1"}
        else:
            assert "nobody knows what became of it" in told["said"]
            assert "bedplate actions conclude" in told["said"]
        assert settled(go_on, door, amount)  # once more, at the end of it all
        assert len(door.effects()) == 1
        assert len({action for action, *_ in paid(tmp_path)}) <= 1


@pytest.mark.parametrize("point", POINTS)
def test_in_tier_2_an_idempotent_tool_is_tried_again_under_the_same_name(
    go_on: Callable[..., Any], tmp_path: Path, point: str
) -> None:
    with AgentDoor(tier=2, idempotent=True) as door:
        assert go_on(door, point) == "killed"
        assert settled(go_on, door, 5) == {"said": "It says: paid 5 to LU1"}
        assert len({action for action, *_ in paid(tmp_path)}) == 1  # what the bank takes for one payment
        assert [e.state for e in door.effects()] == ["ok"]


@pytest.mark.postgres
def test_with_checkpoints_in_postgresql(postgres: Postgres, tmp_path: Path) -> None:
    postgres.execute("CREATE DATABASE langgraph_killed")
    where = postgres.url("langgraph_killed")
    with AgentDoor(lease_s=0) as door:

        def go_on(point: str, *, dies: bool = False) -> Any:
            given = Start("langgraph", door.url, KEY, tmp_path, point if dies else "", 500, where, point)
            return started(given)

        for point in POINTS:
            assert go_on(point)["waits"]["approval"] == door.waiting[0].id
            door.say("granted")
            assert go_on(point, dies=True) == "killed"
            told = go_on(point)["said"]
            done = point in {"before-asking", "after-outcome"}
            assert ("paid 500 to LU1" if done else "nobody knows") in told, point
            assert len(paid(tmp_path, point)) == (0 if point in {"after-asking", "before-effect"} else 1), point
