"""What a call costs: by list price, by contract, or by nobody's word."""

from __future__ import annotations

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice
from hypothesis import given
from hypothesis import strategies as st

from bedplate.gateway.price import MILLION, UNKNOWN, Price, Prices, Rates, dollars, nano
from bedplate.kernel.clock import DAY, EPOCH, MICROSECOND, SECOND

NOW = 1_795_000_000 * SECOND
OPENAI = "https://api.openai.com/v1"
DEEPSEEK = "https://api.deepseek.com"
URLS = {
    "anthropic": "https://api.anthropic.com",
    "deepseek": DEEPSEEK,
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
    "mistral": "https://api.mistral.ai/v1",
    "openai": OPENAI,
    "x-ai": "https://api.x.ai/v1",
}
LISTED = [
    (model.id, URLS[provider.id])
    for provider in get_snapshot().providers
    if provider.id in URLS
    for model in provider.models
    if provider.find_model(model.id) is model
]


def test_there_are_models_to_compare() -> None:
    assert len(LISTED) > 200


@given(
    model=st.sampled_from(LISTED),
    at=st.integers(NOW - 400 * DAY, NOW),
    tokens_in=st.integers(0, 2_000_000),
    cached=st.floats(0, 1),
    tokens_out=st.integers(0, 100_000),
)
def test_a_cost_is_what_the_list_says_to_a_nano_dollar(
    model: tuple[str, str], at: int, tokens_in: int, cached: float, tokens_out: int
) -> None:
    name, url = model
    found = Prices().of(name, url, at)
    if not found.known:
        return
    cached_in = int(tokens_in * cached)
    usage = Usage(input_tokens=tokens_in, cache_read_tokens=cached_in, output_tokens=tokens_out)
    moment = EPOCH + at * MICROSECOND
    told = calc_price(usage, name, provider_api_url=url, genai_request_timestamp=moment).total_price
    assert abs(found.cost(tokens_in, cached_in, tokens_out) - nano(told)) <= 1


@given(st.lists(st.tuples(st.sampled_from([("deepseek-chat", DEEPSEEK), *LISTED[::20]]), st.integers(0, 3 * DAY))))
def test_what_is_remembered_is_never_used_beyond_its_time(asked: list[tuple[tuple[str, str], int]]) -> None:
    remembering = Prices()
    for model, offset in asked:
        assert remembering.of(*model, NOW + offset) == Prices().of(*model, NOW + offset)


def test_a_price_by_the_hour_changes_at_the_hour() -> None:
    prices, day = Prices(), NOW // DAY * DAY
    before, after = day + (16 * 60 + 29) * 60 * SECOND, day + (16 * 60 + 31) * 60 * SECOND
    assert prices.of("deepseek-chat", DEEPSEEK, before).id == prices.of("deepseek-chat", DEEPSEEK, before).id
    assert prices.of("deepseek-chat", DEEPSEEK, before).until <= after


def test_beyond_a_threshold_every_token_costs_more() -> None:
    price = Prices().of("claude-sonnet-4-5", URLS["anthropic"], NOW)
    assert price.cost(200_000, 0, 0) == nano("0.60")
    assert price.cost(200_001, 0, 0) > 2 * nano("0.59")


@pytest.mark.parametrize(
    ("model", "upstream"), [("no-such-model", OPENAI), ("gpt-4o-mini", "https://llm.example.com/v1"), ("x", "")]
)
def test_what_nobody_lists_is_not_priced_and_says_so(model: str, upstream: str) -> None:
    found = Prices().of(model, upstream, NOW)
    assert (found, found.known, found.cost(1000, 0, 1000)) == (UNKNOWN, False, 0)


def test_what_is_answered_here_costs_nothing_and_is_priced() -> None:
    found = Prices().of("bedplate-extractive-1", "embedded", NOW)
    assert (found.known, found.cost(1000, 0, 1000)) == (True, 0)


def test_the_price_names_the_list_and_its_version() -> None:
    found = Prices().of("gpt-4o-mini", OPENAI, NOW)
    source, version, provider, model = found.id.split("/")
    assert (source, provider, model) == ("genai-prices", "openai", "gpt-4o-mini")
    assert version[0].isdigit()


def test_parts_have_their_own_rates() -> None:
    price = Price("p", (Rates(10 * MILLION, 1 * MILLION, 20 * MILLION, 100 * MILLION, 50 * MILLION),), per_call=7)
    assert price.cost(10, 4, 3) == 6 * 10 + 4 * 1 + 3 * 100 + 7
    assert price.cost(10, 4, 3, written_in=5, reasoning_out=2) == 1 * 10 + 4 * 1 + 5 * 20 + 1 * 100 + 2 * 50 + 7


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_parts_are_never_more_than_the_whole(tokens_in: int, cached: int, written: int, out: int) -> None:
    price = Price("p", (Rates(MILLION, 0, 0, MILLION, 0),))
    assert 0 <= price.cost(tokens_in, cached, out, written_in=written) <= tokens_in + out


def test_half_a_nano_dollar_is_rounded_up_once_a_call() -> None:
    price = Price("p", (Rates(37_500_000, 0, 0, 0, 0),))  # $0.0375 a million: 37.5 nano-dollars a token
    assert [price.cost(n, 0, 0) for n in (1, 2, 3)] == [38, 75, 113]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0.00"),
        (1, "<0.01"),
        (5_000_000, "<0.01"),
        (5_000_001, "0.01"),
        (1_234_560_000_000, "1,234.56"),
        (-2, "-<0.01"),
    ],
)
def test_what_is_not_nothing_is_not_shown_as_nothing(amount: int, text: str) -> None:
    assert dollars(amount) == text


def test_warming_names_what_is_not_priced() -> None:
    wanted = [("gpt-4o-mini", OPENAI), ("mine", "https://llm.example.com/v1")]
    assert Prices().warm(wanted, NOW) == wanted[1:]


def test_a_price_for_pages_is_no_price_for_tokens() -> None:
    model = next(
        (m.id, p.id)
        for p in get_snapshot().providers
        if p.id == "mistral"
        for m in p.models
        if isinstance(m.prices, ModelPrice) and m.prices.input_mtok is None and m.prices.output_mtok is None
    )
    assert not Prices().of(model[0], URLS[model[1]], NOW).known
