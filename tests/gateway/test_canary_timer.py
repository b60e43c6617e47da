"""Synthetic violations while the gateway serves: what does not stop them any more has consequences."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select
from tests import served
from tests.gateway.test_door import CONTROLS, HR, MODEL, Gateway, Records, passages

from bedplate.bootstrap import open_installation, wall_clock
from bedplate.config import Settings
from bedplate.errors import Full, Unavailable
from bedplate.gateway import custom
from bedplate.gateway.call import Trace
from bedplate.gateway.canary import CARD, KEY, Canaries, Tried
from bedplate.gateway.door import Door
from bedplate.gateway.governance import unproven
from bedplate.gateway.guardrail import Guard
from bedplate.gateway.tables import usage
from bedplate.incidents.actions import close
from bedplate.incidents.ladder import rung_after
from bedplate.incidents.views import incidents
from bedplate.kernel.clock import DAY, SECOND
from bedplate.kernel.control import Control, Pass
from bedplate.kernel.standing import Rung
from bedplate.testing import ScriptedUpstream, SettableClock
from bedplate.worker import FIRST_CANARIES, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bedplate.gateway.snapshot import Snapshot
    from bedplate.installation import Installation

ROUTINE, ASSURED = f"usecase/{served.HR}", f"usecase/{served.RIGHTS}"
EVERY = Settings().canary_every_s * SECOND
OPTIONS = {
    "terms": ["Project Atlas"],
    "max_answer_chars": 60,
    "schema": {"type": "object"},
    "passages": 4,
    "unanswered": "The handbook does not cover this.",
}
MODES = {
    "personal-data": ("observe", "redact", "ask", "block"),
    "secrets": ("observe", "redact", "ask", "block"),
    "terms": ("observe", "redact", "ask", "block"),
    "injection": ("observe", "ask", "block"),
    "length": ("observe", "redact", "ask", "block"),
    "citations": ("observe", "ask", "block"),
    "schema": ("observe", "ask", "block"),
}
WAYS = dict.fromkeys(("length", "citations", "schema"), ("output",))
POLICIES = [(way, kind, mode) for kind in MODES for way in WAYS.get(kind, ("input", "output")) for mode in MODES[kind]]


def guardrails(**ways: dict[str, str]) -> dict[str, Any]:
    return {"input": {}, "output": {}, "max_prompt_chars": 40_000, **ways}


def tried(gateway: Gateway, door: Door | None = None) -> dict[str, Tried]:
    found = asyncio.run(Canaries(door or gateway.door, CONTROLS).tried(HR))
    assert len({one.control for one in found}) == len(found)
    return {one.control: one for one in found}


def failing(found: dict[str, Tried]) -> list[str]:
    return sorted(name for name, one in found.items() if not one.fired)


def blunted(name: str) -> tuple[Control, ...]:
    """Return the controls with one that lets everything pass."""
    return tuple(replace(c, check=lambda _case: Pass()) if c.name == name else c for c in CONTROLS)


NAMED = {"review-current", "evals-fresh", "canaries-fire"}
OWED = [c.name for c in CONTROLS if c.phase == "call" and (c.always or c.name in NAMED)]


@pytest.mark.parametrize("tier", [1, 2, 3, 4])
def test_in_a_healthy_house_everything_fires_and_nothing_leaves(tier: int) -> None:
    upstream = ScriptedUpstream()
    gateway = Gateway(tier=tier, upstream=upstream, retrieve=passages)

    found = tried(gateway)

    assert failing(found) == []
    guards = {f"guardrail-{way}/{kind}" for way in ("input", "output") for kind in ("personal-data", "secrets")}
    owed = set(OWED) - (set() if tier > 2 else {"canaries-fire"}) - (set() if tier > 1 else {"evals-fresh"})
    assert set(found) == owed | {"prompt-length"} | guards
    assert found.keys() == Canaries(gateway.door, CONTROLS).names(HR)
    assert upstream.seen == []


def test_they_are_on_record_as_what_they_are_and_cost_nothing() -> None:
    gateway = Gateway(tier=3)

    found = tried(gateway)

    assert {e["route"] for e in gateway.records.all} == {"canary"}
    assert {e["key"] for e in gateway.records.all} == {"key/canary"}
    assert {e["upstream"] for e in gateway.records.all if e["kind"] == "call.completed"} == {"canary"}
    assert sum(e["cost_nano"] + e["tokens_in"] for e in gateway.records.all) == 0
    assert {one.call for one in found.values()} <= {e["id"] for e in gateway.records.all}
    spent = gateway.budgets.today(HR, gateway.clock())
    assert (spent.calls, spent.tokens) == (0, 0)
    kept = str([c for c in gateway.records.contents if c is not None])
    assert KEY not in kept, "what is blocked is nowhere kept"


@pytest.mark.parametrize(("way", "kind", "mode"), POLICIES)
def test_each_kind_of_guardrail_is_tried_in_each_mode(way: str, kind: str, mode: str) -> None:
    recipe = {"guardrails": guardrails(**{way: {kind: mode}}), "options": OPTIONS}
    gateway = Gateway(recipe=recipe)
    name = f"guardrail-{way}/{kind}"

    found = tried(gateway)

    assert failing(found) == []
    assert name in found

    for guard in ("guard_in", "guard_asked", "guard_out", "guard_answer"):
        object.__setattr__(gateway.snapshot.recipes[HR], guard, Guard({}))
    assert failing(tried(gateway)) == [name], "nothing looks any more"


def badges(text: str) -> list[tuple[str, int, int]]:
    return [("badge number", place, place + 5) for place in range(len(text)) if text.startswith("B-", place)]


def broken(text: str) -> list[tuple[str, int, int]]:
    raise RuntimeError(text)


@pytest.mark.parametrize("way", ["input", "output"])
@pytest.mark.parametrize("mode", ["observe", "redact", "ask", "block"])
def test_a_guardrail_of_others_is_tried_with_what_it_must_find(
    way: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Offered(EntryPoint):
        def load(self) -> object:
            return {"badges": badges, "broken": broken}[self.name]

    entries = [Offered(name, "acme:find", custom.GROUP) for name in ("badges", "broken")]
    monkeypatch.setattr(custom, "entry_points", lambda group: [e for e in entries if e.group == group])
    for name, text, failed in (
        ("badges", "my badge is B-123", []),
        ("badges", "my badge is lost", [f"guardrail-{way}/x:badges"]),
        ("broken", "anything", [f"guardrail-{way}/x:broken"]),
    ):
        policy = guardrails(**{way: {f"x:{name}": mode}})
        gateway = Gateway(recipe={"guardrails": policy, "options": {"canaries": {name: text}}})
        assert failing(tried(gateway)) == failed
    policy = guardrails(**{way: {"x:broken": mode}})
    found = tried(Gateway(recipe={"guardrails": policy, "options": {"canaries": {"broken": "anything"}}}))
    assert found[f"guardrail-{way}/x:broken"].why == "its canary: not found", "what could not be checked proves nothing"


@pytest.mark.parametrize(("way", "mode"), [(w, m) for w in ("input", "output") for m in ("redact", "ask", "block")])
def test_a_guard_that_finds_and_lets_go_on_is_told_from_one_that_stops(way: str, mode: str) -> None:
    gateway = Gateway(recipe={"guardrails": guardrails(**{way: {"personal-data": mode}})})
    guard = {"input": "guard_in", "output": "guard_out"}[way]
    object.__setattr__(gateway.snapshot.recipes[HR], guard, Guard({"personal-data": "observe"}))

    found = tried(gateway)

    assert failing(found) == [f"guardrail-{way}/personal-data"]
    assert found[f"guardrail-{way}/personal-data"].why == "payment card: found, and let go on"


@pytest.mark.parametrize("name", OWED)
def test_a_control_that_lets_everything_pass_does_not_fire(name: str) -> None:
    gateway = Gateway(tier=4)
    door = Door(replace(gateway.door.parts, controls=blunted(name)))

    assert failing(tried(gateway, door)) == [name]


def test_a_control_that_is_owed_and_not_there_does_not_fire() -> None:
    gateway = Gateway()
    there = tuple(c for c in CONTROLS if c.name != "within-budget")

    assert failing(tried(gateway, Door(replace(gateway.door.parts, controls=there)))) == ["within-budget"]


@pytest.mark.parametrize("standing", [{"rung": Rung.OFF}, {"facts": {"releases.live_at": 0}}])
def test_where_every_call_is_refused_nothing_is_concluded_about_guardrails(standing: dict[str, Any]) -> None:
    found = tried(Gateway(standing=standing))

    assert failing(found) == []
    assert not any(name.startswith("guardrail-") or name == "prompt-length" for name in found)


@pytest.mark.parametrize("rung", [Rung.READ, Rung.PROPOSE])
def test_on_a_lower_rung_guardrails_are_tried_all_the_same(rung: Rung) -> None:
    assert "guardrail-output/secrets" in tried(Gateway(standing={"rung": rung}))


def test_what_cannot_be_recorded_is_not_tried() -> None:
    for records in (Records(healthy=False), Records(fails=Full("the disk is full"))):
        gateway = Gateway(records=records)
        with pytest.raises(Unavailable):
            tried(gateway)


def test_many_use_cases_take_turns() -> None:
    gateway = Gateway()
    names = ["usecase/a", "usecase/b", "usecase/c"]

    def live(*subjects: str, **changes: Any) -> Snapshot:
        standing = gateway.snapshot.standings[HR]
        standings = {s: replace(standing, subject=s, **changes) for s in subjects}
        return replace(
            gateway.snapshot, standings=standings, recipes=dict.fromkeys(subjects, gateway.snapshot.recipes[HR])
        )

    gateway.follower.snapshot = live(*names)
    turns = Canaries(gateway.door, CONTROLS, most=2)
    assert [turns.due() for _ in range(3)] == [names[:2], ["usecase/c", "usecase/a"], names[1:]]
    gateway.follower.snapshot = live("usecase/a")
    assert [turns.due() for _ in range(2)] == [["usecase/a"]] * 2
    gateway.follower.snapshot = live("usecase/a", suspended="a drill")
    assert turns.due() == []


# What follows from it: the verdict and the ladder


@pytest.mark.parametrize(
    ("tier", "rung", "refused"),
    [(1, Rung.ACT, False), (3, Rung.ACT, True), (3, Rung.PROPOSE, False), (4, Rung.ACT, True), (4, Rung.READ, True)],
)
def test_an_unproven_control_refuses_where_nobody_looks_at_each_answer(tier: int, rung: Rung, *, refused: bool) -> None:
    gateway = Gateway(tier=tier, standing={"rung": rung})
    facts = {**gateway.snapshot.standings[HR].facts, "gateway.unproven": ["guardrail-input/secrets"]}
    object.__setattr__(gateway.snapshot.standings[HR], "facts", facts)

    answer = gateway.ask()

    assert (answer.status == 403) is refused
    if refused:
        assert [r[0] for r in gateway.records.last["reasons"]] == ["canaries-fire"]
    assert tried(gateway)["guardrail-input/secrets"].fired, "or it would never be proven again"


@pytest.mark.parametrize("tier", [1, 2, 3, 4])
@pytest.mark.parametrize("rung", Rung)
@pytest.mark.parametrize("breaches", [0, 3])
def test_the_ladder_leads_tiers_3_and_4_to_propose_and_never_up(tier: int, rung: Rung, breaches: int) -> None:
    expected = min(rung, Rung.PROPOSE) if tier > 2 else rung
    assert rung_after(MODEL.plan(tier), "unproven", rung, breaches) is expected


# On the worker's timer


@pytest.fixture
def at() -> Iterator[Installation]:
    made = open_installation(Settings(data=served.fresh()), SettableClock(wall_clock()))
    made.follower.look()
    yield made
    asyncio.run(made.close())


def go(at: Installation, micros: int) -> int:
    assert isinstance(at.clock, SettableClock)
    at.clock.advance(micros)
    at.follower.look()
    return at.clock()


def round_of(at: Installation, controls: tuple[Control, ...] = CONTROLS) -> Worker:
    """Start a worker over a door with these controls, and let it do its first round."""
    at.door = Door(replace(at.door.parts, controls=controls))
    worker = Worker(at)
    worker.canaries(go(at, FIRST_CANARIES))
    return worker


def opened(at: Installation, subject: str) -> list[str]:
    return [str(i["cause"]) for i in incidents(at.engine, subject, only_open=True)]


def test_the_evals_of_what_is_live_grow_old_with_the_clock(at: Installation) -> None:
    def refused_by(subject: str) -> list[str]:
        at.follower.look()
        trace = Trace("1", subject, "key/x", "live", at.clock(), "0" * 64)
        return [reason.control for reason in at.door.judged(trace, "default")]

    assert refused_by(ASSURED) == []
    go(at, 89 * DAY)
    assert refused_by(ASSURED) == []
    go(at, 2 * DAY)
    assert refused_by(ASSURED) == ["evals-fresh"]
    assert refused_by(ROUTINE) == [], "its tier does not ask for it"


def test_a_healthy_house_records_canaries_and_opens_nothing(at: Installation) -> None:
    before = at.ledger.size()

    round_of(at)

    made = at.calls.search(text='"route":"canary"', limit=1000)
    assert {c.entry["use_case"] for c in made} == {ROUTINE, ASSURED}
    assert at.ledger.size() == before
    assert [opened(at, s) for s in (ROUTINE, ASSURED)] == [[], []]


def test_what_does_not_fire_is_unproven_has_an_incident_and_lowers_tier_3(at: Installation) -> None:
    round_of(at, blunted("within-budget"))

    for subject, rung in ((ROUTINE, Rung.ACT), (ASSURED, Rung.PROPOSE)):
        standing = at.standing(subject)
        assert unproven(standing) == ["within-budget"]
        assert standing.rung is rung
        assert len(standing.breaches) == 1
        assert opened(at, subject) == ["canary/within-budget"]


def test_a_guardrail_that_does_not_fire_is_unproven_within_one_round(at: Installation) -> None:
    recipe = at.follower.snapshot.recipes[ASSURED]
    assert recipe.guardrails["input"]["personal-data"] == "redact"
    object.__setattr__(recipe, "guard_in", Guard({"personal-data": "observe", "secrets": "block"}))

    round_of(at)

    assert unproven(at.standing(ASSURED)) == ["guardrail-input/personal-data"]
    assert at.standing(ASSURED).rung is Rung.PROPOSE
    assert unproven(at.standing(ROUTINE)) == []
    frozen = incidents(at.engine, ASSURED, only_open=True)[0]
    assert frozen["severity"] == "unproven"


def test_it_is_noted_once_and_proven_again_when_it_fires_and_the_rung_stays(at: Installation) -> None:
    worker = round_of(at, blunted("within-budget"))
    size = at.ledger.size()
    worker.canaries(go(at, EVERY))
    assert at.ledger.size() == size, "the second round says nothing new"

    round_of(at)

    for subject in (ROUTINE, ASSURED):
        assert unproven(at.standing(subject)) == []
        assert opened(at, subject) == ["canary/within-budget"], "its owner closes it"
    assert at.standing(ASSURED).rung is Rung.PROPOSE, "only an approval moves it up"


def test_after_a_restart_it_is_still_unproven_and_nothing_is_opened_twice(at: Installation) -> None:
    round_of(at, blunted("within-budget"))
    size = at.ledger.size()

    round_of(at, blunted("within-budget"))

    assert at.ledger.size() == size


def test_an_incident_that_is_closed_while_it_is_unproven_opens_again(at: Installation) -> None:
    worker = round_of(at, blunted("within-budget"))
    (incident,) = incidents(at.engine, ROUTINE, only_open=True)
    close(at.governor, "mara.quinn", ROUTINE, str(incident["id"]), "it will be all right")

    worker.canaries(go(at, EVERY))

    (again,) = incidents(at.engine, ROUTINE, only_open=True)
    assert again["id"] != incident["id"]


def test_what_is_not_owed_any_more_is_not_unproven_for_ever(at: Installation) -> None:
    extra = replace(CONTROLS[0], name="was-there", phase="call", always=True, actions=(), check=lambda _case: Pass())
    worker = round_of(at)
    worker._canaries = Canaries(at.door, [*CONTROLS, extra])
    worker.canaries(go(at, EVERY))
    assert unproven(at.standing(ROUTINE)) == ["was-there"]

    round_of(at)

    assert unproven(at.standing(ROUTINE)) == []


def canaries_of(at: Installation) -> int:
    return len(at.calls.search(text='"route":"canary"', limit=10_000))


def test_they_come_a_minute_after_the_start_then_on_time_whatever_the_clock_does(at: Installation) -> None:
    worker, made = Worker(at), []
    for step in (0, FIRST_CANARIES - 1, 1, EVERY - 1, 1, -DAY, EVERY - 1, 1, 3 * DAY, 1):
        before = canaries_of(at)
        worker.canaries(go(at, step))
        made.append(canaries_of(at) > before)

    assert made == [False, False, True, False, True, True, False, True, True, False]


def test_a_use_case_that_cannot_be_tried_does_not_hold_up_the_others(at: Installation) -> None:
    recipe = at.follower.snapshot.recipes[ASSURED]
    object.__setattr__(recipe, "guardrails", {})  # nothing that a release could hold
    object.__setattr__(at.follower.snapshot.recipes[ROUTINE], "guard_in", Guard({}))

    round_of(at)

    assert unproven(at.standing(ROUTINE))


def test_they_count_in_no_budget_usage_or_monitor(at: Installation) -> None:
    spent = at.budgets.today(ASSURED, at.clock())
    worker = round_of(at)
    assert canaries_of(at)
    assert at.budgets.today(ASSURED, at.clock()) == spent
    at.usage.roll(at.journal.shard)
    with at.engine.connect() as connection:
        assert "canary" not in connection.execute(select(usage.c.route)).scalars().all()
    assert at.usage.differs() == []
    calls = worker._recent(ASSURED, at.standing(ASSURED), 1000)
    assert not [c for c in calls if c.entry["route"] == "canary"]


def test_a_card_is_in_no_text_that_goes_on() -> None:
    gateway = Gateway(tier=3)
    tried(gateway)
    assert CARD not in str([c for c in gateway.records.contents if c is not None])
