"""Every text in a request or an answer, wherever it stands: what guardrails read, and where they write."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from bedplate.errors import InvalidInput

MAX_DEPTH = 128  # far from where some later step would run out of stack
# Pictures, sounds and files, and what an upstream has sealed for itself: their letters are not text. Only where such
# content belongs, and only if it is nothing else, so that text cannot pass for it.
OPAQUE_KEYS = frozenset({"url", "image_url", "file_data", "data", "b64_json", "encrypted_content", "signature"})
LEAST_OPAQUE = 64
OPAQUE = re.compile(r"(?:data:[A-Za-z0-9.+/;=-]{0,100},)?[A-Za-z0-9+/_-]{64,}={0,2}")
MACHINE_KEYS = frozenset({"arguments", "input", "partial_json"})  # of a call to a tool
TELLING = 10**8  # a number of so many digits can be a card's or a person's; only where it is an argument for a tool
CALLING_KEYS = frozenset({"tool_calls", "function_call"})
TOOL_KINDS = frozenset({"tool_use", "server_tool_use", "function_call", "custom_tool_call", "mcp_call", "mcp_tool_use"})


_slot = tuple.__new__  # a third of what calling the class costs


class Slot(NamedTuple):
    """A text at `holder[key]`. `machine`: it is an argument for a tool, to be sent as it is or not at all.

    Without a holder it is a name within such arguments.
    """

    holder: Any
    key: Any
    text: str
    machine: bool

    def put(self, text: str) -> bool:
        """Put another text in its place; False for a name, under which a tool would then find nothing."""
        if self.holder is None:
            return False
        self.holder[self.key] = text
        return True


def slots(body: dict[str, Any]) -> list[Slot]:
    """List every text in it, in order; `InvalidInput` if it is nested too deeply."""
    found: list[Slot] = []
    _walk(body, found, 0, False)  # noqa: FBT003  it is called for every object there is
    return found


def _walk(holder: Any, found: list[Slot], depth: int, machine: bool) -> None:  # noqa: ANN401, C901, FBT001, PLR0912  JSON; one pass; as above
    if depth > MAX_DEPTH:
        raise InvalidInput("the body is nested too deeply")
    if type(holder) is dict:
        if machine:
            found += [_slot(Slot, (None, key, key, True)) for key in holder]
        named = holder.get("type")  # whatever they sent
        calls = machine or "function" in holder or (type(named) is str and named in TOOL_KINDS)
        for key, value in holder.items():
            kind = type(value)
            if kind is str:
                if len(value) >= LEAST_OPAQUE and key in OPAQUE_KEYS and OPAQUE.fullmatch(value):
                    continue
                found.append(_slot(Slot, (holder, key, value, calls and (machine or key in MACHINE_KEYS))))
            elif kind is dict or kind is list:
                within = machine or key in CALLING_KEYS or (calls and key in MACHINE_KEYS)
                _walk(value, found, depth + 1, within)
            elif kind is int and calls and (machine or key in MACHINE_KEYS) and value >= TELLING:
                found.append(_slot(Slot, (holder, key, str(value), True)))
    else:
        for place, value in enumerate(holder):
            kind = type(value)
            if kind is str:
                found.append(_slot(Slot, (holder, place, value, machine)))
            elif kind is dict or kind is list:
                _walk(value, found, depth + 1, machine)
            elif kind is int and machine and value >= TELLING:
                found.append(_slot(Slot, (holder, place, str(value), True)))


def unspelled(holder: Any) -> None:  # noqa: ANN401  JSON
    """Take out the log probabilities of tokens, wherever they stand: they spell out what was changed."""
    if type(holder) is dict:
        if "logprobs" in holder:
            holder["logprobs"] = [] if type(holder["logprobs"]) is list else None
        holder = holder.values()
    for value in holder:
        if type(value) is dict or type(value) is list:
            unspelled(value)
