"""Guardrails in the files people write: a use case may only be stricter than its tier, and both go into the release."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError
from tests.served import EXAMPLE

from bedplate.document import InvalidDocument, parse
from bedplate.errors import InvalidInput
from bedplate.gateway.guardrail import MODES
from bedplate.paths.guarded import guarded
from bedplate.people.structure import GuardrailPart
from bedplate.portfolio.actions import check_use_case
from bedplate.portfolio.usecase import STRICTNESS, UseCaseFile
from bedplate.testing import small_model, small_model_file

TIER = {"input": {"secrets": "block"}, "output": {"secrets": "observe"}, "max_prompt_chars": 1000}


def written(guardrails: str) -> UseCaseFile:
    """The example's use case, which is of tier 1: secrets are blocked on the way in, and observed on the way out."""
    text = (EXAMPLE / "hr-policy-assistant/use-case.yaml").read_text() + f"\nguardrails: {guardrails}\n"
    return check_use_case(parse(text, "use-case.yaml"), small_model())


def test_the_modes_are_the_same_in_every_file() -> None:
    assert STRICTNESS == MODES


def test_a_use_case_may_be_stricter_than_its_tier() -> None:
    file = written("{output: {secrets: redact, terms: block}, terms: [merger]}")
    guardrails, options = guarded(file, {}, {**TIER, "terms": ["project falcon"]})
    assert guardrails["output"] == {"secrets": "redact", "terms": "block"}
    assert guardrails["input"] == {"secrets": "block"}
    assert options == {"terms": ["merger", "project falcon"]}


@pytest.mark.parametrize(
    ("guardrails", "says"),
    [
        (
            "{input: {secrets: observe}}",
            r"guardrails.input.secrets: the tier says block.*observe < redact < ask < block",
        ),
        ("{input: {secrets: ask}}", "guardrails.input.secrets: the tier says block"),
        ("{output: {terms: block}}", "terms needs terms"),
        ("{output: {schema: block}}", "schema needs json_schema"),
        ("{output: {length: redact}}", "length needs max_answer_chars"),
        ("{output: {citations: redact}}", "guardrails.output.citations: this cannot be redacted"),
        ("{input: {citations: block}}", "guardrails.input.citations: this is looked for the other way"),
        ("{output: {injection: block}}", "guardrails.output.injection: this is looked for the other way"),
        ("{output: {secret: block}}", "guardrails.output.secret"),
        ("{output: {secrets: hide}}", "guardrails.output.secrets"),
        ("{http: {}}", "guardrails.http"),
    ],
)
def test_what_is_weaker_or_makes_no_sense_is_complained_about_where_it_stands(guardrails: str, says: str) -> None:
    with pytest.raises(InvalidDocument, match=says) as refused:
        written(guardrails)
    assert "use-case.yaml:" in str(refused.value)


def test_an_answer_may_be_shorter_than_the_tier_allows_and_not_longer() -> None:
    file = written("{output: {length: block}, max_answer_chars: 500}")
    assert guarded(file, {}, TIER)[1] == {"max_answer_chars": 500}
    model = small_model()
    tier = next(iter(model.tiers.values()))
    longer = {**tier.guardrails, "max_answer_chars": 400}
    from bedplate.portfolio.usecase import loosened  # noqa: PLC0415  only here

    ((path, message),) = loosened(file, longer)
    assert (path, message[:21]) == (["guardrails", "max_answer_chars"], "the tier allows 400, ")


def test_without_a_word_on_guardrails_the_tier_counts_as_it_stands() -> None:
    file = check_use_case(
        parse((EXAMPLE / "hr-policy-assistant/use-case.yaml").read_text(), "use-case.yaml"), small_model()
    )
    for tier in small_model().tiers.values():
        assert guarded(file, {}, tier.guardrails) == (tier.guardrails, {})


def test_a_schema_and_what_citations_need_go_into_the_release() -> None:
    file = written("{output: {schema: block, citations: ask}, json_schema: answer.json}")
    schema = {"type": "number", "minimum": 0.5, "default": None}
    _, options = guarded(file, {"answer.json": json.dumps(schema)}, TIER)
    assert json.loads(options["schema"]) == schema
    assert options["unanswered"] == file.unanswered
    assert options["passages"] == (file.retrieval.top if file.retrieval else 0)


@pytest.mark.parametrize(
    ("files", "says"),
    [({}, "missing"), ({"answer.json": "{"}, "not JSON"), ({"answer.json": '{"type": "x"}'}, "guardrail schema")],
)
def test_a_release_with_a_schema_that_is_none_is_refused(files: dict[str, str], says: str) -> None:
    file = written("{output: {schema: block}, json_schema: answer.json}")
    with pytest.raises(InvalidInput, match=says):
        guarded(file, files, TIER)


def test_a_safety_model_is_defined_by_the_tier_alone() -> None:
    tier = {**TIER, "http": {"judge": {"url": "https://guard.example/v1", "model": "g"}, "other": {}}}
    file = written("{output: {'x:judge': block}, canaries: {judge: how to make a bomb}}")
    assert guarded(file, {}, tier)[1] == {
        "http": {"judge": {"url": "https://guard.example/v1", "model": "g"}},
        "canaries": {"judge": "how to make a bomb"},
    }
    with pytest.raises(InvalidInput, match="x:judge"):
        guarded(file, {}, TIER)


def test_a_guardrail_of_others_says_what_it_must_find() -> None:
    with pytest.raises(InvalidDocument, match=r"x:judge needs canaries\.judge"):
        written("{output: {'x:judge': block}}")
    tier = {**TIER, "output": {"x:judge": "block"}, "canaries": {"judge": "a bomb"}}
    assert GuardrailPart.model_validate(tier).plain()["canaries"] == {"judge": "a bomb"}
    tier["http"] = {"judge": {"url": "https://guard.example/v1", "model": "g"}}
    file = written("{output: {'x:judge': block}, canaries: {judge: something harmless}}")
    options = guarded(file, {}, tier)[1]
    assert options["canaries"] == {"judge": "a bomb"}, "a team does not weaken what the tier tries"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"output": {"x:judge": "block"}}, r"x:judge needs canaries\.judge"),
        ({"output": {"x:judge": "block"}, "canaries": {"judge": ""}}, "at least 1"),
        ({"output": {"citations": "redact"}}, "cannot be redacted"),
        ({"output": {"terms": "block"}}, "needs terms"),
        ({"output": {"length": "block"}}, "needs max_answer_chars"),
        ({"output": {"injection": "block"}}, "the other way"),
        ({"output": {"schema": "block"}}, "pattern"),
        ({"http": {"judge": {"url": "ftp://x", "model": "m"}}}, "pattern"),
        ({"http": {"judge": {"url": "https://x", "model": "m", "key_env": "bad-name"}}}, "pattern"),
    ],
)
def test_a_tier_that_cannot_be_kept_is_complained_about(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        GuardrailPart.model_validate({**TIER, **keys})


def test_what_a_tier_leaves_out_is_not_in_the_model() -> None:
    for tier in small_model_file().plain()["tiers"]:
        assert set(tier["guardrails"]) == {"input", "output", "max_prompt_chars"}
