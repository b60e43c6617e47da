"""How the blast radius of a proposed operating model is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .output import line, note, table

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 20  # rows of each part
BODIES = {"voided": "is voided", "other bodies": "owes other bodies", "would be denied": "would be denied"}


def radius(told: Mapping[str, Any]) -> None:
    """Print everything on record that a model would change."""
    line()
    line("what it would change of what is on record")
    _tiers(told["tiers"])
    _approvals(told["approvals"])
    _people(told["people"])
    _gates(told["gates"])
    if told["calls"] is not None:
        _calls(told["calls"])


def _tiers(moved: list[dict[str, Any]]) -> None:
    _counted(len(moved), "use case gets another tier", "use cases get another tier")
    for one in moved[:MOST]:
        line(f"  {one['use_case']}: tier {one['before']} → {one['after']}; {one['fix']}")
        for reason in one["reasons"]:
            line(f"      {reason}")
    _more(moved)


def _approvals(found: list[dict[str, Any]]) -> None:
    _counted(len(found), "approval does not stand", "approvals do not stand")
    for one in found[:MOST]:
        what = BODIES.get(one["what"], "has nobody left who may finish it")
        line(f"  {one['approval']} ({one['state']}, {one['subject']}) {what}: {one['why']}")
        if one["after"] and one["after"] != one["before"]:
            line(f"      {' and '.join(one['before'])} → {' and '.join(one['after'])}")
    _more(found)


def _people(found: list[dict[str, Any]]) -> None:
    _counted(len(found), "person loses or gains something", "people lose or gain something")
    for one in found[:MOST]:
        for sign, names in (("-", one["seats_lost"] + one["lost"]), ("+", one["seats_gained"] + one["gained"])):
            if names:
                line(f"  {one['person']} {sign} {', '.join(names)}")
    _more(found)


def _gates(found: list[dict[str, Any]]) -> None:
    _counted(len(found), "control that a live release would fail now", "controls that live releases would fail now")
    for one in found[:MOST]:
        when = "" if one["when"] == "at once" else f" {one['when']}"
        line(f"  {one['use_case']}: {one['control']} {one['state']}{when}: {one['why']}; {one['fix']}")
    _more(found)


def _calls(found: Mapping[str, Any]) -> None:
    cases = found["use_cases"]
    refused = sum(one["refused"] for one in cases)
    line()
    line(f"{refused:,} of {found['replayed']:,} calls of {found['days']} days would be refused at once")
    rows = [
        (one["use_case"], e["when"], e["outcome"], f"{e['calls']:,}", e["control"], e["examples"][0], e["why"])
        for one in cases
        for e in one["effects"]
    ]
    if rows:
        table(("use case", "when", "outcome", "calls", "control", "for example", "why"), rows[:MOST])
        _more(rows)
    let = sum(one["let"] for one in cases)
    if let:
        line(f"{let:,} that were let through would be refused by the model in force, and not by this one")
    for one in cases:
        for left in one["unsaid"]:
            line(f"cannot be said of {left[2]:,} calls of {one['use_case']}: {left[1]} {left[0]}: {left[3]}")
    others = ", ".join(f"{n:,} {why}" for why, n in sorted(found["left_out"].items()))
    if others:
        note(f"Not replayed: {others}.")


def _counted(number: int, one: str, many: str) -> None:
    line(f"{number or 'no'} {one if number == 1 else many}")


def _more(rows: list[Any]) -> None:
    if len(rows) > MOST:
        line(f"  and {len(rows) - MOST} more: --output json has all")
