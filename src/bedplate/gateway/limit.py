"""How much a use case may use, how much it has, and which limit a call would pass."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from bedplate.kernel.model import TierPlan

CENT = 10_000_000  # nano-US-dollars
NO_LIMIT = 0
State = Literal["ok", "warn", "over"]


class Planned(Protocol):
    """What a release plans to use; its bundle and its recipe say so. 0: no limit of its own."""

    @property
    def calls_per_day(self) -> int:
        """Calls a UTC day."""
        ...

    @property
    def tokens_per_day(self) -> int:
        """Tokens a UTC day, in and out."""
        ...

    @property
    def cents_per_day(self) -> int:
        """US cents a UTC day."""
        ...

    @property
    def cents_per_month(self) -> int:
        """US cents a UTC month."""
        ...

    @property
    def warn_percent(self) -> int:
        """From how many percent of a limit on it warns."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of each; 0: no limit. `warn_percent` of any of them is the soft warning; 0: none."""

    calls_per_day: int = NO_LIMIT
    tokens_per_day: int = NO_LIMIT
    nano_per_day: int = NO_LIMIT
    calls_per_month: int = NO_LIMIT
    tokens_per_month: int = NO_LIMIT
    nano_per_month: int = NO_LIMIT
    warn_percent: int = NO_LIMIT

    @classmethod
    def of(cls, plan: TierPlan, planned: Planned | None = None) -> Limits:
        """Return the smaller of what the tier allows and what the release plans."""
        tier = cls(
            plan.calls_per_day,
            plan.tokens_per_day,
            plan.cents_per_day * CENT,
            plan.calls_per_month,
            plan.tokens_per_month,
            plan.cents_per_month * CENT,
            plan.warn_percent,
        )
        if planned is None:
            return tier
        own = cls(
            calls_per_day=planned.calls_per_day,
            tokens_per_day=planned.tokens_per_day,
            nano_per_day=planned.cents_per_day * CENT,
            nano_per_month=planned.cents_per_month * CENT,
            warn_percent=planned.warn_percent,
        )
        return tier.least(own)

    def least(self, other: Limits) -> Limits:
        """Return the smaller of each."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(Limits))
        return Limits(*(min(a, b) if a and b else a or b for a, b in pairs))


class Spent(NamedTuple):
    """What a use case has used and reserved, over all processes of this host: today, and this month."""

    day: int = -1
    month: int = -1
    calls: int = 0
    tokens: int = 0
    nano: int = 0
    month_calls: int = 0
    month_tokens: int = 0
    month_nano: int = 0

    def against(self, limits: Limits) -> tuple[Over, ...]:
        """Return every limit with what is used of it."""
        pairs = (
            ("calls_per_day", self.calls, limits.calls_per_day),
            ("tokens_per_day", self.tokens, limits.tokens_per_day),
            ("nano_per_day", self.nano, limits.nano_per_day),
            ("calls_per_month", self.month_calls, limits.calls_per_month),
            ("tokens_per_month", self.month_tokens, limits.tokens_per_month),
            ("nano_per_month", self.month_nano, limits.nano_per_month),
        )
        return tuple(Over(name, used, most) for name, used, most in pairs if most)

    def state(self, limits: Limits) -> State:
        """Say how it stands: `warn` from `warn_percent` of any limit on, `over` where one is used up."""
        lines = self.against(limits)
        if any(line.used >= line.most for line in lines):
            return "over"
        percent = limits.warn_percent
        return "warn" if percent and any(line.used * 100 >= line.most * percent for line in lines) else "ok"


@dataclass(frozen=True, slots=True)
class Over:
    """A limit, what is used of it, and the most there is: calls, tokens or nano-US-dollars."""

    limit: str
    used: int
    most: int

    @property
    def reason(self) -> str:
        """Say why a call was not made."""
        unit, _, span = self.limit.partition("_per_")
        used, most = (f"${n / 1e9:,.2f}" if unit == "nano" else f"{n:,}" for n in (self.used, self.most))
        what, when = ("" if unit == "nano" else f" {unit}"), ("today" if span == "day" else "this month")
        return f"{used} of {most}{what} are used {when}, and this call would need more"
