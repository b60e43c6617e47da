"""An agent of Harbour Mutual that pays bills: released at any tier, with its key, and the door that decides for it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tests.conftest import GATE

from bedplate.agents.charter import Charter
from bedplate.agents.human import People
from bedplate.agents.record import filed
from bedplate.agents.toolcall import Outcome, Ruling, ToolCall
from bedplate.bootstrap import open_installation
from bedplate.config import Settings
from bedplate.document import parse
from bedplate.errors import NeedsApproval
from bedplate.gateway.actions import issue_key
from bedplate.releases.actions import build, go_live
from bedplate.store.seek import Sought
from bedplate.vendors.actions import rely

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import House

    from bedplate.agents.door import AgentDoor
    from bedplate.agents.run import Run, Step
    from bedplate.agents.token import Actor
    from bedplate.installation import Installation
    from bedplate.testing import SettableClock

PAYER, CLERK = "payer", "clerk"
SECRET, CLERKS = "bpk_payer-of-the-tests", "bpk_clerk-of-the-tests"
AGENTS = """\
kind: agents
servers:
  bank:
tools:
  - name: bank/balance
    class: read
    output: trusted
  - name: bank/inbox
    class: read
    output: untrusted
  - name: bank/note
    class: write
    idempotent: yes
    sensitive: []
  - name: bank/label
    class: write
    sensitive: []
    dry_run: rehearse
    idempotency: once
  - name: bank/pay
    class: irreversible
    amount: {argument: amount, unit: EUR}
    counterparty: payee
    sensitive: [payee]
  - name: bank/close
    class: irreversible
    sensitive: []
  - name: bank/archive
    class: write
    sensitive: []
lists:
  blocked: [Mallory Ltd]
agents:
  - id: payer
    title: Pays the bills
    tools: [bank/balance, bank/inbox, bank/note, bank/label, bank/pay, bank/close]
    autonomy: act
    may_call: [clerk]
    limits:
      steps_per_run: 200
      actions_per_run: 12
      amount_per_action: 5000 EUR
      amount_per_day: 9000 EUR
      asks_above: 1000 EUR
  - id: clerk
    title: Keeps the books
    tools: [bank/balance, bank/note]
    autonomy: act
policies:
  - id: large
    tools: [bank/pay]
    when: {amount_above: 1000 EUR}
    then: ask
    why: more than 1000 EUR
  - id: blocked
    tools: [bank/pay]
    when: {counterparty_in: blocked}
    then: deny
    why: the payee is blocked
    fix: pay somebody else
  - id: short
    tools: [bank/note]
    when: {arguments: {length: {above: 80, optional: yes}}}
    then: edit
    set: {length: 80}
    why: notes are short
  - id: closing
    tools: [bank/close]
    then: ask
    why: an account is closed for good
"""
TASK = "Pay Ada Ltd 50 EUR, Bob Ltd 20 EUR, and Ada Ltd 2000 EUR for the roof. Then tell me the balance."


@dataclass
class Acting:
    """The house with its agent, in one process."""

    house: House
    at: Installation
    subject: str
    run: str = "run-1"

    @property
    def door(self) -> AgentDoor:
        return self.at.agents

    @property
    def clock(self) -> SettableClock:
        return self.house.clock

    @property
    def people(self) -> People:
        found = self.door.parts.people
        assert isinstance(found, People)
        return found

    @cached_property
    def payer(self) -> Actor:
        self.at.follower.look()
        return self.door.identified(SECRET)

    @cached_property
    def clerk(self) -> Actor:
        self.at.follower.look()
        return self.door.identified(CLERKS)

    def begin(self, run: str = "run-1", task: str = TASK) -> Run:
        self.run = run
        return asyncio.run(self.door.begin(self.payer, run=run, task=task))

    def ask(self, tool: str, key: str = "", *, dry_run: bool = False, **arguments: Any) -> Ruling:
        self.at.follower.look()
        return asyncio.run(self.door.propose(self.payer, ToolCall(self.run, tool, arguments, key, dry_run)))

    def done(self, ruling: Ruling, result: Any = None, status: Any = "ok", **more: Any) -> None:
        asyncio.run(self.door.settle(self.payer, ruling.action, Outcome(status, result, **more)))

    def does(self, tool: str, result: Any = None, **arguments: Any) -> Ruling:
        """Ask, and say that it was done."""
        ruling = self.ask(tool, **arguments)
        assert ruling.verdict == "allow", ruling.reasons
        self.done(ruling, result)
        return ruling

    def state(self, action: str) -> Ruling:
        return asyncio.run(self.door.state(self.payer, action))

    def pay(self, amount: int = 2000, payee: str = "Ada Ltd", key: str = "", **more: Any) -> Ruling:
        return self.ask("bank/pay", key, amount=amount, payee=payee, **more)

    def agree(self, approval: str, *voters: str, yes: bool = True, reason: str = "agreed") -> str:
        """Have people vote; returns the state afterwards."""
        state = ""
        for voter in voters or self.voters(approval):
            state = self.house.vote(voter, approval, yes=yes, reason=reason).state
        return state

    def voters(self, approval: str) -> list[str]:
        found = self.house.approval(approval)
        return [
            p
            for index, stage, lacking in found.missing()
            for p in self.house._may_vote(found, index, stage.body)[:lacking]
        ]

    def steps(self) -> list[Step]:
        return self.at.runs.steps(self.run)

    def records(self, kind: str = "") -> list[dict[str, Any]]:
        """Return what is on record of actions, oldest first."""
        rows = [
            r
            for s in self.at.calls.shards().values()
            for r in s.seek(Sought(use_case=filed(self.subject)), limit=10_000)[0]
        ]
        found = [json.loads(row.entry) for row in sorted(rows, key=lambda row: (row.at, row.seq))]
        return [e for e in found if kind in {"", e["kind"]}]


def controls(ruling: Ruling) -> list[str]:
    return [control for control, _, _ in ruling.reasons]


def release(house: House, subject: str, yaml: str = AGENTS) -> str:
    """Release the use case with these agents; returns the digest."""
    charter = Charter.compile(parse(yaml, "agents.yaml"))
    number = sum(e.stream == subject for e in house.events("releases.release.built")) + 1
    prompt = b"You pay bills."
    made = replace(house.bundle(subject), agents=charter.digest, prompt=hashlib.sha256(prompt).hexdigest())
    digest = build(house.governor, "leo.fischer", made, number, [prompt, charter.content()])
    rely(house.governor, "leo.fischer", subject, digest, [], {})
    for control in (*GATE, "stop-drilled"):
        house.evidence(subject, digest, control)
    try:
        go_live(house.governor, "leo.fischer", subject, digest, number)
    except NeedsApproval as asked:
        house.grant(asked.approval)
    return digest


def issue(house: House, subject: str, secret: str, agent: str) -> str:
    """Issue a key for an agent; returns its id."""
    key = house.ledger.identities.next()
    digest = hashlib.sha256(secret.encode()).hexdigest()
    issue_key(house.governor, "leo.fischer", subject, key=key, digest=digest, label="tests", days=90, agent=agent)
    return key


@contextmanager
def acting(house: House, data: Path, tier: int = 2, yaml: str = AGENTS) -> Iterator[Acting]:
    """Release the agent at a tier, and open everything over it."""
    subject = prepared(house, tier, yaml)
    at = open_installation(Settings(data=data, database=house.database.url), house.clock)
    at.follower.look()
    try:
        yield Acting(house, at, subject)
    finally:
        asyncio.run(at.close())


def prepared(house: House, tier: int = 2, yaml: str = AGENTS) -> str:
    """Have the use case accepted and released, with a key for each agent."""
    subject = house.accepted(house.tier(tier))
    release(house, subject, yaml)
    issue(house, subject, SECRET, PAYER)
    issue(house, subject, CLERKS, CLERK)
    return subject


def folder_of(house: House, data: Path) -> Path:
    """Make a data folder for serving processes out of a house on SQLite."""
    data.mkdir(parents=True)
    house.engine.dispose()
    shutil.copyfile(house.database.path, data / "bedplate.db")
    return data
