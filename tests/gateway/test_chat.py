"""The official OpenAI client against the real server: a base URL and a key are enough, and every refusal is legible."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest
from tests import served
from tests.served import CLAIMS, HR, RIGHTS, Harbour

from bedplate.gateway.session import DRAFT
from bedplate.store.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MESSAGES: Any = served.ask()["messages"]
ANNUAL = "Full-time employees receive 26 days of annual leave in each leave year"


@pytest.fixture(scope="module")
def server() -> Iterator[served.Server]:
    with served.Server(served.fresh(), tick_ms="600000") as server:
        yield server
    assert "Traceback" not in server.said()


@pytest.fixture(scope="module")
def harbour(server: served.Server) -> Harbour:
    return served.harbour(server)


@pytest.fixture
def mine() -> Iterator[Harbour]:
    """A server whose use cases a test may change."""
    with served.Server(served.fresh(), tick_ms="50") as server:
        yield served.harbour(server)


def test_an_answer_and_its_headers(harbour: Harbour) -> None:
    raw = harbour.openai().chat.completions.with_raw_response.create(model="default", messages=MESSAGES)

    answer = raw.parse()
    assert ANNUAL in str(answer.choices[0].message.content)
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    told = raw.headers
    record = harbour.record(told["x-bedplate-call-id"])
    assert (told["x-bedplate-verdict"], told["x-bedplate-tier"], told["x-bedplate-rung"]) == ("allow", "1", "act")
    assert told["x-bedplate-release"] == harbour.person("mara").use_case(HR)["release"] == record["release"]
    assert (record["kind"], record["status"], record["route"]) == ("call.completed", "ok", "live")
    assert record["answer_sha256"] == hashlib.sha256(str(answer.choices[0].message.content).encode()).hexdigest()
    assert record["passages"]
    assert record["said"]["answer"] == answer.choices[0].message.content
    assert record["said"]["messages"] == MESSAGES


def test_a_stream_and_its_headers(harbour: Harbour) -> None:
    with harbour.openai().chat.completions.with_streaming_response.create(
        model="default", messages=MESSAGES, stream=True
    ) as raw:
        told = raw.headers
        chunks = list(raw.parse())

    text = "".join(c.choices[0].delta.content or "" for c in chunks)
    record = harbour.record(told["x-bedplate-call-id"])
    assert ANNUAL in text
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert told["content-type"].startswith("text/event-stream")
    assert told["x-bedplate-verdict"] == record["verdict"] == "allow"
    assert record["answer_sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_an_asynchronous_client_works_as_well(harbour: Harbour) -> None:
    import asyncio  # noqa: PLC0415

    async def run() -> str:
        async with openai.AsyncOpenAI(base_url=f"{harbour.url}/v1", api_key=harbour.keys[HR]) as client:
            stream = await client.chat.completions.create(model=HR, messages=MESSAGES, stream=True)
            return "".join([c.choices[0].delta.content or "" async for c in stream])

    assert ANNUAL in asyncio.run(run())


def test_models(harbour: Harbour) -> None:
    assert [m.id for m in harbour.openai().models.list()] == ["bedplate-extractive-1"]
    assert [m.id for m in harbour.openai(CLAIMS).models.list()] == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_key_is_an_authentication_error(harbour: Harbour, *, stream: bool) -> None:
    client = harbour.with_key("sk-wrong")

    with pytest.raises(openai.AuthenticationError) as told:
        client.chat.completions.create(model="default", messages=MESSAGES, stream=stream)
    assert told.value.code == "unauthenticated"
    with pytest.raises(openai.AuthenticationError):
        client.models.list()


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_refused_by_name(harbour: Harbour, *, stream: bool) -> None:
    with pytest.raises(openai.PermissionDeniedError, match=r"gpt-5\.9") as told:
        harbour.openai().chat.completions.create(model="gpt-5.9", messages=MESSAGES, stream=stream)

    [reason] = _reasons(told.value)
    assert reason["control"] == "model-approved"
    assert "bedplate-extractive-1" in reason["fix"]


def test_other_errors_are_openais_classes(harbour: Harbour) -> None:
    client = harbour.openai()
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="default", messages=[])
    with pytest.raises(openai.BadRequestError, match="speaks this protocol"):
        client.embeddings.create(model="default", input="hi")
    with pytest.raises(openai.APIStatusError) as told:
        client.chat.completions.create(model="default", messages=[{"role": "user", "content": "a" * (5 << 20)}])
    assert told.value.status_code == 413
    with pytest.raises(openai.PermissionDeniedError, match="40000"):
        client.chat.completions.create(model="default", messages=[{"role": "user", "content": "a" * 41_000}])


def test_before_approval_it_is_refused_with_a_fix_and_on_record(harbour: Harbour) -> None:
    with pytest.raises(openai.PermissionDeniedError) as told:
        harbour.openai(CLAIMS).chat.completions.create(model="default", messages=MESSAGES)

    [reason] = _reasons(told.value)
    assert (reason["control"], "bedplate release" in reason["fix"]) == ("live-release", True)
    record = harbour.record(told.value.response.headers["x-bedplate-call-id"])
    assert (record["verdict"], record["status"], record["use_case"]) == ("deny", "refused", f"usecase/{CLAIMS}")
    assert record["reasons"] == [[reason["control"], reason["reason"], reason["fix"]]]


def test_the_release_was_evaluated_on_record(harbour: Harbour) -> None:
    found = [c for c in harbour.person("victor").calls(use_case=HR, limit=1000) if c["route"] == "evaluation"]

    assert found
    assert {c["key"] for c in found} == {"leo.fischer"}
    assert {c["kind"] for c in found} == {"call.completed"}


def test_suspended_resumed_and_retired(mine: Harbour) -> None:
    call = mine.openai().chat.completions.create
    mine.person("hanna").suspend(HR, "a drill\r\nx-injected: yes")
    with pytest.raises(openai.PermissionDeniedError, match="a drill") as told:
        call(model="default", messages=MESSAGES)
    assert [r["control"] for r in _reasons(told.value)] == ["not-suspended"]
    assert "x-injected" not in told.value.response.headers

    mara = mine.person("mara")
    mine.approve(lambda: mara.resume(HR, "the drill is over"), "hanna")
    _eventually(lambda: call(model="default", messages=MESSAGES))

    mara.post(f"/api/use-cases/{HR}/retire", {"reason": "nobody asks any more"})
    _eventually(lambda: _refused(call, "retired"))


def test_harm_turns_it_off(mine: Harbour) -> None:
    mine.person("mara").post(f"/api/use-cases/{HR}/harm", {"title": "a wrong answer", "details": "26, not 99"})

    with pytest.raises(openai.PermissionDeniedError, match="off"):
        mine.openai().chat.completions.create(model="default", messages=MESSAGES)


def test_drift_makes_its_answers_drafts(mine: Harbour) -> None:
    client = mine.openai()
    for _ in range(20):
        client.chat.completions.create(
            model="default", messages=[{"role": "user", "content": "Who walked on the Moon?"}]
        )

    def draft() -> bool:
        raw = client.chat.completions.with_raw_response.create(model="default", messages=MESSAGES)
        return raw.headers["x-bedplate-rung"] == "propose"

    _until(draft)
    whole = client.chat.completions.create(model="default", messages=MESSAGES)
    stream = client.chat.completions.create(model="default", messages=MESSAGES, stream=True)
    assert str(whole.choices[0].message.content).startswith(DRAFT + ANNUAL)
    assert "".join(c.choices[0].delta.content or "" for c in stream).startswith(DRAFT + ANNUAL)
    [incident] = mine.person("victor").incidents()
    assert incident["cause"] == "monitor/unanswered"


def test_a_revoked_key_has_ended_and_another_has_not(mine: Harbour) -> None:
    leo = mine.person("leo")
    made = leo.issue_key(HR, "second")
    old = mine.openai()
    new = mine.with_key(str(made["key"]))
    new.chat.completions.create(model="default", messages=MESSAGES)

    leo.post(f"/api/keys/{made['id']}/revoke", {"reason": "lost"})

    with pytest.raises(openai.AuthenticationError, match="ended"):
        new.chat.completions.create(model="default", messages=MESSAGES)
    old.chat.completions.create(model="default", messages=MESSAGES)


def test_the_budget_is_a_hard_stop_for_64_at_once_and_after_a_restart() -> None:
    data = served.fresh()
    with served.Server(data) as server:
        harbour = served.harbour(server)
        spec = served.use_case(budget=10)
        served.accept(harbour, harbour.person("leo"), spec, "hanna")
        served.go_live(harbour, served.files_of(spec), "hanna")
        _until(lambda: harbour.person("leo").use_case(HR)["stage"] == "live")
        with ThreadPoolExecutor(64) as pool:
            statuses = list(
                pool.map(
                    lambda n: harbour.call(served.ask(stream=n % 2 == 0))[0] if n % 2 else _streamed(harbour), range(64)
                )
            )
    assert (statuses.count(200), statuses.count(403)) == (10, 54)
    with served.Server(data) as server:
        status, told = served.harbour(server).call(served.ask())
    assert (status, told["error"]["reasons"][0]["control"]) == (403, "within-budget")


def _streamed(harbour: Harbour) -> int:
    told = {"authorization": f"Bearer {harbour.keys[HR]}"}
    body = json.dumps(served.ask(stream=True)).encode()
    return served.fetch(harbour.url, "/v1/chat/completions", "POST", body, told)[0]


def test_a_record_is_in_the_journal_the_moment_the_last_event_arrives(server: served.Server, harbour: Harbour) -> None:
    shard = Shard(next((server.data / "journal").glob("*.db")))
    body = json.dumps(served.ask(stream=True)).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
    )
    try:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
                client.sendall(request % (harbour.keys[HR].encode(), len(body), body))
                got = b""
                while b"data: [DONE]" not in got:
                    got += client.recv(64)
                found = re.search(rb"x-bedplate-call-id: (\S+)", got)
                assert found is not None
                row = shard.get(found[1].decode())
            assert row is not None
            assert json.loads(row.entry)["status"] == "ok"
    finally:
        shard.close()


def test_no_secret_reaches_the_log_the_journal_or_the_disk(server: served.Server, harbour: Harbour) -> None:
    secret = "sk-proj4f8Jd02mXq7PzLw91Tnb"
    with pytest.raises(openai.PermissionDeniedError) as told:
        harbour.openai().chat.completions.create(
            model="default", messages=[{"role": "user", "content": f"use {secret} please"}]
        )

    assert [r["control"] for r in _reasons(told.value)] == ["guardrail-input"]
    assert secret not in told.value.response.text
    assert harbour.record(told.value.response.headers["x-bedplate-call-id"])["findings"] == ["input: API key"]
    assert not _holding(server.data, secret.encode())
    assert secret not in server.said()


def test_what_is_said_is_not_readable_on_the_disk(server: served.Server, harbour: Harbour) -> None:
    question = "Is xylophonic leave granted on Ruritanian holidays?"
    harbour.openai().chat.completions.create(model="default", messages=[{"role": "user", "content": question}])

    assert not _holding(server.data, b"Ruritanian")
    assert "Ruritanian" not in server.said()


def _holding(data: Path, text: bytes) -> Sequence[Path]:
    return [path for path in data.rglob("*") if path.is_file() and text in path.read_bytes()]


def test_personal_data_is_redacted_in_tier_3(harbour: Harbour) -> None:
    asked: Any = [{"role": "user", "content": "I am jo@harbour.example. How many days of annual leave do I get?"}]
    raw = harbour.openai(RIGHTS).chat.completions.with_raw_response.create(model="default", messages=asked)

    record = harbour.record(raw.headers["x-bedplate-call-id"])
    assert raw.headers["x-bedplate-tier"] == "3"
    assert record["findings"] == ["input: email address"]
    assert "[redacted: email address]" in record["said"]["messages"][0]["content"]
    intent = harbour.record(f"{record['id']}/intent")
    assert (intent["kind"], intent["status"]) == ("call.intent", "intended")
    assert intent["seq"] < record["seq"]


def test_an_intent_can_be_proved_too(harbour: Harbour) -> None:
    raw = harbour.openai(RIGHTS).chat.completions.with_raw_response.create(model="default", messages=MESSAGES)

    assert (
        harbour.person("victor").prove(f"{raw.headers['x-bedplate-call-id']}/intent").startswith("bedplate.dev/proof")
    )


HOSTILE = "a\r\n2026-01-01 [error] forged\x1b[2J<script>alert(1)</script>"


def test_what_people_write_is_kept_verbatim_and_forges_no_line_of_a_log(
    server: served.Server, harbour: Harbour
) -> None:
    leo = harbour.person("leo")
    made = leo.issue_key(HR, HOSTILE)
    leo.post(f"/api/keys/{made['id']}/revoke", {"reason": HOSTILE})
    harbour.person("priya").post("/api/invitations", {"person": "hostile", "name": HOSTILE})
    harbour.call(served.ask(HOSTILE))
    harbour.call({**served.ask(), "model": HOSTILE})
    served.fetch(harbour.url, "/v1/x%0d%0aforged", "GET")

    [label] = [k["label"] for k in leo.get(f"/api/use-cases/{HR}/keys")["keys"] if k["id"] == made["id"]]
    [event] = leo.get("/api/ledger/events", kind="gateway.key.revoked", limit=1)["events"]
    [invited] = leo.get("/api/ledger/events", stream="person/hostile")["events"]
    assert label == event["data"]["reason"] == invited["data"]["name"] == HOSTILE
    assert "\n2026-01-01" not in server.said()
    assert "\x1b[2J" not in server.said()
    assert "\nforged" not in server.said()
    assert leo.post("/api/ledger/verify", {})["faults"] == []


def test_many_clients_at_once_each_get_their_own_answer(harbour: Harbour) -> None:
    barrier = threading.Barrier(16)

    def one(n: int) -> bool:
        barrier.wait()
        days, other = ("annual leave", "expenses claims")
        asked: Any = [{"role": "user", "content": f"Tell me about {days if n % 2 else other}"}]
        raw = harbour.openai().chat.completions.with_raw_response.create(model="default", messages=asked)
        record = harbour.record(raw.headers["x-bedplate-call-id"])
        said = str(raw.parse().choices[0].message.content)
        return bool(record["said"]["messages"] == asked and record["said"]["answer"] == said)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(16)))


def _reasons(error: openai.APIStatusError) -> list[dict[str, str]]:
    body: Any = error.body
    assert all(r["reason"] and r["fix"] for r in body["reasons"])
    return list(body["reasons"])


def _refused(call: Callable[..., object], why: str) -> None:
    with pytest.raises(openai.PermissionDeniedError, match=why):
        call(model="default", messages=MESSAGES)


def _eventually(does: Callable[[], object], within: float = 5) -> None:
    """Do it again until nothing is wrong with it."""
    until = time.monotonic() + within
    while True:
        try:
            does()
        except (openai.APIError, pytest.fail.Exception):
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _until(true: Callable[[], bool]) -> None:
    def does() -> None:
        if not true():
            pytest.fail("it did not happen")

    _eventually(does, 10)
