"""What nobody who may not is allowed to make this server do: stand still, write to its disk, say what there is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests import served
from tests.served import HR, RIGHTS

from bedplate.api.limits import too_intricate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour, Server

MILLIONS = 20 << 20
SECONDS = 2.0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served.Server(served.fresh(), tick_ms="600000") as running:
        yield running
    assert "Traceback" not in running.said(), running.said()


@pytest.fixture(scope="module")
def harbour(server: Server) -> Harbour:
    return served.harbour(server)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]" * (MILLIONS // 2), "holds more than 100000"),
        (b"[" + b"{}," * (MILLIONS // 3) + b"{}]", "holds more than 100000"),
        (b"[" * 65 + b"]" * 65, "nested more than 64"),
        (b"[" * 64 + b"]" * 64, ""),
        (b"[]" * 65 + b'"' * MILLIONS, ""),
        (b"[]" * 65 + b'"' + b"\\" * (MILLIONS + 1), ""),
        (b"[]" * 65 + b'"' + b"[{" * (MILLIONS // 2) + b'"', ""),
        (b'["\\"[[[' + b"[" * 100 + b'"]', ""),
        (b'["\\\\"' + b"[" * 65, "nested more than 64"),
    ],
    ids=["pairs", "objects", "deep", "as deep as may be", "quotes", "backslashes", "text", "escaped", "not escaped"],
)
def test_brackets_are_counted_in_linear_time(body: bytes, why: str) -> None:
    began = time.process_time()

    found = too_intricate(body)

    assert (why in found) if why else not found
    assert time.process_time() - began < SECONDS


def test_who_did_not_sign_in_is_told_at_once(harbour: Harbour) -> None:
    status, told = harbour.api("POST", "/api/login", b"[]" * (MILLIONS // 2))

    assert status == 400
    assert "lists and objects" in told["error"]["message"]


def test_a_body_of_millions_of_values_is_refused_before_it_is_read_twice(harbour: Harbour) -> None:
    body = b'{"model":"default","messages":[{"role":"user","content":"hi"}],"z":[' + b"{}," * 5_000_000 + b"1]}"

    status, told = harbour.api("POST", "/access/v1/ext_authz/v1/chat/completions", body, harbour.keys[HR])

    assert status == 403
    assert "300000 values" in told["error"]["message"]


def test_who_may_not_index_writes_nothing_to_the_disk(server: Server, harbour: Harbour) -> None:
    folder = server.data / "indexes"
    files = served.files_of(served.use_case()) | {"handbook/99-more.md": "# More\n\n## More\n\nof it.\n"}
    before = {path.name for path in folder.iterdir()}

    status, told = harbour.api("POST", f"/api/use-cases/{HR}/evals", {"files": files}, harbour.token("victor"))

    assert status == 403
    assert "data:source:index" in told["error"]["message"]
    assert {path.name for path in folder.iterdir()} == before
    denied = harbour.api("GET", "/api/ledger/events?kind=kernel.action.denied", token=harbour.token("victor"))[1]
    assert any(e["data"]["action"] == "data.index" for e in denied["events"])


def test_of_anothers_call_not_even_that_there_is_one_is_told(harbour: Harbour) -> None:
    _, _, _ = served.fetch(harbour.url, "/healthz")
    status, headers, _ = served.fetch(
        harbour.url,
        "/v1/chat/completions",
        "POST",
        b'{"model":"default","messages":[{"role":"user","content":"hi"}]}',
        {"authorization": f"Bearer {harbour.keys[RIGHTS]}"},
    )
    assert status == 200
    theirs = headers["x-bedplate-call-id"]
    nobodys = theirs[:-4] + "0000"

    told = [
        harbour.api("POST", "/api/feedback", {"call": c, "kind": "thumb", "value": "up"}, harbour.keys[HR])
        for c in (theirs, nobodys)
    ]

    assert [status for status, _ in told] == [404, 404]
    assert str(told[0]).replace(theirs, "") == str(told[1]).replace(nobodys, "")
