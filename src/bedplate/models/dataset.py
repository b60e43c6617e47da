"""Datasets of pydantic-evals, to suites and back, as far as both say the same. What cannot be said is refused by name.

Its format (https://ai.pydantic.dev/evals/how-to/dataset-serialization): cases with name, inputs, expected_output,
metadata and evaluators, and evaluators for all; an evaluator is a name, `{Name: value}` or `{Name: {key: value}}`.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import re2

from bedplate import document
from bedplate.errors import InvalidInput

from .suite import Suite, parse_suite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .suite import Case

TEXT = {"str", "string"}  # an answer always is; IsInstance of them says nothing
NOT_SAID = re.compile(r"[^a-z0-9]+")


def suite_of(text: str, name: str) -> str:
    """Return the YAML of a suite that asks what a dataset asks; `InvalidInput` names what a suite cannot ask."""
    root = document.parse(text, name).root
    cases = root.get("cases")
    if not isinstance(cases, list) or not cases:
        raise InvalidInput(f"{name} holds no cases", hint="a dataset of pydantic-evals has a list `cases`")
    shared = root.get("evaluators") or []
    made = [_case(case, shared, place) for place, case in enumerate(cases, 1)]
    written = _written({"cases": made})
    parse_suite(written, name)
    return written


def dataset_of(suite: Suite) -> tuple[str, list[str]]:
    """Return the YAML of a dataset, and what of the suite it cannot say, as lines for people."""
    lost: list[str] = []
    cases = [_exported(case, lost) for case in suite.cases]
    return _written({"name": suite.name, "cases": cases}), lost


def _case(case: Any, shared: list[Any], place: int) -> dict[str, Any]:  # noqa: ANN401  YAML is what it is
    if not isinstance(case, dict) or not isinstance(case.get("inputs"), str):
        raise InvalidInput(f"case {place} has inputs that are no text", hint="a suite asks one question a case")
    name = NOT_SAID.sub("-", str(case.get("name") or f"case {place}").lower()).strip("-")[:80] or f"case-{place}"
    expect: dict[str, Any] = {}
    for evaluator in [*(case.get("evaluators") or []), *shared]:
        _evaluated(evaluator, case, name, expect)
    if not expect:
        raise InvalidInput(f"nothing is expected in the case {name}", hint="give it an evaluator")
    return {"id": name, "question": str(case["inputs"]), "expect": expect}


def _evaluated(evaluator: Any, case: Mapping[str, Any], name: str, expect: dict[str, Any]) -> None:  # noqa: ANN401  as above
    kind, given = next(iter(evaluator.items())) if isinstance(evaluator, dict) and evaluator else (evaluator, None)
    values = given if isinstance(given, dict) else {}
    match kind:
        case "EqualsExpected" if isinstance(case.get("expected_output"), str):
            _add(expect, "regex", rf"(?s)\A{re2.escape(str(case['expected_output']).strip())}\z")
        case "Equals" if isinstance(values.get("value", given), str):
            _add(expect, "regex", rf"(?s)\A{re2.escape(str(values.get('value', given)).strip())}\z")
        case "Contains" if isinstance(values.get("value", given), str):
            value = str(values.get("value", given))
            exact = values.get("case_sensitive", True)
            _add(expect, "regex" if exact else "contains", re2.escape(value) if exact else value)
        case "IsInstance" if values.get("type_name", given) in TEXT:
            pass
        case "LLMJudge" if isinstance(values.get("rubric", given), str):
            rubric = str(values.get("rubric", given))
            expect["judge"] = f"{expect['judge']} {rubric}" if "judge" in expect else rubric
        case _:
            raise InvalidInput(
                f"the evaluator {kind} of the case {name} says what a suite cannot",
                hint="it can: EqualsExpected, Equals, Contains (of texts), IsInstance of str, LLMJudge with a rubric",
            )


def _exported(case: Case, lost: list[str]) -> dict[str, Any]:
    evaluators: list[dict[str, Any]] = [{"Contains": {"value": x, "case_sensitive": False}} for x in case.contains]
    if case.judge:
        evaluators.append({"LLMJudge": {"rubric": case.judge, "include_input": True}})
    said = case.plain()
    kept = {"id", "question", "contains", "judge", "tags"}
    rest = sorted(n for n, v in said.items() if n not in kept and v not in ("", "no", []))
    if rest:
        lost.append(f"{case.id}: {', '.join(rest)}")
    made: dict[str, Any] = {"name": case.id, "inputs": case.question}
    if case.tags:
        made["metadata"] = {"tags": list(case.tags)}
    return {**made, "evaluators": evaluators}


def _add(expect: dict[str, Any], what: str, text: str) -> None:
    expect.setdefault(what, []).append(text)


def _written(body: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415  costs 60 ms

    yaml = YAML(typ="rt")
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(dict(body), out)
    return out.getvalue()
