"""Prices agreed with providers: effective-dated, applied through the one door, and never of the past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bedplate.document import InvalidDocument, parse
from bedplate.errors import Conflict, Denied, InvalidInput
from bedplate.gateway.actions import set_prices
from bedplate.gateway.cost import NO_PRICES, tariff_in_force
from bedplate.gateway.price import Prices, day_start, nano
from bedplate.gateway.tariff import Tariff, check_tariff, content, read, rewritten
from bedplate.kernel.clock import DAY, EPOCH, MICROSECOND

if TYPE_CHECKING:
    from tests.conftest import House

OPENAI = "https://api.openai.com/v1"
HEAD = "kind: prices\ncurrency: USD\nprices:\n"
LINE = '  - {{model: {model}, upstream: "{upstream}", input: "{input}", output: "8.00", from: {since}{more}'
LINE += ", contract: C1}}\n"


def line(
    since: str, *, until: str = "", model: str = "gpt-4o*", upstream: str = "*", price: str = "2.00", more: str = ""
) -> str:
    more += f", until: {until}" if until else ""
    return LINE.format(model=model, upstream=upstream, input=price, since=since, more=more)


def tariff(*lines: str) -> Tariff:
    return check_tariff(parse(HEAD + "".join(lines), "prices.yaml"))


def at(day: str) -> int:
    return day_start((EPOCH.fromisoformat(day)).date())


def day(house: House, more: int = 0) -> str:
    return (EPOCH + (house.clock() + more * DAY) * MICROSECOND).date().isoformat()


def complaint(text: str) -> str:
    with pytest.raises(InvalidDocument) as wrong:
        check_tariff(parse(HEAD + text, "prices.yaml"))
    return str(wrong.value)


def test_a_contract_goes_before_the_list_while_it_is_in_force() -> None:
    prices = Prices(tariff(line("2026-12-01", until="2026-12-31", more=', cached_input: "0.5"')))
    assert prices.of("gpt-4o-mini", OPENAI, at("2026-12-01") - 1).id.startswith("genai-prices/")
    agreed = prices.of("gpt-4o-mini", OPENAI, at("2026-12-01"))
    assert agreed.id.startswith("contract/")
    assert agreed.cost(1_000_000, 500_000, 1_000_000) == nano("1.00") + nano("0.25") + nano("8.00")
    assert prices.of("gpt-4o-mini", OPENAI, at("2027-01-01") - 1) == agreed, "`until` is the last day"
    assert prices.of("gpt-4o-mini", OPENAI, at("2027-01-01")).id.startswith("genai-prices/")


def test_a_contract_prices_what_no_list_knows() -> None:
    prices = Prices(tariff(line("2026-12-01", model="house-llm", upstream="https://llm.example.com/*")))
    assert prices.of("house-llm", "https://llm.example.com/v1", at("2026-12-02")).known
    assert not prices.of("house-llm", "https://other.example.com/v1", at("2026-12-02")).known


def test_the_exact_name_counts_before_the_pattern() -> None:
    found = tariff(line("2026-12-01"), line("2026-12-01", model="gpt-4o-mini", price="0.10"))
    price = Prices(found).of("gpt-4o-mini", OPENAI, at("2026-12-02"))
    assert price.cost(1_000_000, 0, 0) == nano("0.10")
    assert price.id.endswith("/2")


def test_a_new_tariff_is_followed_at_once_and_the_same_one_changes_nothing() -> None:
    prices, first = Prices(), tariff(line("2026-12-01"))
    assert not prices.of("gpt-4o", "https://x.example", at("2026-12-02")).known
    prices.follow(first)
    assert prices.of("gpt-4o", "https://x.example", at("2026-12-02")).known
    known = prices._known
    prices.follow(tariff(line("2026-12-01")))
    assert prices._known is known
    prices.follow(NO_PRICES)
    assert not prices.of("gpt-4o", "https://x.example", at("2026-12-02")).known


def test_prices_that_overlap_name_both_lines() -> None:
    said = complaint(line("2026-12-01") + line("2026-11-01") + line("2027-01-01", model="other"))
    assert "prices.yaml:5:" in said
    assert "overlaps line 4" in said


def test_prices_that_follow_each_other_do_not_overlap() -> None:
    assert len(tariff(line("2026-12-01", until="2026-12-31"), line("2027-01-01")).lines) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (line("2026-12-01").replace('"2.00"', "2.00"), "in quotes"),
        (line("2026-12-01", price="two"), "not decimal text"),
        (line("2026-12-01", price="-1"), "not between"),
        (line("2026-12-01", price="NaN"), "not between"),
        (line("2026-12-01", price="0.0000000001"), "at most 9 decimals"),
        (line("soon"), "not a day"),
        (line("2026-12-02", until="2026-12-01"), "is before"),
        (line("2026-12-01", more=", colour: red"), "known here: cached_input, contract, from, input"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_place(text: str, says: str) -> None:
    said = complaint(text)
    assert says in said
    assert "prices.yaml:" in said


def test_what_is_kept_is_read_back_the_same() -> None:
    found = tariff(line("2026-12-01", until="2026-12-31"), line("2027-01-01"))
    assert read(content(found.lines)) == found


def test_prices_are_set_by_the_coe_and_are_on_record(house: House) -> None:
    found = tariff(line(day(house)))
    set_prices(house.governor, "priya.raman", found, *tariff_in_force(house.engine))
    assert tariff_in_force(house.engine)[0] == found
    (event,) = house.events("gateway.prices.set")
    assert event.data == {"digest": found.digest, "lines": 1, "contracts": ["C1"]}
    with pytest.raises(InvalidInput, match="in force already"):
        set_prices(house.governor, "priya.raman", found, *tariff_in_force(house.engine))
    house.sound()


@pytest.mark.parametrize("nobody", ["leo.fischer", "ruth.adeyemi", "stranger"])
def test_nobody_else_sets_prices(house: House, nobody: str) -> None:
    with pytest.raises(Denied, match="gateway:price:set"):
        set_prices(house.governor, nobody, tariff(line(day(house))), *tariff_in_force(house.engine))
    assert tariff_in_force(house.engine) == (NO_PRICES, -1)


def test_the_past_is_not_rewritten_and_the_attempt_is_on_record(house: House) -> None:
    set_prices(house.governor, "priya.raman", tariff(line(day(house))), *tariff_in_force(house.engine))
    began, before = day(house), tariff_in_force(house.engine)
    house.clock.advance(40 * DAY)
    for lines, says in (
        ([line(day(house, 1), model="new")], "was in force and is gone"),
        ([line(began, price="1.00")], "was in force at another price"),
        ([line(began, until=day(house, -1))], "only be moved from today"),
        ([line(began), line(day(house, -1), model="new")], "begins in the past"),
    ):
        with pytest.raises(Denied, match=says) as denied:
            set_prices(house.governor, "priya.raman", tariff(*lines), *before)
        assert denied.value.controls == ("prices-forward",)
    assert tariff_in_force(house.engine) == before
    assert len(house.events("kernel.action.denied")) == 4
    ended = tariff(line(began, until=day(house)), line(day(house, 1), price="1.00"))
    set_prices(house.governor, "priya.raman", ended, *before)
    assert tariff_in_force(house.engine)[0] == ended
    house.sound()


def test_what_never_was_in_force_may_be_taken_back() -> None:
    now = at("2026-12-10")
    assert rewritten(tariff(line("2026-12-11")).lines, (), now) == []
    assert rewritten(tariff(line("2026-12-10")).lines, (), now) != []


def test_what_has_ended_is_not_opened_again() -> None:
    old = tariff(line("2026-11-01", until="2026-11-30")).lines
    assert rewritten(old, tariff(line("2026-11-01")).lines, at("2026-12-10")) != []


def test_of_two_changes_at_once_only_one_succeeds(house: House) -> None:
    both_saw = tariff_in_force(house.engine)
    set_prices(house.governor, "priya.raman", tariff(line(day(house))), *both_saw)
    with pytest.raises(Conflict):
        set_prices(house.governor, "jonas.weber", tariff(line(day(house), model="other")), *both_saw)
