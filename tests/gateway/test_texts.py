"""Names within the arguments of tools: read as every text is, and never changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.gateway.test_door import Chunks, Gateway, chunk, finished

from bedplate.gateway.dialects import MESSAGES
from bedplate.gateway.guardrail import Guard
from bedplate.gateway.relay import Relay
from bedplate.gateway.texts import slots
from bedplate.testing import Answers, ScriptedUpstream

CARD, SECRET = "4111 1111 1111 1111", "sk-proj4f8Jd02mXq7PzLw91Tnb"
PLAIN = {"form": "HR-03"}


def using(arguments: Any, kind: str = "tool_use") -> dict[str, Any]:
    return {"type": kind, "id": "toolu_1", "name": "look_up", "input": arguments}


def whole(*blocks: dict[str, Any]) -> Chunks:
    message = {"role": "assistant", "content": "looking", "blocks": list(blocks)}
    return Chunks(
        body={"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    )


def policy(**ways: dict[str, str]) -> dict[str, Any]:
    return {"guardrails": {"input": {}, "output": {}, "max_prompt_chars": 10_000, **ways}}


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": list(blocks)}]}


@pytest.mark.parametrize(
    "arguments",
    [{CARD: 1}, {"cards": {CARD: None}}, {"cards": [{"of": {CARD: True}}]}, {"a": [[{CARD: ["x"]}]]}],
)
def test_names_are_read_wherever_they_stand_in_arguments(arguments: Any) -> None:
    found = [slot for slot in slots(said(using(arguments))) if slot.text == CARD]
    assert [(slot.machine, slot.put("[card]")) for slot in found] == [(True, False)]


def test_names_of_the_protocol_and_of_what_people_write_are_not_read() -> None:
    body = {"model": "m", "metadata": {"a": "b"}, "messages": [{"role": "user", "content": "hello"}]}
    assert [slot.text for slot in slots(body)] == ["m", "b", "user", "hello"]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"colour": {"type": "string"}}}}}
    assert "colour" not in [slot.text for slot in slots({"tools": [tool]})]


def test_a_text_at_its_place_is_changed_there() -> None:
    body = said({"type": "text", "text": CARD})
    [slot] = [slot for slot in slots(body) if slot.text == CARD]
    assert slot.put("[card]")
    assert body["messages"][0]["content"][0]["text"] == "[card]"


@pytest.mark.parametrize("name", [CARD, SECRET])
def test_a_prompt_with_such_a_name_is_refused_under_redact_and_nothing_goes_upstream(name: str) -> None:
    upstream = ScriptedUpstream(Answers("yes"))
    modes = {"personal-data": "redact", "secrets": "redact"}
    gateway = Gateway(upstream=upstream, recipe=policy(input=modes))
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"of": {name: 1}}}}
    history = [
        {"role": "user", "content": "look it up"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ]

    answer = gateway.ask(messages=history)

    assert (answer.status, upstream.seen) == (403, [])
    assert [r[0] for r in gateway.records.last["reasons"]] == ["guardrail-input"]
    assert name not in json.dumps(gateway.records.all)

    call["function"]["arguments"] = {"of": PLAIN}  # type: ignore[index]  # it is a dict
    assert gateway.ask(messages=history).status == 200


@pytest.mark.parametrize("mode", ["redact", "block"])
def test_an_answer_with_such_a_name_is_withheld(mode: str) -> None:
    gateway = Gateway(upstream=whole(using({CARD: 1})), recipe=policy(output={"personal-data": mode}))

    answer = gateway.ask()

    assert answer.content is not None
    assert CARD.encode() not in answer.content
    assert b"withheld" in answer.content
    assert gateway.records.last["findings"]


def test_an_answer_with_other_names_goes_as_it_came() -> None:
    gateway = Gateway(upstream=whole(using(PLAIN)), recipe=policy(output={"personal-data": "redact"}))
    answer = gateway.ask()
    assert answer.content is not None
    assert b"HR-03" in answer.content
    assert b"withheld" not in answer.content


@pytest.mark.parametrize("mode", ["redact", "block"])
@pytest.mark.parametrize(("arguments", "stops"), [({CARD: 1}, True), ({"of": CARD}, True), (PLAIN, False)])
def test_a_stream_whose_event_holds_it_stops_before_the_event(mode: str, arguments: Any, *, stops: bool) -> None:
    relay = Relay(MESSAGES, Guard({"personal-data": mode}))
    event = {"type": "content_block_start", "index": 0, "content_block": using(arguments)}
    out = relay.feed(f"event: content_block_start\ndata: {json.dumps(event)}\n\n".encode())
    assert bool(relay.withheld) is stops
    assert CARD.encode() not in out


def test_a_name_in_a_streamed_call_is_withheld_at_the_door() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": {CARD: 1}}}
    upstream = Chunks(chunk({"tool_calls": [call]}), chunk({}, "tool_calls"))
    gateway = Gateway(upstream=upstream, recipe=policy(output={"personal-data": "redact"}))

    events = gateway.stream()

    assert finished(events)
    assert CARD not in json.dumps(events)
