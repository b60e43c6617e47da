"""The kill switch: a stop raises an epoch, and what was asked or agreed to in an earlier one counts no more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bedplate.kernel.event import Event, Value
    from bedplate.kernel.standing import Standing

ALL = "agents/all"  # the stream of stops that hold for every agent
WHOLE = "*"  # the scope of a stop that holds for every agent of a use case, and for its calls
STOPPED = "agents.stopped"  # the fact: by scope, why it is stopped
EPOCHS = "agents.epochs"  # the fact: by scope, how often it was stopped
DRILLED = "agents.drilled"  # the fact: by scope, when a stop was last tried
DRILL_SCOPE = "drill/"  # how the scope of a tried stop begins: no agent is named like that, so none is held up


def stopped(standing: Standing | None, agent: str = "") -> str:
    """Say why this agent is stopped, or with "" why the whole use case is; "" if nothing is."""
    held = _of(standing, STOPPED)
    return str(held.get(WHOLE, "") or (held.get(agent, "") if agent else ""))


def epoch_of(standing: Standing | None, agent: str) -> str:
    """Return the epoch of an agent within its use case, as it is bound into what people agree to."""
    counts = _of(standing, EPOCHS)
    return f"{counts.get(WHOLE, 0)}.{counts.get(agent, 0)}"


def epoch(everywhere: Standing | None, standing: Standing | None, agent: str) -> str:
    """Return the whole epoch: of every agent, of the use case, of the agent."""
    return f"{_of(everywhere, EPOCHS).get(WHOLE, 0)}/{epoch_of(standing, agent)}"


def raised(standing: Standing, event: Event) -> Standing:
    """Fold a stop."""
    scope = str(event.data["scope"])
    held, counts = _of(standing, STOPPED), _of(standing, EPOCHS)
    count = int(str(counts.get(scope, 0))) + 1
    return _with(standing, {**held, scope: str(event.data["reason"])}, {**counts, scope: count})


def lifted(standing: Standing, event: Event) -> Standing:
    """Fold the end of a stop. Its epoch stays: what was asked before it stays void."""
    held = {scope: why for scope, why in _of(standing, STOPPED).items() if scope != event.data["scope"]}
    return _with(standing, held, _of(standing, EPOCHS))


def tried(standing: Standing, scope: str) -> Standing:
    """Fold the end of a stop that was only tried; a real one goes on until it is lifted."""
    if not scope.startswith(DRILL_SCOPE):
        return standing
    held, counts = _of(standing, STOPPED), _of(standing, EPOCHS)
    left = {name: why for name, why in held.items() if name != scope}
    return _with(standing, left, {name: count for name, count in counts.items() if name != scope})


def drills(standing: Standing | None) -> list[str]:
    """Name the stops that are being tried."""
    return sorted(scope for scope in _of(standing, STOPPED) if scope.startswith(DRILL_SCOPE))


def _of(standing: Standing | None, fact: str) -> dict[str, Value]:
    found = standing.facts.get(fact, {}) if standing is not None else {}
    if not isinstance(found, dict):
        raise TypeError(f"{fact} is an object")
    return found


def _with(standing: Standing, held: dict[str, Value], counts: dict[str, Value]) -> Standing:
    return replace(standing, facts={**standing.facts, STOPPED: held, EPOCHS: counts})
