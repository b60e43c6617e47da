"""The extra `local-llm`: a real model, from packages, behind the same interface as a provider."""

from __future__ import annotations

import asyncio
import json

import pytest

from bedplate.gateway.dialects import CHAT
from bedplate.gateway.guardrail import Guard
from bedplate.gateway.localmodel import MODEL, LocalModel
from bedplate.gateway.relay import Relay
from bedplate.gateway.supply import local
from bedplate.gateway.upstream import Asked, Remote

ASKED = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "Answer from: Full-time employees receive 26 days of annual leave."},
        {"role": "user", "content": "How many days of annual leave do full-time employees receive?"},
    ],
    "max_tokens": 40,
    "temperature": 0,
}


@pytest.mark.slow
def test_a_small_model_from_packages_answers_whole_and_streamed() -> None:
    async def ask() -> tuple[str, str]:
        model = LocalModel()
        upstream = Remote(local(model.url, MODEL, 60), owned=model)
        relay = Relay(CHAT, Guard({}))
        try:
            whole = CHAT.answer(json.loads((await upstream.ask(Asked(CHAT, ASKED))).content))
            async for piece in await upstream.open(Asked(CHAT, {**ASKED, "stream": True}, stream=True)):
                relay.feed(piece)
        finally:
            await upstream.close()
        return whole, relay.said

    whole, streamed = asyncio.run(ask())
    assert "26 days" in whole
    assert streamed.strip()
