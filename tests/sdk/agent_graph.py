"""A payments agent in LangGraph and one in Pydantic AI, as processes that can be killed at any point of a tool call.

Each goes on with what stands in its folder. At its point, if it has one, it kills itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import TypeAdapter
from pydantic_ai import Agent, DeferredToolRequests, ModelMessagesTypeAdapter
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from bedplate.sdk.agents import Agents, current_action
from bedplate.sdk.checkpoint import checkpointer
from bedplate.sdk.langgraph import tool_node
from bedplate.sdk.pydanticai import Governed, asked_again

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from bedplate.sdk.ruling import Ruling

POINTS = ("before-asking", "after-asking", "before-effect", "after-effect", "before-outcome", "after-outcome")
TASK = "Pay 500 to LU1."


@dataclass(frozen=True)
class Start:
    """What one process of the agent is started with. `where` is a database's URL, if checkpoints stand in one."""

    runner: str
    url: str
    key: str
    folder: Path
    point: str = ""
    amount: int = 5
    where: str = ""
    thread: str = "invoice-17"


class Mortal(Agents):
    """A client whose process dies at a point of the first tool call that gets there."""

    def __init__(self, start: Start) -> None:
        super().__init__(start.url, start.key)
        self.point = start.point

    def here(self, point: str) -> None:
        if point == self.point:
            os.kill(os.getpid(), signal.SIGKILL)

    def propose(self, *args: Any, **named: Any) -> Ruling:
        self.here("before-asking")
        ruling = super().propose(*args, **named)
        if ruling.verdict == "allow":
            self.here("after-asking")
        return ruling

    def settle(self, *args: Any, **named: Any) -> None:
        self.here("before-outcome")
        super().settle(*args, **named)
        self.here("after-outcome")


class Bank:
    """Writes every payment to a file, durably. What has the same reference it would take for the same payment."""

    def __init__(self, start: Start) -> None:
        self.file, self.agents, self.amount = start.folder / f"{start.thread}.txt", Mortal(start), start.amount

    def pay(self, to: str, amount: int) -> str:
        """Pay somebody."""
        self.agents.here("before-effect")
        with self.file.open("a") as file:
            file.write(f"{current_action()} {to} {amount}\n")
            file.flush()
            os.fsync(file.fileno())
        self.agents.here("after-effect")
        return f"paid {amount} to {to}"


def langgraph(start: Start, bank: Bank) -> Any:
    def model(state: MessagesState) -> dict[str, Any]:
        last = state["messages"][-1]
        if isinstance(last, HumanMessage):
            call = {"name": "pay", "args": {"to": "LU1", "amount": bank.amount}, "id": "call-1"}
            return {"messages": [AIMessage(content="", tool_calls=[call])]}
        return {"messages": [AIMessage(content=f"It says: {last.content}")]}

    def route(state: MessagesState) -> str:
        return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END

    builder = StateGraph(MessagesState)
    builder.add_node("model", model)
    builder.add_node("tools", tool_node([bank.pay], bank.agents))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", route)
    builder.add_edge("tools", "model")
    with checkpointer(start.where or start.folder) as saver:
        graph: Any = builder.compile(checkpointer=saver)
        config = {"configurable": {"thread_id": start.thread}}
        known = graph.get_state(config)
        given: Any = None
        if not known.values:
            given = {"messages": [HumanMessage(TASK)]}
        elif known.interrupts:
            given = Command(resume="whatever anybody says here")
        told = graph.invoke(given, config, durability="sync")
    if "__interrupt__" in told:
        return {"waits": told["__interrupt__"][0].value}
    return {"said": told["messages"][-1].content}


def pydanticai(start: Start, bank: Bank) -> Any:
    def model(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        last = messages[-1].parts[-1]
        if isinstance(last, ToolReturnPart):
            return ModelResponse([TextPart(f"It says: {last.model_response_str()}")])
        return ModelResponse([ToolCallPart("pay", {"to": "LU1", "amount": bank.amount}, "call-1")])

    agent: Agent[None, str | DeferredToolRequests] = Agent(
        FunctionModel(model),
        tools=[bank.pay],
        output_type=[str, DeferredToolRequests],
        capabilities=[Governed(bank.agents)],
    )
    return asyncio.run(_gone_on(agent, Kept(start)))


class Kept:
    """What a team would keep of a run: its messages, what they wait for, and what was said last."""

    def __init__(self, start: Start) -> None:
        self.thread, self.file = start.thread, start.folder / f"{start.thread}.json"
        self.known: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}

    def keep(self, messages: list[ModelMessage], waits: DeferredToolRequests | None = None, said: str = "") -> None:
        self.known = {"messages": ModelMessagesTypeAdapter.dump_python(messages, mode="json"), "said": said}
        self.known["waits"] = (
            None if waits is None else TypeAdapter(DeferredToolRequests).dump_python(waits, mode="json")
        )
        self.file.with_suffix(".new").write_text(json.dumps(self.known))
        self.file.with_suffix(".new").replace(self.file)

    def given(self) -> dict[str, Any]:
        if not self.known:
            return {"user_prompt": TASK, "conversation_id": self.thread}
        given: dict[str, Any] = {"message_history": ModelMessagesTypeAdapter.validate_python(self.known["messages"])}
        if self.known["waits"] is not None:
            requests = TypeAdapter(DeferredToolRequests).validate_python(self.known["waits"])
            given["deferred_tool_results"] = asked_again(requests)
        return given


async def _gone_on(agent: Agent[None, str | DeferredToolRequests], kept: Kept) -> Any:
    if kept.known.get("said"):
        return {"said": kept.known["said"]}
    async with agent.iter(**kept.given()) as run:
        async for _ in run:
            messages = run.all_messages()
            if not kept.known and messages and isinstance(messages[-1], ModelResponse):
                kept.keep(messages)  # before its tools are called
    assert run.result is not None
    if isinstance(run.result.output, DeferredToolRequests):
        kept.keep(run.result.all_messages(), run.result.output)
        return {"waits": next(iter(run.result.output.metadata.values()))}
    kept.keep(run.result.all_messages(), said=run.result.output)
    return {"said": run.result.output}


RUNNERS: dict[str, Callable[[Start, Bank], Any]] = {"langgraph": langgraph, "pydanticai": pydanticai}


def process(start: Start, told: Connection) -> None:
    """Run in a process of its own: go on with the agent, and tell what it waits for or said last."""
    try:
        said = RUNNERS[start.runner](start, Bank(start))
    except BaseException:
        told.send({"broken": traceback.format_exc()})
        raise
    told.send(said)
