"""LangGraph: a graph that parks while people decide: `python in_langgraph.py DATA-FOLDER|POSTGRESQL-URL [THREAD]`.

`think` stands where a model would be asked.
"""

from __future__ import annotations

import sys
from typing import Any

import bank
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from bedplate.sdk.checkpoint import checkpointer
from bedplate.sdk.langgraph import tool_node


def think(state: MessagesState) -> dict[str, Any]:
    """Answer as a model would: call the tool, then say what came of it."""
    last = state["messages"][-1]
    if isinstance(last, HumanMessage):
        call = {"name": "pay", "args": {"to": "LU280019400644750000", "amount": 250}, "id": "call-1"}
        return {"messages": [AIMessage("", tool_calls=[call])]}
    return {"messages": [AIMessage(f"Done: {last.text}")]}


def after(state: MessagesState) -> str:
    """Go to the tools if the model called one."""
    return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END


builder = StateGraph(MessagesState)
builder.add_node("think", think)
builder.add_node("tools", tool_node([bank.pay], bank.agents()))  # in place of ToolNode([bank.pay])
builder.add_edge(START, "think")
builder.add_conditional_edges("think", after)
builder.add_edge("tools", "think")

with checkpointer(sys.argv[1]) as saver:
    graph: Any = builder.compile(checkpointer=saver)
    thread = {"configurable": {"thread_id": sys.argv[2] if len(sys.argv) > 2 else "invoice-17"}}  # noqa: PLR2004
    known = graph.get_state(thread)
    given: Any = {"messages": [HumanMessage(bank.TASK)]} if not known.values else None
    if known.interrupts:
        given = Command(resume=True)  # asks the server again; what stands here decides nothing
    state = graph.invoke(given, thread, durability="sync")
if "__interrupt__" in state:
    sys.exit(f"waits for {state['__interrupt__'][0].value['approval']}: start it again once people have agreed")
print(state["messages"][-1].text)  # noqa: T201
