"""A release's bundle: everything that decides how it answers, by digest. Approvals bind to the bundle's own digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bedplate.kernel.event import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Bundle:
    """Digests are SHA-256, hex. `tools` is empty until agents arrive; an index of "" means no retrieval."""

    use_case: str
    upstream: str
    model: str
    prompt: str
    unanswered: str
    index: str
    top: int
    datasets: Mapping[str, str]
    suite: str
    pass_percent: int
    runbook: str
    guardrails: Mapping[str, Any]
    calls_per_day: int
    tokens_per_day: int
    files: Mapping[str, str]  # the team's own files, by name
    tools: tuple[str, ...] = ()

    def content(self) -> bytes:
        """Return the exact bytes that are kept and digested."""
        return canonical(asdict(self))

    @property
    def digest(self) -> str:
        """What approvals, evidence and calls name."""
        return hashlib.sha256(self.content()).hexdigest()


def read(content: bytes) -> Bundle:
    """Read a bundle back from its bytes."""
    body = json.loads(content)
    return Bundle(**{**body, "tools": tuple(body["tools"])})
