"""A use case of Harbour Mutual with agents, live on the real server: for tests of what speaks to `/agents/v1`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests import served

if TYPE_CHECKING:
    from tests.served import Harbour

TIER = {2: ("refunds", {"acts-alone": "yes"}), 4: ("payments", {"acts-alone": "yes", "affects-rights": "yes"})}
AGENTS = """\
kind: agents
tools:
  - name: local/pay
    class: irreversible
    output: trusted
    amount: {argument: amount, unit: EUR}
    counterparty: to
    sensitive: [to]
    idempotent: yes
  - {name: local/look, class: read}
agents:
  - id: payer
    title: Pays invoices
    tools: [local/pay, local/look]
    autonomy: act
    limits: {asks_above: 100.00 EUR, amount_per_action: 1000.00 EUR}
policies:
  - id: known-payees
    tools: [local/pay]
    when: {arguments: {to: {equals: BAD}}}
    then: deny
    why: BAD is no known payee
    fix: have it added to the list
  - id: small
    tools: [local/pay]
    when: {arguments: {amount: {below: 101}}}
    then: allow
"""


def open_office(at: Harbour, tier: int) -> str:
    """Have a use case of a tier accepted and released with its agent; returns the agent's key."""
    name, answers = TIER[tier]
    spec = served.use_case(name, **{a.replace("-", "_"): yes for a, yes in answers.items()}) + "\nagents: agents.yaml\n"
    voters = ("hanna",) if tier == 2 else ("jonas", "ruth")
    served.accept(at, at.person("leo"), spec, *voters)
    served.go_live(at, {**served.files_of(spec), "agents.yaml": AGENTS}, *voters)
    return str(at.person("leo").issue_key(name, "tests", agent="payer")["key"])
