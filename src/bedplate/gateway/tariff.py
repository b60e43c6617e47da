"""The prices that an organisation agreed with providers: a YAML file, effective-dated, that never rewrites the past."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from bedplate.document import Document, InvalidDocument
from bedplate.kernel.clock import EPOCH, MICROSECOND
from bedplate.kernel.event import canonical

from .price import FOREVER, NANO, Price, Rates, day_start, nano

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 1_000_000  # US dollars a million tokens: beyond any price, and far from an overflow
PLACES = 9  # decimals of a dollar: a rate is whole nano-dollars per million tokens


def _dollars(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f'write it in quotes, as decimal text: "{value}"')  # noqa: TRY004  a complaint about a file
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not decimal text such as 2.50") from None
    if not amount.is_finite() or not 0 <= amount <= MOST or amount * NANO % 1:
        raise ValueError(f"{value!r} is not between 0 and {MOST:,} US dollars with at most {PLACES} decimals")
    return value


def _day(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise ValueError(f"{value!r} is not a day such as 2026-12-01") from None


Dollars = Annotated[str, BeforeValidator(_dollars)]
Day = Annotated[str, BeforeValidator(_day)]
Pattern = Annotated[str, Field(min_length=1, max_length=200)]


class LinePart(BaseModel):
    """One agreed price. Dollars per million tokens, as text; `until` is the last day, and may be left open."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, frozen=True)

    model: Pattern
    upstream: Pattern = "*"
    input: Dollars
    cached_input: Dollars | None = None  # as `input`, if left out
    output: Dollars
    since: Day = Field(alias="from")
    until: Day | None = None
    contract: Annotated[str, Field(min_length=1, max_length=200)]


class TariffFile(BaseModel):
    """The whole file: every agreed price, those that have ended included."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True, frozen=True)

    kind: Literal["prices"]
    currency: Literal["USD"]
    prices: Annotated[list[LinePart], Field(max_length=5_000)]

    @field_validator("prices")
    @classmethod
    def _ordered(cls, prices: list[LinePart]) -> list[LinePart]:
        for number, line in enumerate(prices, 1):
            if line.until is not None and line.until < line.since:
                raise ValueError(f"price {number}, {line.model}: `until` {line.until} is before `from` {line.since}")
        return prices


@dataclass(frozen=True, slots=True)
class Line:
    """One agreed price, nano-US-dollars per million tokens: from the first of `since` to the end of `until`."""

    model: str
    upstream: str
    input: int
    cached: int
    output: int
    since: str  # day, UTC
    until: str  # last day; "" while it is open
    contract: str

    @property
    def span(self) -> tuple[int, int]:
        """From when, and to when (exclusive), in microseconds."""
        last = date.fromisoformat(self.until) + timedelta(days=1) if self.until else None
        return day_start(date.fromisoformat(self.since)), day_start(last) if last else FOREVER

    def fits(self, model: str, upstream: str) -> bool:
        """Tell whether it is about this model at this address."""
        about = fnmatchcase(model.lower(), self.model.lower())
        return about and fnmatchcase(upstream.lower(), self.upstream.lower())

    @property
    def said(self) -> str:
        """For people."""
        where = "" if self.upstream == "*" else f" at {self.upstream}"
        return f"{self.model}{where} from {self.since}"


@dataclass(frozen=True, slots=True)
class Tariff:
    """Every agreed price. `digest` names the exact content that was put in force."""

    lines: tuple[Line, ...]
    digest: str

    def price(self, model: str, upstream: str, at: int) -> tuple[Price | None, int, int]:
        """Return the price agreed for a moment, and from when to when that answer holds; None if there is none.

        Where several lines fit, the one with the most letters in its patterns counts: the exact name before a `*`.
        """
        fitting = [(number, line) for number, line in enumerate(self.lines, 1) if line.fits(model, upstream)]
        changes = {0, FOREVER, *(moment for _, line in fitting for moment in line.span)}
        since, until = max(c for c in changes if c <= at), min(c for c in changes if c > at)
        now = [(number, line) for number, line in fitting if line.span[0] <= at < line.span[1]]
        if not now:
            return None, since, until
        number, line = max(now, key=lambda found: (_letters(found[1].model), _letters(found[1].upstream), -found[0]))
        rates = Rates(line.input, line.cached, line.input, line.output, line.output)
        return Price(f"contract/{self.digest[:12]}/{number}", (rates,), 0, since, until), since, until


def check_tariff(document: Document) -> Tariff:
    """Read a file; `InvalidDocument` with every complaint. Two prices of one model for one day name both lines."""
    file = document.read(TariffFile)
    lines = tuple(_line(part) for part in file.prices)
    wrong = []
    for later, line in enumerate(lines):
        for earlier, other in enumerate(lines[:later]):
            if (line.model.lower(), line.upstream.lower()) == (other.model.lower(), other.upstream.lower()):
                (a, b), (c, d) = line.span, other.span
                if a < d and c < b:
                    there = document.complain(["prices", earlier], "").line
                    message = f"{line.said} overlaps line {there}, {other.said}: end one before the other begins"
                    wrong.append(document.complain(["prices", later], message))
    if wrong:
        raise InvalidDocument(wrong)
    return Tariff(lines, hashlib.sha256(content(lines)).hexdigest())


def content(lines: Sequence[Line]) -> bytes:
    """Return the exact bytes that are kept and digested."""
    return canonical({"currency": "USD", "unit": "nano per million tokens", "prices": [asdict(line) for line in lines]})


def read(kept: bytes) -> Tariff:
    """Read a tariff back from its bytes."""
    body = json.loads(kept)
    return Tariff(tuple(Line(**line) for line in body["prices"]), hashlib.sha256(kept).hexdigest())


def rewritten(old: Sequence[Line], new: Sequence[Line], now: int) -> list[str]:
    """List what would change the past: a price that was in force may only be ended, from today on, in UTC days."""
    today = (EPOCH + now * MICROSECOND).date().isoformat()
    before = {(line.model, line.upstream, line.since): line for line in old}
    after = {(line.model, line.upstream, line.since): line for line in new}
    wrong = []
    for key, line in before.items():
        if line.since > today:
            continue  # it never was in force
        kept = after.get(key)
        if kept is None:
            wrong.append(f"{line.said} was in force and is gone: give it an `until` instead")
        elif asdict(kept) | {"until": "", "contract": ""} != asdict(line) | {"until": "", "contract": ""}:
            wrong.append(f"{line.said} was in force at another price: end it, and begin a new line")
        elif kept.until != line.until and min(kept.until or today, line.until or today) < today:
            wrong.append(f"{line.said}: `until` can only be moved from today ({today}) on")
    wrong += [
        f"{line.said} begins in the past: calls keep the price they were made at, so begin today ({today}) or later"
        for key, line in after.items()
        if key not in before and line.since < today
    ]
    return wrong


def _line(part: LinePart) -> Line:
    cached = part.input if part.cached_input is None else part.cached_input
    return Line(
        part.model,
        part.upstream,
        nano(part.input),
        nano(cached),
        nano(part.output),
        part.since,
        part.until or "",
        part.contract,
    )


def _letters(pattern: str) -> int:
    return sum(c not in "*?[]" for c in pattern)


def plain(tariff: Tariff) -> list[dict[str, Any]]:
    """Return the lines as JSON-ready values."""
    return [asdict(line) for line in tariff.lines]
