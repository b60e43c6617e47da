"""A data contract: what an owner promises of data, the checks that show it, and how it stands by their last results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bedplate.kernel.clock import SECOND
from bedplate.kernel.event import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bedplate.kernel.event import Value

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Hours = Annotated[int, Field(ge=1, le=24 * 366)]
CheckName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,79}$")]
Dimension = Literal[  # those of ODCS, and the two that people say for timeliness and conformity
    "accuracy",
    "completeness",
    "conformity",
    "consistency",
    "coverage",
    "freshness",
    "timeliness",
    "uniqueness",
    "validity",
]
State = Literal["passing", "failing", "stale", "unchecked"]
Outcome = Literal["passed", "failed", ""]  # "": no result yet
HOUR = 3600 * SECOND
WEEK_HOURS = 168
MAX_CHECKS = 100


class Part(BaseModel):
    """A part of a file people write: unknown keys are errors, values are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, frozen=True)


class CheckPart(Part):
    """One check. `fresh_hours`: how old its result may be, where it differs from the contract's."""

    name: CheckName
    dimension: Dimension
    fresh_hours: Hours | None = None


class ContractFile(Part):
    """A contract as its owner writes it."""

    kind: Literal["data-contract"]
    id: Id
    title: Annotated[str, Field(min_length=1, max_length=120)]
    owner: Annotated[str, Field(min_length=1, max_length=63)]
    domain: Annotated[str, Field(min_length=1, max_length=63)]
    description: Annotated[str, Field(max_length=1_000)] = ""
    fresh_hours: Hours = WEEK_HOURS
    mend_days: Annotated[int, Field(ge=0, le=3650)] = 0  # the owner's estimate of the work to make every check pass
    checks: Annotated[list[CheckPart], Field(min_length=1, max_length=MAX_CHECKS)]


@dataclass(frozen=True, slots=True)
class Check:
    """A declared check."""

    name: str
    dimension: str
    fresh_hours: int


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract as it is read, from our form or from ODCS. `source` says which: bedplate, or odcs and its version."""

    id: str
    title: str
    owner: str
    domain: str
    description: str
    mend_days: int
    source: str
    checks: tuple[Check, ...]

    @property
    def subject(self) -> str:
        """The contract's name in records."""
        return f"contract/{self.id}"

    def content(self) -> bytes:
        """Return the exact bytes that are kept and digested."""
        return canonical(json.loads(json.dumps(asdict(self))))

    @property
    def digest(self) -> str:
        """What names exactly this content."""
        return hashlib.sha256(self.content()).hexdigest()


@dataclass(frozen=True, slots=True)
class Checked:
    """A declared check with its last result; times in microseconds, 0 while there is none."""

    name: str
    dimension: str
    fresh_hours: int
    outcome: Outcome = ""
    value: str = ""  # what was measured
    rows: int = 0  # how many were looked at
    at: int = 0
    run: str = ""

    @property
    def due(self) -> int:
        """When the result is too old."""
        return self.at + self.fresh_hours * HOUR if self.at else 0

    def state(self, now: int) -> str:
        """Say how the check stands: passed, failed, stale or unchecked. A failure does not go stale."""
        if not self.outcome:
            return "unchecked"
        return "stale" if self.outcome == "passed" and now >= self.due else str(self.outcome)


@dataclass(frozen=True, slots=True)
class ContractState:
    """How a contract stands now. `passed_permille`: the share of declared checks whose last result passed and is fresh.

    `checked_at`: the newest result, microseconds, 0 for none; `mend_days`: its owner's estimate of the work to mend it.
    """

    id: str
    title: str
    owner: str
    domain: str
    state: State
    passed_permille: int
    checked_at: int
    mend_days: int

    def plain(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        return asdict(self)


def contract_of(file: ContractFile) -> Contract:
    """Read our own form."""
    checks = tuple(Check(c.name, c.dimension, c.fresh_hours or file.fresh_hours) for c in file.checks)
    return Contract(file.id, file.title, file.owner, file.domain, file.description, file.mend_days, "bedplate", checks)


def state_of(checks: Iterable[Checked], now: int) -> State:
    """Say how a contract with these checks stands: the worst of them, a failure before what is not known."""
    states = {check.state(now) for check in checks}
    if "failed" in states:
        return "failing"
    if "unchecked" in states or not states:
        return "unchecked"
    return "stale" if "stale" in states else "passing"


def permille(checks: Sequence[Checked], now: int) -> int:
    """Return the share of checks that passed and are fresh."""
    return 1000 * sum(check.state(now) == "passed" for check in checks) // len(checks) if checks else 0


def noted(contract: str, checks: Sequence[Checked]) -> dict[str, Value]:
    """Say of a contract what a release that stands on it is judged by; `due`: when its first result is too old."""
    return {
        "contract": contract,
        "known": "yes" if checks else "no",
        "failing": [check.name for check in checks if check.outcome == "failed"],
        "unchecked": [check.name for check in checks if not check.outcome],
        "due": min((check.due for check in checks if check.outcome), default=0),
    }
