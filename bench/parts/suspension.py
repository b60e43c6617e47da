"""From the answer to a suspension to the last call that was let through, under load, on every connection."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .load import Caller, callers
from .question import body

if TYPE_CHECKING:
    from bedplate.sdk import Client

    from .compare import Target

BATCH, LEAST, MOST = 8, 6, 24  # connections come in batches, until every process has accepted some
WATCHED_S = 2.0
SERVED_US = 50_000  # of processor time under load: less is a process that only waits


@dataclass(frozen=True, slots=True)
class Suspended:
    """`last_ms`: from the answer to the last 200, 0 if none came after it. `answer_ms`: how long the answer took."""

    last_ms: float
    answer_ms: float
    before: int  # calls that were let through
    after: int  # refused ones
    served: int  # processes that answered calls
    processes: int  # that there are


def suspension(target: Target, owner: Client, use_case: str, processes: int) -> Suspended:
    """Suspend a use case while it is called in so many processes."""
    return asyncio.run(_suspended(target, owner, use_case, processes))


async def _suspended(target: Target, owner: Client, use_case: str, processes: int) -> Suspended:
    assert target.process is not None
    seen: list[tuple[int, float]] = []
    calling: list[Caller] = []
    idle = target.process.cpu_us()
    served = 0
    for batch in range(MOST):
        if batch >= LEAST and served >= processes:
            break
        calling += await callers(
            target.port, target.key, body(), BATCH, lambda status, _, at: seen.append((status, at))
        )
        await asyncio.sleep(0.2)
        served = sum(spent - idle.get(pid, 0) > SERVED_US for pid, spent in target.process.cpu_us().items())
    asked, answered = await asyncio.to_thread(_suspend, owner, use_case)
    await asyncio.sleep(WATCHED_S)
    for caller in calling:
        caller.stop()
    through = [at for status, at in seen if status == 200]
    refused = [at for status, at in seen if status == 403]
    assert len(through) + len(refused) == len(seen), f"answered otherwise: { {s for s, _ in seen} }"
    assert through, "nothing was answered"
    assert refused, "nothing was refused"
    late = max(0.0, max(through) - answered)
    return Suspended(1000 * late, 1000 * (answered - asked), len(through), len(refused), served, processes)


def _suspend(owner: Client, use_case: str) -> tuple[float, float]:
    asked = time.perf_counter()
    owner.suspend(use_case, "measuring")
    return asked, time.perf_counter()
