"""Every breaker fires: driven through the door as an agent would, it is on the ledger, and the next call is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, get_args

import pytest
from tests.agents.acting import Acting, controls

from bedplate.agents.governance import TRIPS
from bedplate.agents.toolcall import ToolCall
from bedplate.agents.trip import Measure
from bedplate.kernel.clock import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

CENT = 10_000_000  # nano
AT_ONCE = 10  # calls of a run that none of its own breakers minds


@pytest.fixture
def tier() -> int:
    return 4


def does(agent: Acting, tool: str, **arguments: Any) -> None:
    """Call a tool, whatever the answer: the last call may be one too many."""
    ruling = agent.ask(tool, **arguments)
    if ruling.verdict == "allow":
        agent.done(ruling)


def look(agent: Acting, count: int, tool: str = "bank/inbox", *, apart: int = 0, **outcome: Any) -> None:
    """Call a tool so many times, each time otherwise, in runs that are short enough."""
    for number in range(count):
        if number % AT_ONCE == 0:
            agent.begin(f"run-{number}-{agent.clock.now}")
        agent.done(agent.ask(tool, number=number), **outcome)
        agent.clock.advance(apart)


def think(agent: Acting, cents: int) -> None:
    """Call a model in the agent's run."""

    async def called() -> None:
        told = {"call": "c", "model": "small", "cost_nano": cents * CENT, "latency_us": 1}
        agent.door.called(agent.subject, "payer", agent.run, failed=False, **told)  # type: ignore[arg-type]  # as named
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(called())


def transport(agent: Acting) -> None:
    look(agent, 10, status="error", transport=True)


def latency(agent: Acting) -> None:
    look(agent, 120, apart=10 * SECOND, latency_us=30_000)
    agent.clock.advance(1200 * SECOND)
    look(agent, 20, latency_us=400_000)


def cost(agent: Acting) -> None:
    think(agent, 60)
    think(agent, 40)


def velocity(agent: Acting) -> None:
    for number in range(40):
        agent.begin(f"run-{number}")
        think(agent, 1)
        agent.clock.advance(600 * SECOND)
    for number in range(10):
        agent.begin(f"rush-{number}")
        think(agent, 15)


def steps(agent: Acting) -> None:
    for number in range(16):
        does(agent, "bank/inbox", number=number)


def repeats(agent: Acting) -> None:
    for _ in range(3):
        does(agent, "bank/inbox")


def swings(agent: Acting) -> None:
    for number in (1, 2, 1, 2):
        does(agent, "bank/inbox", number=number)


def denials(agent: Acting) -> None:
    for number in range(3):
        agent.ask("bank/archive", number=number)


def refusals(agent: Acting) -> None:
    for number in range(3):
        approval = agent.pay(2000 + number).approval
        agent.at.vote(agent.voters(approval)[0], approval, yes=False, reason="no")


def news(agent: Acting) -> None:
    look(agent, 51, apart=SECOND)
    does(agent, "bank/note", text="it never wrote one before")


def agents(agent: Acting) -> None:
    agent.begin()
    denials(agent)
    asyncio.run(agent.door.begin(agent.clerk, run="books"))
    for number in range(3):
        asyncio.run(agent.door.propose(agent.clerk, ToolCall("books", "bank/archive", {"number": number})))


DRIVEN: dict[str, tuple[Callable[[Acting], None], str]] = {
    "transport": (transport, "tool/bank/inbox"),
    "latency": (latency, "tool/bank/inbox"),
    "cost": (cost, "agent/payer"),
    "velocity": (velocity, "agent/payer"),
    "steps": (steps, "agent/payer"),
    "repeats": (repeats, "agent/payer|tool/bank/inbox"),
    "swings": (swings, "agent/payer"),
    "denials": (denials, "agent/payer"),
    "refusals": (refusals, "agent/payer"),
    "news": (news, "agent/payer"),
    "agents": (agents, "usecase/"),
}


def test_there_is_no_breaker_that_nothing_here_trips() -> None:
    assert set(DRIVEN) == set(get_args(Measure))


@pytest.mark.parametrize("measure", DRIVEN)
def test_what_goes_wrong_trips_its_breaker_and_stops_the_next_call(agent: Acting, measure: str) -> None:
    drive, scope = DRIVEN[measure]
    drive(agent)
    told = agent.house.standing(agent.subject).facts[TRIPS]
    assert isinstance(told, dict)
    found = {name: trip[0] for name, trip in told.items() if name.startswith(scope)}
    assert measure in found.values(), told
    agent.begin("afterwards")
    held = agent.ask("bank/inbox", number=1_000)
    assert (held.verdict, controls(held)) == ("deny", ["breaker-closed"])
    assert all(fix for _, _, fix in held.reasons)
