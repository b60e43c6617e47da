"""A control: one named check, owed from a tier, at one phase. One that cannot refuse is not one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from .action import Phase
    from .decision import Case
    from .evidence import State


@dataclass(frozen=True, slots=True)
class Pass:
    """The check holds."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The check does not hold: why, and what to do."""

    reason: str
    fix: str
    state: State = "contradicted"


Finding = Pass | Fail


@dataclass(frozen=True, slots=True)
class Control:
    """`check` judges a case; `canary` makes a case that `check` must refuse, to prove that it still fires."""

    name: str
    phase: Phase
    doc: str
    check: Callable[[Case], Finding]
    canary: Callable[[], Case]
    actions: tuple[str, ...] = field(default=())  # only these; empty: every action of the phase
    always: bool = False  # owed by every tier, cannot be left out of an operating model


def owed(controls: Iterable[Control], phase: Phase, action: str, named: frozenset[str]) -> tuple[Control, ...]:
    """Return the controls to check: those of the phase that are always owed or that the tier names."""
    return tuple(
        c
        for c in controls
        if c.phase == phase and (c.always or c.name in named) and (not c.actions or action in c.actions)
    )


def fires(control: Control) -> bool:
    """Tell whether the control refuses its own synthetic violation."""
    return isinstance(control.check(control.canary()), Fail)


def untried(guardrails: Collection[str], canaries: Collection[str]) -> list[str]:
    """Name the guardrails of others (`x:NAME`) for which nobody says what they must find.

    Presidio needs none: it is tried with what it knows as it comes.
    """
    others = {kind.partition(":")[2] for kind in guardrails if kind.startswith("x:")}
    return sorted(others - {"presidio", "presidio-patterns"} - {*canaries})
