"""A release's bundle: everything that decides how it answers, by digest. Approvals bind to the bundle's own digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from bedplate.kernel.event import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Bundle:
    """Digests are SHA-256, hex. `tools` is empty until agents arrive; an index of "" means no retrieval.

    Fields after `tools` were added later: while one is at its default it is not among the bytes that are digested, so
    that a bundle made before keeps its digest.
    """

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
    fallbacks: tuple[Mapping[str, str], ...] = ()  # {upstream, model}, tried in this order where the first fails
    embedding: Mapping[str, str] = field(default_factory=dict)  # {upstream, model} that answers /v1/embeddings
    prompts: Mapping[str, str] = field(default_factory=dict)  # digests of templates that clients name, by id
    options: Mapping[str, Any] = field(default_factory=dict)  # of guardrails: terms, schema, max_answer_chars, ...
    cents_per_day: int = 0  # 0: only the tier's limits
    cents_per_month: int = 0
    red_team: str = ""  # digest of the suite that attacks it
    warn_percent: int = 0  # 0: only the tier's
    agents: str = ""  # digest of the charter: what its agents may do with which tools, and when people are asked

    def content(self) -> bytes:
        """Return the exact bytes that are kept and digested."""
        body = asdict(self)
        later = [f for f in fields(self) if f.default is not MISSING or f.default_factory is not MISSING]
        unset = [f.name for f in later if f.name != "tools" and not body[f.name]]
        return canonical({name: value for name, value in body.items() if name not in unset})

    @property
    def digest(self) -> str:
        """What approvals, evidence and calls name."""
        return hashlib.sha256(self.content()).hexdigest()


def read(content: bytes) -> Bundle:
    """Read a bundle back from its bytes."""
    body = json.loads(content)
    rows = {name: tuple(body[name]) for name in ("tools", "fallbacks") if name in body}
    return Bundle(**{**body, **rows})
