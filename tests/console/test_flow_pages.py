"""The Flow page and its API, over a served installation in the middle of its story."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bedplate.console import flow
from bedplate.errors import InvalidInput, Unauthenticated
from bedplate.people.flow.queue import Forecast, Growth, Queue
from bedplate.people.flow.views import Flow
from bedplate.sdk import Client

if TYPE_CHECKING:
    from .conftest import House


def test_the_page_tells_queues_waits_and_delivery(house: House) -> None:
    page = house.page("/flow")
    for heading in ("Use cases by how far they came", "Waits by step", "Queues of decisions", "Delivery by domain"):
        assert heading in page
    assert "release approval" in page
    assert "too little to forecast" in page  # the story is minutes old
    assert "too few (1)" in page


def test_the_api_says_what_the_page_says(house: House) -> None:
    client = house.client("victor.lam")
    told = client.get("/api/flow", weeks=13)
    waiting = {(s["structure"], s["step"]): s["waiting"] for s in told["steps"]}
    asked = client.approvals()
    assert sum(n for (_, step), n in waiting.items() if step in {"acceptance", "approval"}) == sum(
        len(a["stages"]) for a in asked
    )
    assert waiting["domain/people", "restore"] >= 1
    assert [len(q["arrivals"]) for q in told["queues"]] == [13] * len(told["queues"])
    assert told["use_cases"]["live"][-1] == 1
    (whole, *_) = client.get("/api/flow/dora")["domains"]
    assert (whole["domain"], whole["deployments"], whole["failed"], whole["failure_permille"]) == ("", 1, 1, None)


def test_too_little_is_not_simulated_and_bad_input_says_what_to_write(house: House) -> None:
    assert "too few to simulate" in house.page("/flow/options")
    client = house.client("victor.lam")
    for query, why in (
        ("", "too few to simulate"),
        ("?delegate=5:release", "cannot be read"),
        ("?delegate=1:accept", "nothing to delegate"),
        ("?weeks=1", "weeks"),
    ):
        with pytest.raises(InvalidInput, match=why):
            client.get(f"/api/flow/simulation{query}")
    with pytest.raises(Unauthenticated):
        Client(house.url).get("/api/flow")


def test_pictures_are_drawn_from_the_numbers() -> None:
    layers = {"ended": (0, 1), "live": (2, 3), "in approval": (0, 0), "in the making": (0, 0), "in acceptance": (2, 0)}
    areas, axis = flow.areas_of(Flow(0, 2, (), (), (7, 14), layers))
    assert [a.now for a in areas] == [1, 3, 0, 0, 0]
    assert areas[-1].path.startswith("M44.0 10.0L550.0 10.0L")  # four of at most four, twice
    assert [text for _, text in axis.up] == ["0", "1", "2", "3", "4"]
    queue = Queue("coe", (1, 1), (0, 0), (1, 2), Growth(2, 2, 0.25), Forecast(((1, 2, 4),)))
    drawn = flow.drawn(queue, 0)
    assert drawn.line == "M44.0 167.5L297.0 115.0"
    assert drawn.band == "M297.0 115.0L550.0 10.0L550.0 167.5Z"
    empty = flow.drawn(Queue("coe", (0,), (0,), (0,), Growth(0, 0, 1.0), Forecast(why="too little")), 0)
    assert (empty.middle, empty.band) == ("", "")
