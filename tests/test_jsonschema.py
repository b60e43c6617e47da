"""The part of JSON Schema that is checked here: it agrees with a whole validator, and refuses what is beyond it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from bedplate.jsonschema import MAX_FOLLOWED, complaints, read, refuse_unknown

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["days", "unit"],
    "additionalProperties": False,
    "properties": {
        "days": {"type": "integer", "minimum": 0, "maximum": 40},
        "unit": {"enum": ["days", "weeks"]},
        "note": {"type": ["string", "null"], "maxLength": 5, "pattern": "^[a-z]*$"},
        "dates": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string", "minLength": 2}},
        "sure": {"const": True},
        "share": {"type": "number"},
    },
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 60)
    | st.floats(-3, 60)
    | st.sampled_from(["", "a", "days", "weeks", "AB"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SCHEMA["properties"], "more"]), inner)
    ),
    max_leaves=8,
)
NEARLY = st.fixed_dictionaries(
    {
        "days": st.integers(-2, 45) | st.sampled_from([2.0, 2.5, "2", True]),
        "unit": st.sampled_from(["days", "weeks", "day"]),
    },
    optional={
        "note": st.sampled_from(["", "abc", "ABC", "abcdef", None, 1]),
        "dates": st.lists(st.sampled_from(["x", "xy"]), max_size=3),
        "sure": st.sampled_from([True, 1, False]),
        "share": st.floats(0, 1) | st.booleans(),
    },
)


TREE: dict[str, Any] = {
    "$defs": {
        "leaf": {"type": "integer", "description": "a day"},
        "tree": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "days": {"$ref": "#/$defs/leaf", "default": 0},
                "dates": {"items": {"$ref": "#/$defs/tree"}},
            },
        },
    },
    "$ref": "#/$defs/tree",
}
TREES = st.recursive(
    st.fixed_dictionaries({}, optional={"days": st.integers() | st.just("many")}),
    lambda inner: st.fixed_dictionaries({"dates": st.lists(inner, max_size=3) | inner}, optional={"days": st.just(1)}),
)


@given(VALUES | NEARLY)
def test_the_part_of_json_schema_agrees_with_a_whole_validator(value: object) -> None:
    refuse_unknown(SCHEMA)
    assert (not list(complaints(SCHEMA, value))) == Draft202012Validator(SCHEMA).is_valid(value), value


@given(VALUES | TREES)
def test_a_schema_that_refers_to_itself_agrees_too(value: object) -> None:
    refuse_unknown(TREE)
    assert (not list(complaints(TREE, value))) == Draft202012Validator(TREE).is_valid(value), value


def test_a_value_without_an_end_in_sight_does_not_fit() -> None:
    value: dict[str, Any] = {}
    for _ in range(MAX_FOLLOWED // 2):
        value = {"dates": [value]}
    assert list(complaints(TREE, {"dates": [{"dates": [{}]}]})) == []
    (complaint,) = complaints(TREE, value)
    assert complaint.endswith("is nested too deeply")


def test_half_a_character_matches_no_pattern() -> None:
    assert list(complaints({"pattern": "."}, "\ud800")) == ["$ does not match ."]


@pytest.mark.parametrize(
    "wrong",
    [
        {"anyOf": [{}]},
        {"type": "text"},
        {"type": []},
        {"properties": {"a": {"format": "date"}}},
        {"items": [{}]},
        {"pattern": "("},
        {"required": "a"},
        {"additionalProperties": {"type": "string"}},
        {"minLength": "2"},
        {"minLength": True},
        {"$ref": "#"},
        {"$ref": 1},
        {"$ref": "https://elsewhere.example/s"},
        {"$ref": "#/$defs/day"},
        {"$ref": "#/$defs/day", "$defs": {"day": {"$ref": "#/$defs/day"}}},
        {"$defs": {"one": {"$ref": "#/$defs/other"}, "other": {"$ref": "#/$defs/one"}}},
        {"$ref": "#/$defs/day", "type": "integer", "$defs": {"day": {}}},
        {"$ref": "#/$defs/a~1b", "$defs": {"a~1b": {}, "a/b": {"type": "string"}}},
        {"$defs": {"day": {"format": "date"}}},
        {"$defs": []},
        {"items": {"$defs": {}}},
        [],
        True,
    ],
)
def test_what_a_schema_says_beyond_that_is_refused_and_not_skipped(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"\$"):
        refuse_unknown(json.loads(json.dumps(wrong)))


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": Infinity}', "{'a': 1}", ""])
def test_json_is_read_strictly(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(text)
