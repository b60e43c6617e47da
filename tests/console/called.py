"""A house with calls of many kinds behind it: what guardrails found, what failed, what was observed, and upstreams."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bedplate.gateway.breaker import BreakerPolicy
from bedplate.gateway.call import Trace, entry
from bedplate.gateway.credential import Credential
from bedplate.gateway.supplier import SPOKEN, Supplier
from bedplate.gateway.supply import Supply, embedded
from bedplate.kernel.clock import DAY, SECOND
from bedplate.store.journal import Journal
from bedplate.store.record import Record

from .conftest import NAME, House

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHARD = "shard-8"  # as if another process had recorded here
DAYS = 40
CARD = "4111 1111 1111 1111"
TOOLS: Sequence[dict[str, Any]] = (
    {"role": "system", "content": "Answer from the handbook."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Is this receipt all right? My card is [redacted: payment card]."},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "look_up", "arguments": '{"page": 3}'}}],
    },
    {"role": "tool", "tool_call_id": "t1", "content": "Receipts are kept for <b>ten</b> years."},
)
FOUND = (
    ("input: payment card", 3),
    ("input: email address × 2", 6),
    ("output: phone number", 2),
    ("input: API key", 1),
    ("output: email address", 2),
)


@dataclass
class Called:
    """What was done, to be looked for on the pages."""

    house: House
    ids: dict[str, str] = field(default_factory=dict)

    def paths(self) -> dict[str, str]:
        """Name a page of every kind."""
        return {
            "calls": "/calls?status=failed",
            "calls, all filters": "/calls?route=live&finding=any&min_latency=2500&from=2020-01-01",
            "calls, wrong filter": "/calls?from=yesterday",
            "no calls": "/calls?model=nobody",
            "call": f"/calls/{self.ids['tools']}",
            "call with marks": f"/calls/{self.ids['card']}",
            "observed": f"/calls/{self.ids['observed']}",
            "two calls": f"/calls/{self.ids['tools']}/diff?with={self.ids['before']}",
            "compare": f"/calls/{self.ids['tools']}/diff",
            "tail": "/calls/tail",
            "guardrails": "/guardrails",
            "guardrails of one": f"/guardrails?use_case={NAME}&way=input&days=7",
            "upstreams": "/upstreams",
        }


def call(house: House) -> Called:
    """Put days of calls behind the house, and some that are worth looking at."""
    made, chance = Called(house), random.Random(11)  # noqa: S311  the same calls every time
    now = house.at.clock()
    with_card = house.ask(f"My card is {CARD}, and how much notice must I give?")
    made.ids["card"] = with_card
    journal = Journal.open(house.at.settings.data / "journal" / f"{SHARD}.db", shard=SHARD)
    try:
        for back in range(DAYS, 0, -1):
            for n in range(chance.randrange(3, 9)):
                at = now - back * DAY + n * 97 * SECOND
                found = [name for name, weight in FOUND if chance.random() < weight / 20]
                _record(house, journal, _trace(house, at, chance, found))
        before = _trace(house, now - 3_600 * SECOND, chance, [])
        before.prompt_id, before.prompt_version, before.release = "greeting", "a" * 64, "b" * 64
        made.ids["before"] = _record(
            house,
            journal,
            before,
            [{"role": "user", "content": "Is this receipt in order?"}],
            "It is kept for ten years.",
        )
        tools = _trace(house, now - 1_800 * SECOND, chance, ["input: payment card"])
        tools.passages = ["handbook/notice.md#notice"]
        tools.attempts, tools.first_us, tools.cost_nano, tools.price = 2, 412_000, 12_345_678, "list/gpt-5/2026"
        tools.latency_us, tools.tokens_in, tools.cached_in = 1_800_000, 1_200, 300
        answer = "It is kept for ten years [1], as [redacted: phone number] says [7]."
        made.ids["tools"] = _record(house, journal, tools, TOOLS, answer)
        observed = _trace(house, now - 900 * SECOND, chance, ["output: phone number"])
        observed.route = observed.dialect = "observed"
        made.ids["observed"] = _record(house, journal, observed)
        failed = _trace(house, now - 600 * SECOND, chance, [])
        failed.status, failed.error, failed.model = "failed", "the upstream did not answer within 60 s", "slow-model"
        failed.latency_us = 60_000_000
        made.ids["failed"] = _record(house, journal, failed)
    finally:
        journal.close()
    house.at.supply = supply()
    return made


def supply() -> Supply:
    """Make upstreams in every state: one that is well, one that is left alone, and one whose key is in trouble."""
    key = Credential("file /run/secrets/anthropic", b"sk-not-shown")
    key.trouble = "file /run/secrets/anthropic: No such file or directory"
    well = _supplier("openai-eu", "https://api.example.eu/v1", "Contract of 2026", Credential("env OPENAI_API_KEY"))
    down = _supplier("vllm", "http://10.0.0.7:8000/v1", "", Credential.none())
    sick = _supplier("anthropic", "https://api.example.com", "", key)
    made = Supply([embedded(), well, down, sick], "openai-eu")
    for traffic in (made.traffic(s.address) for s in (well, down)):
        assert traffic is not None
        for micros in (90_000, 120_000, 840_000):
            traffic.enter(10, 1)
            traffic.first_byte(micros)
    failing = made.traffic(down.address)
    assert failing is not None
    now = time.monotonic_ns() // 1000
    for _ in range(6):
        failing.calls += 1
        failing.failures += 1
        failing.breaker.failed(failing.breaker.enter(now), now, "connection refused")
    return made


def _supplier(name: str, url: str, description: str, key: Credential) -> Supplier:
    return Supplier(
        name,
        url,
        "openai",
        url,
        SPOKEN["openai"],
        key=key,
        description=description,
        breaker=BreakerPolicy(open_us=600_000_000),
    )


def _trace(house: House, at: int, chance: random.Random, found: list[str]) -> Trace:
    made = Trace(house.at.identities.next(), f"usecase/{NAME}", "key/0123456789ab", "live", at, "a" * 64)
    made.verdict, made.status, made.tier, made.rung = "allow", "ok", 1, "act"
    made.release, made.upstream, made.model = "c" * 64, "openai-eu", chance.choice(("gpt-5", "gpt-5-mini"))
    made.tokens_in, made.tokens_out = chance.randrange(200, 2_000), chance.randrange(20, 400)
    made.cost_nano, made.price = made.tokens_in * 2_500, "list/gpt-5/2026"
    made.latency_us, made.attempts, made.findings = chance.randrange(200_000, 3_000_000), 1, list(found)
    made.first_us = made.latency_us // 3
    return made


def _record(
    house: House,
    journal: Journal,
    trace: Trace,
    messages: Sequence[Mapping[str, Any]] = ({"role": "user", "content": "How much notice must I give?"},),
    answer: str = "Four weeks [1].",
) -> str:
    trace.answer = answer
    content = {"messages": list(messages), "parameters": {"model": "default"}, "answer": answer}
    sealed = house.at.vault.seal(trace.id, json.dumps(content).encode())
    ended = trace.started + trace.latency_us
    told = {"ct": sealed.ct, "commitment": sealed.commitment, "kid": sealed.kid}
    journal.append_sync(
        Record(
            id=trace.id,
            entry=entry(trace, "call.completed", ended, dict(told)),
            at=ended,
            use_case=trace.subject,
            kind="call.completed",
            verdict=trace.verdict,
            status=trace.status,
            content=sealed.ciphertext,
        )
    )
    return trace.id
