"""`agents.yaml`: what is wrong with it is said with its place; what is right becomes a charter."""

from __future__ import annotations

import pytest

from bedplate.agents.charter import Charter
from bedplate.document import InvalidDocument, parse

FILE = """\
kind: agents
servers: {bank: {resources: ["file:///invoices/*"]}}
lists: {payees: [GB29 NWBK 6016 1331 9268 19]}
tools:
  - name: bank/pay
    class: irreversible
    arguments: {amount: number, recipient: text, urgent: flag, key: text}
    amount: {argument: amount, unit: EUR}
    counterparty: recipient
    sensitive: [recipient, amount]
    asked_by: [pay]
    idempotency: key
    compensation: bank/cancel
  - {name: bank/cancel, class: write}
  - {name: bank/invoice, class: read, labels: [personal-data]}
agents:
  - id: payer
    title: Pays invoices
    tools: [bank/pay, bank/invoice]
    autonomy: act
    limits: {amount_per_day: "5000 EUR", asks_above: "200 EUR"}
policies:
  - {id: large, tools: [bank/pay], when: {amount_above: "200 EUR"}, then: ask}
  - {id: cel, tools: [bank/pay], when: {cel: "args.amount > 100.0 && run.actions > 3"}, then: deny}
  - {id: calm, tools: [bank/pay], then: edit, set: {urgent: false}}
"""


def refused(*changes: tuple[str, str]) -> str:
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    with pytest.raises(InvalidDocument) as refusal:
        Charter.compile(parse(text, "agents.yaml"))
    return str(refusal.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("class: irreversible", "klass: write", "agents.yaml:6:5 tools.0.klass: unknown key"),
        ("class: irreversible", "class: harmless", "agents.yaml:6:5 tools.0.class"),
        ("unit: EUR}", "currency: EUR}", "tools.0.amount.currency: unknown key"),
        ("bank/cancel\n", "bank/undo\n", "tools.0.compensation: no tool 'bank/undo'"),
        ("name: bank/pay", "name: shop/pay", "tools.0.name: no server 'shop'"),
        ("{name: bank/cancel,", "{name: bank/invoice,", "tools.2: 'bank/invoice' is here twice"),
        ("tools: [bank/pay, bank/invoice]", "tools: [bank/pai]", "agents.0.tools.0: no tool 'bank/pai'"),
        ("sensitive: [recipient,", "sensitive: [recipent,", "tools.0.sensitive.0: the tool has no argument 'recipent'"),
        ('above: "200 EUR"}', 'above: "200 USD"}', "agents.0.limits: amounts in EUR, USD"),
        (
            '{amount_above: "200 EUR"}',
            '{amount_above: "200 USD"}',
            "agents.yaml:23:43 policies.0.when.amount_above: in USD, and a tool moves EUR",
        ),
        ('{amount_above: "200 EUR"}', '{amount_above: "200"}', "policies.0.when.amount_above"),
        ('{amount_above: "200 EUR"}', "{counterparty_in: friends}", "no list 'friends'"),
        ('{amount_above: "200 EUR"}', "{after: bank/unknown}", "policies.0.when.after: no tool 'bank/unknown'"),
        (
            '{amount_above: "200 EUR"}',
            '{after: "label:secret"}',
            "policies.0.when.after: no tool has the label 'secret'",
        ),
        ('{amount_above: "200 EUR"}', "{arguments: {amuont: {above: 3}}}", "the tool has no argument 'amuont'"),
        ('{amount_above: "200 EUR"}', "{arguments: {recipient: {matches: '('}}}", "is no RE2 expression"),
        ('{amount_above: "200 EUR"}', "{arguments: {recipient: {}}}", "says nothing about the argument"),
        (
            "tools: [bank/pay], when",
            "tools: [bank/cancel], when",
            "policies.0.when.amount_above: bank/cancel: no amount is declared",
        ),
        ("tools: [bank/pay], when", 'tools: ["web/*"], when', "policies.0.tools.0: covers no tool"),
        ("tools: [bank/pay], when", "agents: [robot], when", "policies.0.agents.0: no agent 'robot'"),
        ("then: edit, set: {urgent: false}", "then: edit", "then: edit goes with set"),
        ("set: {urgent: false}", "set: {urgnet: false}", "policies.2.set.urgnet"),
        ("then: ask}", "then: ask, firm: yes}", "policies.0.firm: only what comes with Bedplate"),
        ("run.actions", "run.actins", "policies.1.when.cel: run has no 'actins'"),
        ("args.amount", "args.amuont", "policies.1.when.cel: the tool has no argument 'amuont'"),
        ("args.amount > 100.0", "args.recipient > 100.0", "policies.1.when.cel: cannot be worked out"),
        ("args.amount > 100.0 && run.actions > 3", "args.amount", "policies.1.when.cel: is float"),
        ("args.amount > 100.0 && run.actions > 3", "arg.amount > 1", "policies.1.when.cel: knows no 'arg'"),
        ("args.amount > 100.0 && run.actions > 3", "launch(1)", "policies.1.when.cel: knows no function 'launch'"),
        ("args.amount > 100.0 && run.actions > 3", "1 +", "policies.1.when.cel: is no CEL expression"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, complaint: str) -> None:
    assert complaint in refused((old, new))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    said = refused(
        ("tools: [bank/pay, bank/invoice]", "tools: [bank/pai]"),
        ("compensation: bank/cancel", "compensation: bank/undo"),
    )
    assert "bank/pai" in said
    assert "bank/undo" in said


def test_a_file_becomes_what_it_says() -> None:
    charter = Charter.compile(parse(FILE, "agents.yaml"))
    tool, agent = charter.tools["bank/pay"], charter.agents["payer"]
    assert (tool.kind, tool.amount, tool.unit, tool.counterparty) == ("irreversible", "amount", "EUR", "recipient")
    assert (tool.sensitive, tool.idempotency, tool.compensation) == (("recipient", "amount"), "key", "bank/cancel")
    assert (agent.limits.amount_per_day, agent.asks_above, agent.unit) == (5_000_000_000, 200_000_000, "EUR")
    assert charter.servers["bank"].resources == ("file:///invoices/*",)


def test_what_is_left_out_is_what_is_safe() -> None:
    tool = Charter.compile(parse(FILE, "agents.yaml")).tools["bank/cancel"]
    assert (tool.output, tool.sensitive, tool.idempotent) == ("untrusted", ("*",), False)
