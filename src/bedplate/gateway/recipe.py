"""How a release answers, as the gateway needs it: taken from the bundle, with the prompt's text at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Recipe:
    """`release` is the bundle's digest; `index` "" means that nothing is retrieved."""

    release: str
    upstream: str
    model: str
    prompt: str
    prompt_digest: str
    unanswered: str
    index: str
    top: int
    guardrails: Mapping[str, Any]
    calls_per_day: int
    tokens_per_day: int

    def names(self, model: str, use_case: str) -> bool:
        """Tell whether a client may ask for this model name: the approved one, the use case's id, or `default`."""
        return model in {self.model, use_case, "default"}
