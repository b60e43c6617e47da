"""The fast door: each call decided from memory, answered, and on record before its last byte leaves."""

from __future__ import annotations

import asyncio
import hmac
import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bedplate.errors import BedplateError, InvalidInput, Unauthenticated, Unavailable
from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.control import Control, owed
from bedplate.kernel.decision import Allow, Case, Reason, decide
from bedplate.kernel.standing import Rung

from . import call
from .call import Request, Trace, error_body, sha256
from .governance import CALL, EVALUATE
from .grounding import render
from .guardrail import apply
from .session import Answer, Asking, Headers, Parts, Quoting, Serving, Session
from .upstream import UpstreamFailed, text_of, usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bedplate.kernel.event import Value
    from bedplate.kernel.model import TierPlan

    from .grounding import Numbered
    from .recipe import Recipe
    from .snapshot import Key, Snapshot


INSTRUCTING = ("system", "developer")  # roles that speak to the model about how to answer


class Door:
    """Answers chat completions for keys, and for evaluations of releases that are not live yet."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._owed: dict[tuple[int, int, str], tuple[Control, ...]] = {}

    async def complete(self, secret: str, body: bytes) -> Answer:
        """Decide and answer one call made with a key. Never raises for what a client can cause: the answer says it."""
        snapshot = self._p.follower.snapshot
        try:
            key = self._known(snapshot, secret)
        except Unauthenticated as error:
            return Answer(401, [], error_body(str(error), error.code))
        recipe = snapshot.recipes.get(key.subject)
        trace = Trace(self._p.identify(), key.subject, f"key/{key.id}", "live", self._p.clock(), sha256(body))
        return await self._answered(snapshot, recipe, CALL, trace, body)

    def models(self, secret: str) -> list[str]:
        """List the model names that a key may ask for; `Unauthenticated` for a key that is unknown or has ended."""
        snapshot = self._p.follower.snapshot
        recipe = snapshot.recipes.get(self._known(snapshot, secret).subject)
        return [recipe.model] if recipe is not None else []

    async def evaluate(self, by: str, subject: str, recipe: Recipe, question: str) -> tuple[str, list[str], str]:
        """Ask one question of a release that need not be live; returns (answer, passage refs, call id)."""
        asked = {"model": recipe.model, "messages": [{"role": "user", "content": question}]}
        body = json.dumps(asked).encode()
        trace = Trace(self._p.identify(), subject, by, "evaluation", self._p.clock(), sha256(body))
        self._p.follower.look()
        answer = await self._answered(self._p.follower.snapshot, recipe, EVALUATE, trace, body)
        if answer.status != 200 or answer.body is None:  # noqa: PLR2004  the one status that carries an answer
            message = answer.body["error"]["message"] if answer.body else "no answer"
            raise Unavailable(f"the evaluation call {trace.id} failed: {message}")
        return trace.answer, trace.passages, trace.id

    async def _answered(
        self, snapshot: Snapshot, recipe: Recipe | None, action: Action, trace: Trace, body: bytes
    ) -> Answer:
        try:
            return await self._governed(snapshot, recipe, action, trace, body)
        except InvalidInput as error:
            trace.status, trace.error = "refused", error.code
            trace.reasons = [("request", error.message, error.hint or "send a chat completion as OpenAI documents it")]
            status = 413 if error.code == "request-too-large" else 400
            return await self._closing(trace, status, error)
        except UpstreamFailed as error:
            trace.status, trace.error = "failed", error.message
            return await self._closing(trace, error.status, error)
        except Unavailable as error:
            return Answer(503, _headers(trace), error_body(str(error), error.code, call_id=trace.id))
        except BedplateError as error:  # an index that is gone, say: nothing was answered, and that is on record
            trace.status, trace.error = "failed", error.message
            return await self._closing(trace, 503, error)
        except (asyncio.CancelledError, GeneratorExit):
            trace.status = "aborted"
            with suppress(Unavailable):  # or the record of its completion was on its way already
                await asyncio.shield(self._p.recorder.record(trace, "call.aborted", None))
            raise

    async def _closing(self, trace: Trace, status: int, error: BedplateError) -> Answer:
        try:
            await self._p.recorder.record(trace, f"call.{trace.status}", None)
        except Unavailable as away:
            return Answer(503, _headers(trace), error_body(str(away), away.code, call_id=trace.id))
        return Answer(status, _headers(trace), error_body(str(error), error.code, trace.reasons, trace.id))

    async def _governed(
        self, snapshot: Snapshot, recipe: Recipe | None, action: Action, trace: Trace, body: bytes
    ) -> Answer:
        if not self._p.recorder.healthy:
            raise Unavailable("calls cannot be recorded now, so none is made", hint="see /readyz")
        request = call.read(body)
        verdict = self._decided(snapshot, recipe, action, trace, request)
        if verdict:
            trace.reasons = [(r.control, r.why, r.fix) for r in verdict]
            return await self._refused(trace)
        if recipe is None or (plan := _plan(snapshot, trace.subject)) is None:
            raise Unavailable("the release is not loaded yet", hint="try again in a second")
        trace.verdict = "allow"
        trace.release, trace.prompt, trace.index = recipe.release, recipe.prompt_digest, recipe.index
        trace.model, trace.sampled = recipe.model, _sampled(trace.id, plan.sample_percent)
        request = self._guarded_in(plan, recipe, trace, request)
        if trace.verdict == "deny":
            return await self._refused(trace)
        return await self._served(plan, recipe, trace, request)

    def _decided(
        self, snapshot: Snapshot, recipe: Recipe | None, action: Action, trace: Trace, request: Request
    ) -> tuple[Reason, ...]:
        standing = snapshot.standings.get(trace.subject)
        if standing is not None:
            trace.tier, trace.rung = standing.tier, standing.rung.name.lower()
            trace.release = standing.release
        spent = self._p.budgets.today(trace.subject, trace.started)
        name = trace.subject.partition("/")[2]
        facts: dict[str, Value] = {
            "model": request.model,
            "approved": recipe.model if recipe else "",
            "served": "yes" if recipe is not None and recipe.upstream in self._p.upstreams else "no",
            "named": "yes" if recipe is not None and recipe.names(request.model, name) else "no",
            "calls_today": spent.calls,
            "tokens_today": spent.tokens,
            "calls_budget": recipe.calls_per_day if recipe else 0,
            "tokens_budget": recipe.tokens_per_day if recipe else 0,
        }
        attempt = Attempt(action, trace.key, trace.subject, facts)
        case = Case(attempt, trace.started, snapshot.model, standing, age=self._p.follower.age)
        verdict = decide(case, self._controls(case))
        if isinstance(verdict, Allow):
            return ()
        return verdict.reasons

    def _controls(self, case: Case) -> tuple[Control, ...]:
        plan = case.plan
        name = case.attempt.action.name
        if plan is None:
            return owed(self._p.controls, "call", name, frozenset())
        cached = (id(case.model), int(plan.tier), name)
        if cached not in self._owed:
            self._owed = {k: v for k, v in self._owed.items() if k[0] == cached[0]}
            self._owed[cached] = owed(self._p.controls, "call", name, plan.controls)
        return self._owed[cached]

    async def _refused(self, trace: Trace) -> Answer:
        trace.verdict, trace.status = "deny", "refused"
        await self._p.recorder.record(trace, "call.refused", None)
        message = "; ".join(why for _, why, _ in trace.reasons)
        return Answer(403, _headers(trace), error_body(message, "denied", trace.reasons, trace.id))

    def _guarded_in(self, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request) -> Request:
        most = int(str(plan.guardrails["max_prompt_chars"]))
        size = sum(len(text_of(m)) for m in request.body["messages"])
        if size > most:
            return self._blocked(
                trace, request, "prompt-length", f"the prompt has {size} characters; {most} are allowed"
            )
        policy = recipe.guardrails["input"]
        messages = []
        for message in request.body["messages"]:
            changed, blocked = _guard_message(message, policy, trace)
            if blocked:
                return self._blocked(trace, request, "guardrail-input", f"the prompt holds {_named(trace.findings)}")
            messages.append(changed)
        question = apply(request.question, policy).text
        return replace(request, body={**request.body, "messages": messages}, question=question)

    def _blocked(self, trace: Trace, request: Request, control: str, why: str) -> Request:
        trace.verdict = "deny"
        trace.reasons = [(control, why, "take it out of the prompt and send again")]
        return request

    async def _served(self, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request) -> Answer:
        estimate = usage(request.body, "")["total_tokens"]
        if trace.route == "live":  # nothing is awaited since it was judged
            self._p.budgets.reserve(trace.subject, estimate, trace.started)
        if plan.intent:
            trace.status = "intended"
            await self._p.recorder.record(replace(trace, id=f"{trace.id}/intent"), "call.intent", None)
        passages = await self._p.retrieve(recipe.index, request.question, recipe.top) if recipe.index else ()
        trace.passages = [p.ref for p in passages]
        if trace.route == "live" and trace.rung == Rung.READ.name.lower():
            serving: Serving = Quoting(passages, recipe.unanswered)
        else:
            upstream = self._p.upstreams[recipe.upstream]
            trace.upstream = upstream.name
            serving = Asking(upstream, _composed(recipe, request, passages))
        session = Session(self._p, plan, recipe, trace, request, passages, estimate)
        if request.stream:
            return Answer(200, _headers(trace), events=session.streamed(serving))
        return Answer(200, _headers(trace), await session.whole(serving))

    def _known(self, snapshot: Snapshot, secret: str) -> Key:
        digest = sha256(secret.encode())
        key = snapshot.keys.get(digest)
        if key is None or not hmac.compare_digest(key.digest, digest):
            raise Unauthenticated("this key is not known here", hint="have one issued: bedplate key issue USE-CASE")
        if key.revoked or self._p.clock() >= key.expires:
            raise Unauthenticated("this key has ended", hint="have another issued: bedplate key issue USE-CASE")
        return key


def _plan(snapshot: Snapshot, subject: str) -> TierPlan | None:
    standing = snapshot.standings.get(subject)
    return snapshot.model.plan(standing.tier) if snapshot.model is not None and standing is not None else None


def _guard_message(message: dict[str, Any], policy: Mapping[str, str], trace: Trace) -> tuple[dict[str, Any], bool]:
    """Guard the text of one message, whether it is plain or in parts."""
    content = message.get("content")
    if isinstance(content, str):
        guarded = apply(content, policy)
        trace.findings += [f"input: {f.label}" for f in guarded.findings]
        return ({**message, "content": guarded.text} if guarded.text != content else message), guarded.blocked
    if not isinstance(content, list):
        return message, False
    parts, blocked = [], False
    for part in content:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            guarded = apply(part["text"], policy)
            trace.findings += [f"input: {f.label}" for f in guarded.findings]
            blocked = blocked or guarded.blocked
            parts.append({**part, "text": guarded.text})
        else:
            parts.append(part)
    return {**message, "content": parts}, blocked


def _composed(recipe: Recipe, request: Request, passages: Sequence[Numbered]) -> dict[str, Any]:
    """Put the released prompt and the passages before what the client asks, and after what it says as `system`.

    The last system message counts: a client cannot slip in passages of its own.
    """
    system = recipe.prompt + ("\n\n" + render(passages) if recipe.index else "")
    body = {**request.body, "model": recipe.model}
    told = request.body["messages"]
    theirs = [m for m in told if m["role"] in INSTRUCTING]
    asked = [m for m in told if m["role"] not in INSTRUCTING]
    body["messages"] = [*theirs, {"role": "system", "content": system}, *asked]
    if recipe.upstream == "embedded":
        body["metadata"] = {"unanswered": recipe.unanswered}
    return body


def _headers(trace: Trace) -> Headers:
    return [
        ("x-bedplate-call-id", trace.id),
        ("x-bedplate-verdict", trace.verdict),
        ("x-bedplate-tier", str(trace.tier)),
        ("x-bedplate-release", trace.release),
        ("x-bedplate-rung", trace.rung),
    ]


def _named(findings: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(f.partition(": ")[2] for f in findings))


def _sampled(call_id: str, percent: int) -> bool:
    """Choose calls for a person to look at: by the id, so that nobody can steer it and everybody can recompute it."""
    return int(sha256(call_id.encode())[:8], 16) % 100 < percent
