"""What would be decided, were something so: the same verdict as at the doors, of a case that nobody attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .control import Control, owed
from .decision import Case, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Iterable


def owing(controls: Iterable[Control], case: Case) -> tuple[Control, ...]:
    """Return the controls owed in a case, as at the doors: by its action's phase, and what the tier names."""
    action = case.attempt.action
    named = case.plan.controls if case.plan is not None else frozenset[str]()
    return owed(controls, action.phase, action.name, named)


def supposed(controls: Iterable[Control], case: Case) -> Verdict:
    """Decide a case without acting, asking or recording: `controls` are all that are declared, or those owed."""
    return decide(case, owing(controls, case))
