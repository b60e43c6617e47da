"""How a release answers, as the gateway needs it: taken from the bundle, with the prompt's text at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .guardrail import Guard
from .route import Target

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_KINDS = frozenset({"schema", "citations", "length", "injection"})  # they judge all that is said at once


@dataclass(frozen=True)
class Recipe:
    """`release` is the bundle's digest; `index` "" means that nothing is retrieved.

    `fallbacks` are {upstream, model}, in their order; `embedding` answers `/v1/embeddings`. The guards are compiled
    here, once: `guard_in` and `guard_out` look for patterns in each text, `guard_asked` and `guard_answer` judge all
    that is said at once. `guard_kept` is `guard_out` once people agreed; `asks` whether they may have to be asked.
    """

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
    fallbacks: tuple[Mapping[str, str], ...] = ()
    embedding: Mapping[str, str] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    cents_per_day: int = 0
    cents_per_month: int = 0
    warn_percent: int = 0
    guard_in: Guard = field(init=False, compare=False)
    guard_out: Guard = field(init=False, compare=False)
    guard_asked: Guard = field(init=False, compare=False)
    guard_answer: Guard = field(init=False, compare=False)
    guard_kept: Guard = field(init=False, compare=False)
    asks: bool = field(init=False, compare=False)
    named: frozenset[str] = field(init=False, compare=False)
    targets: tuple[Target, ...] = field(init=False, compare=False)  # in the order they are tried

    def __post_init__(self) -> None:
        longest = {"max_chars": self.options.get("max_answer_chars", 0)}
        for way, patterns, judging in (("input", "guard_in", "guard_asked"), ("output", "guard_out", "guard_answer")):
            policy = self.guardrails[way]
            whole = {kind: mode for kind, mode in policy.items() if _judges(kind, mode)}
            each = {kind: mode for kind, mode in policy.items() if kind not in whole}
            object.__setattr__(self, patterns, Guard(each, self.options))
            object.__setattr__(self, judging, Guard(whole, {**self.options, **longest}))
        agreed = {kind: "observe" if mode == "ask" else mode for kind, mode in self.guard_out.policy.items()}
        same = agreed == self.guard_out.policy
        object.__setattr__(self, "guard_kept", self.guard_out if same else Guard(agreed, self.options))
        object.__setattr__(self, "asks", "ask" in self.guardrails["output"].values())
        others = tuple(Target(f["upstream"], f["model"]) for f in self.fallbacks)
        object.__setattr__(self, "targets", (Target(self.upstream, self.model), *others))
        models = {self.model, *(f["model"] for f in self.fallbacks), self.embedding.get("model", self.model)}
        object.__setattr__(self, "named", frozenset(models))

    def names(self, model: str, use_case: str) -> bool:
        """Tell whether a client may ask for this model name: an approved one, the use case's id, or `default`."""
        return model in self.named or model in {use_case, "default"}


def _judges(kind: str, mode: str) -> bool:
    """Tell whether all that is said is judged at once; what is taken out is taken out of the text it stands in."""
    return kind in ANSWER_KINDS or (kind.startswith("x:") and mode != "redact")
