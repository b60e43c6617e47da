"""A use case as its team writes it: one YAML file in the team's own folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bedplate.kernel.control import untried

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
File = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._/-]+$")]
Score = Annotated[int, Field(ge=1, le=5)]
GuardKind = Annotated[
    str, Field(pattern=r"^(secrets|personal-data|terms|length|injection|citations|schema|x:[a-z][a-z0-9-]{0,40})$")
]
GuardMode = Literal["observe", "redact", "ask", "block"]
BUCKETS = ("efficiency", "augmentation", "transformation")
STRICTNESS = ("observe", "redact", "ask", "block")
JUDGED = frozenset({"citations", "injection", "schema"})  # of a text as a whole: there is no place in it to redact


class Part(BaseModel):
    """A part of a file people write: unknown keys are errors, values are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, frozen=True)


class ValuePart(Part):
    """The value hypothesis: what one unit costs now, what it should cost, and how many there are."""

    hypothesis: Annotated[str, Field(min_length=10)]
    unit: str
    baseline: Annotated[int, Field(ge=0)]
    target: Annotated[int, Field(ge=0)]
    per_month: Annotated[int, Field(ge=1)]  # how many times a month
    cents_per_unit: Annotated[int, Field(ge=1)]


class StopPart(Part):
    """When to ask whether it goes on: agreed with its acceptance, and decided by the bodies that accepted it."""

    after_months: Annotated[int, Field(ge=1, le=60)]
    below_percent: Annotated[int, Field(ge=1, le=100)]
    of: Literal["forecast"]
    then: Literal["retire", "renew"]


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
    max_age_days: Annotated[int, Field(ge=1, le=3650)] | None = None  # the SLA: how old what is answered from may be
    contract: Id | None = None  # the data contract it comes under


class TargetPart(Part):
    """A model behind an upstream, which the installation names."""

    upstream: Id = "default"
    name: Annotated[str, Field(min_length=1, max_length=120)]


class ModelPart(TargetPart):
    """Which model answers, behind which upstream; which others may, in this order; and which one embeds."""

    fallbacks: Annotated[list[TargetPart] | None, Field(max_length=5)] = None
    embedding: TargetPart | None = None


class RetrievalPart(Part):
    """Which source is searched, and how many passages go into the prompt."""

    data: Id
    top: Annotated[int, Field(ge=1, le=10)] = 4


class PromptPart(Part):
    """The prompt files: the system prompt, and templates by id, which clients name in a call."""

    system: File
    templates: Annotated[dict[Id, File], Field(max_length=100)] | None = None


class JudgePart(Part):
    """The live use case that judges what no scorer can."""

    use_case: Id


class EvalPart(Part):
    """The eval suite, and the share of cases that must pass: the lower bound of its 95 % interval reaches it."""

    file: File
    pass_percent: Annotated[int, Field(ge=1, le=100)]
    judge: JudgePart | None = None
    red_team: File | None = None  # prompts of the team's own, beside those that come with Bedplate


class BudgetPart(Part):
    """What the team plans to spend."""

    calls_per_day: Annotated[int, Field(ge=1)]
    tokens_per_day: Annotated[int, Field(ge=1)]
    cents_per_day: Annotated[int, Field(ge=1)] | None = None  # US cents
    cents_per_month: Annotated[int, Field(ge=1)] | None = None
    warn_percent: Annotated[int, Field(ge=1, le=99)] | None = None


class GuardrailPart(Part):
    """What is guarded beyond what the tier says: modes that are stricter, more terms, a schema, a shorter answer."""

    input: dict[GuardKind, GuardMode] | None = None
    output: dict[GuardKind, GuardMode] | None = None
    terms: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=1000)] | None = None
    json_schema: File | None = None
    canaries: dict[Id, Annotated[str, Field(min_length=1, max_length=2_000)]] | None = None
    max_answer_chars: Annotated[int, Field(ge=1, le=4_000_000)] | None = None


class PathPart(Part):
    """The golden path this use case was made from."""

    name: Id
    version: Annotated[int, Field(ge=1)]
    # To what its path asks beyond this file.
    answers: dict[str, Annotated[str, Field(max_length=1_000)] | int] | None = None


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
    stop: StopPart | None = None
    feasibility: FeasibilityPart
    answers: dict[str, Literal["yes", "no"]]
    data: list[DataPart]
    model: ModelPart
    prompts: PromptPart
    retrieval: RetrievalPart | None = None
    unanswered: Annotated[str, Field(min_length=3)]  # what the assistant says when its sources do not answer
    evals: EvalPart
    budget: BudgetPart
    guardrails: GuardrailPart | None = None
    agents: File | None = None  # what its agents are, their tools, and the policies for them
    runbook: File
    path: PathPart | None = None
    effort_days: Annotated[int, Field(ge=1, le=100_000)] | None = None  # to build it
    generative: Literal["yes", "no"] | None = None  # yes unless said

    @property
    def subject(self) -> str:
        """The subject's name in records."""
        return f"usecase/{self.id}"

    def plain(self) -> dict[str, Any]:
        """The file as text and whole numbers only, without what was left out."""
        return self.model_dump(exclude_none=True)


def unknown_names(
    domain: str, answers: Iterable[str], domains: frozenset[str], questions: frozenset[str]
) -> list[tuple[list[str | int], str]]:
    """List a domain and questions that the operating model does not have, as (path, message)."""
    wrong: list[tuple[list[str | int], str]] = []
    if domain not in domains:
        wrong.append((["domain"], f"no domain {domain!r}; known: {', '.join(sorted(domains))}"))
    known = ", ".join(sorted(questions))
    return wrong + [(["answers", q], f"no such question; known: {known}") for q in answers if q not in questions]


def dangling(
    file: UseCaseFile, questions: frozenset[str], domains: frozenset[str]
) -> list[tuple[list[str | int], str]]:
    """List names that point nowhere, as (path, message)."""
    wrong = unknown_names(file.domain, file.answers, domains, questions)
    if file.retrieval is not None and file.retrieval.data not in {d.name for d in file.data}:
        wrong.append((["retrieval", "data"], f"no data named {file.retrieval.data!r} in this file"))
    asked = {(file.model.upstream, file.model.name)}
    for number, other in enumerate(file.model.fallbacks or ()):
        if (other.upstream, other.name) in asked:
            wrong.append((["model", "fallbacks", number], "this is asked already, and would fail again"))
        asked.add((other.upstream, other.name))
    return wrong


def loosened(file: UseCaseFile, tier: Mapping[str, Any]) -> list[tuple[list[str | int], str]]:
    """List guardrails that are weaker than the tier's, or lack what they need, as (path, message)."""
    part = file.guardrails
    if part is None:
        return []
    wrong: list[tuple[list[str | int], str]] = []
    for way, policy in (("input", part.input or {}), ("output", part.output or {})):
        for kind, mode in policy.items():
            wrong += [(["guardrails", way, kind], why) for why in _against(way, kind, mode, tier[way].get(kind))]
    most, longest = tier.get("max_answer_chars"), part.max_answer_chars
    if longest is not None and most is not None and longest > most:
        why = f"the tier allows {most}, and a use case may only be stricter"
        wrong.append((["guardrails", "max_answer_chars"], why))
    ways = {kind for policy in (part.input, part.output, tier["input"], tier["output"]) for kind in policy or ()}
    needs = {"terms": part.terms or tier.get("terms"), "schema": part.json_schema, "length": longest or most}
    names = {"terms": "terms", "schema": "json_schema", "length": "max_answer_chars"}
    missing = [kind for kind, given in needs.items() if kind in ways and not given]
    if "length" not in (part.output or {}):
        missing = [kind for kind in missing if kind != "length"]
    canaries = {**(part.canaries or {}), **(tier.get("canaries") or {})}
    silent = [f"x:{name} needs canaries.{name}: a text that it must find" for name in untried(ways, canaries)]
    return wrong + [(["guardrails"], why) for why in (*(f"{kind} needs {names[kind]}" for kind in missing), *silent)]


def _against(way: str, kind: str, mode: str, least: str | None) -> list[str]:
    said = []
    if least is not None and STRICTNESS.index(mode) < STRICTNESS.index(least):
        said.append(f"the tier says {least}, and a use case may only be stricter: {' < '.join(STRICTNESS)}")
    if kind in JUDGED and mode == "redact":
        said.append("this cannot be redacted; choose observe, ask or block")
    if kind in {"input": {"citations", "length", "schema"}, "output": {"injection"}}[way]:
        said.append("this is looked for the other way")
    return said


def strictest(file: UseCaseFile, tier: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tier's guardrails, each as strict as the stricter of the two files says."""
    part = file.guardrails
    whole = {name: tier[name] for name in ("input", "output", "max_prompt_chars")}
    if part is None:
        return whole
    for way, policy in (("input", part.input or {}), ("output", part.output or {})):
        both = [tier[way], policy]
        kinds = dict.fromkeys(kind for modes in both for kind in modes)
        whole[way] = {k: max((m[k] for m in both if k in m), key=STRICTNESS.index) for k in kinds}
    return whole
