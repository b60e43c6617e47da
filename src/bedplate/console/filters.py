"""What a person looks for among calls, read from an address and written into one again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from bedplate.errors import BedplateError, Denied, InvalidInput
from bedplate.gateway.price import nano
from bedplate.gateway.search import DIALECTS, ROUTES, STATUSES, VERDICTS, WAYS, Wanted
from bedplate.kernel.clock import EPOCH, MICROSECOND

from .cost import readable
from .problem import Problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .visit import Visit

CHOICES: Mapping[str, tuple[str, ...]] = {
    "verdict": VERDICTS,
    "status": STATUSES,
    "route": ROUTES,
    "dialect": DIALECTS,
    "way": WAYS,
}
NAMES = ("use_case", *CHOICES, "model", "finding", "key", "text", "from", "until", "min_cost", "min_latency")
MAX_MS = 10**9
DOLLARS = re.compile(r"\$?(\d{1,9}(?:\.\d{1,12})?)")


@dataclass(frozen=True, slots=True)
class Filters:
    """The filter as it was `given` (every name, "" where nothing was), and what it means.

    `problem` if it means nothing.
    """

    given: Mapping[str, str]
    wanted: Wanted
    problem: Problem | None = None

    @property
    def query(self) -> str:
        """The filter as the query of an address, without what was left empty."""
        return urlencode({name: value for name, value in self.given.items() if value})

    @property
    def more(self) -> bool:
        """Tell whether it holds more than what is always in sight: a button says that only live calls are shown."""
        seen = {"use_case", "verdict", "status", "text", *(["route"] if self.given["route"] == "live" else [])}
        return any(self.given[name] for name in NAMES if name not in seen)


def filters(visit: Visit) -> Filters:
    """Read the filter from the address; what is wrong with it is told beside the form, which keeps it."""
    given = {name: visit.query(name) for name in NAMES}
    if not visit.request.query_params:
        given["route"] = "live"  # canaries and evaluations would hide what people ask
    try:
        return Filters(given, _wanted(visit, given))
    except BedplateError as wrong:
        return Filters(given, Wanted(), problem_of(wrong))


def _wanted(visit: Visit, given: Mapping[str, str]) -> Wanted:
    for name, choices in CHOICES.items():
        if given[name] and given[name] not in choices:
            raise InvalidInput(f"There is no {name} {given[name][:40]!r}.", hint=f"Choose one of {', '.join(choices)}.")
    least = DOLLARS.fullmatch(given["min_cost"])
    if given["min_cost"] and not least:
        raise InvalidInput(f"min_cost is no amount of US dollars: {given['min_cost'][:40]!r}.", hint="Write 0.05, say.")
    if least and not sees_cost(visit):
        raise Denied("Your seats do not let you see what calls cost.", hint="Look without the least cost.")
    return Wanted(
        subject=f"usecase/{given['use_case']}" if given["use_case"] else "",
        since=_moment("from", given["from"]),
        until=_moment("until", given["until"], last=True),
        cost_nano=nano(least[1]) if least else 0,
        latency_us=_milliseconds(given["min_latency"]) * 1_000,
        **{name: given[name] for name in (*CHOICES, "model", "finding", "key", "text")},
    )


def sees_cost(visit: Visit, subject: str = "") -> bool:
    """Tell whether somebody may see what calls cost: those of a use case, or any at all."""
    try:
        seen = readable(visit)
    except Denied:
        return False
    standing = visit.at.follower.snapshot.standings.get(subject)
    return seen is None or not subject or (standing is not None and standing.domain in seen)


def _moment(name: str, text: str, *, last: bool = False) -> int:
    """Read `2026-11-23`, or with a time such as `T12:41`, UTC; of an end the whole day, minute or second counts."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text.replace(" ", "T"))
    except ValueError:
        raise InvalidInput(
            f"{name} is no moment: {text[:40]!r}.", hint="Write 2026-11-23 or 2026-11-23T12:41, in UTC."
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    whole = 86_400 if len(text) <= len("2026-11-23") else 60 if len(text) <= len("2026-11-23T12:41") else 1
    return max(0, (moment - EPOCH) // MICROSECOND) + (whole * 1_000_000 - 1 if last else 0)


def _milliseconds(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_MS):
        raise InvalidInput(f"min_latency is no number of milliseconds: {text[:40]!r}.", hint="Write 1500, say.")
    return int(text)
