"""The gateway in front of an upstream on real sockets: what passes through, and every way an upstream can fail."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest
from tests import served
from tests.served import HR, RIGHTS, RecordingUpstream, completion, events, head, says, sends

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.served import Harbour


@pytest.fixture(scope="module")
def data() -> Path:
    return served.fresh("remote")  # before our upstream is up: making it needs one as well


@pytest.fixture(scope="module")
def upstream(data: Path) -> Iterator[RecordingUpstream]:
    assert data.exists()
    with RecordingUpstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def harbour(upstream: RecordingUpstream, data: Path) -> Iterator[Harbour]:
    settings = {"upstream_url": upstream.url, "upstream_timeout_s": "1", "upstream_key_env": "UPSTREAM_KEY"}
    settings["tick_ms"] = "600000"  # no monitor lowers a rung here
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPSTREAM_KEY", "upstream-secret")
        server = served.Server(data, **settings).start()
    with server:
        yield served.harbour(server)
    assert "Traceback" not in server.said(), server.said()


@pytest.fixture(autouse=True)
def _begin_again(upstream: RecordingUpstream) -> None:
    upstream.seen.clear()
    upstream.behave = says("26 days")


TOOLS: Any = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]


def test_what_the_client_sent_is_what_the_upstream_gets(harbour: Harbour, upstream: RecordingUpstream) -> None:
    harbour.openai().chat.completions.create(
        model="default",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "How many days of leave?"}], "name": "jo"},
        ],
        n=2,
        logprobs=True,
        top_logprobs=3,
        temperature=0.25,
        seed=2**64,
        tools=TOOLS,
        tool_choice="auto",
        user="u-1",
        extra_body={"x_vendor": {"deep": [1, None, "ü", 1.5e300]}, "guided_json": "{}"},
        extra_headers={"x-client": "yes"},
    )

    [seen] = upstream.seen
    body = seen.body
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == "Bearer upstream-secret"
    assert "x-client" not in seen.headers
    assert harbour.keys[HR] not in repr(seen)
    assert body["model"] == "gpt-4o-mini"
    assert {k: body[k] for k in ("n", "logprobs", "top_logprobs", "temperature", "tools", "tool_choice", "user")} == {
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "temperature": 0.25,
        "tools": TOOLS,
        "tool_choice": "auto",
        "user": "u-1",
    }
    assert body["seed"] == 2**64
    assert body["x_vendor"] == {"deep": [1, None, "ü", 1.5e300]}
    assert body["guided_json"] == "{}"
    assert "metadata" not in body
    assert [m["role"] for m in body["messages"]] == ["system", "system", "user"]
    assert body["messages"][0]["content"] == "Be brief."
    assert "<passages>" in body["messages"][1]["content"]
    assert body["messages"][2] == {
        "role": "user",
        "content": [{"type": "text", "text": "How many days of leave?"}],
        "name": "jo",
    }


def test_an_answer_passes_through_unchanged(harbour: Harbour, upstream: RecordingUpstream) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": "ü"}'}}
    answer = completion("26 days", system_fingerprint="fp_1", x_vendor={"deep": [1, None]})
    answer["choices"].append(
        {
            "index": 1,
            "message": {"role": "assistant", "content": None, "tool_calls": [call]},
            "finish_reason": "tool_calls",
        }
    )
    answer["choices"][0]["logprobs"] = {"content": [{"token": "26", "logprob": -0.01, "bytes": [50, 54]}]}
    upstream.behave = sends(head(), json.dumps(answer).encode())

    status, told = harbour.call(served.ask())

    assert (status, told) == (200, answer)


def test_a_stream_passes_through_unchanged(harbour: Harbour, upstream: RecordingUpstream) -> None:
    sent = [
        *events(["26", " da", "ys ü"])[:-1],
        b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n',
    ]
    upstream.behave = sends(head(kind="text/event-stream"), b": comment\n\n", *sent, b"event: x\ndata: [DONE]\n\n")

    raw = _raw(harbour, served.ask(stream=True, stream_options={"include_usage": True}))

    got = [json.loads(line[6:]) for line in raw.split(b"\n") if line.startswith(b"data: {")]
    assert got == [json.loads(event[6:]) for event in sent]
    assert raw.endswith(b"data: [DONE]\n\n")
    assert upstream.seen[0].body["stream_options"] == {"include_usage": True}
    record = _last(harbour)
    assert (record["tokens_in"], record["tokens_out"]) == (5, 6)
    assert record["answer_sha256"] == hashlib.sha256("26 days ü".encode()).hexdigest()


def test_one_byte_at_a_time_is_only_slow(harbour: Harbour, upstream: RecordingUpstream) -> None:
    whole = json.dumps(completion("26 days ü"), ensure_ascii=False).encode()
    upstream.behave = sends(*_bytes(head() + whole))
    assert harbour.call(served.ask())[1]["choices"][0]["message"]["content"] == "26 days ü"

    upstream.behave = sends(*_bytes(head(kind="text/event-stream") + b"".join(events(["26 ", "days"]))))
    stream = harbour.openai().chat.completions.create(model="default", messages=_MESSAGES, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == "26 days"


def test_gzip_is_undone(harbour: Harbour, upstream: RecordingUpstream) -> None:
    body = gzip.compress(json.dumps(completion("26 days")).encode())
    upstream.behave = sends(head(content_encoding="gzip"), body)

    assert harbour.call(served.ask())[1]["choices"][0]["message"]["content"] == "26 days"


def test_crlf_between_events_is_read_too(harbour: Harbour, upstream: RecordingUpstream) -> None:
    upstream.behave = sends(
        head(kind="text/event-stream"), b"".join(events(["26 ", "days"])).replace(b"\n\n", b"\r\n\r\n")
    )

    stream = harbour.openai().chat.completions.create(model="default", messages=_MESSAGES, stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in stream) == "26 days"


_MESSAGES: Any = served.ask()["messages"]
LONE = json.dumps(completion("\ud800")).encode()
DEEP = b'{"choices":[{"message":{"content":"a"},"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"
WHOLE_FAULTS: dict[str, tuple[Any, int]] = {
    "429": (sends(head(429), b'{"error":{"message":"slow down"}}'), 429),
    "500": (sends(head(500), b"oops"), 502),
    "503": (sends(head(503), b"busy"), 503),
    "400 that is not JSON": (sends(head(400), b"<html>no</html>"), 400),
    "401": (sends(head(401), b"{}"), 502),
    "redirect": (sends(head(302, location="http://127.0.0.1:1/v1/chat/completions")), 502),
    "garbage": (sends(head(), b"<html>hello</html>"), 502),
    "garbage bytes": (sends(head(), bytes(range(256))), 502),
    "not HTTP": (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), 502),
    "empty": (sends(head()), 502),
    "null": (sends(head(), b"null"), 502),
    "no choices": (sends(head(), b"{}"), 502),
    "odd choices": (sends(head(), b'{"choices":[1]}'), 502),
    "error with 200": (sends(head(), b'{"error":{"message":"no"}}'), 502),
    "NaN": (sends(head(), json.dumps(completion("a", x=float("nan"))).encode()), 502),
    "lone surrogate": (sends(head(), LONE), 502),
    "too deep": (sends(head(), DEEP), 502),
    "not gzip": (sends(head(content_encoding="gzip"), b"not gzip"), 502),
    "cut": (sends(head(content_length="1000"), json.dumps(completion("26"))[:50].encode()), 502),
    "closed at once": (sends(), 502),
    "hangs before headers": (sends(hangs=True), 504),
    "hangs in the body": (sends(head(content_length="1000"), b'{"choices":', hangs=True), 504),
    "65 MiB": (sends(head(), *[b" " * (1 << 20)] * 65), 502),
}


@pytest.mark.parametrize(("behave", "status"), WHOLE_FAULTS.values(), ids=WHOLE_FAULTS)
def test_a_fault_of_the_upstream_is_told_in_openais_shape_and_recorded(
    harbour: Harbour, upstream: RecordingUpstream, behave: Any, status: int
) -> None:
    upstream.behave = behave

    got, told = harbour.call(served.ask())

    assert got == status, told
    error = told["error"]
    assert error["code"] == "upstream-failed"
    assert error["message"]
    record = harbour.record(error["call_id"])
    assert (record["status"], record["verdict"], record["kind"]) == ("failed", "allow", "call.failed")
    assert record["error"]
    assert record["answer_sha256"] == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_the_client_did_wrong_is_told_in_the_upstreams_own_words(
    harbour: Harbour, upstream: RecordingUpstream, status: int
) -> None:
    theirs = {"error": {"message": "max_tokens is too large", "type": "invalid_request_error", "code": None}}
    upstream.behave = sends(head(status), json.dumps(theirs).encode())

    assert harbour.call(served.ask()) == (status, theirs)
    assert (_last(harbour)["status"], _last(harbour)["cost_nano"]) == ("failed", 0)


def test_an_upstream_that_is_down_is_502(harbour: Harbour, upstream: RecordingUpstream) -> None:
    with upstream.away():
        with pytest.raises(openai.InternalServerError) as told:
            harbour.openai().chat.completions.create(model="default", messages=_MESSAGES)
        assert told.value.status_code == 502
        with pytest.raises(openai.APIError, match="upstream failed"):
            list(harbour.openai().chat.completions.create(model="default", messages=_MESSAGES, stream=True))
    assert [c["status"] for c in harbour.person("victor").calls(limit=2)] == ["failed", "failed"]
    assert harbour.call(served.ask())[0] == 200


SAID = b"".join(events(["26 ", "days"], done=False))
STREAM = head(kind="text/event-stream")
STREAM_FAULTS: dict[str, tuple[Any, str]] = {
    "429": (sends(head(429), b"{}"), ""),
    "500": (sends(head(500), b"oops"), ""),
    "hangs before headers": (sends(hangs=True), ""),
    "hangs mid-stream": (sends(STREAM, SAID, hangs=True), "26 days"),
    "cut mid-stream": (sends(STREAM, SAID), "26 days"),
    "cut mid-event": (sends(STREAM, SAID, b'data: {"choi'), "26 days"),
    "garbage mid-stream": (sends(STREAM, SAID, b"data: {not json\n\n"), "26 days"),
    "error mid-stream": (sends(STREAM, SAID, b'data: {"error":{"message":"overloaded"}}\n\n'), "26 days"),
    "lone surrogate": (sends(STREAM, SAID, b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n'), "26 days"),
    "finished but not done": (sends(STREAM, SAID, events([])[1]), "26 days"),
    "empty": (sends(STREAM), ""),
    "a line without end": (sends(STREAM, b"data: " + b"a" * (1 << 20)), ""),
}


@pytest.mark.parametrize(("behave", "delivered"), STREAM_FAULTS.values(), ids=STREAM_FAULTS)
def test_a_stream_that_breaks_ends_in_an_error_and_is_recorded_with_what_was_delivered(
    harbour: Harbour, upstream: RecordingUpstream, behave: Any, delivered: str
) -> None:
    upstream.behave = behave
    before = _last(harbour)["id"]
    got = ""

    try:
        for piece in harbour.openai().chat.completions.create(model="default", messages=_MESSAGES, stream=True):
            got += piece.choices[0].delta.content or ""
            assert piece.choices[0].finish_reason is None
    except openai.APIError as told:
        assert told.message  # noqa: PT017  what came before it matters as well
    else:
        pytest.fail("the stream ended as if it were whole")

    assert got == delivered
    record = _last(harbour)
    assert record["id"] != before
    assert (record["status"], record["kind"]) == ("failed", "call.failed")
    assert record["answer_sha256"] == hashlib.sha256(delivered.encode()).hexdigest()
    assert harbour.record(record["id"])["said"]["answer"] == delivered


@pytest.mark.parametrize("use_case", [HR, RIGHTS])
def test_a_client_that_leaves_mid_stream_ends_the_call_upstream(
    harbour: Harbour, upstream: RecordingUpstream, use_case: str
) -> None:
    upstream.behave = sends(STREAM, *events(["one ", "two "], done=False), hangs=True)
    with _connected(harbour, served.ask(stream=True), use_case) as client:
        _until(lambda: len(upstream.seen) == 1)
        if use_case == HR:
            got = b""
            while b"two " not in got:
                got += client.recv(4096)

    assert upstream.seen[0].gone.wait(0.9)
    _until(lambda: _last(harbour)["status"] == "aborted")
    # Where a guardrail may change text, the last of it is still held back.
    left = (b"one two ",) if use_case == HR else (b"", b"one ")
    assert _last(harbour)["answer_sha256"] in {hashlib.sha256(text).hexdigest() for text in left}
    assert _last(harbour)["use_case"] == f"usecase/{use_case}"


def test_a_client_that_leaves_before_its_answer_ends_the_call_upstream(
    harbour: Harbour, upstream: RecordingUpstream
) -> None:
    upstream.behave = sends(hangs=True)

    with _connected(harbour, served.ask()):
        _until(lambda: len(upstream.seen) == 1)

    assert upstream.seen[0].gone.wait(0.9)
    _until(lambda: _last(harbour)["status"] == "aborted")


def test_a_connection_is_used_again_after_a_stream(harbour: Harbour) -> None:
    with socket.create_connection(("127.0.0.1", _port(harbour)), timeout=20) as client:
        for _ in range(3):
            client.sendall(_request(harbour, served.ask(stream=True)))
            got = b""
            while not got.endswith(b"0\r\n\r\n"):
                got += client.recv(65536)
            assert b"data: [DONE]" in got


def test_in_tier_3_nothing_leaves_before_all_of_it_was_seen(harbour: Harbour, upstream: RecordingUpstream) -> None:
    upstream.behave = sends(STREAM, *events(["write to jo@", "harbour.example"]))

    stream = harbour.openai(RIGHTS).chat.completions.create(model="default", messages=_MESSAGES, stream=True)

    got = "".join(c.choices[0].delta.content or "" for c in stream)
    assert got == "write to [redacted: email address]"
    record = _last(harbour)
    assert record["findings"] == ["output: email address"]
    assert record["answer_sha256"] == hashlib.sha256(got.encode()).hexdigest()
    intents = harbour.person("victor").call(f"{record['id']}/intent")
    assert (intents["kind"], intents["status"]) == ("call.intent", "intended")


def test_read_calls_no_upstream(upstream: RecordingUpstream) -> None:
    upstream.behave = says(served.UNANSWERED)
    with served.Server(served.fresh("remote"), upstream_url=upstream.url, tick_ms="50") as server:
        harbour = served.harbour(server)
        for _ in range(20):  # more than a quarter unanswered: tier 3 goes to `read`
            harbour.openai(RIGHTS).chat.completions.create(model="default", messages=_MESSAGES)
        _until(lambda: harbour.person("victor").use_case(RIGHTS)["rung"] == "read")
        _until(lambda: _rung(harbour, RIGHTS) == "read")
        before = len(upstream.seen)

        for stream in (False, True):
            raw = _raw(harbour, served.ask(stream=stream), RIGHTS)
            assert b"Full-time employees receive 26 days of annual leave" in raw
        assert len(upstream.seen) == before
        assert _last(harbour)["upstream"] == ""


def _rung(harbour: Harbour, use_case: str) -> str:
    headers = (
        harbour.openai(use_case).chat.completions.with_raw_response.create(model="default", messages=_MESSAGES).headers
    )
    return str(headers["x-bedplate-rung"])


def _bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def _port(harbour: Harbour) -> int:
    return int(harbour.url.rpartition(":")[2])


def _request(harbour: Harbour, body: dict[str, Any], use_case: str = HR) -> bytes:
    content = json.dumps(body).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer %s\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
        % (harbour.keys[use_case].encode(), len(content), content)
    )


def _connected(harbour: Harbour, body: dict[str, Any], use_case: str = HR) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", _port(harbour)), timeout=20)
    client.sendall(_request(harbour, body, use_case))
    return client


def _raw(harbour: Harbour, body: dict[str, Any], use_case: str = HR) -> bytes:
    told = {"authorization": f"Bearer {harbour.keys[use_case]}"}
    status, _, content = served.fetch(harbour.url, "/v1/chat/completions", "POST", json.dumps(body).encode(), told)
    assert status == 200, content
    return content


def _last(harbour: Harbour) -> dict[str, Any]:
    return dict(harbour.person("victor").calls(limit=1)[0])


def _until(true: Callable[[], bool], within: float = 10) -> None:
    until = time.monotonic() + within
    while not true():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)
