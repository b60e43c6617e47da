"""The fast door: each call decided from memory, answered, and on record before its last byte leaves."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bedplate.errors import BedplateError, Denied, InvalidInput, NeedsApproval, Unauthenticated, Unavailable
from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.control import Control, owed
from bedplate.kernel.decision import Allow, Case, Reason, decide
from bedplate.kernel.standing import Rung

from . import call
from .budget import Limits, Over
from .call import Request, Trace, sha256
from .dialect import Dialect, Said, json_bytes
from .dialects import CHAT
from .extractive import quote
from .finding import redact
from .governance import CALL, CANARY, EVALUATE
from .grounding import render
from .route import Target
from .session import Answer, Headers, Parts, Session, carried, judge
from .upstream import Asked, Reply, Spoken, UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.kernel.event import Value
    from bedplate.kernel.model import TierPlan

    from .grounding import Numbered
    from .recipe import Recipe
    from .snapshot import Key, Snapshot
    from .switchboard import Switchboard

Carried = tuple[tuple[bytes, bytes], ...]
PASSED = frozenset({b"anthropic-version", b"anthropic-beta", b"openai-beta", b"tracestate"})
CANARY_KEY = "key/canary"  # nobody's: what is issued is called otherwise
MAX_NAMED = 500  # characters of what is found, as an approval names it
RUNGS = {rung: rung.name.lower() for rung in Rung}
EXPECTED_OUT = 256  # tokens reserved for an answer whose length the client does not bound
QUOTES = (
    "rung-open",
    "its rung is read: passages are quoted, and nothing is generated",
    "ask the gateway itself, which quotes; a resumption raises the rung",
)
FIXES = {
    "prompt-length": "send less",
    "guardrail-input": "take it out of the prompt and send again",
}


class Door:
    """Answers calls for keys, and for evaluations of releases that are not live yet."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._owed: dict[tuple[int, int, str], tuple[Control, ...]] = {}
        self._limits: dict[str, tuple[TierPlan, Recipe, Limits]] = {}

    async def complete(
        self, secret: str, content: bytes, dialect: Dialect = CHAT, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> Answer:
        """Decide and answer one call made with a key. Never raises for what a client can cause: the answer says it."""
        snapshot = self._p.follower.snapshot
        try:
            key = self._known(snapshot, secret)
        except Unauthenticated as error:
            return Answer(401, [], json_bytes(dialect.error(401, str(error), error.code, (), "")))
        recipe = snapshot.recipes.get(key.subject)
        trace = Trace(self._p.identify(), key.subject, f"key/{key.id}", "live", self._p.clock(), sha256(content))
        passed = tuple([pair for pair in headers if pair[0] in PASSED])
        trace.traceparent = next((v for k, v in headers if k == b"traceparent"), b"").decode("latin-1")
        trace.prompt_id = next((v for k, v in headers if k == b"x-bedplate-prompt"), b"")[:200].decode("latin-1")
        if onward := self._p.onward(trace.id, trace.traceparent) or trace.traceparent:
            passed += ((b"traceparent", onward.encode()),)
        return await self._answered(snapshot, recipe, CALL, trace, dialect, content, passed)

    def identified(self, secret: str) -> tuple[str, str]:
        """Return a key's use case and the key as records name it; `Unauthenticated` if it is unknown or has ended."""
        key = self._known(self._p.follower.snapshot, secret)
        return key.subject, f"key/{key.id}"

    def judged(self, trace: Trace, model: str, dialect: Dialect = CHAT) -> tuple[Reason, ...]:
        """Decide a call that is not made here; fills in what is known of the subject. Nothing is recorded."""
        snapshot = self._p.follower.snapshot
        request = Request(dialect, {}, model, stream=False, texts=[], size=0)
        return self._decided(snapshot, snapshot.recipes.get(trace.subject), CALL, trace, request)

    async def weighed(self, trace: Trace, request: Request) -> bool:
        """Decide a call that another enforcement point makes, all the way to the upstream; a refusal is on record.

        True lets it go on: what guards took out is out of the request then, and nothing is counted or recorded. On
        rung read nothing may be generated elsewhere either. `Unavailable` if it cannot be decided, or not recorded.
        """
        snapshot = self._p.follower.snapshot
        recipe = snapshot.recipes.get(trace.subject)
        plan = await self._admitted(snapshot, recipe, CALL, trace, request)
        if plan is not None and recipe is not None:
            over = self._reserved(plan, recipe, trace, request)
            self._released(trace)
            if over is not None:
                trace.reasons = [_spent(over)]
            elif trace.rung == RUNGS[Rung.READ]:
                trace.reasons = [QUOTES]
            else:
                return True
        await self.refused(trace)
        return False

    async def refused(self, trace: Trace) -> None:
        """Put on record that a call was refused, for the reasons in its trace."""
        trace.verdict, trace.status = "ask" if trace.asked else "deny", "refused"
        await self._p.recorder.record(trace, "call.refused", trace.asked)

    async def canary(self, subject: str, content: bytes, upstream: Switchboard) -> tuple[Answer, Trace]:
        """Make a synthetic call through all that a call goes through; `upstream` answers where the real ones would.

        It is on record as what it is, and never counted against a budget.
        """
        snapshot = self._p.follower.snapshot
        door = Door(replace(self._p, switchboard=upstream))
        trace = Trace(self._p.identify(), subject, CANARY_KEY, "canary", self._p.clock(), sha256(content))
        recipe = snapshot.recipes.get(subject)
        return await door._answered(snapshot, recipe, CANARY, trace, CHAT, content, ()), trace

    def provoked(self, case: Case, plan: TierPlan) -> tuple[Reason, ...]:
        """Decide a control's synthetic case by the controls that calls with a key owe under this plan."""
        attempt = replace(case.attempt, action=CALL, actor=CANARY_KEY)
        verdict = decide(replace(case, attempt=attempt), owed(self._p.controls, "call", CALL.name, plan.controls))
        return () if isinstance(verdict, Allow) else verdict.reasons

    @property
    def parts(self) -> Parts:
        """What it works with."""
        return self._p

    def models(self, secret: str) -> list[str]:
        """List the model names that a key may ask for; `Unauthenticated` for a key that is unknown or has ended."""
        snapshot = self._p.follower.snapshot
        recipe = snapshot.recipes.get(self._known(snapshot, secret).subject)
        return [recipe.model, *sorted(recipe.named - {recipe.model})] if recipe is not None else []

    async def evaluate(self, by: str, subject: str, recipe: Recipe, question: str) -> tuple[str, list[str], str]:
        """Ask one question of a release that need not be live; returns (answer, passage refs, call id)."""
        content = json_bytes({"model": recipe.model, "messages": [{"role": "user", "content": question}]})
        trace = Trace(self._p.identify(), subject, by, "evaluation", self._p.clock(), sha256(content))
        self._p.follower.look()
        answer = await self._answered(self._p.follower.snapshot, recipe, EVALUATE, trace, CHAT, content, ())
        if answer.status == 403:  # noqa: PLR2004  a refusal, which an attack may well hope to be spared
            why = "; ".join(why for _, why, _ in trace.reasons)
            raise Denied(why, hint=f"bedplate call {trace.id}", reasons=tuple(trace.reasons))
        if answer.status != 200:  # noqa: PLR2004  the one status that carries an answer
            raise Unavailable(f"the evaluation call {trace.id} failed: {trace.error or 'no answer'}")
        return trace.answer, trace.passages, trace.id

    async def _answered(
        self,
        snapshot: Snapshot,
        recipe: Recipe | None,
        action: Action,
        trace: Trace,
        dialect: Dialect,
        content: bytes,
        passed: Carried,
    ) -> Answer:
        trace.dialect = dialect.name
        try:
            return await self._governed(snapshot, recipe, action, trace, call.read(dialect, content), passed)
        except InvalidInput as error:
            trace.status, trace.error = "refused", error.code
            fix = error.hint or f"send what {dialect.path} takes, as its protocol documents it"
            trace.reasons = [("request", error.message, fix)]
            return await self._closing(trace, dialect, 413 if error.code == "request-too-large" else 400, error)
        except Unavailable as error:
            self._released(trace)
            return self._error(trace, dialect, 503, error)
        except BedplateError as error:  # an index that is gone, say: nothing was answered, and that is on record
            trace.status, trace.error = "failed", error.message
            return await self._closing(trace, dialect, 503, error)
        except (asyncio.CancelledError, GeneratorExit):
            self._released(trace)
            trace.status = "aborted"
            with suppress(Unavailable):  # or the record of its completion was on its way already
                await asyncio.shield(self._p.recorder.record(trace, "call.aborted", None))
            raise

    async def _closing(self, trace: Trace, dialect: Dialect, status: int, error: BedplateError) -> Answer:
        self._released(trace)
        try:
            await self._p.recorder.record(trace, f"call.{trace.status}", None)
        except Unavailable as away:
            return self._error(trace, dialect, 503, away)
        return self._error(trace, dialect, status, error)

    def _told(self, trace: Trace, dialect: Dialect, failed: UpstreamFailed) -> Answer:
        """Tell the client what went wrong upstream: what it did wrong itself in the upstream's own words."""
        if failed.body:
            return Answer(failed.status, _headers(trace), failed.body)
        answer = self._error(trace, dialect, failed.status, failed)
        later = [("retry-after", failed.retry_after)] if failed.retry_after else []
        return replace(answer, headers=answer.headers + later)

    def _released(self, trace: Trace) -> None:
        """Give back what was counted for a call that was not made."""
        if trace.reservation is not None:
            self._p.budgets.release(trace.reservation)
            trace.reservation = None

    def _error(self, trace: Trace, dialect: Dialect, status: int, error: BedplateError) -> Answer:
        content = json_bytes(dialect.error(status, str(error), error.code, trace.reasons, trace.id))
        return Answer(status, _headers(trace), content)

    async def _governed(
        self,
        snapshot: Snapshot,
        recipe: Recipe | None,
        action: Action,
        trace: Trace,
        request: Request,
        passed: Carried,
    ) -> Answer:
        plan = await self._admitted(snapshot, recipe, action, trace, request)
        if plan is None or recipe is None:
            return await self._refused(trace, request.dialect)
        return await self._served(plan, recipe, trace, request, passed)

    async def _admitted(
        self, snapshot: Snapshot, recipe: Recipe | None, action: Action, trace: Trace, request: Request
    ) -> TierPlan | None:
        """Decide by controls and by what the input holds; None refuses, for the reasons in the trace."""
        if not self._p.recorder.healthy:
            raise Unavailable("calls cannot be recorded now, so none is made", hint="see /readyz")
        reasons = self._decided(snapshot, recipe, action, trace, request)
        if reasons:
            trace.reasons = [(r.control, r.why, r.fix) for r in reasons]
            return None
        if recipe is None or (plan := _plan(snapshot, trace.subject)) is None:
            raise Unavailable("the release is not loaded yet", hint="try again in a second")
        trace.verdict = "allow"
        trace.release, trace.prompt, trace.index = recipe.release, recipe.prompt_digest, recipe.index
        trace.model, trace.sampled = recipe.model, _sampled(trace.id, plan.sample_percent)
        if request.prompt is not None:
            messages, trace.prompt_id, trace.prompt_version = self._p.render(recipe.release, request.prompt)
            request.dialect.prompted(request.body, messages)
            request.settle()
        elif trace.prompt_id:  # rendered by the client, who says from what
            name, version, known = self._p.verify(recipe.release, trace.prompt_id)
            trace.prompt_id, trace.prompt_version = name, version if known else "not verified"
        reason = await self._guarded_in(plan, recipe, trace, request)
        if reason is not None:
            trace.reasons = [reason]
            return None
        return plan

    def _decided(
        self, snapshot: Snapshot, recipe: Recipe | None, action: Action, trace: Trace, request: Request
    ) -> tuple[Reason, ...]:
        standing = snapshot.standings.get(trace.subject)
        if standing is not None:
            trace.tier, trace.rung = standing.tier, RUNGS[standing.rung]
            trace.release = standing.release
        spent = self._p.budgets.today(trace.subject, trace.started)
        name = trace.subject.partition("/")[2]
        facts: dict[str, Value] = {
            "model": request.model,
            "approved": recipe.model if recipe else "",
            "served": "yes" if recipe is not None and recipe.upstream in self._p.switchboard else "no",
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

    async def _refused(self, trace: Trace, dialect: Dialect) -> Answer:
        await self.refused(trace)
        message = "; ".join(why for _, why, _ in trace.reasons)
        code = "needs-approval" if trace.asked else "denied"
        return Answer(403, _headers(trace), json_bytes(dialect.error(403, message, code, trace.reasons, trace.id)))

    async def _guarded_in(
        self, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request
    ) -> tuple[str, str, str] | None:
        """Change what has to be changed in the request; return why it may not go on, if it may not."""
        most = int(str(plan.guardrails["max_prompt_chars"]))
        if request.size > most:
            why = f"the prompt has {request.size} characters; {most} are allowed"
            return "prompt-length", why, FIXES["prompt-length"]
        guard, texts = recipe.guard_in, request.texts
        blocked = asks = False
        if not (guard.idle or guard.clear(["\n".join([slot.text for slot in texts])])):
            for slot in texts:
                guarded = guard.apply(slot.text)
                trace.findings += [f"input: {f.label}" for f in guarded.findings]
                blocked, asks = blocked or guarded.blocked, asks or guarded.asks
                # What people are asked about goes on as it came, once they agree; the rest is changed either way.
                hidden = [f for f in guarded.findings if guard.policy[f.kind] == "redact"] if guarded.asks else ()
                text = redact(slot.text, hidden) if guarded.asks else guarded.text
                if text != slot.text:
                    slot.holder[slot.key] = text
        if not recipe.guard_asked.idle:
            whole = "\n".join([slot.text for slot in texts if " " in slot.text])
            judged = await judge(recipe.guard_asked, whole)
            trace.findings += [f"input: {f.label}" for f in judged.findings]
            blocked, asks = blocked or judged.blocked, asks or judged.asks
        if not (blocked or asks):
            return None
        named = ", ".join(dict.fromkeys(f.partition(": ")[2] for f in trace.findings))
        if not blocked and trace.route == "live":
            return await self._agreed(trace, request, named)
        return "guardrail-input", f"the prompt holds {named}", FIXES["guardrail-input"]

    async def _agreed(self, trace: Trace, request: Request, named: str) -> tuple[str, str, str] | None:
        """Let what a guardrail holds go on if people agreed to exactly this; ask them otherwise."""
        facts: dict[str, Value] = {"request_sha256": trace.request_sha256, "findings": named[:MAX_NAMED]}
        try:
            await self._p.agree(trace.key, trace.subject, facts)
        except NeedsApproval as asked:
            trace.verdict = "ask"
            trace.asked = {"messages": request.dialect.messages(request.body)}
            fix = f"have it agreed to ({asked.approval}), then send exactly this again"
            return "guardrail-input", f"the prompt holds {named}: people must agree to this text", fix
        except Denied as refused:
            return "guardrail-input", f"the prompt holds {named}: {refused.message}", refused.hint
        return None

    async def _served(self, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request, passed: Carried) -> Answer:
        if trace.route == "live" and (over := self._reserved(plan, recipe, trace, request)) is not None:
            trace.reasons = [_spent(over)]
            return await self._refused(trace, request.dialect)
        if plan.intent:
            trace.status = "intended"
            await self._p.recorder.record(replace(trace, id=f"{trace.id}/intent"), "call.intent", None)
        dialect = request.dialect
        question = dialect.question(request.body) if recipe.index else ""
        passages = await self._p.retrieve(recipe.index, question, recipe.top) if recipe.index else ()
        trace.passages = [p.ref for p in passages]
        session = Session(self._p, plan, recipe, trace, request, passages)
        headers = _headers(trace)
        if trace.route == "live" and trace.rung == RUNGS[Rung.READ]:
            text = quote(passages, "") or recipe.unanswered  # nothing is generated
            said = Said(text, "quoted passages", trace.started // 1_000_000, trace.id)
            if request.stream:
                return Answer(200, headers, events=session.streamed(Spoken(dialect.stream(said))))
            return Answer(200, headers, await session.whole(Reply(json_bytes(dialect.whole(said)))))
        asked = Asked(dialect, _composed(recipe, request, passages), request.stream, passed)
        targets, tokens = _targets(recipe, request), request.size // 4
        try:
            if request.stream:
                flow = await self._p.switchboard.open(targets, asked, trace, tokens)
                return Answer(200, headers + carried(flow.headers), events=session.streamed(flow))
            began = self._p.clock()
            reply = await self._p.switchboard.ask(targets, asked, trace, tokens)
            trace.upstream_us = max(0, self._p.clock() - began)  # clocks step back
            return Answer(200, headers + carried(reply.headers), await session.whole(reply))
        except UpstreamFailed as failed:
            trace.status, trace.error = "failed", failed.message
            await session.commit("call.failed")
            return self._told(trace, dialect, failed)

    def _reserved(self, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request) -> Over | None:
        """Count the call against the budget before it is made, so that parallel calls see each other."""
        known = self._limits.get(trace.subject)
        if known is None or known[0] is not plan or known[1] is not recipe:
            known = self._limits[trace.subject] = (plan, recipe, Limits.of(plan, recipe))
        most_out = request.dialect.most_out(request.body) or EXPECTED_OUT
        tokens_in = request.size // 4 + 1
        price = self._p.price(recipe.model, recipe.upstream, trace.started)
        cost = price.cost(tokens_in, 0, most_out)
        made = self._p.budgets.reserve(trace.subject, known[2], tokens_in + most_out, cost, trace.started)
        if isinstance(made, Over):
            return made
        trace.reservation = made
        if known[2].warn_percent and self._p.budgets.today(trace.subject, trace.started).state(known[2]) == "warn":
            trace.warns = True
        return None

    def _known(self, snapshot: Snapshot, secret: str) -> Key:
        digest = sha256(secret.encode())
        key = snapshot.keys.get(digest)
        if key is None or not hmac.compare_digest(key.digest, digest):
            raise Unauthenticated("this key is not known here", hint="have one issued: bedplate key issue USE-CASE")
        if key.revoked or self._p.clock() >= key.expires:
            raise Unauthenticated("this key has ended", hint="have another issued: bedplate key issue USE-CASE")
        return key


def _targets(recipe: Recipe, request: Request) -> Sequence[Target]:
    """List what the release approved in the order it is tried: the model that was named first."""
    if request.dialect.name == "embeddings" and recipe.embedding:
        return [Target(recipe.embedding["upstream"], recipe.embedding["model"])]
    return sorted(recipe.targets, key=lambda t: t.model != request.model) if recipe.fallbacks else recipe.targets


def _spent(over: Over) -> tuple[str, str, str]:
    return "within-budget", over.reason, "wait, or have the budget raised"


def _plan(snapshot: Snapshot, subject: str) -> TierPlan | None:
    standing = snapshot.standings.get(subject)
    return snapshot.model.plan(standing.tier) if snapshot.model is not None and standing is not None else None


def _composed(recipe: Recipe, request: Request, passages: Sequence[Numbered]) -> dict[str, Any]:
    """Put the released prompt and the passages where the protocol tells the model how to answer.

    The last such word counts: a client cannot slip in passages of its own.
    """
    system = recipe.prompt + ("\n\n" + render(passages) if recipe.index else "")
    body = request.dialect.composed(request.body, system)
    return {**body, "metadata": {"unanswered": recipe.unanswered}} if recipe.upstream == "embedded" else body


def _headers(trace: Trace) -> Headers:
    warning = [("x-bedplate-budget", "warn")] if trace.warns else []
    return [
        *warning,
        ("x-bedplate-call-id", trace.id),
        ("x-bedplate-verdict", trace.verdict),
        ("x-bedplate-tier", str(trace.tier)),
        ("x-bedplate-release", trace.release),
        ("x-bedplate-rung", trace.rung),
    ]


def _sampled(call_id: str, percent: int) -> bool:
    """Choose calls for a person to look at: by the id, so that nobody can steer it and everybody can recompute it."""
    return int(sha256(call_id.encode())[:8], 16) % 100 < percent
