"""An eval suite: questions, and what must hold of each answer. How answers are judged is in `scorer`."""

from __future__ import annotations

import hashlib
from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

import re2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from bedplate import document, jsonschema
from bedplate.kernel.event import canonical

from .interval import weighted

if TYPE_CHECKING:
    from collections.abc import Sequence

MUST = "must"  # the tag of a case that may never fail again once it passed
MAX_CASES = 5_000


def _pattern(text: str) -> str:
    try:
        re2.compile(text, jsonschema.QUIET)
    except re2.error as wrong:
        raise ValueError(f"not a pattern of RE2: {wrong}") from None
    return text


def _schema(text: str) -> str:
    try:
        jsonschema.refuse_unknown(jsonschema.read(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return text


_Line = Annotated[str, StringConstraints(min_length=1, max_length=4_000, pattern=r"\S")]
_Lines = Annotated[list[_Line], Field(min_length=1)]
_Pattern = Annotated[_Line, AfterValidator(_pattern)]
_Patterns = Annotated[list[_Pattern], Field(min_length=1)]
_Tag = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class _Claims(_Part):
    """What is expected of an answer. `document` turns a YAML boolean into the text `yes` or `no`."""

    contains: _Lines | None = None
    not_contains: _Lines | None = None
    regex: _Patterns | None = None
    not_regex: _Patterns | None = None
    equals: _Line | None = None
    json_schema: Annotated[_Line, AfterValidator(_schema)] | None = None
    cites: _Line | None = None
    grounded_permille: Annotated[int, Field(ge=1, le=1000)] | None = None
    max_chars: Annotated[int, Field(ge=1)] | None = None
    refused: Literal["yes"] | None = None


class _Expect(_Claims):
    """Either `unanswered: true`, or one or more of the others."""

    unanswered: Literal["yes"] | None = None
    judge: _Line | None = None  # a rubric
    any: Annotated[list[_Claims], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> _Expect:
        others = [name for name in self.model_fields_set - {"unanswered", "cites"} if getattr(self, name) is not None]
        if (self.unanswered is None) == (not others):
            raise ValueError(
                "expected either `unanswered: true` or what an answer must hold, such as `contains`, one of the two"
            )
        if self.unanswered is not None and self.cites is not None:
            raise ValueError("what is to stay unanswered cites nothing; remove `cites`")
        return self


class _Case(_Part):
    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
    question: _Line
    expect: _Expect
    weight: Annotated[int, Field(ge=1, le=100)] = 1
    tags: list[_Tag] = Field(default_factory=list)
    answer: _Line | None = None
    label: Literal["pass", "fail"] | None = None

    @model_validator(mode="after")
    def _labelled(self) -> _Case:
        if (self.answer is None) != (self.label is None):
            raise ValueError("`answer` and `label` come together: the text that somebody judged, and the verdict")
        if self.label is not None and self.expect.judge is None:
            raise ValueError("a labelled answer measures the judge; say by which rubric: `expect: {judge: ...}`")
        return self


class _File(_Part):
    cases: Annotated[list[_Case], Field(min_length=1, max_length=MAX_CASES)]


@dataclass(frozen=True, slots=True)
class Claims:
    """What must hold of an answer, all of it. "" and 0 mean that nothing is expected there."""

    contains: tuple[str, ...] = ()
    cites: str = ""
    not_contains: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    not_regex: tuple[str, ...] = ()
    equals: str = ""
    json_schema: str = ""  # JSON text, of the part of JSON Schema that `jsonschema` knows
    grounded_permille: int = 0
    max_chars: int = 0
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One question. Either `unanswered` is true, or the rest says what an answer must be.

    `cites` is the reference that must be among those cited, "" where any will do. With `label` the case asks nothing
    of a release: it puts `answer`, which a person judged, to the judge. Fields after `unanswered` were added later and
    are not among the bytes that are digested while they are at their default.
    """

    id: str
    question: str
    contains: tuple[str, ...] = ()
    cites: str = ""
    unanswered: bool = False
    not_contains: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    not_regex: tuple[str, ...] = ()
    equals: str = ""
    json_schema: str = ""
    grounded_permille: int = 0
    max_chars: int = 0
    refused: bool = False
    judge: str = ""
    any: tuple[Claims, ...] = ()
    weight: int = 1
    tags: tuple[str, ...] = ()
    answer: str = ""
    label: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits): two results under one id are compared only if the case was the same."""
        return hashlib.sha256(canonical(self.plain())).hexdigest()

    @property
    def claims(self) -> Claims:
        """What must hold of the answer."""
        return Claims(**{field.name: getattr(self, field.name) for field in fields(Claims)})

    def plain(self) -> dict[str, object]:
        """The case as text, whole numbers and lists, as it is digested."""
        unset = {f.name for f in fields(self)[5:] if f.default is not MISSING and getattr(self, f.name) == f.default}
        return {name: _worded(value) for name, value in asdict(self).items() if name not in unset}


@dataclass(frozen=True, slots=True)
class Suite:
    """The cases of one file, in its order; `name` is the file's."""

    name: str
    cases: tuple[Case, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of the cases. Comments, layout and the file's name do not change it."""
        return hashlib.sha256(canonical([case.plain() for case in self.cases])).hexdigest()

    @property
    def asked(self) -> tuple[Case, ...]:
        """The cases that a release is asked."""
        return tuple(case for case in self.cases if not case.label)

    @property
    def labelled(self) -> tuple[Case, ...]:
        """The cases that measure the judge."""
        return tuple(case for case in self.cases if case.label)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case went; `why` says what was missing, or what held.

    `call` is the record of the call, `answer` and `case_digest` SHA-256 digests: of what was said, and of the case.
    `blocked` names the control that refused the call, "" where it was answered.
    """

    case: str
    passed: bool
    why: str
    call: str = ""
    answer: str = ""
    case_digest: str = ""
    blocked: str = ""
    weight: int = 1
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """Passed of total cases; the share by weight in permille, rounded down, and its 95 % interval."""

    passed: int
    total: int
    permille: int
    lower_permille: int
    upper_permille: int

    def reaches(self, percent: int) -> bool:
        """Tell whether the share is at least `percent`, not only here but with 95 % confidence: the lower bound is."""
        return self.total > 0 and self.lower_permille >= percent * 10


def parse_suite(text: str, name: str) -> Suite:
    """Read a suite from YAML; `InvalidDocument` gives file, line and column of everything that is wrong."""
    source = document.parse(text, name)
    file = source.read(_File)
    first: dict[str, int] = {}
    complaints = []
    for position, case in enumerate(file.cases):
        if first.setdefault(case.id, position) != position:
            path = ("cases", position, "id")
            complaints.append(source.complain(path, f"{case.id} is the id of an earlier case; give each its own"))
    if all(case.label is not None for case in file.cases):
        complaints.append(source.complain(("cases",), "every case measures the judge, and none asks the release"))
    if complaints:
        raise document.InvalidDocument(complaints)
    return Suite(name, tuple(_case(case) for case in file.cases))


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Count what passed. No outcomes at all are nought of nought, and prove nothing: 0 permille."""
    held = sum(o.weight for o in outcomes if o.passed)
    failed = sum(o.weight for o in outcomes if not o.passed)
    lower, upper = weighted(held, failed, sum(o.weight * o.weight for o in outcomes))
    permille = held * 1000 // (held + failed) if outcomes else 0
    return Summary(sum(o.passed for o in outcomes), len(outcomes), permille, lower, upper)


def _case(case: _Case) -> Case:
    expect = case.expect
    return Case(
        case.id,
        case.question,
        **asdict(_claims(expect)),
        unanswered=expect.unanswered is not None,
        judge=expect.judge or "",
        any=tuple(_claims(one) for one in expect.any or ()),
        weight=case.weight,
        tags=tuple(case.tags),
        answer=case.answer or "",
        label=case.label or "",
    )


def _claims(expect: _Claims) -> Claims:
    return Claims(
        contains=tuple(expect.contains or ()),
        cites=expect.cites or "",
        not_contains=tuple(expect.not_contains or ()),
        regex=tuple(expect.regex or ()),
        not_regex=tuple(expect.not_regex or ()),
        equals=expect.equals or "",
        json_schema=expect.json_schema or "",
        grounded_permille=expect.grounded_permille or 0,
        max_chars=expect.max_chars or 0,
        refused=expect.refused is not None,
    )


def _worded(value: object) -> object:
    """Write a value as records hold it: no booleans, and of alternatives only what was said."""
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return [_worded(inner) for inner in value]
        case dict():
            return {name: _worded(inner) for name, inner in value.items() if inner not in (False, 0, "", ())}
        case _:
            return value
