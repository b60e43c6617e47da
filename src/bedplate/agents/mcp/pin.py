"""A tool's pin: the digest of all that a model reads of it. A description that changes makes another tool."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PINNED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
_encode = msgspec.json.Encoder(order="sorted").encode


def pin_of(tool: Mapping[str, Any]) -> str:
    """Return the pin of a tool as a server lists it: SHA-256 over its JSON with sorted names, hex."""
    return hashlib.sha256(_encode({name: tool[name] for name in PINNED if name in tool})).hexdigest()


def pins(tools: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the pins of a listing, by tool."""
    return {str(tool["name"]): pin_of(tool) for tool in tools if isinstance(tool.get("name"), str)}
