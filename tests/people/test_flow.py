"""Flow: waits folded from the ledger, queues and their forecast, the bottleneck, and what delegating would do."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import delete, select

from bedplate.errors import InvalidInput
from bedplate.incidents.actions import Happening, close, open_incident, suspend
from bedplate.kernel.clock import DAY
from bedplate.paths import relief
from bedplate.paths.bottleneck import Signals, bottlenecks, signalled
from bedplate.people.flow import simulation as sim
from bedplate.people.flow import tables
from bedplate.people.flow.dora import Delivery, Way, dora
from bedplate.people.flow.queue import WEEK, Wait, forecast, growth, lines, queues, spread
from bedplate.people.flow.views import deliveries, flow, passed, waits, ways
from bedplate.people.sections.bodies import DelegationPart
from bedplate.portfolio.actions import retire
from bedplate.releases.actions import go_live
from bedplate.shadow.actions import report
from bedplate.shadow.sighting import Sighting
from bedplate.store.engine import writing
from bedplate.testing import small_model

if TYPE_CHECKING:
    from tests.conftest import House

NOW = 200 * WEEK


def wait(number: int, began: int, took: int = 0, **about: Any) -> Wait:
    """Return a wait that began so many days ago; `took` 0: it still goes on."""
    at = NOW - began * DAY
    plain = Wait(
        f"approval/{number}", f"usecase/{number}", "approval", "releases.golive", "coe", "people", 2, at, 0, ""
    )
    ended = {"ended": at + took * DAY, "outcome": "done"} if took else {}
    return plain._replace(**{**ended, **about})


def busy(per_week: int = 6, decided: int = 4) -> list[Wait]:
    """Return half a year in which the CoE decides fewer than come, and a domain keeps up."""
    chance = random.Random(1)  # noqa: S311  repeatable, not secret
    found = []
    for week in range(26):
        for nth in range(per_week):
            number, began = 100 * week + nth, 7 * (26 - week) - chance.randrange(7)
            took = chance.randrange(2, 20) if nth < decided else 0
            what = {"step": "acceptance", "what": "portfolio.accept"} if nth % 2 else {}
            found.append(wait(number, began, took if took < began else 0, **what))
        number = 100 * week + 50
        found.append(wait(number, 7 * (26 - week), 1 + week % 3, body="domain", tier=1))
    return found


# percentiles, growth, forecast


def test_percentiles_are_by_nearest_rank_and_not_told_of_few() -> None:
    told = spread(list(range(1, 21)))
    assert (told.p50, told.p85, told.p95) == (10, 17, 19)
    assert (spread([1, 2, 3, 4]).count, spread([1, 2, 3, 4]).p50) == (4, None)


def test_one_bad_week_is_no_trend_and_a_steady_rise_is() -> None:
    assert not growth([0] * 11 + [40]).growing
    assert growth([1, 0, 2, 1, 1, 0, 1, 2, 0, 1, 1, 1]).growing
    assert not growth([3, -3] * 6).growing
    assert not growth([5] * 4).growing  # four weeks are too few


def test_the_chance_of_growth_is_exact() -> None:
    assert growth([1, 1, 1]).p == 1 / 8
    assert growth([2, -1]).p == 2 / 4


def test_a_forecast_holds_the_trend_and_says_when_it_knows_too_little() -> None:
    grows = forecast(((5, 3),) * 6 + ((4, 3),) * 6, 10)
    low, middle, high = grows.weeks[-1]
    assert 10 < low <= middle <= high <= 10 + 8 * 2
    assert "too little to forecast: 3 weeks with 9" in forecast(((2, 1),) * 3, 10).why
    falls = forecast(((0, 3),) * 10, 4)
    assert falls.weeks[-1] == (0, 0, 0)  # a queue is never shorter than empty


def test_a_line_tells_waits_against_the_clock() -> None:
    found = [wait(n, 50, n + 1) for n in range(9)] + [wait(10, 12), wait(11, 3), wait(12, 40, 5, outcome="stopped")]
    (line,) = lines(found, NOW, NOW - 26 * WEEK, {"coe": 5})
    assert (line.structure, line.waiting, line.late, line.oldest) == ("coe", 2, 1, 12 * DAY)
    assert (line.waits.count, line.kept, line.waits.p50) == (9, 5, 5 * DAY)  # what was cut short says nothing of waits
    assert (line.arrived, line.left) == (12, 10)


def test_a_queue_is_counted_at_the_end_of_each_week() -> None:
    found = [wait(1, 400), wait(2, 20), wait(3, 10, 2), wait(4, 1), wait(5, 1, step="evidence")]
    (queue,) = queues(found, NOW, 4)
    assert queue.arrivals == (0, 1, 1, 1)
    assert queue.waiting == (1, 2, 2, 3)  # the third came and went within a week; work is no decision


# delivery


def test_delivery_is_told_with_counts_and_says_too_few() -> None:
    live = [
        Delivery("usecase/a", f"r{n}", 0, "people", NOW - (40 - n) * DAY, NOW - (30 - n) * DAY, 0, "") for n in range(6)
    ]
    live[0] = live[0]._replace(failed=live[0].live + 3 * DAY, why="harm")
    live[1] = live[1]._replace(failed=live[1].live + 20 * DAY, why="breach")  # too late to be the change's fault
    found = [Way("usecase/a", "people", 1, NOW - 50 * DAY, NOW - 45 * DAY, NOW - 31 * DAY, NOW - 30 * DAY, 0)]
    restored = [wait(n, 9, n + 1, step="restore", what="harm", body="domain") for n in range(5)]
    whole, people = dora(found, live, restored, NOW, 26)
    assert (whole.domain, people.domain) == ("", "people")
    assert (people.deployments, people.failed, people.failure_permille) == (6, 1, 167)
    assert people.build.p50 == 10 * DAY
    assert (people.lead.count, people.lead.p50) == (1, None)
    assert people.restore["harm"].p50 == 3 * DAY
    few = dora(found, live[:3], [], NOW, 26)[0]
    assert (few.failed, few.failure_permille) == (1, None)


# simulation


def test_delegating_relieves_the_body_and_costs_exposure() -> None:
    found = sim.load(busy(), NOW, 26, small())
    as_is, accept, release = sim.compare(found, sim.options(found), {"coe": 5})
    assert [o.name for o in (as_is, accept, release)] == ["as is", "2:accept:coe", "2:release:coe"]
    assert release.overall[1].middle < as_is.overall[1].middle
    assert release.load["coe"] < as_is.load["coe"]
    assert as_is.exposure == 0
    assert release.exposure == pytest.approx(2 * 3 * 13)  # weight 2, three a week, 13 weeks
    assert release.missed == 0
    assert [accept.proposed, release.proposed].count(True) == 1
    assert sim.simulate(found, ()) == sim.simulate.__wrapped__(found, ())  # the same question, the same answer


def test_nothing_is_proposed_where_the_clock_is_kept() -> None:
    found = sim.load(busy(per_week=2, decided=2), NOW, 26, small())
    assert not any(o.proposed for o in sim.compare(found, sim.options(found), {"coe": 90}))


def test_what_would_be_delegated_is_written_as_the_operating_model_takes_it() -> None:
    text = sim.snippet((sim.Delegation(2, "release", "coe"),), "2027-05-31")
    (part,) = YAML(typ="safe").load(text)["delegations"]
    made = DelegationPart.model_validate(part)
    assert (made.tier, made.what, made.from_body, made.to_body) == (2, ["release"], "coe", "domain")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2", "cannot be read"),
        ("9:release", "cannot be read"),
        ("2:resume", "cannot be read"),
        ("1:release", "nothing to delegate"),
        ("3:release", "coe and board both decide"),
        ("2:release:board", "'board' does not decide"),
    ],
)
def test_a_delegation_that_cannot_be_is_refused_with_what_to_write(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        sim.parse(text, small())
    assert refused.value.hint


def test_too_few_requests_are_not_simulated() -> None:
    with pytest.raises(InvalidInput, match="too few to simulate"):
        sim.load([wait(n, 10, 1) for n in range(5)], NOW, 26, small())


def small() -> Any:
    return small_model()


# from the ledger


def test_every_wait_of_a_use_case_is_folded_from_its_events(house: House) -> None:
    day = house.clock.advance
    asked = house.propose(house.tier(3))
    day(2 * DAY)
    house.vote("jonas.weber", asked)
    day(3 * DAY)
    house.grant(asked)
    subject = "usecase/hr-policy-assistant"
    day(4 * DAY)
    digest, number = house.built(subject)
    day(DAY)
    release = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    day(6 * DAY)
    house.grant(release)
    found = {(w.step, w.structure): (w.ended - w.began) // DAY for w in waits(house.engine, 0) if w.subject == subject}
    assert found == {
        ("acceptance", "coe"): 2,
        ("acceptance", "board"): 5,
        ("evidence", "domain/people"): 5,
        ("approval", "coe"): 6,
        ("approval", "board"): 6,
        ("live", "domain/people"): 0,
    }
    (way,) = ways(house.engine)
    assert [(at - way.proposed) // DAY for at in (way.accepted, way.asked, way.live)] == [5, 10, 16]
    told = flow(passed(house.engine, house.clock(), 4), house.model)
    assert {name: counts[-1] for name, counts in told.layers.items() if counts[-1]} == {"live": 1}
    house.sound()


def test_a_release_fails_by_incident_rollback_or_suspension(house: House) -> None:
    subject = house.live()
    first = deliveries(house.engine, 1)[0].release
    what = Happening(subject, "wrong", "person/leo.fischer", "harm", b"{}")
    incident = open_incident(house.governor, "leo.fischer", what)
    house.clock.advance(DAY)
    close(house.governor, "mara.quinn", subject, incident, "mended")
    second, number = house.built(subject, calls_per_day=99)
    house.grant(house.asked(lambda: go_live(house.governor, "leo.fischer", subject, second, number)))
    house.clock.advance(DAY)
    house.grant(house.asked(lambda: go_live(house.governor, "leo.fischer", subject, first, 1)))
    suspend(house.governor, "priya.raman", subject, "looked at")
    fates = {(d.release, d.round): d.why for d in deliveries(house.engine, 1)}
    assert fates == {(first, 0): "harm", (second, 0): "rolled-back", (first, 1): "suspended"}
    (restored,) = [w for w in waits(house.engine, 0) if w.step == "restore"]
    assert (restored.what, restored.ended - restored.began) == ("harm", DAY)
    house.sound()


def test_what_is_refused_or_retired_waits_no_longer(house: House) -> None:
    house.vote("hanna.osei", house.propose(), yes=False, reason="not now")
    retired = house.accepted(house.use_case(id="other-case"))
    retire(house.governor, "priya.raman", retired, "no need")
    assert [w for w in waits(house.engine, 0) if not w.ended] == []
    outcomes = {w.step: w.outcome for w in waits(house.engine, 0) if w.subject == retired}
    assert outcomes == {"acceptance": "done", "evidence": "stopped"}
    assert all(way.ended for way in ways(house.engine))
    house.sound()


def test_a_ledger_older_than_the_tables_is_read_into_them_once(house: House) -> None:
    house.live()
    before = rows(house)
    with writing(house.engine.connect()) as connection, connection.begin():
        for table in tables.PROJECTION.tables:
            connection.execute(delete(table))
    assert tables.fill(house.engine) > 0
    assert rows(house) == before
    assert tables.fill(house.engine) == 0


def rows(house: House) -> list[list[Any]]:
    with house.engine.connect() as connection:
        return [sorted(map(tuple, connection.execute(select(t))), key=repr) for t in tables.PROJECTION.tables]


# the bottleneck


def test_a_backlog_is_a_bottleneck_only_with_sightings() -> None:
    found = queues([w for w in busy() if w.body == "coe"], NOW, 26)
    assert [(b.body, b.signalled) for b in bottlenecks(found, [0] * 12)] == [("coe", False)]
    (told,) = bottlenecks(found, [1] * 8 + [0, 2, 0, 3])
    assert (told.signalled, told.sightings, told.before) == (True, 5, 8)


def test_board_and_coe_are_told_at_most_once_a_week(house: House) -> None:
    for week in range(12):
        for nth in range(2):
            house.propose(house.tier(2, id=f"case-{week}-{nth}"))
        house.clock.advance(7 * DAY)
    signals = Signals(house.engine, house.governor)
    assert signals.round(house.model) == 0  # nothing was sighted
    now = house.clock()
    seen = Sighting("model", "gpt-x", "repo/app.py", "gateway", first=now, last=now)
    report(house.governor, "system", [seen], name="the gateway")
    house.clock.advance(DAY)
    assert signals.round(house.model) == 1
    (event,) = house.events("people.bottleneck.signalled")
    assert (event.data["body"], event.data["sightings"], event.actor) == ("coe", 1, "system")
    assert [b.waiting for b in signalled(house.engine, house.clock())] == [24]
    house.clock.advance(DAY)
    assert signals.round(house.model) == 0
    house.clock.advance(7 * DAY)
    assert signals.round(house.model) == 1
    assert signalled(house.engine, house.clock() + 9 * DAY) == []


def test_a_model_from_before_signals_is_left_alone(house: House) -> None:
    house.apply(house.model_file(lambda text: text.replace("  people:bottleneck:signal: [system]\n", "")))
    before = house.ledger.size()
    assert Signals(house.engine, house.governor).round(house.model) == 0
    assert house.ledger.size() == before


def test_delegations_are_named_once_and_not_too_many(house: House) -> None:
    with pytest.raises(InvalidInput, match="2:release:coe is named twice"):
        relief.simulate(house.engine, house.clock(), house.model, ["2:release", "2:release:coe"])
    with pytest.raises(InvalidInput, match="3 weeks cannot be told"):
        passed(house.engine, house.clock(), 3)
