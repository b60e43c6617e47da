"""The examiner: asks a release its suite or the red team through the gateway, and has judged what came back."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from bedplate.data.index import Index
from bedplate.errors import Denied
from bedplate.models import judge as judging
from bedplate.models.judge import Judgement, agreement
from bedplate.models.run import Purpose, Run
from bedplate.models.scorer import Said, score, scorers_of
from bedplate.releases import views as releases
from bedplate.store.reads import read_blob, read_standing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sqlalchemy import Engine

    from bedplate.gateway.recipe import Recipe
    from bedplate.kernel.event import Value
    from bedplate.models.suite import Case, Outcome, Suite
    from bedplate.releases.bundle import Bundle

    from .thread import Workshop

Item = TypeVar("Item")
Result = TypeVar("Result")
AT_ONCE = 4  # questions under way at one time
CITATION = re.compile(r"\[(\d{1,3})\]")
RECORD = "bedplate call "  # how the hint of a refusal begins, before the id of the call on record


class Asked(Protocol):
    """What answers an evaluation: the gateway's door."""

    async def evaluate(self, by: str, subject: str, recipe: Recipe, question: str) -> tuple[str, list[str], str]:
        """Return (answer, passage refs, call id); `Denied` where a guardrail refused, `Unavailable` where it failed."""
        ...


@dataclass(frozen=True, slots=True)
class Judge:
    """The live use case that judges."""

    subject: str
    how: Recipe


@dataclass(frozen=True, slots=True)
class Examiner:
    """Asks a release, whether it is live or not, as route `evaluation`: guarded, priced and on record like any call."""

    shop: Workshop
    by: str
    bundle: Bundle
    how: Recipe
    judge: Judge | None = None

    async def run(self, purpose: Purpose, suite: Suite) -> Run:
        """Ask every case; the outcomes are in the suite's order. An upstream that is away is no outcome: it raises."""
        held = await asyncio.to_thread(_texts, self.shop, self.bundle.index)
        outcomes = await _each(suite.asked, lambda case: self._asked(case, held))
        pairs = await _each(suite.labelled, self._labelled)
        config: dict[str, Value] = {
            "scorers": sorted({name for case in suite.cases for name in scorers_of(case)}),
            "model": self.bundle.model,
            "upstream": self.bundle.upstream,
        }
        if self.judge is not None and any(case.judge for case in suite.cases):
            config |= {
                "judge": self.judge.subject,
                "judge_release": self.judge.how.release,
                "judge_prompt": judging.DIGEST,
            }
        agreed = agreement(pairs) if pairs else None
        return Run(purpose, self.bundle.digest, suite.digest, suite.name, tuple(outcomes), config, agreed)

    async def _asked(self, case: Case, held: Mapping[str, str]) -> Outcome:
        try:
            answer, refs, call = await self.shop.door.evaluate(self.by, self.bundle.use_case, self.how, case.question)
        except Denied as refused:
            call = refused.hint.removeprefix(RECORD) if refused.hint.startswith(RECORD) else ""
            return score(case, Said("", unanswered=self.bundle.unanswered, call=call, blocked=_guardrail(refused)))
        passages = tuple((ref, held.get(ref, "")) for ref in refs)
        said = Said(answer, tuple(_cited(answer, refs)), passages, self.bundle.unanswered, call)
        outcome = score(case, said)
        if not (outcome.passed and case.judge):
            return outcome  # what fails without a judge needs none
        found, where = await self._judged(case.judge, case.question, answer)
        return replace(outcome, passed=found.passed, why=f"judged: {found.why} ({where})")

    async def _judged(self, rubric: str, question: str, answer: str) -> tuple[Judgement, str]:
        if self.judge is None:
            return Judgement(passed=False, why="nobody is named who judges: evals.judge", readable=False), "no call"
        asked = judging.prompt(rubric, question, answer)
        try:
            said, _, call = await self.shop.door.evaluate(self.by, self.judge.subject, self.judge.how, asked)
        except Denied as refused:
            why = f"the judge was not asked: {_guardrail(refused)}"
            return Judgement(passed=False, why=why, readable=False), "no call"
        return judging.read(said), f"call {call}"

    async def _labelled(self, case: Case) -> tuple[bool, bool]:
        found, _ = await self._judged(case.judge, case.question, case.answer)
        return found.passed, case.label == "pass"


def judge_of(engine: Engine, name: str, subject: str, recipe_of: Callable[[Bundle, str], Recipe]) -> Judge:
    """Return the live use case that is to judge `subject`; `Denied` says why it cannot."""
    other = f"usecase/{name}"
    fix = "name a live use case in evals.judge, or take this one live"
    if other == subject:
        raise Denied("a use case does not judge itself", hint=fix)
    with engine.connect() as connection:
        found = read_standing(connection, other)
        if found is None or not found.release or found.suspended:
            raise Denied(f"{other} cannot judge: it is not live", hint=fix)
        made = releases.bundle(engine, found.release)
        return Judge(other, recipe_of(made, read_blob(connection, made.prompt).decode()))


def _guardrail(refused: Denied) -> str:
    """Return what a guardrail said; every other refusal is one of this evaluation itself, and ends it."""
    named = [f"{control}: {why}" for control, why, _ in refused.reasons if control.startswith(("guardrail", "prompt-"))]
    if not named or len(named) < len(refused.reasons):
        raise refused
    return "; ".join(named)


def _cited(answer: str, refs: Sequence[str]) -> list[str]:
    """Resolve `[2]` to the second passage; a number without a passage cites nothing."""
    numbers = sorted({int(n) for n in CITATION.findall(answer)})
    return [refs[n - 1] for n in numbers if 0 < n <= len(refs)]


def _texts(shop: Workshop, version: str) -> Mapping[str, str]:
    return {p.ref: p.text for p in Index.open(shop.indexes, version).passages} if version else {}


async def _each(items: Sequence[Item], ask: Callable[[Item], Awaitable[Result]]) -> list[Result]:
    """Ask for every item, a few at one time; the first that fails ends the others, and is what is raised."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> Result:
        async with free:
            return await ask(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]
