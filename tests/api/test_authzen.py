"""The verdict for other enforcement points: AuthZEN's shapes, the same answer as a call gets, and Envoy's."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.test_door import HR, OTHER, SECRET, Gateway, Records

from bedplate.api.access import EVALUATION, EVALUATIONS, EXT_AUTHZ, METADATA, MOST, Access
from bedplate.errors import Unavailable
from bedplate.gateway.budget import Limits
from bedplate.gateway.session import DRAFT
from bedplate.kernel.clock import DAY
from bedplate.kernel.standing import Rung
from bedplate.testing import ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Mapping

USE_CASE = HR.partition("/")[2]
CARD = "4111 1111 1111 1111"
Answered = tuple[int, dict[str, str], Any]


def post(gateway: Gateway, path: str, body: Any, key: str = "good", method: str = "POST", **headers: str) -> Answered:
    """Make one request of the application; returns status, headers, and the body parsed where it is JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {"host": "pdp.example", **({"authorization": f"Bearer {key}"} if key else {}), **headers}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "scheme": "https",
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in told.items()],
    }
    asyncio.run(Access(gateway.door)(scope, receive, send))
    content = b"".join(m.get("body", b"") for m in sent)
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], found, json.loads(content) if "json" in found.get("content-type", "") else content


def question(model: str = "default", **more: Any) -> dict[str, Any]:
    """Return AuthZEN's question whether a model may be called."""
    return {
        "subject": {"type": "user", "id": "alice@example.com"},
        "action": {"name": "call"},
        "resource": {"type": "model", "id": model},
        **more,
    }


def asked(text: str = "How many days?", **more: Any) -> dict[str, Any]:
    return {"model": "default", "messages": [{"role": "user", "content": text}], **more}


def decided(gateway: Gateway, body: Any, **headers: str) -> dict[str, Any]:
    status, _, told = post(gateway, EVALUATION, body, **headers)
    assert status == 200, told
    return dict(told)


def controls(told: Mapping[str, Any]) -> list[str]:
    assert all(reason["reason"] and reason["fix"] for reason in told["context"]["reasons"])
    return [reason["control"] for reason in told["context"]["reasons"]]


def test_what_is_allowed_is_told_and_neither_recorded_nor_counted() -> None:
    gateway = Gateway()

    told = decided(gateway, question())

    assert told == {"decision": True, "context": {"tier": 1, "rung": "act", "release": "r" * 64}}
    assert gateway.records.entries == []
    assert gateway.budgets.today(HR, gateway.clock()).calls == 0


def test_a_denial_has_its_reasons_and_is_on_record_as_a_refusal() -> None:
    gateway = Gateway(standing={"suspended": "a drill"})

    told = decided(gateway, question())

    assert told["decision"] is False
    assert controls(told) == ["not-suspended"]
    assert "a drill" in told["context"]["reason"]
    found = gateway.records.last
    assert (found["kind"], found["route"], found["dialect"], found["verdict"]) == (
        "call.refused",
        "live",
        "authzen",
        "deny",
    )
    assert (found["id"], found["use_case"], found["key"]) == (told["context"]["id"], HR, "key/1")
    assert found["reasons"][0][0] == "not-suspended"


PROMPTS = ["How many days?", f"pay with {CARD}", f"my key is {SECRET}", "long " * 8001]


@settings(max_examples=60, deadline=None)
@given(
    tier=st.integers(0, 4),
    standing=st.fixed_dictionaries(
        {
            "stage": st.sampled_from(["live", "live", "live", "accepted", "retired"]),
            "suspended": st.sampled_from(["", "", "", "a drill"]),
            "rung": st.sampled_from(Rung),
        }
    ),
    days=st.sampled_from([1, 1, 100, 400]),
    unproven=st.sampled_from([[], [], ["guardrail-input/secrets"]]),
    model=st.sampled_from(["default", "gpt-4o-mini", USE_CASE, "gpt-5", "default "]),
    prompt=st.sampled_from(PROMPTS),
    most=st.integers(1, 3),
    used=st.integers(0, 3),
    tokens=st.sampled_from([1, 150, 100_000]),
    upstream=st.sampled_from(["default", "default", "gone"]),
)
def test_it_is_the_verdict_of_a_call(
    tier: int,
    standing: dict[str, Any],
    days: int,
    unproven: list[str],
    model: str,
    prompt: str,
    most: int,
    used: int,
    tokens: int,
    upstream: str,
) -> None:
    def house() -> Gateway:
        made = Gateway(
            tier=max(1, tier),
            standing={**standing, "tier": tier},
            recipe={"calls_per_day": most, "tokens_per_day": 100_000 if tokens == 1 else 600, "upstream": upstream},
            upstream=ScriptedUpstream(),
        )
        facts = {
            **made.snapshot.standings[HR].facts,
            "releases.live_at": made.clock.now - days * DAY,
            "gateway.unproven": unproven,
        }
        object.__setattr__(made.snapshot.standings[HR], "facts", facts)
        for _ in range(used):
            made.budgets.reserve(HR, Limits(), tokens, 0, made.clock())
        return made

    body = {**asked(prompt), "model": model}
    called, judged = house(), house()
    answer = called.ask(**body)
    told = decided(judged, question(model, context={"request": body, "fulfils": ["draft", "request"]}))

    assert isinstance(called.upstream, ScriptedUpstream)
    reached = bool(called.upstream.seen)
    assert told["decision"] is reached
    if standing["rung"] is not Rung.READ:  # where a call is answered with quotes, and no model is asked
        assert told["decision"] is (answer.status != 403)
    if answer.status == 403:
        assert answer.body is not None
        assert told["context"]["reasons"] == answer.body["error"]["reasons"]
    owed = told["context"].get("obligations", {})
    if reached:
        sent = owed.get("request", body)
        assert sent["messages"] == called.upstream.seen[0]["messages"][-1:]
        assert (owed.get("draft", "") == DRAFT) is (standing["rung"] is Rung.PROPOSE)
    assert judged.records.kinds == ([] if reached else ["call.refused"])
    before = judged.budgets.today(HR, judged.clock())
    assert (before.calls, before.tokens) == (used, used * tokens)


def test_without_the_request_controls_and_budget_decide() -> None:
    gateway = Gateway(recipe={"calls_per_day": 1})
    assert decided(gateway, question())["decision"] is True
    assert decided(gateway, question())["decision"] is True, "asking is not calling"
    assert gateway.ask().status == 200
    assert controls(decided(gateway, question())) == ["within-budget"]
    assert controls(decided(gateway, question("gpt-5"))) == ["model-approved", "within-budget"]


@pytest.mark.parametrize(
    ("made", "request_body", "control"),
    [
        ({"standing": {"rung": Rung.PROPOSE}}, None, "rung-open"),
        ({"tier": 3}, asked(f"pay with {CARD}"), "guardrail-input"),
    ],
)
def test_what_an_enforcement_point_does_not_say_it_does_is_not_left_to_it(
    made: dict[str, Any], request_body: Any, control: str
) -> None:
    context = {} if request_body is None else {"request": request_body}
    gateway = Gateway(**made)

    told = decided(gateway, question(context=context))

    assert (told["decision"], controls(told)) == (False, [control])
    assert gateway.records.kinds == ["call.refused"]
    assert decided(Gateway(**made), question(context={**context, "fulfils": ["draft", "request"]}))["decision"] is True


def test_what_was_taken_out_comes_back() -> None:
    told = decided(Gateway(tier=3), question(context={"request": asked(f"pay with {CARD}"), "fulfils": ["request"]}))

    assert told["decision"] is True
    assert CARD not in json.dumps(told)
    assert "[redacted: payment card]" in told["context"]["obligations"]["request"]["messages"][0]["content"]


@pytest.mark.parametrize("dialect", ["messages", "responses"])
def test_a_request_may_be_of_any_protocol(dialect: str) -> None:
    body = {"messages": asked(f"key {SECRET}", max_tokens=9)}.get(
        dialect, {"model": "default", "input": f"key {SECRET}"}
    )

    told = decided(Gateway(), question(context={"request": body, "dialect": dialect}))

    assert (told["decision"], controls(told)) == (False, ["guardrail-input"])


OTHERS = {
    "another use case": {"subject": {"type": "use-case", "id": "other"}},
    "another use case by its subject": {"subject": {"type": "usecase", "id": OTHER}},
    "another action": {"action": {"name": "read"}},
    "another resource": {"resource": {"type": "document", "id": "default"}},
    "another model in the request": {"context": {"request": {**asked(), "model": "gpt-4o-mini"}}},
    "a request that is none": {"context": {"request": {"model": "default"}}},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_what_is_not_a_call_of_the_keys_use_case_is_denied(change: dict[str, Any]) -> None:
    gateway = Gateway()

    told = decided(gateway, {**question(), **change})

    assert told["decision"] is False
    assert controls(told) in (["authority"], ["request"])
    assert gateway.records.kinds == ["call.refused"]
    assert gateway.records.last["use_case"] == HR


@pytest.mark.parametrize("subject", [None, {"type": "use-case", "id": USE_CASE}, {"type": "usecase", "id": HR}])
def test_the_subject_is_the_keys_use_case_or_left_out(subject: Any) -> None:
    assert decided(Gateway(), {**question(), "subject": subject})["decision"] is True


MALFORMED = {
    "not JSON": b"{",
    "a list": [],
    "no action": {"resource": {"type": "model", "id": "default"}},
    "an action without a name": question(action={}),
    "no resource": {"action": {"name": "call"}},
    "a resource without an id": question(resource={"type": "model"}),
    "a subject without a type": question(subject={"id": "x"}),
    "a number for a name": question(resource={"type": "model", "id": 7}),
    "a name without end": question("x" * 201),
    "a list for a context": question(context=[]),
    "an unknown protocol": question(context={"dialect": "morse"}),
    "a text for a request": question(context={"request": "hi"}),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_a_question_is_400(body: Any) -> None:
    gateway = Gateway()

    status, _, told = post(gateway, EVALUATION, body)

    assert status == 400
    assert told["error"]["message"]
    assert gateway.records.entries == []


@pytest.mark.parametrize("key", ["", "unknown", "revoked", "ended"])
@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS, f"{EXT_AUTHZ}/v1/chat/completions"])
def test_a_key_that_is_unknown_or_has_ended_is_401(path: str, key: str) -> None:
    status, headers, _ = post(Gateway(), path, question(), key)

    assert (status, headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("path", "key", "method", "status"),
    [
        (EVALUATION, "good", "POST", 200),
        (EVALUATION, "", "POST", 401),
        (EVALUATION, "good", "PUT", 405),
        (METADATA, "", "POST", 405),
        ("/access/v1/search/subject", "good", "POST", 404),
    ],
)
def test_the_requests_id_goes_back_with_whatever_is_answered(path: str, key: str, method: str, status: int) -> None:
    told, headers, _ = post(Gateway(), path, question(), key, method, x_request_id="bfe9eb29-ab87")

    assert (told, headers["x-request-id"]) == (status, "bfe9eb29-ab87")


@pytest.mark.parametrize("records", [Records(healthy=False), Records(fails=Unavailable("the journal is away"))])
def test_what_cannot_be_recorded_is_not_decided(records: Records) -> None:
    gateway = Gateway(standing={"suspended": "a drill"}, records=records)

    assert post(gateway, EVALUATION, question())[0] == 503
    assert post(gateway, f"{EXT_AUTHZ}/v1/chat/completions", asked())[0] == 503
    _, _, told = post(gateway, EVALUATIONS, {**question(), "evaluations": [{}]})
    assert [e["decision"] for e in told["evaluations"]] == [False]
    assert told["evaluations"][0]["context"]["error"]["status"] == 503


def test_the_metadata_names_what_is_served_and_nothing_else() -> None:
    status, _, told = post(Gateway(), METADATA, b"", "", "GET")

    assert status == 200
    assert told == {
        "policy_decision_point": "https://pdp.example",
        "access_evaluation_endpoint": "https://pdp.example/access/v1/evaluation",
        "access_evaluations_endpoint": "https://pdp.example/access/v1/evaluations",
    }


# Several at once


def several(gateway: Gateway, *items: Any, **more: Any) -> list[Any]:
    status, _, told = post(gateway, EVALUATIONS, {**question(), "evaluations": [*items], **more})
    assert status == 200, told
    assert "decision" not in told
    return list(told["evaluations"])


def of(model: str) -> dict[str, Any]:
    return {"resource": {"type": "model", "id": model}}


def test_several_are_answered_in_order_with_what_they_leave_out_taken_from_above() -> None:
    gateway = Gateway()

    told = several(gateway, {}, of("gpt-5"), {"resource": {}}, of("gpt-4o-mini"), "none")

    assert [e["decision"] for e in told] == [True, False, False, True, False]
    assert controls(told[1]) == ["model-approved"]
    assert [told[place]["context"]["error"]["status"] for place in (2, 4)] == [400, 400]
    assert gateway.records.kinds == ["call.refused"]


@pytest.mark.parametrize(
    ("semantic", "decisions"),
    [
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
def test_a_semantic_may_end_them_early(semantic: str, decisions: list[bool]) -> None:
    options = {"evaluations_semantic": semantic}

    told = several(Gateway(), of("default"), of("gpt-5"), of("default"), options=options)

    assert [e["decision"] for e in told] == decisions


@pytest.mark.parametrize(
    "more",
    [
        {"evaluations": [{}] * (MOST + 1)},
        {"evaluations": {"a": 1}},
        {"evaluations": [{}], "options": {"evaluations_semantic": "whatever"}},
        {"evaluations": [{}], "options": [7]},
    ],
)
def test_what_cannot_be_answered_as_a_whole_is_400(more: dict[str, Any]) -> None:
    assert post(Gateway(), EVALUATIONS, {**question(), **more})[0] == 400


def test_without_a_list_it_is_one_question() -> None:
    assert post(Gateway(), EVALUATIONS, question())[2]["decision"] is True


# Envoy

TWO_MODELS = b'{"model": "gpt-5", "model": "default", "messages": [{"role": "user", "content": "hi"}]}'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", asked()),
        ("/v1/messages", asked(max_tokens=9)),
        ("/v1/responses", {"model": "default", "input": "hi"}),
    ],
)
def test_envoy_lets_a_call_go_on(path: str, body: Any) -> None:
    gateway = Gateway()

    status, headers, content = post(gateway, EXT_AUTHZ + path, body)

    assert (status, content) == (200, b"")
    assert headers["x-bedplate-verdict"] == "allow"
    assert gateway.records.entries == []


def test_envoys_client_reads_a_refusal_in_its_own_protocol() -> None:
    gateway = Gateway()

    status, headers, told = post(gateway, f"{EXT_AUTHZ}/v1/chat/completions", asked(f"my key is {SECRET}"))

    assert status == 403
    assert told["error"]["reasons"][0]["control"] == "guardrail-input"
    assert headers["x-bedplate-call-id"] == gateway.records.last["id"]
    assert (gateway.records.last["route"], gateway.records.last["dialect"]) == ("live", "ext_authz")


def test_anthropics_key_header_does_as_well() -> None:
    body = asked(max_tokens=9)
    assert post(Gateway(), f"{EXT_AUTHZ}/v1/messages", body, "", x_api_key="good")[0] == 200


@pytest.mark.parametrize("made", [{"standing": {"rung": Rung.PROPOSE}}, {"tier": 3}, {"standing": {"rung": Rung.READ}}])
def test_envoy_changes_nothing_so_what_must_be_changed_is_refused(made: dict[str, Any]) -> None:
    gateway = Gateway(**made)

    assert post(gateway, f"{EXT_AUTHZ}/v1/chat/completions", asked(f"pay with {CARD}"))[0] == 403
    assert gateway.records.kinds == ["call.refused"]


@pytest.mark.parametrize(
    ("path", "method", "body", "headers", "status"),
    [
        ("/v1/models", "GET", b"", {}, 403),
        ("/v1/chat/completions", "GET", b"", {}, 403),
        ("/v1/files", "POST", b"{}", {}, 403),
        ("/v1/chat/completions", "POST", b"", {}, 400),
        ("/v1/chat/completions", "POST", b"{", {}, 403),
        ("/v1/chat/completions", "POST", b"[" * 100_000, {}, 403),
        ("/v1/chat/completions", "POST", TWO_MODELS, {}, 403),
        ("/v1/chat/completions", "POST", b'{"model": "def', {"x_envoy_auth_partial_body": "true"}, 413),
    ],
)
def test_what_envoy_does_not_show_whole_does_not_go_on(
    path: str, method: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert post(Gateway(), EXT_AUTHZ + path, body, method=method, **headers)[0] == status
