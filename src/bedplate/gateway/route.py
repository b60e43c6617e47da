"""Which upstream answers a call: the one of the release, again, another of it, or none. Pure: nothing waits here.

```
step = attempts.first(now)
while True:
    match step:
        case Try(target, supplier): step = attempts.after(await sent(...), now)   # `first_byte` in between
        case Wait(micros): await sleep(micros); step = attempts.resume(now)
        case Line(micros): attempts.line_up(wake); await woken, or micros; step = attempts.resume(now)
        case Done() | GiveUp(): break
attempts.close(now)  # in a `finally`: whatever ends the task gives back what is held
```
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .supplier import Dialect, Supplier
    from .supply import Supply
    from .throttle import Place
    from .traffic import Traffic

RETRIED = frozenset({408, 429, 500, 502, 503, 504, 529})  # 529: Anthropic is overloaded
PASSED_ON = frozenset({400, 404, 413, 422})  # the client's own fault: it gets the upstream's words
CREDENTIALS = frozenset({401, 403})
BAD_REQUEST, TOO_MANY, SERVER_ERROR = 400, 429, 500
MAX_DIGITS = 12
MAX_RETRY_AFTER = 86_400_000_000  # µs; more than a day is not believed

Kind = Literal["ok", "status", "unreachable", "timeout", "garbage", "cut", "gone"]


@dataclass(frozen=True, slots=True)
class Target:
    """One of a release's: the upstream's address and the model. The release approved the pair."""

    upstream: str
    model: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. Only `unreachable` says for certain that the upstream did not begin to work.

    `status`: an answer other than 200, with its status. `timeout`: any of the time-outs after connecting. `garbage`:
    not the protocol. `cut`: it ended in the middle. `gone`: our client left, which says nothing about the upstream.
    """

    kind: Kind
    status: int = 0
    retry_after: int = -1  # µs, as the upstream asked; -1: it did not say
    tokens: int = -1  # what was used, where it is known
    error: str = ""  # for operators: of the upstream, never of its answer's content

    @property
    def fault(self) -> str:
        """Say what the upstream did wrong; "" where nothing was."""
        if self.kind in {"ok", "gone"}:
            return ""
        if self.kind != "status":
            return self.error or self.kind
        return self.error or f"status {self.status}"


@dataclass(frozen=True, slots=True)
class Try:
    """Ask this upstream for this model now. `number` counts from 1."""

    target: Target
    supplier: Supplier
    number: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for so many microseconds, then `resume`."""

    micros: int


@dataclass(frozen=True, slots=True)
class Line:
    """All places are taken: `line_up`, then `resume` when woken or after so many microseconds."""

    micros: int


@dataclass(frozen=True, slots=True)
class Done:
    """The answer is there, or whoever asked is not."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """What the client is told. `passed_on`: it gets status and body of the upstream as they came."""

    status: int
    code: str
    message: str
    hint: str = ""
    retry_after: int = 0  # µs; 0: no header
    passed_on: bool = False

    @property
    def retry_after_s(self) -> int:
        """The value of a `Retry-After` header, whole seconds rounded up; 0: none."""
        return -(-self.retry_after // 1_000_000)


Step = Try | Wait | Line | Done | GiveUp


class Routes:
    """Plans over the upstreams of an installation. `chance(n)` returns a number from 0 to n, for the jitter."""

    def __init__(self, supply: Supply, chance: Callable[[int], int] | None = None) -> None:
        self._supply = supply
        self._chance = chance or (lambda most: random.randint(0, most))  # noqa: S311  spreads retries, guards nothing

    def plan(self, targets: Sequence[Target], dialect: Dialect, tokens: int = 0) -> Attempts:
        """Plan a call of about so many tokens, over what the release approved: first the model, then its fallbacks."""
        ways, known = [], False
        for target in targets:
            at = self._supply.traffic(target.upstream)
            known = known or at is not None
            if at is not None and dialect in at.supplier.protocols:
                ways.append(Way(target, at))
        return Attempts(ways, tokens, self._chance, _UNSPOKEN if known else _UNKNOWN)


class Way:
    """A target that may still be asked."""

    __slots__ = ("retries", "target", "traffic")

    def __init__(self, target: Target, traffic: Traffic) -> None:
        self.target = target
        self.traffic = traffic
        self.retries = 0


class Attempts:
    """One call's way to an answer. `now` is always in monotonic microseconds. `number` counts the attempts begun."""

    __slots__ = (
        "_begun",
        "_chance",
        "_deadline",
        "_last",
        "_line",
        "_patience",
        "_place",
        "_started",
        "_ticket",
        "_tokens",
        "_under_way",
        "_ways",
        "number",
    )

    def __init__(self, ways: list[Way], tokens: int, chance: Callable[[int], int], otherwise: GiveUp) -> None:
        self._ways = ways  # those that may still be asked, in the order of the release
        self._tokens = tokens
        self._chance = chance
        self._last: GiveUp | None = None if ways else otherwise  # what the client is told if nothing else works
        self._under_way: Way | None = None
        self._line: Way | None = None
        self._place: Place | None = None
        self._ticket = self._started = self._deadline = self._patience = 0
        self._begun = False  # a byte of the answer came: from here on there is no way back
        self.number = 0

    def first(self, now: int) -> Step:
        """Begin."""
        if self._ways:
            primary = self._ways[0].traffic.supplier
            self._deadline = now + primary.timeouts.total_ms * 1000
            self._patience = primary.retry.most_ms * 1000
        return self._next(now)

    def first_byte(self, now: int) -> None:
        """Note that the answer (status 200) has begun."""
        if self._under_way is not None and not self._begun:
            self._begun = True
            self._under_way.traffic.first_byte(now - self._started)

    def after(self, outcome: Outcome, now: int) -> Step:
        """Say how the attempt under way ended."""
        way = self._under_way
        if way is None:
            raise RuntimeError("no attempt is under way")
        self._under_way = None
        self._counted(way.traffic, outcome, now)
        if outcome.kind in {"ok", "gone"}:
            return _DONE
        self._last = told(outcome)
        if self._begun or self._last.passed_on:
            return self._last
        wait = self._retry(way, outcome, now)
        if wait > 0:
            return Wait(wait)
        return self._next(now)

    def resume(self, now: int) -> Step:
        """Go on after a `Wait` or a `Line`."""
        way, place = self._line, self._place
        self._line = self._place = None
        if way is not None and place is not None:
            if place.given and self._enter(way, now, place):
                return self._try(way, now)
            way.traffic.throttle.step_out(place)
            if not place.given:  # waited in vain
                self._ways.remove(way)
                self._last = self._last or _busy(0)
        return self._next(now)

    def line_up(self, wake: Callable[[], None]) -> None:
        """Stand in line, after a `Line`. `wake` is called once, when a place is free: then `resume`."""
        if self._line is not None and self._place is None:
            self._place = self._line.traffic.throttle.line_up(wake)

    def close(self, now: int) -> None:
        """Give back whatever is held; may be called at any time, and more than once."""
        if self._line is not None and self._place is not None:
            self._line.traffic.throttle.step_out(self._place)
        self._line = self._place = None
        way, self._under_way = self._under_way, None
        if way is not None:
            self._counted(way.traffic, Outcome("gone"), now)
        self._ways.clear()

    def _next(self, now: int) -> Step:
        for way in self._ways:
            if self._enter(way, now):
                return self._try(way, now)
        return self._later(now)

    def _later(self, now: int) -> Step:
        """Nobody can be asked now: wait where that is worth it, in the order of the release; otherwise give up."""
        soonest_room = soonest_probe = 0
        for way in self._ways:
            throttle, breaker = way.traffic.throttle, way.traffic.breaker
            closed = breaker.closed
            wait = max(throttle.wait(self._tokens, now), breaker.refuses(now))
            if throttle.full and not wait:
                if not throttle.line_full and self._deadline > now:
                    self._line = way
                    return Line(min(way.traffic.supplier.timeouts.first_byte_ms * 1000, self._deadline - now))
                wait = _SOON
            elif closed and 0 < wait <= min(self._patience, self._deadline - now):
                self._patience -= wait
                return Wait(wait + self._chance(min(wait, way.traffic.supplier.retry.base_ms * 1000)))
            if closed:
                soonest_room = min(wait, soonest_room or wait)
            else:
                soonest_probe = min(wait, soonest_probe or wait)
        if self._last is not None:
            return self._last
        return _busy(soonest_room) if soonest_room else _open(soonest_probe)

    def _enter(self, way: Way, now: int, place: Place | None = None) -> bool:
        self._ticket = way.traffic.enter(self._tokens, now, place)
        return self._ticket > 0

    def _try(self, way: Way, now: int) -> Try:
        self._ways.remove(way)
        self._under_way, self._started = way, now
        self.number += 1
        return Try(way.target, way.traffic.supplier, self.number)

    def _counted(self, at: Traffic, outcome: Outcome, now: int) -> None:
        """Tell the upstream's breaker and throttle how it went."""
        fault = outcome.fault
        if outcome.kind == "gone":
            at.breaker.left(self._ticket)
        elif outcome.kind == "ok" or outcome.status in PASSED_ON:
            at.breaker.succeeded(self._ticket, now)
        elif outcome.kind == "status" and BAD_REQUEST <= outcome.status < SERVER_ERROR:  # our key, pace or request
            at.breaker.left(self._ticket, fault)
            if outcome.status == TOO_MANY and outcome.retry_after > 0:
                at.breaker.cool(now + outcome.retry_after, now)
        else:
            at.breaker.failed(self._ticket, now, fault)
        at.failures += bool(fault) and outcome.status not in PASSED_ON
        unused = -self._tokens if outcome.kind == "unreachable" else 0
        at.leave(outcome.tokens - self._tokens if outcome.tokens >= 0 else unused)

    def _retry(self, way: Way, outcome: Outcome, now: int) -> int:
        """Put the target back if it may be asked again; return for how long to wait before, 0: that is seen to."""
        policy = way.traffic.supplier.retry
        again = outcome.kind == "unreachable" or outcome.status in RETRIED
        if not again or way.retries >= policy.attempts or outcome.retry_after > policy.most_ms * 1000:
            return 0
        jitter = self._chance(min(policy.most_ms, policy.base_ms << way.retries) * 1000)
        wait = jitter if outcome.retry_after < 0 else outcome.retry_after + jitter
        if now + wait >= self._deadline:
            return 0
        way.retries += 1
        self._ways.insert(0, way)
        # While it cools down, another of the release may answer sooner.
        return 0 if outcome.status == TOO_MANY and outcome.retry_after > 0 else wait


_DONE = Done()
_SOON = 1_000_000  # µs; what a client is told to wait where only our own places are taken
_UNSPOKEN = GiveUp(
    400,
    "invalid-input",
    "no upstream of this release speaks this protocol",
    "use another endpoint, or release with an upstream that does",
)
_UNKNOWN = GiveUp(
    503, "unavailable", "the upstream it was approved with is not configured here", "configure it, or release again"
)


def told(outcome: Outcome) -> GiveUp:
    """Say to the client how an attempt went wrong, without a word about where the upstream is or with which key."""
    wait = max(0, outcome.retry_after)
    match outcome.kind:
        case "status" if outcome.status in PASSED_ON:
            return GiveUp(outcome.status, _FAILED, f"the upstream answered {outcome.status}", passed_on=True)
        case "status" if outcome.status in CREDENTIALS:
            return GiveUp(502, _FAILED, "the upstream refused our credentials", "tell whoever runs this gateway")
        case "status" if outcome.status == TOO_MANY:
            return GiveUp(429, _FAILED, "the upstream's rate limit is reached", "try again later", wait)
        case "status":
            status = {408: 504, 503: 503, 504: 504, 529: 503}.get(outcome.status, 502)
            return GiveUp(status, _FAILED, f"the upstream answered {outcome.status}", "try again later", wait)
        case "timeout":
            return GiveUp(504, _FAILED, "the upstream was silent for too long", "try again")
        case "unreachable":
            return GiveUp(502, _FAILED, "the upstream cannot be reached", "try again")
        case "cut":
            return GiveUp(502, _FAILED, "the upstream stopped in the middle of its answer", "what came is on record")
        case _:
            return GiveUp(502, _FAILED, "the upstream did not answer as its protocol says", "try again")


_FAILED = "upstream-failed"


def _busy(wait: int) -> GiveUp:
    return GiveUp(429, "upstream-busy", "too much is asked of the upstream at once", "try again later", wait or _SOON)


def _open(wait: int) -> GiveUp:
    why = "the upstream failed too often, and is left alone for a while"
    return GiveUp(503, "upstream-open", why, "try again later", max(1, wait))


def retry_after(headers: Mapping[bytes, bytes], wall: int) -> int:
    """Read how long an upstream wants to be left alone, in microseconds; -1 where it does not say so readably.

    `headers` by lower-case name; `wall` in microseconds since the epoch. Reads `retry-after-ms` (OpenAI) and
    `retry-after` in seconds or as a date (RFC 9110, 10.2.3).
    """
    for name, unit in ((b"retry-after-ms", 1000), (b"retry-after", 1_000_000)):
        value = headers.get(name, b"").strip()
        if value.isdigit() and len(value) <= MAX_DIGITS:
            return min(int(value) * unit, MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(headers.get(b"retry-after", b"").decode("ascii"))
    except ValueError:
        return -1
    at = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return min(max(0, int(at.timestamp() * 1_000_000) - wall), MAX_RETRY_AFTER)
