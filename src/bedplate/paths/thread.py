"""The steel thread: one use case's way from its team's files to a live release, composed of every plane's own verbs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.data.actions import index_source
from bedplate.document import parse
from bedplate.errors import Denied, InvalidInput
from bedplate.gateway.recipe import Recipe
from bedplate.kernel.event import canonical
from bedplate.models.actions import record_evaluation
from bedplate.models.suite import Outcome, Suite, parse_suite, score, summarise
from bedplate.portfolio.actions import check_use_case
from bedplate.releases import views as releases
from bedplate.releases.actions import Finding, ask_to_go_live, build, gate, prove
from bedplate.releases.bundle import Bundle
from bedplate.store.reads import read_blob

from .path import SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as Folder

    from sqlalchemy import Engine

    from bedplate.gateway.door import Door
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel, TierPlan
    from bedplate.kernel.standing import Standing
    from bedplate.portfolio.usecase import UseCaseFile
    from bedplate.releases.gate import Line


ACCEPTED = ("domain", "owner", "sponsor", "purpose", "answers", "data")  # what acceptance was about


@dataclass(frozen=True, slots=True)
class Released:
    """How a release came out. `approval` is what it waits for; "" once it is live; "" too when the gate said no."""

    subject: str
    release: str
    number: int
    state: str  # live, waiting, denied
    approval: str
    passed: int
    total: int
    gate: tuple[Line, ...]
    failures: tuple[Outcome, ...]
    answered_by: str


@dataclass(frozen=True, slots=True)
class Offer:
    """An upstream that releases may be made for. `address` is in the bundle: another address is another release."""

    address: str
    model: str  # what `name: default` stands for
    name: str  # for people


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a release is made with; the composition root hands it over."""

    governor: Governor
    engine: Engine
    door: Door
    indexes: Folder
    upstreams: Mapping[str, Offer]  # by what a use case's file calls them: default, embedded


async def release(
    shop: Workshop, by: str, files: Mapping[str, str], model: OperatingModel, standing: Standing
) -> Released:
    """Build, evaluate and gate a release of the use case whose files these are, and ask for it to go live."""
    file = check_use_case(parse(_needed(files, SPEC), SPEC), model)
    _as_accepted(shop, file, standing)
    plan = model.tiers[standing.tier]
    suite = parse_suite(_needed(files, file.evals.file), file.evals.file)
    bundle, kept, findings = await asyncio.to_thread(_bundle, shop, by, file, suite, files, plan)
    known = {r["digest"]: r["number"] for r in releases.releases(shop.engine, file.subject)}
    number = known.get(bundle.digest) or releases.next_number(shop.engine, file.subject)
    if bundle.digest not in known:
        await asyncio.to_thread(build, shop.governor, by, bundle, number, kept)
    for finding in findings:  # each time: what its making proves grows old like all evidence
        await asyncio.to_thread(prove, shop.governor, by, file.subject, bundle.digest, finding)
    outcomes = await _asked(shop, by, bundle, recipe(bundle, files[file.prompts.system]), suite)
    return await asyncio.to_thread(_gated, shop, by, bundle, number, suite, outcomes)


def recipe(bundle: Bundle, prompt: str) -> Recipe:
    """Say to the gateway how a bundle answers."""
    return Recipe(
        release=bundle.digest,
        upstream=bundle.upstream,
        model=bundle.model,
        prompt=prompt,
        prompt_digest=bundle.prompt,
        unanswered=bundle.unanswered,
        index=bundle.index,
        top=bundle.top,
        guardrails=bundle.guardrails,
        calls_per_day=bundle.calls_per_day,
        tokens_per_day=bundle.tokens_per_day,
    )


def _bundle(
    shop: Workshop, by: str, file: UseCaseFile, suite: Suite, files: Mapping[str, str], plan: TierPlan
) -> tuple[Bundle, list[bytes], list[Finding]]:
    datasets = {d.name: _indexed(shop, by, file, d.name, d.path, d.personal, files) for d in file.data}
    own = {name: text for name, text in files.items() if not any(_inside(name, d.path) for d in file.data)}
    kept = [text.encode() for text in own.values()]
    prompt = _needed(files, file.prompts.system)
    offer = shop.upstreams.get(file.model.upstream, shop.upstreams["embedded"])
    bundle = Bundle(
        use_case=file.subject,
        upstream=offer.address,
        model=offer.model if file.model.name == "default" else file.model.name,
        prompt=_digest(prompt),
        unanswered=file.unanswered,
        index=datasets[file.retrieval.data] if file.retrieval is not None else "",
        top=file.retrieval.top if file.retrieval is not None else 0,
        datasets=datasets,
        suite=suite.digest,
        pass_percent=file.evals.pass_percent,
        runbook=_digest(files[file.runbook]) if file.runbook in files else "",
        guardrails=plan.guardrails,
        calls_per_day=file.budget.calls_per_day,
        tokens_per_day=file.budget.tokens_per_day,
        files={name: _digest(text) for name, text in own.items()},
    )
    return bundle, kept, _made(bundle)


def _made(bundle: Bundle) -> list[Finding]:
    """State what the making of the bundle itself proves."""
    findings = [Finding("prompt-pinned", "proven", f"prompt {bundle.prompt[:12]} is in the release")]
    if bundle.datasets:
        versions = ", ".join(f"{name} at {version[:12]}" for name, version in bundle.datasets.items())
        findings.append(Finding("sources-versioned", "proven", versions))
    if bundle.runbook:
        findings.append(Finding("runbook-present", "proven", f"runbook {bundle.runbook[:12]} is in the release"))
    return findings


async def _asked(shop: Workshop, by: str, bundle: Bundle, how: Recipe, suite: Suite) -> list[Outcome]:
    outcomes = []
    for case in suite.cases:
        answer, refs, _ = await shop.door.evaluate(by, bundle.use_case, how, case.question)
        outcomes.append(score(case, answer, _cited(answer, refs), bundle.unanswered))
    return outcomes


def _evaluated(shop: Workshop, by: str, bundle: Bundle, suite: Suite, outcomes: list[Outcome]) -> None:
    summary = summarise(outcomes)
    results = record_evaluation(shop.governor, by, bundle.use_case, bundle.digest, suite, outcomes, summary)
    said = (
        f"{summary.passed} of {summary.total} cases pass; {bundle.pass_percent} % are needed (results {results[:12]})"
    )
    content = canonical({"results": results, "passed": summary.passed, "total": summary.total})
    passed = summary.permille >= bundle.pass_percent * 10
    finding = Finding("evals-passed", "proven" if passed else "contradicted", said, content)
    prove(shop.governor, by, bundle.use_case, bundle.digest, finding)


def _cited(answer: str, refs: list[str]) -> list[str]:
    """Resolve `[2]` to the second passage; a number without a passage cites nothing."""
    numbers = sorted({int(n) for n in re.findall(r"\[(\d{1,3})\]", answer)})
    return [refs[n - 1] for n in numbers if 0 < n <= len(refs)]


def _gated(shop: Workshop, by: str, bundle: Bundle, number: int, suite: Suite, outcomes: list[Outcome]) -> Released:
    _evaluated(shop, by, bundle, suite, outcomes)
    lines = tuple(gate(shop.governor, by, bundle.use_case, bundle.digest))
    state, approval = "denied", ""
    try:
        approval = ask_to_go_live(shop.governor, by, bundle.use_case, bundle.digest, number)
        state = "waiting" if approval else "live"
    except Denied as refusal:
        if not refusal.controls or "authority" in refusal.controls:
            raise
    return Released(
        subject=bundle.use_case,
        release=bundle.digest,
        number=number,
        state=state,
        approval=approval,
        passed=sum(o.passed for o in outcomes),
        total=len(outcomes),
        gate=lines,
        failures=tuple(o for o in outcomes if not o.passed),
        answered_by=next(o.name for o in shop.upstreams.values() if o.address == bundle.upstream),
    )


def _indexed(
    shop: Workshop, by: str, file: UseCaseFile, name: str, path: str, personal: str, files: Mapping[str, str]
) -> str:
    inside = {n: text for n, text in files.items() if _inside(n, path) and n.endswith(".md")}
    if not inside:
        raise InvalidInput(
            f"the source {name} has no Markdown files under {path}", hint=f"send the files of {path} too"
        )
    return index_source(shop.governor, by, file.subject, name, inside, shop.indexes, personal)


def _as_accepted(shop: Workshop, file: UseCaseFile, standing: Standing) -> None:
    """Refuse files that describe the use case otherwise than it was accepted: who, where, what for and what on."""
    spec = str(standing.facts.get("portfolio.spec", ""))
    if not spec:
        return  # not accepted; the gate says so
    with shop.engine.connect() as connection:
        accepted = json.loads(read_blob(connection, spec))
    now = file.plain()
    differ = [name for name in ACCEPTED if accepted.get(name) != now.get(name)]
    if differ:
        raise InvalidInput(
            f"{SPEC} differs from what was accepted in: {', '.join(differ)}",
            hint=f"have it accepted: bedplate apply {SPEC}",
        )


def _inside(name: str, folder: str) -> bool:
    return name.startswith(folder.rstrip("/") + "/")


def _needed(files: Mapping[str, str], name: str) -> str:
    if name not in files:
        raise InvalidInput(f"the file {name} is missing", hint=f"it is named in {SPEC}; put it there")
    return files[name]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def package(engine: Engine, digest: str) -> dict[str, str]:
    """Return the team's own files of a release, by name."""
    made = releases.bundle(engine, digest)
    with engine.connect() as connection:
        return {name: read_blob(connection, kept).decode() for name, kept in made.files.items()}
