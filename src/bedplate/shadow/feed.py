"""How many people work where: a CSV of teams and headcounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .actions import MAX_PEOPLE

if TYPE_CHECKING:
    from .rows import Reader

MAX_TEAM = 60  # characters
MAX_TEAMS = 500


def read_headcount(reader: Reader) -> dict[str, int]:
    """Read `team,headcount`; wrong rows are noted in the reader."""
    found: dict[str, int] = {}
    for number, row in reader.table(("team",), ("headcount",)):
        team, people = row["team"], row["headcount"]
        if not 1 <= len(team) <= MAX_TEAM or not team.isprintable():
            reader.wrong.add(number, f"a team has a name of 1 to {MAX_TEAM} characters")
        elif not (people.isascii() and people.isdigit() and len(people) < 9 and 0 < int(people) <= MAX_PEOPLE):  # noqa: PLR2004  digits
            reader.wrong.add(number, f"{people[:20]!r} is no headcount; write a whole number from 1")
        elif team in found:
            reader.wrong.add(number, f"{team} is there twice")
        elif len(found) >= MAX_TEAMS:
            reader.wrong.add(number, f"more than {MAX_TEAMS} teams; name departments instead")
        else:
            found[team] = int(people)
    return found
