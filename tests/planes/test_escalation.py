"""Incidents that nobody settles in time: they go up, a body at a time, on record, and lower the rung where planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bedplate.errors import Denied
from bedplate.incidents.actions import Happening, Late, close, escalate, open_incident
from bedplate.incidents.clock import DUE
from bedplate.incidents.escalation import EVERY, Escalation
from bedplate.incidents.views import incident_by_id
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.standing import Rung

if TYPE_CHECKING:
    from tests.conftest import House

WEEK = DUE["breach"]


def opened(house: House, subject: str, severity: str = "breach") -> str:
    return open_incident(
        house.governor, SYSTEM, Happening(subject, "too many", "monitor/failed", severity, b'{"calls":[]}')
    )


def seen(house: House) -> list[tuple[Any, ...]]:
    return [
        (e.stream, e.actor, e.data["step"], e.data["body"], e.data["people"])
        for e in house.events("incidents.incident.escalated")
    ]


@pytest.fixture
def escalation(house: House) -> Escalation:
    return Escalation(house.engine, house.governor)


def test_an_overdue_incident_goes_up_once_a_step(house: House, escalation: Escalation) -> None:
    incident = opened(house, house.live())
    house.clock.advance(WEEK)
    assert escalation.round() == 0, "it is due now, and not over"
    house.clock.advance(EVERY)
    assert escalation.round() == 1
    domain = (incident, SYSTEM, 1, "domain", ["hanna.osei"])
    assert seen(house) == [domain]
    house.clock.advance(WEEK - 2 * EVERY)
    assert escalation.round() == 0
    assert Escalation(house.engine, house.governor).round() == 0, "another process knows it from the records"
    house.clock.advance(2 * EVERY)
    assert escalation.round() == 1
    house.clock.advance(WEEK)
    assert escalation.round() == 1
    house.clock.advance(10 * WEEK)
    assert (escalation.round(), escalation.round()) == (0, 0), "nobody is above the board"
    assert [(step, body) for _, _, step, body, _ in seen(house)] == [(1, "domain"), (2, "coe"), (3, "board")]
    row = incident_by_id(house.engine, incident)
    people = [p for *_, told in seen(house) for p in told]
    assert row["told"].split(",") == people
    assert {"hanna.osei", "priya.raman", "ruth.adeyemi"} <= set(people)
    assert "mara.quinn" not in people, "the owner knows"
    assert row["step"] == 3
    house.sound()


def test_steps_that_were_missed_are_taken_at_once(house: House, escalation: Escalation) -> None:
    opened(house, house.live())
    house.clock.advance(2 * WEEK + EVERY)
    assert escalation.round() == 2
    assert [step for _, _, step, *_ in seen(house)] == [1, 2]


def test_what_is_settled_goes_nowhere(house: House, escalation: Escalation) -> None:
    subject = house.live()
    incident = opened(house, subject)
    close(house.governor, "mara.quinn", subject, incident, "mended")
    house.clock.advance(10 * WEEK)
    assert escalation.round() == 0
    assert seen(house) == []


def test_harm_goes_up_sooner_and_a_higher_tier_begins_higher(house: House, escalation: Escalation) -> None:
    opened(house, house.live(house.tier(3)), "harm")
    house.clock.advance(DUE["harm"] + EVERY)
    assert escalation.round() == 1
    assert [(step, body) for _, _, step, body, _ in seen(house)] == [(1, "coe")]


@pytest.mark.parametrize(("planned", "rung"), [("", Rung.PROPOSE), (', overdue: "off"', Rung.OFF)])
def test_the_rung_goes_down_where_the_plan_says_so(house: House, planned: str, rung: Rung) -> None:
    ladder = 'ladder: {breach: propose, harm: "off"'
    house.apply(house.model_file(lambda text: text.replace(ladder + "}", ladder + planned + "}"))) if planned else None
    subject = house.live()
    incident = opened(house, subject)
    assert house.standing(subject).rung is Rung.PROPOSE
    house.clock.advance(WEEK + EVERY)
    assert Escalation(house.engine, house.governor).round() == 1
    assert house.standing(subject).rung is rung
    house.clock.advance(WEEK)
    assert Escalation(house.engine, house.governor).round() == 1
    lowered = [e for e in house.events("incidents.rung.lowered") if e.data["incident"] == incident]
    assert len(lowered) == (2 if planned else 1), "once, when it became overdue"
    house.sound()


def test_nobody_takes_it_up_before_its_time(house: House) -> None:
    subject = house.live()
    incident = opened(house, subject)
    due = house.clock() + WEEK
    early = Late(incident, subject, "breach", due, 0)
    for by, why in ((SYSTEM, "not due"), ("victor.lam", "may not do this")):
        with pytest.raises(Denied, match=why):
            escalate(house.governor, by, early)
    house.clock.advance(WEEK + 1)
    with pytest.raises(Denied, match="step 2 is not due"):
        escalate(house.governor, SYSTEM, Late(incident, subject, "breach", due, 1))
    assert escalate(house.governor, SYSTEM, early) == 1


def test_a_model_that_does_not_let_the_system_is_told_once(house: House, escalation: Escalation) -> None:
    opened(house, house.live())
    file = house.model_file()
    house.apply(file.model_copy(update={"permissions": {**file.permissions, "incidents:incident:open": []}}))
    house.clock.advance(WEEK + EVERY)
    assert escalation.round() == 0
    house.clock.advance(EVERY)
    assert escalation.round() == 0
    assert [e.actor for e in house.events("kernel.action.denied")] == [SYSTEM]
