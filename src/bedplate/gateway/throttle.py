"""How much may go to one upstream: calls at once, calls waiting for a place, calls and tokens a minute."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE = 60_000_000  # microseconds


@dataclass(frozen=True, slots=True)
class Rate:
    """What the upstream's contract allows a minute; 0: not limited here."""

    calls_per_minute: int = 0
    tokens_per_minute: int = 0


class Bucket:
    """A token bucket that holds one minute's worth. Counts in millionths of a sixtieth, so that nothing is rounded.

    What is larger than the bucket passes when it is full and leaves a debt, for otherwise it would never pass.
    """

    __slots__ = ("_at", "_full", "_level", "_per_minute")

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._full = self._level = per_minute * MINUTE
        self._at = 0

    def wait(self, amount: int, now: int) -> int:
        """Return the microseconds until this amount may be taken; 0: now."""
        if now > self._at:
            self._level = min(self._full, self._level + (now - self._at) * self._per_minute)
            self._at = now
        lacking = min(amount * MINUTE, self._full) - self._level
        return -(-lacking // self._per_minute) if lacking > 0 else 0

    def take(self, amount: int) -> None:
        """Take it, whether it is there or not; a negative amount gives back."""
        self._level = min(self._full, self._level - amount * MINUTE)


class Throttle:
    """The limits of one upstream, in this process. Holds no clock; `now` is in monotonic microseconds."""

    __slots__ = ("_calls", "_line", "_places", "_queue", "_tokens", "in_flight")

    def __init__(self, places: int, queue: int, rate: Rate) -> None:
        self._places = places
        self._queue = queue
        self._calls = Bucket(rate.calls_per_minute) if rate.calls_per_minute else None
        self._tokens = Bucket(rate.tokens_per_minute) if rate.tokens_per_minute else None
        self._line: deque[Place] = deque()
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        """Count those in line."""
        return len(self._line)

    @property
    def full(self) -> bool:
        """Tell whether all places are taken."""
        return self.in_flight >= self._places

    @property
    def line_full(self) -> bool:
        """Tell whether nobody more may stand in line."""
        return len(self._line) >= self._queue

    def wait(self, tokens: int, now: int) -> int:
        """Return the microseconds until the rate allows one more call of about so many tokens; 0: now."""
        wait = self._calls.wait(1, now) if self._calls is not None else 0
        return max(wait, self._tokens.wait(tokens, now)) if self._tokens is not None else wait

    def enter(self) -> None:
        """Take a place; `full` was asked before."""
        self.in_flight += 1

    def pay(self, tokens: int) -> None:
        """Take one call of about so many tokens from the rate; `wait` was asked before."""
        if self._calls is not None:
            self._calls.take(1)
        if self._tokens is not None:
            self._tokens.take(tokens)

    def settle(self, more: int) -> None:
        """Take what a call used beyond its estimate, or give back what it did not use."""
        if self._tokens is not None:
            self._tokens.take(more)

    def leave(self) -> None:
        """Give a place back: whoever waits longest gets it and is woken, otherwise it is free."""
        if self._line:
            place = self._line.popleft()
            place.given = True
            place.wake()  # the place changes hands without being free in between
        else:
            self.in_flight -= 1

    def line_up(self, wake: Callable[[], None]) -> Place:
        """Stand in line for a place; `line_full` was asked before. `wake` is called once, when the place is yours."""
        place = Place(wake)
        self._line.append(place)
        return place

    def step_out(self, place: Place) -> None:
        """Leave the line, or give back the place that was given in the meantime."""
        if place.given:
            self.leave()
        else:
            self._line.remove(place)


class Place:
    """A stand in the line; once `given`, `leave` gives it back as any other."""

    __slots__ = ("given", "wake")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.given = False
