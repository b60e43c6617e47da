"""What came of a stream, kept while it may turn out that people have to be asked whether it goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .guardrail import Guard
from .held import MAX_KEPT
from .relay import Relay
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from .dialect import Dialect


class Keeper:
    """Keeps the bytes of one stream; once it is held, guards them anew as what may go out when people agree.

    `guard` is the release's, without its asking.
    """

    def __init__(self, dialect: Dialect, guard: Guard) -> None:
        self._dialect = dialect
        self._came: list[bytes] = []
        self._left: list[bytes] = []
        self._size = 0
        self._full = False
        self._held = False
        self.relay = Relay(dialect, guard, whole=True)

    def take(self, chunk: bytes, out: bytes, *, held: bool) -> bool:
        """Take bytes, and those that left because of them; returns whether more are wanted."""
        self._size += len(chunk)
        if out:
            self._left.append(out)
        if self._size > MAX_KEPT:
            self._full = True
            self._came.clear()
        elif self._held:
            self.relay.feed(chunk)
        else:
            self._came.append(chunk)
            if held:
                self._hold()
        return not held or not (self._full or self.relay.withheld or self.relay.failed)

    def finish(self) -> bytes | None:
        """The stream is over: return it as it may go out; None if it may not, whoever agrees."""
        if self._full:
            return None
        if not self._held:
            self._hold()
        try:
            out = self.relay.finish()
        except UpstreamFailed:  # it was cut off
            return None
        return None if self.relay.withheld or self.relay.failed else out

    def rest(self, content: bytes, prefix: str) -> bytes | None:
        """Return what is left to send of `content`; None if what has left is not how it begins."""
        relay = Relay(self._dialect, Guard({}), prefix)
        whole = relay.feed(content) + relay.finish()
        left = b"".join(self._left)
        return whole[len(left) :] if whole.startswith(left) else None

    def _hold(self) -> None:
        self._held = True
        self.relay.feed(b"".join(self._came))
        self._came.clear()
