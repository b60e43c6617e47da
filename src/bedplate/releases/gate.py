"""The gate: for each control a release owes, whether it is proven, and what to do where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.kernel.control import Control, Fail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bedplate.kernel.decision import Case
    from bedplate.kernel.evidence import State


@dataclass(frozen=True, slots=True)
class Line:
    """One control at the gate."""

    control: str
    state: State
    summary: str
    fix: str


def evaluate(controls: Iterable[Control], case: Case) -> list[Line]:
    """Judge every owed control, not only up to the first that fails. One that breaks is not evidenced."""
    return [_line(control, case) for control in controls]


def passes(lines: Iterable[Line]) -> bool:
    """Tell whether nothing is missing."""
    return all(line.state == "proven" for line in lines)


def _line(control: Control, case: Case) -> Line:
    try:
        finding = control.check(case)
    except Exception as broken:  # noqa: BLE001  shown as what it is: nothing is known
        return Line(
            control.name, "not evidenced", f"could not be checked: {type(broken).__name__}", "see the server's log"
        )
    if isinstance(finding, Fail):
        return Line(control.name, finding.state, finding.reason, finding.fix)
    known = case.evidence.get(control.name)
    return Line(control.name, "proven", known.summary if known is not None else control.doc, "")
