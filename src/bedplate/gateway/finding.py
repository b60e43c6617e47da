"""What was found in a text, and the text without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found in `text[start:end]`; `label` says what it is, `kind` which policy it falls under."""

    kind: str
    label: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Guarded:
    """The text as it may go on, everything found in the original, and whether it must not go on at all.

    `asks` means that it must not go on before a person has agreed.
    """

    text: str
    findings: tuple[Finding, ...]
    blocked: bool
    asks: bool = False


def ordered(findings: Collection[Finding]) -> list[Finding]:
    """Put findings in the order of the text, the longer before the shorter; what is only too long comes last."""
    return sorted(findings, key=lambda f: (f.start, f.kind == "length", -f.end, f.label))


def replaced(findings: Collection[Finding], done: int = 0) -> Iterator[tuple[int, int, str]]:
    """Yield what to put in the place of findings: of those that overlap, the first is named, the rest add to it.

    Replacements ascend and do not overlap. `done` is where an earlier one ended.
    """
    for finding in ordered(findings):
        if finding.start >= done:
            yield finding.start, finding.end, f"[redacted: {finding.label}]"
        elif finding.end > done:
            yield done, finding.end, ""
        done = max(done, finding.end)


def redact(text: str, findings: Collection[Finding]) -> str:
    """Put `[redacted: payment card]` in the place of each finding; of those that overlap, the first gives its name."""
    pieces, done = [], 0
    for start, end, instead in replaced(findings):
        pieces += [text[done:start], instead]
        done = end
    return "".join([*pieces, text[done:]])
