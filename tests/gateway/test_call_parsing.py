"""What a client may send: read strictly, refused in OpenAI's shape, never a 500, never a line in somebody's log."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import served

from bedplate.errors import InvalidInput
from bedplate.gateway.call import MAX_BODY, Trace, entry, read
from bedplate.gateway.dialects import CHAT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour

GOOD = b'{"model":"default","messages":[{"role":"user","content":"hi"}]'
ASKED = {"role": "user", "content": "hi"}
BAD = {
    "empty": b"",
    "cut": b'{"model":',
    "not JSON": b"model=default",
    "UTF-16": '{"model":"default"}'.encode("utf-16-be"),
    "not UTF-8": b'{"model":"\xff"}',
    "NUL byte": GOOD + b',"x":\x00}',
    "trailing": GOOD + b"}}",
    "NaN": GOOD + b',"temperature":NaN}',
    "Infinity": GOOD + b',"temperature":-Infinity}',
    "1e400": GOOD + b',"temperature":1e400}',
    "-1e400": GOOD + b',"temperature":-1e400}',
    "5000 digits": GOOD + b',"seed":' + b"9" * 5000 + b"}",
    "arrays nested 100k": GOOD + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects nested 100k": GOOD + b',"x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "lone surrogate": GOOD + b',"user":"\\ud800"}',
    "lone surrogate in a key": GOOD + b',"\\udfff":1}',
    "list": b"[]",
    "text": b'"hi"',
    "null": b"null",
    "no model": b'{"messages":[{"role":"user","content":"hi"}]}',
    "empty model": b'{"model":"","messages":[{"role":"user","content":"hi"}]}',
    "model of 1 MB": b'{"model":"' + b"m" * 10**6 + b'","messages":[{"role":"user","content":"hi"}]}',
    "model a number": b'{"model":1,"messages":[{"role":"user","content":"hi"}]}',
    "no messages": b'{"model":"default"}',
    "messages empty": b'{"model":"default","messages":[]}',
    "messages an object": b'{"model":"default","messages":{"role":"user"}}',
    "message a text": b'{"model":"default","messages":["hi"]}',
    "message without role": b'{"model":"default","messages":[{"content":"hi"}]}',
    "role a number": b'{"model":"default","messages":[{"role":1}]}',
    "2001 messages": json.dumps({"model": "default", "messages": [{"role": "user", "content": "a"}] * 2001}).encode(),
    "stream a number": GOOD + b',"stream":1}',
    "stream a text": GOOD + b',"stream":"true"}',
}
ODD = {  # legal, however odd
    "same key twice": b'{"model":"other",' + GOOD[1:] + b',"model":"default"}',
    "same key twice, deep": b'{"model":"default","messages":[{"role":"user","content":"a","content":"b"}]}',
    "2^64": GOOD + b',"seed":18446744073709551616}',
    "NUL escaped": json.dumps(served.ask("a\0b")).encode(),
    "bidi": json.dumps(served.ask("\u202eleave\u202c \u2066annual\u2069")).encode(),
    "astral": json.dumps(served.ask("leave \U0001f3d6")).encode(),
    "200k keys": GOOD + b"," + b",".join(b'"k%d":1' % n for n in range(200_000)) + b"}",
    "stream null": GOOD + b',"stream":null}',
    "no content": b'{"model":"default","messages":[{"role":"user"}]}',
    "content null": json.dumps({**served.ask(), "messages": [{"role": "assistant", "content": None}, ASKED]}).encode(),
    "content a number": b'{"model":"default","messages":[{"role":"user","content":5}]}',
    "content odd parts": json.dumps(served.ask([1, None, {"text": 3}, {"text": "hi"}])).encode(),
    "role unheard of": b'{"model":"default","messages":[{"role":"\\u0000","content":"hi"}]}',
    "markup": json.dumps(served.ask("<script>alert(1)</script> **b** [x](javascript:1)")).encode(),
}


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh()) as server:
        yield served.harbour(server)


def shaped(body: Any) -> dict[str, Any]:
    """Assert OpenAI's error shape; returns what is in it."""
    error = body["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    assert isinstance(error["code"], str)
    assert "param" in error
    return dict(error)


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_400_and_on_record(harbour: Harbour, body: bytes) -> None:
    status, told = harbour.call(body)

    assert status == 400
    error = shaped(told)
    assert error["type"] == "invalid_request_error"
    record = harbour.record(error["call_id"])
    assert (record["status"], record["verdict"], record["use_case"]) == ("refused", "deny", f"usecase/{served.HR}")
    assert record["reasons"]
    assert record["said"] is None


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_what_is_odd_but_legal_is_answered(harbour: Harbour, body: bytes) -> None:
    status, told = harbour.call(body)

    assert status == 200, told
    assert told["choices"][0]["message"]["content"]


@pytest.mark.parametrize("depth", [*range(20, 1100, 23), 5000])
def test_no_depth_of_nesting_breaks_it(harbour: Harbour, depth: int) -> None:
    status, told = harbour.call(GOOD + b',"x":' + b"[" * depth + b"]" * depth + b"}")

    assert status in {200, 400}, told
    if status == 400:
        assert "deep" in shaped(told)["message"]


def test_millions_of_keys_are_refused_to_a_client_that_sends_before_it_reads(harbour: Harbour) -> None:
    status, told = harbour.call(GOOD + b"," + b",".join(b'"%x":1' % n for n in range(2_500_000)) + b"}")

    assert (status, shaped(told)["code"]) == (413, "request-too-large")


def test_a_body_is_refused_by_its_length_before_it_is_sent(harbour: Harbour) -> None:
    with socket.create_connection(("127.0.0.1", int(harbour.url.rpartition(":")[2])), timeout=20) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n"
            % (harbour.keys[served.HR].encode(), 9 * MAX_BODY)
        )
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_without_a_length_is_refused_once_it_is_too_large(harbour: Harbour) -> None:
    with socket.create_connection(("127.0.0.1", int(harbour.url.rpartition(":")[2])), timeout=20) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer %s\r\n"
            b"transfer-encoding: chunked\r\n\r\n" % harbour.keys[served.HR].encode()
        )
        piece = b"%x\r\n%s\r\n" % (1 << 16, b" " * (1 << 16))
        try:
            for _ in range(9 * MAX_BODY // (1 << 16)):
                client.sendall(piece)
        except OSError:
            pass  # refused while we still sent
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_trickles_in_is_read_whole_and_holds_up_nobody(harbour: Harbour) -> None:
    body = json.dumps(served.ask()).encode()
    with socket.create_connection(("127.0.0.1", int(harbour.url.rpartition(":")[2])), timeout=20) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n"
            % (harbour.keys[served.HR].encode(), len(body))
        )
        for at in range(len(body) - 1):
            client.sendall(body[at : at + 1])
        assert harbour.call(served.ask())[0] == 200  # somebody else, meanwhile
        client.sendall(body[-1:])
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_leaves_in_the_middle_of_its_body_made_no_call(harbour: Harbour) -> None:
    whole = json.dumps(served.ask("a question that was never finished")).encode()
    before = len(harbour.person("victor").calls(limit=1000))
    with socket.create_connection(("127.0.0.1", int(harbour.url.rpartition(":")[2])), timeout=20) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nauthorization: Bearer %s\r\ncontent-length: %d\r\n\r\n"
            % (harbour.keys[served.HR].encode(), len(whole) + 100)
        )
        client.sendall(whole)
    assert harbour.call(served.ask())[0] == 200

    assert len(harbour.person("victor").calls(limit=1000)) == before + 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("PUT", "/v1/chat/completions", 405),
        ("DELETE", "/v1/chat/completions", 405),
        ("POST", "/v1/completions", 404),
        ("GET", "/v1/embeddings", 405),
        ("POST", "/v1/chat/completions/", 404),
        ("GET", "/v1/chat/completions/..%2f..%2fapi", 404),
        ("GET", "/v1/%00%0d%0aset-cookie:x", 404),
        ("GET", "/v1/%ff%fe", 404),
        ("GET", "/v1/", 404),
    ],
)
def test_other_paths_and_methods_are_refused_in_openais_shape(
    harbour: Harbour, method: str, path: str, status: int
) -> None:
    body = b"{}" if method in {"POST", "PUT"} else None
    told = {"authorization": f"Bearer {harbour.keys[served.HR]}"}
    got, headers, content = served.fetch(harbour.url, path, method, body, told)

    assert got == status
    shaped(json.loads(content))
    assert "set-cookie" not in headers
    assert (headers.get("allow") == "POST") == (status == 405)


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer ", "Basic abc", "Bearer bpk_000000000000_x", "Bearer \xe9\xff", "Bearer a b"],
)
def test_no_key_or_another_is_401(harbour: Harbour, given: str) -> None:
    headers = {"authorization": given} if given else {}
    status, told, content = served.fetch(
        harbour.url, "/v1/chat/completions", "POST", json.dumps(served.ask()).encode(), headers
    )

    assert status == 401
    assert shaped(json.loads(content))["code"] == "unauthenticated"
    assert told.get("www-authenticate", "Bearer") == "Bearer"


def test_a_persons_token_and_an_invitation_open_no_call(harbour: Harbour) -> None:
    code = harbour.person("priya").post("/api/invitations", {"person": "somebody", "name": "Some Body"})["code"]
    for secret in (harbour.token("mara"), str(code)):
        told = {"authorization": f"Bearer {secret}"}
        status, _, content = served.fetch(harbour.url, "/v1/chat/completions", "POST", b"{}", told)
        assert status == 401
        assert secret not in content.decode()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with suppress(InvalidInput):
        read(CHAT, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.text()}, optional={"content": JSON, "name": JSON}), max_size=4)


@given(
    st.fixed_dictionaries(
        {}, optional={"model": st.text() | JSON, "messages": MESSAGES | JSON, "stream": JSON, "x": JSON}
    )
)
def test_any_json_is_read_as_it_is_or_refused(body: dict[str, Any]) -> None:
    try:
        request = read(CHAT, json.dumps(body).encode())
    except InvalidInput:
        return
    assert json.dumps(request.body) == json.dumps(body)
    assert request.stream is bool(body.get("stream"))


def test_a_record_fits_its_bounds_however_much_was_found() -> None:
    trace = Trace("id", "usecase/hr", "key/1", "live", 0, "0" * 64)
    trace.findings = ["input: IP address"] * 5000 + ["output: email address"] * 3

    made = json.loads(entry(trace, "call.completed", 1, {}))

    assert len(entry(trace, "call.completed", 1, {})) < 65_536
    assert made["findings"] == ["input: IP address × 5000", "output: email address × 3"]


def test_of_a_key_that_comes_twice_the_last_one_counts_and_goes_on() -> None:
    """What is judged is what is sent: no upstream reads another value than the verdict did."""
    asked = b'{"model":"approved","model":"default","messages":[{"role":"user","content":"a","content":"b"}]}'

    request = read(CHAT, asked)

    assert request.body == {"model": "default", "messages": [{"role": "user", "content": "b"}]}
    assert [slot.text for slot in request.texts] == ["default", "user", "b"]
