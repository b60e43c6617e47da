"""The lists and objects of a JSON text, counted before anything reads it: each takes far more than its two bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# The next bracket outside of texts, or the end. It never goes back, so that the time is linear in the size.
BRACKET = re.compile(rb'(?:"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[^"\[\]{}]++)*+([\[\]{}]|\Z)', re.DOTALL)


def depths(body: bytes) -> Iterator[int]:
    """Yield how deep each list or object is nested, from 1, in the order in which they begin."""
    depth = 0
    for found in BRACKET.finditer(body):
        if found[1] in (b"[", b"{"):
            depth += 1
            yield depth
        elif found[1]:
            depth -= 1
