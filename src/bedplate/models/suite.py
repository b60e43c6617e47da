"""An eval suite: questions with what an answer must hold and cite, or that must stay unanswered."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from math import isqrt
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from bedplate import document
from bedplate.kernel.event import canonical

from .groundedness import body_of

if TYPE_CHECKING:
    from collections.abc import Sequence

# The square of the normal quantile for 95 %, 1.959963984540054², times SCALE: Wilson's bound in whole numbers.
SCALE = 10**12
Z_SQUARED = 3_841_458_820_694

_Line = Annotated[str, StringConstraints(min_length=1, max_length=4_000, pattern=r"\S")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Expect(_Part):
    """Either `unanswered: true`, or `contains` with or without `cites`."""

    unanswered: Literal["yes"] | None = None  # document turns a YAML boolean into this text
    contains: Annotated[list[_Line], Field(min_length=1)] | None = None
    cites: _Line | None = None

    @model_validator(mode="after")
    def _one_way(self) -> _Expect:
        if (self.unanswered is None) == (self.contains is None):
            raise ValueError("expected either `unanswered: true` or `contains`, one of the two")
        if self.unanswered is not None and self.cites is not None:
            raise ValueError("what is to stay unanswered cites nothing; remove `cites`")
        return self


class _Case(_Part):
    id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
    question: _Line
    expect: _Expect


class _File(_Part):
    cases: Annotated[list[_Case], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Case:
    """One question. Either `unanswered` is true, or `contains` names text that the answer must hold.

    `cites` is the reference that must be among those cited, "" where any will do.
    """

    id: str
    question: str
    contains: tuple[str, ...] = ()
    cites: str = ""
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class Suite:
    """The cases of one file, in its order; `name` is the file's."""

    name: str
    cases: tuple[Case, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of the cases. Comments, layout and the file's name do not change it."""
        rows = [{**asdict(case), "unanswered": "yes" if case.unanswered else "no"} for case in self.cases]
        return hashlib.sha256(canonical(rows)).hexdigest()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one case went; `why` says what was missing, or what held."""

    case: str
    passed: bool
    why: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Passed of total, in permille rounded down, with the lower bound of the 95 % Wilson interval."""

    passed: int
    total: int
    permille: int
    lower_permille: int


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
    if complaints:
        raise document.InvalidDocument(complaints)
    return Suite(name, tuple(_case(case) for case in file.cases))


def score(case: Case, answer: str, cited: Sequence[str], unanswered: str) -> Outcome:
    """Judge one answer. `cited` are the references it rests on, `unanswered` the sentence that declines.

    Letter case and white space make no difference; a draft notice and the list of sources are not part of the answer.
    """
    said, declined = _plain(body_of(answer)), _plain(unanswered)
    if case.unanswered:
        if said == declined:
            return Outcome(case.id, passed=True, why="left unanswered")
        return Outcome(case.id, passed=False, why="answered, and the sources do not cover it")
    if said == declined:
        return Outcome(case.id, passed=False, why="left unanswered")
    missing = [text for text in case.contains if _plain(text) not in said]
    wrong = [f"does not say {text!r}" for text in missing]
    if case.cites and case.cites not in cited:
        wrong.append(f"does not cite {case.cites}")
    return Outcome(case.id, passed=not wrong, why="; ".join(wrong) or "says and cites what was expected")


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Count what passed. No outcomes at all are nought of nought, and prove nothing: 0 permille."""
    total = len(outcomes)
    if not total:
        return Summary(0, 0, 0, 0)
    passed = sum(outcome.passed for outcome in outcomes)
    return Summary(passed, total, passed * 1000 // total, _wilson(passed, total))


def _wilson(passed: int, total: int) -> int:
    """Return the lower bound in permille, rounded down (E. B. Wilson, 1927, JASA 22, 209-212)."""
    spread = Z_SQUARED * Z_SQUARED + 4 * passed * (total - passed) * Z_SQUARED * SCALE // total
    root = isqrt(spread)
    root += root * root < spread  # towards the smaller bound
    return 1000 * max(0, 2 * passed * SCALE + Z_SQUARED - root) // (2 * (total * SCALE + Z_SQUARED))


def _case(case: _Case) -> Case:
    expect = case.expect
    return Case(case.id, case.question, tuple(expect.contains or ()), expect.cites or "", expect.unanswered is not None)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
