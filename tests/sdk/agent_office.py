"""A use case of Harbour Mutual with agents, live on the real server: for tests of what speaks to `/agents/v1`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests import served

from bedplate.errors import Unauthenticated, Unavailable
from bedplate.sdk.agents import Agents

if TYPE_CHECKING:
    from tests.served import Harbour

TIER: dict[int, tuple[str, dict[str, Any]]] = {
    2: ("refunds", {"acts_alone": "yes"}),
    4: ("payments", {"acts_alone": "yes", "affects_rights": "yes"}),
}
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
    when: {arguments: {to: {one_of: [BAD]}}}
    then: deny
    why: BAD is no known payee
    fix: have it added to the list
"""


def open_office(at: Harbour, tier: int) -> str:
    """Have a use case of a tier accepted and released with its agent; returns the agent's key."""
    name, answers = TIER[tier]
    spec = served.use_case(name, **answers) + "\nagents: agents.yaml\n"
    voters = ("jonas",) if tier == 2 else ("jonas", "priya", "ruth", "tomas")
    served.accept(at, at.person("leo"), spec, *voters)
    served.go_live(at, {**served.files_of(spec), "agents.yaml": AGENTS}, *voters)
    return known(at, str(at.person("leo").issue_key(name, "tests", agent="payer")["key"]))


def known(at: Harbour, key: str) -> str:
    """Wait until the server serves the release to this key, and return the key."""
    for _ in range(100):
        with suppress(Unauthenticated, Unavailable):
            if Agents(at.url, key).propose(Agents(at.url, key).begin()["run"], "local/look", {}).verdict == "allow":
                return key
        time.sleep(0.05)
    raise AssertionError("the key never became known")
