"""Maturity counted from the records of an organisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedplate.gateway.views import Calls
from bedplate.incidents.actions import resume, suspend
from bedplate.kernel.clock import DAY
from bedplate.paths.maturity import maturity
from bedplate.people.versions import versions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import House

    from bedplate.people.maturity import Point


def points(house: House, tmp_path: Path) -> dict[str, Point]:
    calls = Calls(tmp_path, lambda _id, content: content)
    found = maturity(house.engine, calls, house.model, house.clock())
    return {p.kind.id: p for layer in found.layers for p in layer.points}


def test_an_empty_house_is_too_early_for_nearly_everything(house: House, tmp_path: Path) -> None:
    found = points(house, tmp_path)
    # The founding itself was agreed to by others than who asked, in time; and nobody sits on both sides.
    assert {p.kind.id for p in found.values() if p.state != "too early"} == {"separated", "in-time", "apart"}
    assert all(p.state != "not reached" for p in found.values())


def test_points_follow_the_records(house: House, tmp_path: Path) -> None:
    subject = house.live(house.tier(3))
    found = points(house, tmp_path)
    assert (found["owned"].state, found["owned"].links) == ("reached", (subject,))
    assert (found["stopped"].state, found["stopped"].missing) == ("reached", ())  # a drill is on record
    assert (found["fires"].state, found["fires"].missing) == ("not reached", (subject,))
    assert (found["evaluated"].state, found["heard"].state) == ("not reached", "too early")
    assert found["seated"].state == "reached"  # two each sit in the CoE and the board, and one is needed
    house.propose(house.use_case(id="another"))
    house.clock.advance(15 * DAY)
    found = points(house, tmp_path)
    assert (found["decided"].state, found["decided"].missing) == ("not reached", ("usecase/another",))
    assert found["in-time"].state == "not reached"


def test_the_stop_counts_once_it_was_exercised(house: House, tmp_path: Path) -> None:
    subject = house.live(house.tier(2))
    house.clock.advance(181 * DAY)
    assert points(house, tmp_path)["stopped"].missing == (subject,)
    suspend(house.governor, "leo.fischer", subject, "a drill")
    house.grant(house.asked(lambda: resume(house.governor, "leo.fischer", subject, "the drill is over")))
    assert points(house, tmp_path)["stopped"].links == (subject,)


def test_an_owner_without_a_seat_is_missed(house: House, tmp_path: Path) -> None:
    subject = house.live()
    house.apply(house.model_file(lambda text: text.replace("domain.owner@people", "domain.engineer@people", 1)))
    found = points(house, tmp_path)
    assert (found["owned"].state, found["owned"].missing) == ("not reached", (subject,))
    assert found["seated"].missing == ("1 of domain people",)  # one approver, and nobody beside


def test_versions_say_what_changed_and_who_agreed(house: House) -> None:
    house.apply(house.model_file(lambda text: text.replace("live_use_cases: 3", "live_use_cases: 4")))
    house.apply(house.model_file(lambda text: text.replace("lease_ms: 30000", "lease_ms: 20000", 1)))
    newest, second, first = versions(house.engine)
    assert [(c.path, c.before, c.after) for c in newest.changes] == [
        ("appetites.live_use_cases", "4", "3"),
        ("tiers.1.lease_ms", "30000", "20000"),
    ]
    assert {a.seat.partition(".")[0] for a in newest.agreed} == {"board", "coe"}
    assert [a.seat.partition(".")[0] for a in second.agreed] == ["board"]
    assert first.changes[0].path == "(everything)"
    assert [v.digest for v in versions(house.engine, 1)] == [newest.digest]
    assert versions(house.engine, 1)[0].changes == newest.changes
