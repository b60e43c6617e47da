"""A circuit breaker: an upstream that keeps failing is left alone for a while, then asked again, a call at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half-open"]
SLOTS = 10  # pieces of the sliding window; what is older than the window goes a tenth of it at a time
MAX_GROWTH = 16  # an upstream that stays away is asked again after at most this many times `open_us`
MAX_COOLING = 60_000_000  # µs; a `Retry-After` of a day must not take an upstream away for a day
MAX_SAID = 200  # characters kept of an error


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When to open: so many failures within the window, and at least this share of all that ended in it."""

    failures: int = 5
    percent: int = 50
    window_us: int = 30_000_000
    open_us: int = 10_000_000  # until the first probe; doubled each time that a probe fails
    half_open: int = 1  # probes at a time


@dataclass(frozen=True, slots=True)
class BreakerView:
    """What a breaker shows. Times are microseconds of the clock that its calls are given; 0: never, or not waiting."""

    state: State
    since: int
    failures: int  # within the window
    last_error: str
    next_probe: int
    cooling_until: int  # the upstream said when it wants to be asked again (429 with `Retry-After`)


class Breaker:
    """Of one upstream. Holds no clock: every call is given the time, in monotonic microseconds.

    `enter` hands out a ticket that goes back with exactly one of `succeeded`, `failed` and `left`. O(1) a call.
    Pattern: M. Nygard, Release It! (2nd ed., 2018), "Circuit Breaker".
    """

    __slots__ = (
        "_cooling",
        "_failed",
        "_last_error",
        "_last_probe",
        "_ok",
        "_policy",
        "_probes",
        "_reopened",
        "_round",
        "_since",
        "_slot",
        "_state",
        "_sum_failed",
        "_sum_ok",
        "_until",
        "_width",
    )

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._width = max(1, policy.window_us // SLOTS)
        self._ok, self._failed = [0] * SLOTS, [0] * SLOTS
        self._sum_ok = self._sum_failed = 0
        self._slot = -1  # the newest piece of the window, counted from the clock's beginning
        self._state: State = "closed"
        self._since = self._until = self._cooling = 0
        self._round = 1  # one more with each change of state; a ticket is the round it was handed out in
        self._probes = self._last_probe = self._reopened = 0
        self._last_error = ""

    @property
    def closed(self) -> bool:
        """Tell whether it lets everybody in, but for a while after the upstream asked for rest."""
        return self._state == "closed"

    def refuses(self, now: int) -> int:
        """Return 0 if a call may enter, otherwise the microseconds until it is worth asking again."""
        if self._state == "closed":
            return self._cooling - now if self._cooling > now else 0
        wait = max(self._until, self._cooling) - now
        if wait > 0:
            return wait
        if self._state == "half-open" and self._probes >= self._policy.half_open:
            return max(0, self._last_probe + self._policy.open_us - now)  # a probe that never came back counts no more
        return 0

    def enter(self, now: int) -> int:
        """Take a ticket, or 0 where `refuses` says how long to wait."""
        if self._state == "closed" and self._cooling <= now:
            return self._round
        if self.refuses(now):
            return 0
        if self._state == "open":
            self._become("half-open", now)
        if self._probes >= self._policy.half_open:
            self._probes = 0
        self._probes += 1
        self._last_probe = now
        return self._round

    def succeeded(self, ticket: int, now: int) -> None:
        """Count an answer, of whatever the upstream answers when it is well: its refusal of a bad request too."""
        if self._state == "closed":
            slot = now // self._width
            if slot != self._slot:
                self._slide(slot)
            self._ok[slot % SLOTS] += 1
            self._sum_ok += 1
        elif self._state == "half-open" and ticket == self._round:
            self._become("closed", now)
            self._reopened = 0

    def failed(self, ticket: int, now: int, error: str) -> None:
        """Count a failure: not reachable, too slow, 5xx, garbage, or broken off."""
        self._last_error = error[:MAX_SAID]
        if self._state == "closed":
            self._slide(slot := now // self._width)
            self._failed[slot % SLOTS] += 1
            self._sum_failed += 1
            if self._sum_failed >= self._policy.failures and self._share() >= self._policy.percent:
                self._open(now)
        elif self._state == "half-open" and ticket == self._round:
            self._reopened += 1
            self._open(now)

    def left(self, ticket: int, error: str = "") -> None:
        """Give a ticket back that says nothing about its health: the client left, or our key or pace was refused."""
        if error:
            self._last_error = error[:MAX_SAID]
        if self._state == "half-open" and ticket == self._round:
            self._probes = max(0, self._probes - 1)

    def cool(self, until: int, now: int) -> None:
        """Let nobody in until then: a rate limit is no failure, but asking on makes it worse."""
        self._cooling = max(self._cooling, min(until, now + MAX_COOLING))

    def view(self, now: int) -> BreakerView:
        """Show it as it is now."""
        self._slide(now // self._width)
        waiting = self._state == "open" and now < self._until
        state: State = "half-open" if self._state == "open" and not waiting else self._state
        return BreakerView(
            state=state,
            since=self._until if state != self._state else self._since,
            failures=self._sum_failed,
            last_error=self._last_error,
            next_probe=self._until if waiting else 0,
            cooling_until=self._cooling if self._cooling > now else 0,
        )

    def _share(self) -> int:
        return self._sum_failed * 100 // (self._sum_failed + self._sum_ok)

    def _open(self, now: int) -> None:
        self._become("open", now)
        self._until = now + self._policy.open_us * min(MAX_GROWTH, 1 << min(self._reopened, 10))

    def _become(self, state: State, now: int) -> None:
        self._state, self._since, self._until = state, now, 0
        self._round += 1
        self._probes = self._last_probe = 0
        if state == "closed":  # what failed before says nothing about now
            self._ok, self._failed = [0] * SLOTS, [0] * SLOTS
            self._sum_ok = self._sum_failed = 0

    def _slide(self, slot: int) -> None:
        """Forget what has left the window, at most its ten pieces."""
        for old in range(max(self._slot + 1, slot - SLOTS + 1), slot + 1):
            place = old % SLOTS
            self._sum_ok -= self._ok[place]
            self._sum_failed -= self._failed[place]
            self._ok[place] = self._failed[place] = 0
        self._slot = max(self._slot, slot)
