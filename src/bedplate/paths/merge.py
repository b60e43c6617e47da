"""A three-way merge by lines: what one side changed is taken, what both changed in different ways conflicts."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of the result: `lines` taken as they are, or in a conflict those of each side."""

    lines: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    conflict: bool = False


def merge_lines(base: Sequence[str], own: Sequence[str], other: Sequence[str]) -> Iterator[Region]:
    """Yield the result's regions in order.

    The method of diff3: lines of the base that both sides still have split the three texts into parts, and each part is
    taken from whichever side changed it. Sides that changed it alike agree.
    """
    at_base = at_own = at_other = 0
    for anchor, in_own, in_other, length in [*_anchors(base, own, other), (len(base), len(own), len(other), 0)]:
        part = (base[at_base:anchor], own[at_own:in_own], other[at_other:in_other])
        yield from _part(*(tuple(lines) for lines in part))
        if length:
            yield Region(tuple(base[anchor : anchor + length]))
        at_base, at_own, at_other = anchor + length, in_own + length, in_other + length


def _part(base: tuple[str, ...], own: tuple[str, ...], other: tuple[str, ...]) -> Iterator[Region]:
    if own in (other, base):
        if other:
            yield Region(other)
    elif other == base:
        if own:
            yield Region(own)
    else:
        yield Region(own=own, other=other, conflict=True)


def _anchors(base: Sequence[str], own: Sequence[str], other: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield the stretches of the base that both sides kept: where in each of the three, and how many lines."""
    ours, theirs = _kept(base, own), _kept(base, other)
    i = j = 0
    while i < len(ours) and j < len(theirs):
        start = max(ours[i][0], theirs[j][0])
        end = min(ours[i][0] + ours[i][2], theirs[j][0] + theirs[j][2])
        if start < end:
            yield start, ours[i][1] + start - ours[i][0], theirs[j][1] + start - theirs[j][0], end - start
        if ours[i][0] + ours[i][2] < theirs[j][0] + theirs[j][2]:
            i += 1
        else:
            j += 1


def _kept(base: Sequence[str], side: Sequence[str]) -> list[tuple[int, int, int]]:
    blocks = SequenceMatcher(None, base, side, autojunk=False).get_matching_blocks()
    return [(block.a, block.b, block.size) for block in blocks if block.size]
