"""Taking a sibling to its path's next version: three ways, by line, all files or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.errors import Conflict

from .merge import merge_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS, THEIRS = "<<<<<<< yours", ">>>>>>> the path's"
MIDDLE = "======="


@dataclass(frozen=True, slots=True)
class Merged:
    """What the files become. `conflicts`: file → lines, from 1, at which both sides changed the same."""

    files: Mapping[str, str]
    removed: tuple[str, ...]
    conflicts: Mapping[str, tuple[int, ...]]

    @property
    def clean(self) -> bool:
        """Tell whether nobody has to choose."""
        return not self.conflicts

    def refuse_conflicts(self) -> None:
        """Raise `Conflict` with every place where both sides changed the same."""
        if self.conflicts:
            places = ", ".join(f"{file}:{line}" for file, lines in self.conflicts.items() for line in lines)
            raise Conflict(
                f"you and the path changed the same lines: {places}; nothing was written",
                hint="write both versions between markers, and choose: bedplate path upgrade --write-conflicts",
            )


def merge(old: Mapping[str, str], mine: Mapping[str, str], new: Mapping[str, str]) -> Merged:
    """Bring what the path changed from `old` to `new` into `mine`. Files that only the sibling has stay as they are."""
    files: dict[str, str] = {}
    removed: list[str] = []
    conflicts: dict[str, tuple[int, ...]] = {}
    for name in sorted({*old, *new}):
        base, own, next_ = old.get(name), mine.get(name), new.get(name)
        if next_ in (base, own):
            continue
        if own == base:  # the sibling left it as it was
            if next_ is None:
                removed.append(name)
            else:
                files[name] = next_
            continue
        text, places = _merged(base or "", own or "", next_ or "")
        if text != own:
            files[name] = text
        if places:
            conflicts[name] = places
    return Merged(files, tuple(removed), conflicts)


def _merged(base: str, own: str, new: str) -> tuple[str, tuple[int, ...]]:
    lines: list[str] = []
    places: list[int] = []
    for region in merge_lines(_lines(base), _lines(own), _lines(new)):
        if region.conflict:
            places.append(len(lines) + 1)
            lines += [f"{OURS}\n", *region.own, f"{MIDDLE}\n", *region.other, f"{THEIRS}\n"]
        else:
            lines += region.lines
    return "".join(lines), tuple(places)


def _lines(text: str) -> list[str]:
    """Split at line ends, which stay; a last line without one gets one, or a marker would be glued to it."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return lines
