"""Policies: compiled once into conditions, and looked up by tool, so that a verdict takes microseconds."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .toolcall import READ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .charter import Agent, Tool
    from .run import Run
    from .taint import Provenance
    from .toolcall import Tainted, Told

MICRO = 1_000_000
NOWHERE = "nowhere"
EVERY = ("*",)
_SURE = 10**15  # numbers of so few digits are told apart by floats
_MISSING: Any = object()
_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,12})?")
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


if TYPE_CHECKING:
    Condition = Callable[[Facts], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy: what it is called, what it does, and the conditions that must all hold."""

    name: str  # "policy/large", "default/tier-4-tainted"
    then: str
    why: str
    fix: str
    firm: bool
    set: Mapping[str, Any]
    conditions: tuple[Condition, ...] = field(repr=False)
    key: tuple[str, frozenset[tuple[bool, Any]]] | None = None  # an argument, and the values it must have
    floor: tuple[str, str, int] | None = None  # which sum, of what, and how much it must be above
    same: str = ""  # rules of which this is the same have the same conditions

    def holds(self, facts: Facts) -> bool:
        """Tell whether every condition holds. What cannot be read matters only where nothing else says no."""
        unread = None
        for condition in self.conditions:
            try:
                if not condition(facts):
                    return False
            except Unreadable as wrong:
                unread = unread or wrong
        if unread is not None:
            raise unread
        return True

    def told(self, facts: Facts) -> Told:
        """Say that it applies, why, and what to do."""
        said = facts.origins() if self.then in {"ask", "deny"} else ""
        return (self.name, self.why + said, self.fix)


@dataclass(slots=True)
class Group:
    """Rules with the same conditions, which are looked at once for all of them."""

    test: Rule
    rules: list[Rule]


class Shelf:
    """The rules for one agent, tool and tier: in groups, found by an argument's value or a sum where one decides."""

    __slots__ = ("_keyed", "_ordered", "_rest")

    def __init__(self, rules: Iterable[Rule]) -> None:
        groups: dict[object, Group] = {}
        for one in rules:
            groups.setdefault(one.same or id(one), Group(one, [])).rules.append(one)
        self._rest: list[Group] = []
        self._keyed: dict[str, tuple[list[Group], dict[tuple[bool, Any], list[Group]]]] = {}
        by_sum: dict[tuple[str, str], list[tuple[int, Group]]] = {}
        for group in groups.values():
            if group.test.key is not None:
                path, wanted = group.test.key
                whole, by_value = self._keyed.setdefault(path, ([], {}))
                whole.append(group)
                for value in wanted:
                    by_value.setdefault(value, []).append(group)
            elif group.test.floor is not None:
                family, unit, floor = group.test.floor
                by_sum.setdefault((family, unit), []).append((floor, group))
            else:
                self._rest.append(group)
        self._ordered = [
            (_SUMS[family], unit, [floor for floor, _ in pairs], [group for _, group in pairs])
            for (family, unit), found in by_sum.items()
            if (pairs := sorted(found, key=lambda pair: pair[0]))
        ]

    def candidates(self, facts: Facts) -> Iterable[Group]:
        """Return the groups that may hold for these arguments."""
        found = self._rest
        for total, unit, floors, groups in self._ordered:
            most = len(floors)
            try:
                moved, its = facts.moved()
                if its == unit:
                    most = bisect_left(floors, total(facts) + moved)
            except Unreadable:
                pass  # each says for itself what that means, as where the unit is another
            found = found + groups[:most]
        for name, (whole, by_value) in self._keyed.items():
            value = facts.arguments.get(name, _MISSING)
            if value is _MISSING or isinstance(value, dict | list):
                found = found + whole  # as above
            else:
                found = found + by_value.get((isinstance(value, bool), value), [])
        return found


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
        if not _DECIMAL.fullmatch(text):
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


def rule(part: Mapping[str, Any], where: str, lists: Mapping[str, frozenset[str]]) -> Rule:
    """Compile a policy as a charter holds it. `lists`: counterparties, as they are compared."""
    when = part.get("when") or {}
    conditions: list[Condition] = []
    for path, asked in (when.get("arguments") or {}).items():
        conditions.append(_argument(path, asked))
    for name, make in _MAKERS.items():
        if when.get(name) is not None:
            conditions.append(make(when[name], lists))
    name, then = f"{where}/{part['id']}", part["then"]
    why = part.get("why") or f"{name} says {then}" + (f" when {_said(when)}" if when else "")
    usual = {"ask": "wait for the person", "deny": f"do it otherwise, or have {name} changed, which is a new release"}
    return Rule(
        name=name,
        then=then,
        why=why,
        fix=part.get("fix") or usual.get(then, ""),
        firm=part.get("firm") == "yes",
        set=part.get("set") or {},
        conditions=tuple(conditions),
        key=_key(when.get("arguments") or {}),
        floor=next(
            ((name, *_money(when[name])[::-1]) for name in _SUMS if when.get(name) not in {None, "asks_above"}), None
        ),
        same=repr(sorted(when.items())),
    )


def _said(when: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in when.items() if name != "arguments") or (
        "its arguments are as it says"
    )


def _key(arguments: Mapping[str, Mapping[str, Any]]) -> tuple[str, frozenset[tuple[bool, Any]]] | None:
    for path, asked in arguments.items():
        wanted = [asked["equals"]] if "equals" in asked else asked.get("one_of")
        if wanted and "." not in path and path != "*":
            return path, frozenset((isinstance(value, bool), value) for value in wanted)
    return None


def _argument(path: str, asked: Mapping[str, Any]) -> Condition:
    tests = _tests(path, asked)
    present, optional = asked.get("present"), asked.get("optional") == "yes"
    simple = "." not in path and path != "*"

    def holds(facts: Facts) -> bool:
        if simple:
            one = facts.arguments.get(path, _MISSING)
            found = [] if one is _MISSING else [one]
        else:
            found = values(facts.arguments, path)
        if present is not None and bool(found) != (present == "yes"):
            return False
        if not found and tests and present != "no":
            if optional:
                return False
            raise Unreadable(f"{path} is missing, and a policy looks at it")
        # Of several values one that is as the policy says is enough: a forbidden one among ten is a forbidden one.
        return not tests or any(all(test(value) for test in tests) for value in found)

    return holds


def _tests(path: str, asked: Mapping[str, Any]) -> list[Callable[[Any], bool]]:
    tests: list[Callable[[Any], bool]] = []
    if "equals" in asked:
        wanted = asked["equals"]
        tests.append(lambda value: _same(value, wanted))
    if asked.get("one_of") is not None:
        some = list(asked["one_of"])
        tests.append(lambda value: any(_same(value, one) for one in some))
    if asked.get("not_one_of") is not None:
        none = list(asked["not_one_of"])
        tests.append(lambda value: not any(_same(value, one) for one in none))
    for name, fits in (("matches", True), ("not_matches", False)):
        if asked.get(name) is not None:
            tests.append(_matching(path, asked[name], wanted=fits))
    if asked.get("above") is not None:
        floor = Decimal(str(asked["above"]))
        tests.append(lambda value: _number(value, path) > floor)
    if asked.get("below") is not None:
        ceiling = Decimal(str(asked["below"]))
        tests.append(lambda value: _number(value, path) < ceiling)
    return tests


def _same(value: object, wanted: object) -> bool:
    if isinstance(value, dict | list):
        raise Unreadable("an argument holds several values, and a policy looks at one; say its path with .* at the end")
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _matching(path: str, pattern: str, *, wanted: bool) -> Callable[[Any], bool]:
    import re2  # noqa: PLC0415  only charters with patterns need it

    fits = re2.compile(pattern).fullmatch

    def test(value: object) -> bool:
        if not isinstance(value, str):
            raise Unreadable(f"{path} is no text, and a policy looks for a pattern in it")
        return (fits(value) is not None) == wanted

    return test


def _number(value: object, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unreadable(f"{path} is no number, and a policy compares it")
    text = str(value).strip()
    if isinstance(value, str) and not _DECIMAL.fullmatch(text):
        raise Unreadable(f"{path} is not written as a plain number, and a policy compares it")
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"{path} is no finite number, and a policy compares it")
    return Decimal(text)


def _money(said: str) -> tuple[int, str]:
    number, unit = said.split()
    return int(Decimal(number) * MICRO), unit


_SUMS: Mapping[str, Callable[[Facts], int]] = {  # what was moved before, to which the call's own amount is added
    "amount_above": lambda _: 0,
    "run_amount_above": lambda facts: facts.run.amount,
    "day_amount_above": lambda facts: facts.run.today.amount,
}


def _above(said: str, used: Callable[[Facts], int]) -> Condition:
    most, unit = _money(said)

    def holds(facts: Facts) -> bool:
        if not facts.tool.amount:
            return False  # of all tools of a class, one that moves nothing
        moved, its = facts.moved()
        if its != unit:
            raise Unreadable(f"the call moves {its or 'an unknown unit'}, and the policy speaks of {unit}")
        return used(facts) + moved > most

    return holds


def _amount_above(said: str, _lists: object) -> Condition:
    if said != "asks_above":
        return _above(said, _SUMS["amount_above"])
    # A tool that does not say what it moves may move anything.
    return lambda facts: not facts.tool.amount or facts.moved()[0] > facts.agent.asks_above


def _run_amount(said: str, _lists: object) -> Condition:
    return _above(said, _SUMS["run_amount_above"])


def _day_amount(said: str, _lists: object) -> Condition:
    return _above(said, _SUMS["day_amount_above"])


def _listed(name: str, lists: Mapping[str, frozenset[str]], *, wanted: bool) -> Condition:
    known = lists[name]

    def holds(facts: Facts) -> bool:
        who = facts.counterparty()
        if not who:
            raise Unreadable(f"{facts.tool.counterparty or 'the counterparty'} is missing, and a policy looks at it")
        return (plain(who) in known) == wanted

    return holds


def _after(said: str | list[str], *, wanted: bool) -> Condition:
    names = [said] if isinstance(said, str) else said
    tools = frozenset(name for name in names if "/" in name)
    labels = [name[6:] for name in names if name.startswith("label:")]
    untrusted = "untrusted" in names

    def holds(facts: Facts) -> bool:
        done = facts.run.tools
        happened = (
            not done.isdisjoint(tools)
            or (untrusted and (facts.seen.distrusts or not done.isdisjoint(facts.untrusted)))
            or any(not done.isdisjoint(facts.labelled.get(label, frozenset())) for label in labels)
        )
        return happened == wanted

    return holds


_COUNTS: Mapping[str, Callable[[Facts], int]] = {
    "steps_in_run": lambda facts: facts.run.steps,
    "actions_in_run": lambda facts: facts.run.actions,
    "actions_today": lambda facts: facts.run.today.actions,
    "denied_in_run": lambda facts: facts.run.denied,
    "same_tool": lambda facts: sum(name == facts.tool.name for name, _, _ in facts.run.recent),
}


def _count(said: Mapping[str, int], _lists: object) -> Condition:
    pairs = [(_COUNTS[name], most) for name, most in said.items()]
    return lambda facts: all(count(facts) > most for count, most in pairs)


def _found(said: str, *, nowhere: bool) -> Condition:
    every = said == "any"

    def holds(facts: Facts) -> bool:
        found = facts.tainted_any() if every else facts.tainted()
        return any((one.source == NOWHERE) == nowhere for one in found)

    return holds


def _echoes(said: str, _lists: object) -> Condition:
    names = said == "names"
    return lambda facts: facts.seen.echoes(facts.arguments, (*facts.tool.sensitive, *facts.tool.links), names=names)


def _cel(source: str, _lists: object) -> Condition:
    from .expression import compiled  # noqa: PLC0415  costs half a second, and most charters have no CEL

    program = compiled(source)

    def holds(facts: Facts) -> bool:
        context = facts.context()
        try:
            found = program.execute(context)
        except Exception as wrong:  # noqa: BLE001  whatever the library raises: nobody knows whether it holds
            raise Unreadable(f"its expression cannot be worked out: {str(wrong).split('. ')[0]}") from None
        if not isinstance(found, bool):
            raise Unreadable("its expression is neither true nor false")
        return found

    return holds


# In the order in which they are looked at: the cheap ones first.
_MAKERS: Mapping[str, Callable[[Any, Mapping[str, frozenset[str]]], Condition]] = {
    "amount_above": _amount_above,
    "run_amount_above": _run_amount,
    "day_amount_above": _day_amount,
    "count_above": _count,
    "after": lambda said, _: _after(said, wanted=True),
    "not_after": lambda said, _: _after(said, wanted=False),
    "counterparty_in": lambda said, lists: _listed(said, lists, wanted=True),
    "counterparty_not_in": lambda said, lists: _listed(said, lists, wanted=False),
    "not_asked": lambda said, _: lambda facts: facts.asked() != (said == "yes"),
    "tainted": lambda said, _: _found(said, nowhere=False),
    "ungrounded": lambda said, _: _found(said, nowhere=True),
    "contested": lambda said, _: (
        lambda facts: facts.seen.contested(facts.arguments, facts.tool.sensitive) == (said == "yes")
    ),
    "echoes": _echoes,
    "cel": _cel,
}
