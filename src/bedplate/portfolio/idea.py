"""An idea: shorter than a use case, as people write it down before anybody builds. One YAML file, or a form."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from .usecase import Id, Part, Score, ValuePart, unknown_names

Evidence = Annotated[str, Field(max_length=1000)]
Others = Annotated[list[Id], Field(max_length=20)]
OPEN = frozenset({"proposed", "deferred"})


class HopedPart(ValuePart):
    """A value hypothesis, and how many percent of its yearly value either way it may be wrong."""

    hypothesis: Annotated[str, Field(min_length=10, max_length=1000)]
    unit: Annotated[str, Field(min_length=1, max_length=120)]
    uncertain_percent: Annotated[int, Field(ge=0, le=100)] | None = None

    @model_validator(mode="after")
    def _worth_having(self) -> Self:
        if self.target >= self.baseline:
            raise ValueError(
                f"the target {self.target} is not below the baseline {self.baseline}: the benefit would be negative or "
                "nothing; count in units of which fewer are wanted"
            )
        return self


class ScorePart(Part):
    """One answer from 1 to 5; what it rests on; and between which scores it lies, if that is not certain."""

    score: Score
    evidence: Evidence | None = None
    low: Score | None = None
    high: Score | None = None

    @model_validator(mode="after")
    def _around(self) -> Self:
        if not (self.low or self.score) <= self.score <= (self.high or self.score):
            raise ValueError(f"low {self.low} ≤ score {self.score} ≤ high {self.high} does not hold")
        return self


class AnswersPart(Part):
    """How feasible it is. The data is not asked for: its contracts' checks say how ready it is."""

    technology: ScorePart
    people: ScorePart
    change: ScorePart


class IdeaFile(Part):
    """The whole file."""

    kind: Literal["idea"]
    id: Id
    title: Annotated[str, Field(min_length=3, max_length=120)]
    domain: str
    purpose: Annotated[str, Field(min_length=10, max_length=2000)]
    bucket: Literal["efficiency", "augmentation", "transformation"]
    value: HopedPart
    feasibility: AnswersPart
    answers: dict[str, Literal["yes", "no"]]
    contracts: Others  # the data contracts it stands on
    effort_days: Annotated[int, Field(ge=1, le=100_000)]
    cost_cents: Annotated[int, Field(ge=0)]  # beside the people's days
    generative: Literal["yes", "no"]
    after: Others | None = None  # ideas or use cases that must be there first
    excludes: Others | None = None  # ideas that it makes pointless

    @property
    def subject(self) -> str:
        """The subject's name in records."""
        return f"idea/{self.id}"

    def plain(self) -> dict[str, Any]:
        """The file as text and whole numbers only, without what was left out."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True, slots=True)
class Idea:
    """An idea on record. `due` is by when it is to be decided, or looked at again; 0 once it is decided."""

    subject: str
    title: str
    domain: str
    tier: int
    body: str
    due: int
    state: str  # proposed, taken-up, declined, deferred
    file: IdeaFile
    proposers: tuple[str, ...]
    proposed_at: int
    reason: str
    condition: str
    decided_by: str
    decided_at: int
    seq: int  # of the newest event about it

    @property
    def id(self) -> str:
        """Its id, without `idea/`."""
        return self.file.id

    def overdue(self, now: int) -> bool:
        """Tell whether its clock has run out."""
        return self.state in OPEN and self.due < now

    def plain(self, now: int) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        body = {name: value for name, value in asdict(self).items() if name != "file"}
        return {**body, "id": self.id, "overdue": self.overdue(now), "file": self.file.plain()}


def dangling(
    file: IdeaFile, questions: frozenset[str], domains: frozenset[str], contracts: frozenset[str]
) -> list[tuple[list[str | int], str]]:
    """List names that point nowhere, as (path, message)."""
    wrong = unknown_names(file.domain, file.answers, domains, questions)
    wrong += unknown_contracts([(["contracts", i], name) for i, name in enumerate(file.contracts)], contracts)
    for key, names in (("after", file.after or []), ("excludes", file.excludes or [])):
        wrong += [([key, i], "this is the idea itself") for i, name in enumerate(names) if name == file.id]
    return wrong


def unknown_contracts(
    named: list[tuple[list[str | int], str]], contracts: frozenset[str]
) -> list[tuple[list[str | int], str]]:
    """List the data contracts that nobody declared, as (path, message)."""
    known = ", ".join(sorted(contracts)) or "none yet; declare one: bedplate apply contract.yaml"
    return [(path, f"no data contract {name!r}; known: {known}") for path, name in named if name not in contracts]
