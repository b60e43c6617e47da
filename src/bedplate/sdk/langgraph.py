"""LangGraph and LangChain agents: every tool call of a graph is asked for, parks as an interrupt, and is done once.

```python
node = tool_node([pay, look_up], Agents(url, key))  # in place of ToolNode([pay, look_up])
agent = create_agent(model, tools, middleware=[...])  # LangChain: give `Governed(...)` wrap and awrap as its hooks
```

The thread is the run, and the thread with the tool call's id is the step: whatever LangGraph runs again after a crash,
a resume or a fork gets what came of it. The value that a graph is resumed with decides nothing; the server does.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from bedplate.errors import InvalidInput

from .agents import Agents, AsyncAgents
from .ruling import name_of, plain

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from langchain_core.runnables import RunnableConfig
    from langchain_core.tools import BaseTool
    from langgraph.prebuilt.tool_node import ToolCallRequest

    from .ruling import Json, Ruling

    Answer = ToolMessage | Command[Any]

_interrupting = Lock()  # LangGraph counts the interrupts of a task, and a ToolNode calls its tools in threads


class Governed:
    """Wraps tool calls. `names` gives a tool's name at the server, `local/NAME` unless it is in there.

    `run` tells the run of a thread from its config. With `park_unknown` a step of which nobody knows what became of it
    parks until a person has said so; without, the model is told.
    """

    def __init__(
        self,
        agents: Agents | AsyncAgents,
        *,
        names: Mapping[str, str] | None = None,
        run: Callable[[RunnableConfig], str] | None = None,
        park_unknown: bool = False,
    ) -> None:
        self._async = AsyncAgents.over(agents)
        self._agents = self._async.sync
        self._names = dict(names or {})
        self._run = run or thread_of
        self._park_unknown = park_unknown

    def wrap(self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Answer]) -> Answer:
        """Ask for one tool call, and make it or answer in its place: what `ToolNode(wrap_tool_call=)` takes."""
        ruling = self._ruled(request)
        if (answer := self._answer(request, ruling)) is not None:
            return answer
        try:
            done: Answer = self._agents.carry_out(ruling, lambda with_: _raised(execute(_made(request, with_))), _kept)
        except _ErrorMessage as error:
            return error.message
        return done

    async def awrap(self, request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Answer]]) -> Answer:
        """Ask for one tool call in async code: what `ToolNode(awrap_tool_call=)` takes."""
        import asyncio  # noqa: PLC0415  only here

        ruling = await asyncio.to_thread(self._ruled, request)
        if (answer := self._answer(request, ruling)) is not None:
            return answer

        async def do(with_: Json) -> Answer:
            return _raised(await execute(_made(request, with_)))

        try:
            done: Answer = await self._async.carry_out(ruling, do, _kept)
        except _ErrorMessage as error:
            return error.message
        return done

    def _ruled(self, request: ToolCallRequest) -> Ruling:
        call = request.tool_call
        run = self._run(request.runtime.config)
        texts = list(_human(request.state))
        self._agents.ensure(run, texts[0] if texts else "")
        for text in texts[1:]:
            self._agents.heard_once(run, text, source="user", trusted=True)
        step = name_of(run, str(call["id"]))
        return self._agents.propose(run, self._names.get(call["name"], f"local/{call['name']}"), call["args"], key=step)

    def _answer(self, request: ToolCallRequest, ruling: Ruling) -> Answer | None:
        """Return what is said in the tool's place; None: it is to be made. Parks the graph while people decide."""
        if ruling.verdict == "ask" or (ruling.unknown and self._park_unknown):
            with _interrupting:
                while True:  # past answers say nothing: only that the graph was resumed, and the server was asked again
                    interrupt(ruling.parked())
        if ruling.verdict == "deny":
            return _message(request, ruling.told, "error")
        return _again(request, ruling) if ruling.replayed else None


def tool_node(
    tools: Sequence[BaseTool | Callable[..., Any]],
    agents: Agents | AsyncAgents,
    *,
    names: Mapping[str, str] | None = None,
    run: Callable[[RunnableConfig], str] | None = None,
    park_unknown: bool = False,
    **options: Any,  # noqa: ANN401  ToolNode's
) -> ToolNode:
    """Return a ToolNode whose every call is asked for first; `options` are ToolNode's."""
    wrapper = Governed(agents, names=names, run=run, park_unknown=park_unknown)
    return ToolNode(tools, wrap_tool_call=wrapper.wrap, awrap_tool_call=wrapper.awrap, **options)


def thread_of(config: RunnableConfig) -> str:
    """Return the thread of a graph as the name of its run."""
    thread = config.get("configurable", {}).get("thread_id")
    if not thread:
        raise InvalidInput(
            "the graph runs without a thread, so its steps have no name and nothing could be parked",
            hint='compile it with a checkpointer, and invoke it with {"configurable": {"thread_id": ...}}',
        )
    return name_of(str(thread))


class _ErrorMessage(Exception):
    """A tool's failure that ToolNode made a message of: it goes on record as one."""

    def __init__(self, message: ToolMessage) -> None:
        super().__init__(str(message.content))
        self.message = message


def _raised(answer: Answer) -> Answer:
    if isinstance(answer, ToolMessage) and answer.status == "error":
        raise _ErrorMessage(answer)
    return answer


def _made(request: ToolCallRequest, arguments: Json) -> ToolCallRequest:
    if arguments == request.tool_call["args"]:
        return request
    return request.override(tool_call={**request.tool_call, "args": arguments})


def _message(request: ToolCallRequest, content: Any, status: Literal["success", "error"]) -> ToolMessage:  # noqa: ANN401
    call = request.tool_call
    return ToolMessage(content=content, name=call["name"], tool_call_id=str(call["id"]), status=status)


def _kept(answer: Answer) -> Json:
    """Return what is kept of an answer: its text to be read, and a command as LangGraph itself writes it."""
    if isinstance(answer, ToolMessage):
        return {"content": answer.content, **({"artifact": plain(answer.artifact)} if answer.artifact else {})}
    sort, data = JsonPlusSerializer().dumps_typed(answer)
    update = answer.update if isinstance(answer.update, dict) else {}
    texts = [m.content for m in update.get("messages", ()) if isinstance(m, ToolMessage)]
    return {"command": [sort, data.hex()], "content": texts}


def _again(request: ToolCallRequest, ruling: Ruling) -> Answer:
    """Return what a step came to that was done before."""
    kept = ruling.result
    if ruling.state == "error":
        return _message(request, ruling.told, "error")
    if isinstance(kept, dict) and "command" in kept:
        sort, data = kept["command"]
        command: Command[Any] = JsonPlusSerializer().loads_typed((sort, bytes.fromhex(data)))
        return command
    if isinstance(kept, dict) and "content" in kept:
        message = _message(request, kept["content"], "success")
        message.artifact = kept.get("artifact")
        return message
    return _message(request, ruling.told, "success")


def _human(state: Any) -> Iterable[str]:  # noqa: ANN401  of whatever shape the graph's is
    """List what people said in a graph's messages, oldest first."""
    messages: Sequence[AnyMessage] = (
        state if isinstance(state, list) else state.get("messages", ()) if isinstance(state, dict)
        else getattr(state, "messages", ())
    )  # fmt: skip
    return (m.text for m in messages if isinstance(m, HumanMessage))
