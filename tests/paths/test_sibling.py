"""A path and its siblings on the ledger: what is agreed, what is inherited, and how the records name it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.conftest import MUTUAL, House

from bedplate.document import InvalidDocument, parse
from bedplate.errors import Denied, InvalidInput, NeedsApproval, NotFound
from bedplate.kernel.clock import DAY
from bedplate.kernel.risk import rate
from bedplate.paths.actions import publish, withdraw
from bedplate.paths.declaration import check_declaration, declared_by
from bedplate.paths.envelope import deviations
from bedplate.paths.path import SPEC, Path, answered, answers_of, hand_written, render, template_of
from bedplate.paths.sibling import origin_of, owed, take_over
from bedplate.paths.upgrade import merge
from bedplate.paths.views import next_version, path, paths, siblings, way
from bedplate.portfolio.actions import propose, retire
from bedplate.portfolio.usecase import UseCaseFile
from bedplate.releases.actions import ask_to_go_live, build
from bedplate.releases.views import evidence
from bedplate.testing import small_model
from bedplate.vendors.actions import rely

if TYPE_CHECKING:
    from bedplate.kernel.event import Data
    from bedplate.paths.thread import Workshop

MODEL = small_model()
PROMPT = "You answer for Harbour Mutual at $0.\n"
NAME = "hr-policy-assistant"


@dataclass(frozen=True)
class Shop:
    """As much of a workshop as is needed to take evidence over."""

    governor: Any
    engine: Any


def source_files(tier: int = 1) -> dict[str, str]:
    text = (MUTUAL / NAME / SPEC).read_text()
    text = text.replace("affects-rights: no", "affects-rights: yes") if tier > 1 else text
    evals = "cases:\n  - id: own\n    question: Whose?\n    expect: {contains: [x]}\n"
    return {
        SPEC: text,
        "prompts/system.md": PROMPT,
        "evals.yaml": evals + "  - id: no\n    question: No?\n    expect: {unanswered: true}\n",
        "runbook.md": "# Runbook\n",
    }


def live_source(house: House, files: dict[str, str], tier: int = 1) -> str:
    """Take the first use case live with these files; returns its release."""
    subject = house.accepted(house.tier(tier))
    kept = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    bundle = replace(house.bundle(subject), files=kept)
    build(house.governor, "leo.fischer", bundle, 1, [b"prompt", *(t.encode() for t in files.values())])
    for control in ("prompt-pinned", "evals-passed", "no-regression", "sources-versioned", "runbook-present"):
        house.evidence(subject, bundle.digest, control)
    rely(house.governor, "leo.fischer", subject, bundle.digest, [], {})
    for control in ("fairness-assessed", "red-teamed"):
        house.evidence(subject, bundle.digest, control)
    house.grant(ask_to_go_live(house.governor, "leo.fischer", subject, bundle.digest, 1))
    return bundle.digest


def published(house: House, tier: int = 1, files: dict[str, str] | None = None) -> Path:
    release = live_source(house, files or source_files(tier), tier)
    source = house.tier(tier)
    declared = declared_by(source, rate(house.model.questions, source.answers, house.model.matrix))
    house.grant(house.asked(lambda: publish(house.governor, "mara.quinn", source.subject, release, 1, declared)))
    return path(house.engine, NAME)


def in_memory() -> Path:
    """Return the path as it would be published, without anybody's agreement."""
    source = parse(source_files()[SPEC], SPEC).read(UseCaseFile)
    declared = declared_by(source, rate(MODEL.questions, source.answers, MODEL.matrix))
    files = template_of(source_files(), NAME, 1, declared.asks or ())
    return Path(NAME, 1, "r", files, declared, "d", source.subject)


def said_of(file: UseCaseFile, files: dict[str, str] | None = None) -> list[str]:
    return deviations(in_memory(), file, rate(MODEL.questions, file.answers, MODEL.matrix), files)


def made(found: Path, **answers: str) -> UseCaseFile:
    given = {"id": "second", "title": "Second", "purpose": "Answers something else.", **answers}
    return parse(render(found, answered(found, given))[SPEC], SPEC).read(UseCaseFile)


def proposed(house: House, file: UseCaseFile) -> Data:
    origin = origin_of(house.engine, file, house.model)
    assert origin is not None
    propose(house.governor, "leo.fischer", file, house.model, origin)
    return origin


def test_a_sibling_goes_live_by_the_pre_approval_which_the_ledger_names(house: House) -> None:
    found = published(house)
    assert "$${" not in found.files["prompts/system.md"]
    assert (
        render(found, answered(found, {"id": "ab", "title": "x", "purpose": "ten characters"}))["prompts/system.md"]
        == PROMPT
    )
    file = made(found)
    origin = proposed(house, file)
    assert house.standing("usecase/second").stage == "accepted"
    digest, number = house.built("usecase/second")
    assert ask_to_go_live(house.governor, "leo.fischer", "usecase/second", digest, number, origin) == ""
    (agreed,) = house.events("paths.envelope.agreed")
    for kind in ("portfolio.usecase.accepted", "releases.release.live"):
        event = house.events(kind)[-1]
        assert event.authz["path"] == f"{NAME}@1"
        assert event.authz["preapproval"] == agreed.data["approval"]
    assert next_version(house.engine, NAME) == 2
    assert way(house.engine, "usecase/second")["steps"] == 2
    house.sound()


def test_an_ended_pre_approval_asks_as_without_a_path(house: House) -> None:
    found = published(house)
    file = made(found)
    withdraw(house.governor, "mara.quinn", NAME, 1, "found wanting")
    with pytest.raises(NeedsApproval, match="was withdrawn: found wanting"):
        proposed(house, file)
    assert "found wanting" in paths(house.engine)[0]["ended"]
    house.sound()


@pytest.mark.parametrize(("how", "why"), [("retired", "is retired"), ("expired", "has expired")])
def test_a_path_ends_with_its_source_and_its_evidence(house: House, how: str, why: str) -> None:
    found = published(house)
    if how == "retired":
        retire(house.governor, "mara.quinn", found.source, "done with")
    else:
        house.clock.advance(90 * DAY)
    told = owed(house.governor, house.engine, "leo.fischer", made(found), house.model, source_files())
    assert why in told.ended
    assert told.accept
    assert told.release == told.accept


def test_evidence_about_unchanged_parts_is_taken_over_with_its_own_expiry(house: House) -> None:
    found = published(house, tier=3)
    origin = proposed(house, made(found))
    digest, number = house.built("usecase/second", without="fairness-assessed")
    plan = house.model.tiers[cast("Any", 3)]
    shop = cast("Workshop", Shop(house.governor, house.engine))
    bundle = replace(house.bundle("usecase/second"))
    house.clock.advance(DAY)
    assert take_over(shop, "leo.fischer", bundle, origin, plan) == ["fairness-assessed"]
    (taken,) = [e for e in evidence(house.engine, "usecase/second", digest, 0) if e["control"] == "fairness-assessed"]
    (first,) = [
        e for e in evidence(house.engine, found.source, found.release, 0) if e["control"] == "fairness-assessed"
    ]
    assert taken["expires"] == first["expires"]
    assert taken["summary"].startswith(f"inherited from release {found.release[:12]} of {found.source}: ")
    other = replace(bundle, prompt="0" * 64)
    assert take_over(shop, "leo.fischer", other, origin, plan) == []
    assert ask_to_go_live(house.governor, "leo.fischer", "usecase/second", digest, number, origin) == ""
    withdraw(house.governor, "ruth.adeyemi", NAME, 0, "end")
    assert take_over(shop, "leo.fischer", bundle, origin, plan) == []
    house.sound()


def test_a_path_for_an_assured_use_case_asks_the_board_too(house: House) -> None:
    found = published(house, tier=3)
    (agreed,) = house.events("paths.envelope.agreed")
    assert [p["body"] for p in cast("list[dict[str, Any]]", agreed.data["agreed"])] == ["coe", "board"]
    assert found.declaration is not None
    assert siblings(house.engine, NAME) == []


DEVIATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "answers": ({"answers": {"special-data": "yes"}}, "special-data is answered yes, agreed for no"),
    "model": ({"model": {"upstream": "big", "name": "x"}}, "the model x of upstream big was not agreed to"),
    "budget": ({"budget": {"calls_per_day": 9999, "tokens_per_day": 1}}, "calls_per_day is 9999, agreed up to 5000"),
    "evals": ({"evals": {"file": "evals.yaml", "pass_percent": 50}}, "evals.pass_percent is 50, the path's 75"),
    "top": ({"retrieval": {"data": "handbook", "top": 9}}, "retrieval.top is not the path's"),
    "sentence": ({"unanswered": "No idea."}, f"unanswered of {SPEC} is not the path's"),
    "personal": (
        {"data": [{"name": "handbook", "path": "handbook", "personal": "yes"}]},
        "the source handbook holds personal data",
    ),
}


@pytest.mark.parametrize(("changes", "said"), DEVIATIONS.values(), ids=DEVIATIONS)
def test_every_way_out_of_the_envelope_is_named(changes: dict[str, Any], said: str) -> None:
    file = made(in_memory()).plain()
    assert said_of(UseCaseFile.model_validate(file)) == []
    merged = {**file, **changes, "answers": {**file["answers"], **changes.get("answers", {})}}
    assert said in said_of(UseCaseFile.model_validate(merged))


def test_files_that_are_the_paths_may_not_be_changed_but_cases_may_be_added() -> None:
    found = in_memory()
    file = made(found)
    files = render(found, answered(found, {"id": "second", "title": "Second", "purpose": "Answers something else."}))
    more = files | {"evals.yaml": files["evals.yaml"] + "  - id: mine\n    question: Q?\n    expect: {contains: [a]}\n"}
    assert said_of(file, more) == []
    fewer = files | {"evals.yaml": "cases:\n  - id: mine\n    question: Q?\n    expect: {contains: [a]}\n"}
    told = said_of(file, fewer | {"prompts/system.md": "x"})
    assert told[-1] == "prompts/system.md is not the path's"
    assert "evals.yaml lacks the path's case no, or has changed it" in told


def test_a_path_of_another_installation_is_a_deviation(house: House) -> None:
    file = house.use_case(id="stray", path={"name": "elsewhere", "version": 1})
    with pytest.raises(NeedsApproval, match="no pre-approval of version 1"):
        proposed(house, file)
    with pytest.raises(NotFound, match="made from no path"):
        owed(house.governor, house.engine, "leo.fischer", house.use_case(), house.model, {})
    with pytest.raises(Denied):
        withdraw(house.governor, "leo.fischer", "elsewhere", 0, "x")


def declared(text: str) -> Any:
    source = parse(source_files()[SPEC], SPEC).read(UseCaseFile)
    rating = rate(MODEL.questions, source.answers, MODEL.matrix)
    return check_declaration(parse(text, "path.yaml"), source, rating)


WRONG = {
    "twice": ("asks: [{id: a_b, text: abc, fills: title}, {id: a_b, text: abc, fills: title}]", "is asked twice"),
    "both": ("asks: [{id: a_b, text: abc, fills: title, replaces: abc}]", "say what it fills"),
    "nowhere": ("asks: [{id: a_b, text: abc, fills: value.nothing}]", "holds no text or number at value.nothing"),
    "choices": ("asks: [{id: a_b, text: abc, fills: title, type: choice}]", "a choice has choices"),
    "default": ("asks: [{id: a_b, text: abc, fills: title, type: integer, default: x}]", "is a whole number"),
    "unknown": ("envelop: {}", "unknown key"),
}


@pytest.mark.parametrize(("text", "why"), WRONG.values(), ids=WRONG)
def test_a_wrong_declaration_says_where_and_what(text: str, why: str) -> None:
    with pytest.raises(InvalidDocument, match=r"path.yaml:\d+:\d+ ") as wrong:
        declared(f"kind: path\ntitle: A path\n{text}\n")
    assert why in wrong.value.message


def test_an_envelope_beyond_what_was_proven_is_refused() -> None:
    text = (MUTUAL / "paths" / f"{NAME}.yaml").read_text()
    assert declared(text).envelope.tier == 1
    with pytest.raises(InvalidDocument, match="nothing beyond"):
        declared(text.replace("tier: 1", "tier: 3"))
    with pytest.raises(InvalidDocument, match="the use case itself answers no"):
        declared(text.replace("acts-alone: no", "acts-alone: yes"))
    with pytest.raises(InvalidDocument, match="and no more"):
        declared(text.replace("calls_per_day: 5000", "calls_per_day: 6000"))


def test_an_answer_is_text_and_never_yaml() -> None:
    found = in_memory()
    for title in ("a: b", "no", "#1", "{x}", "007", 'say "hi"', "- x", "Ünïcode ☂"):
        file = made(found, title=title)
        assert file.title == title
        assert answers_of(found, file.plain())["title"] == title
    with pytest.raises(InvalidInput, match="one line"):
        made(found, title="x\nanswers: {}")


def test_merging_keeps_both_sides_or_names_the_line() -> None:
    old, mine = (
        {"a": "1\n2\n3\n", "b": "x\n", "gone": "y\n"},
        {"a": "0\n1\n2\n3\n", "b": "x\n", "gone": "y\n", "own": "z"},
    )
    clean = merge(old, mine, {"a": "1\n2\n3\n4\n", "b": "x2\n", "c": "new\n"})
    assert clean.files == {"a": "0\n1\n2\n3\n4\n", "b": "x2\n", "c": "new\n"}
    assert (clean.removed, clean.conflicts) == (("gone",), {})
    both = merge({"a": "1\n2\n3"}, {"a": "1\nmine\n3"}, {"a": "1\ntheirs\n3"})
    assert both.conflicts == {"a": (2,)}
    assert "mine\n=======\ntheirs\n" in both.files["a"]
    assert merge(old, {"a": "1\n2\n3\n"}, old) == merge({}, {}, {})
    assert hand_written({"a": "x\nx\n\ny\n"}, {"a": "x\n"}) == 2
    assert json.dumps(both.conflicts)
