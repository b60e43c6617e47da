"""JSON Schema, as much of it as an expectation about an answer needs. What is beyond that is refused, not ignored.

Draft 2020-12: type, enum, const, properties, required, additionalProperties, items, minItems, maxItems, minLength,
maxLength, pattern (RE2), minimum, maximum, $defs at the top, and $ref to one of them; title, description, default and
$schema say nothing. One that would be skipped would pass what it was written to stop.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import re2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: (isinstance(v, int) and not isinstance(v, bool)) or (isinstance(v, float) and v.is_integer()),
}
COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
SAYS_NOTHING = ("title", "description", "default", "$schema")
MAX_DEPTH = 32
MAX_FOLLOWED = 128  # levels of a value, and references: a schema that refers to itself has no end of its own
DEFINED = "#/$defs/"
PLAIN = re.compile(r"[A-Za-z0-9._-]+")  # a name that needs no escape in a reference


def refuse_unknown(schema: object) -> None:
    """Raise `ValueError` where a schema holds what is not checked here, or is not a schema."""
    defined = schema.get("$defs") if isinstance(schema, dict) else None
    _refuse(schema, defined if isinstance(defined, dict) else {}, "$", 0)


def read(text: str) -> Any:  # noqa: ANN401  JSON is what it is
    """Read strict JSON: no NaN, no double keys; `ValueError` otherwise."""
    return json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)


def complaints(schema: Mapping[str, Any], value: object) -> Iterator[str]:
    """Yield what a value lacks, each with its place. The schema has passed `refuse_unknown`."""
    return _complaints(schema, value, "$", schema.get("$defs", {}), 0)


def _refuse(schema: object, defined: Mapping[str, Any], where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"{where} is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(schema, dict):
        raise ValueError(f"{where} is not an object")  # noqa: TRY004  whoever reads a suite catches one kind
    for key, value in schema.items():
        wrong = _KNOWN[key](value) if key in _KNOWN else "is not checked here; take it out, or check it elsewhere"
        if key == "$ref":
            wrong = _reference(value, defined) or _beside(schema)
        if key == "$defs" and depth:
            wrong = "may only stand at the top"
        if wrong:
            raise ValueError(f"{where}.{key} {wrong}")
    for kind in ("properties", "$defs"):
        for name, inner in schema.get(kind, {}).items():
            _refuse(inner, defined, f"{where}.{kind}.{name}", depth + 1)
    if "items" in schema:
        _refuse(schema["items"], defined, f"{where}.items", depth + 1)


def _reference(value: object, defined: Mapping[str, Any]) -> str:
    """Say what is wrong with a reference: not to a definition of this schema, or round in a circle."""
    seen = set()
    while value is not None:
        name = str(value).removeprefix(DEFINED)
        if not str(value).startswith(DEFINED) or name not in defined:
            return f"refers to {value!r}; put that under $defs, and write {DEFINED}…"
        if name in seen:
            return f"refers to {value!r}, which refers to itself"
        seen.add(name)
        value = defined[name].get("$ref") if isinstance(defined[name], dict) else None
    return ""


def _beside(schema: Mapping[str, Any]) -> str:
    """Refuse claims beside a reference: two ways through the same value are twice the time at each of its levels."""
    more = next((key for key in schema if key not in {"$ref", "$defs", *SAYS_NOTHING}), "")
    return f"stands beside {more}; put that into what it refers to" if more else ""


def _complaints(
    schema: Mapping[str, Any], value: object, where: str, defined: Mapping[str, Any], depth: int
) -> Iterator[str]:
    if depth > MAX_FOLLOWED:
        yield f"{where} is nested too deeply"
        return
    if "$ref" in schema:
        yield from _complaints(defined[schema["$ref"].removeprefix(DEFINED)], value, where, defined, depth + 1)
    names = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", TYPES)
    if not any(TYPES[name](value) for name in names):
        yield f"{where} is not {' or '.join(names)}"
        return
    yield from _of_any(schema, value, where)
    match value:
        case dict():
            yield from _of_object(schema, value, where)
        case list():
            yield from _of_size(schema, len(value), where, "Items")
        case str():
            yield from _of_text(schema, value, where)
        case int() | float() if not isinstance(value, bool):
            yield from _of_number(schema, value, where)
        case _:
            pass
    for place, part, inner in _parts(schema, value):
        yield from _complaints(part, inner, f"{where}{place}", defined, depth + 1)


def _parts(schema: Mapping[str, Any], value: object) -> Iterator[tuple[str, Mapping[str, Any], object]]:
    """Return what is in a value and has a schema of its own: its place, that schema, and what is there."""
    if isinstance(value, dict):
        yield from (
            (f".{name}", part, value[name]) for name, part in schema.get("properties", {}).items() if name in value
        )
    if isinstance(value, list) and "items" in schema:
        yield from ((f"[{position}]", schema["items"], inner) for position, inner in enumerate(value))


def _of_any(schema: Mapping[str, Any], value: object, where: str) -> Iterator[str]:
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        yield f"{where} is none of {json.dumps(schema['enum'])[:200]}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{where} is not {json.dumps(schema['const'])[:200]}"


def _of_object(schema: Mapping[str, Any], value: Mapping[str, Any], where: str) -> Iterator[str]:
    yield from (f"{where} lacks {name}" for name in schema.get("required", ()) if name not in value)
    if schema.get("additionalProperties") is False:
        known = schema.get("properties", {})
        yield from (f"{where} holds {name}, which is not known" for name in value if name not in known)


def _of_text(schema: Mapping[str, Any], value: str, where: str) -> Iterator[str]:
    yield from _of_size(schema, len(value), where, "Length")
    if "pattern" in schema and not _found(schema["pattern"], value):
        yield f"{where} does not match {schema['pattern']}"


def _of_number(schema: Mapping[str, Any], value: float, where: str) -> Iterator[str]:
    if value < schema.get("minimum", value):
        yield f"{where} is less than {schema['minimum']}"
    if value > schema.get("maximum", value):
        yield f"{where} is more than {schema['maximum']}"


def _of_size(schema: Mapping[str, Any], size: int, where: str, what: str) -> Iterator[str]:
    if size < schema.get(f"min{what}", size):
        yield f"{where} has {size}, fewer than {schema[f'min{what}']}"
    if size > schema.get(f"max{what}", size):
        yield f"{where} has {size}, more than {schema[f'max{what}']}"


def _found(pattern: str, value: str) -> bool:
    try:
        return re2.search(pattern, value) is not None
    except UnicodeEncodeError:  # half a character, which JSON allows and no pattern means
        return False


def _same(one: object, other: object) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # True is not 1 in JSON


def _typed(value: object) -> str:
    names = [value] if isinstance(value, str) else value
    right = isinstance(names, list) and names and all(isinstance(n, str) and n in TYPES for n in names)
    return "" if right else f"is none of {', '.join(TYPES)}"


def _pattern(value: object) -> str:
    try:
        re2.compile(value, QUIET)
    except (re2.error, TypeError) as wrong:
        return f"is not a pattern of RE2: {wrong}"
    return ""


def _names(value: object) -> str:
    return "" if isinstance(value, list) and all(isinstance(v, str) for v in value) else "is not a list of names"


def _definitions(value: object) -> str:
    return "" if isinstance(value, dict) and all(map(PLAIN.fullmatch, value)) else "is not an object of plain names"


def _kind(kind: type | tuple[type, ...], said: str) -> Callable[[object], str]:
    def wrong(value: object) -> str:
        return "" if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) else f"is not {said}"

    return wrong


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_number(name: str) -> Any:  # noqa: ANN401  it never returns
    raise ValueError(f"{name} is not JSON")


QUIET = re2.Options()
QUIET.log_errors = False  # the complaint says it, at its place
_KNOWN: Mapping[str, Callable[[Any], str]] = {
    "type": _typed,
    "enum": _kind(list, "a list"),
    "const": lambda _: "",
    "properties": _kind(dict, "an object"),
    "required": _names,
    "additionalProperties": _kind(bool, "true or false; a schema is not checked here"),
    "items": lambda _: "",
    "pattern": _pattern,
    "$ref": lambda _: "",
    "$defs": _definitions,
    "minimum": _kind((int, float), "a number"),
    "maximum": _kind((int, float), "a number"),
    **dict.fromkeys(COUNTS, _kind(int, "a whole number")),
    **dict.fromkeys(SAYS_NOTHING, lambda _: ""),
}
