"""The steel thread: one use case's way from its team's files to a live release, composed of every plane's own verbs."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedplate.agents.charter import Charter
from bedplate.data.actions import index_source
from bedplate.document import parse
from bedplate.errors import Denied, InvalidInput
from bedplate.gateway.recipe import Recipe
from bedplate.models import redteam
from bedplate.models.actions import register_prompts
from bedplate.models.prompt import SYSTEM as SYSTEM_PROMPT
from bedplate.models.prompt import known_digests, parse_template
from bedplate.models.suite import Suite, parse_suite
from bedplate.models.views import prompt_versions
from bedplate.portfolio.actions import check_use_case
from bedplate.releases import views as releases
from bedplate.releases.actions import Finding, ask_to_go_live, build, gate, prove
from bedplate.releases.bundle import Bundle
from bedplate.store.reads import read_blob

from .evaluation import RED_TEAMED, Examined, attest, record
from .examiner import Examiner, judge_of
from .guarded import guarded
from .path import SPEC
from .reliance import rely_on
from .sibling import follow, origin_of, take_over
from .target import targets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as Folder

    from sqlalchemy import Engine

    from bedplate.kernel.event import Data
    from bedplate.kernel.governor import Governor
    from bedplate.kernel.model import OperatingModel, TierPlan
    from bedplate.kernel.standing import Standing
    from bedplate.models.compare import Comparison
    from bedplate.models.suite import Outcome, Summary
    from bedplate.portfolio.usecase import DataPart, UseCaseFile
    from bedplate.releases.gate import Line
    from bedplate.template import Template

    from .evaluation import Recorded
    from .examiner import Asked


ACCEPTED = ("domain", "owner", "sponsor", "purpose", "answers", "data", "stop")  # what acceptance was about


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
    results: str  # digest of the samples on record
    summary: Summary
    comparison: Comparison | None  # against the live release
    attack: Summary | None  # how it stood the red team
    breaches: tuple[Outcome, ...]  # attacks that it did not stand


@dataclass(frozen=True, slots=True)
class Offer:
    """An upstream that releases may be made for. `address` is in the bundle: another address is another release."""

    address: str
    model: str  # what `name: default` stands for
    name: str  # for people
    protocols: frozenset[str] = frozenset()  # what it speaks; empty: not told, and not checked


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a release is made with; the composition root hands it over."""

    governor: Governor
    engine: Engine
    door: Asked
    indexes: Folder
    upstreams: Mapping[str, Offer]  # by what a use case's file calls them: default, embedded


async def release(
    shop: Workshop, by: str, files: Mapping[str, str], model: OperatingModel, standing: Standing
) -> Released:
    """Build, evaluate and gate a release of the use case whose files these are, and ask for it to go live."""
    file = check_use_case(parse(_needed(files, SPEC), SPEC), model)
    _as_accepted(shop, file, standing)
    plan = model.tiers[standing.tier]
    suites = _suites(file, files, plan)
    bundle, kept, findings = await asyncio.to_thread(_bundle, shop, by, file, suites, files, plan)
    examiner = await asyncio.to_thread(_examiner, shop, by, file, bundle, files)
    known = {r["digest"]: r["number"] for r in releases.releases(shop.engine, file.subject)}
    number = known.get(bundle.digest) or releases.next_number(shop.engine, file.subject)
    if bundle.digest not in known:
        await asyncio.to_thread(build, shop.governor, by, bundle, number, kept)
    await asyncio.to_thread(_registered, shop, by, bundle)
    await asyncio.to_thread(rely_on, shop, by, file, bundle, plan)
    origin = await asyncio.to_thread(origin_of, shop.engine, file, model, files)
    if origin is not None:
        await asyncio.to_thread(follow, shop, by, file, bundle, files, origin)
    for finding in findings:  # each time: what its making proves grows old like all evidence
        await asyncio.to_thread(prove, shop.governor, by, file.subject, bundle.digest, finding)
    evals = await examiner.run("evals", suites.evals)
    attack = await examiner.run("red-team", suites.attack) if suites.attack is not None else None
    examined = await asyncio.to_thread(record, shop, by, bundle, (evals, attack), standing)
    await asyncio.to_thread(attest, shop, by, bundle, examined, standing)
    if origin is not None:
        await asyncio.to_thread(take_over, shop, by, bundle, origin, plan)
    return await asyncio.to_thread(_gated, shop, by, bundle, number, examined, origin)


async def try_out(
    shop: Workshop,
    by: str,
    files: Mapping[str, str],
    model: OperatingModel,
    standing: Standing,
    *,
    red_team: bool = False,
) -> tuple[Bundle, Examined]:
    """Evaluate what these files would release, without releasing it: on record, and evidence of nothing."""
    file = check_use_case(parse(_needed(files, SPEC), SPEC), model)
    plan = model.tiers[standing.tier]
    suites = _suites(file, files, plan)
    bundle, _, _ = await asyncio.to_thread(_bundle, shop, by, file, suites, files, plan)
    examiner = await asyncio.to_thread(_examiner, shop, by, file, bundle, files)
    attacked = _attack(file, files) if red_team else suites.attack
    evals = await examiner.run("trial", suites.evals)
    attack = await examiner.run("trial", attacked) if attacked is not None else None
    return bundle, await asyncio.to_thread(record, shop, by, bundle, (evals, attack), standing)


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
        fallbacks=bundle.fallbacks,
        embedding=bundle.embedding,
        prompts=bundle.prompts,
        options=bundle.options,
        cents_per_day=bundle.cents_per_day,
        cents_per_month=bundle.cents_per_month,
        warn_percent=bundle.warn_percent,
    )


@dataclass(frozen=True, slots=True)
class _Suites:
    evals: Suite
    attack: Suite | None


def _suites(file: UseCaseFile, files: Mapping[str, str], plan: TierPlan) -> _Suites:
    evals = parse_suite(_needed(files, file.evals.file), file.evals.file)
    owed = RED_TEAMED in plan.controls or file.evals.red_team is not None
    return _Suites(evals, _attack(file, files) if owed else None)


def _attack(file: UseCaseFile, files: Mapping[str, str]) -> Suite:
    named = file.evals.red_team
    return redteam.suite_of(parse_suite(_needed(files, named), named) if named is not None else None)


def _examiner(shop: Workshop, by: str, file: UseCaseFile, bundle: Bundle, files: Mapping[str, str]) -> Examiner:
    named = file.evals.judge
    judge = judge_of(shop.engine, named.use_case, file.subject, recipe) if named is not None else None
    return Examiner(shop, by, bundle, recipe(bundle, files[file.prompts.system]), judge)


def _bundle(
    shop: Workshop, by: str, file: UseCaseFile, suites: _Suites, files: Mapping[str, str], plan: TierPlan
) -> tuple[Bundle, list[bytes], list[Finding]]:
    primary, fallbacks, embedding = targets(file.model, shop.upstreams)  # before anything is made
    guardrails, options = guarded(file, files, plan.guardrails)
    datasets = {d.name: _indexed(shop, by, file, d, files) for d in file.data}
    own = {name: text for name, text in files.items() if not any(_inside(name, d.path) for d in file.data)}
    kept = [text.encode() for text in own.values()]
    prompt = _needed(files, file.prompts.system)
    templates = _templates(file, files)
    kept += [template.content() for template in templates]
    charter = _chartered(file, files)
    kept += [charter.content()] if charter is not None else []
    bundle = Bundle(
        use_case=file.subject,
        upstream=primary["upstream"],
        model=primary["model"],
        prompt=_digest(prompt),
        unanswered=file.unanswered,
        index=datasets[file.retrieval.data] if file.retrieval is not None else "",
        top=file.retrieval.top if file.retrieval is not None else 0,
        datasets=datasets,
        suite=suites.evals.digest,
        pass_percent=file.evals.pass_percent,
        runbook=_digest(files[file.runbook]) if file.runbook in files else "",
        guardrails=guardrails,
        options=options,
        calls_per_day=file.budget.calls_per_day,
        tokens_per_day=file.budget.tokens_per_day,
        cents_per_day=file.budget.cents_per_day or 0,
        cents_per_month=file.budget.cents_per_month or 0,
        warn_percent=file.budget.warn_percent or 0,
        files={name: _digest(text) for name, text in own.items()},
        fallbacks=fallbacks,
        embedding=embedding,
        prompts={template.id: template.digest for template in templates},
        red_team=suites.attack.digest if suites.attack is not None else "",
        agents=charter.digest if charter is not None else "",
        tools=tuple(f"{name}@{tool.digest}" for name, tool in charter.tools.items()) if charter is not None else (),
    )
    return bundle, kept, _made(bundle)


def _chartered(file: UseCaseFile, files: Mapping[str, str]) -> Charter | None:
    """Compile what its agents may do; `InvalidDocument` says what is wrong with it, and where."""
    return Charter.compile(parse(_needed(files, file.agents), file.agents)) if file.agents is not None else None


def _templates(file: UseCaseFile, files: Mapping[str, str]) -> list[Template]:
    named = file.prompts.templates or {}
    return [parse_template(_needed(files, path), path, expected=name) for name, path in sorted(named.items())]


def _registered(shop: Workshop, by: str, bundle: Bundle) -> None:
    """Put versions of prompts on record that no release carried before."""
    known = known_digests(prompt_versions(shop.engine, bundle.use_case))
    carried = [(SYSTEM_PROMPT, bundle.prompt), *sorted(bundle.prompts.items())]
    register_prompts(shop.governor, by, bundle.use_case, bundle.digest, [c for c in carried if c not in known])


def _made(bundle: Bundle) -> list[Finding]:
    """State what the making of the bundle itself proves."""
    findings = [Finding("prompt-pinned", "proven", f"prompt {bundle.prompt[:12]} is in the release")]
    if bundle.datasets:
        versions = ", ".join(f"{name} at {version[:12]}" for name, version in bundle.datasets.items())
        findings.append(Finding("sources-versioned", "proven", versions))
    if bundle.runbook:
        findings.append(Finding("runbook-present", "proven", f"runbook {bundle.runbook[:12]} is in the release"))
    return findings


def _gated(shop: Workshop, by: str, bundle: Bundle, number: int, examined: Examined, origin: Data | None) -> Released:
    summary, attack = examined.evals.run.summary, examined.attack
    lines = tuple(gate(shop.governor, by, bundle.use_case, bundle.digest))
    state, approval = "denied", ""
    try:
        approval = ask_to_go_live(shop.governor, by, bundle.use_case, bundle.digest, number, origin)
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
        passed=summary.passed,
        total=summary.total,
        gate=lines,
        failures=_failed(examined.evals),
        answered_by=next(o.name for o in shop.upstreams.values() if o.address == bundle.upstream),
        results=examined.evals.results,
        summary=summary,
        comparison=examined.comparison,
        attack=attack.run.summary if attack is not None else None,
        breaches=_failed(attack) if attack is not None else (),
    )


def _failed(found: Recorded) -> tuple[Outcome, ...]:
    return tuple(o for o in found.run.outcomes if not o.passed)


def _indexed(shop: Workshop, by: str, file: UseCaseFile, data: DataPart, files: Mapping[str, str]) -> str:
    inside = {n: text for n, text in files.items() if _inside(n, data.path) and n.endswith(".md")}
    if not inside:
        raise InvalidInput(
            f"the source {data.name} has no Markdown files under {data.path}", hint=f"send the files of {data.path} too"
        )
    oldest = data.max_age_days or 0
    return index_source(shop.governor, by, file.subject, data.name, inside, shop.indexes, data.personal, oldest)


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
