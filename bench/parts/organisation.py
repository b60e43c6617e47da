"""The installation that is measured: one use case in tier 1, one in tier 3, and on request a thousand more.

Everything is done through the governor's actions, as people do it; only the server is left out.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from bedplate.bootstrap import open_installation
from bedplate.config import Settings
from bedplate.document import parse
from bedplate.errors import NeedsApproval
from bedplate.gateway.governance import ISSUE_KEY
from bedplate.kernel.clock import DAY
from bedplate.paths.thread import release
from bedplate.people.account import mint
from bedplate.people.actions import apply_model, check_model, invite
from bedplate.people.blank import blank_model
from bedplate.portfolio.actions import check_use_case, propose
from bedplate.releases import views as releases
from bedplate.releases.actions import Finding, ask_to_go_live, attach, build
from bedplate.releases.governance import PROVE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bedplate.installation import Installation
    from bedplate.kernel.event import Data
    from bedplate.kernel.model import OperatingModel

ROUTINE, ASSURED = "bench", "bench-assured"  # tier 1 and tier 3
SPEC = """kind: use-case
id: bench
title: Bench
domain: people
owner: hr-owner
sponsor: hr-sponsor
purpose: Measures what a governed call costs.
bucket: efficiency
value: {hypothesis: enough to pass the gate, unit: x, baseline: 100, target: 0, per_month: 1000, cents_per_unit: 100}
feasibility: {data: 5, technology: 5, people: 5, change: 5}
answers:
  {affects-rights: no, special-data: no, customer-facing: no, regulated-advice: no, acts-alone: no, decides-alone: no}
data: [{name: notes, path: notes, personal: no}]
model: {name: gpt-4o-mini}
prompts: {system: prompt.md}
unanswered: I cannot answer this.
evals: {file: evals.yaml, pass_percent: 20}
budget: {calls_per_day: 1000000000, tokens_per_day: 1000000000000}
runbook: runbook.md
"""
FILES = {
    "prompt.md": "Answer from what you are given, briefly.",
    "runbook.md": "Call the owner.",
    "notes/leave.md": "# Leave\n\n## Days\n\nTwenty-six days.\n",
    "evals.yaml": "cases:\n  - id: days\n    question: How many days?\n    expect:\n      contains: [Twenty-six]\n",
}
LIMITS = {  # of the operating model, so that they are counted but not what is measured
    "calls_per_day": 1_000_000_000,
    "tokens_per_day": 1_000_000_000_000,
    "max_prompt_chars": 1_000_000,
    "live_use_cases": 100_000,
}
DOMAIN, TECHNICAL, RISK = "hr-approver", "coe-engineer", "board-chair"
OWNER, ENGINEER = "hr-owner", "hr-engineer"


def found(data: Path, upstream: str) -> tuple[dict[str, str], str]:
    """Found an organisation with both use cases live; returns their keys, and the owner's invitation."""
    return asyncio.run(_found(data, upstream))


def populate(data: Path, upstream: str, use_cases: int, keys: int) -> None:
    """Add that many live use cases, like the one in tier 1, and share that many keys among them."""
    asyncio.run(_populate(data, upstream, use_cases, keys))


async def _found(data: Path, upstream: str) -> tuple[dict[str, str], str]:
    async with _opened(data, upstream) as at:
        model = blank_model("Bench")
        for name, most in LIMITS.items():
            model = re.sub(rf"\b{name}: \d+", f"{name}: {most}", model)
        file = check_model(at.governor, parse(model, "operating-model.yaml"))
        _agreed(at, lambda: apply_model(at.governor, "coe-lead", file, None), TECHNICAL, RISK)
        for name, voters in ((ROUTINE, (DOMAIN,)), (ASSURED, (TECHNICAL, RISK))):
            spec = SPEC.replace("id: bench", f"id: {name}")
            if name == ASSURED:
                spec = spec.replace("affects-rights: no", "affects-rights: yes")
            await _released(at, spec, voters)
        made = {name: _keys(at, f"usecase/{name}", 1)[0] for name in (ROUTINE, ASSURED)}
        return made, invite(at.governor, "operator", OWNER, OWNER).text


async def _released(at: Installation, spec: str, voters: tuple[str, ...]) -> None:
    model = _model(at)
    file = check_use_case(parse(spec, "use-case.yaml"), model)
    _agreed(at, lambda: propose(at.governor, ENGINEER, file, model), *voters)
    files = {"use-case.yaml": spec, **FILES}
    made = await release(at.workshop, ENGINEER, files, model, at.standing(file.subject))
    if made.state == "denied":  # what only people can find out
        for line in made.gate:
            if line.state != "proven":
                shown = Finding(line.control, "proven", "assumed, to measure")
                attach(at.governor, "coe-lead", file.subject, made.release, shown)
        made = await release(at.workshop, ENGINEER, files, model, at.standing(file.subject))
    assert made.state == "waiting", made
    _voted(at, made.approval, *voters)
    assert at.standing(file.subject).release == made.release, "it did not go live"


async def _populate(data: Path, upstream: str, use_cases: int, keys: int) -> None:
    async with _opened(data, upstream) as at:
        # Nothing here is acknowledged to anybody, so a power cut may have it.
        @event.listens_for(at.engine, "checkout")
        def hurry(dbapi: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401  sqlite3's own connection
            dbapi.execute("PRAGMA synchronous = OFF")
            dbapi.execute("PRAGMA journal_mode = MEMORY")

        model = _model(at)
        newest = releases.newest(at.engine, f"usecase/{ROUTINE}")["digest"]
        bundle = releases.bundle(at.engine, newest)
        shown = releases.evidence(at.engine, bundle.use_case, newest, at.clock())
        findings = {e["control"]: e["summary"] for e in shown if e["state"] == "proven"}
        file = check_use_case(parse(SPEC, "use-case.yaml"), model)
        for number in range(use_cases):
            own = file.model_copy(update={"id": f"bench-{number}"})
            _agreed(at, partial(propose, at.governor, ENGINEER, own, model), DOMAIN)
            digest = build(at.governor, ENGINEER, replace(bundle, use_case=own.subject), 1, ())
            _shown(at, own.subject, digest, findings)
            _voted(at, ask_to_go_live(at.governor, ENGINEER, own.subject, digest, 1), DOMAIN)
            _keys(at, own.subject, keys * (number + 1) // use_cases - keys * number // use_cases)


@asynccontextmanager
async def _opened(data: Path, upstream: str) -> AsyncIterator[Installation]:
    at = open_installation(Settings(data=data, upstream_url=upstream, database=""))
    try:
        yield at
    finally:
        await at.close()


def _model(at: Installation) -> OperatingModel:
    model = at.model()
    assert model is not None
    return model


def _agreed(at: Installation, asked: Callable[[], object], *voters: str) -> None:
    try:
        asked()
    except NeedsApproval as needed:
        _voted(at, needed.approval, *voters)
    else:
        raise AssertionError("nobody had to agree")


def _voted(at: Installation, approval: str, *voters: str) -> None:
    """Vote, and carry out: as `Installation.vote` does, which also reloads what calls are judged against."""
    for voter in voters:
        answered = at.governor.vote(voter, approval, yes=True, reason="to measure")
        at.governor.carry_out(answered)


def _shown(at: Installation, subject: str, digest: str, findings: dict[str, str]) -> None:
    """Attach evidence as `prove` does, but all of it at once."""
    facts: Data = {"release": digest, "control": next(iter(findings))}
    with at.governor.act(ENGINEER, PROVE, subject, facts=facts) as act:
        for control, summary in findings.items():
            until = act.case.now + 90 * DAY
            about: Data = {"control": control, "digest": digest, "outcome": "proven"}
            act.record("kernel.evidence.attached", {**about, "summary": summary, "expires": until, "blob": ""})


def _keys(at: Installation, subject: str, count: int) -> list[str]:
    """Issue keys as `issue_key` does, but all of them at once."""
    tokens = [mint("k") for _ in range(count)]
    with at.governor.act(ENGINEER, ISSUE_KEY, subject, facts={"label": "bench", "days": 90}) as act:
        for token in tokens:
            made: Data = {"key": token.id, "digest": token.digest, "label": "bench", "expires": act.case.now + 90 * DAY}
            act.record("gateway.key.issued", made)
    return [token.text for token in tokens]
