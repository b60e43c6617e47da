"""A vendor: what it supplies, on what terms, what becomes of our data there, and how we would leave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bedplate.kernel.clock import day_of
from bedplate.kernel.event import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Prose = Annotated[str, Field(min_length=10, max_length=2_000)]
Pattern = Annotated[str, Field(pattern=r"^[^\s]*[A-Za-z0-9][^\s]*$", max_length=200)]  # one of only stars names nobody
OWN = frozenset({"embedded", "local"})  # addresses of what runs inside this installation
HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def _day(value: object) -> object:
    text = value.isoformat() if isinstance(value, date) else str(value)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError("expected a day, like 2027-01-31") from None


Day = Annotated[str, BeforeValidator(_day)]


class Part(BaseModel):
    """A part of a file people write: unknown keys are errors, values are not coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, frozen=True)


class ProductPart(Part):
    """A product with AI in it, and the use cases that run on it."""

    name: Line
    use_cases: Annotated[list[Id], Field(max_length=200)] = []


class TermsPart(Part):
    """What was agreed, and until when it holds."""

    summary: Prose
    valid_until: Day
    url: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=500)] | None = None


class DataUsePart(Part):
    """What becomes of our data there."""

    trains_on_our_data: Literal["yes", "no"]
    processed_in: Annotated[list[Line], Field(min_length=1, max_length=50)]
    retention_days: Annotated[int, Field(ge=0, le=36_500)]
    sub_processors: Annotated[list[Line], Field(max_length=200)] = []


class ExitPart(Part):
    """How we would leave. `vendor`: another of the register that could take over."""

    summary: Prose
    vendor: Id | None = None
    upstream: Line | None = None
    tested_on: Day | None = None


class ContactPart(Part):
    """Whom to ask there."""

    name: Line
    role: Line
    email: Annotated[str, Field(pattern=r"^\S+@\S+$", max_length=200)] | None = None


class ReviewPart(Part):
    """Who looks at the vendor again, and by when."""

    reviewer: Annotated[str, Field(min_length=1, max_length=63)]
    due: Day


class VendorFile(Part):
    """The whole file. `models` and `upstreams` are patterns with stars, of names or, for upstreams, addresses."""

    kind: Literal["vendor"]
    id: Id
    name: Annotated[str, Field(min_length=1, max_length=120)]
    models: Annotated[list[Pattern], Field(max_length=100)] = []
    upstreams: Annotated[list[Pattern], Field(max_length=50)] = []
    products: Annotated[list[ProductPart], Field(max_length=100)] = []
    terms: TermsPart
    data_use: DataUsePart
    exit_plan: ExitPart
    contacts: Annotated[list[ContactPart], Field(min_length=1, max_length=20)]
    review: ReviewPart

    @property
    def subject(self) -> str:
        """The vendor's name in records."""
        return f"vendor/{self.id}"

    def plain(self) -> dict[str, Any]:
        """The file as text and whole numbers only, without what was left out."""
        return self.model_dump(exclude_none=True)

    def content(self) -> bytes:
        """Return the exact bytes that are kept and digested."""
        return canonical(json.loads(json.dumps(self.plain())))


@dataclass(frozen=True, slots=True)
class Supply:
    """What a vendor supplies, as patterns."""

    id: str
    models: tuple[str, ...]
    upstreams: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A model that a release asks: the upstream by its names (as files call it, and its address), and the model."""

    upstream: str
    model: str
    names: tuple[str, ...] = ()

    @property
    def own(self) -> bool:
        """Tell whether it runs here: in this process, beside it, or on this host."""
        return self.upstream in OWN or (urlsplit(self.upstream).hostname or "") in HOSTS


def suppliers(target: Target, supplies: Iterable[Supply]) -> list[str]:
    """Name the vendors behind a target: whoever supplies its upstream, and whoever supplies its model.

    A model hosted by somebody else than its maker has two. Letters' case does not matter.
    """
    if target.own:
        return []
    at = [name.lower() for name in (target.upstream, *target.names)]
    model = target.model.lower()
    return sorted(
        s.id
        for s in supplies
        if any(fnmatchcase(name, p.lower()) for p in s.upstreams for name in at)
        or any(fnmatchcase(model, p.lower()) for p in s.models)
    )


def end_of(day: str) -> int:
    """Return the first microsecond after a day."""
    return day_of(day, after=1)
