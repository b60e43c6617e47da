"""Two calls side by side: what differs in their fields, and word by word in what was said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORDS = re.compile(r"\S+\s*|\s+")
MOST_WORDS = 6_000  # of a text; beyond, lines are compared: it takes up to four times as long for twice the words
MOST_LINES = 6_000  # beyond, the whole texts stand beside each other
FIELDS = (
    "use_case",
    "release",
    "model",
    "upstream",
    "prompt",
    "prompt_id",
    "prompt_version",
    "index",
    "passages",
    "tier",
    "rung",
    "route",
    "dialect",
    "verdict",
    "status",
    "error",
    "reasons",
    "findings",
    "tokens_in",
    "cached_in",
    "tokens_out",
    "cost_nano",
    "price",
    "first_us",
    "latency_us",
    "attempts",
    "grounded_permille",
    "unanswered",
    "request_sha256",
    "answer_sha256",
)


class Run(NamedTuple):
    """Words that stand together, and whether the other text has them not."""

    text: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Sides:
    """One text beside another. `same`: there is no difference; `by` is what was compared: words, lines or the whole."""

    name: str
    left: tuple[Run, ...]
    right: tuple[Run, ...]
    same: bool
    by: str


def sides(name: str, before: str, after: str, most: int = MOST_WORDS) -> Sides:
    """Compare two texts, of at most so many words or lines."""
    if before == after:
        both = (Run(before, changed=False),) if before else ()
        return Sides(name, both, both, same=True, by="words")
    left, right, by = WORDS.findall(before), WORDS.findall(after), "words"
    if max(len(left), len(right)) > min(MOST_WORDS, most):
        left, right, by = before.splitlines(keepends=True), after.splitlines(keepends=True), "lines"
    if max(len(left), len(right)) > min(MOST_LINES, most):
        left, right, by = [before], [after], "their whole"
    lefts: list[Run] = []
    rights: list[Run] = []
    for kind, a, b, c, d in SequenceMatcher(None, left, right).get_opcodes():
        _add(lefts, "".join(left[a:b]), changed=kind != "equal")
        _add(rights, "".join(right[c:d]), changed=kind != "equal")
    return Sides(name, tuple(lefts), tuple(rights), same=False, by=by)


def changed(before: Mapping[str, Any], after: Mapping[str, Any], names: Sequence[str] = FIELDS) -> list[str]:
    """Name the fields that differ; one that an older record lacks is as if it were empty."""
    return [name for name in names if (before.get(name) or "") != (after.get(name) or "")]


def _add(runs: list[Run], text: str, *, changed: bool) -> None:
    if text:
        runs.append(Run(text, changed))
