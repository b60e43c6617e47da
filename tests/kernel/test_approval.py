"""Approvals as a fold: what they bind, and when they no longer do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.kernel.approval import Approval, Stage, fold
from bedplate.kernel.event import Event, Value
from bedplate.kernel.evidence import Evidence

STATES = ("granted", "refused", "expired", "voided", "spent")
ASKED: dict[str, Value] = {
    "subject": "usecase/one",
    "action": "test.do",
    "digest": "d",
    "owner": "bob",
    "domain": "people",
    "stages": [{"body": "coe", "decides": "technical", "quorum": 2}],
    "expires": 10,
    "facts": {"release": "r"},
    "summary": "do it",
}


def event(kind: str, data: dict[str, Value] | None = None, actor: str = "ann") -> Event:
    return Event(0, "i", f"kernel.approval.{kind}", "approval/1", 1, 3, actor, data or {})


def asked() -> Approval:
    made = fold(None, event("asked", ASKED))
    assert made is not None
    return made


def test_what_is_asked_is_read_back() -> None:
    made = asked()
    assert made.stages == (Stage("coe", "technical", 2),)
    assert (made.requester, made.asked_at, made.state) == ("ann", 3, "asked")
    assert made.missing() == ((0, made.stages[0], 2),)


@given(st.lists(st.sampled_from(["granted", "refused", "expired", "voided", "spent"]), max_size=6), st.integers(0, 20))
def test_only_what_is_granted_and_in_time_is_usable_for_its_content(kinds: list[str], now: int) -> None:
    approval = asked()
    for kind in kinds:
        approval = fold(approval, event(kind)) or approval
    last = kinds[-1] if kinds else "asked"
    assert approval.state == last
    assert approval.usable("d", now) == (last == "granted" and now < 10)
    assert not approval.usable("other", now)
    assert approval.open(now) == (last == "asked" and now < 10)


def test_votes_are_counted_as_they_were_cast() -> None:
    approval = asked()
    vote: dict[str, Value] = {"stage": 0, "seat": "coe.chair", "answer": "yes", "reason": "", "solo": "no"}
    for who, answer in (("cat", "yes"), ("cat", "yes"), ("dan", "no")):
        approval = fold(approval, event("voted", {**vote, "answer": answer}, who)) or approval
    assert approval.missing() == ((0, approval.stages[0], 1),)  # one person counts once, and a no not at all
    assert not approval.solo
    approval = fold(approval, event("voted", {**vote, "solo": "yes"}, "eve")) or approval
    assert (approval.missing(), approval.solo) == ((), True)


def test_events_without_a_question_or_of_another_kind_change_nothing() -> None:
    assert fold(None, event("granted")) is None
    assert fold(asked(), replace(event("x"), kind="kernel.clock.stepped")) == asked()


@given(st.integers(0, 20))
def test_proof_ends_and_a_contradiction_does_not(now: int) -> None:
    proof = Evidence("c", "d", "proven", "s", 0, 10)
    assert proof.state(now) == ("proven" if now < 10 else "stale")
    assert replace(proof, outcome="contradicted").state(now) == "contradicted"


@pytest.mark.parametrize("state", STATES)
def test_an_approval_ends_once(state: str) -> None:
    ended = fold(asked(), event(state))
    assert ended is not None
    assert not ended.open(0)
