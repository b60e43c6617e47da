"""A use case as its team writes it: one YAML file in the team's own folder."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
File = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._/-]+$")]
Score = Annotated[int, Field(ge=1, le=5)]


class Part(BaseModel):
    """A part of a file people write: unknown keys are errors, values are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ValuePart(Part):
    """The value hypothesis: what one unit costs now, what it should cost, and how many there are."""

    hypothesis: Annotated[str, Field(min_length=10)]
    unit: str
    baseline: Annotated[int, Field(ge=0)]
    target: Annotated[int, Field(ge=0)]
    per_month: Annotated[int, Field(ge=1)]  # how many times a month
    cents_per_unit: Annotated[int, Field(ge=1)]


class FeasibilityPart(Part):
    """How ready we are, 1 (not at all) to 5 (today)."""

    data: Score
    technology: Score
    people: Score
    change: Score


class DataPart(Part):
    """A source the use case stands on: a folder of Markdown files."""

    name: Id
    path: File
    personal: Literal["yes", "no"]


class ModelPart(Part):
    """Which model answers, behind which upstream."""

    upstream: Literal["default", "embedded"] = "default"
    name: Annotated[str, Field(min_length=1, max_length=120)]


class RetrievalPart(Part):
    """Which source is searched, and how many passages go into the prompt."""

    data: Id
    top: Annotated[int, Field(ge=1, le=10)] = 4


class PromptPart(Part):
    """The prompt files."""

    system: File


class EvalPart(Part):
    """The eval suite, and the share of cases that must pass."""

    file: File
    pass_percent: Annotated[int, Field(ge=1, le=100)]


class BudgetPart(Part):
    """What the team plans to spend."""

    calls_per_day: Annotated[int, Field(ge=1)]
    tokens_per_day: Annotated[int, Field(ge=1)]


class PathPart(Part):
    """The golden path this use case was made from."""

    name: Id
    version: Annotated[int, Field(ge=1)]


class UseCaseFile(Part):
    """The whole file."""

    kind: Literal["use-case"]
    id: Id
    title: Annotated[str, Field(min_length=1, max_length=120)]
    domain: str
    owner: str
    sponsor: str
    purpose: Annotated[str, Field(min_length=10)]
    bucket: Literal["efficiency", "augmentation", "transformation"]
    value: ValuePart
    feasibility: FeasibilityPart
    answers: dict[str, Literal["yes", "no"]]
    data: list[DataPart]
    model: ModelPart
    prompts: PromptPart
    retrieval: RetrievalPart | None = None
    unanswered: Annotated[str, Field(min_length=3)]  # what the assistant says when its sources do not answer
    evals: EvalPart
    budget: BudgetPart
    runbook: File
    path: PathPart | None = None

    @property
    def subject(self) -> str:
        """The subject's name in records."""
        return f"usecase/{self.id}"

    def plain(self) -> dict[str, Any]:
        """The file as text and whole numbers only, without what was left out."""
        return self.model_dump(exclude_none=True)


def dangling(
    file: UseCaseFile, questions: frozenset[str], domains: frozenset[str]
) -> list[tuple[list[str | int], str]]:
    """List names that point nowhere, as (path, message)."""
    wrong: list[tuple[list[str | int], str]] = []
    if file.domain not in domains:
        wrong.append((["domain"], f"no domain {file.domain!r}; known: {', '.join(sorted(domains))}"))
    known = ", ".join(sorted(questions))
    wrong += [(["answers", q], f"no such question; known: {known}") for q in file.answers if q not in questions]
    if file.retrieval is not None and file.retrieval.data not in {d.name for d in file.data}:
        wrong.append((["retrieval", "data"], f"no data named {file.retrieval.data!r} in this file"))
    return wrong
