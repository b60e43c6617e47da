"""OpenAI Agents SDK: a run whose state waits for people: `python in_openai_agents.py [FILE]`, which keeps the state.

`think` stands where a model would be asked.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import bank
from agents.testing import ModelCall, ModelStep, ScriptedModel, assistant_message, function_call

from agents import Agent, Runner, RunState, set_tracing_disabled
from bedplate.sdk.openai_agents import Governed


def think(call: ModelCall) -> Any:  # noqa: ANN401  an answer of a model
    """Answer as a model would: call the tool, then say what came of it."""
    given = call.input if isinstance(call.input, list) else []
    outputs = [item["output"] for item in given if item.get("type") == "function_call_output"]
    if outputs:
        return [assistant_message(f"Done: {outputs[-1]}")]
    return [function_call("pay", {"to": "LU280019400644750000", "amount": 250}, call_id="call-1")]


async def go_on(kept: str, run: str) -> tuple[str, Any]:
    """Begin, or go on with the state that is kept. Returns the state to keep and what waits, or what was said."""
    governed = Governed(bank.agents(), run=run)
    model = ScriptedModel([ModelStep.respond(think), ModelStep.respond(think)])
    agent = Agent(name="payer", model=model, tools=[governed.tool(bank.pay)])
    given: Any = bank.TASK
    if kept:
        given = await RunState.from_string(agent, kept)
        if waits := await governed.waiting(given):  # asks the server again
            return kept, waits[0]
    result = await Runner.run(agent, given)
    if result.interruptions:
        [waits] = await governed.waiting(result.to_state())
        return result.to_state().to_string(), waits
    return "", result.final_output


set_tracing_disabled(disabled=True)
file = Path(sys.argv[1] if len(sys.argv) > 1 else "invoice-17.state")
keep, said = asyncio.run(go_on(file.read_text() if file.exists() else "", file.stem))
if keep:
    file.write_text(keep)
    sys.exit(f"waits for {said['approval']}: start it again once people have agreed")
print(said)  # noqa: T201
