"""The value ledger on either database: measures go on record once, months are observed, and stop rules are decided."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from bedplate.document import InvalidDocument
from bedplate.errors import Conflict, Denied, InvalidInput
from bedplate.gateway.tables import usage
from bedplate.kernel.clock import DAY
from bedplate.paths.reckoning import Reckoning
from bedplate.paths.returns import Book, grouped, one, returns, whole
from bedplate.portfolio.benefit import days_of, month_at, period
from bedplate.portfolio.book import renew
from bedplate.portfolio.measure import COLUMNS
from bedplate.releases.actions import go_live

if TYPE_CHECKING:
    from tests.conftest import House

    from bedplate.gateway.views import Calls

MONEY = "\nmoney: {currency: EUR, per_usd_permille: 900}\n"
STOP = {"after_months": 2, "below_percent": 50, "of": "forecast", "then": "retire"}
HR = "hr-policy-assistant"
ROW = dict.fromkeys((*COLUMNS, "loss"), "")


class Quiet:
    """No feedback at all, or that which a test names: (call, thumb, moment)."""

    def __init__(self, *said: tuple[str, str, int]) -> None:
        self.said = said

    def feedback_of(self, _subject: str, since: int = 0, *, text: str = "", limit: int = 1) -> list[Any]:
        assert (text, limit > 1) == ("", True)
        entries = [
            SimpleNamespace(at=at, entry={"call": call, "feedback": "thumb", "value": thumb})
            for call, thumb, at in sorted(self.said, key=lambda s: -s[2])
        ]
        return [e for e in entries if e.at >= since]


@pytest.fixture
def rich(house: House) -> House:
    """A house that counts in euros."""
    house.apply(house.model_file(lambda text: text + MONEY))
    return house


def book(house: House) -> Book:
    return Book(house.engine, house.governor, house.clock)


def put(house: House, by: str = "leo.fischer", **row: str) -> Any:
    given = {**ROW, "use_case": HR, "metric": "level", **row}
    return book(house).put(by, house.model, given)


def reckoning(house: House, *said: tuple[str, str, int]) -> Reckoning:
    calls: Calls = Quiet(*said)  # type: ignore[assignment]  # the one verb that is asked of it
    return Reckoning(house.engine, house.governor, calls)


def to(house: House, months: int, days: int = 2) -> None:
    """Go to the third day of a later month."""
    house.clock.now = (days_of(month_at(house.clock()) + months)[0] + days) * DAY


def month(house: House, back: int = 0) -> str:
    return period(month_at(house.clock()) - back)


def claims(house: House, **changes: Any) -> None:
    """Have a use case of another domain accepted."""
    file = house.use_case(id="claims-desk", domain="claims", owner="daniel.moreau", **changes)
    house.grant(house.propose(file, "daniel.moreau"))


def used(house: House, subject: str, day: int, route: str = "live", **counts: int) -> None:
    keys = {"shard": "s", "release": "r", "model": "m", "key": "k", "dialect": "chat", "route": route}
    told = dict.fromkeys(("calls", "refused", "failed", "tokens_in", "cached_in", "tokens_out"), 0)
    told |= dict.fromkeys(("cost_nano", "unpriced", "findings"), 0)
    with house.engine.begin() as connection:
        connection.execute(insert(usage).values(day=day, subject=subject, **{**keys, **told, **counts}))


def test_a_measure_is_recorded_once_and_corrected_by_a_later_one(rich: House) -> None:
    subject = rich.live()
    to(rich, 2)
    row = {"period": month(rich, 1), "value": "7.5", "n": "240", "sd": "3"}
    assert put(rich, **row).new == 1
    size = rich.ledger.size()
    assert put(rich, **row).same == 1
    assert rich.ledger.size() == size
    assert put(rich, **{**row, "value": "8"}).changed == 1
    (found,) = returns(rich.engine, rich.model, rich.clock())
    assert found.months[-1].basis == "measured"
    of = found.stake.hypothesis
    assert found.months[-1].benefit.cents == (of.baseline - 8) * 240 * of.cents_per_unit
    assert len([e for e in rich.events("portfolio.value.recorded") if e.stream == subject]) == 2
    rich.sound()


def test_amounts_are_in_the_operating_models_currency_or_refused(rich: House, kind: str) -> None:
    rich.accepted()
    with pytest.raises(InvalidInput, match=r"counts in EUR \(money.currency\)"):
        put(rich, metric="people", period=month(rich), value="100", currency="USD")
    assert put(rich, metric="people", period=month(rich), value="100").new == 1
    if kind == "sqlite":
        rich.apply(rich.model_file(lambda text: text + MONEY.replace("EUR", "CHF")))
        found = one(rich.engine, rich.model, rich.clock(), f"usecase/{HR}")
        assert (found.foreign, found.sum.cost) == (1, 0)


def test_without_a_currency_no_amount_is_taken(house: House) -> None:
    house.accepted()
    with pytest.raises(InvalidInput, match="names no currency") as refused:
        put(house, period=month(house), value="7")
    assert "money: {currency: EUR" in refused.value.hint


def test_a_loss_needs_its_reason_at_the_door_too(rich: House) -> None:
    rich.accepted()
    with pytest.raises(InvalidInput, match="that is a loss"):
        put(rich, metric="benefit", period=month(rich), value="-5")
    with pytest.raises(Denied) as denied:
        put(rich, metric="benefit", period=month(rich), value="-5", loss=" ")
    assert denied.value.controls == ("losses-named",)
    assert put(rich, metric="benefit", period=month(rich), value="-5", loss="wrong letters").new == 1


def test_a_file_is_taken_whole_or_not_at_all_and_only_by_who_may(rich: House) -> None:
    rich.accepted()
    claims(rich)
    head = ",".join(COLUMNS) + "\n"
    good = head + f"{HR},count,{month(rich)},5,,,,\nclaims-desk,people,{month(rich)},9,,,,EUR\n"
    size = rich.ledger.size()
    with pytest.raises(InvalidDocument):
        book(rich).bring("priya.raman", rich.model, io.StringIO(good + "claims-desk,count,x,1,,,,\n"), "q.csv")
    assert rich.ledger.size() == size
    with pytest.raises(Denied) as denied:  # of another domain
        book(rich).bring("leo.fischer", rich.model, io.StringIO(good), "q.csv")
    assert denied.value.controls == ("authority",)
    assert book(rich).bring("priya.raman", rich.model, io.StringIO(good), "q.csv").new == 2
    assert book(rich).bring("priya.raman", rich.model, io.StringIO(good), "q.csv").same == 2
    assert [e.data["source"] for e in rich.events("portfolio.value.recorded")] == ["q.csv", "q.csv"]
    rich.sound()


def test_a_month_is_observed_once_it_is_over_with_its_thumbs_and_all_of_its_cost(rich: House) -> None:
    subject = rich.live()
    day = rich.clock() // DAY
    used(rich, subject, day, calls=120, failed=20, cost_nano=4_000_000_000)
    used(rich, subject, day, "evals", calls=7, cost_nano=1_000_000_000)
    at = rich.clock()
    said = [("a", "up", at), ("b", "down", at), ("c", "up", at), ("c", "down", at + 1), ("d", "up", at + 90 * DAY)]
    to(rich, 1, days=0)
    rounds = reckoning(rich, *said)
    assert rounds.round(lambda: rich.model) == 0  # the day after: what is added up late is still in it
    to(rich, 0)
    assert rounds.round(lambda: rich.model) == 1
    assert rounds.round(lambda: rich.model) == 0
    assert reckoning(rich, *said).round(lambda: rich.model) == 0  # nor after a restart
    (event,) = rich.events("portfolio.value.observed")
    assert event.data == {
        "period": period(month_at(at)),
        "calls": 120,
        "failed": 20,
        "up": 1,
        "down": 2,
        "cost_nano": 5_000_000_000,
    }
    found = one(rich.engine, rich.model, rich.clock(), subject)
    (seen,) = found.months
    assert seen.basis == "estimated"
    assert seen.costs == {"tokens": 450}  # five dollars at 0.900
    of = found.stake.hypothesis
    assert seen.benefit.cents == (of.baseline - of.target) * of.cents_per_unit * 100 * 333 // 1000
    assert found.sum.estimated == found.sum.realised.cents
    rich.sound()


def test_a_stop_rule_fires_by_itself_is_asked_once_a_month_and_refuses_the_next_release(rich: House) -> None:
    subject = rich.live(rich.use_case(stop=STOP))
    rounds = reckoning(rich)
    to(rich, 2)
    assert rounds.round(lambda: rich.model) == 0  # one whole month is over; two were agreed
    to(rich, 1)
    assert rounds.round(lambda: rich.model) == 1
    to(rich, 0, days=3)
    assert rounds.round(lambda: rich.model) == 0
    (fired,) = rich.events("portfolio.stop.fired")
    assert (fired.actor, fired.data["percent"], fired.data["then"]) == ("system", 0, "retire")
    (asked,) = [e for e in rich.events("kernel.approval.asked") if e.data["action"] == "portfolio.settle"]
    assert asked.data["summary"] == f"retire {subject}: it reached 0 % of its forecast by {month(rich, 1)}"
    digest, number = rich.built(subject, runbook="another")
    rich.asked(lambda: go_live(rich.governor, "leo.fischer", subject, digest, number))  # its clock still runs
    rich.clock.now = int(str(fired.data["due"]))
    with pytest.raises(Denied) as denied:
        go_live(rich.governor, "leo.fischer", subject, digest, number)
    assert denied.value.controls == ("value-proven",)
    assert "bedplate value renew" in denied.value.reasons[0][2]
    rich.sound()


def test_what_is_decided_of_a_stop_rule_is_carried_out(rich: House) -> None:
    gone, stays = (
        rich.live(rich.use_case(id=name, stop={**STOP, "then": then}))
        for name, then in (("first-one", "retire"), ("second-one", "renew"))
    )
    to(rich, 3)
    rounds = reckoning(rich)
    assert rounds.round(lambda: rich.model) == 2
    for event in rich.events("kernel.approval.asked"):
        if event.data["action"] == "portfolio.settle":
            rich.grant(event.stream)
    assert rich.standing(gone).stage == "retired"
    standing = rich.standing(stays)
    assert (standing.stage, standing.facts["portfolio.stop_due"]) == ("live", 0)
    to(rich, 2)  # judged anew: two whole months from its renewal on
    assert rounds.round(lambda: rich.model) == 0
    to(rich, 1)
    assert rounds.round(lambda: rich.model) == 1
    rich.sound()


def test_an_owner_asks_for_a_renewal_with_a_reason_and_only_where_a_rule_fired(rich: House) -> None:
    subject = rich.live(rich.use_case(stop=STOP))
    with pytest.raises(Conflict, match="there is nothing to renew"):
        renew(rich.governor, "leo.fischer", subject, "because")
    to(rich, 3)
    assert reckoning(rich).round(lambda: rich.model) == 1
    with pytest.raises(InvalidInput, match="needs a reason"):
        renew(rich.governor, "leo.fischer", subject, " ")
    rich.grant(rich.asked(lambda: renew(rich.governor, "leo.fischer", subject, "the roll-out was late")))
    assert rich.standing(subject).facts["portfolio.stop"] == ""
    assert one(rich.engine, rich.model, rich.clock(), subject).firings[0].renewed_at == rich.clock()
    rich.sound()


def test_a_question_that_was_never_asked_is_asked_at_the_next_look(
    rich: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ended between the record of a rule that fired and its question."""
    subject = rich.live(rich.use_case(stop=STOP))
    to(rich, 3)
    with monkeypatch.context() as broken:
        broken.setattr("bedplate.portfolio.book.ask", _ends)
        with pytest.raises(ZeroDivisionError):
            reckoning(rich).round(lambda: rich.model)
    assert reckoning(rich).round(lambda: rich.model) == 1
    assert reckoning(rich).round(lambda: rich.model) == 0
    asked = [e for e in rich.events("kernel.approval.asked") if e.data["action"] == "portfolio.settle"]
    assert [e.data["subject"] for e in asked] == [subject]


def test_use_cases_add_up_by_what_they_have_in_common(rich: House) -> None:
    rich.live()
    claims(rich, bucket="transformation")
    to(rich, 2)
    put(rich, metric="benefit", period=month(rich, 1), value="1000", n="100", sd="3")
    put(rich, "priya.raman", use_case="claims-desk", metric="people", period=month(rich, 1), value="400")
    found = returns(rich.engine, rich.model, rich.clock())
    together = whole(found)
    assert (together.sum.realised.cents, together.sum.cost, together.sum.net) == (100_000, 40_000, 60_000)
    for by in ("bucket", "domain", "tier"):
        parts = grouped(found, by)
        assert sum(p.sum.net for p in parts) == together.sum.net
        assert sum(p.sum.forecast for p in parts) == together.sum.forecast > 0
    assert {g.name for g in grouped(found, "domain")} == {"people", "claims"}
    assert [r.stake.id for r in returns(rich.engine, rich.model, rich.clock(), {"claims"})] == ["claims-desk"]


def _ends(*_: object) -> str:
    raise ZeroDivisionError
