"""What each plane's verbs do, through the one door, on a real ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from bedplate.data.actions import index_source
from bedplate.document import InvalidDocument, parse
from bedplate.errors import Conflict, Denied, InvalidInput, NeedsApproval
from bedplate.gateway.actions import issue_key, revoke_key
from bedplate.gateway.tables import key as keys
from bedplate.incidents.actions import Happening, close, open_incident, resume, suspend
from bedplate.incidents.views import incident_by_id, incidents
from bedplate.kernel.approval import Stage
from bedplate.kernel.authority import SYSTEM
from bedplate.kernel.clock import DAY
from bedplate.kernel.risk import rate
from bedplate.kernel.standing import Rung
from bedplate.paths.actions import publish
from bedplate.paths.declaration import declared_by
from bedplate.people.account import digest as token_digest
from bedplate.people.account import mint
from bedplate.people.actions import apply_model, compare, invite, sign_in, sign_out
from bedplate.people.views import current_model, who
from bedplate.portfolio.actions import assess_use_case, check_use_case, propose, retire
from bedplate.portfolio.views import use_case, use_cases
from bedplate.releases.actions import Finding, attach, gate, go_live
from bedplate.releases.views import evidence, newest, next_number, releases

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import House

TECHNICAL = ("{measure: unanswered, limit_percent: 40,", "{measure: unanswered, limit_percent: 39,")
POLICY = ("worth_at_least: 6", "worth_at_least: 7")
BREACH = Happening("usecase/hr-policy-assistant", "too many", "monitor/unanswered", "breach", b"{}")
HARM = replace(BREACH, severity="harm", title="somebody was harmed")


def states(house: House, subject: str, digest: str) -> dict[str, str]:
    return {line.control: line.state for line in gate(house.governor, "leo.fischer", subject, digest)}


# people


@pytest.mark.parametrize(
    ("edits", "stages"),
    [
        ([TECHNICAL], [Stage("coe", "technical")]),
        ([POLICY], [Stage("board", "policy")]),
        ([TECHNICAL, POLICY], [Stage("board", "policy"), Stage("coe", "technical")]),
    ],
)
def test_a_model_is_agreed_by_the_bodies_it_touches(house: House, edits: list[Any], stages: list[Stage]) -> None:
    def edit(text: str) -> str:
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        return text

    file = house.model_file(edit)
    current = current_model(house.engine)
    assert current is not None
    approval = house.asked(lambda: apply_model(house.governor, "jonas.weber", file, current["model"]))
    assert list(house.approval(approval).stages) == stages
    assert current_model(house.engine) == current, "nothing is in force before they agree"
    house.grant(approval)
    now = current_model(house.engine)
    assert now is not None
    assert now["model"] == file.plain()
    with pytest.raises(InvalidInput, match="in force already"):
        apply_model(house.governor, "jonas.weber", file, now["model"])
    house.sound()


def test_a_model_is_applied_only_by_those_who_may(house: House) -> None:
    file, current = house.model_file(lambda t: t.replace(*POLICY)), current_model(house.engine)
    assert current is not None
    for nobody in ("mara.quinn", "victor.lam", SYSTEM, "stranger"):
        with pytest.raises(Denied):
            apply_model(house.governor, nobody, file, current["model"])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "controls: [sources-versioned, runbook-present, review-current]",
            "controls: [sources]",
            "no control 'sources'",
        ),
        ("domain.owner@claims", "domain.owner@clams", "no domain 'clams'"),
        ("portfolio:usecase:propose:", "portfolio:usecase:prepose:", "no such permission"),
        ("[domain.owner, domain.engineer]", "[domain-owner]", "matches no seat"),
        ("id: tomas.lindgren", "id: ruth.adeyemi", "is there twice"),
        ("seats: [board.member]", "seats: [board]", "is not a seat"),
        ("seats: [board.member]", "seats: [audit.reader]", "cannot be reached"),
        ("{body: coe, decides: technical}", "{body: coe, decides: business-risk}", "the coe cannot take"),
        ("{impact: low, autonomy: autonomous, tier: 2}", "{impact: low, autonomy: assistive, tier: 2}", "there twice"),
        ("keep_days: 184", "keep_days: 183", "greater than or equal to 184"),
    ],
)
def test_names_that_point_nowhere_are_complained_about(house: House, old: str, new: str, complaint: str) -> None:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    with pytest.raises(InvalidDocument, match=complaint) as wrong:
        house.model_file(edit)
    assert all(c.line > 1 for c in wrong.value.complaints)


def test_a_change_is_named_by_what_it_is_about(house: House) -> None:
    before, after = house.model_file().plain(), house.model_file(lambda t: t.replace(*TECHNICAL)).plain()
    assert compare(before, before) == []
    assert {c.needs for c in compare(before, after)} == {"technical"}
    assert {c.needs for c in compare(None, after)} == {"policy", "technical"}


def test_people_are_invited_sign_in_and_out(house: House) -> None:
    with pytest.raises(Denied):
        invite(house.governor, "mara.quinn", "mara.quinn", "Mara")
    code = invite(house.governor, "operator", "mara.quinn", "Mara Quinn")
    assert who(house.engine, code.text, house.clock(), "invitation").person == "mara.quinn"
    token = sign_in(house.governor, "mara.quinn", "session", spend=code.id)
    assert who(house.engine, token.text, house.clock(), "session").name == "Mara Quinn"
    for spent, purpose in ((code, "invitation"), (token, "cli")):
        with pytest.raises(Exception, match="token"):
            who(house.engine, spent.text, house.clock(), purpose)
    sign_out(house.governor, "mara.quinn", token.id)
    with pytest.raises(Exception, match="has ended"):
        who(house.engine, token.text, house.clock(), "session")
    assert token.text not in str(house.events())
    house.sound()


# portfolio


def test_a_use_case_is_accepted_by_its_domain(house: House) -> None:
    approval = house.propose()
    assert house.standing("usecase/hr-policy-assistant").stage == "proposed"
    assert house.approval(approval).stages == (Stage("domain", "ownership"),)
    with pytest.raises(Denied):
        house.vote("sofia.brandt", approval)  # the other domain's approver
    house.vote("hanna.osei", approval)
    shown = use_case(house.engine, "usecase/hr-policy-assistant")
    assert (shown.stage, shown.tier, shown.owner) == ("accepted", 1, "mara.quinn")
    assert house.kept(shown.spec)["title"] == shown.title
    assert [u.subject for u in use_cases(house.engine)] == [shown.subject]
    house.sound()


def test_a_refusal_declines_with_its_reason(house: House) -> None:
    house.vote("hanna.osei", house.propose(), yes=False, reason="not now")
    shown = use_case(house.engine, "usecase/hr-policy-assistant")
    assert (shown.stage, shown.decision) == ("declined", "not now")
    house.grant(house.propose())
    assert house.standing(shown.subject).stage == "accepted", "it may be proposed again"


@pytest.mark.parametrize(
    ("changes", "control"),
    [
        ({"owner": "stranger"}, "named-owner"),
        ({"owner": "daniel.moreau"}, "named-owner"),
        ({"sponsor": "stranger"}, "named-owner"),
        ({"feasibility": {"data": 1, "technology": 1, "people": 1, "change": 1}}, "worth-doing"),
    ],
)
def test_the_portfolios_own_rules_decline(house: House, changes: dict[str, Any], control: str) -> None:
    file = house.use_case(**changes)
    with pytest.raises(Denied) as denied:
        propose(house.governor, "leo.fischer", file, house.model)
    assert control in denied.value.controls
    assert house.standing(file.subject).stage == "declined"


def test_only_its_own_domain_proposes_a_use_case(house: House) -> None:
    for stranger in ("daniel.moreau", "hanna.osei", "priya.raman", "ruth.adeyemi"):
        with pytest.raises(Denied):
            propose(house.governor, stranger, house.use_case(), house.model)
    assert use_cases(house.engine) == []


@pytest.mark.parametrize("tier", [1, 2, 3, 4])
def test_the_tier_decides_who_accepts(house: House, tier: int) -> None:
    file = house.tier(tier)
    assert assess_use_case(file, house.model).rating.tier == tier
    assert house.approval(house.propose(file)).stages == house.model.tiers[tier].approvals["accept"]


def test_raising_a_tier_needs_the_higher_bodies_and_so_does_lowering_it(house: House) -> None:
    subject = house.live()
    up = house.propose(house.tier(4))
    assert house.standing(subject).tier == 1, "what runs keeps its tier until the change is accepted"
    assert house.approval(up).stages == house.model.tiers[4].approvals["accept"]
    house.grant(up)
    standing = house.standing(subject)
    assert (standing.tier, standing.stage, standing.rung) == (4, "accepted", Rung.OFF), "it owes more than was proven"
    assert house.approval(house.propose(house.tier(1))).stages == house.model.tiers[4].approvals["accept"]


def test_an_unanswered_question_raises_its_axis(house: House) -> None:
    file = house.use_case()
    fewer = file.model_copy(update={"answers": {k: v for k, v in file.answers.items() if k != "acts-alone"}})
    assert assess_use_case(fewer, house.model).rating.autonomy == "autonomous"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("domain: people", "domain: nowhere", "no domain 'nowhere'"),
        ("acts-alone: no", "acts-alone: no\n  unasked: no", "no such question"),
        ("  data: handbook\n", "  data: handbok\n", "no data named 'handbok'"),
    ],
)
def test_a_use_case_that_names_nothing_is_complained_about(house: House, old: str, new: str, complaint: str) -> None:
    text = _example()
    assert old in text
    with pytest.raises(InvalidDocument, match=complaint):
        check_use_case(parse(text.replace(old, new), "use-case.yaml"), house.model)


def _example() -> str:
    from pathlib import Path  # noqa: PLC0415  only here

    root = Path(__file__).parents[2]
    return (root / "examples/harbour-mutual/hr-policy-assistant/use-case.yaml").read_text()


def test_what_is_retired_is_off(house: House) -> None:
    subject = house.live()
    with pytest.raises(Denied):
        retire(house.governor, "leo.fischer", subject, "over")
    retire(house.governor, "mara.quinn", subject, "over")
    standing = house.standing(subject)
    assert (standing.stage, standing.release, standing.rung) == ("retired", "", Rung.OFF)
    digest, number = house.built(subject, prompt="again")
    with pytest.raises(Denied, match="retired"):
        go_live(house.governor, "leo.fischer", subject, digest, number)
    house.sound()


# releases


def test_the_gate_names_every_state(house: House) -> None:
    subject = house.accepted(house.tier(4))
    digest, number = house.built(subject, without="fairness-assessed")
    told = states(house, subject, digest)
    assert told.pop("fairness-assessed") == "not evidenced"
    assert set(told.values()) == {"proven"}
    house.evidence(subject, digest, "red-teamed", "contradicted")
    assert states(house, subject, digest)["red-teamed"] == "contradicted"
    house.clock.advance(90 * DAY)
    told = states(house, subject, digest)
    assert (told["stop-drilled"], told["red-teamed"], told["accepted"]) == ("stale", "contradicted", "proven")
    with pytest.raises(Denied) as denied:
        go_live(house.governor, "leo.fischer", subject, digest, number)
    assert {"stop-drilled", "red-teamed", "fairness-assessed"} <= set(denied.value.controls)
    house.evidence(subject, digest, "red-teamed")
    assert states(house, subject, digest)["red-teamed"] == "proven"
    assert {e["state"] for e in evidence(house.engine, subject, digest, house.clock())} == {"proven", "stale"}


def test_evidence_is_about_one_content(house: House) -> None:
    subject = house.accepted()
    house.built(subject)
    other, _ = house.built(subject, without="evals-passed", prompt="another")
    assert states(house, subject, other)["evals-passed"] == "not evidenced"
    with pytest.raises(InvalidInput, match="there is no control"):
        attach(house.governor, "leo.fischer", subject, other, Finding("made-up", "proven", "x"))
    with pytest.raises(Denied):
        attach(house.governor, "hanna.osei", subject, other, Finding("evals-passed", "proven", "x"))


def test_evidence_that_ends_before_the_approval_is_used_closes_the_gate(house: House) -> None:
    subject = house.accepted()
    digest, number = house.built(subject)
    house.clock.advance(89 * DAY)
    approval = house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number))
    house.clock.advance(DAY)
    with pytest.raises(Denied):
        house.vote("hanna.osei", approval)
    assert (house.approval(approval).state, house.standing(subject).stage) == ("granted", "accepted")


def test_a_release_replaces_the_one_before(house: House) -> None:
    subject = house.live()
    first = house.standing(subject).release
    digest, number = house.built(subject, prompt="another")
    assert next_number(house.engine, subject) == number + 1
    house.grant(house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number)))
    assert {r["digest"]: r["state"] for r in releases(house.engine, subject)} == {first: "superseded", digest: "live"}
    assert newest(house.engine, subject)["digest"] == digest
    assert house.events("releases.release.live")[-1].data["previous"] == first
    house.sound()


def test_what_was_never_accepted_is_not_released(house: House) -> None:
    house.propose()
    subject = house.use_case().subject
    digest, number = house.built(subject)
    assert states(house, subject, digest)["accepted"] == "not evidenced"
    with pytest.raises(Denied, match="not accepted"):
        go_live(house.governor, "leo.fischer", subject, digest, number)


# incidents


@pytest.mark.parametrize(("tier", "after"), [(1, Rung.PROPOSE), (2, Rung.PROPOSE), (3, Rung.READ), (4, Rung.READ)])
def test_a_breach_leads_where_the_tiers_plan_says(house: House, tier: int, after: Rung) -> None:
    subject = house.live(house.tier(tier))
    incident = open_incident(house.governor, SYSTEM, BREACH)
    standing = house.standing(subject)
    assert (standing.rung, standing.breaches) == (after, (incident,))
    found = incident_by_id(house.engine, incident)
    assert (found["owner"], found["release"], found["due"]) == ("mara.quinn", standing.release, house.clock() + 7 * DAY)
    second = open_incident(house.governor, SYSTEM, BREACH)
    assert house.standing(subject).rung == max(Rung.OFF, Rung(after - 1)), "one lower for each that is open already"
    open_incident(house.governor, "leo.fischer", HARM)
    assert house.standing(subject).rung is Rung.OFF
    close(house.governor, "mara.quinn", subject, incident, "mended")
    close(house.governor, "mara.quinn", subject, second, "mended")
    assert house.standing(subject).rung is Rung.OFF, "only an approval moves it up"
    assert len(incidents(house.engine, subject, only_open=True)) == 1
    house.sound()


def test_an_incident_is_closed_by_its_owner_with_a_resolution(house: House) -> None:
    subject = house.live()
    incident = open_incident(house.governor, SYSTEM, BREACH)
    with pytest.raises(InvalidInput):
        close(house.governor, "mara.quinn", subject, incident, " ")
    for other in ("leo.fischer", "daniel.moreau", SYSTEM):
        with pytest.raises(Denied):
            close(house.governor, other, subject, incident, "mended")
    close(house.governor, "mara.quinn", subject, incident, "mended")
    assert house.standing(subject).breaches == ()


def test_a_suspension_stops_at_once_and_only_an_approval_ends_it(house: House) -> None:
    subject = house.live()
    with pytest.raises(InvalidInput):
        suspend(house.governor, "mara.quinn", subject, " ")
    with pytest.raises(Denied):
        suspend(house.governor, "victor.lam", subject, "look")
    suspend(house.governor, "hanna.osei", subject, "look")
    digest, number = house.built(subject, prompt="another")
    with pytest.raises(Denied, match="suspended"):
        go_live(house.governor, "leo.fischer", subject, digest, number)
    approval = house.asked(lambda: resume(house.governor, "mara.quinn", subject, "mended"))
    with pytest.raises(Denied):
        house.vote("mara.quinn", approval)
    assert house.standing(subject).suspended == "look"
    house.vote("hanna.osei", approval)
    standing = house.standing(subject)
    assert (standing.suspended, standing.rung) == ("", Rung.ACT)
    house.sound()


def test_a_resumption_is_of_what_was_known_when_it_was_asked_for(house: House) -> None:
    subject = house.live()
    suspend(house.governor, "mara.quinn", subject, "look")
    approval = house.asked(lambda: resume(house.governor, "mara.quinn", subject, "mended"))
    open_incident(house.governor, SYSTEM, HARM)
    with pytest.raises(Denied):
        house.vote("hanna.osei", approval)
    standing = house.standing(subject)
    assert (standing.suspended, standing.rung) == ("look", Rung.OFF)


# gateway


def test_keys_are_issued_and_end(house: House) -> None:
    subject, token = house.live(), mint("k")
    fields: dict[str, Any] = {"key": token.id, "digest": token_digest(token.text), "label": "app", "days": 30}
    for days in (0, 367):
        with pytest.raises(InvalidInput):
            issue_key(house.governor, "leo.fischer", subject, **{**fields, "days": days})
    for other in ("hanna.osei", "daniel.moreau", "priya.raman"):
        with pytest.raises(Denied):
            issue_key(house.governor, other, subject, **fields)
    issue_key(house.governor, "leo.fischer", subject, **fields)
    with pytest.raises(Denied):
        revoke_key(house.governor, "daniel.moreau", subject, token.id, "x")
    revoke_key(house.governor, "mara.quinn", subject, token.id, "lost")
    with house.engine.connect() as connection:
        row = connection.execute(select(keys)).one()
    assert (row.subject, row.expires, row.revoked_at) == (subject, house.clock() + 30 * DAY, house.clock())
    assert token.text not in str(house.events())
    house.sound()


# paths


def test_a_path_is_taken_only_from_what_is_proven(house: House) -> None:
    subject, file = house.accepted(), house.use_case()
    declared = declared_by(file, rate(house.model.questions, file.answers, house.model.matrix))
    with pytest.raises(Denied, match="only a live use case"):
        publish(house.governor, "mara.quinn", subject, "r", 1, declared)
    digest, number = house.built(subject)
    house.grant(house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number)))
    incident = open_incident(house.governor, SYSTEM, BREACH)
    with pytest.raises(Denied, match="not on its top rung"):
        publish(house.governor, "mara.quinn", subject, digest, 1, declared)
    close(house.governor, "mara.quinn", subject, incident, "mended")
    with pytest.raises(Denied):
        publish(house.governor, "mara.quinn", subject, digest, 1, declared)
    house.grant(house.asked(lambda: resume(house.governor, "mara.quinn", subject, "mended")))
    with pytest.raises(Denied):
        publish(house.governor, "leo.fischer", subject, digest, 1, declared)


def test_what_waits_for_others_is_never_done_by_asking_again(house: House) -> None:
    asked = {house.propose() for _ in range(3)}
    assert len(asked) == 1
    with pytest.raises(NeedsApproval):
        propose(house.governor, "mara.quinn", house.use_case(), house.model)
    assert house.standing(house.use_case().subject).stage == "proposed"


def test_when_a_source_was_read_is_known_to_calls(house: House, tmp_path: Path) -> None:
    subject = house.accepted()
    text = {"handbook/leave.md": "# Leave\n\nTwenty-six days.\n"}

    def facts(name: str) -> object:
        with house.ledger.transaction() as transaction:
            standing = transaction.standing(subject)
        assert standing is not None
        return standing.facts.get(name)

    version = index_source(house.governor, "leo.fischer", subject, "handbook", text, tmp_path, "no", 30)
    first = house.clock()
    assert facts("data.indexed") == {version: [first, 30]}
    house.clock.advance(DAY)
    assert index_source(house.governor, "leo.fischer", subject, "handbook", text, tmp_path, "no", 30) == version
    assert facts("data.indexed") == {version: [first + DAY, 30]}, "read anew, unchanged"


def test_what_acts_already_is_not_resumed(house: House) -> None:
    subject = house.live()
    with pytest.raises(Conflict, match="acts already"):
        resume(house.governor, "mara.quinn", subject, "it was a drill")
    with pytest.raises(Denied):
        resume(house.governor, "victor.lam", subject, "it was a drill")
