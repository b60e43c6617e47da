"""Passages as text: how they travel inside a system message, and how they are read back from it.

```
<passages>
[1] 03-annual-leave#carrying-leave-over | Annual leave: carrying leave over
An employee may carry over up to five days ...

[2] ...
</passages>
```

What stands in a passage cannot end the block or open another passage: such text is marked with a backslash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

OPEN = re.compile(r"^<passages>[ \t\r]*$", re.MULTILINE)
CLOSE = re.compile(r"^</passages>[ \t\r]*$", re.MULTILINE)
HEADER = re.compile(r"^\[([0-9]{1,6})\] (.*)$", re.MULTILINE)

# What would be read as ours, with the backslashes it may already have: one is added going out, one taken coming in.
TAG = re.compile(r"<(\\*)(/?passages>)", re.IGNORECASE)
MARKED_TAG = re.compile(r"<\\(\\*/?passages>)", re.IGNORECASE)
NUMBER = re.compile(r"^(\\*\[[0-9]+\] )", re.MULTILINE)
MARKED_NUMBER = re.compile(r"^\\(\\*\[[0-9]+\] )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Numbered:
    """A passage under the number it is cited by, from 1. `ref` and `title` are one line each; `text` is Markdown."""

    number: int
    ref: str
    title: str
    text: str


def render(passages: Sequence[Numbered]) -> str:
    """Write the block. `parse` returns the same passages, except that white space in `ref` and `title` is one blank."""
    body = "\n\n".join(f"[{p.number}] {_ref(p.ref)} | {_line(p.title)}\n{_marked(p.text)}" for p in passages)
    return f"<passages>\n{body}\n</passages>" if passages else "<passages>\n</passages>"


def parse(text: str) -> list[Numbered]:
    """Read the last block in `text`, as far as it goes if it was cut off; an empty list if there is none.

    A passage without ` | ` in its first line has an empty title; what stands before the first passage is passed over.
    """
    opened = list(OPEN.finditer(text))
    if not opened:
        return []
    start = opened[-1].end() + 1
    closed = CLOSE.search(text, start)
    end = max(start, closed.start() - 1) if closed else len(text)
    body = text[start:end]
    headers = list(HEADER.finditer(body))
    ends = [header.start() for header in headers[1:]]
    found = [
        _read(header, body[header.end() + 1 : here].removesuffix("\n\n"))
        for header, here in zip(headers, ends, strict=False)
    ]
    return found + [_read(header, body[header.end() + 1 :]) for header in headers[-1:]]


def _read(header: re.Match[str], text: str) -> Numbered:
    ref, _, title = header[2].partition(" | ")
    return Numbered(int(header[1]), _unmarked(ref).replace("\\|", "|"), _unmarked(title), _unmarked(text))


def _line(text: str) -> str:
    return _marked(" ".join(text.split()))


def _ref(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _marked(text: str) -> str:
    return NUMBER.sub(r"\\\1", TAG.sub(r"<\\\1\2", text))


def _unmarked(text: str) -> str:
    return MARKED_TAG.sub(r"<\1", MARKED_NUMBER.sub(r"\1", text))
