"""CEL: a condition of a policy in the Common Expression Language. What cannot be worked out is not skipped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# What an expression may name, with a value of its type.
RUN: Mapping[str, Any] = {"steps": 1, "actions": 1, "denied": 0, "asked": 0, "amount": 1, "tools": ["local/a"]}
TODAY: Mapping[str, Any] = {"steps": 1, "actions": 1, "denied": 0, "amount": 1}
SAMPLE: Mapping[str, Any] = {
    "run": dict(RUN),
    "today": dict(TODAY),
    "agent": "a",
    "tool": "local/a",
    "tier": 1,
    "amount": 1_000_000,  # micro-units, exact
    "unit": "EUR",
    "counterparty": "a",
    "tainted": ["a"],
    "ungrounded": ["a"],
}
LARGE = 10**9
_COUNTED = {
    of: [name for name, value in of_it.items() if isinstance(value, int)]
    for of, of_it in (("run", RUN), ("today", TODAY))
}
VALUES: Mapping[str, tuple[Any, ...]] = {
    "text": ("a", ""),
    "number": (LARGE + 0.5, 0),
    "flag": (True, False),
}
_FUNCTIONS = frozenset(
    [
        "size",
        "matches",
        "contains",
        "startsWith",
        "endsWith",
        "string",
        "int",
        "uint",
        "double",
        "bool",
        "has",
        "all",
        "exists",
        "exists_one",
        "filter",
        "map",
        "lowerAscii",
        "upperAscii",
        "trim",
        "split",
        "in",
    ]
)
_NAME = re.compile(r"[A-Za-z_]\w*")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_FIELD = re.compile(r"\b(run|today|args)\s*\.\s*([A-Za-z_]\w*)")
_BOUND = re.compile(r"\.(?:all|exists|exists_one|filter|map)\s*\(\s*([A-Za-z_]\w*)\s*,")


class Program(Protocol):
    """A compiled expression."""

    def execute(self, context: Any) -> Any:  # noqa: ANN401  values of CEL
        """Work it out; raises where it cannot be."""
        ...


def compiled(source: str) -> Program:
    """Compile an expression; `ValueError` says what is wrong with it."""
    import cel  # noqa: PLC0415  costs half a second, for its command line

    return cel.compile(source)


def context(values: Mapping[str, Any]) -> object:
    """Turn values into what every expression about one call is worked out with."""
    import cel  # noqa: PLC0415  as above

    return cel.Context(dict(values))


def complaints(source: str, signatures: Iterable[Mapping[str, str] | None]) -> list[str]:
    """Say what is wrong with an expression about tools with these arguments; None: their arguments are not declared."""
    try:
        program = compiled(source)
    except (ValueError, RuntimeError) as wrong:
        return [f"is no CEL expression: {str(wrong).splitlines()[0]}"]
    bare = _QUOTED.sub("''", source)
    known, bound = {*SAMPLE, "args"}, set(_BOUND.findall(bare))
    names = program.variables()  # type: ignore[attr-defined]  # of the library, beyond what is needed to run one
    said = [f"knows no {name!r}; known: {', '.join(sorted(known))}" for name in names if name not in known | bound]
    functions = [name for name in program.functions() if _NAME.fullmatch(name) and not name.startswith("_")]  # type: ignore[attr-defined]  # as above
    said += [f"knows no function {name!r}" for name in functions if name not in _FUNCTIONS]
    for of, name in _FIELD.findall(bare):
        if of != "args" and name not in SAMPLE[of]:
            said.append(f"{of} has no {name!r}; known: {', '.join(sorted(SAMPLE[of]))}")
    return said or list(
        dict.fromkeys(why for one in signatures if one is not None for why in _types(program, bare, one))
    )


def _types(program: Program, bare: str, signature: Mapping[str, str]) -> list[str]:
    """Try it with values of the declared types: what cannot be compared is found now, not at the first call."""
    missing = [name for of, name in _FIELD.findall(bare) if of == "args" and name not in signature]
    if missing:
        return [f"the tool has no argument {name!r}; known: {', '.join(signature) or 'none'}" for name in missing]
    if {"any", "list", "object"} & set(signature.values()):
        return []  # what stands in them is not declared
    for turn, many in ((0, True), (0, False), (1, True), (1, False)):  # what is false hides what stands beside it
        arguments = {name: VALUES[kind][turn] for name, kind in signature.items()}
        counts = {of: {**SAMPLE[of], **dict.fromkeys(_COUNTED[of], LARGE if many else 0)} for of in _COUNTED}
        try:
            found = program.execute(context({**SAMPLE, **counts, "args": arguments}))
        except ZeroDivisionError:
            continue  # of these values
        except Exception as bad:  # noqa: BLE001  whatever the library raises, it would at the first call
            return [f"cannot be worked out with arguments of the declared types: {str(bad).split('. ')[0]}"]
        if not isinstance(found, bool):
            return [f"is {type(found).__name__}, and a condition is true or false"]
    return []
