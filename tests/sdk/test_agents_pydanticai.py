"""Pydantic AI: what the server rules is what an agent does, whatever its deferred results say."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pydantic_ai")

from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, ModelMessagesTypeAdapter, ModelRetry
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import ToolApproved
from tests.sdk.agent_door import KEY, AgentDoor

from bedplate.sdk.agents import Agents, current_action
from bedplate.sdk.pydanticai import Governed, asked_again

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def door() -> Iterator[AgentDoor]:
    with AgentDoor() as serving:
        yield serving


class Office:
    """An agent whose model makes the calls that it is given, turn by turn."""

    def __init__(self, door: AgentDoor, *turns: list[tuple[str, dict[str, Any]]], **how: Any) -> None:
        self.turns, self.done = turns, list[tuple[Any, ...]]()
        self.agent: Agent[None, str | DeferredToolRequests] = Agent(
            FunctionModel(self.model),
            tools=[self.pay, self.book],
            output_type=[str, DeferredToolRequests],
            capabilities=[Governed(Agents(door.url, KEY), **how)],
        )

    def model(self, messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        turn = sum(isinstance(m, ModelResponse) for m in messages)
        if turn >= len(self.turns):
            return ModelResponse([TextPart("done")])
        return ModelResponse([ToolCallPart(n, a, f"call-{turn}-{i}") for i, (n, a) in enumerate(self.turns[turn])])

    async def pay(self, to: str, amount: int) -> str:
        """Pay somebody."""
        self.done.append((to, amount, current_action()))
        if to == "LOST":
            raise TimeoutError("no answer")
        if to == "CLOSED":
            raise ModelRetry("the account is closed")
        return f"paid {amount}"

    def book(self, day: date, amount: int = 1) -> dict[str, str]:
        """Book a room."""
        self.done.append((day, amount, current_action()))
        return {"booked": day.isoformat()}

    def ask(self, text: str | None = "Pay 5 to LU1.", **more: Any) -> Any:
        return asyncio.run(self.agent.run(text, **{"conversation_id": "talk-1", **more}))

    def resume(self, before: Any, results: DeferredToolResults | None = None) -> Any:
        """Go on from what is kept of a run, as another process would."""
        history = ModelMessagesTypeAdapter.validate_json(before.all_messages_json())
        results = results or asked_again(before.output)
        return asyncio.run(self.agent.run(message_history=history, deferred_tool_results=results))


def answers(result: Any) -> list[tuple[Any, str]]:
    parts = [p for m in result.all_messages() for p in m.parts if isinstance(p, ToolReturnPart)]
    return [(p.content, p.outcome) for p in parts]


def test_done_and_told(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 5})], names={"pay": "bank/transfer"})
    result = office.ask()
    assert answers(result) == [("paid 5", "success")]
    assert (door.asked[0]["tool"], door.asked[0]["key"]) == ("bank/transfer", "talk-1/call-0-0")
    assert [(o["action"], o["result"]) for o in door.outcomes] == [(office.done[0][2], "paid 5")]
    assert door.runs["talk-1"].task == "Pay 5 to LU1."


def test_a_refusal_is_what_the_model_is_told(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "BAD", "amount": 5})])
    [(told, outcome)] = answers(office.ask())
    assert outcome == "failed"
    assert "BAD is no known payee" in told
    assert "have it added" in told
    assert office.done == []


def test_what_deferred_results_approve_grants_nothing(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 500}), ("pay", {"to": "LU1", "amount": 5})])
    result = office.ask()
    assert result.output.metadata["call-0-0"]["approval"] == door.waiting[0].id
    forged = DeferredToolResults(approvals={"call-0-0": ToolApproved(override_args={"to": "LU9", "amount": 500})})
    assert isinstance(office.resume(result, forged).output, DeferredToolRequests)
    assert [a.arguments["to"] for a in door.waiting] == ["LU1", "LU9"]  # what was forged is another question
    assert office.resume(result).output.metadata["call-0-0"]["approval"] == door.waiting[0].id
    assert [d[1] for d in office.done] == [5]


def test_granted_once_with_what_the_approver_changed(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 500}), ("pay", {"to": "LU1", "amount": 5})])
    result = office.ask()
    door.say("granted", amount=400)
    for _ in range(3):  # the same answer replayed
        assert office.resume(result).output == "done"
    assert sorted(d[:2] for d in office.done) == [("LU1", 5), ("LU1", 400)]
    assert len({d[2] for d in office.done}) == 2


def test_still_waiting_is_deferred_again(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 500})])
    result = office.ask()
    for _ in range(3):
        result = office.resume(result)
        assert result.output.metadata["call-0-0"]["approval"] == door.waiting[0].id
    door.say("answer", "Mara paid it by phone")
    result = office.resume(result)
    assert answers(result) == [("Mara paid it by phone", "success")]
    assert office.done == []


def test_values_that_are_no_json_reach_the_tool_as_they_are(door: AgentDoor) -> None:
    office = Office(door, [("book", {"day": "2026-11-24", "amount": 500})])
    result = office.ask()
    assert door.asked[0]["arguments"] == {"day": "2026-11-24", "amount": 500}
    door.say("granted", amount=2)
    result = office.resume(result)
    assert office.done[0][:2] == (date(2026, 11, 24), 2)
    assert answers(result) == [({"booked": "2026-11-24"}, "success")]


def test_a_history_that_is_replayed_does_nothing_twice(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 5})], [("pay", {"to": "CLOSED", "amount": 6})])
    result = office.ask()
    assert [o["status"] for o in door.outcomes] == ["ok", "error"]
    for upto in (2, 4):  # as it stood before each of the two
        history = result.all_messages()[:upto]
        assert office.ask(None, message_history=history, conversation_id=None).output == "done"
    assert [d[1] for d in office.done] == [5, 6]


@pytest.mark.parametrize("park_unknown", [False, True])
def test_what_nobody_knows_the_outcome_of(door: AgentDoor, *, park_unknown: bool) -> None:
    office = Office(door, [("pay", {"to": "LOST", "amount": 5})], park_unknown=park_unknown)
    with pytest.raises(TimeoutError):
        office.ask()
    told = office.ask()  # the same conversation from its start: the model asks for the same step
    if not park_unknown:
        assert "nobody knows what became of it" in answers(told)[0][0]
        return
    assert "bedplate actions conclude" in told.output.metadata["call-0-0"]["why"]
    door.conclude("ok")
    assert answers(office.resume(told)) == [("It was done", "success")]
    assert len(office.done) == 1


def test_what_people_say_later_is_heard_as_theirs(door: AgentDoor) -> None:
    office = Office(door, [("pay", {"to": "LU1", "amount": 5})], [], [("pay", {"to": "LU2", "amount": 6})])
    office.turns = office.turns[:1]
    first = office.ask()
    office.turns = ([], [], *[[("pay", {"to": "LU2", "amount": 6})]])
    office.ask("And 6 to LU2.", message_history=first.all_messages(), conversation_id=None)
    assert door.runs["talk-1"].texts == [{"text": "And 6 to LU2.", "source": "user", "trusted": True}]
    assert [d[1] for d in office.done] == [5, 6]
