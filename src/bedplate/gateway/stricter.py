"""What stricter guardrails would have done with calls of the past, by the findings on their records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .guardrail import CUSTOM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SECRETS = frozenset(
    {
        "AWS access key",
        "API key",
        "GitHub token",
        "GitLab token",
        "Slack token",
        "Slack webhook",
        "Google API key",
        "JSON web token",
        "Bedplate token",
        "password",
        "private key",
    }
)
OTHERS = {
    "blocked term": "terms",
    "no citation": "citations",
    "prompt injection": "injection",
    "encoded instruction": "injection",
}
ORDER = ("observe", "redact", "ask", "block")
Outcome = Literal["refused", "held", "redacted"]
OUTCOMES: Mapping[str, Outcome] = {"block": "refused", "ask": "held", "redact": "redacted"}


@dataclass(frozen=True, slots=True)
class Stricter:
    """A kind that would be treated more strictly one way. `was` is "" where it was not looked for then."""

    way: str  # input or output
    kind: str
    was: str
    mode: str

    @property
    def control(self) -> str:
        """Name the guardrail as records do."""
        return f"guardrail-{self.way}/{self.kind}"


def stricter(then: Mapping[str, Any], proposed: Mapping[str, Any]) -> Iterator[Stricter]:
    """Yield what a policy treats more strictly than the one that a release had."""
    for way in ("input", "output"):
        for kind, mode in proposed[way].items():
            was = str(then[way].get(kind, ""))
            if mode != "observe" and (not was or ORDER.index(mode) > ORDER.index(was)):
                yield Stricter(way, kind, was, mode)


def kind_of(label: str, policy: Mapping[str, str]) -> str | None:
    """Name the kind of guardrail that found this; None where its record does not tell."""
    label = label.removesuffix("…")
    if label.startswith("text beyond"):
        return "length"
    if label in SECRETS:
        return "secrets"
    for begins, kind in OTHERS.items():
        if label.startswith(begins):
            return kind
    if "schema" in policy and "schema" in label:
        return "schema"
    custom = [kind for kind in policy if kind.startswith(CUSTOM)]
    if custom:
        return next((kind for kind in custom if label.startswith(f"{kind} ")), None)
    return "personal-data" if "personal-data" in policy else None


def held(one: Stricter, findings: Sequence[str], policy: Mapping[str, str]) -> bool | None:
    """Tell whether a call's findings are of this kind; None where that cannot be told."""
    kinds = {kind_of(f.partition(": ")[2], policy) for f in findings if f.startswith(f"{one.way}: ")}
    if one.kind in kinds:
        return True
    return None if None in kinds else False
