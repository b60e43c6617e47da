"""A run: one task of one agent, as far as it has come. And its steps, one for each thing it did or wanted to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from bedplate.kernel.clock import DAY, SECOND

from .toolcall import READ

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .toolcall import Ruled, State, Tainted, Told

RunState = Literal["running", "done", "failed", "stopped"]
StepKind = Literal["tool", "llm", "approval", "note"]
RECENT = 32  # of the last tool calls that a run remembers: enough to see a loop
NANO_PER_CENT = 10_000_000
MOST = 1 << 52  # micro-units of one action: a sum of a thousand of them still is a 64-bit integer
Call = tuple[str, str, str]  # tool, digest of tool and arguments, verdict


class Limits(Protocol):
    """What an agent may do at most; 0: as much as it likes. Amounts in micro-units."""

    @property
    def steps_per_run(self) -> int:
        """Steps of a run, whatever they are."""

    @property
    def actions_per_run(self) -> int:
        """Calls of a run that change something."""

    @property
    def actions_per_day(self) -> int:
        """Calls of a UTC day that change something, over all runs of the agent."""

    @property
    def amount_per_action(self) -> int:
        """Micro-units that one call may move."""

    @property
    def amount_per_run(self) -> int:
        """Micro-units that a run may move."""

    @property
    def amount_per_day(self) -> int:
        """Micro-units that the agent may move in a UTC day."""

    @property
    def cents_per_run(self) -> int:
        """What a run may cost in model calls."""

    @property
    def cents_per_day(self) -> int:
        """What the agent may cost in model calls in a UTC day."""

    @property
    def seconds_per_run(self) -> int:
        """How long a run may take, from its beginning."""


@dataclass(frozen=True, slots=True)
class Day:
    """What an agent did in one UTC day, over all its runs and all processes of this host."""

    subject: str
    agent: str  # agents are named within their use case
    day: int  # since the epoch
    runs: int = 0
    steps: int = 0
    actions: int = 0
    denied: int = 0
    amount: int = 0
    cost_nano: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A run, with its counters. `today` is of its agent and the day that the store's clock shows."""

    id: str
    subject: str
    agent: str
    key: str = ""
    parent: str = ""
    chain: tuple[str, ...] = ()  # the agents that called each other, from the first to this one
    principal: str = ""
    task_sha256: str = ""
    release: str = ""
    epoch: int = 0
    started: int = 0
    ended: int = 0
    state: RunState = "running"
    steps: int = 0
    actions: int = 0  # let through, and of a class that changes something
    denied: int = 0  # also the same again, which is not a step of its own
    asked: int = 0
    amount: int = 0  # micro-units
    cost_nano: int = 0
    recent: tuple[Call, ...] = ()  # newest last, at most RECENT
    tools: frozenset[str] = frozenset()  # let through at least once in this run
    today: Day = Day("", "", 0)

    def same(self, digest: str) -> int:
        """Count how often the newest calls, one after the other, were this very one."""
        count = 0
        for _, other, _ in reversed(self.recent):
            if other != digest:
                break
            count += 1
        return count

    def swings(self) -> int:
        """Count how often the newest calls went A-B: A-B-A-B is two; fewer than two different ones is none."""
        if len(self.recent) < 2 or (last := self.recent[-1][1]) == (before := self.recent[-2][1]):  # noqa: PLR2004 - a pair
            return 0
        length = 0
        for place, (_, digest, _) in enumerate(reversed(self.recent)):
            if digest != (before if place % 2 else last):
                break
            length += 1
        return length // 2

    def denied_in_a_row(self) -> int:
        """Count the newest calls that were refused, one after the other."""
        count = 0
        for _, _, verdict in reversed(self.recent):
            if verdict != "deny":
                break
            count += 1
        return count


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a run. `times` is how often it was asked, where the same was refused again and again."""

    kind: StepKind
    tool: str = ""
    digest: str = ""
    verdict: Ruled = "allow"
    state: State = "ok"
    at: int = 0  # 0: now
    action: str = ""
    call: str = ""  # the record of a model's call
    key: str = ""  # the step's own name, as its runner gave it
    class_: str = READ
    amount: int = 0
    reasons: tuple[Told, ...] = ()
    tainted: tuple[Tainted, ...] = ()
    cost_nano: int = 0
    latency_us: int = 0
    number: int = 0
    times: int = 1


@dataclass(frozen=True, slots=True)
class Claim:
    """What a step needs of its agent's limits: held from the same moment on that they are checked."""

    limits: Limits
    amount: int = 0
    class_: str = READ  # of the tool: a read takes a step, but no action and no amount
    held: bool = True  # False: only checked, for an action that waits for people and takes its share once they agreed
    waited: bool = False  # its step was counted when it came to wait, and people may take longer than a run may


@dataclass(frozen=True, slots=True)
class Atoms:
    """Keyed hashes of what a run has read in one step; the words themselves are kept nowhere."""

    step: int
    source: str
    trusted: bool
    atoms: bytes = field(repr=False)


def over(run: Run, claim: Claim, now: int) -> Told | None:
    """Say which limit a further step would pass, or None. Nothing is changed."""
    return next((told for told in _passed(run, claim, now) if told is not None), None)


def _passed(run: Run, claim: Claim, now: int) -> Iterable[Told | None]:
    limits, day, amount = claim.limits, run.today, claim.amount
    if run.state != "running":
        yield ("run-open", f"run {run.id} has ended: {run.state}", "begin a new run")
    if not 0 <= amount <= MOST:  # a negative amount would make room for others
        yield ("limits.amount", f"an amount of {amount} micro-units is none", "name an amount that is not negative")
    if not claim.waited:
        yield _most("seconds_per_run", limits.seconds_per_run, (now - run.started) // SECOND, 0, "seconds of the run")
        yield _most("steps_per_run", limits.steps_per_run, run.steps, 1, "steps of the run")
    yield _most("cents_per_run", limits.cents_per_run, run.cost_nano // NANO_PER_CENT, 0, "cents of the run")
    yield _most("cents_per_day", limits.cents_per_day, day.cost_nano // NANO_PER_CENT, 0, "cents of the day")
    if claim.class_ == READ:
        return
    yield _most("actions_per_run", limits.actions_per_run, run.actions, 1, "actions of the run")
    yield _most("actions_per_day", limits.actions_per_day, day.actions, 1, "actions of the day")
    yield _most("amount_per_action", limits.amount_per_action, 0, amount, "micro-units of one action")
    yield _most("amount_per_run", limits.amount_per_run, run.amount, amount, "micro-units of the run")
    yield _most("amount_per_day", limits.amount_per_day, day.amount, amount, "micro-units of the day")


def _most(name: str, most: int, used: int, more: int, what: str) -> Told | None:
    # What is only measured (time, cost) is over once it is reached; what is taken is over where it would be passed.
    if not most or (used + more <= most if more else used < most):
        return None
    if not more and name.startswith(("amount", "actions", "steps")):
        return None  # nothing of it is taken
    why = f"{used} of {most} {what} are used" + (f", and {more} more are asked for" if more else "")
    when = "wait for the next day (UTC), or" if name.endswith("_day") else "begin a new run, or"
    if name == "amount_per_action":
        when = "split what may be split, or"
    return (f"limits.{name}", why, f"{when} have {name} raised in agents.yaml, which is a new release")


def day_of(now: int) -> int:
    """Return the UTC day of a moment, as days since the epoch."""
    return now // DAY
