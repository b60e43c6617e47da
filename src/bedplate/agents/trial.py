"""Trials of people: a known-bad action among those that wait, to see whether whoever answers looks at it.

It is made of a real one, changed until a written policy of the live release forbids it, and parked like any other.
Which one it is nobody can tell but this installation: the ledger holds a commitment that is made before, and opened
after. Whatever people answer, nothing is carried out: its run belongs to nobody who could fetch it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from bedplate.kernel.clock import SECOND

from .record import Act
from .run import Run, Step
from .tables import planted
from .taint import Provenance
from .toolcall import ToolCall
from .views import parked_action

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bedplate.kernel.approval import Approval

    from .charter import Agent, Charter, Tool, Weighing
    from .door import AgentDoor
    from .toolcall import Told

RATE = 50  # one for so many actions that wait for people
TIER = 3  # from this tier on
LATEST = 20 * 60  # seconds after it was committed to, at most, it is put among the others
COPIED = 200  # steps of the run that it is made of
WRITTEN = ("policy/", "limits.")  # how the names of rules that somebody wrote begin
_MORE = (1.2, 1.6, 3.0)  # times the agent's limit


@dataclass(frozen=True, slots=True)
class Trial:
    """A known-bad action before it is asked: of what it is made, and which rules forbid it."""

    action: str
    subject: str
    of: str  # the approval of which it is made
    tool: str
    arguments: dict[str, Any]
    why: tuple[Told, ...]
    at: int  # when it is asked


class Trials:
    """Makes trials and knows them again. It keeps nothing: what is one follows from the secret and the commitment."""

    def __init__(self, door: AgentDoor, rate: int = RATE) -> None:
        self._door = door
        self._rate = rate
        self._secret = hashlib.sha256(b"bedplate trials\n" + door.parts.salt).digest()

    def due(self, approval: str) -> bool:
        """Tell whether an action that waits is followed by a trial: one in so many, which ones nobody can foresee."""
        if self._rate <= 0:
            return False
        drawn = hmac.new(self._secret, f"due {approval}".encode(), hashlib.sha256).digest()
        return int.from_bytes(drawn[:8]) % self._rate == 0

    def nonce(self, action: str) -> str:
        """Return what opens the commitment to an action."""
        return hmac.new(self._secret, f"nonce {action}".encode(), hashlib.sha256).hexdigest()

    def commitment(self, action: str) -> str:
        """Return what goes on the ledger before: SHA-256 over nonce and action."""
        return commitment(self.nonce(action), action)

    def known(self, action: str) -> bool:
        """Tell whether an action is a trial."""
        query = select(planted.c.commitment).where(planted.c.commitment == self.commitment(action))
        with self._door.parts.people.engine.connect() as connection:
            return connection.execute(query).first() is not None

    def made(self, row: Mapping[str, Any], now: int) -> Trial | None:
        """Make a trial of an action that waits; None where no written policy forbids anything like it."""
        parts, snapshot = self._door.parts, self._door.parts.sight.snapshot
        charter, standing = snapshot.charters.get(row["subject"]), snapshot.standings.get(row["subject"])
        agent = charter.agents.get(row["agent"]) if charter is not None else None
        tool = charter.tools.get(row["tool"]) if charter is not None else None
        run = parts.store.run(row["run"])
        if charter is None or standing is None or agent is None or tool is None or run is None:
            return None
        drawn = hmac.new(self._secret, f"when {row['approval']}".encode(), hashlib.sha256).digest()
        real = parts.people.arguments(row)
        seen = Provenance(parts.salt)
        for known in parts.store.provenance(run.id)[0]:
            seen.add(known.atoms, known.trusted, known.step, known.source)
        for arguments in _worse(charter, agent, tool, real):
            found = charter.weigh(agent, tool, arguments, seen, run, standing.tier, now)
            why = tuple(told for told in found.denies if told[0].startswith(WRITTEN))
            if why and len(why) == len(found.denies):  # forbidden for what it does, and not for how it is written
                at = now + (1 + int.from_bytes(drawn[:4]) % LATEST) * SECOND
                return Trial(parts.identify(), row["subject"], row["approval"], tool.name, arguments, why, at)
        return None

    async def ask(self, trial: Trial, of: Approval) -> str:
        """Put a trial among the actions that wait; returns its approval."""
        parts, snapshot = self._door.parts, self._door.parts.sight.snapshot
        row = parked_action(parts.people.engine, trial.of)
        charter, standing = snapshot.charters[trial.subject], snapshot.standings[trial.subject]
        agent, tool, now = charter.agents[row["agent"]], charter.tools[trial.tool], parts.clock()
        run = self._copied(row, of, now)
        weighed: Weighing = charter.weigh(agent, tool, trial.arguments, Provenance(parts.salt), run, standing.tier, now)
        why = of.facts.get("why", [])
        asked: list[Told] = [(str(n), str(w), "") for n, w in why] if isinstance(why, list) else []
        act = Act(
            id=trial.action,
            subject=trial.subject,
            agent=agent.id,
            key=of.requester,
            run=run.id,
            tool=tool.name,
            sort=tool.kind,
            digest=ToolCall(run.id, tool.name, trial.arguments).digest,
            started=now,
            tier=standing.tier,
            rung=standing.rung.name.lower(),
            release=standing.release,
            epoch=str(of.facts.get("epoch", "")),
            verdict="ask",
            status="parked",
            reasons=asked,
            amount=weighed.amount,
            unit=weighed.unit,
        )
        step = Step(
            "tool", tool.name, act.digest, "ask", "parked", now, act.id, class_=tool.kind, amount=act.amount,
            reasons=tuple(asked),
        )  # fmt: skip
        act.step = parts.store.step(run.id, step)
        return await parts.people.park(act, trial.arguments, "; ".join(why for _, why, _ in asked))

    def _copied(self, row: Mapping[str, Any], of: Approval, now: int) -> Run:
        """Begin a run that looks like the one of which the trial is made. No agent knows its name."""
        store = self._door.parts.store
        real = store.run(row["run"])
        if real is None:
            raise ValueError(f"run {row['run']} is gone")
        name = f"run-{self._door.parts.identify()}"
        begun = store.begin(replace(real, id=name, started=now, ended=0, state="running", steps=0, actions=0))
        for step in store.steps(real.id, limit=COPIED):
            if step.number >= int(str(of.facts.get("step", 0))) or step.verdict != "allow":
                continue
            store.step(begun.id, replace(step, action="", cost_nano=0, times=1))
        for known in store.provenance(real.id)[0]:
            store.add_atoms(begun.id, known.step, known.source, known.atoms, trusted=known.trusted)
        return begun


def commitment(nonce: str, action: str) -> str:
    """Return the commitment that a nonce opens; anybody can check it afterwards."""
    return hashlib.sha256(f"{nonce} {action}".encode()).hexdigest()


def _worse(charter: Charter, agent: Agent, tool: Tool, real: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Change what was really asked: more than the agent may move, or to somebody on a list."""
    lists: Mapping[str, list[Any]] = json.loads(charter.content())["lists"]
    if tool.counterparty:
        for known in lists.values():
            yield from (_set(real, tool.counterparty, name) for name in known[:5])
    most = agent.limits.amount_per_action or agent.limits.amount_per_run or agent.limits.amount_per_day
    if tool.amount and most:
        for times in _MORE:
            yield _set(real, tool.amount, round(most * times / 1_000_000 / 10) * 10 * tool.minor)


def _set(arguments: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """Return arguments with one value changed, wherever the path leads; unchanged if it leads nowhere."""
    found: dict[str, Any] = json.loads(json.dumps(arguments))
    *parents, last = path.split(".")
    places: list[Any] = [found]
    for part in parents:
        places = [inner for place in places for inner in _inside(place, part)]
    for place in places:
        for key in _keys(place, last):
            place[key] = value if not isinstance(place[key], str) or isinstance(value, str) else str(value)
    return found


def _inside(place: Any, part: str) -> list[Any]:  # noqa: ANN401  JSON
    return [place[key] for key in _keys(place, part)]


def _keys(place: Any, part: str) -> list[Any]:  # noqa: ANN401  JSON
    if isinstance(place, dict):
        return list(place) if part == "*" else [part] if part in place else []
    if isinstance(place, list):
        every = range(len(place))
        return [n for n in every if part in {"*", str(n)}]
    return []
