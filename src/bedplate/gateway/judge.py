"""Guardrails that judge a text as a whole: what it cites, whether it fits a schema, whether it is an attack."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput
from bedplate.jsonschema import complaints, read, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .detect import Found

CITED = re.compile(r"\[([0-9]{1,3})\]")
SUSPECT_PERMILLE = 500
LONGEST = 4 << 20  # characters of an answer that is read as JSON


@dataclass(frozen=True, slots=True)
class Judge:
    """Looks at whole texts. `places` says whether what it finds can be taken out of the text."""

    kind: str
    find: Callable[[str], list[Found]]
    places: bool = False


def citing(options: Mapping[str, Any]) -> Judge:
    """An answer must cite a passage as `[n]`; the sentence that says that the sources do not answer need not."""
    most = int(options.get("passages", 10))
    unanswered = str(options.get("unanswered", ""))

    def find(text: str) -> list[Found]:
        cited = any(0 < int(number) <= most for number in CITED.findall(text))
        if cited or (unanswered and unanswered in text):
            return []
        return [("no citation", 0, len(text))]

    return Judge("citations", find)


def typed(options: Mapping[str, Any]) -> Judge:
    """An answer must be JSON that fits `options["schema"]`; `InvalidInput` if that holds what is not checked here."""
    schema = options.get("schema")
    schema = json.loads(schema) if isinstance(schema, str) else schema
    if not isinstance(schema, dict):
        raise InvalidInput("guardrail schema: there is no schema", hint="name its file under guardrails.json_schema")
    try:
        refuse_unknown(schema)
    except (ValueError, RecursionError) as wrong:
        raise InvalidInput(f"guardrail schema: {wrong}", hint="docs/guardrails.md says what is checked") from None
    return Judge("schema", lambda text: [] if _fits(schema, text) else [("not of the schema", 0, len(text))])


def _fits(schema: Mapping[str, Any], text: str) -> bool:
    if len(text) > LONGEST:
        return False
    try:
        return next(complaints(schema, read(text)), None) is None
    except (ValueError, RecursionError):
        return False


def suspecting(options: Mapping[str, Any]) -> Judge:
    """A text is scored as prompt injection, in thousandths; from `options["injection_permille"]` on it is a finding."""
    name = f"{__package__}.injection"
    if find_spec(name) is None:
        raise InvalidInput("guardrail injection: there is no classifier in this installation", hint="leave it out")
    score: Callable[[str], int] = import_module(name).score
    score("")  # what it needs is read now, not with the first call
    limit = int(options.get("injection_permille", SUSPECT_PERMILLE))
    return Judge("injection", lambda text: [("prompt injection", 0, len(text))] if score(text) >= limit else [])


WHOLE = {"citations": citing, "schema": typed, "injection": suspecting}
