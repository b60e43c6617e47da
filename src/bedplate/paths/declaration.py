"""What a path is published with: what it asks, and the envelope within which its siblings were agreed to beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bedplate.document import InvalidDocument
from bedplate.portfolio.usecase import GuardKind, GuardMode, Id, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.document import Document
    from bedplate.kernel.risk import Rating
    from bedplate.portfolio.usecase import UseCaseFile

DECLARATION = "path.yaml"
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Most = Annotated[int, Field(ge=0)]


class QuestionPart(Part):
    """What a path asks of whoever starts from it: for a key of use-case.yaml, or instead of a text in other files."""

    id: Name
    text: Annotated[str, Field(min_length=3, max_length=300)]
    type: Literal["text", "integer", "yes-no", "choice"] = "text"
    choices: list[str] | None = None
    default: str | None = None
    fills: str | None = None  # a key of use-case.yaml, such as value.per_month
    replaces: Annotated[str, Field(min_length=3, max_length=300)] | None = None  # a text in the other files


class TargetsPart(Part):
    """Models that siblings may use, as their files name them."""

    upstream: Id
    name: Annotated[str, Field(min_length=1, max_length=120)]


class GuardsPart(Part):
    """Guardrails that siblings must have, at least this strict."""

    input: dict[GuardKind, GuardMode]
    output: dict[GuardKind, GuardMode]


class EnvelopePart(Part):
    """How far a sibling may go and still be covered by what was agreed when its path was published."""

    tier: Annotated[int, Field(ge=1, le=4)]
    impact: Literal["low", "high"]
    autonomy: Literal["assistive", "autonomous"]
    answers: dict[str, Literal["yes", "no"]]  # that must stay
    models: Annotated[list[TargetsPart], Field(min_length=1, max_length=50)]
    personal: Literal["yes", "no"]  # whether its sources may hold personal data
    calls_per_day: Most
    tokens_per_day: Most
    cents_per_month: Most = 0  # 0: as the tier says
    guardrails: GuardsPart
    may_change: list[Literal["prompts", "runbook"]] | None = None  # the runbook, unless said; of what is inherited


class PathFile(Part):
    """The whole of path.yaml."""

    kind: Literal["path"]
    title: Annotated[str, Field(min_length=3, max_length=120)]
    asks: Annotated[list[QuestionPart] | None, Field(max_length=50)] = None
    envelope: EnvelopePart | None = None  # otherwise what the use case itself is

    def plain(self) -> dict[str, Any]:
        """The file as text and whole numbers only, without what was left out."""
        return self.model_dump(exclude_none=True)


ALWAYS = (  # what every path asks
    QuestionPart(id="id", text="its id: small letters, digits and hyphens", fills="id"),
    QuestionPart(id="title", text="what people call it", fills="title"),
    QuestionPart(id="domain", text="the domain that owns it", fills="domain"),
    QuestionPart(id="owner", text="who owns it, with an owner's seat in the domain", fills="owner"),
    QuestionPart(id="purpose", text="what it is for, ten characters or more", fills="purpose"),
)
BEFORE = tuple(q for q in ALWAYS if q.id in {"id", "title"})  # what paths asked before they had this


def check_declaration(document: Document, source: UseCaseFile, rating: Rating) -> PathFile:
    """Check path.yaml against the use case it stands beside; `InvalidDocument` with every complaint."""
    file = document.read(PathFile)
    wrong = [*_asked_badly(file, source), *_narrower(file, source, rating)]
    if wrong:
        raise InvalidDocument([document.complain(path, message) for path, message in wrong])
    return completed(file, source, rating)


def declared_by(source: UseCaseFile, rating: Rating) -> PathFile:
    """Return the declaration of a path that has none of its own: it asks the least, and its source is its envelope."""
    return completed(PathFile(kind="path", title=source.title), source, rating)


def completed(file: PathFile, source: UseCaseFile, rating: Rating) -> PathFile:
    """Add what every path asks, and the envelope where there is none."""
    own = {q.id for q in file.asks or ()}
    asks = [_with_default(q, source) for q in ALWAYS if q.id not in own] + list(file.asks or ())
    return file.model_copy(update={"asks": asks, "envelope": file.envelope or _as_it_is(source, rating)})


def value_at(spec: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401  whatever the file holds there
    """Return what a use case's file holds at a key such as `value.per_month`; None if nothing."""
    here: Any = spec
    for part in key.split("."):
        if not isinstance(here, dict) or part not in here:
            return None
        here = here[part]
    return here


def _with_default(question: QuestionPart, source: UseCaseFile) -> QuestionPart:
    if question.id in {"domain", "owner"}:
        return question.model_copy(update={"default": str(value_at(source.plain(), question.id))})
    return question


def _as_it_is(source: UseCaseFile, rating: Rating) -> EnvelopePart:
    targets = [source.model, *(source.model.fallbacks or ())]
    part = source.guardrails
    return EnvelopePart(
        tier=int(rating.tier),
        impact=rating.impact,
        autonomy=rating.autonomy,
        answers=dict(source.answers),
        models=[TargetsPart(upstream=t.upstream, name=t.name) for t in targets],
        personal="yes" if any(d.personal == "yes" for d in source.data) else "no",
        calls_per_day=source.budget.calls_per_day,
        tokens_per_day=source.budget.tokens_per_day,
        cents_per_month=source.budget.cents_per_month or 0,
        guardrails=GuardsPart(input=(part and part.input) or {}, output=(part and part.output) or {}),
    )


def _asked_badly(file: PathFile, source: UseCaseFile) -> list[tuple[list[str | int], str]]:
    wrong: list[tuple[list[str | int], str]] = []
    spec, seen = source.plain(), set[str]()
    for number, ask in enumerate(file.asks or ()):
        here: list[str | int] = ["asks", number]
        if ask.id in seen:
            wrong.append(([*here, "id"], f"{ask.id} is asked twice"))
        seen.add(ask.id)
        if (ask.fills is None) == (ask.replaces is None):
            wrong.append((here, "say what it fills in use-case.yaml, or which text of the other files it replaces"))
        held = value_at(spec, ask.fills) if ask.fills is not None else ""
        if not isinstance(held, str | int):
            wrong.append(([*here, "fills"], f"the use case's file holds no text or number at {ask.fills}"))
        if (ask.type == "choice") != bool(ask.choices):
            wrong.append(([*here, "choices"], "a choice has choices, and nothing else has"))
        if ask.default is not None and (why := misfit(ask, ask.default)):
            wrong.append(([*here, "default"], why))
    return wrong


def _narrower(file: PathFile, source: UseCaseFile, rating: Rating) -> list[tuple[list[str | int], str]]:
    """An envelope that its own source leaves was never proven by it."""
    part = file.envelope
    if part is None:
        return []
    wrong: list[tuple[list[str | int], str]] = []
    if part.tier > rating.tier or part.impact != rating.impact or part.autonomy != rating.autonomy:
        quadrant = f"tier {int(rating.tier)}, {rating.impact} × {rating.autonomy}"
        wrong.append((["envelope", "tier"], f"its use case has proven {quadrant}, and nothing beyond"))
    wrong += [
        (["envelope", "answers", question], f"the use case itself answers {source.answers.get(question, 'nothing')}")
        for question, answer in part.answers.items()
        if source.answers.get(question) != answer
    ]
    for name in ("calls_per_day", "tokens_per_day"):
        if getattr(part, name) > getattr(source.budget, name):
            wrong.append((["envelope", name], f"its use case plans {getattr(source.budget, name)}, and no more"))
    return wrong


def misfit(ask: QuestionPart, answer: str) -> str:
    """Say why this does not answer the question; "" if it does."""
    if not answer.strip() or "\n" in answer or len(answer) > 1_000:  # noqa: PLR2004  as much as is asked on one line
        return f"{ask.id} needs an answer of one line"
    if ask.type == "integer" and not (answer.isascii() and answer.isdigit() and len(answer) < 16):  # noqa: PLR2004  below 2^53
        return f"{ask.id} is a whole number, not {answer!r}"
    if ask.type == "yes-no" and answer not in {"yes", "no"}:
        return f"{ask.id} is yes or no, not {answer!r}"
    if ask.choices and answer not in ask.choices:
        return f"{ask.id} is one of {', '.join(ask.choices)}, not {answer!r}"
    return ""
