"""Evidence: a typed, dated, expiring record that proves or contradicts a control for one digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["proven", "stale", "contradicted", "not evidenced"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found for `control` about the content named by `digest`. Times in microseconds."""

    control: str
    digest: str
    outcome: Literal["proven", "contradicted"]
    summary: str
    at: int
    expires: int
    blob: str = ""  # digest of the full result

    def state(self, now: int) -> State:
        """A contradiction does not go stale: only newer evidence ends it."""
        if self.outcome == "contradicted":
            return "contradicted"
        return "stale" if now >= self.expires else "proven"
