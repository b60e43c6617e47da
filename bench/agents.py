"""What a charter takes to weigh one tool call, with 1,000 rules loaded: p50 and p99, while nothing else runs.

Three charters: one with its rules spread over 50 tools, one with all of them for the tool that is called, and one in
which each of these looks at another value of one argument. The run has read 20 pages of untrusted text.

    python bench/agents.py [calls]
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING

from bedplate.agents.charter import Charter
from bedplate.agents.run import Run
from bedplate.agents.taint import Provenance
from bedplate.document import parse

if TYPE_CHECKING:
    from collections.abc import Callable

RULES, TOOLS = 1_000, 50
HEAD = """kind: agents
servers: {bank: {}}
lists: {payees: [GB29NWBK60161331926819, DE89370400440532013000]}
tools:
"""
TOOL = (
    "  - {name: bank/pay-%d, class: irreversible, amount: {argument: amount, unit: EUR}, counterparty: recipient,"
    " sensitive: [recipient, amount]}\n"
)
AGENT = """agents:
  - id: payer
    title: Pays invoices
    tools: [%s]
    autonomy: act
    limits: {steps_per_run: 30, amount_per_day: "5000 EUR", asks_above: "200 EUR"}
policies:
"""


def charter(rule: Callable[[int], str]) -> Charter:
    """Compile a charter with so many rules."""
    text = HEAD + "".join(TOOL % n for n in range(TOOLS))
    text += AGENT % ", ".join(f"bank/pay-{n}" for n in range(TOOLS))
    return Charter.compile(parse(text + "".join(f"  - {rule(n)}\n" for n in range(RULES)), "agents.yaml"))


def spread(number: int) -> str:
    """Return a rule for one of the tools, of each sort in turn."""
    whens = (
        f'amount_above: "{number + 1_000} EUR"',
        "tainted: sensitive",
        "counterparty_not_in: payees",
        "after: untrusted, ungrounded: sensitive",
        f'day_amount_above: "{number + 10_000} EUR"',
        "arguments: {note: {matches: '.*urgent.*', optional: yes}}",
        "count_above: {actions_in_run: 20}",
    )
    when = whens[number % len(whens)]
    return f"{{id: rule-{number}, tools: [bank/pay-{number % TOOLS}], when: {{{when}}}, then: ask}}"


def gathered(number: int) -> str:
    """Return a rule for the tool that is called."""
    return spread(number).replace(f"bank/pay-{number % TOOLS}]", "bank/pay-0]")


def valued(number: int) -> str:
    """Return a rule for the tool that is called, and one value of one argument."""
    when = f"arguments: {{recipient: {{equals: XX{number}}}}}"
    return f"{{id: rule-{number}, tools: [bank/pay-0], when: {{{when}}}, then: deny}}"


def measured(weighed: Charter, calls: int) -> tuple[float, float]:
    """Return p50 and p99 of a verdict in microseconds."""
    chance = random.Random(5)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(3_000)]
    seen = Provenance(b"bench")
    seen.trust("Pay 12.50 EUR to GB29 NWBK 6016 1331 9268 19", 0, "task")
    for step in range(1, 21):
        seen.distrust(" ".join(chance.choices(words, k=500)) + " DE89370400440532013000", step, "bank/mail")
    agent, tool = weighed.agents["payer"], weighed.tools["bank/pay-0"]
    run = Run("run", "usecase/bench", "payer", steps=5, actions=2, amount=50_000_000, tools=frozenset({"bank/pay-1"}))
    arguments = [
        {"recipient": who, "amount": chance.randrange(100, 30_000) / 100, "note": " ".join(chance.choices(words, k=8))}
        for who in ("GB29NWBK60161331926819", "DE89370400440532013000", "FR7630006000011234567890189")
        for _ in range(50)
    ]
    took = []
    gc.collect()
    gc.freeze()
    for number in range(calls + 1_000):
        one = arguments[number % len(arguments)]
        begun = time.perf_counter_ns()
        weighed.weigh(agent, tool, one, seen, run, 4, 1)
        took.append(time.perf_counter_ns() - begun)
    cuts = statistics.quantiles(took[1_000:], n=100)
    return cuts[49] / 1_000, cuts[98] / 1_000


def main() -> None:
    """Measure, and print."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print(f"{'1,000 rules':44} {'p50 us':>8} {'p99 us':>8}   ({calls} calls each)")
    for title, rule in (
        (f"over {TOOLS} tools", spread),
        ("all for the tool that is called", gathered),
        ("all for one argument of it, by value", valued),
    ):
        p50, p99 = measured(charter(rule), calls)
        print(f"{title:44} {p50:8.1f} {p99:8.1f}")


if __name__ == "__main__":
    main()
