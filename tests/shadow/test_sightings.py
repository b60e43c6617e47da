"""Sightings through the door: reported, put together, scored, settled, declared under an amnesty."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bedplate.document import parse
from bedplate.errors import Conflict, Denied, InvalidInput, NotFound
from bedplate.kernel.clock import DAY
from bedplate.paths.sightings import Sights
from bedplate.portfolio.actions import check_use_case
from bedplate.shadow import actions, views
from bedplate.shadow.actions import Declared, until_of
from bedplate.shadow.score import escalated, score
from bedplate.shadow.sighting import Sighting

if TYPE_CHECKING:
    from tests.conftest import House

COE, OWNER, ENGINEER, OTHER = "priya.raman", "mara.quinn", "leo.fischer", "daniel.moreau"
AMNESTY = "\namnesty:\n  until: 2026-01-31\n  why: Tell us what you use, and we help you to bring it in.\n"


def seen(house: House, **changes: object) -> Sighting:
    made = Sighting("sdk", "openai", "claims-mail", "code", "OpenAI", "people", 3, house.clock.now, house.clock.now)
    return replace(made, **changes)  # type: ignore[arg-type]  # of whatever the test names


def sights(house: House) -> Sights:
    return Sights(house.engine, house.governor, (), house.model, house.clock.now)


def test_the_same_thing_in_the_same_place_is_one_sighting(house: House) -> None:
    first = seen(house, hints=("data: personal", "at src/app.py:3"))
    (one,) = actions.report(house.governor, ENGINEER, [first], name="claims-mail")
    house.clock.advance(DAY)
    actions.report(house.governor, ENGINEER, [seen(house, times=5)], name="claims-mail")
    bill = seen(house, source="egress", times=40)
    assert actions.report(house.governor, ENGINEER, [bill, bill], name="proxy.log") == [one]
    (found,) = sights(house).every
    assert (found.id, found.times, found.sources) == (one, 85, ("code", "egress"))  # code as it stands, logs added up
    assert found.last_at - found.first_at == DAY
    assert found.hints == ("data: personal", "at src/app.py:3")
    house.sound()


def test_who_may_report_and_settle_is_of_the_team_or_the_coe(house: House) -> None:
    with pytest.raises(Denied, match="shadow:sighting:report"):
        actions.report(house.governor, OTHER, [seen(house)], name="x")
    both = [seen(house), seen(house, team="claims", where="other")]
    with pytest.raises(Denied):
        actions.report(house.governor, ENGINEER, both, name="of two teams")
    (one, _) = actions.report(house.governor, COE, both, name="of two teams")
    with pytest.raises(Denied, match="shadow:sighting:settle"):
        actions.dismiss(house.governor, ENGINEER, one, "people", "a test")
    actions.dismiss(house.governor, OWNER, one, "people", "a test project that was deleted")
    assert [s.state for s in sights(house).every] == ["new", "dismissed"]
    assert [e.stream for e in house.events("kernel.action.denied")][-1] == f"sighting/{one}"


def test_what_is_explained_is_new_again_when_its_time_is_over(house: House) -> None:
    (one,) = actions.report(house.governor, COE, [seen(house)], name="x")
    with pytest.raises(Denied, match="within a year"):
        actions.explain(house.governor, COE, one, "people", "for ever", house.clock.now + 400 * DAY)
    actions.explain(house.governor, COE, one, "people", "a pilot that was agreed", house.clock.now + 10 * DAY)
    assert sights(house).one(one[:6]).state == "explained"
    house.clock.advance(10 * DAY)
    again = sights(house).one(one)
    assert (again.state, again.escalated) == ("new", "")
    house.clock.advance(31 * DAY)
    assert sights(house).one(one).escalated == "coe"
    with pytest.raises(InvalidInput, match="2027-01-31"):
        until_of("soon")
    with pytest.raises(NotFound, match="no sighting"):
        sights(house).one("ffff")


def test_what_is_adopted_becomes_a_use_case_that_can_be_proposed(house: House) -> None:
    hostile = seen(house, what="gpt: [x]\u2026 {y}", where="a/b: 'c'", hints=("model gpt-4o-mini",), times=9_000)
    (one,) = actions.report(house.governor, COE, [hostile], name="x")
    found, text = sights(house).adopt(OWNER, one)
    assert (found.state, found.into) == ("adopted", "a-b-c-gpt-x-y")
    file = check_use_case(parse(text, "use-case.yaml"), house.model)
    assert (file.id, file.domain, file.owner, file.sponsor) == (found.into, "people", OWNER, "gwen.parry")
    assert file.model.name == "gpt-4o-mini"
    house.propose(file)  # nothing is missing in it
    with pytest.raises(InvalidInput, match="no id of a use case"):
        sights(house).adopt(OWNER, one, "Not An Id")
    house.sound()


def test_a_repository_is_taken_up_in_one_go_but_for_its_keys(house: House) -> None:
    kinds = ("sdk", "endpoint", "key")
    ids = actions.report(house.governor, COE, [seen(house, kind=kind) for kind in kinds], name="claims-mail")
    actions.report(
        house.governor, COE, [seen(house, where="elsewhere"), seen(house, team="claims", what="x")], name="y"
    )
    sights(house).adopt(OWNER, ids[0], "claims-mail")
    assert {(s.kind, s.place) for s in views.chosen(sights(house).every, state="adopted")} == {
        ("sdk", "claims-mail"),
        ("endpoint", "claims-mail"),
    }
    house.sound()


def test_what_a_team_declares_in_an_amnesty_goes_to_nobody_and_comes_first(house: House) -> None:
    said = Declared("ChatGPT Team", "recruiting", "people", "drafts of job adverts")
    house.apply(house.model_file(lambda text: text + AMNESTY))
    heavy = seen(house, kind="key", hints=("credential: OpenAI key",))
    actions.report(house.governor, COE, [heavy], name="x")
    one = sights(house).declare(ENGINEER, said)
    assert [s.id == one for s in sights(house).every] == [True, False]
    house.clock.advance(70 * DAY)
    assert [(s.amnesty, s.escalated) for s in sights(house).every] == [(True, ""), (False, "board")]
    house.clock.advance(365 * DAY)  # the amnesty is over
    assert {s.escalated for s in sights(house).every} == {"board"}
    with pytest.raises(Denied, match="holds no seat in claims"):
        sights(house).declare(COE, replace(said, team="claims", where="claims desk"))
    with pytest.raises(Conflict, match="on record as people's"):
        sights(house).declare(OTHER, replace(said, team="claims"))
    house.sound()


def test_an_amnesty_that_ends_on_no_day_is_refused(house: House) -> None:
    with pytest.raises(InvalidInput, match=r"amnesty\.until"):
        house.model_file(lambda text: text + AMNESTY.replace("2026-01-31", "soon"))


def test_weeks_are_counted_from_the_oldest_without_what_was_dismissed(house: House) -> None:
    now = house.clock.now
    old = [seen(house, where=f"repo {n}", first=now - n * DAY) for n in (0, 1, 8, 20)]
    ids = actions.report(house.governor, COE, old, name="x")
    assert views.sightings_per_week(house.engine, now - 21 * DAY, now) == [1, 1, 2]
    actions.dismiss(house.governor, COE, ids[0], "people", "nothing")
    assert views.sightings_per_week(house.engine, now - 20 * DAY, now) == [1, 1, 1]
    assert views.sightings_per_week(house.engine, now, now) == []


def test_sightings_stand_to_the_people_of_a_team(house: House) -> None:
    actions.report(house.governor, COE, [seen(house)], name="x")
    actions.record_headcount(house.governor, COE, {"people": 40, "claims": 5})
    actions.record_headcount(house.governor, COE, {"people": 80})
    summary = sights(house).summary()
    assert summary["teams"] == [{"team": "people", "sightings": 1, "people": 80, "per_hundred_tenths": 13}]
    with pytest.raises(InvalidInput, match="from 1"):
        actions.record_headcount(house.governor, COE, {"people": 0})
    house.sound()


def test_a_report_is_taken_whole_or_not_at_all(house: House) -> None:
    for wrong, why in (
        ({"what": ""}, "what has to be"),
        ({"times": 0}, "times counts from 1"),
        ({"cents": 5}, "cents and currency"),
        ({"last": 1}, "last seen before"),
        ({"kind": "ghost"}, "is not a kind"),
    ):
        with pytest.raises(InvalidInput, match=why):
            actions.report(house.governor, COE, [seen(house, where="good"), seen(house, **wrong)], name="x")
    digest = "a" * 64
    actions.report(house.governor, COE, [seen(house)], name="proxy.log", digest=digest)
    with pytest.raises(Conflict, match=r"already, as proxy\.log"):
        views.refuse_twice(house.engine, digest)
    assert len(house.events("shadow.sighting.reported")) == 1


def test_a_large_report_fits_events(house: House) -> None:
    many = [seen(house, where=f"repo {n}", hints=("x" * 160,) * 8) for n in range(300)]
    actions.report(house.governor, COE, many, name="x")
    assert len(house.events("shadow.sighting.reported")) > 1
    assert len(sights(house).every) == 300


def test_costs_are_shown_to_those_who_may_read_them(house: House) -> None:
    spent = seen(house, kind="spend", source="bill", cents=2_000_000, currency="EUR")
    actions.report(house.governor, COE, [spent], name="bill.csv")
    (found,) = sights(house).every
    assert sights(house).shown(COE, found).cents == 2_000_000
    hidden = sights(house).shown("mallory", found)
    assert (hidden.cents, hidden.score.value) == (0, found.score.value)
    assert not any("20,000" in p.why for p in hidden.score.points)


def test_a_score_says_what_it_is_made_of() -> None:
    plain = score("sdk", "OpenAI", 1, 0, (), known=("OpenAI",))
    assert [(p.points, p.why) for p in plain.points] == [(10, "AI in use without an owner on record")]
    heavy = score("mcp", "", 20_000, 5_000_000, ("credential: OpenAI key in app.py:1", "data: health"))
    assert (heavy.value, heavy.days) == (100, 7)
    assert heavy.points[0].why == "a credential lies open: OpenAI key in app.py:1"
    assert [escalated(heavy, 0, n * DAY, spared=False) for n in (6, 7, 13, 14)] == ["", "coe", "coe", "board"]
    assert escalated(heavy, 0, 99 * DAY, spared=True) == ""
