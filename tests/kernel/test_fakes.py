"""The fakes that users get do what they say."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from bedplate.bootstrap import MANIFESTS
from bedplate.errors import NotFound, Unavailable
from bedplate.gateway.dialects import CHAT
from bedplate.gateway.events import Events
from bedplate.gateway.upstream import Asked, UpstreamFailed
from bedplate.kernel.event import Draft
from bedplate.kernel.manifest import catalogue
from bedplate.testing import Answers, Cuts, Fails, Hangs, MemoryLedger, ScriptedUpstream, SettableClock, found

ASKED = Asked(CHAT, {"model": "m", "messages": [{"role": "user", "content": "hi"}]})


def streamed(upstream: ScriptedUpstream) -> tuple[str, str]:
    """Return what came of a stream, and how it ended."""

    async def all_of_it() -> tuple[str, str]:
        text, events = "", Events()
        try:
            async with asyncio.timeout(0.05):
                async for piece in await upstream.open(replace(ASKED, stream=True)):
                    for _, data in events.feed(piece):
                        choices = json.loads(data)["choices"] if data != b"[DONE]" else []
                        text += "".join(c["delta"].get("content", "") for c in choices)
        except (UpstreamFailed, TimeoutError) as ended:
            return text, type(ended).__name__
        return text, "stop"

    return asyncio.run(all_of_it())


def test_an_upstream_follows_its_script() -> None:
    upstream = ScriptedUpstream(Answers("one two"), Cuts("one two", 1), Fails(), Hangs())
    assert [streamed(upstream) for _ in range(5)] == [
        ("one two ", "stop"),
        ("one ", "UpstreamFailed"),
        ("", "UpstreamFailed"),
        ("", "TimeoutError"),
        ("", "TimeoutError"),
    ]
    assert len(upstream.seen) == 5
    whole = ScriptedUpstream(Answers("one two"), Cuts("one", 1), Fails(status=429), Hangs())
    answer = json.loads(asyncio.run(whole.ask(ASKED)).content)
    assert answer["choices"][0]["message"]["content"] == "one two"
    for status in (502, 429):
        with pytest.raises(UpstreamFailed) as failed:
            asyncio.run(whole.ask(ASKED))
        assert failed.value.status == status
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(whole.ask(ASKED), 0.05))
    asyncio.run(whole.close())
    assert whole.closed


def test_a_ledger_in_memory_keeps_evidence_and_misses_what_is_not_there() -> None:
    ledger = MemoryLedger(catalogue(MANIFESTS), SettableClock())
    found(ledger)
    data = {"control": "c", "digest": "d", "outcome": "contradicted", "summary": "s", "expires": 9, "blob": ""}
    with ledger.transaction() as tx:
        tx.append("ann", [Draft("kernel.evidence.attached", "usecase/x", data)], authz={})  # type: ignore[arg-type]  # plain
        assert tx.evidence("usecase/x", "d")["c"].outcome == "contradicted"
        assert tx.evidence("usecase/x", "e") == {}
    with pytest.raises(NotFound):
        ledger.approval("approval/none")
    ledger.away = Unavailable("gone")
    with pytest.raises(Unavailable), ledger.transaction():
        pytest.fail("it is away")
