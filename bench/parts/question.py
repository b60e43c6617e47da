"""What is asked: bodies of a size, made of the example's handbook, as clients send them that retrieve."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

HANDBOOK = Path(__file__).parents[2] / "examples" / "harbour-mutual" / "handbook"
PAGE = "03-annual-leave.md"  # holds nothing that a guardrail looks for
ASKED = "Answer from this only: how many days of annual leave do I get?\n\n"
PACED = "[every 20 ms]"  # makes the upstream of `upstream.py` take its time
SMALL, LARGE = 2_000, 100_000  # bytes


@cache
def body(size: int = SMALL, *, stream: bool = False, paced: bool = False, guardrails: tuple[str, ...] = ()) -> bytes:
    """Return a chat completion of about `size` bytes. The large one holds the addresses that the handbook holds.

    `guardrails` names guardrails as LiteLLM takes them.
    """
    pages = [HANDBOOK / PAGE] if size <= SMALL else sorted(HANDBOOK.glob("*.md"))
    text = "\n".join(page.read_text() for page in pages)
    told = ASKED + (PACED if paced else "") + text * (size // len(text) + 1)
    asked = {"model": "default", "messages": [{"role": "user", "content": told[: size - 100]}]}
    more = {"stream": True} if stream else {}
    return json.dumps({**asked, **more, **({"guardrails": guardrails} if guardrails else {})}).encode()
