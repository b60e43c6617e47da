"""What the door works with: its ports, and what stands in where there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bedplate.errors import Denied, InvalidInput, NotFound

from .held import Kept

if TYPE_CHECKING:
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.control import Control

    from .budget import Budgets
    from .call import Trace
    from .grounding import Numbered
    from .snapshot import Follower
    from .switchboard import Switchboard


class Recorder(Protocol):
    """Where calls are recorded; returns only after the record is durable."""

    @property
    def healthy(self) -> bool:
        """Tell whether records can be taken."""
        ...

    async def record(self, trace: Trace, kind: str, content: Mapping[str, Any] | None) -> None:
        """Commit one record; `Unavailable` or `Full` if that cannot be done now."""
        ...


class Grounded(Protocol):
    """What is measured of an answer."""

    @property
    def unanswered(self) -> bool:
        """Whether the sources did not answer."""
        ...

    @property
    def permille(self) -> int:
        """How much of the answer is cited and borne out."""
        ...


class Priced(Protocol):
    """What tokens cost."""

    @property
    def id(self) -> str:
        """What the record calls it."""
        ...

    def cost(self, tokens_in: int, cached_in: int, tokens_out: int) -> int:
        """Return nano-US-dollars."""
        ...


Retrieve = Callable[[str, str, int], Awaitable[Sequence["Numbered"]]]
Assess = Callable[[str, Sequence[tuple[str, str]], str], Grounded]
PriceOf = Callable[[str, str, int], Priced]  # model, upstream's address, microseconds
Render = Callable[[str, object], tuple[list[dict[str, str]], str, str]]  # release, prompt -> messages, id, digest


Agree = Callable[[str, str, dict[str, Any]], Awaitable[None]]  # key, use case, facts; NeedsApproval, Denied
Give = Callable[[str, str, dict[str, Any], str], Awaitable[None]]  # as above, and the call that gets the answer
Keep = Callable[[str], Awaitable[Kept]]  # the call whose answer was held; NotFound, Tampered


async def _nobody_to_ask(_key: str, _subject: str, _facts: dict[str, Any]) -> None:
    raise Denied("there is nobody here who could be asked", hint="take it out of the prompt and send again")


async def _nobody_to_give(_key: str, _subject: str, _facts: dict[str, Any], _to: str) -> None:
    raise Denied("there is nobody here who could be asked")


async def _nothing_kept(call: str) -> Kept:
    raise NotFound(f"nothing is kept of {call}")


def _nothing_released(_release: str, _prompt: object) -> tuple[list[dict[str, str]], str, str]:
    raise InvalidInput("this release carries no prompts that can be named")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the door works with; the composition root hands them over."""

    follower: Follower
    recorder: Recorder
    switchboard: Switchboard
    retrieve: Retrieve
    assess: Assess
    budgets: Budgets
    price: PriceOf
    controls: tuple[Control, ...]
    clock: Clock
    identify: Callable[[], str]
    onward: Callable[[str, str], str] = lambda _call, _parent: ""  # traceparent for the upstream
    agree: Agree = _nobody_to_ask
    give: Give = _nobody_to_give
    kept: Keep = _nothing_kept
    render: Render = _nothing_released
    verify: Callable[[str, str], tuple[str, str, bool]] = lambda _release, _header: ("", "", False)
    noticed: Callable[[str, str, str, str], None] = lambda _kind, _text, _where, _route: None  # who is not on record
