"""LangGraph: what the server rules is what a graph does, however often it runs a node."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Any

import pytest

pytest.importorskip("langgraph.checkpoint.sqlite")

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from tests.sdk.agent_door import KEY, AgentDoor

from bedplate import errors
from bedplate.sdk.agents import Agents, current_action
from bedplate.sdk.checkpoint import checkpointer
from bedplate.sdk.langgraph import thread_of, tool_node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

THREAD: Any = {"configurable": {"thread_id": "thread-1"}}


@pytest.fixture
def door() -> Iterator[AgentDoor]:
    with AgentDoor() as serving:
        yield serving


class Office:
    """A graph whose model makes the calls that it is given, turn by turn, and tools that take note of what they do."""

    def __init__(
        self, door: AgentDoor, *turns: list[tuple[str, dict[str, Any]]], saver: Any = None, **how: Any
    ) -> None:
        self.done: list[tuple[str, Any, str]] = []
        self.turns = list(turns)
        self.crash = False
        done = self.done

        @tool
        def pay(to: str, amount: int) -> str:
            """Pay somebody."""
            done.append((to, amount, current_action()))
            if to == "LOST":
                raise TimeoutError("no answer")
            if to == "CLOSED":
                raise ValueError("the account is closed")
            return f"paid {amount}"

        @tool
        async def look(name: str) -> dict[str, str]:
            """Look somebody up."""
            done.append((name, None, current_action()))
            return {"account": "LU1"}

        @tool
        def move(to: str, call: Annotated[str, InjectedToolCallId]) -> Command[Any]:
            """Hand over."""
            done.append((to, None, current_action()))
            return Command(update={"messages": [ToolMessage(f"moved to {to}", tool_call_id=call)]})

        builder: Any = StateGraph(MessagesState)
        builder.add_node("model", self.model)
        builder.add_node("tools", tool_node([pay, look, move], Agents(door.url, KEY), **how))
        builder.add_node("after", self.after)
        builder.add_edge(START, "model")
        builder.add_conditional_edges("model", self.route, ["tools", END])
        builder.add_edge("tools", "after")
        builder.add_edge("after", "model")
        self.graph: Any = builder.compile(checkpointer=saver or InMemorySaver())

    def model(self, state: dict[str, Any]) -> dict[str, Any]:
        turn = sum(isinstance(m, AIMessage) for m in state["messages"])
        if turn >= len(self.turns):
            return {"messages": [AIMessage("done")]}
        calls = [{"name": n, "args": a, "id": f"call-{turn}-{i}"} for i, (n, a) in enumerate(self.turns[turn])]
        return {"messages": [AIMessage("", tool_calls=calls)]}

    def route(self, state: dict[str, Any]) -> str:
        return "tools" if state["messages"][-1].tool_calls else END

    def after(self, _: dict[str, Any]) -> dict[str, Any]:
        if self.crash:
            raise RuntimeError("the process ran out of memory")
        return {}

    def ask(self, text: str = "Pay 5 to LU1.", config: Any = None) -> Any:
        return self.graph.invoke({"messages": [HumanMessage(text)]}, config or THREAD)

    def resume(self) -> Any:
        return self.graph.invoke(Command(resume={"approved": True, "by": "the agent itself"}), THREAD)

    def answers(self) -> list[str]:
        messages = self.graph.get_state(THREAD).values["messages"]
        return [str(m.content) for m in messages if isinstance(m, ToolMessage)]


def test_done_and_told(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 5})], names={"pay": "bank/transfer"})
    office.ask()
    assert office.answers() == ["paid 5"]
    assert door.asked[0]["tool"] == "bank/transfer"
    assert door.asked[0]["key"] == "thread-1/call-0-0"
    assert door.outcomes == [
        {
            "action": office.done[0][2],
            "status": "ok",
            "result": {"content": "paid 5"},
            "message": "",
            "transport": False,
            "latency_us": door.outcomes[0]["latency_us"],
        }
    ]
    assert door.runs["thread-1"].task == "Pay 5 to LU1."


def test_what_people_say_later_is_heard_as_theirs(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 5})], [], [("pay", {"to": "LU2", "amount": 6})])
    office.ask()
    office.ask("And 6 to LU2.")
    assert door.runs["thread-1"].task == "Pay 5 to LU1."
    assert door.runs["thread-1"].texts == [{"text": "And 6 to LU2.", "source": "user", "trusted": True}]


def test_a_refusal_is_what_the_model_is_told(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "BAD", "amount": 5})])
    state = office.ask()
    assert office.done == []
    assert "BAD is no known payee" in office.answers()[0]
    assert "have it added" in office.answers()[0]
    assert state["messages"][-1].content == "done"


def test_what_a_graph_is_resumed_with_grants_nothing(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 500})])
    [waits] = office.ask()["__interrupt__"]
    assert waits.value["approval"] == door.waiting[0].id
    assert waits.value["arguments"] == {"to": "LU1", "amount": 500}
    for _ in range(5):
        [waits] = office.resume()["__interrupt__"]
        assert waits.value["approval"] == door.waiting[0].id
    assert len(door.asked) == 6  # once a resume, however often it was resumed
    assert office.done == []
    door.say("granted", amount=400)
    assert office.resume()["messages"][-1].content == "done"
    assert [d[:2] for d in office.done] == [("LU1", 400)]
    assert office.answers() == ["paid 400"]


@pytest.mark.parametrize(("said", "told"), [("refused", "mara refused it: not today"), ("answer", "not today")])
def test_refused_or_answered_by_a_person(door: AgentDoor, said: str, told: str) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 500})])
    office.ask()
    door.say(said, "not today")
    office.resume()
    assert told in office.answers()[0]
    assert office.done == []


def test_calls_of_one_turn_of_which_some_wait_are_each_done_once(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": f"LU{n}", "amount": n}) for n in (5, 500, 6, 600)])
    office.ask()
    for _ in range(2):  # of several interrupts of one node LangGraph tells one
        for one in door.waiting:
            one.state = "granted"
        office.resume()
    assert sorted(d[1] for d in office.done) == [5, 6, 500, 600]
    assert office.answers() == ["paid 5", "paid 500", "paid 6", "paid 600"]


def test_a_fork_of_a_thread_does_nothing_twice(door: AgentDoor) -> None:
    office = Office(
        door, [("pay", {"to": "LU1", "amount": 5})], [("move", {"to": "claims"})], [("look", {"name": "Mara"})]
    )
    config = THREAD
    asyncio.run(office.graph.ainvoke({"messages": [HumanMessage("Pay.")]}, config))
    before = office.answers()
    done = list(office.done)
    start = [s for s in office.graph.get_state_history(config) if s.next == ("tools",)][-1]
    asyncio.run(office.graph.ainvoke(None, start.config))
    assert len(done) == 3
    assert office.done == done
    assert office.answers() == before == ["paid 5", "moved to claims", '{"account": "LU1"}']


def test_a_crash_after_the_tool_does_nothing_twice(door: AgentDoor, tmp_path: Path) -> None:
    with checkpointer(tmp_path) as saver:
        office = Office(door, [("pay", {"to": "LU1", "amount": 5})], saver=saver)
        office.crash = True
        with pytest.raises(RuntimeError):
            office.ask()
        office.crash = False
        office.graph.invoke(None, THREAD)
        assert len(office.done) == 1
        assert office.answers() == ["paid 5"]


def test_a_tools_failure_is_on_record_as_one_and_not_tried_again(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "CLOSED", "amount": 5})], handle_tool_errors=True)
    office.ask()
    assert door.outcomes[0]["status"] == "error"
    assert "the account is closed" in office.answers()[0]
    start = next(s for s in office.graph.get_state_history(THREAD) if s.next == ("tools",))
    office.graph.invoke(None, start.config)
    assert len(office.done) == 1
    assert "the account is closed" in office.answers()[0]


@pytest.mark.parametrize("park_unknown", [False, True])
def test_what_nobody_knows_the_outcome_of(door: AgentDoor, *, park_unknown: bool) -> None:
    office = Office(door, [("pay", {"to": "LOST", "amount": 5})], park_unknown=park_unknown)
    with pytest.raises(TimeoutError):
        office.ask()
    assert door.outcomes[0]["status"] == "unknown"
    told = office.graph.invoke(None, THREAD)
    if not park_unknown:
        assert "nobody knows what became of it" in office.answers()[0]
        return
    assert "bedplate actions conclude" in told["__interrupt__"][0].value["why"]
    door.conclude("ok")
    assert office.resume()["messages"][-1].content == "done"
    assert office.answers() == ["It was done"]
    assert len(office.done) == 1


def test_a_step_that_another_process_has_in_hand_waits_for_it(door: AgentDoor) -> None:
    door.lease_s = 0.5
    other = Agents(door.url, KEY)
    other.begin("thread-1")
    other.propose("thread-1", "local/pay", {"to": "LU1", "amount": 5}, key="thread-1/call-0-0")
    office = Office(door, [("pay", {"to": "LU1", "amount": 5})])
    [waits] = office.ask()["__interrupt__"]
    assert waits.value["approval"] == ""
    time.sleep(0.6)
    office.resume()
    assert "nobody knows" in office.answers()[0]
    assert office.done == []


def test_async_graphs(door: AgentDoor, tmp_path: Path) -> None:
    async def run(office: Office) -> None:
        told = await office.graph.ainvoke({"messages": [HumanMessage("Pay.")]}, THREAD)
        assert told["__interrupt__"][0].value["approval"] == door.waiting[0].id
        door.say("granted")
        await office.graph.ainvoke(Command(resume=True), THREAD)
        assert len([s async for s in office.graph.aget_state_history(THREAD)]) > 3

    with checkpointer(tmp_path) as saver:
        office = Office(
            door, [("pay", {"to": "LU1", "amount": 500})], [("pay", {"to": "CLOSED", "amount": 5})],
            saver=saver, handle_tool_errors=True,
        )  # fmt: skip
        asyncio.run(run(office))
        assert office.answers()[0] == "paid 500"
        assert [o["status"] for o in door.outcomes] == ["ok", "error"]


def test_a_graph_without_a_thread_is_told_so(door: AgentDoor) -> None:
    with pytest.raises(errors.InvalidInput, match="without a thread") as wrong:
        thread_of({})
    assert "thread_id" in wrong.value.hint
    office = Office(door, [("pay", {"to": "LU1", "amount": 5})], run=lambda _: "of-my-own")
    office.ask()
    assert list(door.runs) == ["of-my-own"]
