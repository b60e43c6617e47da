"""What a release is guarded by: the tier's guardrails and the team's, whichever are stricter, with what they need."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bedplate.errors import InvalidInput
from bedplate.gateway.guardrail import guards
from bedplate.portfolio.usecase import strictest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.portfolio.usecase import UseCaseFile


def guarded(
    file: UseCaseFile, files: Mapping[str, str], tier: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a release's `guardrails` and `options`, as its bundle holds them.

    They are compiled once, so that what cannot work is refused now: `InvalidInput` says what.
    """
    part = file.guardrails
    guardrails = strictest(file, tier)
    kinds = {*guardrails["input"], *guardrails["output"]}
    options: dict[str, Any] = {}
    terms = sorted({*(tier.get("terms") or ()), *((part and part.terms) or ())})
    if "terms" in kinds:
        options["terms"] = terms
    if "length" in guardrails["output"]:
        options["max_answer_chars"] = (part and part.max_answer_chars) or tier["max_answer_chars"]
    if "citations" in kinds:
        options["passages"] = file.retrieval.top if file.retrieval is not None else 0
        options["unanswered"] = file.unanswered
    if "schema" in kinds and part is not None and part.json_schema is not None:
        options["schema"] = _schema(part.json_schema, files)
    http = {name: how for name, how in (tier.get("http") or {}).items() if f"x:{name}" in kinds}
    if http:
        options["http"] = http
    known = {**((part and part.canaries) or {}), **(tier.get("canaries") or {})}  # a team adds, and changes none
    canaries = {name: text for name, text in sorted(known.items()) if f"x:{name}" in kinds}
    if canaries:
        options["canaries"] = canaries
    guards(guardrails, options)
    return guardrails, options


def _schema(name: str, files: Mapping[str, str]) -> str:
    """Return a JSON Schema as text: a bundle holds no numbers but whole ones, and a schema may."""
    if name not in files:
        raise InvalidInput(f"the file {name} is missing", hint="it is named under guardrails.json_schema; put it there")
    try:
        read = json.loads(files[name])
    except ValueError as wrong:
        raise InvalidInput(f"{name} is not JSON: {wrong}", hint="write a JSON Schema") from None
    return json.dumps(read, separators=(",", ":"), sort_keys=True)
