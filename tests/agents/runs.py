"""What the tests of runs share: limits, a store on a clock that stands still, and steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.agents.run import Claim, Limits, Run, Step
from bedplate.agents.runstore import RunStore
from bedplate.testing import SettableClock

if TYPE_CHECKING:
    from pathlib import Path

    from bedplate.agents.runstore import Placed

SUBJECT, AGENT = "usecase/payments", "payer"


@dataclass(frozen=True)
class Most:
    steps_per_run: int = 0
    actions_per_run: int = 0
    actions_per_day: int = 0
    amount_per_action: int = 0
    amount_per_run: int = 0
    amount_per_day: int = 0
    cents_per_run: int = 0
    cents_per_day: int = 0
    seconds_per_run: int = 0


def opened(folder: Path, clock: SettableClock | None = None, process: str = "shard-0") -> RunStore:
    return RunStore(folder / "agents", process, clock or SettableClock())


def begun(store: RunStore, run: str = "run-1", agent: str = AGENT) -> Run:
    return store.begin(Run(run, SUBJECT, agent))


def act(
    store: RunStore, action: str, limits: Limits, amount: int = 0, *, run: str = "run-1", class_: str = "write"
) -> Placed:
    step = Step("tool", "bank/pay", f"digest of {action}", state="intended", action=action, class_=class_)
    return store.take(run, step, Claim(limits, amount, class_))
