"""A run: one suite asked of one release, what came back, and with what it was judged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from bedplate.kernel.event import canonical

from .suite import Outcome, summarise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.kernel.event import Value

    from .judge import Agreement
    from .suite import Summary

Purpose = Literal["evals", "red-team", "trial", "import"]  # the last two are on record, and prove nothing by themselves


@dataclass(frozen=True, slots=True)
class Run:
    """What is recorded. `release` is a bundle's digest, `suite` the dataset's; `config` says how it was judged."""

    purpose: Purpose
    release: str
    suite: str
    name: str  # the suite's file
    outcomes: tuple[Outcome, ...]
    config: Mapping[str, Value] = field(default_factory=dict)
    agreement: Agreement | None = None

    @property
    def summary(self) -> Summary:
        """How many passed, with the interval."""
        return summarise(self.outcomes)

    def content(self) -> bytes:
        """Return the exact bytes that are kept and digested."""
        body: dict[str, Value] = {
            "release": self.release,
            "suite": self.suite,
            "purpose": self.purpose,
            "name": self.name,
            "config": dict(self.config),
            "outcomes": [_row(outcome) for outcome in self.outcomes],
        }
        if self.agreement is not None:
            body["agreement"] = {name: getattr(self.agreement, name) for name in self.agreement.__slots__}
        return canonical(body)


def outcomes_of(content: bytes) -> tuple[Outcome, ...]:
    """Read the samples back, of runs recorded by earlier versions too."""
    return tuple(_outcome(row) for row in json.loads(content)["outcomes"])


def _row(outcome: Outcome) -> dict[str, Value]:
    row: dict[str, Value] = {"case": outcome.case, "passed": "yes" if outcome.passed else "no", "why": outcome.why}
    given = {name: getattr(outcome, name) for name in ("call", "answer", "case_digest", "blocked")}
    row |= {name: text for name, text in given.items() if text}
    if outcome.weight != 1:
        row["weight"] = outcome.weight
    if outcome.tags:
        row["tags"] = list(outcome.tags)
    return row


def _outcome(row: Mapping[str, Any]) -> Outcome:
    known = {name: value for name, value in row.items() if name in Outcome.__slots__ and name not in {"passed", "tags"}}
    return replace(Outcome(**known, passed=row["passed"] == "yes"), tags=tuple(row.get("tags", ())))
