"""Stages: when one is recommended, and what it changes in a file, and what it leaves alone."""

from __future__ import annotations

import re
from datetime import date
from io import StringIO

import pytest
from ruamel.yaml import YAML

from bedplate.bootstrap import MANIFESTS
from bedplate.document import InvalidDocument, parse
from bedplate.errors import InvalidInput
from bedplate.kernel.manifest import catalogue
from bedplate.people.blank import blank_model
from bedplate.people.maturity import KINDS, LAYERS, Counts, next_steps, scored
from bedplate.people.stage import STAGES, propose, recommended, stage_file
from bedplate.people.structure import OperatingModelFile, dangling

TODAY = date(2026, 11, 23)
TEXT = blank_model("Harbour Mutual")


def states(text: str, stage: str) -> dict[str, str]:
    return {c.path: c.state for c in propose(text, stage, TODAY).changes}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_begins_with_a_file_that_can_be_applied(stage: str) -> None:
    file = parse(blank_model("Example", stage=stage), stage).read(OperatingModelFile)
    declared = catalogue(MANIFESTS)
    assert file.maturity == stage
    assert dangling(file, frozenset(declared.controls), declared.permissions) == []


def test_only_what_differs_is_touched_and_comments_stay() -> None:
    made = propose(TEXT, "first-ten", TODAY)
    assert made.exact
    gone = [line[1:] for line in made.diff.splitlines() if line.startswith("-") and not line.startswith("---")]
    assert gone == ["maturity: steel-thread", "  live_use_cases: 3 # more than that belongs to the next maturity stage"]
    assert "live_use_cases: 10 # more than that" in made.text
    assert "until: '2027-05-22'" in made.text
    again = propose(made.text, "first-ten", TODAY)
    assert (again.text, again.diff) == (made.text, "")


def test_a_file_grows_through_all_stages() -> None:
    first = propose(TEXT, "first-ten", TODAY).text
    scaled = propose(first, "at-scale", TODAY)
    assert "tier-2-releases" not in scaled.text  # what was delegated is the rule now
    assert parse(scaled.text, "m").read(OperatingModelFile).tiers[1].approvals["release"][0].body == "domain"
    assert propose(scaled.text, "at-scale", TODAY).diff == ""


def test_what_people_have_changed_is_left_as_it_is() -> None:
    text = TEXT.replace("live_use_cases: 3", "live_use_cases: 500")
    text = text.replace(
        "accept: [{body: coe, decides: technical}]\n", "accept: [{body: board, decides: business-risk}]\n"
    )
    found = states(text, "at-scale")
    assert found["appetites.live_use_cases"] == "there already"
    assert found["tiers.2.approvals.accept"].startswith("kept")
    assert found["tiers.2.approvals.release"] == "changes"
    assert found["tiers.3.approvals.release"] == "waits: 2 people may vote in the board, and it takes 4"


def test_another_spacing_is_kept() -> None:
    yaml, out = YAML(typ="rt"), StringIO()
    yaml.width, yaml.preserve_quotes = 1 << 16, True
    yaml.dump(yaml.load(TEXT), out)
    text = out.getvalue()
    assert "\n- id: people" in text
    assert "\n  - id: people" in TEXT
    made = propose(text, "first-ten", TODAY)
    assert made.exact
    assert sum(line.startswith("-") for line in made.diff.splitlines()) == 3


def test_a_file_that_is_none_or_a_stage_that_is_none() -> None:
    with pytest.raises(InvalidDocument):
        propose("matrix: [", "first-ten", TODAY)
    with pytest.raises(InvalidInput, match="steel-thread"):
        stage_file("steel-thread")
    with pytest.raises(InvalidInput, match="no template"):
        blank_model("Example", stage="world-class")


def test_a_stage_is_recommended_by_records_and_by_nothing_else() -> None:
    none = recommended({"live": 1, "domains": 1, "siblings": 0}, "at-scale")
    assert (none.stage, none.following, none.ahead) == ("steel-thread", "first-ten", True)
    assert [(c.name, c.met) for c in none.criteria if not c.met] == [
        ("live use cases", False),
        ("live use cases made from a path", False),
    ]
    ten = recommended({"live": 12, "domains": 2, "siblings": 9}, "steel-thread")
    assert (ten.stage, ten.following, ten.ahead) == ("first-ten", "at-scale", False)
    assert recommended({"live": 40, "domains": 5, "siblings": 30}, "at-scale").following == ""


def test_nothing_counted_is_too_early_and_steps_are_ranked_by_what_is_missing() -> None:
    assert all(p.state == "too early" for layer in scored({}) for p in layer.points)
    assert {k.layer for k in KINDS} == set(LAYERS)
    layers = scored({"owned": Counts(2, 2), "fires": Counts(9, 10), "heard": Counts(0, 3), "spread": Counts(1, 2)})
    found = {p.kind.id: p.state for layer in layers for p in layer.points if p.state != "too early"}
    assert found == {"owned": "reached", "fires": "not reached", "heard": "not reached", "spread": "not reached"}
    assert [(p.kind.id, p.worth) for p in next_steps(layers)] == [("heard", 600), ("spread", 200), ("fires", 100)]


def test_every_step_names_a_command_there_is() -> None:
    from bedplate.cli.main import app  # noqa: PLC0415  it reads the whole command line

    for kind in KINDS:
        name, *way = kind.command.split()
        assert name == "bedplate", kind.id
        here = app[way[0]]
        if len(way) > 1 and re.fullmatch(r"[a-z]+", way[1]):
            assert way[1] in here, kind.command
