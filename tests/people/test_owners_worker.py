"""The worker's look at owners, wired up: whoever leaves is noticed once, and the clock leads to a lower rung."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from tests import served

from bedplate.bootstrap import open_installation, wall_clock
from bedplate.config import Settings
from bedplate.document import parse
from bedplate.errors import NeedsApproval
from bedplate.incidents.clock import DUE
from bedplate.incidents.ladder import OWNER
from bedplate.incidents.views import incidents
from bedplate.kernel.clock import SECOND
from bedplate.kernel.standing import Rung
from bedplate.people.actions import apply_model, check_model
from bedplate.people.blank import blank_model
from bedplate.people.views import current_model
from bedplate.testing import SettableClock
from bedplate.worker import WATCH_EVERY, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bedplate.installation import Installation

LIVE = f"usecase/{served.HR}"


@pytest.fixture
def at() -> Iterator[Installation]:
    made = open_installation(Settings(data=served.fresh()), SettableClock(wall_clock()))
    made.follower.look()
    yield made
    asyncio.run(made.close())


def without_mara(at: Installation) -> None:
    text = blank_model("Harbour Mutual", (served.EXAMPLE / "people.yaml").read_text())
    text = re.sub(r"(?s)  - id: mara.quinn.*?(?=  - id: gwen)", "", text)
    current = current_model(at.engine)
    assert current is not None
    with pytest.raises(NeedsApproval) as asked:
        apply_model(at.governor, "priya.raman", check_model(at.governor, parse(text, "m.yaml")), current["model"])
    at.vote("ruth.adeyemi", asked.value.approval, yes=True, reason="")


def opened(at: Installation) -> list[tuple[str, str]]:
    return [(i["cause"], i["severity"]) for i in incidents(at.engine, LIVE, only_open=True)]


def rounds(at: Installation, worker: Worker, micros: int) -> None:
    assert isinstance(at.clock, SettableClock)
    at.clock.advance(micros)
    at.follower.look()
    worker.tick()


def test_a_live_use_case_whose_owner_left_gets_one_incident_and_steps_down_when_it_is_over(at: Installation) -> None:
    worker = Worker(at)
    rounds(at, worker, WATCH_EVERY)
    assert opened(at) == []
    without_mara(at)
    rounds(at, worker, SECOND)
    assert opened(at) == [], "it looks once a minute"
    rounds(at, worker, WATCH_EVERY)
    rounds(at, worker, WATCH_EVERY)
    assert opened(at) == [("owner/absent", OWNER)]
    assert at.standing(LIVE).rung is Rung.ACT
    rounds(at, worker, DUE[OWNER] + WATCH_EVERY)
    assert at.standing(LIVE).rung is Rung.PROPOSE
    worker.stop()
