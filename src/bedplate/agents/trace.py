"""Actions that passed no door of ours and were told of in traces: what would have been ruled, after the fact.

Nothing is enforced here. It shows which agents act beside the door, and what they do there feeds their breakers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .charter import Tool

NOT_ENFORCED = ("not-enforced", "it was done beside the door and told of afterwards", "call the tool through the door")


@dataclass(frozen=True, slots=True)
class Traced:
    """One tool call as a trace tells of it. Times in microseconds since the epoch."""

    trace: str
    span: str
    agent: str
    run: str
    server: str
    tool: str
    arguments: dict[str, Any] = field(hash=False)
    result: Any = field(hash=False)
    started: int
    ended: int
    error: str

    def id(self, subject: str) -> str:
        """Return the action's id: the same for the same span of the same use case (UUIDv8, RFC 9562, section 5.8)."""
        rest = int.from_bytes(sha256(f"{subject}\0{self.trace}\0{self.span}\0act".encode()).digest()[:10], "big")
        number = (self.started // 1000 & (1 << 48) - 1) << 80 | rest & (1 << 80) - 1
        number = number & ~(0xF << 76) | 0x8 << 76
        return f"act-{UUID(int=number & ~(0b11 << 62) | 0b10 << 62)}"

    def run_of(self, agent: str) -> str:
        """Return the name of the run it belongs to: never that of one which passed the door."""
        return f"observed/{agent}/{self.run or self.trace}"[:200]

    def named(self, tools: Mapping[str, Tool]) -> str:
        """Return the tool as the release names it; without a server, by its bare name if only one fits."""
        if self.server:
            return f"{self.server}/{self.tool}"
        fits = [name for name in tools if name.partition("/")[2] == self.tool]
        return fits[0] if len(fits) == 1 else f"local/{self.tool}"
