"""Conditions: what stands under `when` in a policy, each compiled to a function over the facts of a call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from .facts import DECIMAL, MICRO, MISSING, NOWHERE, Facts, Unreadable, plain, values

Condition = Callable[[Facts], bool]


def argument(path: str, asked: Mapping[str, Any]) -> Condition:
    """Compile what is asked of an argument."""
    tests = _tests(path, asked)
    present, optional = asked.get("present"), asked.get("optional") == "yes"
    simple = "." not in path and path != "*"

    def holds(facts: Facts) -> bool:
        if simple:
            one = facts.arguments.get(path, MISSING)
            found = [] if one is MISSING else [one]
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
    if isinstance(value, str) and not DECIMAL.fullmatch(text):
        raise Unreadable(f"{path} is not written as a plain number, and a policy compares it")
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"{path} is no finite number, and a policy compares it")
    return Decimal(text)


def money(said: str) -> tuple[int, str]:
    """Return an amount as a policy says it: micro-units, and of what."""
    number, unit = said.split()
    return int(Decimal(number) * MICRO), unit


SUMS: Mapping[str, Callable[[Facts], int]] = {  # what was moved before, to which the call's own amount is added
    "amount_above": lambda _: 0,
    "run_amount_above": lambda facts: facts.run.amount,
    "day_amount_above": lambda facts: facts.run.today.amount,
}


def _above(said: str, used: Callable[[Facts], int]) -> Condition:
    most, unit = money(said)

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
        return _above(said, SUMS["amount_above"])
    # A tool that does not say what it moves may move anything.
    return lambda facts: not facts.tool.amount or facts.moved()[0] > facts.agent.asks_above


def _run_amount(said: str, _lists: object) -> Condition:
    return _above(said, SUMS["run_amount_above"])


def _day_amount(said: str, _lists: object) -> Condition:
    return _above(said, SUMS["day_amount_above"])


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
MAKERS: Mapping[str, Callable[[Any, Mapping[str, frozenset[str]]], Condition]] = {
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
