"""Results of other tools: read as they are written, and refused where they are not whole."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bedplate.errors import InvalidInput
from bedplate.models.dataset import dataset_of, suite_of
from bedplate.models.importer import read
from bedplate.models.scorer import Said, score
from bedplate.models.suite import parse_suite

DATA = Path(__file__).with_name("data")
LOG: dict[str, Any] = {
    "status": "success",
    "eval": {"task": "leave", "model": "m", "dataset": {"name": "d"}, "packages": {"inspect_ai": "0.3.285"}},
    "results": {"total_samples": 2},
    "samples": [
        {"id": "a", "epoch": 1, "input": "q", "target": "t", "scores": {"s": {"value": "C", "explanation": "fits"}}},
        {"id": "b", "epoch": 1, "input": "r", "target": "t", "scores": {"s": {"value": "I"}}},
    ],
}
FOO: dict[str, Any] = {
    "evalId": "eval-1",
    "results": {
        "version": 3,
        "results": [
            {"testIdx": 0, "promptIdx": 0, "success": True, "provider": {"id": "p"}, "gradingResult": {"reason": "ok"}},
            {"testIdx": 1, "promptIdx": 0, "success": False, "provider": {"id": "p"}, "error": "timed out"},
        ],
    },
}
JUNIT = """<?xml version="1.0"?>
<testsuites><testsuite name="s">
  <testcase classname="k" name="a"/>
  <testcase classname="k" name="b"><failure message="was 3">long &lt;text&gt;</failure></testcase>
  <testcase classname="k" name="c"><error>boom
     twice</error></testcase>
  <testcase classname="k" name="d"><skipped/></testcase>
</testsuite></testsuites>"""


def raw(body: Any) -> bytes:
    return json.dumps(body).encode()


def changed(**parts: Any) -> bytes:
    return raw({**LOG, **parts})


def packed(log: dict[str, Any]) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps({k: v for k, v in log.items() if k != "samples"}))
        for number, sample in enumerate(log["samples"]):
            archive.writestr(f"samples/{number}_epoch_1.json", json.dumps(sample))
    return into.getvalue()


def test_a_log_of_inspect_is_read() -> None:
    found = read(raw(LOG), "log.json")
    assert [(o.case, o.passed, o.why) for o in found.outcomes] == [("a", True, "fits"), ("b", False, "scored I")]
    assert found.config == {"task": "leave", "model": "m", "dataset": "d", "scorer": "s", "inspect": "0.3.285"}
    assert (found.source, len(found.dataset), len(found.file)) == ("inspect", 64, 64)


def test_a_packed_log_says_the_same_without_inspect() -> None:
    assert read(packed(LOG), "log.eval").outcomes == read(raw(LOG), "log.json").outcomes
    assert read(packed(LOG), "log.eval").dataset == read(raw(LOG), "log.json").dataset


def test_the_log_of_a_real_run_is_read_where_its_packing_is_known() -> None:
    """Written by Inspect 0.3.285 that asked our gateway; packed with Zstandard, which the extra brings."""
    content = (DATA / "leave.eval").read_bytes()
    if find_spec("zstandard") is None and not hasattr(zipfile, "ZIP_ZSTANDARD"):
        with pytest.raises(InvalidInput, match=r"Zstandard") as refused:
            read(content, "leave.eval")
        assert "bedplate[evals]" in refused.value.hint
        return
    found = read(content, "leave.eval")
    assert {o.case: o.passed for o in found.outcomes} == {"carry": False, "days": False, "rain": True}


@pytest.mark.parametrize("value", ["C", 1, 1.0, True, "yes", "correct"])
def test_what_inspect_calls_right_passes(value: Any) -> None:
    sample = {**LOG["samples"][0], "scores": {"s": {"value": value}}}
    assert read(changed(samples=[sample], results={"total_samples": 1}), "l").outcomes[0].passed


@pytest.mark.parametrize("value", ["I", "P", "N", 0, 0.5, 0.99, False, "no", "", None])
def test_half_right_is_not_right(value: Any) -> None:
    sample = {**LOG["samples"][0], "scores": {"s": {"value": value}}}
    assert not read(changed(samples=[sample], results={"total_samples": 1}), "l").outcomes[0].passed


def test_a_sample_that_failed_or_that_nothing_scored_does_not_pass() -> None:
    broken = [{"id": "a", "error": {"message": "no key"}, "scores": {"s": {"value": "C"}}}, {"id": "b", "scores": {}}]
    found = read(changed(samples=broken), "l")
    assert [(o.passed, o.why) for o in found.outcomes] == [(False, "no key"), (False, "nothing scored it")]


def test_answers_are_not_taken_over_as_reasons() -> None:
    sample = {**LOG["samples"][0], "output": {"completion": "fits"}}
    assert read(changed(samples=[sample], results={"total_samples": 1}), "l").outcomes[0].why == "scored C"


def test_the_answer_of_a_sample_is_kept_as_its_digest() -> None:
    said = {**LOG["samples"][0], "output": {"completion": "26 days"}}
    nothing = {**LOG["samples"][1], "output": {"completion": ""}}
    found = read(changed(samples=[said, nothing]), "l")
    assert [o.answer for o in found.outcomes] == [hashlib.sha256(b"26 days").hexdigest(), ""]


def test_epochs_are_samples_of_one_question() -> None:
    twice = [{**LOG["samples"][0], "epoch": n} for n in (1, 2)]
    found = read(changed(samples=twice), "l")
    assert [o.case for o in found.outcomes] == ["a", "a/2"]
    assert found.dataset == read(changed(samples=twice[:1], results={"total_samples": 1}), "l").dataset


def test_one_of_several_scorers_is_chosen() -> None:
    sample = {**LOG["samples"][0], "scores": {"s": {"value": "C"}, "t": {"value": "I"}}}
    content = changed(samples=[sample], results={"total_samples": 1})
    with pytest.raises(InvalidInput, match="several scorers: s, t"):
        read(content, "l")
    assert not read(content, "l", scorer="t").outcomes[0].passed


def test_promptfoo_is_read() -> None:
    found = read(raw(FOO), "out.json")
    assert [(o.case, o.passed, o.why) for o in found.outcomes] == [
        ("test 1", True, "ok"),
        ("test 2", False, "timed out"),
    ]
    assert found.config == {"provider": "p", "promptfoo": "eval-1"}
    rows = FOO["results"]["results"]
    other = [{**row, "provider": "q", "testCase": {"description": "days"}} for row in rows[:1]]
    several = read(raw({"results": [*rows, *other]}), "old.json")
    assert [o.case for o in several.outcomes] == [
        "test 1 / p / prompt 1",
        "test 2 / p / prompt 1",
        "days / q / prompt 1",
    ]


def test_junit_is_read_and_skipping_is_not_passing() -> None:
    found = read(JUNIT.encode(), "report.xml")
    assert [(o.case, o.passed, o.why) for o in found.outcomes] == [
        ("k.a", True, "passed"),
        ("k.b", False, "was 3"),
        ("k.c", False, "boom twice"),
        ("k.d", False, "skipped"),
    ]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (BOMB.encode(), "document type declaration"),
        (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuite/>', "document type declaration"),
        (b"<testsuite>" * 100, "nested more than"),
        (b"<testsuite><testcase", "unclosed token"),
        (b"<testsuite/>", "no samples"),
        (JUNIT.replace('"b"', '"a"').encode(), "one name"),
        (b"", "no JSON"),
        (b"[]", "no JSON object"),
        (b"[" * 200_000, "no JSON"),
        (raw({"a": 1}), "none of"),
        (raw({"results": {"results": [{"pass": True}]}}), "`success`"),
        (raw({"results": []}), "no samples"),
        (changed(status="error"), "'error'"),
        (changed(results={"total_samples": 3}), "2 of 3 samples"),
        (changed(samples=[]), "0 of 2 samples"),
        (changed(samples=[LOG["samples"][0]] * 2), "one name"),
        (changed(samples=[{**LOG["samples"][0], "scores": {"s": {"value": {"x": 1}}}}] * 2), "several values"),
        (b"PK\x03\x04 nothing", "unpacked"),
        (packed({"samples": []}), "none of|no success|status|ended"),
    ],
)
def test_what_is_not_whole_is_refused_with_why(content: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read(content, "file")


@given(st.binary(max_size=400))
@example(b"<a>")
@example(b'{"eval": {}, "samples": 1}')
@example(b'{"eval": [], "samples": [1], "status": "success"}')
@example(b'{"results": {"results": [{"success": true, "testCase": 3}]}}')
def test_no_file_breaks_the_reading(content: bytes) -> None:
    try:
        found = read(content, "file")
    except InvalidInput:
        return
    assert found.outcomes


DATASET = """\
name: greetings
cases:
- name: Hello There!
  inputs: Say hello
  expected_output: Hello (there).
  evaluators:
  - EqualsExpected
- inputs: Name the colour
  evaluators:
  - Contains: Red
  - Contains: {value: warm, case_sensitive: false}
  - LLMJudge: {rubric: It is short., model: "x:y"}
evaluators:
- IsInstance: str
- LLMJudge: It is polite.
"""


def test_a_dataset_of_pydantic_evals_asks_the_same_as_a_suite() -> None:
    first, second = parse_suite(suite_of(DATASET, "d.yaml"), "evals.yaml").cases
    assert (first.id, first.question, first.judge) == ("hello-there", "Say hello", "It is polite.")
    assert (second.id, second.judge) == ("case-2", "It is short. It is polite.")
    assert score(first, Said("Hello (there).")).passed
    assert not score(first, Said("hello (there).")).passed
    assert score(second, Said("Red is Warm")).passed
    assert not score(second, Said("red is warm")).passed


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("- IsInstance: str", "- IsInstance: int", "IsInstance of the case hello-there"),
        ("- IsInstance: str", "- MaxDuration: {seconds: 1}", "MaxDuration"),
        ("inputs: Say hello", "inputs: {a: 1}", "no text"),
        ("expected_output: Hello (there).", "expected_output: 3", "EqualsExpected"),
        (DATASET[DATASET.index("cases:") :], "cases: []\n", "no cases"),
    ],
)
def test_what_a_suite_cannot_ask_is_refused_by_name(old: str, new: str, says: str) -> None:
    assert old in DATASET
    with pytest.raises(InvalidInput, match=says):
        suite_of(DATASET.replace(old, new), "d.yaml")


def test_a_suite_becomes_a_dataset_and_says_what_was_lost() -> None:
    text = "cases:\n- {id: a, question: q, tags: [t], expect: {contains: [x], cites: b, judge: kind}}\n"
    written, lost = dataset_of(parse_suite(text, "evals.yaml"))
    assert lost == ["a: cites"]
    again = parse_suite(suite_of(written, "d.yaml"), "d.yaml").cases[0]
    assert (again.id, again.contains, again.judge) == ("a", ("x",), "kind")
