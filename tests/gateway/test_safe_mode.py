"""The safe mode on an ASGI server that is slow, or loses the client, while the head of an answer is written."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.gateway.test_door import Gateway

from bedplate.api.chat import Chat
from bedplate.testing import Answers, Hangs, ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

CALL = "/v1/chat/completions"
ASKED = {"model": "default", "messages": [{"role": "user", "content": "How many days?"}], "stream": True}


async def call(gateway: Gateway, send: Callable[[Any], Any], gone: asyncio.Event) -> None:
    """Make one streamed call as an ASGI server does; `gone` is set when the client leaves."""
    at: Any = SimpleNamespace(door=gateway.door)
    asked = [{"type": "http.request", "body": json.dumps(ASKED).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    headers = [(b"authorization", b"Bearer good")]
    scope = {"type": "http", "path": CALL, "method": "POST", "headers": headers}
    await Chat(at)(scope, cast("Any", receive), send)


@pytest.mark.parametrize("upstream", [Answers("one two three"), Hangs()])
@pytest.mark.parametrize("tier", [1, 3])
def test_a_client_that_leaves_while_the_head_is_written_is_on_record_as_aborted(tier: int, upstream: Any) -> None:
    gateway = Gateway(tier=tier, upstream=ScriptedUpstream(upstream))

    async def run() -> None:
        gone = asyncio.Event()

        async def send(message: Any) -> None:
            assert message["type"] == "http.response.start"
            gone.set()
            await asyncio.sleep(60)  # the client does not read, and leaves

        await asyncio.wait_for(call(gateway, send, gone), 10)

    asyncio.run(run())
    assert [k for k in gateway.records.kinds if k != "call.intent"] == ["call.aborted"]
    assert (gateway.records.last["status"], gateway.records.last["verdict"]) == ("aborted", "allow")


def test_a_head_that_cannot_be_written_leaves_the_call_on_record() -> None:
    gateway = Gateway(upstream=ScriptedUpstream(Hangs()))

    async def send(_message: Any) -> None:
        raise OSError("the connection is lost")  # ASGI 2.4

    async def run() -> None:
        with suppress(OSError):
            await call(gateway, send, asyncio.Event())

    asyncio.run(run())
    assert gateway.records.kinds == ["call.aborted"]


def test_a_stream_that_nobody_began_to_read_is_on_record_once_and_yields_nothing_later() -> None:
    gateway = Gateway(upstream=ScriptedUpstream(Answers("one two three")))

    async def run() -> list[bytes]:
        answer = await gateway.complete(stream=True)
        async with aclosing(cast("AsyncGenerator[bytes, None]", answer.events)) as events:
            pass
        await events.aclose()
        return [event async for event in events]

    assert asyncio.run(run()) == []
    assert gateway.records.kinds == ["call.aborted"]


def test_what_a_call_reserved_is_given_back_when_its_head_is_never_written() -> None:
    gateway = Gateway(upstream=ScriptedUpstream(Answers("one two three")), recipe={"tokens_per_day": 1_000})

    async def leave() -> None:
        answer = await gateway.complete(stream=True, max_tokens=900)
        await cast("AsyncGenerator[bytes, None]", answer.events).aclose()

    for _ in range(3):
        asyncio.run(leave())
    assert gateway.ask(max_tokens=900).status == 200
