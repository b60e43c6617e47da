"""OpenAI Agents SDK: tools that are asked for before they are called, park as approvals of the run, and run once.

```python
governed = Governed(Agents(url, key), run="invoice-17")
agent = Agent(name="payer", tools=[governed.tool(pay)])
result = await Runner.run(agent, task)
if result.interruptions:  # it waits for people: keep result.to_state().to_string() and go
    ...
state = await RunState.from_string(agent, kept)
if not await governed.waiting(state):  # everything that waited is decided
    result = await Runner.run(agent, state)
```

The run with the tool call's id is the step. What a state says was approved decides nothing; the server does.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from agents import FunctionTool, default_tool_error_function, function_tool
from bedplate.errors import InvalidInput

from .agents import Agents, AsyncAgents
from .ruling import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from agents.tool_context import ToolContext

    from agents import RunContextWrapper, RunState

    from .ruling import Json, Ruling

    Run = str | Callable[[RunContextWrapper[Any]], str]


class Governed:
    """Makes tools that are asked for. `names` gives a tool's name at the server, `local/NAME` unless it is in there.

    `run` is the run's name, or tells it from the context. With `park_unknown` a step of which nobody knows what became
    of it parks until a person has said so; without, the model is told.
    """

    def __init__(
        self,
        agents: Agents | AsyncAgents,
        *,
        run: Run,
        names: Mapping[str, str] | None = None,
        park_unknown: bool = False,
    ) -> None:
        self._agents = AsyncAgents.over(agents)
        self._run = run
        self._names = dict(names or {})
        self._park_unknown = park_unknown
        self._ruled: dict[str, Ruling] = {}  # by step, from when it was asked for until it is made

    def tool(self, made_of: FunctionTool | Callable[..., Any], **options: Any) -> FunctionTool:  # noqa: ANN401  function_tool's
        """Return a tool of the SDK that is asked for; `options` are `function_tool`'s.

        Of a function its exceptions are on record as failures, and what the model is told of them is
        `failure_error_function`'s to say. A FunctionTool's own failures are told to the server as what it returns.
        """
        failed = options.pop("failure_error_function", default_tool_error_function)
        if isinstance(made_of, FunctionTool):
            inner, failed = made_of, None
        else:
            inner = function_tool(made_of, failure_error_function=None, **options)
        name = self._names.get(inner.name, f"local/{inner.name}")

        async def needs_approval(ctx: RunContextWrapper[Any], arguments: Json, call_id: str) -> bool:
            run = self._run_of(ctx)
            ruling = await self._ask(ctx, run, name, arguments, call_id)
            if self._waits(ruling):
                return True
            self._ruled[name_of(run, call_id)] = ruling
            return False

        async def invoke(ctx: ToolContext[Any], arguments: str) -> Any:  # noqa: ANN401  whatever the tool returns
            run = self._run_of(ctx)
            ruling = self._ruled.pop(name_of(run, ctx.tool_call_id), None)
            if ruling is None:  # approved in the run's state, wherever that came from
                ruling = await self._ask(ctx, run, name, json.loads(arguments or "{}"), ctx.tool_call_id)
            if ruling.verdict != "allow" or ruling.replayed:
                return _instead(ruling)
            try:
                return await self._agents.carry_out(ruling, lambda with_: inner.on_invoke_tool(ctx, json.dumps(with_)))
            except Exception as error:
                if failed is None:
                    raise
                said = failed(ctx, error)
                return await said if asyncio.iscoroutine(said) else said

        return dataclasses.replace(inner, on_invoke_tool=invoke, needs_approval=needs_approval)

    async def waiting(self, state: RunState[Any, Any], run: str = "") -> list[Json]:
        """Ask again for what a state waits for, and let it go on with what is decided; returns what still waits.

        `run` is needed where it is told from the context. Run the state in this process if nothing waits any more.
        """
        left = []
        for item in state.get_interruptions():
            name, call_id = str(item.tool_name), str(item.call_id)
            its_run = run or (self._run if isinstance(self._run, str) else "")
            if not its_run:
                raise InvalidInput("the run of this state is not known", hint="waiting(state, run=...)")
            tool = self._names.get(name, f"local/{name}")
            ruling = await self._ask(None, its_run, tool, json.loads(item.arguments or "{}"), call_id)
            if self._waits(ruling):
                left.append(ruling.parked())
                continue
            self._ruled[name_of(its_run, call_id)] = ruling
            state.approve(item)  # to the SDK; a refusal is told to the model in the tool's place
        return left

    def _waits(self, ruling: Ruling) -> bool:
        return ruling.verdict == "ask" or (ruling.unknown and self._park_unknown)

    async def _ask(
        self, ctx: RunContextWrapper[Any] | None, run: str, tool: str, arguments: Json, call_id: str
    ) -> Ruling:
        texts = list(_said(ctx)) if ctx is not None else []
        await self._agents.ensure(run, texts[0] if texts else "")
        for text in texts[1:]:
            await self._agents.heard_once(run, text, source="user", trusted=True)
        return await self._agents.propose(run, tool, arguments, key=name_of(run, call_id))

    def _run_of(self, ctx: RunContextWrapper[Any]) -> str:
        return self._run if isinstance(self._run, str) else self._run(ctx)


def _instead(ruling: Ruling) -> Any:  # noqa: ANN401  whatever the tool returned
    """Return what a tool call is answered with that is not made."""
    if ruling.verdict == "ask":
        return f"Not done yet: {ruling.why}"
    return (
        ruling.told if ruling.verdict == "deny" or ruling.state == "error" or ruling.result is None else ruling.result
    )


def _said(ctx: RunContextWrapper[Any]) -> Iterator[str]:
    """List what people said, oldest first."""
    for item in ctx.turn_input:
        told: Any = item
        if isinstance(told, dict) and told.get("role") == "user":
            content = told.get("content", "")
            parts = [{"text": content}] if isinstance(content, str) else [p for p in content if isinstance(p, dict)]
            yield "\n".join(str(part["text"]) for part in parts if part.get("text"))
