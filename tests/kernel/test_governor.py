"""The one door, over a ledger in memory: what it records, asks, spends, refuses and repeats."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedplate.bootstrap import MANIFESTS
from bedplate.errors import BedplateError, Conflict, Denied, InvalidInput, NeedsApproval, NotFound, TooMany
from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.approval import Approval, Stage
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY, SECOND
from bedplate.kernel.control import Control, Fail
from bedplate.kernel.decision import Allow, Ask, Case
from bedplate.kernel.governance import VOTE, cast_by
from bedplate.kernel.manifest import catalogue
from bedplate.people.structure import OperatingModelFile
from bedplate.testing import MemoryLedger, SettableClock, found, small_model_file

if TYPE_CHECKING:
    from bedplate.kernel.governor import Governor

DECLARED = catalogue(MANIFESTS)
SUBJECT = "usecase/one"
HOUR = 3_600 * SECOND
REQUEST = "01977420-dc00-7000-8000-000000000001"
STAGES = (Stage("coe", "technical", 2), Stage("board", "business-risk"))
PLAIN = Action("portfolio.retire", "portfolio:usecase:retire", "Retire it.")
ASKS = replace(PLAIN, name="test.do", stages=lambda _: STAGES)
LIVE: dict[str, Any] = {"release": "r1", "number": 1, "previous": ""}
WHO = {"title": "One", "owner": "hr-owner", "domain": "people"}
WORDS: dict[str, Any] = {**WHO, "impact": "low", "autonomy": "assistive", "tier": 1, "spec": "s"}


class Office:
    """A small organisation with one accepted use case."""

    def __init__(self, model: OperatingModelFile | None = None) -> None:
        self.clock = SettableClock()
        self.ledger = MemoryLedger(DECLARED, self.clock)
        self.governor: Governor = found(self.ledger, model)
        with self.ledger.transaction() as tx:
            from bedplate.kernel.event import Draft  # noqa: PLC0415  only to furnish the office

            tx.append("test", [Draft("portfolio.usecase.accepted", SUBJECT, WORDS)], authz={})

    def do(self, by: str = "hr-owner", action: Action = ASKS, request: str = "", **facts: Any) -> None:
        with self.governor.act(by, action, SUBJECT, facts=facts, request=request) as act:
            act.record("releases.release.live", LIVE)

    def ask(self, by: str = "hr-owner", action: Action = ASKS, **facts: Any) -> str:
        with pytest.raises(NeedsApproval) as asked:
            self.do(by, action, **facts)
        return asked.value.approval

    def yes(self, who: str, approval: str, request: str = "") -> Approval:
        return self.governor.vote(who, approval, yes=True, reason="", request=request)

    def granted(self, **facts: Any) -> str:
        approval = self.ask(**facts)
        for who in ("coe-lead", "coe-engineer", "board-chair"):
            self.yes(who, approval)
        return approval

    def state(self, approval: str) -> str:
        return self.ledger.approval(approval).state


@pytest.fixture
def office() -> Office:
    return Office()


def test_what_is_allowed_is_on_record_with_what_allowed_it(office: Office) -> None:
    office.do(action=PLAIN)
    (event,) = office.ledger.of("releases.release.live")
    assert (event.actor, event.stream, event.authz["action"]) == ("hr-owner", SUBJECT, "portfolio.retire")


def test_what_is_refused_is_on_record_too(office: Office) -> None:
    with pytest.raises(Denied) as denied:
        office.do("board-member", PLAIN)
    assert denied.value.controls == ("authority",)
    (event,) = office.ledger.of("kernel.action.denied")
    assert (event.actor, event.stream) == ("board-member", SUBJECT)
    assert event.data["reasons"] == [list(denied.value.reasons[0])]
    assert office.ledger.of("releases.release.live") == ()


def test_a_question_is_asked_once_and_binds_what_was_asked(office: Office) -> None:
    approval = office.ask(x="1")
    assert office.ask(x="1") == approval
    assert office.ask("hr-engineer", replace(ASKS, needs="releases:release:build"), x="1") == approval
    (event,) = office.ledger.of("kernel.approval.asked")
    assert (event.data["owner"], event.data["domain"], event.data["facts"]) == ("hr-owner", "people", {"x": "1"})
    assert event.data["expires"] == office.clock() + 14 * DAY
    other = office.ask(x="2")
    assert (office.state(approval), office.state(other)) == ("voided", "asked")


def test_what_waits_is_kept_and_one_too_many_is_refused(office: Office) -> None:
    kept = replace(ASKS, several=True, keeps=True, most=2, lasts=lambda _: HOUR)
    waiting = [office.ask(action=kept, note=n) for n in ("one", "two")]
    with pytest.raises(TooMany, match="2 questions about usecase/one wait"):
        office.do(action=kept, note="three")
    with office.ledger.transaction() as tx:
        found = [tx.approval(name) for name in waiting]
    assert [(a.state, a.expires - a.asked_at) for a in found if a] == [("asked", HOUR)] * 2
    assert office.ask(action=kept, note="one") == waiting[0], "the same is no question more"


def test_an_approval_needs_every_stage_and_is_spent_once(office: Office) -> None:
    approval = office.ask()
    for who in ("coe-lead", "coe-engineer"):
        assert office.yes(who, approval).state == "asked"
        assert office.ask() == approval
    assert office.yes("board-chair", approval).state == "granted"
    office.do()
    assert office.state(approval) == "spent"
    spent, effect = office.ledger.events[-2:]
    assert (spent.kind, spent.stream, effect.authz["approval"]) == ("kernel.approval.spent", approval, approval)
    assert office.ask() != approval


def test_a_no_refuses_and_says_why(office: Office) -> None:
    approval = office.ask()
    with pytest.raises(InvalidInput, match="needs a reason"):
        office.governor.vote("coe-lead", approval, yes=False, reason=" ")
    refused = office.governor.vote("coe-lead", approval, yes=False, reason="not safe")
    assert (refused.state, refused.votes[0].reason) == ("refused", "not safe")
    with pytest.raises(Conflict, match="refused"):
        office.yes("board-chair", approval)
    assert office.ask() != approval


def test_whoever_may_not_vote_is_told_so_and_it_is_on_record(office: Office) -> None:
    approval = office.ask()
    for who, control in (("hr-owner", "authority"), ("board-nobody", "authority"), ("auditor", "authority")):
        with pytest.raises(Denied) as denied:
            office.yes(who, approval)
        assert control in denied.value.controls
    assert len(office.ledger.of("kernel.action.denied")) == 3
    office.yes("coe-lead", approval)
    with pytest.raises(Denied) as denied:
        office.yes("coe-lead", approval)
    assert denied.value.controls == ("separation",)
    with pytest.raises(NotFound):
        office.yes("coe-lead", "approval/none")


def test_a_vote_is_a_permission_that_an_organisation_can_withhold() -> None:
    body = small_model_file().model_dump()
    body["permissions"]["kernel:approval:vote"] = ["board.*"]
    office = Office(OperatingModelFile.model_validate(body))
    with pytest.raises(Denied) as denied:
        office.yes("coe-lead", office.ask())
    assert denied.value.controls == ("authority",)


def test_a_ballot_is_only_cast_under_a_model_about_an_approval(office: Office) -> None:
    approval = office.ledger.approval(office.ask())
    with office.ledger.transaction() as tx:
        case = office.governor.case(tx, Attempt(VOTE, "hr-owner", approval.id))
    with pytest.raises(ValueError, match="a vote answers an approval"):
        cast_by(case)
    with pytest.raises(ValueError, match="nobody approves their own"):
        cast_by(replace(case, question=approval))


@given(
    st.lists(st.sampled_from(["coe-lead", "coe-engineer", "board-chair", "board-member", "hr-owner", "hr-approver"]))
)
@settings(max_examples=40, deadline=None)
def test_granted_if_and_only_if_every_stage_has_its_distinct_people(order: list[str]) -> None:
    office = Office()
    approval = office.ask()
    yes: dict[str, set[str]] = {"coe": set(), "board": set()}
    for who in order:
        try:
            office.yes(who, approval)
        except (Denied, Conflict):
            continue
        yes[who.partition("-")[0]].add(who)
    enough = len(yes["coe"]) == 2 and len(yes["board"]) == 1
    assert (office.state(approval) == "granted") == enough
    assert len(yes["coe"]) <= 2
    assert len(yes["board"]) <= 1
    if not enough:
        assert office.ask() == approval
        return
    office.do()


@given(st.sampled_from(["voided", "expired", "spent", "refused", "late", "stages", "tampered"]))
def test_what_is_no_longer_good_is_never_used(how: str) -> None:
    office, action = Office(), ASKS
    approval = office.granted(x="1")
    match how:
        case "voided":
            office.ask(x="2")
        case "expired":
            office.clock.advance(14 * DAY)
            assert office.governor.expire() == 1
            office.clock.advance(-14 * DAY)
        case "spent":
            office.do(x="1")
        case "late":
            office.clock.advance(14 * DAY)
        case "stages":
            action = replace(ASKS, stages=lambda _: (Stage("board", "policy"),))
        case _:
            approval = office.ask(x="3")
            office.governor.vote("coe-lead", approval, yes=False, reason="no")
    facts = {"x": "3" if how in {"refused", "tampered"} else "1"}
    assert office.ask(action=action, **facts) != approval


def test_expiry_closes_what_is_late_and_nothing_else(office: Office) -> None:
    approval = office.ask()
    assert office.governor.expire() == 0
    office.clock.advance(14 * DAY)
    with pytest.raises(Conflict, match="expired"):
        office.yes("coe-lead", approval)
    assert office.governor.expire() == 1
    assert (office.state(approval), office.governor.expire()) == ("expired", 0)
    assert office.ledger.events[-1].actor == SYSTEM


def test_what_is_repeated_with_its_request_is_done_once(office: Office) -> None:
    office.do(action=PLAIN, request=REQUEST)
    with pytest.raises(Conflict) as again:
        office.do(action=PLAIN, request=REQUEST)
    assert again.value.code == "already-done"
    for by, facts in (("coe-lead", {}), ("hr-owner", {"x": "1"})):
        with pytest.raises(Conflict) as other:
            office.do(by, PLAIN, REQUEST, **facts)
        assert other.value.code == "conflict"
    assert [e.id for e in office.ledger.of("releases.release.live")] == [REQUEST]
    approval = office.ask()
    vote = REQUEST.replace("1", "2")
    office.yes("coe-lead", approval, vote)
    with pytest.raises(Conflict):
        office.yes("coe-lead", approval, vote)


def test_a_body_that_fails_leaves_nothing(office: Office) -> None:
    approval, size = office.granted(), len(office.ledger.events)

    def fails(problem: BaseException) -> None:
        with office.governor.act("hr-owner", ASKS, SUBJECT) as act:
            digest = act.keep(b"kept")
            assert act.tx.content(digest) == b"kept"
            act.record("releases.release.live", LIVE)
            raise problem

    for problem in (ZeroDivisionError(), KeyboardInterrupt()):
        with pytest.raises(type(problem)):
            fails(problem)
    with (
        pytest.raises(InvalidInput, match="not a declared event"),
        office.governor.act("hr-owner", ASKS, SUBJECT) as act,
    ):
        act.record("not.a.kind", {})
    assert (office.state(approval), len(office.ledger.events)) == ("granted", size)
    with pytest.raises(NotFound), office.ledger.transaction() as tx:
        tx.content("79eb0d1c0a2e2f9f1d6b1c3dd5e1a7bd")


def test_judging_changes_nothing(office: Office) -> None:
    size = len(office.ledger.events)
    case, verdict = office.governor.judge("hr-owner", ASKS, SUBJECT)
    assert isinstance(verdict, Ask)
    assert isinstance(office.governor.judge("hr-owner", PLAIN, SUBJECT, {"x": "1"})[1], Allow)
    assert case.standing == office.ledger.standing(SUBJECT)
    assert len(office.ledger.events) == size


def test_what_is_granted_is_carried_out_by_its_performer_in_its_requesters_name(office: Office) -> None:
    def perform(governor: Governor, approval: Approval) -> None:
        with governor.act(approval.requester, ASKS, approval.subject, facts=dict(approval.facts)) as act:
            act.record("releases.release.live", LIVE)

    approval = office.granted(x="1")
    assert not office.governor.carry_out(office.ledger.approval(approval))
    office.governor.performs({ASKS.name: perform})
    assert not office.governor.carry_out(replace(office.ledger.approval(approval), state="asked"))
    assert office.governor.carry_out(office.ledger.approval(approval))
    assert (office.state(approval), office.ledger.events[-1].actor) == ("spent", "hr-owner")
    before = len(office.ledger.events)
    assert not office.governor.carry_out(replace(office.ledger.approval(approval), state="granted"))
    assert len(office.ledger.events) == before, "who comes second asks nobody anew"


def test_broken_glass_is_short_visible_and_ends(office: Office) -> None:
    for hours, reason in ((0, "fire"), (25, "fire"), (-1, "fire"), (1, " ")):
        with pytest.raises(InvalidInput):
            office.governor.break_glass("coe-lead", SUBJECT, hours=hours, reason=reason)
    with pytest.raises(Denied):
        office.governor.break_glass("hr-owner", SUBJECT, hours=1, reason="fire")
    with pytest.raises(Denied):
        office.governor.break_glass("coe-lead", "usecase/none", hours=1, reason="fire")
    office.governor.break_glass("coe-lead", SUBJECT, hours=24, reason="fire")
    standing = office.ledger.standing(SUBJECT)
    assert standing is not None
    assert standing.glass_until == office.clock() + 24 * HOUR
    office.do()
    assert office.ledger.events[-1].authz["glass"] == "yes"
    refuses = Control("no", "change", "d", lambda _: Fail("a", "b"), _none, (ASKS.name,), always=True)
    office.governor.catalogue = replace(DECLARED, controls={"no": refuses})
    with pytest.raises(Denied, match="a"):
        office.do()
    office.governor.catalogue = DECLARED
    office.clock.advance(24 * HOUR)
    office.ask()


def test_an_approval_already_given_is_used_before_glass(office: Office) -> None:
    approval = office.granted()
    office.governor.break_glass("coe-lead", SUBJECT, hours=1, reason="fire")
    office.do()
    assert office.state(approval) == "spent"
    assert "glass" not in office.ledger.events[-1].authz


def test_two_attempts_at_once_spend_an_approval_once(office: Office) -> None:
    approval = office.granted()
    barrier, outcomes = threading.Barrier(6), list[str]()

    def attempt() -> None:
        barrier.wait()
        try:
            office.do()
        except BedplateError as refused:
            outcomes.append(refused.code)
        else:
            outcomes.append("done")

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", *["needs-approval"] * 5]
    assert [e.stream for e in office.ledger.of("kernel.approval.spent")] == [approval]


def test_the_owner_is_who_owns_it_when_the_vote_is_cast(office: Office) -> None:
    body = small_model_file().model_dump()
    body["people"][2]["seats"].append("domain.owner@people")
    office = Office(OperatingModelFile.model_validate(body))
    approval = office.ask()
    with office.governor.act("hr-owner", PLAIN, SUBJECT) as act:
        act.record("portfolio.usecase.accepted", {**WORDS, "owner": "coe-lead"})
    with pytest.raises(Denied, match="owner never approves"):
        office.yes("coe-lead", approval)
    named = office.ask(owner="coe-engineer")
    with pytest.raises(Denied, match="owner never approves"):
        office.yes("coe-engineer", named)


def test_while_nothing_is_in_force_the_newest_proposal_says_who_may() -> None:
    clock = SettableClock()
    ledger = MemoryLedger(DECLARED, clock)
    from bedplate.kernel.governor import Governor  # noqa: PLC0415  the office's is founded already
    from bedplate.people.actions import apply_model  # noqa: PLC0415  as above

    governor = Governor(ledger, DECLARED, clock, ledger.identities)
    with pytest.raises(Denied, match="no operating model"), governor.act("coe-lead", PLAIN, SUBJECT):
        pytest.fail("nothing is in force")
    with pytest.raises(NeedsApproval) as asked:
        apply_model(governor, "coe-engineer", small_model_file(), None)
    governor.vote("coe-lead", asked.value.approval, yes=True, reason="")
    assert governor.vote("board-chair", asked.value.approval, yes=True, reason="").state == "granted"
    with ledger.transaction() as tx:
        assert not tx.in_force()


def test_a_request_before_a_model_waits_a_day(office: Office) -> None:
    """Where no model says how long, an approval is open for one day."""
    founding = replace(ASKS, founding=("*",), registered=False)
    bare = Office.__new__(Office)
    bare.clock = SettableClock()
    bare.ledger = MemoryLedger(DECLARED, bare.clock)
    from bedplate.kernel.governor import Governor  # noqa: PLC0415  without a model

    bare.governor = Governor(bare.ledger, DECLARED, bare.clock, bare.ledger.identities)
    approval = bare.ledger.approval(bare.ask(action=founding, owner="ann"))
    assert (approval.expires, approval.owner) == (bare.clock() + DAY, "ann")
    assert office.ledger.approval(office.ask()).expires == office.clock() + 14 * DAY


def _none() -> Case:
    raise NotImplementedError
