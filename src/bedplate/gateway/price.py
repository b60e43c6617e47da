"""What a call costs: list prices from `genai-prices`, an organisation's own contracts before them, whole nano-dollars.

A rate is nano-US-dollars per million tokens: a list price such as $0.0375 a million is 37,500,000 of them, and exact,
where per token it would not be. A call's cost is rounded once, half up, to whole nano-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from bedplate.kernel.clock import DAY, EPOCH, MICROSECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genai_prices.types import ModelInfo, ModelPrice

    from .tariff import Tariff

NANO = 1_000_000_000  # a US dollar
MILLION = 1_000_000  # tokens that a rate is for
FOREVER = 1 << 62
UNKNOWN_ID = "unknown"
OWN = frozenset({"embedded", "local"})  # answers made in this process: nobody charges for them
MAX_KNOWN = 4_096  # prices held in memory


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-US-dollars per million tokens, for calls with more than `above` tokens in.

    `cached` is for tokens read from the provider's cache, `written` for those put into it, `reasoning` for tokens out
    that were not shown.
    """

    input: int
    cached: int
    written: int
    output: int
    reasoning: int
    above: int = -1


@dataclass(frozen=True, slots=True)
class Price:
    """What applied to a call. `id` goes on record; `rates` come highest threshold first; `until` is exclusive."""

    id: str
    rates: tuple[Rates, ...] = ()
    per_call: int = 0  # nano-US-dollars
    since: int = 0
    until: int = FOREVER

    @property
    def known(self) -> bool:
        """Whether there is a price: without one the cost is 0, and must be shown as not priced."""
        return self.id != UNKNOWN_ID

    def cost(
        self, tokens_in: int, cached_in: int, tokens_out: int, *, written_in: int = 0, reasoning_out: int = 0
    ) -> int:
        """Return nano-US-dollars, at least 0.

        `cached_in` and `written_in` are part of `tokens_in`, `reasoning_out` of `tokens_out`, as OpenAI counts them.
        """
        for r in self.rates:
            if tokens_in > r.above:
                cached = min(cached_in, tokens_in)
                written = min(written_in, tokens_in - cached)
                hidden = min(reasoning_out, tokens_out)
                total = (
                    (tokens_in - cached - written) * r.input
                    + cached * r.cached
                    + written * r.written
                    + (tokens_out - hidden) * r.output
                    + hidden * r.reasoning
                )
                return (total + MILLION // 2) // MILLION + self.per_call
        return 0


UNKNOWN = Price(UNKNOWN_ID)


class Prices:
    """Prices by model and address of the upstream, each resolved once for as long as it is in force. Thread-safe.

    A model at an address that `genai-prices` does not know is not priced, however well its name is known: who serves it
    sets the price.
    """

    def __init__(self, tariff: Tariff | None = None) -> None:
        self._tariff = tariff
        self._known: dict[tuple[str, str], Price] = {}

    def of(self, model: str, upstream: str, at: int) -> Price:
        """Return the price in force at a moment (microseconds); `UNKNOWN` if nobody says what it costs."""
        found = self._known.get((model, upstream))
        if found is None or not found.since <= at < found.until:
            found = self._resolved(model, upstream, at)
            if len(self._known) >= MAX_KNOWN:
                self._known = {}
            self._known[model, upstream] = found
        return found

    def follow(self, tariff: Tariff | None) -> None:
        """Take over the contracts in force; nothing happens while they are the same."""
        if (tariff.digest if tariff else "") != (self._tariff.digest if self._tariff else ""):
            self._tariff = tariff
            self._known = {}

    def warm(self, pairs: Iterable[tuple[str, str]], at: int) -> list[tuple[str, str]]:
        """Resolve these (model, upstream) now, so that no call waits for it; returns those that are not priced."""
        return [pair for pair in pairs if not self.of(*pair, at).known]

    def _resolved(self, model: str, upstream: str, at: int) -> Price:
        since, until = 0, FOREVER
        if self._tariff is not None:
            agreed, since, until = self._tariff.price(model, upstream, at)
            if agreed is not None:
                return agreed
        found = Price("own", (Rates(0, 0, 0, 0, 0),)) if upstream in OWN else _listed(model, upstream, at)
        return Price(found.id, found.rates, found.per_call, max(found.since, since), min(found.until, until))


def nano(text: Decimal | str) -> int:
    """Read US dollars as nano-US-dollars, rounding half up what is finer (binary fractions in list prices)."""
    return int((Decimal(text) * NANO).to_integral_value("ROUND_HALF_UP"))


def dollars(amount: int, places: int = 2) -> str:
    """Write nano-US-dollars as dollars for people: `1,234.50`; what is not nothing is never shown as 0."""
    least = 10 ** (9 - places)
    if 0 < abs(amount) * 2 <= least:
        return f"{'-' if amount < 0 else ''}<0.{'0' * (places - 1)}1"
    return f"{Decimal(amount) / NANO:,.{places}f}"


def day_start(day: date) -> int:
    """Return the first microsecond of a day, UTC."""
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - EPOCH) // MICROSECOND


def _listed(model: str, url: str, at: int) -> Price:
    from genai_prices import __version__  # noqa: PLC0415  30 to 250 ms and 6 MB, and only who pays by list needs it
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415  as above

    try:
        provider, info = get_snapshot().find_provider_model(model, None, None, url)
    except LookupError:
        return UNKNOWN
    moment = EPOCH + at * MICROSECOND
    prices = info.get_prices(moment)
    if prices.input_mtok is None and prices.output_mtok is None and prices.requests_kcount is None:
        return UNKNOWN  # charged by the page, the hour or the picture: tokens do not tell its cost
    since, until = _in_force(info, moment, at)
    name = f"genai-prices/{__version__}/{provider.id}/{info.id}"
    return Price(name, _rates(prices), nano(_base(prices.requests_kcount) / 1000), since, until)


def _rates(prices: ModelPrice) -> tuple[Rates, ...]:
    thresholds = {-1}
    for name in ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok", "output_reasoning_mtok"):
        thresholds |= {tier.start for tier in getattr(getattr(prices, name), "tiers", ())}
    return tuple(_at(prices, above) for above in sorted(thresholds, reverse=True))


def _at(prices: ModelPrice, above: int) -> Rates:
    def rate(name: str, otherwise: int) -> int:
        value = getattr(prices, name)
        if value is None:
            return otherwise  # a part without a price of its own is charged as what it is part of
        reached = [tier.price for tier in getattr(value, "tiers", ()) if tier.start <= above]
        return nano(reached[-1] if reached else _base(value))

    inwards, outwards = rate("input_mtok", 0), rate("output_mtok", 0)
    return Rates(
        inwards,
        rate("cache_read_mtok", inwards),
        rate("cache_write_mtok", inwards),
        outwards,
        rate("output_reasoning_mtok", outwards),
        above,
    )


def _base(value: object) -> Decimal:
    base = getattr(value, "base", value)
    return base if isinstance(base, Decimal) else Decimal(0)


def _in_force(info: ModelInfo, moment: datetime, at: int) -> tuple[int, int]:
    """Return from when to when the price found at a moment is the one: between the nearest changes around it."""
    if not isinstance(info.prices, list):
        return 0, FOREVER
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    changes = {0, FOREVER}
    for conditional in info.prices:
        constraint = conditional.constraint
        start = getattr(constraint, "start_date", None)
        if start is not None:
            changes.add(day_start(start))
        for end in (getattr(constraint, "start_time", None), getattr(constraint, "end_time", None)):
            if end is not None:
                today = _micros(midnight.replace(tzinfo=end.tzinfo or UTC, hour=end.hour, minute=end.minute))
                changes |= {today - DAY, today, today + DAY}
    return max(c for c in changes if c <= at), min(c for c in changes if c > at)


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
