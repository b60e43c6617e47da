"""OpenAI Agents SDK: what the server rules is what a run does, whatever its state says was approved."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("agents")

from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from tests.sdk.agent_door import KEY, AgentDoor

from agents import Agent, FunctionTool, Model, ModelResponse, Runner, RunState, Usage, UserError, set_tracing_disabled
from bedplate import errors
from bedplate.sdk.agents import Agents, current_action
from bedplate.sdk.openai_agents import Governed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agents.tool_context import ToolContext

set_tracing_disabled(disabled=True)


@pytest.fixture
def door() -> Iterator[AgentDoor]:
    with AgentDoor() as serving:
        yield serving


class Scripted(Model):
    """A model that makes the calls that it is given, turn by turn, and then says that it is done."""

    def __init__(self, turns: tuple[list[tuple[str, dict[str, Any]]], ...]) -> None:
        self.turns = turns

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **named: Any) -> ModelResponse:  # noqa: A002, ARG002
        items = [] if isinstance(input, str) else input
        turn = len({i["call_id"].split("-")[1] for i in items if i.get("type") == "function_call"})
        output: list[Any] = [
            ResponseFunctionToolCall(type="function_call", name=n, arguments=json.dumps(a), call_id=f"call-{turn}-{i}")
            for i, (n, a) in enumerate(self.turns[turn] if turn < len(self.turns) else [])
        ]
        if not output:
            text = ResponseOutputText(type="output_text", text="done", annotations=[])
            output = [
                ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[text])
            ]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    async def stream_response(self, *args: Any, **named: Any) -> AsyncIterator[Any]:  # noqa: ARG002
        for nothing in list[Any]():
            yield nothing


class Office:
    """An agent and its tools, made anew for each process that goes on with a run."""

    def __init__(
        self, door: AgentDoor, *turns: list[tuple[str, dict[str, Any]]], run: Any = "run-1", **how: Any
    ) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.door, self.turns, self.run, self.how = door, turns, run, how
        self.again()

    def again(self) -> None:
        def pay(to: str, amount: int, note: str = "none") -> str:  # noqa: ARG001  the model leaves it out
            """Pay somebody."""
            self.done.append((to, amount, current_action()))
            if to == "LOST":
                raise TimeoutError("no answer")
            if to == "CLOSED":
                raise ValueError("the account is closed")
            return f"paid {amount}"

        async def raw(_: ToolContext[Any], arguments: str) -> str:
            self.done.append(("raw", arguments, current_action()))
            return "raw"

        self.governed = Governed(Agents(self.door.url, KEY), run=self.run, **self.how)
        made = FunctionTool("raw", "Raw.", {"type": "object", "properties": {}}, raw, strict_json_schema=False)
        tools: list[Any] = [self.governed.tool(pay, strict_mode=False), self.governed.tool(made)]
        self.agent = Agent(name="payer", model=Scripted(self.turns), tools=tools)

    def ask(self, text: str = "Pay 5 to LU1.") -> Any:
        return asyncio.run(Runner.run(self.agent, text))

    def resume(self, result: Any, *, forged: bool = False) -> tuple[list[Any], Any]:
        """Go on in another process with what is kept: returns what still waits, and the result if nothing does."""
        kept = result.to_state().to_string()
        self.again()

        async def go_on() -> tuple[list[Any], Any]:
            state = await RunState.from_string(self.agent, kept)
            if forged:
                for item in state.get_interruptions():
                    state.approve(item)
                return [], await Runner.run(self.agent, state)
            waits = await self.governed.waiting(state)
            return waits, None if waits else await Runner.run(self.agent, state)

        return asyncio.run(go_on())


def answers(result: Any) -> list[Any]:
    return [i.output for i in result.new_items if i.type == "tool_call_output_item"]


def test_done_and_told(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 5}), ("raw", {"x": 1})], names={"pay": "bank/transfer"})
    result = office.ask()
    assert result.final_output == "done"
    assert answers(result) == ["paid 5", "raw"]
    assert sorted((a["tool"], a["key"]) for a in door.asked) == [  # tools of one turn run at once
        ("bank/transfer", "run-1/call-0-0"),
        ("local/raw", "run-1/call-0-1"),
    ]
    assert {o["action"] for o in door.outcomes} == {d[2] for d in office.done}
    assert door.runs["run-1"].task == "Pay 5 to LU1."


def test_a_refusal_is_what_the_model_is_told(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "BAD", "amount": 5})])
    [told] = answers(office.ask())
    assert "BAD is no known payee" in told
    assert "have it added" in told
    assert office.done == []


def test_parked_in_the_runs_state_and_granted_once(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 5}), ("pay", {"to": "LU1", "amount": 500})])
    result = office.ask()
    assert len(result.interruptions) == 1
    assert [d[1] for d in office.done] == [5]
    waits, _ = office.resume(result)
    assert [w["approval"] for w in waits] == [door.waiting[0].id]
    door.say("granted", amount=400)
    for _ in range(3):  # the same state again, as it was kept
        waits, later = office.resume(result)
        assert waits == []
        assert later.final_output == "done"
        assert answers(later)[-1] == "paid 400"
    assert [d[1] for d in office.done] == [5, 400]


def test_a_state_that_says_it_was_approved_grants_nothing(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 500})])
    result = office.ask()
    _, later = office.resume(result, forged=True)
    assert "Not done yet" in answers(later)[-1]
    assert office.done == []
    assert len(door.waiting) == 1


@pytest.mark.parametrize(("said", "told"), [("refused", "mara refused it: not today"), ("answer", "not today")])
def test_refused_or_answered_by_a_person(door: AgentDoor, said: str, told: str) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 500})])
    result = office.ask()
    door.say(said, "not today")
    _, later = office.resume(result)
    assert told in answers(later)[-1]
    assert office.done == []


def test_a_failure_is_on_record_as_one_and_the_model_is_told_what_the_team_wants(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "CLOSED", "amount": 5})])
    assert "An error occurred" in answers(office.ask())[0]
    assert door.outcomes[0]["status"] == "error"
    assert "the account is closed" in door.outcomes[0]["message"]
    assert "the account is closed" in answers(office.ask())[0]  # the same step: what came of it
    assert len(office.done) == 1
    raising = office.governed.tool(lambda: 1 / 0, name_override="never", failure_error_function=None)
    office.agent = Agent(name="payer", model=Scripted(([("never", {})],)), tools=[raising])
    office.governed._run = "run-2"
    with pytest.raises(UserError, match="division by zero"):
        office.ask()


@pytest.mark.parametrize("park_unknown", [False, True])
def test_what_nobody_knows_the_outcome_of(door: AgentDoor, *, park_unknown: bool) -> None:
    office = Office(door, [("pay", {"to": "LOST", "amount": 5})], park_unknown=park_unknown)
    office.ask()
    assert door.outcomes[0]["status"] == "unknown"
    told = office.ask()
    if not park_unknown:
        assert "nobody knows what became of it" in answers(told)[0]
        return
    waits, _ = office.resume(told)
    assert "bedplate actions conclude" in waits[0]["why"]
    door.conclude("error")
    assert answers(office.resume(told)[1])[-1] == "It failed, or was not done"
    assert len(office.done) == 1


def test_the_run_may_be_told_from_the_context(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 500})], run=lambda ctx: ctx.context["invoice"])
    result = asyncio.run(Runner.run(office.agent, "Pay.", context={"invoice": "17"}))
    assert list(door.runs) == ["17"]

    async def waiting(run: str) -> list[Any]:
        return await office.governed.waiting(result.to_state(), run)

    with pytest.raises(errors.InvalidInput, match="not known"):
        asyncio.run(waiting(""))
    assert len(asyncio.run(waiting("17"))) == 1
