"""Policies: each condition holds where it should, and what cannot be read refuses the call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.agents.charter import Charter, Weighing
from bedplate.agents.facts import MICRO, Unreadable, amount
from bedplate.agents.run import Day, Run
from bedplate.agents.taint import TASK, Provenance
from bedplate.document import parse

FILE = """\
kind: agents
servers: {bank: {}, mail: {}}
lists: {payees: [GB29 NWBK 6016 1331 9268 19]}
tools:
  - name: bank/pay
    class: write
    amount: {argument: amount, unit_argument: currency}
    counterparty: to
    sensitive: [to]
    links: [note]
    asked_by: [pay, send money]
  - {name: mail/read, class: read, labels: [personal-data]}
  - {name: bank/check, class: read, output: trusted}
agents:
  - {id: payer, title: Payer, tools: [bank/pay, mail/read, bank/check], autonomy: act}
  - {id: other, title: Other, tools: [bank/pay], autonomy: act}
policies:
  - {id: rule, tools: [bank/pay], when: {%s}, then: %s}
"""
OURS, THEIRS = "GB29NWBK60161331926819", "DE89370400440532013000"
PAY: dict[str, Any] = {"to": OURS, "amount": 100, "currency": "EUR", "note": "rent", "tags": ["a", "b"], "urgent": True}
RUN = Run("run", "usecase/payments", "payer")


def weigh(when: str, arguments: dict[str, Any], run: Run = RUN, seen: Provenance | None = None) -> Weighing:
    of = Charter.compile(parse(FILE % (when, "ask"), "agents.yaml"))
    if seen is None:
        seen = Provenance(b"key")
        seen.trust(f"pay 100 to {OURS}", 0, TASK)
    return of.weigh(of.agents["payer"], of.tools["bank/pay"], arguments, seen, run, 1, 1)


def applies(when: str, run: Run = RUN, seen: Provenance | None = None, **changes: object) -> bool | str:
    """Tell whether the rule asked; what it says if it refused instead."""
    found = weigh(when, {name: value for name, value in {**PAY, **changes}.items() if value is not ...}, run, seen)
    if found.denies:
        return "; ".join(why for name, why, _ in found.denies if name == "policy/rule")
    return [name for name, _, _ in found.asks] == ["policy/rule"]


@pytest.mark.parametrize(
    ("when", "holds", "fails"),
    [
        ("arguments: {note: {equals: rent}}", {}, {"note": "rents"}),
        ("arguments: {urgent: {equals: true}}", {}, {"urgent": False}),
        ("arguments: {urgent: {equals: true}}", {}, {"urgent": 1}),
        ("arguments: {amount: {equals: 100}}", {"amount": 100.0}, {"amount": 101}),
        ("arguments: {note: {one_of: [gift, rent]}}", {}, {"note": "loan"}),
        ("arguments: {note: {not_one_of: [gift, rent]}}", {"note": "loan"}, {}),
        ("arguments: {note: {matches: 're.*'}}", {}, {"note": "a rent"}),
        ("arguments: {note: {not_matches: 're.*'}}", {"note": "a rent"}, {}),
        ("arguments: {amount: {above: 99.5, below: 200}}", {}, {"amount": 99.5}),
        ("arguments: {amount: {above: 99.5, below: 200}}", {"amount": "199.99"}, {"amount": "200.00"}),
        ("arguments: {'tags.*': {equals: b}}", {}, {"tags": ["a", "c"]}),
        ("arguments: {iban: {present: yes}}", {"iban": "x"}, {}),
        ("arguments: {iban: {present: no}}", {}, {"iban": "x"}),
        ("arguments: {iban: {equals: x, optional: yes}}", {"iban": "x"}, {}),
        ('amount_above: "99.999999 EUR"', {}, {"amount": 99.999999}),
        ("counterparty_in: payees", {"to": "gb29 nwbk-6016 1331 9268 19"}, {"to": THEIRS}),
        ("counterparty_not_in: payees", {"to": THEIRS}, {}),
        ("ungrounded: sensitive", {"to": THEIRS}, {}),
        ("cel: 'args.amount > 99.0 && tier == 1'", {}, {"amount": 98.5}),
        ("cel: 'amount == 100000000'", {}, {"amount": 98.5}),
    ],
)
def test_a_condition_on_the_call_holds_where_it_should(when: str, holds: dict[str, Any], fails: dict[str, Any]) -> None:
    assert applies(when, **holds) is True
    assert applies(when, **fails) is False


TODAY = Day("usecase/payments", "payer", 0, amount=950 * MICRO, actions=5)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ('run_amount_above: "500 EUR"', replace(RUN, amount=400 * MICRO + 1)),
        ('day_amount_above: "1000 EUR"', replace(RUN, today=TODAY)),
        ("after: mail/read", replace(RUN, tools=frozenset({"mail/read"}))),
        ("after: untrusted", replace(RUN, tools=frozenset({"mail/read"}))),
        ("after: 'label:personal-data'", replace(RUN, tools=frozenset({"mail/read"}))),
        ("after: [bank/check, mail/read]", replace(RUN, tools=frozenset({"mail/read"}))),
        ("count_above: {actions_in_run: 3}", replace(RUN, actions=4)),
        ("count_above: {actions_today: 4}", replace(RUN, today=TODAY)),
        ("count_above: {denied_in_run: 0, steps_in_run: 2}", replace(RUN, denied=1, steps=3)),
        ("count_above: {same_tool: 1}", replace(RUN, recent=(("bank/pay", "x", "allow"), ("bank/pay", "y", "deny")))),
        ("cel: 'run.actions > 3 && today.actions == 0'", replace(RUN, actions=4)),
    ],
)
def test_a_condition_on_what_went_before_holds_where_it_should(when: str, holds: Run) -> None:
    assert applies(when, holds) is True
    assert applies(when) is False


def test_what_must_come_before_asks_until_it_did() -> None:
    assert applies("not_after: bank/check") is True
    assert applies("not_after: bank/check", replace(RUN, tools=frozenset({"bank/check"}))) is False
    assert applies("after: untrusted", replace(RUN, tools=frozenset({"bank/check"}))) is False


def told(task: str, text: str = "") -> Provenance:
    seen = Provenance(b"key")
    seen.trust(task, 0, TASK)
    if text:
        seen.distrust(text, 1, "mail/read")
    return seen


@pytest.mark.parametrize(
    ("when", "holds", "fails"),
    [
        ("tainted: sensitive", told("go", OURS), told(OURS, OURS)),
        ("after: untrusted", told("go", "x"), told("go")),
        ("not_asked: yes", told("read my mail"), told("please pay them")),
        ("not_asked: yes", told("what is the money for"), told("send the money")),
        ("contested: yes", told("go", OURS), told(OURS, OURS)),
        ("tainted: any", told(OURS, "rent"), told(f"{OURS} 100 EUR rent a b", "rent")),
        ("echoes: sentences", told("go", f"one two three four five {OURS}"), told("go")),
    ],
)
def test_a_condition_on_whence_values_are_holds_where_it_should(
    when: str, holds: Provenance, fails: Provenance
) -> None:
    changes: dict[str, Any] = {"to": "one two three four five six"} if "echoes" in when else {}
    if changes:
        holds = told("go", "one two three four five six")
    assert applies(when, seen=holds, **changes) is True
    assert applies(when, seen=fails, **changes) is False


def test_of_a_text_for_people_only_addresses_are_sensitive() -> None:
    seen = told(f"pay {OURS}", "visit evil.example soon")
    assert applies("tainted: sensitive", seen=seen, note="see www.evil.example") is True
    assert applies("tainted: sensitive", seen=seen, note="visit soon") is False


def test_a_bill_that_the_user_named_may_say_whom_to_pay_once_and_only_where_asked() -> None:
    def named(task: str, text: str) -> Provenance:
        seen = told(task)
        seen.distrust(text, 1, "mail/read", named=True)
        return seen

    bill = f"to {THEIRS}"
    assert applies("tainted: sensitive", seen=named("pay bill.txt", bill), to=THEIRS) is False
    assert applies("tainted: sensitive", seen=named("read bill.txt", bill), to=THEIRS) is True
    assert applies("tainted: sensitive", seen=named("pay bill.txt", f"{bill} or {OURS}"), to=THEIRS) is True
    again = replace(RUN, tools=frozenset({"bank/pay"}))
    assert applies("tainted: sensitive", again, named("pay bill.txt", bill), to=THEIRS) is True


# What cannot be read


@pytest.mark.parametrize(
    ("when", "changes", "says"),
    [
        ("arguments: {iban: {equals: x}}", {}, "iban is missing"),
        ("arguments: {iban: {not_one_of: [x]}}", {}, "iban is missing"),
        ("arguments: {tags: {equals: x}}", {}, "several values"),
        ("arguments: {amount: {matches: 'x'}}", {}, "amount is no text"),
        ("arguments: {note: {above: 3}}", {}, "note is not written as a plain number"),
        ("arguments: {urgent: {above: 3}}", {}, "urgent is no number"),
        ('amount_above: "200 EUR"', {"currency": "USD"}, "the call moves USD, and the policy speaks of EUR"),
        ("counterparty_in: payees", {"to": ...}, "to is missing"),
        ("cel: 'args.iban == 3'", {}, "its expression cannot be worked out"),
        ("cel: 'args.note > 3'", {}, "its expression cannot be worked out"),
        ("cel: '1 / (run.steps) == 3'", {}, "its expression cannot be worked out"),
        ("cel: 'args.note'", {}, "neither true nor false"),
    ],
)
def test_what_a_policy_cannot_read_refuses_the_call(when: str, changes: dict[str, Any], says: str) -> None:
    assert says in str(applies(when, **changes))


def test_what_cannot_be_read_does_not_matter_where_something_else_says_no() -> None:
    assert applies('amount_above: "200 EUR", arguments: {iban: {equals: x}}') is False


@pytest.mark.parametrize(
    "value", [True, "ten", "1,000", float("nan"), float("inf"), -1, "-0.01", 0.0000001, 10**13, [1], None]
)
def test_an_amount_that_is_not_plain_is_denied(value: object) -> None:
    found = weigh("count_above: {steps_in_run: 9}", {**PAY, "amount": value})
    assert [name for name, _, _ in found.denies] == ["arguments"]


@given(st.integers(0, 10**14), st.sampled_from([str, float]))
def test_an_amount_is_exact(micro: int, kind: type) -> None:
    text = f"{micro // MICRO}.{micro % MICRO:06}"
    tool = (
        Charter.compile(parse(FILE % ("not_asked: yes", "ask"), "agents.yaml")).tools["bank/pay"]
        if not TOOLS
        else TOOLS[0]
    )
    TOOLS[:] = [tool]
    assert amount(tool, {"amount": kind(text), "currency": "EUR"}) == (micro, "EUR")
    cents = replace(tool, minor=100)
    if micro % 100 == 0 and kind is str:
        assert amount(cents, {"amount": text, "currency": "EUR"})[0] == micro // 100
    elif kind is str:
        with pytest.raises(Unreadable):
            amount(cents, {"amount": text, "currency": "EUR"})


TOOLS: list[Any] = []


def test_rules_that_are_found_by_value_or_sum_say_the_same_as_each_by_itself() -> None:
    conditions = [
        "arguments: {note: {equals: rent}}",
        "arguments: {note: {one_of: [rent, gift]}}",
        "arguments: {iban: {equals: x}}",
        *(f'amount_above: "{most} EUR"' for most in (1, 99, 100, 101)),
        *(f'day_amount_above: "{most} EUR"' for most in (99, 100)),
        'amount_above: "5 USD"',
        "tainted: any",
    ]
    head, _, rule = (FILE % ("not_asked: yes", "ask")).rpartition("policies:\n")
    line = rule.replace("not_asked: yes", "{when}").replace("id: rule", "id: rule-{number}")
    lines = [line.replace("{when}", when).replace("{number}", str(n)) for n, when in enumerate(conditions)]
    seen = told(f"pay 100 to {OURS}", "rent")

    def weighed(rules: list[str], arguments: dict[str, Any]) -> set[tuple[str, str]]:
        of = Charter.compile(parse(f"{head}policies:\n{''.join(rules)}", "agents.yaml"))
        found = of.weigh(of.agents["payer"], of.tools["bank/pay"], arguments, seen, RUN, 1, 1)
        told = [("deny", name) for name, _, _ in found.denies] + [("ask", name) for name, _, _ in found.asks]
        return {one for one in told if one[1].startswith("policy/")}

    for arguments in (PAY, {**PAY, "note": "gift", "iban": "x"}, {**PAY, "amount": 100.5, "currency": "USD"}):
        together = weighed(lines, arguments)
        assert together == set().union(*(weighed([one], arguments) for one in lines))
        assert together
