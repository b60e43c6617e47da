"""How a sibling deviates from its path: its files compared with what the path renders, and with its envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bedplate.document import parse
from bedplate.portfolio.usecase import STRICTNESS

from .path import CI_FILE, SPEC, answers_of, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bedplate.kernel.risk import Rating
    from bedplate.portfolio.usecase import UseCaseFile

    from .declaration import EnvelopePart
    from .path import Path

FREE = frozenset(  # what a use case says for itself
    {"id", "title", "domain", "owner", "sponsor", "purpose", "bucket", "value", "feasibility", "path"}
)
MEASURED = frozenset({"answers", "model", "data", "retrieval", "evals", "budget", "guardrails"})  # by the envelope


def deviations(path: Path, file: UseCaseFile, rating: Rating, files: Mapping[str, str] | None = None) -> list[str]:
    """List, in words for whoever decides, how a sibling leaves what was agreed; its other files too if they are given.

    Nothing is overlooked by not being listed: a key that is neither the sibling's own nor measured must be the path's.
    """
    declared = path.declaration
    if declared is None or declared.envelope is None:
        return ["its path was published without an envelope"]
    spec = file.plain()
    rendered = render(path, {q.id: "" for q in path.asks} | answers_of(path, spec))
    theirs = parse(rendered[SPEC], SPEC).read(type(file)).plain() if SPEC in rendered else {}
    found = list(_quadrant(declared.envelope, file, rating))
    found += _models(declared.envelope, file)
    found += _limits(declared.envelope, file)
    found += _keys(spec, theirs)
    if files is not None:
        found += _files(path, file, rendered, files)
    return found


def _quadrant(envelope: EnvelopePart, file: UseCaseFile, rating: Rating) -> Iterator[str]:
    if rating.tier > envelope.tier:
        yield f"tier {int(rating.tier)}, agreed up to {envelope.tier}"
    if rating.impact == "high" and envelope.impact == "low":
        yield "impact high, agreed for low"
    if rating.autonomy == "autonomous" and envelope.autonomy == "assistive":
        yield "autonomous, agreed for assistive"
    for question, answer in envelope.answers.items():
        given = file.answers.get(question, "nothing")
        if given != answer:
            yield f"{question} is answered {given}, agreed for {answer}"


def _models(envelope: EnvelopePart, file: UseCaseFile) -> Iterator[str]:
    agreed = {(m.upstream, m.name) for m in envelope.models}
    for target in (file.model, *(file.model.fallbacks or ())):
        if (target.upstream, target.name) not in agreed:
            yield f"the model {target.name} of upstream {target.upstream} was not agreed to"
    embedding = file.model.embedding
    if embedding is not None and (embedding.upstream, embedding.name) not in agreed:
        yield f"the embedding model {embedding.name} of upstream {embedding.upstream} was not agreed to"
    if envelope.personal == "no":
        yield from (f"the source {d.name} holds personal data" for d in file.data if d.personal == "yes")


def _limits(envelope: EnvelopePart, file: UseCaseFile) -> Iterator[str]:
    for name in ("calls_per_day", "tokens_per_day"):
        asked, agreed = getattr(file.budget, name), getattr(envelope, name)
        if asked > agreed:
            yield f"{name} is {asked}, agreed up to {agreed}"
    if envelope.cents_per_month:
        asked = file.budget.cents_per_month
        if asked is None or asked > envelope.cents_per_month:
            yield f"cents_per_month is {asked or 'unlimited'}, agreed up to {envelope.cents_per_month}"
    own = file.guardrails
    for way, agreed, given in (
        ("input", envelope.guardrails.input, own and own.input),
        ("output", envelope.guardrails.output, own and own.output),
    ):
        for kind, mode in agreed.items():
            has = (given or {}).get(kind)
            if has is None or STRICTNESS.index(has) < STRICTNESS.index(mode):
                yield f"the guardrail {kind} of the {way} is {has or 'left to the tier'}, agreed for {mode}"


def _keys(spec: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*spec, *theirs} - FREE - MEASURED):
        if spec.get(key) != theirs.get(key):
            yield f"{key} of {SPEC} is not the path's"
    yield from _inner(spec, theirs, "retrieval", own={"data"})
    yield from _inner(spec, theirs, "evals", own={"pass_percent", "red_team"})
    yield from _inner(spec, theirs, "guardrails", own={"input", "output", "terms", "canaries", "max_answer_chars"})
    passed, least = spec["evals"]["pass_percent"], theirs.get("evals", {}).get("pass_percent", 100)
    if passed < least:
        yield f"evals.pass_percent is {passed}, the path's {least}"
    ours, longest = spec.get("guardrails", {}), theirs.get("guardrails", {}).get("max_answer_chars")
    if longest is not None and ours.get("max_answer_chars", longest + 1) > longest:
        yield f"guardrails.max_answer_chars is above the path's {longest}"
    if missing := sorted({*theirs.get("guardrails", {}).get("terms", [])} - {*ours.get("terms", [])}):
        yield f"guardrails.terms lacks {len(missing)} of the path's"


def _inner(spec: Mapping[str, Any], theirs: Mapping[str, Any], key: str, own: set[str]) -> Iterator[str]:
    mine, path = spec.get(key, {}), theirs.get(key, {})
    for name in sorted({*mine, *path} - own):
        if mine.get(name) != path.get(name):
            yield f"{key}.{name} is not the path's"
    if bool(mine) != bool(path) and key == "retrieval" and not path:
        yield "retrieval was added"


def _files(path: Path, file: UseCaseFile, rendered: Mapping[str, str], files: Mapping[str, str]) -> Iterator[str]:
    declared = path.declaration
    assert declared is not None  # noqa: S101  looked at by `deviations`
    assert declared.envelope is not None  # noqa: S101  as above
    changeable, may = {CI_FILE, SPEC}, declared.envelope.may_change
    if may is None or "runbook" in may:
        changeable.add(file.runbook)
    if may is not None and "prompts" in may:
        changeable |= {file.prompts.system, *(file.prompts.templates or {}).values()}
    for name, text in sorted(rendered.items()):
        if name in changeable:
            continue
        if name == file.evals.file:
            yield from _cases(name, text, files.get(name, ""))
        elif name not in files:
            yield f"{name} of the path is missing"
        elif _lines(files[name]) != _lines(text):
            yield f"{name} is not the path's"


def _cases(name: str, inherited: str, own: str) -> Iterator[str]:
    """Cases may be added; those of the path must be there as they are."""
    known = {str(case["id"]): case for case in parse(inherited, name).root.get("cases") or []}
    here = {str(case.get("id")): case for case in _listed(own, name)}
    for case, what in known.items():
        if here.get(case) != what:
            yield f"{name} lacks the path's case {case}, or has changed it"


def _listed(text: str, name: str) -> list[Any]:
    cases = parse(text, name).root.get("cases") if text else None
    return [case for case in cases if isinstance(case, dict)] if isinstance(cases, list) else []


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]
