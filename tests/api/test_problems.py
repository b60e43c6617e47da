"""One shape of error for every class of it, and files that are refused at the line that is wrong."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.served import HR

from bedplate.kernel.identity import Identities
from bedplate.people.blank import blank_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour

LONE = b'{"person":"\\ud800","name":"x"}'
DEEP = b'{"reason":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
SUSPEND = f"/use-cases/{HR}/suspend"
BAD: dict[str, tuple[str, str, Any, int]] = {
    "no such use case": ("GET", "/use-cases/none-such", None, 404),
    "no such approval": ("GET", "/approvals/x", None, 404),
    "no such vote": ("POST", "/approvals/x/votes", {"answer": "yes"}, 404),
    "no such incident": ("GET", "/incidents/x", None, 404),
    "no such call": ("GET", "/calls/" + "0" * 36, None, 404),
    "no such proof": ("GET", "/calls/" + "0" * 36 + "/proof", None, 404),
    "no such key": ("POST", "/keys/000000000000/revoke", {"reason": "x"}, 404),
    "no such path": ("POST", "/paths/none/siblings", {"id": "ab", "title": "t"}, 404),
    "no such route": ("GET", "/nothing", None, 404),
    "wrong method": ("DELETE", "/use-cases", None, 405),
    "not JSON": ("POST", SUSPEND, b"{", 422),
    "a list": ("POST", SUSPEND, b"[]", 422),
    "nothing": ("POST", SUSPEND, b"", 422),
    "unknown key": ("POST", SUSPEND, {"reason": "x", "force": True}, 422),
    "unknown key, lone surrogate": ("POST", SUSPEND, b'{"reason":"x","\\ud800":1}', 422),
    "reason missing": ("POST", SUSPEND, {}, 422),
    "reason a number": ("POST", SUSPEND, {"reason": 1}, 422),
    "reason blank": ("POST", SUSPEND, {"reason": "  "}, 422),
    "reason 1 MB": ("POST", SUSPEND, {"reason": "a" * 10**6}, 422),
    "lone surrogate": ("POST", "/invitations", LONE, 422),
    "file named by a lone surrogate": ("POST", f"/use-cases/{HR}/releases", b'{"files":{"\\ud800":"x"}}', 422),
    "file holding a lone surrogate": (
        "POST",
        f"/use-cases/{HR}/releases",
        b'{"files":{"use-case.yaml":"\\ud800"}}',
        422,
    ),
    "not UTF-8": ("POST", SUSPEND, b'{"reason":"\xff"}', 400),
    "too deep": ("POST", SUSPEND, DEEP, 400),
    "20 MiB and one": ("POST", SUSPEND, b" " * (20 << 20) + b"{}", 413),
    "NaN": ("POST", f"/use-cases/{HR}/keys", b'{"label":"k","days":NaN}', 422),
    "1e400": ("POST", f"/use-cases/{HR}/keys", b'{"label":"k","days":1e400}', 422),
    "2^64": ("POST", f"/use-cases/{HR}/keys", {"label": "k", "days": 2**64}, 422),
    "5000 digits": ("POST", f"/use-cases/{HR}/keys", b'{"label":"k","days":' + b"9" * 5000 + b"}", 400),
    "a name like a path": ("GET", "/use-cases/..%2f..%2fetc", None, 404),
    "an odd name": ("GET", "/use-cases/%00", None, 422),
    "limit 0": ("GET", "/calls?limit=0", None, 422),
    "limit text": ("GET", "/calls?limit=a", None, 422),
    "a short password": ("POST", "/me/password", {"password": "short"}, 422),
    "an unknown control": (
        "POST",
        f"/use-cases/{HR}/evidence",
        {"control": "none", "outcome": "proven", "summary": "s"},
        422,
    ),
    "no files": ("POST", f"/use-cases/{HR}/releases", {"files": {}}, 422),
    "a year and two days": ("POST", f"/use-cases/{HR}/keys", {"label": "k", "days": 367}, 422),
    "no hours": ("POST", f"/use-cases/{HR}/glass", {"reason": "r", "hours": 0}, 422),
}
ODD = [
    "/calls?text=%00",
    "/calls?text=%ff",
    "/ledger/events?stream=%00%0d%0a",
    "/approvals?state=%27%3b--",
    "/calls?use_case=%e2%80%ae",
]


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh(), tick_ms="600000") as server:
        yield served.harbour(server)
    assert "Traceback" not in server.said(), server.said()


@pytest.mark.parametrize(("method", "path", "body", "status"), BAD.values(), ids=BAD)
def test_every_error_has_one_shape(harbour: Harbour, method: str, path: str, body: Any, status: int) -> None:
    got, told = harbour.api(method, f"/api{path}", body, harbour.token("mara"))

    assert got == status, told
    assert set(told) == {"error"}
    assert set(told["error"]) >= {"code", "message", "hint"}
    assert all(isinstance(told["error"][k], str) for k in ("code", "message", "hint"))
    assert told["error"]["message"]


@pytest.mark.parametrize("path", ODD)
def test_an_odd_query_finds_nothing(harbour: Harbour, path: str) -> None:
    status, told = harbour.api("GET", f"/api{path}", token=harbour.token("mara"))

    assert status == 200
    assert [told.get(name, []) for name in ("calls", "events", "approvals")] == [[], [], []]


GOOD = served.use_case("a-new-one")
BROKEN = {
    "syntax": (GOOD.replace("bucket: efficiency", "bucket: [efficiency"), "use-case.yaml", None),
    "same key twice": (GOOD + "\nid: again\n", "use-case.yaml", None),
    "unknown key": (GOOD.replace("bucket:", "buket: x\nbucket:"), "use-case.yaml", "buket"),
    "missing": (GOOD.replace("bucket: efficiency\n", ""), "use-case.yaml", "bucket"),
    "wrong type": (GOOD.replace("baseline: 22", "baseline: many"), "use-case.yaml", "value.baseline"),
    "no such domain": (GOOD.replace("domain: people", "domain: none"), "use-case.yaml", "domain"),
    "no such question": (GOOD.replace("  acts-alone: no", "  asks-alone: no"), "use-case.yaml", "answers.asks-alone"),
    "a list": ("- a\n- b\n", "use-case.yaml", "(file)"),
    "empty": ("", "use-case.yaml", "(file)"),
    "deep": ("a: " + "[" * 500 + "]" * 500, "use-case.yaml", None),
    "a Python object": ("a: !!python/object/apply:os.system [echo]\n", "use-case.yaml", None),
    "NUL": ("a: \0\n", "use-case.yaml", None),
    "its own parent": ("a: &a\n  b: *a\n", "use-case.yaml", None),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("text", "name", "path"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("where", ["/api/use-cases/plan", "/api/use-cases"])
def test_a_broken_file_is_refused_with_file_line_and_column(
    harbour: Harbour, text: str, name: str, path: str | None, where: str
) -> None:
    before = harbour.person("victor").get("/api/ledger/events", limit=1)["size"]

    status, told = harbour.api("POST", where, {"name": name, "text": text}, harbour.token("leo"))

    assert status == 422, told
    complaints = told["error"]["complaints"]
    assert complaints
    assert all(c["file"] == name and c["line"] >= 1 and c["column"] >= 1 and c["message"] for c in complaints)
    if path is not None:
        assert path in [c["path"] for c in complaints]
    assert harbour.person("victor").get("/api/ledger/events", limit=1)["size"] == before


def test_the_place_is_the_place(harbour: Harbour) -> None:
    text = GOOD.replace("domain: people", "domain: none").replace("    top: 4", "    top: 4")
    line = text.split("\n").index("domain: none") + 1

    _, told = harbour.api("POST", "/api/use-cases", {"name": "my.yaml", "text": text}, harbour.token("leo"))

    [complaint] = told["error"]["complaints"]
    assert (complaint["file"], complaint["line"], complaint["path"]) == ("my.yaml", line, "domain")


def test_a_broken_model_changes_nothing(harbour: Harbour) -> None:
    before = harbour.person("victor").get("/api/model")
    model = blank_model("Harbour Mutual", (served.EXAMPLE / "people.yaml").read_text())
    for broken in (
        model.replace("quorum: 2", "quorum: 9"),
        model.replace("keep_days: 184", "keep_days: 183"),
        model.replace("[{body: domain, decides: ownership}]", "[{body: coe, decides: business-risk}]"),
        model.replace("controls: [sources-versioned", "controls: [no-such-control, sources-versioned"),
        model + "unheard: of\n",
    ):
        assert broken != model
        for where in ("/api/model/plan", "/api/model/apply"):
            status, told = harbour.api("POST", where, {"name": "m.yaml", "text": broken}, harbour.token("priya"))
            assert (status, bool(told["error"]["complaints"])) == (422, True)
    assert harbour.person("victor").get("/api/model") == before


def test_a_vote_repeated_with_its_request_is_counted_once(harbour: Harbour) -> None:
    asked = harbour.api("POST", "/api/use-cases", {"name": "f", "text": served.use_case("voted")}, harbour.token("leo"))
    assert asked[0] == 202, asked
    approval = str(asked[1]["error"]["approval"]).removeprefix("approval/")
    request = Identities(lambda: 1_790_000_000_000_000).next()
    path, token = f"/api/approvals/{approval}/votes", harbour.token("hanna")
    body = {"answer": "yes", "reason": "good", "request": request}

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: harbour.api("POST", path, body, token), range(8)))

    assert sorted(status for status, _ in answers) == [200, *[409] * 7]
    events = harbour.person("victor").get("/api/ledger/events", stream=f"approval/{approval}")["events"]
    assert [e["kind"] for e in events].count("kernel.approval.voted") == 1
    assert events[-2]["id"] == request
    assert harbour.api("POST", path, {**body, "request": "not-a-uuid"}, token)[0] == 422
    other = harbour.api("POST", path, {**body, "answer": "no", "reason": "bad"}, token)
    assert other[0] == 409


def test_a_no_needs_a_reason_and_declines(harbour: Harbour) -> None:
    asked = harbour.api(
        "POST", "/api/use-cases", {"name": "f", "text": served.use_case("refused")}, harbour.token("leo")
    )
    path = f"/api/approvals/{str(asked[1]['error']['approval']).removeprefix('approval/')}/votes"

    assert harbour.api("POST", path, {"answer": "no"}, harbour.token("hanna"))[0] == 422
    assert harbour.api("POST", path, {"answer": "no", "reason": "not now"}, harbour.token("hanna"))[0] == 200
    assert harbour.person("leo").use_case("refused")["stage"] == "declined"


def test_a_client_that_leaves_mid_body_changes_nothing(harbour: Harbour) -> None:
    import socket  # noqa: PLC0415

    before = harbour.person("victor").use_case(HR)
    body = json.dumps({"reason": "half"}).encode()
    with socket.create_connection(("127.0.0.1", int(harbour.url.rpartition(":")[2])), timeout=10) as client:
        client.sendall(
            b"POST /api/use-cases/%s/suspend HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
            b"authorization: Bearer %s\r\ncontent-length: %d\r\n\r\n%s"
            % (HR.encode(), harbour.token("mara").encode(), len(body) + 1, body)
        )
    assert harbour.person("victor").use_case(HR) == before


def test_a_billion_laughs_are_refused(harbour: Harbour) -> None:
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in pairs)

    status, told = harbour.api("POST", "/api/use-cases/plan", {"name": "f", "text": text}, harbour.token("leo"))

    assert status == 422
    assert told["error"]["complaints"][0]["line"] == 2
