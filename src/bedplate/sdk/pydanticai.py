"""Pydantic AI: a capability that has every tool call asked for, parks as a deferred tool, and does each once.

```python
agent = Agent(model, tools=[pay], output_type=[str, DeferredToolRequests], capabilities=[Governed(Agents(url, key))])
result = await agent.run(task, conversation_id="invoice-17")
if isinstance(result.output, DeferredToolRequests):  # it waits for people: keep result.all_messages_json() and go
    ...
later = await agent.run(message_history=kept, deferred_tool_results=asked_again(result.output))
```

The conversation is the run, and the conversation with the tool call's id is the step: a history that is replayed after
a crash gets what came of it. What `deferred_tool_results` approves decides nothing; the server does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai import ApprovalRequired, ToolFailed
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelRequest, UserPromptPart
from pydantic_ai.tools import DeferredToolResults

from bedplate.errors import InvalidInput

from .agents import Agents, AsyncAgents
from .ruling import merged, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pydantic_ai.capabilities import ValidatedToolArgs, WrapToolExecuteHandler
    from pydantic_ai.messages import ModelMessage, ToolCallPart
    from pydantic_ai.tools import DeferredToolRequests, RunContext, ToolDefinition

    from .ruling import Ruling


class Governed(AbstractCapability[Any]):
    """Asks for every tool call. `names` gives a tool's name at the server, `local/NAME` unless it is in there.

    `run` tells the run from the context, if it is not the conversation. With `park_unknown` a step of which nobody
    knows what became of it parks until a person has said so; without, the model is told.
    """

    def __init__(
        self,
        agents: Agents | AsyncAgents,
        *,
        names: Mapping[str, str] | None = None,
        run: Callable[[RunContext[Any]], str] | None = None,
        park_unknown: bool = False,
    ) -> None:
        self._agents = AsyncAgents.over(agents)
        self._names = dict(names or {})
        self._run = run or conversation_of
        self._park_unknown = park_unknown

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: ValidatedToolArgs,
        handler: WrapToolExecuteHandler,
    ) -> Any:  # noqa: ANN401  whatever the tool returns
        """Ask for one tool call, and make it or answer in its place."""
        ruling = await self._ruled(ctx, call, tool_def.name, args)
        if ruling.verdict == "ask" or (ruling.unknown and self._park_unknown):
            raise ApprovalRequired(metadata=ruling.parked())
        if ruling.verdict == "deny" or (ruling.replayed and ruling.state == "error"):
            raise ToolFailed(ruling.told)
        if ruling.replayed:
            return ruling.told if ruling.result is None else ruling.result
        return await self._agents.carry_out(ruling, lambda _: handler(merged(args, ruling)))

    async def _ruled(self, ctx: RunContext[Any], call: ToolCallPart, tool: str, args: ValidatedToolArgs) -> Ruling:
        run = self._run(ctx)
        texts = list(_said(ctx.messages))
        await self._agents.ensure(run, texts[0] if texts else "")
        for text in texts[1:]:
            await self._agents.heard_once(run, text, source="user", trusted=True)
        step = name_of(run, call.tool_call_id)
        return await self._agents.propose(run, self._names.get(tool, f"local/{tool}"), args, key=step)


def asked_again(requests: DeferredToolRequests) -> DeferredToolResults:
    """Have what waits at the server asked for again: what is granted is done, what still waits is deferred again."""
    ours = (c.tool_call_id for c in requests.approvals if "action" in requests.metadata.get(c.tool_call_id, {}))
    return DeferredToolResults(approvals=dict.fromkeys(ours, True))


def conversation_of(ctx: RunContext[Any]) -> str:
    """Return the conversation as the name of its run."""
    if not ctx.conversation_id:
        raise InvalidInput("the agent runs outside of a conversation", hint='agent.run(..., conversation_id="...")')
    return name_of(ctx.conversation_id)


def _said(messages: list[ModelMessage]) -> Iterator[str]:
    """List what people said, oldest first."""
    for message in messages:
        for part in message.parts if isinstance(message, ModelRequest) else ():
            if isinstance(part, UserPromptPart):
                content = [part.content] if isinstance(part.content, str) else part.content
                yield "\n".join(text for text in content if isinstance(text, str))
