"""Requests made to be more than they look: huge numbers, millions of values, names in another spelling."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from tests import served
from tests.served import HR

from bedplate.errors import InvalidInput
from bedplate.gateway import call, otlp
from bedplate.gateway.budget import MOST, Budgets, Limits, Over, Reservation
from bedplate.gateway.cost import csv_text
from bedplate.gateway.dialect import MOST as MOST_TOKENS
from bedplate.gateway.dialects import CHAT, EMBEDDINGS, RESPONSES
from bedplate.gateway.tables import usage
from bedplate.gateway.usage import Usage
from bedplate.kernel.clock import DAY
from bedplate.store.journal import Journal
from bedplate.store.record import Record
from bedplate.store.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine
    from tests.served import Harbour

NOW = 20_000 * DAY
ASKED: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": "hi"}]}
SECONDS = 2.0  # far more than it takes, far less than it took


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh(), tick_ms="600000") as server:
        yield served.harbour(server)
    assert "Traceback" not in server.said(), server.said()


@pytest.fixture
def budgets(tmp_path: Path) -> Iterator[Budgets]:
    made = Budgets(tmp_path, "shard-0", lambda _shard: {})
    yield made
    made.close()


def sent(**more: Any) -> bytes:
    return json.dumps({**ASKED, **more}).encode()


@pytest.mark.parametrize("most", [10**12, 2**53, 2**63 - 1, 2**64, 10**300])
def test_a_limit_of_any_size_is_over_the_budget_and_on_record(harbour: Harbour, most: int) -> None:
    before = counted(harbour)

    status, told = harbour.call(sent(max_tokens=most, n=most))

    assert status == 403
    assert told["error"]["reasons"][0]["control"] == "within-budget"
    assert harbour.record(told["error"]["call_id"])["status"] == "refused"
    assert counted(harbour) == before  # what was reserved is given back


def counted(harbour: Harbour) -> list[tuple[int, int]]:
    """Return what is used and reserved of each limit of the use case."""
    _, told = harbour.api("GET", "/api/cost/budgets", token=harbour.token("jonas"))
    lines = [line for line in told["budgets"] if line["subject"] == f"usecase/{HR}"]
    assert lines
    return [(line["used"], line["reserved"]) for line in lines]


def test_an_upstream_may_say_any_usage(budgets: Budgets) -> None:
    made = budgets.reserve("usecase/x", Limits(), 10, 10, NOW)
    assert isinstance(made, Reservation)

    budgets.settle(made, 2**200, 2**200)

    assert budgets.today("usecase/x", NOW)[2:5] == (1, MOST, MOST)
    assert CHAT.usage({"usage": {"prompt_tokens": 2**200, "completion_tokens": 1}}) == (MOST_TOKENS, 1, 0)
    assert isinstance(budgets.reserve("usecase/x", Limits(tokens_per_day=MOST), 2**200, 0, NOW), Over)
    assert budgets.held("usecase/x") == (0, 0)


def test_choices_without_a_limit_are_reserved_for_each() -> None:
    assert CHAT.most_out({"n": 100}) == 25_600
    assert CHAT.most_out({}) == CHAT.most_out({"n": 1}) == 0  # the door reserves what is usual
    assert CHAT.most_out({"n": 3, "max_tokens": 10}) == 30


def test_the_larger_of_two_limits_is_reserved() -> None:
    assert CHAT.most_out({"max_completion_tokens": 1, "max_tokens": 100_000}) == 100_000


@pytest.mark.parametrize("value", ["{}", '"a"', "1", '{"a":"b"}', "[[]]"])
def test_millions_of_values_are_refused_at_once(value: str) -> None:
    body = sent()[:-1] + b',"z":[' + b",".join([value.encode()] * 1_600_000) + b"]}"
    began = time.process_time()

    with pytest.raises(InvalidInput, match="300000 values") as refused:
        call.read(CHAT, body)

    assert refused.value.code == "request-too-large"
    assert time.process_time() - began < SECONDS


def test_what_is_written_within_a_text_is_no_value() -> None:
    request = call.read(CHAT, sent(user="[1,{2,3}]," * 200_000))

    assert request.size > 2_000_000


def test_as_many_tokens_as_may_be_embedded_are_taken() -> None:
    tokens = json.dumps({"model": "default", "input": [[7] * 1000] * 290}).encode()

    assert call.read(EMBEDDINGS, tokens).model == "default"


@pytest.mark.parametrize(
    "name", ["Model", "MODEL", "Messages", "me\u017f\u017fages", "Stream", "Max_Tokens", "Prompt", "N"]
)
def test_a_name_in_another_spelling_is_refused(harbour: Harbour, name: str) -> None:
    status, told = harbour.call(sent(**{name: "other-model"}))

    assert status == 400
    assert f"`{name.casefold()}` is spelt otherwise" in told["error"]["message"]
    assert harbour.record(told["error"]["call_id"])["status"] == "refused"


def test_a_conversation_kept_upstream_is_refused_in_every_spelling() -> None:
    body = {"model": "default", "input": "hi", "Previous_Response_Id": "resp_1"}

    with pytest.raises(InvalidInput, match="previous_response_id"):
        call.read(RESPONSES, json.dumps(body).encode())


@pytest.mark.parametrize("name", ["models", "fallbacks"])
def test_no_other_models_are_named(harbour: Harbour, name: str) -> None:
    status, told = harbour.call(sent(**{name: ["other-model"]}))

    assert status == 400
    assert told["error"]["reasons"][0]["fix"].startswith("leave it out")


@pytest.mark.parametrize("text", ["=1+1", " =1+1", "\ufeff@x", "\n+1", "\uff1d1+1", "\uff0b1"])
def test_no_model_is_a_formula(text: str) -> None:
    assert csv_text([{"model": text}], ["model"]).split("\r\n", 1)[1].lstrip('"').startswith("'")


def spans(*counts: int) -> bytes:
    """Return a request of OpenTelemetry with a call for each count of tokens."""
    now = time.time_ns()
    told = []
    for tokens in counts:
        named = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
        attributes: list[dict[str, Any]] = [{"key": k, "value": {"stringValue": v}} for k, v in named.items()]
        used = [f"gen_ai.usage.{way}_tokens" for way in ("input", "output")]
        attributes += [{"key": name, "value": {"intValue": str(tokens)}} for name in used]
        ids = {"traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "name": "chat"}
        times = {"startTimeUnixNano": str(now - 10**9), "endTimeUnixNano": str(now)}
        told.append({**ids, **times, "attributes": attributes})
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": told}]}]}).encode()


def test_what_traces_say_of_tokens_does_not_stop_the_adding_up() -> None:
    with served.Server(served.fresh()) as server:
        at = served.harbour(server)
        headers = {"authorization": f"Bearer {at.keys[HR]}", "content-type": "application/json"}
        content = spans(*[2**53 - 1] * 1_030, *[MOST_TOKENS] * 470, 7)

        status, _, told = served.fetch(at.url, "/v1/traces", "POST", content, headers)

        assert (status, told) == (200, b"{}")
        assert observed_tokens(at, 1_501) == [(MOST_TOKENS * 470 + 7, 1_501)]
    assert "Traceback" not in server.said(), server.said()


def observed_tokens(at: Harbour, calls: int) -> list[tuple[int, int]]:
    """Return the tokens and the calls of the model that only traces speak of, once so many are added up."""
    found: list[tuple[int, int]] = []
    until = time.monotonic() + 30
    while (not found or found[0][1] < calls) and time.monotonic() < until:
        time.sleep(0.2)
        _, told = at.api("GET", "/api/cost?by=route", token=at.token("jonas"))
        lines = [line for line in told["costs"] if line["name"] == "observed"]
        found = [(line["tokens_in"], line["calls"] + line["refused"]) for line in lines]
    return found


def test_a_record_of_any_size_is_added_up(engine: Engine, tmp_path: Path) -> None:
    told = {"kind": "call.completed", "started": "2026-11-23T00:00:00Z", "verdict": "allow", "status": "ok"}
    entry = json.dumps({**told, "tokens_in": 2**70, "tokens_out": 2**70, "cost_nano": 2**90}).encode()
    path = tmp_path / "shard-0.db"
    with closing(Journal.open(path, shard="shard-0")) as journal, closing(Shard(path)) as shard:
        for name in "abc":
            journal.append_sync(Record(name, entry, NOW, "u", "call.completed", "v", "s"))

        assert Usage(engine, lambda: {"shard-0": shard}).roll("shard-0") == 3

    with engine.connect() as connection:
        found = connection.execute(select(usage.c.tokens_in, usage.c.tokens_out, usage.c.cost_nano)).one()
    assert tuple(found) == (3 * MOST_TOKENS, 3 * MOST_TOKENS, 3 * MOST)


def test_millions_of_parts_of_traces_are_refused_at_once() -> None:
    body = b'{"resourceSpans":[' + b"{}," * 1_300_000 + b"{}]}"
    began = time.process_time()

    with pytest.raises(InvalidInput, match="300000 lists and objects") as refused:
        otlp.decode(body, otlp.JSON)

    assert refused.value.code == "request-too-large"
    assert time.process_time() - began < SECONDS
