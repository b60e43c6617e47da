"""The operating model as people write it: one YAML file, checked, then compiled to what the kernel reads."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from bedplate.kernel.approval import MAY_DECIDE
from bedplate.kernel.control import untried
from bedplate.kernel.model import RETENTION_FLOOR_DAYS, SECTIONS

from .astray import Complaint, astray, twice, voters
from .part import Id, Part, YesNo
from .sections.amnesty import AmnestyPart
from .sections.bodies import BodyPart, CompetencePart, ConflictPart, DelegationPart, StandInPart
from .sections.money import MoneyPart
from .sections.portfolio import PortfolioPart

# What the worker does by itself; a model that takes one of these away would switch oversight off.
SYSTEMS = frozenset(
    {
        "evidence:content:expire",
        "evidence:shard:anchor",
        "incidents:incident:open",
        "kernel:approval:expire",
        "models:measure:record",
        "people:account:limit",
        "portfolio:usecase:decline",
    }
)
GuardKind = Annotated[
    str, Field(pattern=r"^(secrets|personal-data|terms|length|injection|citations|x:[a-z][a-z0-9-]{0,40})$")
]
GuardMode = Literal["observe", "redact", "ask", "block"]
JUDGED = frozenset({"citations", "injection"})  # of a text as a whole: there is no place in it to redact
CELLS = ("low × assistive", "low × autonomous", "high × assistive", "high × autonomous")
_SEAT = re.compile(r"(?P<body>board|coe|domain|audit)\.(?P<role>[a-z]+)(@(?P<domain>[a-z][a-z0-9-]*))?")
_PATTERN = re.compile(r"(board|coe|domain|audit)\.(\*|[a-z]+)|operator|system")


class PersonPart(Part):
    """Somebody, and the seats they hold: `board.chair`, `coe.member`, `domain.owner@people`."""

    id: Id
    name: Annotated[str, Field(min_length=1, max_length=120)]
    seats: Annotated[list[str], Field(min_length=1)]

    @field_validator("seats")
    @classmethod
    def _known(cls, seats: list[str]) -> list[str]:
        for seat in seats:
            found = _SEAT.fullmatch(seat)
            if found is None or (found["body"] == "domain") != bool(found["domain"]):
                raise ValueError(
                    f"{seat!r} is not a seat; write board.chair, coe.member, audit.reader or domain.owner@DOMAIN"
                )
        return seats


class DomainPart(Part):
    """A business domain that owns use cases."""

    id: Id
    name: str


class QuestionPart(Part):
    """One intake question; `yes` or no answer raises its axis."""

    id: Id
    text: str
    axis: Literal["impact", "autonomy"]


class CellPart(Part):
    """One cell of the 2×2."""

    impact: Literal["low", "high"]
    autonomy: Literal["assistive", "autonomous"]
    tier: Annotated[int, Field(ge=1, le=4)]


class StagePart(Part):
    """Who must agree, to what kind of decision, and how many of them."""

    body: Literal["board", "coe", "domain"]
    decides: Literal["policy", "business-risk", "technical", "ownership"]
    quorum: Annotated[int, Field(ge=1, le=9)] = 1

    @model_validator(mode="after")
    def _separated(self) -> Self:
        if self.decides not in MAY_DECIDE[self.body]:
            allowed = ", ".join(sorted(MAY_DECIDE[self.body]))
            raise ValueError(f"the {self.body} cannot take a {self.decides} decision; it decides: {allowed}")
        return self


class OversightPart(Part):
    """How people watch at run time."""

    sample_percent: Annotated[int, Field(ge=0, le=100)]
    drafts: YesNo


class BudgetPart(Part):
    """Hard stops per use case, UTC day and month; `warn_percent` of any of them is the soft warning."""

    calls_per_day: Annotated[int, Field(ge=1)]
    tokens_per_day: Annotated[int, Field(ge=1)]
    calls_per_month: Annotated[int, Field(ge=1)] | None = None
    tokens_per_month: Annotated[int, Field(ge=1)] | None = None
    cents_per_day: Annotated[int, Field(ge=1)] | None = None  # US cents
    cents_per_month: Annotated[int, Field(ge=1)] | None = None
    warn_percent: Annotated[int, Field(ge=1, le=99)] | None = None


class MonitorPart(Part):
    """A measure with a limit. `window_calls` is how many recent calls it looks at; `every` how often at the latest."""

    measure: Literal["unanswered", "ungrounded", "failed", "thumbs-down", "harm"]
    limit_percent: Annotated[int, Field(ge=0, le=100)]
    window_calls: Annotated[int, Field(ge=5, le=10_000)]
    every: Literal["hourly", "daily", "weekly"]


class RecordPart(Part):
    """What is kept of each call and how long; never below six months."""

    intent: YesNo
    keep_days: Annotated[int, Field(ge=RETENTION_FLOOR_DAYS)]


class SafetyModelPart(Part):
    """A model behind an OpenAI endpoint that answers safe or unsafe; `key_env` names the variable with its key."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=500)]
    model: Annotated[str, Field(min_length=1, max_length=120)]
    key_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,80}$")] | None = None
    timeout_ms: Annotated[int, Field(ge=100, le=60_000)] | None = None


CanaryText = Annotated[str, Field(min_length=1, max_length=2_000)]


class GuardrailPart(Part):
    """What happens to findings on the way in and on the way out."""

    input: dict[GuardKind, GuardMode]
    output: dict[GuardKind, GuardMode]
    max_prompt_chars: Annotated[int, Field(ge=100, le=4_000_000)]
    max_answer_chars: Annotated[int, Field(ge=1, le=4_000_000)] | None = None
    terms: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=1000)] | None = None
    http: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")], SafetyModelPart] | None = None
    canaries: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")], CanaryText] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for way, policy in (("input", self.input), ("output", self.output)):
            for kind in sorted(set(policy) & JUDGED):
                if policy[kind] == "redact":
                    raise ValueError(f"{way}.{kind} cannot be redacted; choose observe, ask or block")
            if "terms" in policy and not self.terms:
                raise ValueError(f"{way}.terms needs terms: a list of what is not to be spoken of")
        if wrong := sorted({"citations", "length"} & set(self.input) | {"injection"} & set(self.output)):
            raise ValueError(f"{wrong[0]} is looked for the other way")
        if "length" in self.output and self.max_answer_chars is None:
            raise ValueError("output.length needs max_answer_chars")
        if silent := untried({*self.input, *self.output}, self.canaries or {}):
            raise ValueError(f"x:{silent[0]} needs canaries.{silent[0]}: a text that it must find")
        return self

    def plain(self) -> dict[str, Any]:
        """The part without what was left out, as in models that were applied before."""
        return self.model_dump(exclude_none=True)


class ActsPart(Part):
    """How long an agent's parked action waits for people, and when who stands above is told."""

    expires_minutes: Annotated[int, Field(ge=1, le=31 * 24 * 60)]
    escalate_minutes: Annotated[int, Field(ge=1, le=31 * 24 * 60)] | None = None


class TierPart(Part):
    """What one quadrant compiles to."""

    tier: Annotated[int, Field(ge=1, le=4)]
    name: str
    approvals: dict[Literal["accept", "release", "resume", "act"], list[StagePart]]
    acts: ActsPart | None = None
    controls: Annotated[list[str], Field(min_length=1)]
    guardrails: GuardrailPart
    oversight: OversightPart
    budget: BudgetPart
    monitors: Annotated[list[MonitorPart], Field(min_length=1)]
    ladder: dict[Literal["breach", "harm", "overdue"], Literal["propose", "read", "off"]]
    record: RecordPart
    review_days: Annotated[int, Field(ge=1, le=366)]
    lease_ms: Annotated[int, Field(ge=100, le=60_000)]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for what in ("accept", "release", "resume"):
            if not self.approvals.get(what):
                raise ValueError(f"approvals.{what} must name at least one body")
        if not {"breach", "harm"} <= set(self.ladder):
            raise ValueError("ladder must say where breach and harm lead")
        return self


class AppetitePart(Part):
    """What the board is willing to carry."""

    worth_at_least: Annotated[int, Field(ge=1, le=25)]  # value × feasibility below which a use case is declined
    value_bands: Annotated[
        list[int], Field(min_length=4, max_length=4)
    ]  # a year's value from which a case scores 2, 3, 4, 5
    live_use_cases: Annotated[int, Field(ge=1)]  # more than that is another maturity stage


class OperatingModelFile(Part):
    """The whole file."""

    kind: Literal["operating-model"]
    organisation: Annotated[str, Field(min_length=1, max_length=120)]
    maturity: Literal["steel-thread", "first-ten", "at-scale"]
    posture: Literal["standard", "solo"] = "standard"
    approval_days: Annotated[int, Field(ge=1, le=90)] = 14
    evidence_days: Annotated[int, Field(ge=1, le=366)] = 90
    domains: Annotated[list[DomainPart], Field(min_length=1)]
    people: Annotated[list[PersonPart], Field(min_length=1)]
    permissions: dict[str, list[str]]
    questions: Annotated[list[QuestionPart], Field(min_length=2)]
    matrix: Annotated[list[CellPart], Field(min_length=4, max_length=4)]
    tiers: Annotated[list[TierPart], Field(min_length=4, max_length=4)]
    appetites: AppetitePart
    # A small organisation leaves these out; what is left out is not there, as in models that were applied before.
    bodies: dict[Literal["board", "coe", "domain"], BodyPart] | None = None
    delegations: Annotated[list[DelegationPart], Field(max_length=200)] | None = None
    stand_ins: Annotated[list[StandInPart], Field(max_length=200)] | None = None
    conflicts: Annotated[list[ConflictPart], Field(max_length=1000)] | None = None
    competences: Annotated[list[CompetencePart], Field(max_length=50)] | None = None
    money: MoneyPart | None = None
    portfolio: PortfolioPart | None = None
    amnesty: AmnestyPart | None = None

    @field_validator("matrix", mode="before")
    @classmethod
    def _whole_matrix(cls, cells: Any) -> Any:  # noqa: ANN401  a file is what it is until the schema has seen it
        if isinstance(cells, list) and len(cells) < len(CELLS) and all(isinstance(c, dict) for c in cells):
            told = {f"{c.get('impact')} × {c.get('autonomy')}" for c in cells}
            if missing := [cell for cell in CELLS if cell not in told]:
                raise ValueError(f"no cell for {', '.join(missing)}: every quadrant needs its tier")
        return cells

    def plain(self) -> dict[str, Any]:
        """Compile to what the kernel's `model.load` reads: text and whole numbers only."""
        body = self.model_dump()
        for person in body["people"]:
            person["seats"] = [
                {k: v for k, v in _SEAT.fullmatch(s).groupdict().items() if v}  # type: ignore[union-attr]  # checked above
                for s in person["seats"]
            ]
        for tier in body["tiers"]:  # a limit that is not set is not there, as in models that were applied before
            tier["budget"] = {name: most for name, most in tier["budget"].items() if most is not None}
        for tier, part in zip(body["tiers"], self.tiers, strict=True):
            tier["guardrails"] = part.guardrails.plain()
            del tier["acts"]
            if part.acts is not None:
                tier["acts"] = part.acts.model_dump(exclude_none=True)
        for name in SECTIONS:
            body.pop(name)
            if (section := getattr(self, name)) is not None:
                body[name] = _stated(section)
        return body


def _stated(section: Any) -> Any:  # noqa: ANN401  parts within lists and mappings
    """Return a section in its plain form, without what was left out."""
    match section:
        case Part():
            return section.model_dump(exclude_none=True)
        case list():
            return [_stated(inner) for inner in section]
        case dict():
            return {name: _stated(inner) for name, inner in section.items()}
        case _:
            return section


def dangling(file: OperatingModelFile, controls: frozenset[str], permissions: frozenset[str]) -> list[Complaint]:
    """List names that point nowhere, and quorums nobody can reach, as (path, message)."""
    wrong: list[Complaint] = []
    domains = {d.id for d in file.domains}
    for index, person in enumerate(file.people):
        for place, seat in enumerate(person.seats):
            at = seat.partition("@")[2]
            if at and at not in domains:
                wrong.append(
                    (["people", index, "seats", place], f"no domain {at!r}; known: {', '.join(sorted(domains))}")
                )
    wrong += [
        (["portfolio", "domains", name], f"no domain {name!r}; known: {', '.join(sorted(domains))}")
        for name in (file.portfolio.domains or {} if file.portfolio is not None else {})
        if name not in domains
    ]
    wrong += twice("people", [p.id for p in file.people]) + twice("domains", [d.id for d in file.domains])
    wrong += twice("questions", [q.id for q in file.questions]) + twice("tiers", [str(t.tier) for t in file.tiers])
    wrong += twice("matrix", [f"{c.impact} × {c.autonomy}" for c in file.matrix])
    for permission, patterns in file.permissions.items():
        if permission not in permissions:
            wrong.append((["permissions", permission], f"no such permission; known: {', '.join(sorted(permissions))}"))
        wrong += [
            (["permissions", permission, place], f"{pattern!r} matches no seat")
            for place, pattern in enumerate(patterns)
            if not _PATTERN.fullmatch(pattern)
        ]
    for permission in sorted(SYSTEMS):
        if "system" not in file.permissions.get(permission, ()):
            wrong.append((["permissions", permission], "must list system: without it, monitors and records stop"))
    for index, tier in enumerate(file.tiers):
        wrong += [
            (["tiers", index, "controls", place], f"no control {name!r}; known: {', '.join(sorted(controls))}")
            for place, name in enumerate(tier.controls)
            if name not in controls
        ]
        wrong += _unreachable(file, index, tier)
    return wrong + astray(file)


def _unreachable(file: OperatingModelFile, index: int, tier: TierPart) -> list[Complaint]:
    wrong: list[Complaint] = []
    for what, stages in tier.approvals.items():
        for place, stage in enumerate(stages):
            have = voters(file, stage.body)
            if have < stage.quorum:
                message = (
                    f"quorum {stage.quorum} cannot be reached: {have} people hold a voting seat of the {stage.body}"
                )
                wrong.append((["tiers", index, "approvals", what, place], message))
    return wrong
