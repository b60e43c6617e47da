"""Observed calls: the verdict they would have got, on record once, and nothing of it enforced or charged."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.gateway.test_observed import ANSWERED, ASKED, CURRENT, PARTS, read, span

from bedplate.bootstrap import MANIFESTS
from bedplate.errors import BedplateError, Conflict, Unauthenticated, Unavailable
from bedplate.gateway.call import Trace, entry
from bedplate.gateway.governance import CALL
from bedplate.gateway.guardrail import Guard
from bedplate.gateway.observer import AHEAD, OLDEST, Bench, Observer, Outcome, bench
from bedplate.gateway.price import Prices
from bedplate.gateway.recipe import Recipe
from bedplate.gateway.recorder import JournalRecorder
from bedplate.gateway.views import Calls
from bedplate.kernel.action import Attempt
from bedplate.kernel.clock import DAY, SECOND
from bedplate.kernel.control import owed
from bedplate.kernel.decision import Allow, Case, Reason, decide
from bedplate.kernel.manifest import catalogue
from bedplate.kernel.standing import Rung, Standing
from bedplate.store.journal import Journal
from bedplate.store.vault import Vault
from bedplate.testing import SettableClock, small_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bedplate.gateway.observed import Observed

HR, ACTOR, KEY = "usecase/hr-policy-assistant", "key/1", "bpk_test"
CONTROLS = tuple(catalogue(MANIFESTS).controls.values())
MODEL = small_model("Harbour Mutual", (served.EXAMPLE / "people.yaml").read_text())
PRICES = Prices()
CARD = "4111 1111 1111 1111"


@dataclass
class Shard:
    """Implements the gateway's recorder as the journal behaves: another entry under an id is a conflict."""

    healthy: bool = True
    fails: BedplateError | None = None
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)

    async def record(self, trace: Trace, kind: str, content: Mapping[str, Any] | None) -> None:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        if trace.id in self.entries:
            raise Unavailable("the call cannot be recorded") from Conflict("another entry has this id")
        self.entries[trace.id] = json.loads(entry(trace, kind, trace.started, {}))
        self.contents[trace.id] = content
        self.kinds.append(kind)

    @property
    def only(self) -> dict[str, Any]:
        (found,) = self.entries.values()
        return found


@dataclass
class House:
    """A use case with a live release of gpt-4o, and an observer of its calls."""

    tier: int = 1
    approved: str = "gpt-4o"
    standing: Mapping[str, Any] = field(default_factory=dict)
    guards: tuple[Guard, Guard] | None = None
    known: frozenset[str] = frozenset()
    blind: bool = False  # two requests looked before either wrote
    shard: Shard = field(default_factory=Shard)
    clock: SettableClock = field(default_factory=lambda: SettableClock(1_750_000_060 * SECOND))

    def identify(self, secret: str) -> tuple[str, str]:
        if secret != KEY:
            raise Unauthenticated("this key is not known here")
        return HR, ACTOR

    def judge(self, trace: Trace, model: str) -> Sequence[Reason]:
        known = self.clock.now - DAY
        facts: dict[str, Any] = {"releases.live_at": known, "models.evaluated": {"r" * 64: known}}
        live = Standing(HR, tier=self.tier, stage="live", release="r" * 64, rung=Rung.ACT, domain="people", facts=facts)
        standing = replace(live, **self.standing)
        trace.tier, trace.rung, trace.release = standing.tier, standing.rung.name.lower(), standing.release
        plan = MODEL.plan(self.tier)
        assert plan is not None
        told: dict[str, Any] = {"model": model, "approved": self.approved, "served": "yes"}
        told |= {"named": "yes" if model == self.approved else "no", "calls_today": 0, "tokens_today": 0}
        told |= {"calls_budget": 10, "tokens_budget": 1000}
        case = Case(Attempt(CALL, trace.key, trace.subject, told), trace.started, MODEL, standing)
        verdict = decide(case, owed(CONTROLS, "call", CALL.name, plan.controls))
        return () if isinstance(verdict, Allow) else verdict.reasons

    def seen(self, ids: Sequence[str]) -> set[str]:
        return set() if self.blind else set(ids) & (self.known | self.shard.entries.keys())

    @property
    def bench(self) -> Bench:
        return Bench(self.identify, self.judge, lambda _: self.guards, PRICES.of, self.seen, self.shard, self.clock)

    def observe(self, *calls: Observed) -> Outcome:
        return asyncio.run(Observer(self.bench).observe(HR, ACTOR, calls))


def call(attributes: Mapping[str, Any] | None = None, **more: Any) -> Observed:
    (found,) = read(span(CURRENT | PARTS | dict(attributes or {}), **more))
    return found


def test_an_observed_call_is_on_record_as_such() -> None:
    house = House()
    assert house.observe(call()) == Outcome(1, 0, 0)

    found = house.shard.only
    assert house.shard.kinds == ["call.observed"]
    assert (found["route"], found["status"], found["verdict"]) == ("observed", "observed", "allow")
    assert (found["use_case"], found["key"], found["model"]) == (HR, ACTOR, "gpt-4o")
    assert (found["tier"], found["rung"], found["release"]) == (1, "act", "r" * 64)
    assert (found["tokens_in"], found["tokens_out"], found["cost_nano"]) == (12, 5, 80_000)  # 2.5 and 10 USD a million
    assert found["started"] == "2025-06-15T15:06:40.000000Z"


def test_what_was_said_is_content_and_not_in_the_record() -> None:
    house = House()
    house.observe(call())
    (content,) = house.shard.contents.values()
    assert content is not None
    assert content["messages"] == [{"role": "user", "content": ASKED}]
    assert content["answer"] == ANSWERED
    assert content["span"]["service"] == "leave-bot"
    assert ASKED not in json.dumps(house.shard.only)


def test_a_model_outside_the_release_gets_the_verdict_it_would_have_got() -> None:
    house = House(approved="gpt-4o-mini")
    house.observe(call())
    assert house.shard.only["verdict"] == "deny"
    assert [control for control, _, _ in house.shard.only["reasons"]] == ["model-approved"]


@pytest.mark.parametrize(
    ("standing", "control"),
    [
        ({"suspended": "drill"}, "not-suspended"),
        ({"stage": "accepted"}, "live-release"),
        ({"rung": Rung.OFF}, "rung-open"),
    ],
)
def test_every_control_of_a_call_judges_it(standing: Mapping[str, Any], control: str) -> None:
    house = House(standing=standing)
    house.observe(call())
    assert control in [name for name, _, _ in house.shard.only["reasons"]]


def test_what_a_guardrail_would_have_stopped_is_found_and_denied() -> None:
    house = House(guards=(Guard({"personal-data": "block"}), Guard({"personal-data": "observe"})))
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": f"my card is {CARD}"}]}])
    house.observe(call({"gen_ai.input.messages": asked}))
    found = house.shard.only
    assert found["findings"] == ["input: payment card"]
    assert (found["verdict"], found["reasons"][0][0]) == ("deny", "guardrail-input")
    assert CARD not in json.dumps(found)


def test_what_a_guardrail_would_only_have_noted_is_noted() -> None:
    house = House(guards=(Guard({}), Guard({"personal-data": "observe"})))
    said = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": f"your card is {CARD}"}]}])
    house.observe(call({"gen_ai.output.messages": said}))
    found = house.shard.only
    assert (found["verdict"], found["findings"]) == ("allow", ["output: payment card"])


def test_what_is_kept_is_what_a_guardrail_would_have_let_through() -> None:
    house = House(guards=(Guard({"personal-data": "redact"}), Guard({"personal-data": "redact"})))
    told = [json.dumps([{"role": role, "parts": [{"type": "text", "content": f"card {CARD}"}]}]) for role in "ab"]
    house.observe(call({"gen_ai.input.messages": told[0], "gen_ai.output.messages": told[1]}))
    (content,) = house.shard.contents.values()
    assert content is not None
    assert content["messages"][0]["content"] == content["answer"] == "card [redacted: payment card]"
    assert house.shard.only["answer_sha256"] == hashlib.sha256(content["answer"].encode()).hexdigest()


def test_a_span_sent_again_is_recorded_once() -> None:
    house = House()
    house.observe(call())
    assert house.observe(call(), call()) == Outcome(0, 2, 0)
    assert len(house.shard.entries) == 1


def test_a_span_that_comes_twice_at_the_same_moment_is_recorded_once() -> None:
    house = House(blind=True)
    house.observe(call())
    assert house.observe(call()) == Outcome(0, 1, 0)


def test_a_span_that_another_process_recorded_is_not_recorded_again() -> None:
    house = House(known=frozenset({call().id(HR)}))
    assert house.observe(call()) == Outcome(0, 1, 0)
    assert house.shard.entries == {}


def test_what_is_too_old_or_of_the_future_is_rejected() -> None:
    house = House()
    now = house.clock.now
    old = replace(call(), started=now - OLDEST - 1)
    ahead = replace(call(), span_id="a" * 16, ended=now + AHEAD + 1)
    outcome = house.observe(old, ahead, call())
    assert (outcome.recorded, outcome.rejected) == (1, 2)
    assert "2 spans" in outcome.why


def test_a_clock_that_is_a_little_ahead_moves_no_record_into_the_future() -> None:
    house = House()
    house.observe(replace(call(), started=house.clock.now + SECOND, ended=house.clock.now + 2 * SECOND))
    assert house.shard.only["started"] == "2025-06-15T15:07:40.000000Z"


@pytest.mark.parametrize("how", [{"healthy": False}, {"fails": Unavailable("the disk is full")}])
def test_calls_that_cannot_be_recorded_are_asked_for_again(how: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        House(shard=Shard(**how)).observe(call())


def test_many_calls_are_recorded_each() -> None:
    house = House()
    calls = [replace(call(), span_id=f"{n:016x}") for n in range(1, 301)]
    assert house.observe(*calls).recorded == 300
    assert len(house.shard.entries) == 300


def test_whoever_answered_sets_the_price() -> None:
    house = House()
    house.observe(call({"server.address": "llm.internal.example"}))
    assert (house.shard.only["cost_nano"], house.shard.only["price"]) == (0, "unknown")


class Door:
    """Judges as the house does."""

    def __init__(self, house: House) -> None:
        self.identified, self.judged = house.identify, house.judge


def test_a_span_is_on_record_once_in_all_shards_and_its_content_can_be_read(tmp_path: Path) -> None:
    house, folder = House(), tmp_path / "journal"
    folder.mkdir()
    vault = Vault(tmp_path / "vault.db", tmp_path / "kek")
    shards = [Journal.open(folder / f"{n}.db", shard=n, before_commit=vault.flush) for n in ("shard-0", "shard-1")]
    calls = Calls(folder, vault.open)
    recipe = Recipe(
        release="r" * 64,
        upstream="default",
        model="gpt-4o",
        prompt="",
        prompt_digest="",
        unanswered="",
        index="",
        top=0,
        guardrails={"input": {"personal-data": "observe"}, "output": {}},
        calls_per_day=10,
        tokens_per_day=1000,
    )
    seen = call({"gen_ai.input.messages": f"my card is {CARD}"})
    outcomes = []
    for shard in (*shards, *shards):
        house.clock.advance(SECOND)
        recorder = JournalRecorder(shard, vault, house.clock)
        observer = Observer(bench(Door(house), lambda: {HR: recipe}, PRICES.of, calls, recorder, house.clock))
        outcomes.append(asyncio.run(observer.observe(HR, ACTOR, [seen])).recorded)

    assert outcomes == [1, 0, 0, 0]
    (found,) = calls.search()
    assert (found.id, found.entry["findings"]) == (seen.id(HR), ["input: payment card"])
    content = calls.content(found.id)
    assert content is not None
    assert content["messages"] == [{"role": "user", "content": f"my card is {CARD}"}]
    for shard in shards:
        shard.close()
    calls.close()
    vault.close()
