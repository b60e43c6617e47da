"""A text that a guardrail holds until people agree to exactly it, once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.gateway.test_door import HR, Gateway, said

from bedplate.errors import Denied, NeedsApproval
from bedplate.gateway.actions import pass_held
from bedplate.incidents.actions import suspend
from bedplate.testing import Answers, ScriptedUpstream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import House

ASKING: Mapping[str, Any] = {
    "guardrails": {"input": {"personal-data": "ask", "secrets": "block"}, "output": {}, "max_prompt_chars": 40_000}
}
MESSAGES = [{"role": "user", "content": "Write to jo@harbour.example about it."}]


class People:
    """Implements the asking: says no until `agreed`, and keeps what they were asked."""

    def __init__(self) -> None:
        self.agreed = False
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    async def agree(self, key: str, subject: str, facts: dict[str, Any]) -> None:
        self.asked.append((key, subject, facts))
        if not self.agreed:
            raise NeedsApproval("1 of domain must agree to this first", approval="approval/1")


def test_it_goes_on_as_it_came_once_people_agreed() -> None:
    people, upstream = People(), ScriptedUpstream(Answers("done"))
    gateway = Gateway(recipe=ASKING, upstream=upstream, parts={"agree": people.agree})

    refused = gateway.ask(messages=MESSAGES)

    assert refused.status == 403
    assert refused.body is not None
    assert refused.body["error"]["code"] == "needs-approval"
    [reason] = refused.body["error"]["reasons"]
    assert "email address" in reason["reason"]
    assert "approval/1" in reason["fix"]
    assert dict(refused.headers)["x-bedplate-verdict"] == "ask"
    assert (gateway.records.last["verdict"], gateway.records.last["status"]) == ("ask", "refused")
    assert gateway.records.contents[-1] == {"messages": MESSAGES}  # they must be able to read it
    assert upstream.seen == []

    people.agreed = True
    assert said(gateway.ask(messages=MESSAGES)) == "done"
    assert "jo@harbour.example" in json.dumps(upstream.seen)
    assert people.asked[0] == people.asked[1]
    assert people.asked[0][:2] == ("key/1", HR)


def test_what_is_blocked_is_not_asked_about() -> None:
    people = People()
    gateway = Gateway(recipe=ASKING, parts={"agree": people.agree})
    text = "jo@harbour.example has the key sk-proj4f8Jd02mXq7PzLw91Tnb"

    assert gateway.ask(messages=[{"role": "user", "content": text}]).status == 403
    assert (people.asked, gateway.records.last["verdict"]) == ([], "deny")
    assert gateway.records.contents[-1] is None


def test_without_anybody_to_ask_it_is_refused() -> None:
    gateway = Gateway(recipe=ASKING)

    assert gateway.ask(messages=MESSAGES).status == 403
    assert gateway.records.last["verdict"] == "deny"


FACTS: dict[str, Any] = {"request_sha256": "a" * 64, "findings": "email address"}


def test_an_agreement_is_for_one_text_and_for_once(house: House) -> None:
    subject = house.live()

    def send(**facts: Any) -> None:
        pass_held(house.governor, "key/0123456789ab", subject, {**FACTS, **facts})

    approval = house.asked(send)
    assert house.asked(send) == approval, "asking again is the same question"
    house.grant(approval)
    with pytest.raises(NeedsApproval):
        send(request_sha256="b" * 64)
    send()
    assert house.asked(send) != approval, "it is spent"
    house.sound()


def test_a_use_case_that_is_suspended_asks_nobody(house: House) -> None:
    subject = house.live()
    suspend(house.governor, "mara.quinn", subject, "a drill")

    with pytest.raises(Denied, match="suspended"):
        pass_held(house.governor, "key/0123456789ab", subject, FACTS)
