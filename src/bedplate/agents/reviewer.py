"""A reviewer's standing: whether somebody's answers about actions count, or not until they are trained anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bedplate.kernel.event import Event, Value
    from bedplate.kernel.standing import Standing

LOWERED = "agents.lowered"  # the fact of a person's standing: why, and since when
SINCE = "agents.measured"  # the fact: from when on their answers are measured; what was before is settled
TRAINED = "people.training"  # the fact in which competences are noted: by name, when each was shown


def lowered(standing: Standing | None) -> str:
    """Say why somebody's answers count no more; "" if they count. Training that was shown later ends it."""
    found = standing.facts.get(LOWERED) if standing is not None else None
    if standing is None or not found:
        return ""
    if not isinstance(found, dict):
        raise TypeError(f"{LOWERED} is an object")
    return "" if _trained(standing) > int(str(found["at"])) else str(found["why"])


def measured_since(standing: Standing | None) -> int:
    """Return from when on somebody's answers are measured: since they were lowered, restored or trained."""
    if standing is None:
        return 0
    return max(int(str(standing.facts.get(SINCE, 0))), _trained(standing) if standing.facts.get(LOWERED) else 0)


def lowers(standing: Standing, event: Event) -> Standing:
    """Fold that somebody's answers count no more."""
    told: Value = {"why": event.data["why"], "at": event.at}
    return replace(standing, facts={**standing.facts, LOWERED: told, SINCE: event.at})


def restores(standing: Standing, event: Event) -> Standing:
    """Fold that they count again."""
    facts = {name: value for name, value in standing.facts.items() if name != LOWERED}
    return replace(standing, facts={**facts, SINCE: event.at})


def _trained(standing: Standing) -> int:
    """Return when they showed any competence last."""
    shown = standing.facts.get(TRAINED, {})
    return max((int(str(at)) for at in shown.values()), default=0) if isinstance(shown, dict) else 0
