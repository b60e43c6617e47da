"""What opens an incident by itself, in words and with its frozen evidence: monitor, canary, cost, owner."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from bedplate.gateway.price import dollars
from bedplate.incidents.actions import Happening
from bedplate.incidents.ladder import OWNER, UNPROVEN
from bedplate.kernel.clock import DAY
from bedplate.kernel.event import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.gateway.anomaly import Anomaly
    from bedplate.gateway.canary import Tried
    from bedplate.gateway.views import Call
    from bedplate.kernel.model import OperatingModel
    from bedplate.kernel.standing import Standing
    from bedplate.models.monitor import Monitor, Seen

COST_ANOMALY = "anomaly/cost"
FROZEN = 50  # calls kept as an incident's evidence


def breached(subject: str, standing: Standing, monitor: Monitor, calls: Sequence[Call], seen: list[Seen]) -> Happening:
    """A monitor is above its limit: the calls it judged are kept by id, place and leaf."""
    value, judged = monitor.value(seen), {s.id for s in monitor.judged(seen)}
    frozen = {
        "monitor": monitor.measure,
        "permille": value,
        "limit": monitor.limit,
        "release": standing.release,
        "rung": standing.rung.name.lower(),
        "calls": [_placed(c) for c in calls if c.id in judged][:FROZEN],
    }
    title = f"{monitor.measure}: {value / 10:.0f} % of {len(judged)} calls, the limit is {monitor.limit / 10:.0f} %"
    return Happening(subject, title, f"monitor/{monitor.measure}", "breach", canonical(json.loads(json.dumps(frozen))))


def _placed(call: Call) -> dict[str, str | int]:
    return {"id": call.id, "shard": call.shard, "seq": call.seq, "leaf": call.leaf}


def passed(standing: Standing, tried: Tried) -> Happening:
    """A control let its synthetic violation pass."""
    frozen = {
        "control": tried.control,
        "why": tried.why,
        "call": tried.call,
        "release": standing.release,
        "rung": standing.rung.name.lower(),
    }
    title = f"{tried.control} let its synthetic violation pass: {tried.why}"
    return Happening(standing.subject, title, f"canary/{tried.control}", UNPROVEN, canonical(frozen))


def dear(subject: str, standing: Standing, seen: Sequence[Anomaly], now: int) -> Happening:
    """A use case costs far more today than it does."""
    frozen = {
        "day": now // DAY,
        "release": standing.release,
        "rung": standing.rung.name.lower(),
        "anomalies": [asdict(a) for a in seen],
    }
    said = (f"{a.measure} {_amount(a.measure, a.amount)}, expected {_amount(a.measure, a.expected)}" for a in seen)
    title = f"far more than usual today: {'; '.join(said)}"
    return Happening(subject, title, COST_ANOMALY, "breach", canonical(frozen))


def _amount(measure: str, amount: int) -> str:
    return f"${dollars(amount)}" if measure == "cost" else f"{amount:,}"


def unowned(standing: Standing, cause: str, why: str, model: OperatingModel) -> Happening:
    """Nobody answers for a use case any more, by the operating model in force."""
    frozen = {"owner": standing.owner, "why": why, "model": model.digest}
    return Happening(standing.subject, why, cause, OWNER, canonical(frozen))
