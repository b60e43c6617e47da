"""Feedback over the API: who may speak of which call, once, on record like a call; harm; eval cases made from it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from tests import served
from tests.served import CLAIMS, HR, LEAVE, RIGHTS

from bedplate import bootstrap
from bedplate.errors import Conflict, Denied, InvalidInput, NotFound, Unauthenticated
from bedplate.kernel.identity import Identities
from bedplate.models.suite import parse_suite
from bedplate.sdk import Client
from bedplate.store.note import VerifierKey
from bedplate.store.proof import Proof, verify
from bedplate.store.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.served import Harbour

MINT = Identities(bootstrap.wall_clock)


@pytest.fixture(scope="module")
def harbour() -> Iterator[Harbour]:
    with served.Server(served.fresh(), tick_ms="600000") as server:
        yield served.harbour(server)
    assert "Traceback" not in server.said(), server.said()


def app(harbour: Harbour, use_case: str = HR) -> Client:
    """Return a client that speaks with a use case's key, as an app does."""
    return Client(harbour.url, harbour.keys[use_case])


def called(harbour: Harbour, use_case: str = HR, question: str = LEAVE) -> str:
    """Make a call; returns its id."""
    harbour.call(served.ask(question), use_case)
    return str(harbour.person("victor").calls(use_case=use_case, limit=1)[0]["id"])


def of_call(harbour: Harbour, call: str) -> list[dict[str, Any]]:
    return list(harbour.person("victor").get("/api/feedback", call=call)["feedback"])


def test_an_app_says_what_its_user_thinks(harbour: Harbour) -> None:
    call = called(harbour)

    given = app(harbour).feedback(call, "thumb", "down", comment="that is last year's rule", by="user-7")

    [record] = of_call(harbour, call)
    assert (record["id"], record["feedback"], record["value"]) == (given["id"], "thumb", "down")
    assert record["giver"].startswith("key/")
    assert record["leaf"] == harbour.person("victor").call(call)["leaf"], "it names its call's own record"
    assert UUID(given["id"]).version == 7
    assert given["incident"] == ""


def test_what_may_have_to_be_erased_is_sealed(harbour: Harbour) -> None:
    call = called(harbour)
    given = app(harbour).feedback(call, "correction", "It is 25 days, Ms Orban.", comment="sigh", by="user-7")
    shown = harbour.person("victor").get(f"/api/feedback/{given['id']}")

    assert shown["said"] == {"correction": "It is 25 days, Ms Orban.", "comment": "sigh", "by": "user-7"}
    entry = {k: v for k, v in shown.items() if k != "said"}
    assert not any(word in str(entry) for word in ("Orban", "sigh", "user-7"))
    assert harbour.person("daniel").get(f"/api/feedback/{given['id']}")["said"] is None, "another domain's owner"


def test_it_is_no_call(harbour: Harbour) -> None:
    call = called(harbour)
    given = app(harbour).feedback(call, "label", "outdated")
    victor = harbour.person("victor")

    for filters in ({"use_case": HR}, {}, {"text": given["id"]}, {"verdict": "label"}):
        assert given["id"] not in {c["id"] for c in victor.calls(**filters, limit=1000)}
    with pytest.raises(NotFound, match="is feedback about a call"):
        victor.call(given["id"])
    with pytest.raises(NotFound, match="is a call, not feedback"):
        victor.get(f"/api/feedback/{call}")
    with pytest.raises(NotFound):
        app(harbour).feedback(given["id"], "thumb", "up")


def test_it_is_proven_like_a_call(harbour: Harbour) -> None:
    given = app(harbour).feedback(called(harbour), "thumb", "up")
    victor = harbour.person("victor")

    proof = Proof.parse(victor.prove(given["id"]).encode())
    keys = [VerifierKey.parse(key) for key in victor.public_keys().split()]

    assert verify(proof, keys).call["id"] == given["id"]


def test_a_request_sent_twice_is_one_record(harbour: Harbour) -> None:
    call, request = called(harbour), MINT.next()

    first = app(harbour).feedback(call, "thumb", "down", comment="no", request=request)
    again = app(harbour).feedback(call, "thumb", "down", comment="no", request=request)

    assert (first["id"], first["again"], again["again"]) == (request, False, True)
    assert len(of_call(harbour, call)) == 1
    for about, value, comment in ((call, "up", "no"), (call, "down", "other"), (called(harbour), "down", "no")):
        with pytest.raises(Conflict, match="something else"):
            app(harbour).feedback(about, "thumb", value, comment=comment, request=request)
    with pytest.raises(Conflict):
        app(harbour).feedback(call, "thumb", "down", request=call)


def test_a_key_speaks_of_its_own_calls_only(harbour: Harbour) -> None:
    call = called(harbour)

    for speaker, about in ((RIGHTS, call), (HR, MINT.next())):
        with pytest.raises(NotFound, match=f"^no call {about} is on record"):
            app(harbour, speaker).feedback(about, "thumb", "down")
    for secret in ("", "bpk_000000000000_" + "a" * 43, harbour.keys[HR] + "x"):
        with pytest.raises(Unauthenticated):
            Client(harbour.url, secret).feedback(call, "thumb", "down")
    assert of_call(harbour, call) == []


def test_a_key_that_has_ended_says_nothing(harbour: Harbour) -> None:
    call = called(harbour)
    issued = harbour.person("leo").issue_key(HR, "short")
    harbour.person("leo").post(f"/api/keys/{issued['id']}/revoke", {"reason": "a test"})

    with pytest.raises(Unauthenticated, match="has ended"):
        Client(harbour.url, issued["key"]).feedback(call, "thumb", "down")


def test_a_person_speaks_who_may(harbour: Harbour) -> None:
    call = called(harbour)

    for nobody in ("victor", "daniel"):
        with pytest.raises(Denied) as denied:
            harbour.person(nobody).feedback(call, "thumb", "up")
        assert all(fix for _, _, fix in denied.value.reasons)
    assert of_call(harbour, call) == []
    harbour.person("hanna").feedback(call, "thumb", "up")
    assert of_call(harbour, call)[0]["giver"] == "person/hanna.osei"


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("thumb", "sideways", "up or down"),
        ("label", "Two words", "one word"),
        ("label", "", "one word"),
        ("correction", " ", "the right answer"),
        ("harm", "Somebody was hurt", "one word"),
    ],
)
def test_what_does_not_fit_is_refused(harbour: Harbour, kind: Any, value: str, says: str) -> None:
    call = called(harbour)

    with pytest.raises(InvalidInput, match=says):
        app(harbour).feedback(call, kind, value)
    assert of_call(harbour, call) == []


def test_what_can_be_said_of_one_call_is_bounded(harbour: Harbour) -> None:
    call = called(harbour)
    for _ in range(50):
        app(harbour).feedback(call, "thumb", "up")

    with pytest.raises(Conflict, match="50 records"):
        app(harbour).feedback(call, "thumb", "up")


def test_a_person_cannot_flood_it(harbour: Harbour) -> None:
    call, ruth = called(harbour), harbour.token("ruth")
    body = {"call": call, "kind": "label", "value": "x"}

    told = [served.fetch(harbour.url, "/api/feedback", "POST", _json(body), _headers(ruth)) for _ in range(70)]

    assert [status for status, _, _ in told if status not in {200, 409}][:1] == [429]
    status, headers, _ = told[-1]
    assert (status, headers["retry-after"]) == (429, "10")


# eval cases


def test_a_correction_becomes_a_case_of_the_teams_file(harbour: Harbour) -> None:
    call = called(harbour)
    given = app(harbour).feedback(call, "correction", 'It is "25" days:\n- for all # of us')
    leo = harbour.person("leo")

    made = leo.to_evals(given["id"])
    again = leo.to_evals(given["id"])

    assert made == again
    assert made["case"]["question"] == LEAVE
    assert made["case"]["expect"] == {"contains": ['It is "25" days:\n- for all # of us']}
    waiting = leo.get(f"/api/use-cases/{HR}/feedback/pending")
    assert made["case"] in waiting["cases"]
    suite = parse_suite("cases:\n" + waiting["yaml"], "evals.yaml")
    assert [c.id for c in suite.cases] == [c["id"] for c in waiting["cases"]]
    assert len({c.id for c in suite.cases}) == len(suite.cases)


def test_a_thumb_down_needs_the_right_answer(harbour: Harbour) -> None:
    call = called(harbour)
    given = app(harbour).feedback(call, "thumb", "down")
    leo = harbour.person("leo")

    with pytest.raises(InvalidInput, match="--contains TEXT"):
        leo.to_evals(given["id"])
    first = leo.to_evals(given["id"], contains="25 days")
    assert first["case"]["expect"] == {"contains": ["25 days"]}
    assert leo.to_evals(given["id"], contains="25 days") == first
    assert [r["feedback"] for r in of_call(harbour, call)] == ["correction", "thumb"], "what was said is on record"
    declined = leo.to_evals(given["id"], unanswered=True)
    assert declined["case"]["expect"] == {"unanswered": True}
    assert declined["case"]["id"] == f"feedback-{given['id']}"


def test_praise_is_no_eval_case(harbour: Harbour) -> None:
    for kind, value in (("thumb", "up"), ("label", "x")):
        given = app(harbour).feedback(called(harbour), kind, value)  # type: ignore[arg-type]  # one of the two
        with pytest.raises(InvalidInput, match="only a correction"):
            harbour.person("leo").to_evals(given["id"])


def test_eval_cases_are_made_by_those_who_may_read_and_propose(harbour: Harbour) -> None:
    given = app(harbour).feedback(called(harbour), "correction", "25 days")

    for nobody in ("victor", "hanna", "daniel", "ruth"):
        with pytest.raises(Denied):
            harbour.person(nobody).to_evals(given["id"])
    with pytest.raises(Denied):
        harbour.person("daniel").get(f"/api/use-cases/{HR}/feedback/pending")
    assert harbour.person("hanna").get(f"/api/use-cases/{HR}/feedback/pending")["lost"] == 0


def test_a_case_that_an_evaluation_had_waits_no_more_and_what_is_erased_is_gone() -> None:
    data = served.fresh()
    with served.Server(data, tick_ms="600000") as server:
        at = served.harbour(server)
        leo = at.person("leo")
        ids = [app(at).feedback(called(at), "correction", "25 days")["id"] for _ in range(3)]
        for feedback in ids:
            leo.to_evals(feedback)
        [taken, *_] = waiting = leo.get(f"/api/use-cases/{HR}/feedback/pending")["cases"]
        assert len(waiting) == 3

        files = served.files_of(served.use_case())
        files["evals.yaml"] += f"  - id: {taken['id']}\n    question: {LEAVE}\n    expect: {{contains: [days]}}\n"
        leo.release(HR, files)
        vault = Vault(data / "vault.db", data / "keys" / "kek")
        assert vault.erase([ids[1]]) == 1
        vault.close()

        left = leo.get(f"/api/use-cases/{HR}/feedback/pending")
        assert [c["id"] for c in left["cases"]] == [f"feedback-{ids[2]}"]
        assert left["lost"] == 1
        assert at.person("victor").get(f"/api/feedback/{ids[1]}")["said"] is None
        assert at.person("victor").prove(ids[1]), "that it was said is proven still"


# harm, and what monitors see


@pytest.fixture(scope="module")
def watched() -> Iterator[Harbour]:
    """A server whose worker goes round."""
    with served.Server(served.fresh(), tick_ms="50") as server:
        yield served.harbour(server)


def test_harm_opens_an_incident_at_once(watched: Harbour) -> None:
    call, request = called(watched), MINT.next()
    mara = watched.person("mara")

    given = app(watched).feedback(call, "harm", "wrong-dose", comment="she was told to", request=request)

    assert given["incident"] in {i["id"] for i in mara.incidents(only_open=True)}
    shown = mara.get(f"/api/incidents/{given['incident'].removeprefix('incident/')}")
    assert (shown["severity"], shown["owner"], shown["rung"]) == ("harm", "mara.quinn", "off")
    assert shown["frozen"]["call"]["id"] == call
    assert shown["frozen"]["feedback"]["id"] == given["id"]
    assert "she was told to" not in str(shown), "what was said can be erased"
    assert watched.call(served.ask())[0] == 403, "it answers no more"

    again = app(watched).feedback(call, "harm", "wrong-dose", comment="she was told to", request=request)
    other = app(watched).feedback(call, "harm", "wrong-dose", by="somebody else")
    assert again["incident"] == other["incident"] == given["incident"], "one call, one incident"
    mara.close_incident(given["incident"], "looked into")
    once_more = app(watched).feedback(call, "harm", "wrong-dose", comment="she was told to", request=request)
    assert once_more["incident"] == given["incident"], "a request that is sent again opens nothing"


def test_thumbs_down_are_a_breach(watched: Harbour) -> None:
    calls = [called(watched, RIGHTS) for _ in range(6)]
    for call in calls[:4]:
        app(watched, RIGHTS).feedback(call, "thumb", "down")
    app(watched, RIGHTS).feedback(calls[4], "thumb", "down")
    app(watched, RIGHTS).feedback(calls[4], "thumb", "up")  # changed their mind

    [incident] = _until(lambda: [i for i in watched.person("mara").incidents() if i["cause"] == "monitor/thumbs-down"])

    assert incident["subject"] == f"usecase/{RIGHTS}"
    assert incident["severity"] == "breach"
    [seen] = watched.person("mara").get(f"/api/use-cases/{RIGHTS}/measures", monitor="thumbs-down")["measures"]
    assert (seen["calls"], seen["breach"]) == (5, "yes"), "the call that nobody rated does not count"
    frozen = watched.person("mara").get(f"/api/incidents/{incident['id'].removeprefix('incident/')}")["frozen"]
    assert {c["id"] for c in frozen["calls"]} == set(calls[:5])


def test_nothing_is_measured_where_nobody_says_anything(watched: Harbour) -> None:
    assert watched.person("mara").get(f"/api/use-cases/{CLAIMS}/measures")["measures"] == []


def _until(look: Callable[[], list[Any]]) -> list[Any]:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def _headers(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "content-type": "application/json"}


def _json(body: object) -> bytes:
    return json.dumps(body).encode()
