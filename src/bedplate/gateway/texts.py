"""Every text in a request or an answer, wherever it stands: what guardrails read, and where they write."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from bedplate.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DEPTH = 128  # far from where some later step would run out of stack
# Pictures, sounds and files, and what an upstream has sealed for itself: their letters are not text. Only where such
# content belongs, and only if it is nothing else, so that text cannot pass for it.
OPAQUE_KEYS = frozenset({"url", "image_url", "file_data", "data", "b64_json", "encrypted_content", "signature"})
OPAQUE = re.compile(r"(?:data:[A-Za-z0-9.+/;=-]{0,100},)?[A-Za-z0-9+/_-]{64,}={0,2}")
MACHINE_KEYS = frozenset({"arguments", "input", "partial_json"})  # of a call to a tool
TOOL_KINDS = frozenset({"tool_use", "server_tool_use", "function_call", "custom_tool_call", "mcp_call", "mcp_tool_use"})


class Slot(NamedTuple):
    """A text at `holder[key]`. `machine`: it is an argument for a tool, to be sent as it is or not at all."""

    holder: Any
    key: Any
    text: str
    machine: bool


def slots(body: dict[str, Any]) -> list[Slot]:
    """List every text in it, in order; `InvalidInput` if it is nested too deeply."""
    found: list[Slot] = []
    _walk(body, found.append, 0, machine=False)
    return found


def _walk(holder: Any, add: Callable[[Slot], None], depth: int, *, machine: bool) -> None:  # noqa: ANN401  JSON
    if depth > MAX_DEPTH:
        raise InvalidInput("the body is nested too deeply")
    if type(holder) is dict:
        calls = machine or holder.get("type") in TOOL_KINDS or "function" in holder
        for key, value in holder.items():
            kind = type(value)
            if kind is str:
                if key in OPAQUE_KEYS and OPAQUE.fullmatch(value):
                    continue
                add(Slot(holder, key, value, machine or (calls and key in MACHINE_KEYS)))
            elif kind is dict or kind is list:
                within = machine or (calls and key in MACHINE_KEYS) or key in {"tool_calls", "function_call"}
                _walk(value, add, depth + 1, machine=within)
    else:
        for place, value in enumerate(holder):
            kind = type(value)
            if kind is str:
                add(Slot(holder, place, value, machine))
            elif kind is dict or kind is list:
                _walk(value, add, depth + 1, machine=machine)
