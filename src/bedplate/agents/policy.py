"""Policies: compiled once into conditions, and looked up by tool, so that a verdict takes microseconds."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .condition import MAKERS, SUMS, argument, money
from .facts import MISSING, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .condition import Condition
    from .facts import Facts
    from .toolcall import Told


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
            (SUMS[family], unit, [floor for floor, _ in pairs], [group for _, group in pairs])
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
            value = facts.arguments.get(name, MISSING)
            if value is MISSING or isinstance(value, dict | list):
                found = found + whole  # as above
            else:
                found = found + by_value.get((isinstance(value, bool), value), [])
        return found


def rule(part: Mapping[str, Any], where: str, lists: Mapping[str, frozenset[str]]) -> Rule:
    """Compile a policy as a charter holds it. `lists`: counterparties, as they are compared."""
    when = part.get("when") or {}
    conditions: list[Condition] = []
    for path, asked in (when.get("arguments") or {}).items():
        conditions.append(argument(path, asked))
    for name, make in MAKERS.items():
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
            ((name, *money(when[name])[::-1]) for name in SUMS if when.get(name) not in {None, "asks_above"}), None
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
