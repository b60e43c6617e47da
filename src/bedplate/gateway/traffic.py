"""What goes on between this process and one upstream: who may go now, how it has been, and how fast."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .breaker import Breaker
from .throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from .breaker import BreakerView
    from .supplier import Supplier
    from .throttle import Place

LATEST = 100  # first-byte times kept


@dataclass(frozen=True, slots=True)
class SupplierView:
    """One upstream as people may see it: no key, no header. Times are monotonic microseconds."""

    name: str
    url: str
    shape: str
    protocols: tuple[str, ...]
    description: str
    key: str  # where it stands: "env NAME", "file /path", "none"
    trouble: str  # with reading it
    breaker: BreakerView
    in_flight: int
    max_concurrent: int
    waiting: int
    calls: int  # since this process started
    failed: int
    first_byte_p50_ms: int  # of the latest hundred; -1: none yet
    first_byte_p95_ms: int


class Traffic:
    """The live part of an upstream, in this process: its breaker, its throttle, and the latest first-byte times."""

    __slots__ = ("_first_bytes", "breaker", "calls", "failures", "supplier", "throttle")

    def __init__(self, supplier: Supplier) -> None:
        self.supplier = supplier
        self.breaker = Breaker(supplier.breaker)
        self.throttle = Throttle(supplier.max_concurrent, supplier.queue, supplier.rate)
        self._first_bytes: deque[int] = deque(maxlen=LATEST)
        self.calls = self.failures = 0

    def enter(self, tokens: int, now: int, place: Place | None = None) -> int:
        """Begin a call of about so many tokens: a ticket of the breaker's, or 0. A `place` in line counts as room."""
        if (place is None and self.throttle.full) or self.throttle.wait(tokens, now):
            return 0
        ticket = self.breaker.enter(now)
        if ticket:
            if place is None:
                self.throttle.enter()
            self.throttle.pay(tokens)
            self.calls += 1
        return ticket

    def first_byte(self, micros: int) -> None:
        """Note how long the first byte took."""
        self._first_bytes.append(micros)

    def leave(self, more_tokens: int = 0) -> None:
        """End a call, which used so many tokens more, or less, than it paid for."""
        self.throttle.leave()
        if more_tokens:
            self.throttle.settle(more_tokens)

    def line_up(self, wake: Callable[[], None]) -> Place:
        """Stand in line for a place."""
        return self.throttle.line_up(wake)

    def view(self, now: int) -> SupplierView:
        """Show it as it is now."""
        at = self.supplier
        return SupplierView(
            name=at.name,
            url=at.url,
            shape=at.shape,
            protocols=tuple(sorted(at.protocols)),
            description=at.description,
            key=at.key.source,
            trouble=at.key.trouble,
            breaker=self.breaker.view(now),
            in_flight=self.throttle.in_flight,
            max_concurrent=at.max_concurrent,
            waiting=self.throttle.waiting,
            calls=self.calls,
            failed=self.failures,
            first_byte_p50_ms=self._percentile(50),
            first_byte_p95_ms=self._percentile(95),
        )

    def _percentile(self, percent: int) -> int:
        """Return the nearest rank of the latest first-byte times, in milliseconds; -1 without any."""
        ranked = sorted(self._first_bytes)
        return ranked[max(0, -(-len(ranked) * percent // 100) - 1)] // 1000 if ranked else -1
