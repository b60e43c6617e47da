"""The same agents on the real server: killed at every point, and the server killed in between, twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("langgraph.checkpoint.sqlite")
pytest.importorskip("pydantic_ai")

from tests import served
from tests.sdk.agent_graph import POINTS, RUNNERS, Start
from tests.sdk.agent_office import open_office
from tests.sdk.test_agents_killed import paid, started

from bedplate.sdk.agents import Agents, Refused
from bedplate.sdk.decorator import governed, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("runner", sorted(RUNNERS))
def test_nothing_is_done_twice_and_no_approval_lost(runner: str, tmp_path: Path) -> None:
    with served.Server(served.fresh()) as server:
        at = served.harbour(server)
        key = open_office(at, 4)

        def go_on(name: str, point: str = "") -> Any:
            return started(Start(runner, server.url, key, tmp_path, point, 500, thread=name))

        def settled(name: str) -> Any:
            """Go on until nothing waits any more for what a dead process had in hand."""
            told: Any = None
            for _ in range(60):
                told = go_on(name)
                if "waits" not in told or told["waits"]["approval"]:
                    return told
                time.sleep(0.25)
            raise AssertionError(f"{name} waits for ever: {told}")

        def restart() -> None:
            server.kill()
            server.start()

        approvals = [go_on(point)["waits"]["approval"] for point in POINTS]
        assert len(set(approvals)) == len(POINTS)
        restart()
        for approval in approvals:
            assert at.agree(approval, "hanna", "ruth") == "granted"
        for point in POINTS:
            assert go_on(point, point) == "killed"
        restart()
        for point in POINTS:
            told = settled(point)
            assert len(paid(tmp_path, point)) == (0 if point in {"after-asking", "before-effect"} else 1), point
            if point in {"before-asking", "after-outcome"}:
                assert told == {"said": "It says: paid 500 to LU1"}, point
            else:
                assert "nobody knows what became of it" in told.get("said", ""), (point, told)
            assert go_on(point)["said"]
            assert len(paid(tmp_path, point)) <= 1
        assert [at.person("jonas").approval(one)["state"] for one in approvals] == ["spent"] * len(POINTS)


def test_refusals_outcomes_and_replays_of_the_real_server() -> None:
    with served.Server(served.fresh()) as server:
        agents, names = Agents(server.url, open_office(served.harbour(server), 2)), []

        @governed("local/pay", agents, idempotency="reference")
        def pay(to: str, amount: int, reference: str = "") -> str:
            names.append((amount, reference))
            if names.count((3, reference)) == 1:
                raise TimeoutError("the bank did not answer")
            return f"paid {amount} to {to}"

        with running(agents, "r", task="Pay 2 and 3 to LU1.", end=False):
            pay("LU1", 2)
            with pytest.raises(TimeoutError):
                pay("LU1", 3)
        with running(agents, "r", end=False):
            assert [pay("LU1", 2), pay("LU1", 3)] == ["paid 2 to LU1", "paid 3 to LU1"]
        assert [amount for amount, _ in names] == [2, 3, 3]
        assert len(set(names)) == 2  # tried again under the same name: to the bank it is one payment
        with pytest.raises(Refused, match="BAD is no known payee") as refused, running(agents, "r"):
            pay("BAD", 4)
        assert refused.value.hint
        steps = agents.timeline("r")["steps"]
        assert [(s["tool"], s["state"]) for s in steps] == [
            ("local/pay", "ok"),
            ("local/pay", "ok"),
            ("local/pay", "denied"),
        ]
