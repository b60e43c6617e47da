"""Pydantic AI: an agent whose deferred tools wait for people: `python in_pydanticai.py [FILE]`, which keeps the run.

`think` stands where a model would be asked.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bank
from pydantic import TypeAdapter
from pydantic_ai import Agent, DeferredToolRequests, ModelMessagesTypeAdapter
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from bedplate.sdk.pydanticai import Governed, asked_again


def think(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    """Answer as a model would: call the tool, then say what came of it."""
    last = messages[-1].parts[-1]
    if isinstance(last, ToolReturnPart):
        return ModelResponse([TextPart(f"Done: {last.model_response_str()}")])
    return ModelResponse([ToolCallPart("pay", {"to": "LU280019400644750000", "amount": 250}, "call-1")])


agent = Agent(
    FunctionModel(think),
    tools=[bank.pay],
    output_type=[str, DeferredToolRequests],
    capabilities=[Governed(bank.agents())],
)
file = Path(sys.argv[1] if len(sys.argv) > 1 else "invoice-17.json")
waits = TypeAdapter(DeferredToolRequests)
given: dict[str, Any] = {"user_prompt": bank.TASK, "conversation_id": file.stem}
if file.exists():
    kept = json.loads(file.read_text())
    given = {"message_history": ModelMessagesTypeAdapter.validate_python(kept["messages"])}
    given["deferred_tool_results"] = asked_again(waits.validate_python(kept["waits"]))  # asks the server again
result = agent.run_sync(**given)
if isinstance(result.output, DeferredToolRequests):
    messages = json.loads(result.all_messages_json())
    file.write_text(json.dumps({"messages": messages, "waits": waits.dump_python(result.output, mode="json")}))
    [asked] = result.output.metadata.values()
    sys.exit(f"waits for {asked['approval']}: start it again once people have agreed")
print(result.output)  # noqa: T201
