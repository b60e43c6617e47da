"""What the worker does about cost on a populated installation: adds up, mends, and tells when a day is too dear."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert
from tests import served
from tests.served import HR

from bedplate.bootstrap import open_installation, wall_clock
from bedplate.config import Settings
from bedplate.gateway.budget import Budgets, Limits
from bedplate.gateway.tables import usage
from bedplate.gateway.usage import COUNTS
from bedplate.incidents.actions import close
from bedplate.incidents.views import incident_by_id, incidents
from bedplate.kernel.clock import DAY
from bedplate.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bedplate.installation import Installation

SUBJECT = f"usecase/{HR}"
DOLLAR = 1_000_000_000


@pytest.fixture
def at() -> Iterator[Installation]:
    made = open_installation(Settings(data=served.fresh()))
    made.follower.look()
    yield made
    asyncio.run(made.close())


def use(at: Installation, day: int, amount: int, subject: str = SUBJECT) -> None:
    names = {"release": "r", "model": "m", "key": "k", "dialect": "chat", "route": "evaluation"}
    row = {"shard": "shard-9", "day": day, "subject": subject, **names, **dict.fromkeys(COUNTS, 0), "cost_nano": amount}
    with at.engine.connect() as connection, connection.begin():
        connection.execute(insert(usage).values(row))


def found(at: Installation) -> list[str]:
    return [str(i["id"]) for i in incidents(at.engine, SUBJECT) if i["cause"] == "anomaly/cost"]


def test_a_day_far_too_dear_opens_one_incident(at: Installation) -> None:
    worker, now = Worker(at), at.clock()
    for day in range(now // DAY - 28, now // DAY):
        use(at, day, 5 * DOLLAR)
    worker.watch_cost(now)
    assert found(at) == []
    use(at, now // DAY, 60 * DOLLAR)
    use(at, now // DAY, 60 * DOLLAR, "usecase/gone")
    for _ in range(2):
        worker.watch_cost(now)
    (incident,) = found(at)
    told = incident_by_id(at.engine, incident)
    assert "cost $60.00, expected $5.00" in told["title"]
    assert told["frozen"]["anomalies"][0]["amount"] == 60 * DOLLAR
    assert at.standing(SUBJECT).breaches == (incident,)
    close(at.governor, "mara.quinn", SUBJECT, incident, "a test of a batch")
    worker.watch_cost(now)
    assert found(at) == [incident], "one a day"


def test_a_round_adds_up_what_was_recorded_before_and_nothing_twice(at: Installation) -> None:
    worker = Worker(at)
    recorded = at.journal.size
    assert recorded > 0
    worker.add_up(at.clock())
    assert at.usage.waiting(at.journal.shard) == 0
    worker.add_up(at.clock())
    assert at.usage.differs() == []


def test_a_round_of_the_leader_frees_what_a_killed_process_had_reserved(at: Installation) -> None:
    gone = Budgets(at.settings.data / "budget", "shard-7", lambda _: {})
    before = at.budgets.today(SUBJECT, at.clock())
    gone.reserve(SUBJECT, Limits(), 100, 7, at.clock())
    gone.close()
    assert at.budgets.today(SUBJECT, at.clock()).calls == before.calls + 1
    Worker(at).mend()
    assert at.budgets.today(SUBJECT, at.clock()) == before


def test_budgets_begin_with_what_is_on_record() -> None:
    data = served.fresh()
    with served.Server(data) as server:
        harbour = served.harbour(server)
        for _ in range(3):
            assert harbour.call(served.ask())[0] == 200
        server.kill()
    made = open_installation(Settings(data=data))
    try:
        told = made.calls.search(use_case=SUBJECT, verdict="allow", text='"route":"live"')
        spent = made.budgets.today(SUBJECT, wall_clock())
        assert (spent.calls, spent.tokens) == (3, sum(c.entry["tokens_in"] + c.entry["tokens_out"] for c in told))
    finally:
        asyncio.run(made.close())
