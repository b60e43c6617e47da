"""10,000 actions of agents that wait for people: the queue's page at most 150 ms, resuming one at most 100 ms (p95).

Every action is asked for at the real door, of a real release: parked on the ledger and in the journal. Measured are
the console's pages over ASGI, signed in; a vote; and the door's answer to an agent that asks again once people agreed.
Some five minutes on SQLite. `python bench/actions.py [how many]`.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.console import ask
from tests.console.acted import ASSURED, KNOWN, found
from tests.console.conftest import serve

from bedplate.agents import views
from bedplate.agents.toolcall import Outcome, ToolCall
from bedplate.paths.agents import Sought, counts
from bedplate.people.actions import sign_in
from bedplate.serve import create_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp
    from tests.console.conftest import House

    from bedplate.agents.token import Actor
    from bedplate.installation import Installation

MANY, TIMES, RESUMED = 10_000, 30, 40
AT_ONCE = 16  # runs
OF_A_RUN = 4  # more would trip the breaker of steps, or of what is repeated
PAGE_MS, RESUME_MS = 150, 100
PAGES = (
    "/actions",
    "/actions?page=100",
    f"/actions?use_case={ASSURED}&agent=payer&tier=3",
    "/actions?state=any",
    "/approvals",
    "/",
    "/agents",
    f"/stops?target={ASSURED}",
)


def main() -> None:
    """Found, park, measure and print."""
    many = int(sys.argv[1]) if len(sys.argv) > 1 else MANY
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for house in serve(Path(folder), played=found):
            missed = asyncio.run(measure(house, many))
    sys.exit(1 if missed else 0)


async def measure(house: House, many: int) -> int:
    """Park them, and time what people and agents then do; returns how many figures missed their budget."""
    at = house.at
    key = str(house.client("leo.fischer").issue_key(ASSURED, "bench", agent="payer")["key"])
    at.follower.look()
    actor = at.agents.identified(key)
    began = time.perf_counter()
    turns = asyncio.Semaphore(AT_ONCE)
    runs = [park(at, actor, turns, range(n, min(n + OF_A_RUN, many))) for n in range(0, many, OF_A_RUN)]
    parked = [call for calls in await asyncio.gather(*runs) for call in calls]
    took = time.perf_counter() - began
    waits = counts(at.engine, Sought(), at.clock())["asked"]
    print(f"{waits:,} actions wait, parked in {took:.0f} s ({1000 * took / many:.1f} ms each)")
    assert waits == many, waits
    gc.collect()
    gc.freeze()
    app, token = create_for(at), sign_in(at.governor, "hanna.osei", "session").text
    print(f"{'':54} {'p50 ms':>8} {'p95 ms':>8}")
    missed = 0
    first = views.queue(at.engine)[0][0]["approval"].partition("/")[2]
    for page in (*PAGES, f"/actions/{first}"):
        missed += await timed(page, PAGE_MS, partial(_page, app, page, token), TIMES)
    chosen = parked[:: max(1, many // RESUMED)][:RESUMED]
    approvals: dict[str, str] = {}
    for call in chosen:
        ruling = await at.agents.propose(actor, call)
        assert (ruling.verdict, ruling.state) == ("ask", "parked"), ruling
        approvals[call.run + call.digest] = ruling.approval

    async def vote(number: int) -> None:
        call = chosen[number]
        approval = await asyncio.to_thread(
            at.vote, "hanna.osei", approvals[call.run + call.digest], yes=True, reason="agreed"
        )
        assert approval.state == "granted", approval.state

    async def resume(number: int) -> None:
        ruling = await at.agents.propose(actor, chosen[number])
        assert ruling.verdict == "allow", ruling
        await at.agents.settle(actor, ruling.action, Outcome("ok", {"receipt": number}))

    missed += await timed("a person agrees to one", RESUME_MS, vote, len(chosen), warm=0)
    missed += await timed("an agent resumes one, and says what became of it", RESUME_MS, resume, len(chosen), warm=0)
    return missed


async def park(at: Installation, actor: Actor, turns: asyncio.Semaphore, numbers: range) -> list[ToolCall]:
    """Have a run of the agent ask for payments that people must agree to."""
    made = []
    async with turns:
        name = f"bench-{numbers.start}"
        await at.agents.begin(actor, run=name, task=f"Pay the invoices of {KNOWN}")
        for number in numbers:
            sent: dict[str, Any] = {"recipient": KNOWN, "amount": 201 + number % 700, "reference": f"invoice {number}"}
            call = ToolCall(name, "bank/pay", sent, key=f"pay-{number}")
            ruling = await at.agents.propose(actor, call)
            assert (ruling.verdict, ruling.state) == ("ask", "parked"), ruling
            made.append(call)
    return made


async def timed(name: str, budget: int, work: Callable[[int], Awaitable[None]], times: int, *, warm: int = 2) -> bool:
    """Do something so many times and print how long it took; True if its p95 is beyond the budget."""
    took = []
    for number in range(times + warm):
        start = time.perf_counter()
        await work(number)
        took.append(1000 * (time.perf_counter() - start))
    took = sorted(took[warm:])
    p50, p95 = took[len(took) // 2], took[-(-len(took) * 95 // 100) - 1]
    print(f"{name:54} {p50:8.1f} {p95:8.1f}  {'reached' if p95 <= budget else 'MISSED'} {budget} ms", flush=True)
    return p95 > budget


async def _page(app: ASGIApp, page: str, token: str, _number: int) -> None:
    status = await ask(app, page, token)
    assert status == 200, (page, status)


if __name__ == "__main__":
    socket.setdefaulttimeout(60)
    main()
