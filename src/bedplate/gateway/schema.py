"""Whether a text is JSON that fits a JSON Schema (draft 2020-12 unless it names another)."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 4 << 20  # characters


def fitting(schema: dict[str, Any]) -> Callable[[str], bool]:
    """Compile a schema; `InvalidInput` if it is none, or refers to what is not in it.

    Patterns in it run in linear time, and nothing is fetched.
    """
    if find_spec("jsonschema_rs") is None:
        raise InvalidInput("guardrail schema: no validator is installed", hint="pip install 'bedplate[schema]'")
    validation = import_module("jsonschema_rs")  # 60 ms
    if outside := [ref for ref in _references(schema) if not ref.startswith("#")]:
        raise InvalidInput(
            f"guardrail schema: it refers to {outside[0]!r}",
            hint="put that under $defs, and write #/$defs/…",
        )
    try:
        validator = validation.validator_for(schema, pattern_options=validation.RegexOptions())
    except (ValueError, TypeError) as wrong:
        raise InvalidInput(f"guardrail schema: {str(wrong).splitlines()[0]}", hint="see json-schema.org") from None

    def fits(text: str) -> bool:
        if len(text) > LONGEST:
            return False
        try:
            return bool(validator.is_valid(json.loads(text, parse_constant=_refused)))
        except (ValueError, RecursionError):
            return False

    return fits


def _references(schema: object) -> Iterator[str]:
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield from (str(part[name]) for name in ("$ref", "$dynamicRef", "$recursiveRef") if name in part)
            left += part.values()
        elif isinstance(part, list):
            left += part


def _refused(name: str) -> None:
    raise ValueError(name)
