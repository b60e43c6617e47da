"""A breaker that opened: of whom, why, and what closes it. And the rules, by tier, of when one opens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import SECOND, rfc3339

from .toolcall import READ

if TYPE_CHECKING:
    from pathlib import Path

    from .toolcall import Told

Measure = Literal[
    "transport", "latency", "cost", "velocity", "steps", "repeats", "swings", "denials", "refusals", "news", "agents"
]
Closing = Literal["probe", "supervised", "person"]
Position = Literal["closed", "open", "half-open"]
MAX_GROWTH = 16  # what opens again and again waits at most this many times as long
STRICTEST = 4
CONTROL = "breaker-closed"


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of the rules; a word that is not known is an error."""


class Share(Part, frozen=True):
    """So many percent of at least `of`, within seconds."""

    percent: int
    of: int
    within_s: int
    in_a_row: int = 0


class Slow(Part, frozen=True):
    """How much slower than before."""

    times: int
    of: int
    within_s: int
    base_of: int
    at_least_ms: int


class Cost(Part, frozen=True):
    """What model calls may cost, and how much faster than usual."""

    cents_per_run: int
    cents_per_day: int
    times: int
    within_s: int
    at_least_cents: int


class News(Part, frozen=True):
    """How much an agent may do that it never did before."""

    tools: int
    destinations: int
    within_s: int
    after: int


class Rules(Part, frozen=True):
    """Of one tier; `breakers.yaml` says what each means."""

    transport: Share
    latency: Slow
    cost: Cost
    steps: int
    repeats: int
    swings: int
    denials: Share
    refusals: Share
    news: News
    agents: int
    closing: dict[str, Closing]
    wait_s: dict[str, int]
    supervised: dict[str, int]


class Trip(msgspec.Struct, frozen=True):
    """A breaker as it stands. Times in microseconds since the epoch."""

    subject: str
    scope: str  # "agent/X", "tool/T", "agent/X|tool/T", "model/M", "usecase/U"
    measure: str
    tier: int
    why: str
    state: Position = "open"
    closing: Closing = "person"
    at: int = 0  # when it first opened
    changed: int = 0
    until: int = 0  # when it is tried again; 0: once a person closes it
    left: int = 0  # good calls that still have to follow, while it is half open
    times: int = 1  # opened, without having closed in between
    by: str = ""
    reason: str = ""

    def position(self, now: int) -> Position:
        """Tell how it stands at a moment: its time passes by itself."""
        return "half-open" if self.state == "open" and 0 < self.until <= now else self.state

    @property
    def fix(self) -> str:
        """Say what closes it."""
        if self.state == "half-open":
            what = "calls" if self.closing == "probe" else "actions that people agree to"
            return f"{self.left} good {what} close it"
        if self.until:
            return f"it is tried again from {rfc3339(self.until)} on"
        return "find out why, then somebody named closes it: bedplate breakers"


@dataclass(frozen=True, slots=True)
class Standing:
    """The worst of the breakers that a call concerns."""

    state: Position = "closed"
    trip: Trip | None = None

    @property
    def open(self) -> bool:
        """Whether nothing goes through."""
        return self.state == "open"

    @property
    def supervised(self) -> bool:
        """Whether it is half open: one rung down, and people agree to each action."""
        return self.state == "half-open"

    @property
    def why(self) -> str:
        """Say which breaker it is and why it opened; "" where none is."""
        return f"{self.trip.scope}: {self.trip.why}" if self.trip is not None else ""

    @property
    def told(self) -> Told | None:
        """Say it as a reason with its fix."""
        return (CONTROL, self.why, self.trip.fix) if self.trip is not None else None


CLOSED = Standing()


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that breakers count. Which fields count depends on `kind`.

    call: a tool call was decided (`verdict`; `destination` is a digest, never whom it names); its step is on record.
    outcome: a call that was let through came to an end. model: a model's call did. answer: people granted or refused.
    """

    kind: Literal["call", "outcome", "model", "answer"]
    subject: str
    agent: str
    tier: int
    at: int
    run: str = ""
    tool: str = ""
    model: str = ""
    class_: str = READ
    verdict: str = "allow"
    own: bool = True  # False: refused for what is not the agent's doing, such as a breaker or a stop
    destination: str = ""
    transport: bool = False  # it was not reached, or did not answer
    failed: bool = False  # it answered that it failed
    latency_us: int = 0
    nano: int = 0
    granted: bool = True
    agreed: bool = False  # people agreed to this very action


def scopes(subject: str, agent: str = "", tool: str = "", model: str = "") -> tuple[str, ...]:
    """Name the breakers that a call concerns."""
    name = subject.partition("/")[2] or subject
    found = [f"usecase/{name}"]
    found += [f"agent/{agent}"] if agent else []
    found += [f"tool/{tool}"] if tool else []
    found += [f"agent/{agent}|tool/{tool}"] if agent and tool else []
    found += [f"model/{model}"] if model else []
    return tuple(found)


def opened(rules: Rules, trip: Trip, before: Trip | None) -> Trip:
    """Open a breaker, or open it again: `trip` says which, why and when (`changed`), the rules say what closes it."""
    measure, now = trip.measure, trip.changed
    closing = rules.closing.get(measure, rules.closing["otherwise"])
    times = 1 if before is None or before.state == "closed" else before.times + 1
    wait = rules.wait_s.get(closing, 0) * SECOND * min(MAX_GROWTH, 1 << min(times - 1, 10))
    until = now + wait if closing != "person" else 0
    at, left = now if before is None or times == 1 else before.at, rules.supervised.get(closing, 1)
    return replace(trip, state="open", closing=closing, at=at, until=until, left=left, times=times)


@cache
def rules_by_tier(path: Path | None = None) -> dict[int, Rules]:
    """Read the rules, ours or those in a file; raises InvalidInput saying what is wrong where."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - 40 ms that most commands do not need
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - as above

    name = str(path) if path is not None else "breakers.yaml"
    file = path if path is not None else resources.files("bedplate.agents").joinpath("breakers.yaml")
    try:
        read = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        found = msgspec.convert(read, dict[int, Rules])
    except (YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{name}: {error}", hint="breakers.yaml of Bedplate says what each word means") from error
    for tier in range(1, STRICTEST + 1):
        if tier not in found:
            raise InvalidInput(f"{name}: tier {tier} has no rules", hint="there are tiers 1 to 4")
        for what, words in (("closing", ("otherwise",)), ("wait_s", ("probe", "supervised")),
                            ("supervised", ("probe", "supervised", "person"))):  # fmt: skip
            lacking = [word for word in words if word not in getattr(found[tier], what)]
            if lacking:
                raise InvalidInput(f"{name}: {tier}.{what} lacks {lacking[0]}", hint="say it, or take ours")
    return found
