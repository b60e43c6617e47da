"""The extra `local-llm`: a real model, from packages, behind the same interface as a provider."""

from __future__ import annotations

import asyncio

import pytest

from bedplate.gateway.localmodel import MODEL, LocalModel
from bedplate.gateway.upstream import Remote

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
        upstream = Remote(model.url, "", 60, owned=model)
        try:
            whole = (await upstream.complete(ASKED)).body["choices"][0]["message"]["content"]
            pieces = [
                c["choices"][0]["delta"].get("content") or "" async for c in upstream.stream(ASKED) if c["choices"]
            ]
        finally:
            await upstream.close()
        return whole, "".join(pieces)

    whole, streamed = asyncio.run(ask())
    assert "26 days" in whole
    assert streamed.strip()
