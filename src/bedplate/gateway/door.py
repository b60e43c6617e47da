"""The fast door: each call decided from memory, answered, and on record before its last byte leaves."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from bedplate.errors import BedplateError, InvalidInput, Unauthenticated, Unavailable
from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.control import Control, owed
from bedplate.kernel.decision import Allow, Case, Reason, decide
from bedplate.kernel.standing import Rung

from . import call
from .call import Request, Trace, error_body, sha256
from .extractive import quote
from .governance import CALL, EVALUATE
from .grounding import Numbered, render
from .guardrail import apply
from .upstream import Upstream, UpstreamFailed, usage

if TYPE_CHECKING:
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.event import Value
    from bedplate.kernel.model import TierPlan

    from .budget import Budgets
    from .recipe import Recipe
    from .snapshot import Follower, Key, Snapshot

DRAFT = "Draft, to be confirmed by a person before use.\n\n"
Headers = list[tuple[str, str]]


class Recorder(Protocol):
    """Where calls are recorded; returns only after the record is durable."""

    healthy: bool

    async def record(self, trace: Trace, kind: str, content: Mapping[str, Any] | None) -> None:
        """Commit one record; `Unavailable` or `Full` if that cannot be done now."""
        ...


class Grounded(Protocol):
    """What is measured of an answer."""

    unanswered: bool
    permille: int


Retrieve = Callable[[str, str, int], Awaitable[Sequence[Numbered]]]
Assess = Callable[[str, Sequence[tuple[str, str]], str], Grounded]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client: a status, headers, and either a body or a stream of server-sent events."""

    status: int
    headers: Headers
    body: dict[str, Any] | None = None
    events: AsyncIterator[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What the door works with; the composition root hands them over."""

    follower: Follower
    recorder: Recorder
    upstreams: Mapping[str, Upstream]
    retrieve: Retrieve
    assess: Assess
    budgets: Budgets
    controls: tuple[Control, ...]
    clock: Clock
    identify: Callable[[], str]


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
        """List the model names that a key may ask for; none for an unknown key."""
        snapshot = self._p.follower.snapshot
        try:
            recipe = snapshot.recipes.get(self._known(snapshot, secret).subject)
        except Unauthenticated:
            return []
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
        except (asyncio.CancelledError, GeneratorExit):
            trace.status = "aborted"
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
        size = sum(len(m.get("content") or "") for m in request.body["messages"] if isinstance(m.get("content"), str))
        if size > most:
            return self._blocked(
                trace, request, "prompt-length", f"the prompt has {size} characters; {most} are allowed"
            )
        policy = recipe.guardrails["input"]
        messages = []
        for message in request.body["messages"]:
            changed, blocked = _guard_message(message, policy, trace)
            if blocked:
                return self._blocked(trace, request, "guardrail-input", f"the prompt holds {', '.join(trace.findings)}")
            messages.append(changed)
        question = apply(request.question, policy).text
        return replace(request, body={**request.body, "messages": messages}, question=question)

    def _blocked(self, trace: Trace, request: Request, control: str, why: str) -> Request:
        trace.verdict = "deny"
        trace.reasons = [(control, why, "take it out of the prompt and send again")]
        return request

    async def _served(self, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request) -> Answer:
        if plan.intent:
            trace.status = "intended"
            await self._p.recorder.record(replace(trace, id=f"{trace.id}/intent"), "call.intent", None)
        estimate = usage(request.body, "")["total_tokens"]
        self._p.budgets.reserve(trace.subject, estimate, trace.started)
        passages = await self._p.retrieve(recipe.index, request.question, recipe.top) if recipe.index else ()
        trace.passages = [p.ref for p in passages]
        if trace.route == "live" and trace.rung == Rung.READ.name.lower():
            serving = _Quoting(passages)
        else:
            upstream = self._p.upstreams[recipe.upstream]
            trace.upstream = upstream.name
            serving = _Asking(upstream, _composed(recipe, request, passages))
        session = _Session(self._p, plan, recipe, trace, request, passages, estimate)
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


class _Serving(Protocol):
    async def whole(self) -> dict[str, Any]: ...

    def chunks(self) -> AsyncIterator[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class _Asking:
    """The upstream answers."""

    upstream: Upstream
    body: dict[str, Any]

    async def whole(self) -> dict[str, Any]:
        return (await self.upstream.complete(self.body)).body

    def chunks(self) -> AsyncIterator[dict[str, Any]]:
        return self.upstream.stream(self.body)


@dataclass(frozen=True, slots=True)
class _Quoting:
    """Nothing is generated: the passages are quoted."""

    passages: Sequence[Numbered]

    async def whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": quote(self.passages, "")}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {
            "id": "quote",
            "object": "chat.completion",
            "created": 0,
            "model": "quoted passages",
            "choices": [choice],
        }

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        frame = {"id": "quote", "object": "chat.completion.chunk", "created": 0, "model": "quoted passages"}
        text = quote(self.passages, "")
        yield {
            **frame,
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
        }
        yield {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


class _Session:
    """From the upstream's first byte to the record: guards the answer, measures it, commits it."""

    def __init__(  # noqa: PLR0913  one call's own parts
        self,
        parts: Parts,
        plan: TierPlan,
        recipe: Recipe,
        trace: Trace,
        request: Request,
        passages: Sequence[Numbered],
        estimate: int,
    ) -> None:
        self._p = parts
        self._recipe = recipe
        self._trace = trace
        self._request = request
        self._passages = passages
        self._estimate = estimate
        self._policy: Mapping[str, str] = recipe.guardrails["output"]
        self._draft = trace.route == "live" and trace.rung == Rung.PROPOSE.name.lower() and plan.drafts
        # What might be changed or stopped must not have left already: such streams are held until complete.
        self._holds = any(what != "observe" for what in self._policy.values())

    async def whole(self, serving: _Serving) -> dict[str, Any]:
        body = await serving.whole()
        for choice in body["choices"]:
            message = choice.get("message")
            if isinstance(message, dict) and isinstance(message.get("content"), str):
                message["content"] = self._out(message["content"])
        self._trace.answer = "\n".join(_contents(body))
        self._count(body.get("usage"))
        self._trace.status = "ok"
        await self._commit("call.completed")
        return body

    async def streamed(self, serving: _Serving) -> AsyncIterator[bytes]:
        trace, held = self._trace, []
        pieces: list[str] = []
        try:
            if self._draft and not self._holds:
                pieces.append(DRAFT)
                yield _sse({**_frame(self._recipe), "choices": [_text_delta(DRAFT)]})
            async for chunk in serving.chunks():
                pieces.extend(_deltas(chunk))
                self._count(chunk.get("usage"))
                if self._holds:
                    held.append(chunk)
                    continue
                yield _sse(chunk)
            trace.answer = "".join(pieces)
            if self._holds:
                trace.answer = self._out(trace.answer)
                yield _sse({**_frame(self._recipe), "choices": [_text_delta(trace.answer)]})
                yield _sse({**_frame(self._recipe), "choices": [_end_delta(held)]})
            trace.status = "ok"
            await self._commit("call.completed")
            yield b"data: [DONE]\n\n"
        except UpstreamFailed as error:
            trace.status, trace.error, trace.answer = "failed", error.message, "".join(pieces)
            yield await self._broken(error)
        except Unavailable as error:
            yield _sse(error_body(str(error), error.code, call_id=trace.id))
        except (asyncio.CancelledError, GeneratorExit):
            trace.status, trace.answer = "aborted", "".join(pieces)
            await asyncio.shield(self._commit("call.aborted"))
            raise

    async def _broken(self, error: UpstreamFailed) -> bytes:
        try:
            await self._commit("call.failed")
        except Unavailable as away:
            return _sse(error_body(str(away), away.code, call_id=self._trace.id))
        return _sse(error_body(str(error), error.code, call_id=self._trace.id))

    def _out(self, text: str) -> str:
        guarded = apply(text, self._policy)
        self._trace.findings += [f"output: {f.label}" for f in guarded.findings]
        if guarded.blocked:
            text = "This answer was withheld: it held " + ", ".join(sorted({f.label for f in guarded.findings})) + "."
        else:
            text = guarded.text
        return DRAFT + text if self._draft else text

    def _count(self, told: object) -> None:
        if isinstance(told, dict):
            self._trace.tokens_in = _whole(told.get("prompt_tokens"))
            self._trace.tokens_out = _whole(told.get("completion_tokens"))

    async def _commit(self, kind: str) -> None:
        trace = self._trace
        if not trace.tokens_out:
            estimated = usage(self._request.body, trace.answer)
            trace.tokens_in, trace.tokens_out = estimated["prompt_tokens"], estimated["completion_tokens"]
        self._p.budgets.settle(trace.subject, self._estimate, trace.tokens_in + trace.tokens_out, trace.started)
        found = self._p.assess(trace.answer, [(p.ref, p.text) for p in self._passages], self._recipe.unanswered)
        trace.unanswered, trace.grounded = found.unanswered, found.permille
        content = {"messages": self._request.body["messages"], "answer": trace.answer}
        await self._p.recorder.record(trace, kind, content)


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
    """Put the released prompt and the passages before what the client sent."""
    system = recipe.prompt + ("\n\n" + render(passages) if recipe.index else "")
    body = {**request.body, "model": recipe.model}
    body["messages"] = [{"role": "system", "content": system}, *request.body["messages"]]
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


def _sampled(call_id: str, percent: int) -> bool:
    """Choose calls for a person to look at: by the id, so that nobody can steer it and everybody can recompute it."""
    return int(sha256(call_id.encode())[:8], 16) % 100 < percent


def _contents(body: dict[str, Any]) -> list[str]:
    messages = (c.get("message") for c in body["choices"])
    return [m["content"] for m in messages if isinstance(m, dict) and isinstance(m.get("content"), str)]


def _deltas(chunk: dict[str, Any]) -> list[str]:
    choices = chunk.get("choices")
    found = (c.get("delta") for c in choices if isinstance(c, dict)) if isinstance(choices, list) else ()
    return [d["content"] for d in found if isinstance(d, dict) and isinstance(d.get("content"), str)]


def _frame(recipe: Recipe) -> dict[str, Any]:
    return {"id": "bedplate", "object": "chat.completion.chunk", "created": 0, "model": recipe.model}


def _text_delta(text: str) -> dict[str, Any]:
    return {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}


def _end_delta(held: Sequence[dict[str, Any]]) -> dict[str, Any]:
    last = next((c for h in reversed(held) for c in h.get("choices", ()) if c.get("finish_reason")), {})
    return {"index": 0, "delta": {}, "finish_reason": last.get("finish_reason", "stop")}


def _sse(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
