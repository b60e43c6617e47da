"""A charter: the same file gives the same digest, any change another; what it weighs names every rule that applied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.agents.charter import Charter, Limits, Weighing
from bedplate.agents.run import Day, Run
from bedplate.agents.taint import TASK, Provenance
from bedplate.document import parse
from bedplate.errors import InvalidInput

TOOLS = """\
kind: agents
servers: {bank: {}}
tools:
  - {name: bank/pay, class: irreversible, amount: {argument: amount, unit: EUR}, counterparty: to, sensitive: [to]}
  - {name: bank/note, class: write, sensitive: [text]}
  - {name: bank/invoice, class: read}
agents:
  - {id: payer, title: Payer, tools: [bank/pay, bank/note, bank/invoice], autonomy: act, limits: {%s}}
"""
OURS, THEIRS = "GB29NWBK60161331926819", "DE89370400440532013000"
RUN = Run("run", "usecase/payments", "payer")


def charter(policies: str = "", limits: str = "") -> Charter:
    text = TOOLS % limits + (f"policies:\n{policies}" if policies else "")
    return Charter.compile(parse(text, "agents.yaml"))


def weigh(
    of: Charter, arguments: dict[str, Any], *, tool: str = "bank/pay", tier: int = 1, run: Run = RUN, text: str = ""
) -> Weighing:
    seen = Provenance(b"key")
    seen.trust(f"pay 10 to {OURS}", 0, TASK)
    if text:
        seen.distrust(text, 2, "bank/invoice")
    return of.weigh(of.agents["payer"], of.tools[tool], arguments, seen, run, tier, 1)


def names(told: list[tuple[str, str, str]]) -> list[str]:
    return [name for name, _, _ in told]


PAY = {"to": OURS, "amount": 10}


def test_the_same_file_has_the_same_digest_and_is_read_back_as_it_was() -> None:
    one, other = charter(), charter()
    assert one.digest == other.digest
    again = Charter.read(one.content())
    assert (again.digest, again.tools, again.agents) == (one.digest, one.tools, one.agents)
    assert weigh(again, PAY, tier=4) == weigh(one, PAY, tier=4)


def test_any_change_is_another_digest() -> None:
    digests = {
        charter().digest,
        charter("  - {id: aa, then: ask}\n").digest,
        charter("  - {id: aa, then: deny}\n").digest,
        charter(limits="steps_per_run: 3").digest,
        charter(limits="steps_per_run: 4").digest,
    }
    assert len(digests) == 5


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"version": 1}', b'{"version": 99}'])
def test_what_is_no_charter_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Charter.read(content)
    assert refusal.value.hint


def test_a_charter_with_a_tool_that_makes_no_sense_is_refused() -> None:
    whole = msgspec.json.decode(charter().content())
    whole["tools"][0]["kind"] = "harmless"
    with pytest.raises(InvalidInput):
        Charter.read(msgspec.json.encode(whole))


def test_an_unknown_tool_is_denied() -> None:
    of = charter()
    stranger = replace(of.tools["bank/pay"], name="bank/unknown")
    found = of.weigh(of.agents["payer"], stranger, PAY, Provenance(b"key"), RUN, 1, 1)
    assert names(found.denies) == ["tool-known"]


# By class and tier, without any policy

UNTRUSTED = f"pay to {THEIRS}"
TAINTED, GROUNDED, NOWHERE = {"to": THEIRS, "amount": 10}, PAY, {"to": "FR7630006000011234567890189", "amount": 10}


@pytest.mark.parametrize(
    ("tier", "tool", "arguments", "denies", "asks"),
    [
        (1, "bank/pay", GROUNDED, [], []),
        (1, "bank/pay", TAINTED, [], ["default/routine-irreversible-tainted"]),
        (1, "bank/note", {"text": THEIRS}, [], []),
        (2, "bank/note", {"text": THEIRS}, [], ["default/supervised-tainted"]),
        (2, "bank/note", {"text": "hello"}, [], []),
        (2, "bank/pay", NOWHERE, [], ["default/supervised-ungrounded"]),
        (3, "bank/note", {"text": THEIRS}, [], ["default/assured-tainted"]),
        (3, "bank/note", {"text": "hello"}, [], ["default/assured-ungrounded"]),
        (3, "bank/note", {"text": "pay"}, [], []),
        (4, "bank/note", {"text": THEIRS}, ["default/critical-tainted"], []),
        (4, "bank/note", {"text": "hello"}, [], ["default/critical-ungrounded"]),
        (4, "bank/pay", GROUNDED, [], ["default/critical-irreversible-large"]),
        (4, "bank/invoice", {"text": THEIRS}, [], []),
    ],
)
def test_each_class_has_its_default_by_tier(
    tier: int, tool: str, arguments: dict[str, Any], denies: list[str], asks: list[str]
) -> None:
    found = weigh(charter(), arguments, tool=tool, tier=tier, text=UNTRUSTED)
    assert (names(found.denies), names(found.asks)) == (denies, asks)


def test_at_tier_4_an_action_within_what_the_agent_may_do_by_itself_asks_nobody() -> None:
    of = charter(limits='asks_above: "10 EUR"')
    assert not weigh(of, PAY, tier=4).asks
    assert names(weigh(of, {**PAY, "amount": 10.000001}, tier=4).asks) == ["default/critical-irreversible-large"]


def test_a_reason_says_where_the_value_was_read() -> None:
    [(_, why, fix)] = weigh(charter(), TAINTED, tier=4, text=UNTRUSTED).denies
    assert "to was read from bank/invoice in step 2" in why
    assert fix


# Precedence

EVERY = "".join(f"  - {{id: {then}, tools: [bank/pay], then: {then}}}\n" for then in ("allow", "ask", "deny"))
EDIT = "  - {id: edit, tools: [bank/note], then: edit, set: {text: pay}}\n"


def test_every_rule_that_applied_is_named_and_none_outweighs_a_deny() -> None:
    found = weigh(charter(EVERY), PAY)
    assert names(found.denies) == ["policy/deny"]
    assert names(found.asks) == ["policy/ask"]
    assert names(found.allows) == ["policy/allow"]


def test_an_allow_lifts_what_a_default_asks_but_neither_a_policy_nor_what_is_firm() -> None:
    allow = "  - {id: allow, tools: [bank/*], then: allow}\n"
    assert not weigh(charter(allow), TAINTED, tier=1, text=UNTRUSTED).asks
    ask = "  - {id: ask, tools: [bank/pay], then: ask}\n"
    assert names(weigh(charter(allow + ask), TAINTED, tier=1, text=UNTRUSTED).asks) == ["policy/ask"]
    assert names(weigh(charter(allow), TAINTED, tier=3, text=UNTRUSTED).asks) == ["default/assured-tainted"]
    assert names(weigh(charter(allow), TAINTED, tier=4, text=UNTRUSTED).denies) == ["default/critical-tainted"]


def test_what_is_edited_is_judged_as_it_goes_out() -> None:
    found = weigh(charter(EDIT), {"text": "hello"}, tool="bank/note")
    assert found.arguments == {"text": "pay"}
    deny = "  - {id: no, tools: [bank/note], when: {arguments: {text: {equals: pay}}}, then: deny}\n"
    assert names(weigh(charter(EDIT + deny), {"text": "hello"}, tool="bank/note").denies) == ["policy/no"]
    before = deny.replace("pay}", "hello}")
    assert names(weigh(charter(EDIT + before), {"text": "hello"}, tool="bank/note").denies) == ["policy/no"]


def test_two_edits_that_contradict_each_other_are_a_deny() -> None:
    other = EDIT.replace("id: edit", "id: other").replace("text: pay", "text: no")
    assert names(weigh(charter(EDIT + other), {"text": "x"}, tool="bank/note").denies) == ["policy/other"]


# Limits

LIMITS = {
    "amount_per_action": ('amount_per_action: "9.99 EUR"', RUN),
    "amount_per_run": ('amount_per_run: "15 EUR"', replace(RUN, amount=5_000_001)),
    "amount_per_day": (
        'amount_per_day: "15 EUR"',
        replace(RUN, today=Day("usecase/payments", "payer", 0, amount=5_000_001)),
    ),
    "actions_per_run": ("actions_per_run: 3", replace(RUN, actions=3)),
    "actions_per_day": ("actions_per_day: 3", replace(RUN, today=Day("usecase/payments", "payer", 0, actions=3))),
    "steps_per_run": ("steps_per_run: 3", replace(RUN, steps=3)),
}


@pytest.mark.parametrize("name", LIMITS)
def test_what_passes_a_limit_of_the_agent_is_denied(name: str) -> None:
    limits, run = LIMITS[name]
    assert names(weigh(charter(limits=limits), PAY, run=run).denies) == [f"limits.{name}"]
    assert not weigh(charter(), PAY, run=run).denies


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_sum_is_exact_to_the_micro_unit(most: int, used: int, amount: int) -> None:
    of = charter()
    agent = replace(of.agents["payer"], limits=Limits(amount_per_run=most))
    arguments = {"to": OURS, "amount": f"{amount // 10**6}.{amount % 10**6:06}"}
    found = of.weigh(agent, of.tools["bank/pay"], arguments, Provenance(b"k"), replace(RUN, amount=used), 1, 1)
    assert found.amount == amount
    assert bool(found.denies) == (used + amount > most)
