"""What a proposed operating model would change, on the records of an organisation that has some."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from bedplate.bootstrap import MANIFESTS
from bedplate.errors import InvalidInput
from bedplate.gateway.call import Trace, entry
from bedplate.gateway.secret import SECRETS as DETECTORS
from bedplate.gateway.stricter import SECRETS, kind_of
from bedplate.kernel.clock import DAY, SECOND
from bedplate.kernel.manifest import catalogue
from bedplate.paths.blast import Blast, Ground, blast, proposed
from bedplate.releases.actions import go_live
from bedplate.store.journal import Journal, Record
from bedplate.store.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import House

    from bedplate.paths.replay import Replayed

CATALOGUE = catalogue(MANIFESTS)
NAME = "hr-policy-assistant"


@dataclass
class Calls:
    """A shard of calls, written as the gateway writes them."""

    path: Path
    journal: Journal
    house: House
    made: list[str] = field(default_factory=list)

    def add(self, subject: str, began: int, **fields: Any) -> str:
        """Put one call on record; returns its id."""
        trace = Trace(f"call-{len(self.made):06d}", subject, "key/k", "live", began, "0" * 64)
        trace.verdict, trace.status, trace.release = "allow", "ok", self.house.standing(subject).release
        trace.tokens_in, trace.tokens_out = 6, 4
        for name, value in fields.items():
            setattr(trace, name, value)
        kind = "call.refused" if trace.verdict == "deny" else "call.completed"
        record = Record(trace.id, entry(trace, kind, began, {}), began, subject, kind, trace.verdict, trace.status)
        self.journal.append_sync(record)
        self.made.append(trace.id)
        return trace.id


@pytest.fixture
def calls(tmp_path: Path, house: House) -> Iterator[Calls]:
    path = tmp_path / "shard-0.db"
    journal = Journal.open(path, shard="shard-0")
    yield Calls(path, journal, house)
    journal.close()


def radius(house: House, edit: Callable[[str], str], calls: Calls | None = None, days: int = 30) -> Blast:
    """Compare the model in force with an edited one."""
    shards = {} if calls is None else {"shard-0": Shard(calls.path)}
    ground = Ground(house.engine, CATALOGUE, shards, house.clock())
    return blast(ground, house.model, proposed(house.model_file(edit).plain()), days)


def replayed(found: Blast) -> Replayed:
    assert found.calls is not None
    (one,) = found.calls.use_cases
    return one


def effects(one: Replayed) -> dict[tuple[str, str], int]:
    return {(e.when, e.control): e.calls for e in one.effects}


def today(house: House) -> int:
    return house.clock() // DAY * DAY


def test_an_unchanged_model_changes_nothing(house: House, calls: Calls) -> None:
    subject = house.live()
    house.propose(house.use_case(id="another"))
    calls.add(subject, house.clock() + SECOND)
    found = radius(house, str, calls)
    assert (found.tiers, found.approvals, found.people, found.gates) == ((), (), (), ())
    one = replayed(found)
    assert (one.calls, one.refused, one.let, one.effects, one.unsaid) == (1, 0, 0, [], [])


def test_a_budget_is_replayed_call_by_call_and_each_day_anew(house: House, calls: Calls) -> None:
    subject = house.live()
    begin = house.clock() + 10 * SECOND
    house.clock.advance(2 * DAY)
    for day in range(2):
        for number in range(8):
            calls.add(subject, begin + day * DAY + number * SECOND)
    # The release plans 100 calls a day; the tier allows 20,000, and then 5: of eight a day three are refused.
    found = radius(house, lambda text: text.replace("calls_per_day: 20000,", "calls_per_day: 5,"), calls)
    one = replayed(found)
    assert effects(one) == {("at once", "within-budget"): 6}
    assert (one.refused, one.calls) == (6, 16)
    (effect,) = one.effects
    assert effect.examples == ["call-000005", "call-000006", "call-000007"]
    assert "5 of 5 calls are used today" in effect.why
    # Of tokens: at 10 each the third would end beyond 25, and what it reserved is not on record.
    found = radius(house, lambda text: text.replace("tokens_per_day: 20000000", "tokens_per_day: 25"), calls)
    one = replayed(found)
    assert effects(one) == {("at once", "within-budget"): 10}
    assert [(u.control, u.calls) for u in one.unsaid] == [("within-budget", 2)]


def test_a_control_that_depends_on_time_refuses_from_a_moment_on(house: House, calls: Calls) -> None:
    subject = house.live()
    live_at = house.clock()
    house.clock.advance(20 * DAY)
    for number in range(40):
        calls.add(subject, live_at + SECOND + number * DAY // 2)
    found = radius(house, lambda text: text.replace("review_days: 365", "review_days: 7"), calls)
    one = replayed(found)
    after = sum(live_at + SECOND + n * DAY // 2 > live_at + 7 * DAY for n in range(40))
    assert effects(one) == {("at once", "review-current"): after}
    assert one.effects[0].examples[0] == f"call-{40 - after:06d}"


def test_what_was_not_recorded_is_not_guessed(house: House, calls: Calls) -> None:
    subject = house.live()
    for findings in ([], ["input: password", "input: password"], []):
        calls.add(subject, house.clock() + SECOND, findings=findings)
    calls.add(subject, house.clock() + SECOND, verdict="deny", status="refused")
    calls.add(subject, house.clock() + SECOND, route="evaluation")

    def edit(text: str) -> str:
        text = text.replace("max_prompt_chars: 40000", "max_prompt_chars: 200").replace(
            "lease_ms: 30000", "lease_ms: 500"
        )
        return text.replace(
            "output: {secrets: observe, personal-data: observe}", "output: {secrets: block, personal-data: block}"
        )

    one = replayed(radius(house, edit, calls))
    unsaid = {(u.when, u.control): u.calls for u in one.unsaid}
    # The release looked for secrets only, so nobody can say what personal data its answers held.
    assert unsaid == {
        ("at once", "prompt-length"): 3,
        ("at once", "standing-fresh"): 3,
        ("with its next release", "guardrail-output/personal-data"): 3,
    }
    assert (one.refused, one.refused_then) == (0, 1)


def test_findings_on_record_say_what_a_stricter_guardrail_stops(house: House, calls: Calls) -> None:
    subject = house.live()
    for findings in ([], ["output: GitHub token"], ["output: GitHub token", "output: password"], ["input: password"]):
        calls.add(subject, house.clock() + SECOND, findings=findings)
    one = replayed(radius(house, lambda t: t.replace("output: {secrets: observe", "output: {secrets: block"), calls))
    (effect,) = one.effects
    assert (effect.when, effect.control, effect.outcome, effect.calls) == (
        "with its next release",
        "guardrail-output/secrets",
        "refused",
        2,
    )
    assert one.refused == 0  # at once nothing is: what guards a release is in it


def test_a_changed_question_moves_tiers_and_says_what_is_owed_then(house: House, calls: Calls) -> None:
    subject = house.live()
    calls.add(subject, house.clock() + SECOND)
    waiting = house.propose(house.use_case(id="another"))

    def edit(text: str) -> str:
        text = text.replace(
            "{impact: low, autonomy: assistive, tier: 1}", "{impact: low, autonomy: assistive, tier: 3}"
        )
        return text.replace("accept: [{body: domain, decides: ownership}]", "accept: [{body: coe, decides: technical}]")

    found = radius(house, edit, calls)
    assert [(m.use_case, m.before, m.after) for m in found.tiers] == [(NAME, 1, 3)]
    assert "released again" in found.tiers[0].fix
    (asked,) = found.approvals
    assert (f"approval/{asked.approval}", asked.what) == (waiting, "other bodies")
    assert (asked.before, asked.after) == (("1 of domain (ownership)",), ("1 of coe (technical)",))
    one = replayed(found)
    assert ("once it is rated anew", "evals-fresh") in effects(one)  # tier 3 owes it, and no evaluation is on record


def test_a_live_release_that_owes_more_fails_its_gate(house: House) -> None:
    subject = house.live()
    found = radius(
        house, lambda text: text.replace("review-current]", "review-current, canaries-fire, stop-drilled]", 1)
    )
    assert found.gates == ()  # a drill is on record
    digest, number = house.built(subject, without="red-teamed", prompt="another")
    house.grant(house.asked(lambda: go_live(house.governor, "leo.fischer", subject, digest, number)))
    found = radius(house, lambda text: text.replace("review-current]", "review-current, red-teamed]", 1))
    (line,) = found.gates
    assert (line.use_case, line.control, line.state) == (NAME, "red-teamed", "not evidenced")
    assert line.fix


def test_people_lose_and_gain_and_an_approval_may_have_nobody_left(house: House) -> None:
    waiting = house.propose()

    text = house.model_file().plain()
    voters = [
        p["id"]
        for p in text["people"]
        for s in p["seats"]
        if s == {"body": "domain", "role": "approver", "domain": "people"}
    ]
    body = {
        **text,
        "people": [
            {**p, "seats": [{"body": "audit", "role": "reader"}]} if p["id"] in voters else p for p in text["people"]
        ],
    }
    ground = Ground(house.engine, CATALOGUE, {}, house.clock())
    found = blast(ground, house.model, proposed(body), 0)
    assert found.calls is None
    (asked,) = found.approvals
    assert (f"approval/{asked.approval}", asked.what) == (waiting, "nobody left")
    lost = {r.person: r for r in found.people}
    assert set(lost) == set(voters)
    assert "domain.approver@people" in lost[voters[0]].seats_lost
    assert "kernel:approval:vote (people)" in lost[voters[0]].lost


def test_a_span_that_may_not_be_asked_for(house: House) -> None:
    with pytest.raises(InvalidInput, match="93 days"):
        radius(house, str, None, days=93)


def test_every_secret_that_is_looked_for_has_its_kind() -> None:
    policy = {"secrets": "observe", "personal-data": "observe"}
    assert {kind_of(label, policy) for label in SECRETS} == {"secrets"}
    assert kind_of("payment card", policy) == "personal-data"
    assert kind_of("anything", {**policy, "x:own": "block"}) is None
    labels = {
        cell.cell_contents
        for d in DETECTORS
        for cell in getattr(d.find, "__closure__", None) or ()
        if isinstance(cell.cell_contents, str)
    }
    assert labels <= SECRETS | {"secrets"}
    assert len(labels) > 5
