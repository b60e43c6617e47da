"""How the three bodies work: mandates and clocks, delegations, conflicts of interest, competence."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from bedplate.people.part import Id, Part

SEATS = r"^(board|coe|domain)\.(\*|[a-z]+)$"  # patterns of seats
What = Literal["accept", "release", "resume"]


def _written(given: object) -> object:
    """Without quotes, YAML takes a day for a date."""
    return given.isoformat() if isinstance(given, date) and not isinstance(given, datetime) else given


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"{text!r} is not a day; write it like 2027-01-31") from None


Day = Annotated[str, BeforeValidator(_written), AfterValidator(_day)]  # as people write it, with quotes or without


class BodyPart(Part):
    """What a body is for, and how long a decision may wait for it."""

    mandate: Annotated[str, Field(min_length=10, max_length=500)]
    decides_within_days: Annotated[int, Field(ge=1, le=90)]


class DelegationPart(Part):
    """One body's decisions about a tier, handed to another until a day, this day included."""

    id: Id
    tier: Annotated[int, Field(ge=1, le=4)]
    what: Annotated[list[What], Field(min_length=1)]
    from_body: Literal["board", "coe"]
    to_body: Literal["coe", "domain"]
    until: Day
    why: Annotated[str, Field(min_length=10, max_length=500)]

    @model_validator(mode="after")
    def _onward(self) -> Self:
        if self.from_body == self.to_body:
            raise ValueError(f"the {self.from_body} cannot hand decisions to itself")
        return self


class StandInPart(Part):
    """Somebody who votes in an absent person's place from one day to another, both included."""

    id: Id
    absent: Id
    person: Id
    since: Day
    until: Day
    why: Annotated[str, Field(min_length=3, max_length=500)]

    @model_validator(mode="after")
    def _another(self) -> Self:
        if self.absent == self.person:
            raise ValueError(f"{self.person} cannot stand in for themselves")
        if self.until < self.since:
            raise ValueError(f"it ends on {self.until}, before it begins on {self.since}")
        return self


class ConflictPart(Part):
    """Somebody who must not decide about a domain, a use case or a vendor's products."""

    person: Id
    about: Annotated[str, Field(pattern=r"^(domain|usecase|vendor)/[a-z][a-z0-9.-]{0,62}$")]
    why: Annotated[str, Field(min_length=3, max_length=500)]


class CompetencePart(Part):
    """A training that votes of certain seats need, and how long it counts."""

    id: Id
    name: Annotated[str, Field(min_length=1, max_length=120)]
    valid_days: Annotated[int, Field(ge=1, le=1100)]
    needed_by: Annotated[list[Annotated[str, Field(pattern=SEATS)]], Field(min_length=1)]
    tiers: Annotated[list[Annotated[int, Field(ge=1, le=4)]], Field(min_length=1)]
