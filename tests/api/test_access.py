"""Who may do what over the API: signed in or not, allowed or not, of this domain or another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests import served
from tests.served import CLAIMS, HR

from bedplate.people.blank import blank_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.served import Harbour

OPEN = {("POST", "/login"), ("GET", "/ledger/key")}
KEYED = {("POST", "/feedback"), ("GET", "/use-cases/{name}/prompts/{prompt_id}")}  # a use case's key opens these too
WHY = {"reason": "a test"}
ALIAS = {"alias": "candidate", "version": "1"}
SAMPLE = {"case": "a", "passed": True}
RUN: dict[str, Any] = {
    "source": "junit",
    "name": "r.xml",
    "file": "0" * 64,
    "dataset": "1" * 64,
    "config": {},
    "samples": [SAMPLE],
}


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh(), tick_ms="600000") as server:
        yield served.harbour(server)
    assert "Traceback" not in server.said(), server.said()


def operations(harbour: Harbour) -> list[tuple[str, str]]:
    _, document = harbour.api("GET", "/api/openapi.json")
    return [(method.upper(), path) for path, item in document["paths"].items() for method in item]


def filled(path: str) -> str:
    for name, value in (
        ("{name}", HR),
        ("{window}", "0" * 12),
        ("{link}", "bpl_x"),
        ("{run}", "x"),
        ("{action}", "0" * 36),
        ("{approval}", "0" * 36),
        ("{person}", "mara.quinn"),
        ("{seen}", "0" * 12),
        ("{approval_id}", "x"),
        ("{incident_id}", "x"),
        ("{key_id}", "0" * 12),
        ("{call_id}", "0" * 36),
        ("{feedback_id}", "0" * 36),
        ("{prompt_id}", "system"),
        ("{results}", "0" * 12),
    ):
        path = path.replace(name, value)
    assert "{" not in path, path
    return f"/api{path}"


def test_every_route_needs_a_person_who_is_signed_in(harbour: Harbour) -> None:
    spent = harbour.person("gwen")
    old = spent.token
    spent.post("/api/logout", {})
    code = str(harbour.person("priya").post("/api/invitations", {"person": "new.one", "name": "New"})["code"])
    secrets = ["", harbour.keys[HR], code, old, "bpt_000000000000_" + "a" * 43, "x", "\xe9", harbour.token("leo") + "x"]

    found = operations(harbour)
    assert len(found) > 35
    for method, path in found:
        body: Any = {} if method == "POST" else None
        for secret in secrets:
            status, told = harbour.api(method, filled(path), body, secret)
            if (method, path) in OPEN:
                assert status != 401 or path == "/login"
                continue
            if (method, path) in KEYED and secret == harbour.keys[HR]:
                assert status in {404, 422}
                continue
            assert status == 401, (method, path, secret)
            assert told["error"]["code"] == "unauthenticated"
            assert told["error"]["hint"]


def test_401_says_how(harbour: Harbour) -> None:
    status, headers, _ = served.fetch(harbour.url, "/api/me")

    assert (status, headers["www-authenticate"]) == (401, "Bearer")


def test_a_code_works_once(harbour: Harbour) -> None:
    code = harbour.person("priya").post("/api/invitations", {"person": "once.only", "name": "Once"})["code"]

    assert harbour.api("POST", "/api/login", {"code": code})[0] == 200
    assert harbour.api("POST", "/api/login", {"code": code})[0] == 401


def test_a_password_signs_in_and_a_wrong_one_does_not_say_what_is_wrong(harbour: Harbour) -> None:
    harbour.person("tomas").post("/api/me/password", {"password": "correct horse battery"})

    login = {"person": "tomas.lindgren", "password": "correct horse battery"}
    status, told = harbour.api("POST", "/api/login", login)
    assert status == 200
    assert harbour.api("GET", "/api/me", token=told["token"])[1]["person"] == "tomas.lindgren"
    wrong = [{**login, "password": "wrong"}, {**login, "person": "nobody"}, {"person": "mara.quinn", "password": ""}]
    answers = [harbour.api("POST", "/api/login", w) for w in wrong]
    assert {status for status, _ in answers} == {401}
    assert len({json.dumps(told) for _, told in answers}) == 1


Row = tuple[str, str, Any, str, tuple[str, ...]]  # name, path, body, who may, who may not
MATRIX: list[Row] = [
    ("invite", "/invitations", {"person": "p.q", "name": "P"}, "priya", ("leo", "ruth", "victor")),
    ("apply the model", "/model/apply", "MODEL", "priya", ("leo", "mara", "victor")),
    ("propose", "/use-cases", "SPEC", "leo", ("daniel", "hanna", "priya", "ruth", "victor")),
    ("issue a key", f"/use-cases/{HR}/keys", {"label": "k"}, "leo", ("hanna", "daniel", "sofia", "priya", "victor")),
    ("revoke a key", "/keys/KEY/revoke", WHY, "mara", ("hanna", "daniel", "priya", "victor")),
    ("release", f"/use-cases/{HR}/releases", "FILES", "leo", ("hanna", "daniel", "priya", "victor")),
    ("evaluate", f"/use-cases/{HR}/evals", "FILES", "leo", ("hanna", "daniel", "priya", "victor")),
    ("bring in results", f"/use-cases/{HR}/evals/import", RUN, "leo", ("hanna", "daniel", "priya", "victor")),
    (
        "attach",
        f"/use-cases/{HR}/evidence",
        {"control": "red-teamed", "outcome": "proven", "summary": "s"},
        "priya",
        ("hanna", "daniel", "sofia", "ruth", "victor"),
    ),
    ("suspend", f"/use-cases/{HR}/suspend", WHY, "hanna", ("daniel", "sofia", "victor", "gwen")),
    ("resume", f"/use-cases/{HR}/resume", WHY, "mara", ("hanna", "daniel", "priya", "victor")),
    ("vote", "/approvals/APPROVAL/votes", {"answer": "yes"}, "hanna", ("mara", "leo", "sofia", "priya", "victor")),
    ("publish", "/paths", {"use_case": HR}, "mara", ("leo", "hanna", "daniel", "victor")),
    ("break the glass", f"/use-cases/{HR}/glass", {**WHY, "hours": 1}, "ruth", ("mara", "leo", "tomas", "victor")),
    ("report harm", f"/use-cases/{HR}/harm", {"title": "t"}, "mara", ("hanna", "daniel", "sofia", "victor")),
    ("move an alias", f"/use-cases/{HR}/prompts/system/aliases", ALIAS, "leo", ("hanna", "daniel", "priya", "victor")),
    ("close", "/incidents/INCIDENT/close", WHY, "mara", ("leo", "hanna", "daniel", "priya", "victor")),
    ("erase a call", "/calls/CALL/erase", WHY, "priya", ("mara", "leo", "hanna", "tomas", "victor")),
    ("hold", "/content/hold", {"use_case": HR, **WHY}, "victor", ("mara", "leo", "hanna", "daniel")),
    ("lift a hold", "/content/lift", {"use_case": HR, **WHY}, "victor", ("mara", "leo", "hanna", "daniel")),
    ("rotate the keys", "/content/rotate", WHY, "priya", ("mara", "leo", "ruth", "victor")),
    ("retire", f"/use-cases/{HR}/retire", WHY, "mara", ("leo", "hanna", "daniel", "victor")),
]


@pytest.fixture(scope="module")
def matrix() -> Iterator[Harbour]:
    with served.Server(served.fresh(), tick_ms="600000") as server:
        yield served.harbour(server)


@pytest.mark.parametrize("row", MATRIX, ids=[row[0] for row in MATRIX])
def test_one_who_may_not_is_told_who_may_and_one_who_may_does(matrix: Harbour, row: Row) -> None:
    _, path, body, may, may_not = row
    victor = matrix.person("victor")
    model = victor.get("/api/model")
    special: dict[str, Any] = {
        "MODEL": _file(_model_text()),
        "SPEC": _file(served.use_case("another-one")),
        "FILES": {"files": served.files_of(served.use_case())},
    }
    sent = special[body] if isinstance(body, str) else body
    if "KEY" in path:
        path = path.replace("KEY", victor.get(f"/api/use-cases/{HR}/keys")["keys"][0]["id"])
    if "CALL" in path:
        path = path.replace("CALL", victor.calls(use_case=HR)[0]["id"])
    if "APPROVAL" in path:
        [waiting] = [a for a in victor.approvals() if a["action"] == "incidents.resume"]
        path = path.replace("APPROVAL", waiting["id"].removeprefix("approval/"))
    if "INCIDENT" in path:
        path = path.replace("INCIDENT", victor.incidents()[0]["id"].removeprefix("incident/"))

    before = _standing(matrix)
    for person in may_not:
        status, told = matrix.api("POST", f"/api{path}", sent, matrix.token(person))
        assert status == 403, (person, told)
        error = told["error"]
        assert error["code"] == "denied"
        assert error["reasons"]
        assert all(r["control"] and r["reason"] and r["fix"] for r in error["reasons"])
        named = " ".join(r["fix"] for r in error["reasons"])
        assert next(p for p in matrix.tokens if p.startswith(may)) in named
    assert _standing(matrix) == before
    assert victor.get("/api/model") == model

    status, told = matrix.api("POST", f"/api{path}", sent, matrix.token(may))
    assert status in {200, 202}, told


def test_the_owner_of_another_domain_touches_nothing(harbour: Harbour) -> None:
    before = _standing(harbour)
    known = [(m, p) for m, p in operations(harbour) if m == "POST" and p.startswith("/use-cases/{name}/")]
    bodies: dict[str, Any] = {
        "suspend": WHY,
        "resume": WHY,
        "retire": WHY,
        "glass": {**WHY, "hours": 1},
        "keys": {"label": "k"},
        "releases": {"files": served.files_of(served.use_case())},
        "evals": {"files": served.files_of(served.use_case())},
        "import": RUN,
        "evidence": {"control": "red-teamed", "outcome": "proven", "summary": "s"},
        "harm": {"title": "t"},
        "aliases": ALIAS,
        "renew": WHY,
        "stop": WHY,
        "lift": WHY,
        "drill": {},
        "close": {**WHY, "scope": "agent/x"},
        "windows": {"agent": "payer", "tool": "bank/pay", "until": "2026-12-31"},
        "shut": WHY,
        "value": {"period": "2026-10", "value": "5"},
    }
    assert {p.rpartition("/")[2] for _, p in known} == set(bodies)
    for person in ("daniel", "sofia"):
        for _, path in known:
            body = bodies[path.rpartition("/")[2]]
            status, told = harbour.api("POST", filled(path), body, harbour.token(person))
            assert (status, told["error"]["code"]) == (403, "denied"), (path, told)
    assert _standing(harbour) == before
    # And a file that claims their domain, or takes a use case of ours into it, changes nothing either.
    theirs = served.use_case(HR, domain="claims", owner="daniel.moreau")
    status, told = harbour.api("POST", "/api/use-cases", _file(theirs), harbour.token("daniel"))
    assert status == 403, told
    assert _standing(harbour) == before


def test_a_file_of_another_use_case_is_not_released_as_this_one(harbour: Harbour) -> None:
    files = served.files_of(served.use_case(CLAIMS, domain="claims", owner="daniel.moreau"))

    status, _ = harbour.api("POST", f"/api/use-cases/{HR}/releases", {"files": files}, harbour.token("leo"))

    assert status in {403, 409, 422}
    assert harbour.person("victor").get(f"/api/use-cases/{CLAIMS}/releases")["releases"] == []


def _standing(harbour: Harbour) -> Any:
    told = harbour.person("victor").use_case(HR)
    return {k: v for k, v in told.items() if k not in {"version", "last_seq"}}


def _file(text: str) -> dict[str, str]:
    return {"name": "file.yaml", "text": text}


def _model_text() -> str:
    text = blank_model("Harbour Mutual", (served.EXAMPLE / "people.yaml").read_text())
    return text.replace("evidence_days: 90", "evidence_days: 80")
