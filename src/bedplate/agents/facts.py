"""What a policy may look at: one call with its arguments, its run, and whence its values are."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .toolcall import READ

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .charter import Agent, Tool
    from .run import Run
    from .taint import Provenance
    from .toolcall import Tainted

MICRO = 1_000_000
NOWHERE = "nowhere"
EVERY = ("*",)
MISSING: Any = object()
_SURE = 10**15  # numbers of so few digits are told apart by floats
DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,12})?")
_SEPARATORS = re.compile(r"[\s\-./]+")


class Unreadable(Exception):
    """What a policy needs cannot be read: the call is refused, for nobody can say whether the policy applies."""


@dataclass(slots=True)
class Facts:
    """All that a policy may look at, worked out when first asked for."""

    agent: Agent
    tool: Tool
    arguments: dict[str, Any]
    seen: Provenance
    run: Run
    tier: int
    now: int
    untrusted: frozenset[str]  # tools whose output is not to be trusted
    labelled: Mapping[str, frozenset[str]]  # tools by the label of what they return
    _amount: tuple[int, str] | None = None
    _who: str | None = None
    _tainted: list[Tainted] | None = None
    _any: list[Tainted] | None = None
    _asked: bool | None = None
    _context: object = None
    _origins: str | None = None

    def moved(self) -> tuple[int, str]:
        """Return how much the call moves, in micro-units, and of what; nothing for a tool that moves nothing."""
        if self._amount is None:
            self._amount = amount(self.tool, self.arguments)
        return self._amount

    def counterparty(self) -> str:
        """Return whom the call concerns; "" where the tool declares none or the call names none."""
        if self._who is None:
            where = self.tool.counterparty
            found = values(self.arguments, where) if where else []
            if len(found) > 1 or (found and (not isinstance(found[0], str | int) or isinstance(found[0], bool))):
                raise Unreadable(f"{where} does not name one counterparty")
            self._who = str(found[0]) if found else ""
        return self._who

    def tainted(self) -> list[Tainted]:
        """Return the sensitive arguments that an outsider may have chosen, and those of which nobody knows whence."""
        if self._tainted is None:
            vouch = self._vouching()
            self._tainted = self.seen.tainted(self.arguments, self.tool.sensitive, vouch)
            if self.tool.links:
                self._tainted += self.seen.tainted(self.arguments, self.tool.links, vouch, links=True)
        return self._tainted

    def tainted_any(self) -> list[Tainted]:
        """Return the same, of all arguments."""
        if self._any is None:
            whole = self.tool.sensitive == EVERY
            self._any = self.tainted() if whole else self.seen.tainted(self.arguments, EVERY, self._vouching())
        return self._any

    def _vouching(self) -> bool:
        """Tell whether a value may stand because the user named where it is written, and asked for this very act."""
        return bool(self.tool.asked_by) and self.tool.name not in self.run.tools and self.asked()

    def asked(self) -> bool:
        """Tell whether the task asks for what the tool does, in one of the words declared for it."""
        if self._asked is None:
            self._asked = self.seen.asked(self.tool.asked_by)
        return self._asked

    def origins(self) -> str:
        """Say in words whence the sensitive arguments are that are not the user's or a trusted source's own."""
        if self._origins is None:
            found = self.tainted() if self.tool.kind != READ else ()
            said = [
                f"{t.argument} stands nowhere in what this run was told or trusts"
                if t.source == NOWHERE
                else f"{t.argument} was read from {t.source} in step {t.step}"
                for t in found[:3]
            ]
            self._origins = f": {'; '.join(said)}" if said else ""
        return self._origins

    def context(self) -> object:
        """Return what CEL expressions are worked out with."""
        if self._context is None:
            from .expression import context  # noqa: PLC0415  costs half a second, and most charters have no CEL

            run, (moved, unit), found = self.run, self.moved(), self.tainted()
            names = ("steps", "actions", "denied", "asked", "amount")
            self._context = context(
                {
                    "args": self.arguments,
                    "run": {**{name: getattr(run, name) for name in names}, "tools": sorted(run.tools)},
                    "today": {name: getattr(run.today, name) for name in ("steps", "actions", "denied", "amount")},
                    "agent": self.agent.id,
                    "tool": self.tool.name,
                    "tier": self.tier,
                    "amount": moved,
                    "unit": unit,
                    "counterparty": self.counterparty(),
                    "tainted": [t.argument for t in found if t.source != NOWHERE],
                    "ungrounded": [t.argument for t in found if t.source == NOWHERE],
                }
            )
        return self._context


def values(arguments: object, path: str) -> list[Any]:
    """Return what stands at a path; `*` stands for every key or place. A list or object at its end counts as one."""
    if "." not in path and path != "*" and isinstance(arguments, dict):
        return [arguments[path]] if path in arguments else []  # as nearly every path is
    found = [arguments]
    for part in path.split("."):
        onward: list[Any] = []
        for here in found:
            if isinstance(here, dict):
                onward += here.values() if part == "*" else [here[part]] if part in here else []
            elif isinstance(here, list | tuple):
                if part == "*":
                    onward += here
                elif part.isdecimal() and int(part) < len(here):
                    onward.append(here[int(part)])
        found = onward
    return found


def amount(tool: Tool, arguments: Mapping[str, Any]) -> tuple[int, str]:
    """Return what a call moves, in micro-units, and its unit; `Unreadable` where that cannot be said exactly."""
    where = tool.amount
    if not where:
        return 0, ""
    found = values(arguments, where)
    if not found and tool.amount_optional:
        return 0, tool.unit
    if not found:
        raise Unreadable(f"{where} is missing, and says how much is moved")
    unit = tool.unit
    if tool.unit_argument:
        named = values(arguments, tool.unit_argument)
        if len(named) != 1 or not isinstance(named[0], str) or not named[0]:
            raise Unreadable(f"{tool.unit_argument} is missing, and says in what unit {where} is")
        unit = named[0].strip().upper()
    return sum(
        _exact(value, where, tool.minor) for value in found if value is not None or not tool.amount_optional
    ), unit


def _exact(value: object, where: str, minor: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unreadable(f"{where} is no number")
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"{where} is no finite number")
    if isinstance(value, float) and minor == 1:
        whole = round(value * MICRO)
        if 0 <= whole < _SURE and whole / MICRO == value:
            return whole  # no other number of six decimals is this float
    if isinstance(value, int):
        scaled: Decimal | int = value * MICRO
    else:
        text = f"{Decimal(repr(value)):f}" if isinstance(value, float) else value.strip()
        if not DECIMAL.fullmatch(text):
            raise Unreadable(f"{where} is not written as a plain number: 1250.00")
        scaled = Decimal(text) * MICRO
    moved, rest = divmod(scaled, minor)
    if rest or int(moved) != moved:
        raise Unreadable(f"{where} has more than six decimals")
    if moved < 0 or moved >= 1 << 52:
        raise Unreadable(f"{where} is negative, or larger than any amount")
    return int(moved)


def plain(name: str) -> str:
    """Return a counterparty as it is compared: no case, no separators."""
    return _SEPARATORS.sub("", name).casefold()
