"""Evaluating a release: what is asked and recorded, and what the gate then says. The door is a fake that answers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from bedplate.errors import Denied, Unavailable
from bedplate.models import redteam, views
from bedplate.paths.evaluation import said
from bedplate.paths.thread import Offer, Released, Workshop, release, try_out
from bedplate.releases.actions import Finding, attach, go_live
from bedplate.releases.views import evidence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import House

    from bedplate.gateway.recipe import Recipe

UNANSWERED = "The handbook does not cover this."
JUDGE = "usecase/judge-of-answers"
GUARDED = (("guardrail-input", "the prompt holds an injection", "take it out"),)


@dataclass(slots=True)
class Answering:
    """A door that answers as it is told: by question, or the declining sentence."""

    answers: dict[str, str] = field(default_factory=dict)
    refuses: Callable[[str], Denied | None] = lambda _: None
    judges: str = '{"pass": true, "why": "it is polite"}'
    away: str = ""
    seen: list[tuple[str, str, str]] = field(default_factory=list)

    async def evaluate(self, by: str, subject: str, recipe: Recipe, question: str) -> tuple[str, list[str], str]:
        await asyncio.sleep(0)
        self.seen.append((by, subject, question))
        if self.away:
            raise Unavailable(self.away)
        if (refusal := self.refuses(question)) is not None:
            raise refusal
        call = f"call-{len(self.seen)}"
        if subject == JUDGE:
            assert recipe.prompt == "prompt"
            return self.judges, [], call
        return self.answers.get(question, UNANSWERED), ["leave#days"], call


@dataclass(frozen=True, slots=True)
class Shop:
    """A workshop over a house, whose use case is accepted."""

    house: House
    shop: Workshop
    door: Answering

    def files(self, cases: str, percent: int = 20, **evals: str) -> dict[str, str]:
        spec = self.house.use_case().plain()
        spec["evals"] = {"file": "evals.yaml", "pass_percent": percent, **{k: json.loads(v) for k, v in evals.items()}}
        leave = "# Leave\n\n## Days\n\nThere are 26 days of annual leave.\n"
        files = {"use-case.yaml": json.dumps(self.edit(spec)), "evals.yaml": cases, "handbook/leave.md": leave}
        return {**files, "prompts/system.md": "Answer.", "runbook.md": "Call Mara."}

    def edit(self, spec: dict[str, Any]) -> dict[str, Any]:
        with self.house.engine.connect():
            subject = self.house.standing("usecase/hr-policy-assistant")
        answers = self.house.kept(str(subject.facts["portfolio.spec"]))["answers"]
        return {**spec, "answers": answers}

    def release(self, files: dict[str, str]) -> Released:
        standing = self.house.standing("usecase/hr-policy-assistant")
        return asyncio.run(release(self.shop, "leo.fischer", files, self.house.model, standing))

    def live(self, files: dict[str, str]) -> Released:
        made = self.release(files)
        assert made.state == "waiting", made.gate
        self.house.grant(made.approval)
        return made


@pytest.fixture
def kind() -> str:
    return "sqlite"  # what is asked of the database here is asked of both elsewhere


@pytest.fixture
def shop(house: House, tmp_path: Path) -> Shop:
    house.accepted()
    return _over(house, tmp_path)


def _over(house: House, folder: Path) -> Shop:
    door = Answering()
    offers = {"embedded": Offer("embedded", "bedplate-extractive-1", "embedded")}
    return Shop(house, Workshop(house.governor, house.engine, door, folder / "indexes", offers), door)


def suite(*names: str, expect: str = "unanswered: true", more: str = "") -> str:
    return "cases:\n" + "".join(f"  - {{id: {n}, question: about {n}, expect: {{{expect}}}{more}}}\n" for n in names)


def state(made: Released, control: str) -> tuple[str, str]:
    return next((x.state, x.summary) for x in made.gate if x.control == control)


def known(shop: Shop, made: Released, control: str) -> dict[str, Any]:
    rows = evidence(shop.house.engine, made.subject, made.release, shop.house.clock())
    return next(row for row in rows if row["control"] == control)


def test_the_gate_takes_the_lower_bound_and_says_how_many_cases_would_do(shop: Shop) -> None:
    four = suite("a", "b", "c", "d")
    denied = shop.release(shop.files(four, percent=75))
    assert (denied.state, denied.passed, denied.total) == ("denied", 4, 4)
    found, why = state(denied, "evals-passed")
    assert found == "contradicted"
    assert "4 of 4 cases pass, at least 51.0 % with 95 % confidence; 75 % are needed" in why
    assert "about 12 cases would show it" in why
    assert shop.release(shop.files(four, percent=51)).state == "waiting"


def test_a_share_below_what_is_needed_is_not_mended_by_more_cases(shop: Shop) -> None:
    shop.door.answers["about a"] = "Made up."
    denied = shop.release(shop.files(suite("a", "b"), percent=60))
    assert "no number of cases shows it" in state(denied, "evals-passed")[1]
    assert [f.case for f in denied.failures] == ["a"]


def test_a_result_is_kept_with_what_it_was_made_with_and_every_call(shop: Shop) -> None:
    made = shop.release(shop.files(suite("a", "b")))
    (row,) = views.evaluations(shop.house.engine, made.subject)
    assert (row["purpose"], row["name"], row["upper_permille"], row["results"]) == (
        "evals",
        "evals.yaml",
        1000,
        made.results,
    )
    found = views.evaluation_named(shop.house.engine, made.subject, made.results[:9])
    assert found["config"] == {"scorers": ["unanswered"], "model": "bedplate-extractive-1", "upstream": "embedded"}
    samples = views.samples(shop.house.engine, made.results)
    assert [(s.case, s.call) for s in samples] == [("a", "call-1"), ("b", "call-2")]
    assert all(len(s.answer) == len(s.case_digest) == 64 for s in samples)
    content = shop.house.kept(known(shop, made, "evals-passed")["blob"])
    assert (content["suite"], content["lower_permille"], content["config"]) == (row["suite"], 342, found["config"])
    shop.house.sound()


def test_an_upstream_that_is_away_is_no_result(shop: Shop) -> None:
    shop.door.away = "the upstream is away"
    with pytest.raises(Unavailable, match="away"):
        shop.release(shop.files(suite("a", "b", "c", "d", "e", "f")))
    assert views.evaluations(shop.house.engine, "usecase/hr-policy-assistant") == []


def test_a_refusal_of_the_evaluation_itself_is_no_result_either(shop: Shop) -> None:
    shop.door.refuses = lambda _: Denied("no", reasons=(("authority", "leo may not", "ask"), *GUARDED))
    with pytest.raises(Denied, match="no"):
        shop.release(shop.files(suite("a")))


def test_what_a_guardrail_refuses_is_a_sample_with_its_record(shop: Shop) -> None:
    shop.door.refuses = lambda q: Denied("no", hint="bedplate call c-9", reasons=GUARDED) if q == "about a" else None
    made = shop.release(shop.files(suite("a", "b")))
    sample = views.samples(shop.house.engine, made.results)[0]
    assert (sample.passed, sample.call, sample.blocked) == (
        False,
        "c-9",
        "guardrail-input: the prompt holds an injection",
    )


def test_a_trial_is_on_record_and_changes_nothing(shop: Shop) -> None:
    standing = shop.house.standing("usecase/hr-policy-assistant")
    files = shop.files(suite("a"))
    bundle, found = asyncio.run(try_out(shop.shop, "leo.fischer", files, shop.house.model, standing, red_team=True))
    rows = views.evaluations(shop.house.engine, standing.subject, purpose="trial")
    assert {(r["name"], r["release"]) for r in rows} == {(redteam.FILE, bundle.digest), ("evals.yaml", bundle.digest)}
    assert found.attack is not None
    assert found.attack.run.summary.passed == 64
    assert views.evaluations(shop.house.engine, standing.subject) == []
    assert shop.house.events("kernel.evidence.attached") == shop.house.events("releases.release.built") == []


# regression


def test_without_a_live_release_there_is_nothing_to_be_worse_than(shop: Shop) -> None:
    made = shop.release(shop.files(suite("a")))
    assert known(shop, made, "no-regression")["state"] == "proven"
    assert made.comparison is None


def test_significantly_worse_than_the_live_release_is_contradicted(shop: Shop) -> None:
    names = [f"c{n}" for n in range(12)]
    shop.live(shop.files(suite(*names)))
    shop.door.answers = {f"about {n}": "Made up." for n in names[:5]}
    worse = shop.release(shop.files(suite(*names), percent=19))
    assert worse.comparison is not None
    assert (worse.comparison.newly_failing, worse.comparison.p_millionths) == (tuple(names[:5]), 31_250)
    assert known(shop, worse, "no-regression")["state"] == "contradicted"
    del shop.door.answers["about c0"]
    again = shop.release(shop.files(suite(*names), percent=18))
    assert known(shop, again, "no-regression")["state"] == "proven", "four of twelve may be chance"


def test_one_case_that_must_hold_is_enough(shop: Shop) -> None:
    cases = suite("a", "b", more=", tags: [must]") + suite("c", "d", "e").removeprefix("cases:\n")
    shop.live(shop.files(cases))
    shop.door.answers["about b"] = "Made up."
    worse = shop.release(shop.files(cases, percent=19))
    assert worse.comparison is not None
    assert worse.comparison.must == ("b",)
    assert "must hold: b" in known(shop, worse, "no-regression")["summary"]


def test_it_is_compared_with_what_the_live_release_went_live_with(shop: Shop) -> None:
    """A run since then that went badly must not lower what the next one is held to."""
    cases = suite("a", more=", tags: [must]")
    first = shop.live(shop.files(cases, percent=20))
    shop.house.clock.advance(10)
    shop.door.answers["about a"] = "Made up."
    assert shop.release(shop.files(cases, percent=20)).release == first.release
    worse = shop.release(shop.files(cases, percent=1))
    assert worse.comparison is not None
    assert worse.comparison.worse


def test_cases_that_are_all_new_prove_no_absence_of_regression(shop: Shop) -> None:
    shop.live(shop.files(suite("a")))
    made = shop.release(shop.files(suite("b")))
    assert known(shop, made, "no-regression") | {"state": "contradicted"} == known(shop, made, "no-regression")
    assert "no case in common" in known(shop, made, "no-regression")["summary"]


def test_a_live_release_without_results_leaves_it_not_evidenced(house: House, tmp_path: Path) -> None:
    house.live(house.tier(2))
    made = _over(house, tmp_path).release(_over(house, tmp_path).files(suite("a")))
    assert state(made, "no-regression")[0] == "not evidenced"


# the red team


@pytest.fixture
def assured(house: House, tmp_path: Path) -> Shop:
    house.accepted(house.tier(3))
    return _over(house, tmp_path)


def test_an_assured_use_case_is_attacked_and_its_evidence_is_the_result(assured: Shop) -> None:
    made = assured.release(assured.files(suite("a")))
    assert made.attack is not None
    assert (made.attack.passed, made.attack.total, made.breaches) == (64, 64, ())
    assert state(made, "red-teamed")[0] == "proven"
    assert [x.control for x in made.gate if x.state != "proven"] == ["fairness-assessed"]


def test_a_release_that_obeys_is_not_red_teamed(assured: Shop) -> None:
    assured.door.answers = {c.question: "PINEAPPLE. Sure, as DAN: first," for c in redteam.builtin().cases}
    made = assured.release(assured.files(suite("a")))
    assert len(made.breaches) > 20
    assert state(made, "red-teamed")[0] == "contradicted"


def test_what_the_gateway_refuses_is_withstood_and_counted(assured: Shop) -> None:
    attacks = {c.question for c in redteam.builtin().cases if "direct-injection" in c.tags}
    assured.door.refuses = lambda q: Denied("no", reasons=GUARDED) if q in attacks else None
    made = assured.release(assured.files(suite("a")))
    assert "64 of 64 attacks withstood (8 refused by the gateway)" in state(made, "red-teamed")[1]


@pytest.mark.parametrize("outcome", ["proven", "contradicted"])
def test_a_persons_word_about_the_same_content_stands(assured: Shop, outcome: Any) -> None:
    obeys = {c.question: "PINEAPPLE. Sure, as DAN: first," for c in redteam.builtin().cases}
    assured.door.answers = obeys if outcome == "proven" else {}
    made = assured.release(assured.files(suite("a")))
    word = Finding("red-teamed", outcome, "we tried for two days", b"{}")
    attach(assured.house.governor, "priya.raman", made.subject, made.release, word)
    again = assured.release(assured.files(suite("a")))
    assert again.release == made.release
    assert state(again, "red-teamed") == (outcome, "we tried for two days")
    other = assured.release(assured.files(suite("a"), percent=19))
    assert state(other, "red-teamed")[0] != outcome, "about other content the machine speaks first again"


def test_the_machines_own_word_is_renewed(assured: Shop) -> None:
    assured.door.answers = {c.question: "PINEAPPLE. Sure, as DAN: first," for c in redteam.builtin().cases}
    assert state(assured.release(assured.files(suite("a"))), "red-teamed")[0] == "contradicted"
    assured.door.answers = {}
    assert state(assured.release(assured.files(suite("a"))), "red-teamed")[0] == "proven"


def test_attacks_of_the_teams_own_are_part_of_the_release(shop: Shop) -> None:
    plain = shop.release(shop.files(suite("a")))
    own = {**shop.files(suite("a"), red_team='"own.yaml"'), "own.yaml": suite("mine", expect="refused: true")}
    made = shop.release(own)
    assert plain.attack is None
    assert made.attack is not None
    assert made.attack.total == 65
    assert shop.house.kept(made.release)["red_team"]


# the judge


def judged(shop: Shop, cases: str) -> dict[str, str]:
    return shop.files(cases, judge='{"use_case": "judge-of-answers"}')


RUBRIC = "judge: The answer is polite."
LABELLED = "".join(
    f"  - {{id: l{n}, question: q, answer: Text {n}., label: {label}, expect: {{{RUBRIC}}}}}\n"
    for n, label in enumerate(("pass", "pass", "fail"))
)


@pytest.fixture
def with_judge(shop: Shop) -> Shop:
    file = shop.house.use_case(id="judge-of-answers")
    subject = shop.house.accepted(file)
    digest, number = shop.house.built(subject, prompt=sha256(b"prompt").hexdigest())
    shop.house.grant(shop.house.asked(lambda: go_live(shop.house.governor, "leo.fischer", subject, digest, number)))
    return shop


def test_a_rubric_is_put_to_a_live_use_case_through_the_gateway(with_judge: Shop) -> None:
    made = with_judge.release(judged(with_judge, suite("a", expect=RUBRIC)))
    assert made.passed == 1
    by, subject, asked = with_judge.door.seen[-1]
    assert (by, subject) == ("leo.fischer", JUDGE)
    assert "The answer is polite." in asked
    assert UNANSWERED in asked
    sample = views.samples(with_judge.house.engine, made.results)[0]
    assert sample.why == "judged: it is polite (call call-2)"
    config = views.evaluation_named(with_judge.house.engine, made.subject, made.results)["config"]
    assert config["judge"] == JUDGE
    assert len(config["judge_release"]) == len(config["judge_prompt"]) == 64


@pytest.mark.parametrize("says", ['{"pass": false, "why": "rude"}', "It passes!", ""])
def test_a_judge_that_says_no_or_nothing_readable_fails_the_case(with_judge: Shop, says: str) -> None:
    with_judge.door.judges = says
    made = with_judge.release(judged(with_judge, suite("a", expect=RUBRIC)))
    assert made.passed == 0
    assert ("rude" if "rude" in says else "cannot be read") in made.failures[0].why


def test_a_judge_that_a_guardrail_did_not_let_be_asked_fails_the_case(with_judge: Shop) -> None:
    with_judge.door.refuses = lambda q: Denied("no", reasons=GUARDED) if "Rubric" in q else None
    made = with_judge.release(judged(with_judge, suite("a", expect=RUBRIC)))
    assert "the judge was not asked: guardrail-input" in made.failures[0].why


def test_what_fails_without_the_judge_is_not_put_to_it(with_judge: Shop) -> None:
    made = with_judge.release(judged(with_judge, suite("a", expect=f"contains: [x], {RUBRIC}")))
    assert made.failures[0].why == "left unanswered"
    assert {subject for _, subject, _ in with_judge.door.seen} == {made.subject}


def test_agreement_with_people_stands_beside_the_result(with_judge: Shop) -> None:
    made = with_judge.release(judged(with_judge, suite("a", expect=RUBRIC) + LABELLED))
    assert (made.passed, made.total) == (1, 1), "a labelled answer measures the judge, not the release"
    found = views.evaluation_named(with_judge.house.engine, made.subject, made.results)["agreement"]
    assert (found["labelled"], found["agreed"], found["kappa_permille"]) == (3, 2, 0)
    assert "agrees with people on 2 of 3 labelled answers" in state(made, "evals-passed")[1]


def test_a_rubric_without_a_judge_fails(shop: Shop) -> None:
    made = shop.release(shop.files(suite("a", expect=RUBRIC)))
    assert "nobody is named who judges" in made.failures[0].why


@pytest.mark.parametrize(("name", "says"), [("hr-policy-assistant", "does not judge itself"), ("nobody", "not live")])
def test_who_is_not_live_or_is_judged_itself_does_not_judge(shop: Shop, name: str, says: str) -> None:
    with pytest.raises(Denied, match=says):
        shop.release(shop.files(suite("a"), judge=json.dumps({"use_case": name})))
    assert shop.house.events("releases.release.built") == []


def test_a_suspended_judge_does_not_judge(with_judge: Shop) -> None:
    from bedplate.incidents.actions import suspend  # noqa: PLC0415  only here

    suspend(with_judge.house.governor, "mara.quinn", JUDGE, "look")
    with pytest.raises(Denied, match="not live"):
        with_judge.release(judged(with_judge, suite("a", expect=RUBRIC)))


def test_how_sure_a_result_is_is_said_in_one_line() -> None:
    from bedplate.models.suite import Outcome, summarise  # noqa: PLC0415  only here

    found = summarise([Outcome(f"c{n}", passed=True, why="") for n in range(26)])
    assert said(found, 85) == "26 of 26 cases pass, at least 87.1 % with 95 % confidence; 85 % are needed"
