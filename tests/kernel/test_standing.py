"""Standing, manifest, model and controls: what is declared, and how it is read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedplate.bootstrap import MANIFESTS
from bedplate.errors import InvalidInput
from bedplate.kernel.action import Action
from bedplate.kernel.control import Control, Fail, Pass, fires, owed
from bedplate.kernel.event import Draft, Event, canonical
from bedplate.kernel.manifest import Kind, Manifest, catalogue
from bedplate.kernel.model import load
from bedplate.kernel.standing import Rung, Standing, from_plain, plain
from bedplate.testing import small_model, small_model_file

CATALOGUE = catalogue(MANIFESTS)
STANDINGS = st.builds(
    Standing,
    subject=st.just("usecase/one"),
    version=st.integers(0, 99),
    owner=st.sampled_from(["", "ann"]),
    tier=st.integers(0, 4),
    stage=st.sampled_from(["", "proposed", "accepted", "declined", "live", "retired"]),
    release=st.sampled_from(["", "r1"]),
    rung=st.sampled_from(Rung),
    suspended=st.sampled_from(["", "why"]),
    breaches=st.lists(st.sampled_from(["incident/1", "incident/2"]), unique=True).map(tuple),
    facts=st.dictionaries(st.sampled_from(["releases.live_at"]), st.integers(0, 9)),
)
RAISE = {"releases.release.live", "incidents.usecase.resumed"}
VALUES: dict[str, Any] = {"text": "x", "int": 1, "list": ["x"], "object": {"x": "y"}}


@given(STANDINGS)
def test_a_standing_is_read_back_as_it_was_written(standing: Standing) -> None:
    assert from_plain(json.loads(canonical(plain(standing)))) == standing


@pytest.mark.parametrize("wrong", [{"breaches": 1}, {"facts": []}, {"rung": "x"}, {"rung": 9}, {"unknown": "x"}])
def test_a_standing_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        from_plain({**plain(Standing("x")), **wrong})


@given(STANDINGS, st.sampled_from(sorted(CATALOGUE.kinds)), st.sampled_from(["propose", "read", "off", "act"]))
def test_a_rung_goes_up_only_by_a_live_release_or_a_resumption(standing: Standing, kind: str, rung: str) -> None:
    declared = CATALOGUE.kinds[kind]
    data = {name: rung if name == "rung" else VALUES[wanted] for name, wanted in declared.fields.items()}
    after = CATALOGUE.move(standing, Event(1, "i", kind, standing.subject, 100, 5, "ann", data))
    assert after is not None
    assert after.version == 100
    if kind not in RAISE:
        assert after.rung <= standing.rung
    if kind != "incidents.usecase.resumed":
        assert after.suspended or not standing.suspended
    ends = {"portfolio.usecase.retired", "portfolio.usecase.accepted"}  # the latter, where it raises the tier
    assert after.release == standing.release or kind == "releases.release.live" or (kind in ends and not after.release)
    assert after.tier == standing.tier or kind in {"portfolio.usecase.proposed", "portfolio.usecase.accepted"}


def test_what_runs_keeps_its_tier_until_a_change_is_accepted() -> None:
    proposed = CATALOGUE.kinds["portfolio.usecase.proposed"]
    data = {name: VALUES[wanted] for name, wanted in proposed.fields.items()}
    running = Standing("usecase/one", tier=4, stage="live", owner="ann")
    for stage in ("live", "accepted", "retired"):
        before = replace(running, stage=stage)
        assert CATALOGUE.move(before, Event(1, "i", proposed.name, "s", 1, 5, "ann", data)) == replace(
            before, version=1
        )


def test_a_kind_that_moves_nothing_makes_no_standing() -> None:
    event = Event(1, "i", "kernel.action.denied", "x", 7, 5, "ann", {})
    assert CATALOGUE.move(None, event) is None
    assert CATALOGUE.move(None, replace(event, kind="of.nobody.known")) is None
    assert CATALOGUE.move(Standing("x"), event) == Standing("x", version=7)


def test_facts_are_added_by_plane() -> None:
    assert Standing("x", facts={"a.b": 1}).with_facts(c__d="e").facts == {"a.b": 1, "c.d": "e"}
    assert Standing("x", rung=Rung.READ).lowered_to(Rung.ACT).rung is Rung.READ


KIND = Kind("test.thing.done", {"text": "text", "int": "int", "list": "list", "object": "object"}, "doc")
ONE = catalogue([Manifest("test", kinds=(KIND,))])
WHOLE: dict[str, Any] = {"text": "x", "int": 1, "list": [], "object": {}}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({**WHOLE, "more": 1}, "unknown fields"),
        ({"text": "x"}, "missing fields"),
        ({**WHOLE, "int": "1"}, "int must be int"),
        ({**WHOLE, "int": True}, "int must be int"),
        ({**WHOLE, "text": 1}, "text must be text"),
        ({**WHOLE, "list": {}}, "list must be list"),
        ({**WHOLE, "object": []}, "object must be object"),
    ],
)
def test_a_payload_is_the_declared_one_or_is_refused(data: dict[str, Any], problem: str) -> None:
    ONE.check(Draft(KIND.name, "x", WHOLE))
    with pytest.raises(InvalidInput, match=problem):
        ONE.check(Draft(KIND.name, "x", data))


def test_an_undeclared_event_is_refused() -> None:
    with pytest.raises(InvalidInput, match="is not a declared event"):
        ONE.check(Draft("test.thing.undone", "x", {}))


CONTROL = Control("c", "change", "doc", lambda _: Fail("no", "no"), lambda: None)  # type: ignore[arg-type,return-value]  # unread
ACTION = Action("test.do", "test:it:do", "Do it.")


@pytest.mark.parametrize(
    "manifest",
    [
        Manifest("test", actions=(ACTION, ACTION)),
        Manifest("test", actions=(replace(ACTION, needs="odd"),)),
        Manifest("test", controls=(CONTROL, CONTROL)),
        Manifest("test", controls=(replace(CONTROL, doc=""),)),
        Manifest("test", controls=(replace(CONTROL, check=lambda _: Pass()),)),
        Manifest("test", kinds=(KIND, KIND)),
        Manifest("test", kinds=(replace(KIND, name="test.done"),)),
        Manifest("test", kinds=(replace(KIND, name="Test.Thing.Done"),)),
    ],
)
def test_what_is_declared_badly_does_not_build(manifest: Manifest) -> None:
    with pytest.raises(InvalidInput, match=r"declared twice|odd permission|no doc|own canary|plane\.noun\.verb"):
        catalogue([manifest])


def test_names_carry_their_grammar() -> None:
    planes = {manifest.plane for manifest in MANIFESTS}
    for manifest in MANIFESTS:
        assert all(a.name.startswith(f"{manifest.plane}.") and a.doc.endswith(".") for a in manifest.actions)
        assert all(a.needs.partition(":")[0] in planes for a in manifest.actions), manifest.plane
        assert all(k.doc.endswith(".") for k in manifest.kinds)
    assert CATALOGUE.permissions == {a.needs for a in CATALOGUE.actions.values()}


def test_controls_are_owed_by_phase_action_and_tier() -> None:
    named = replace(CONTROL, name="named")
    always = replace(CONTROL, name="always", always=True, actions=("a.do",))
    other = replace(CONTROL, name="other", phase="call", always=True)
    every = (named, always, other)
    assert owed(every, "change", "a.do", frozenset({"named"})) == (named, always)
    assert owed(every, "change", "b.do", frozenset({"named"})) == (named,)
    assert owed(every, "change", "a.do", frozenset()) == (always,)
    assert owed(every, "call", "a.do", frozenset()) == (other,)
    assert fires(named)


def test_a_model_is_read_as_it_was_checked() -> None:
    model, body = small_model(), small_model_file().plain()
    assert sorted(model.tiers) == [1, 2, 3, 4]
    assert model.plan(9) is None
    assert load(json.loads(canonical(body)), model.digest) == model
    body["tiers"][0]["record"]["keep_days"] = 183
    with pytest.raises(ValueError, match="keeps records 183 days"):
        load(body, "d")
    del body["people"]
    with pytest.raises(KeyError):
        load(body, "d")
