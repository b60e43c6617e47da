"""The fast door: each call decided from memory, answered, and on record before its last byte leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from bedplate.errors import BedplateError, Denied, InvalidInput, NeedsApproval, Unauthenticated, Unavailable
from bedplate.kernel.action import Action, Attempt
from bedplate.kernel.control import Control, owed
from bedplate.kernel.decision import Allow, Case, Reason, decide
from bedplate.kernel.standing import Rung

from . import call
from .asking import composed, targets_of
from .budget import Spent
from .call import Request, Trace, headers, sha256
from .dialect import Dialect, Said, json_bytes
from .dialects import CHAT
from .extractive import quote
from .governance import CALL, CANARY, EVALUATE
from .handout import Handouts
from .incoming import Incoming
from .reserve import Reserve
from .session import Answer, Parts, Session, carried
from .upstream import Asked, Reply, Spoken, UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bedplate.kernel.event import Value
    from bedplate.kernel.model import TierPlan

    from .held import Held
    from .recipe import Recipe
    from .snapshot import Snapshot
    from .switchboard import Switchboard

Carried = tuple[tuple[bytes, bytes], ...]
PASSED = frozenset({b"anthropic-version", b"anthropic-beta", b"openai-beta", b"tracestate"})
CANARY_KEY = "key/canary"  # nobody's: what is issued is called otherwise
RUNGS = {rung: rung.name.lower() for rung in Rung}
UNSPENT = Spent(0, 0, 0, 0, 0, 0, 0, 0)  # of a call that costs nothing
QUOTES = (
    "rung-open",
    "its rung is read: passages are quoted, and nothing is generated",
    "ask the gateway itself, which quotes; a resumption raises the rung",
)


class Door:
    """Answers calls for keys, and for evaluations of releases that are not live yet."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._incoming, self._handouts, self._reserve = Incoming(parts), Handouts(parts), Reserve(parts)
        self._owed: dict[tuple[int, int, str], tuple[Control, ...]] = {}

    async def complete(
        self, secret: str, content: bytes, dialect: Dialect = CHAT, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> Answer:
        """Decide and answer one call made with a key. Never raises for what a client can cause: the answer says it."""
        snapshot = self._p.follower.snapshot
        try:
            key = snapshot.known(secret, self._p.clock())
        except Unauthenticated as error:
            self._p.noticed("key", secret, "", "live")
            return Answer(401, [], json_bytes(dialect.error(401, str(error), error.code, (), "")))
        recipe = snapshot.recipes.get(key.subject)
        trace = Trace(self._p.identify(), key.subject, f"key/{key.id}", "live", self._p.clock(), sha256(content))
        passed = tuple([pair for pair in headers if pair[0] in PASSED])
        trace.traceparent = next((v for k, v in headers if k == b"traceparent"), b"").decode("latin-1")
        trace.prompt_id = next((v for k, v in headers if k == b"x-bedplate-prompt"), b"")[:200].decode("latin-1")
        if key.agent:
            trace.agent = key.agent
            trace.run = next((v for k, v in headers if k == b"x-bedplate-run"), b"")[:100].decode("latin-1")
        if onward := self._p.onward(trace.id, trace.traceparent) or trace.traceparent:
            passed += ((b"traceparent", onward.encode()),)
        return await self._answered(snapshot, recipe, CALL, trace, dialect, content, passed)

    def identified(self, secret: str) -> tuple[str, str]:
        """Return a key's use case and the key as records name it; `Unauthenticated` if it is unknown or has ended."""
        try:
            key = self._p.follower.snapshot.known(secret, self._p.clock())
        except Unauthenticated:
            self._p.noticed("key", secret, "", "observed")
            raise
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
            over = self._reserve.take(plan, recipe, trace, request)
            self._reserve.back(trace)
            if over is not None:
                trace.reasons = [over]
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
        recipe = snapshot.recipes.get(snapshot.known(secret, self._p.clock()).subject)
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
            self._reserve.back(trace)
            return self._error(trace, dialect, 503, error)
        except BedplateError as error:  # an index that is gone, say: nothing was answered, and that is on record
            trace.status, trace.error = "failed", error.message
            return await self._closing(trace, dialect, 503, error)
        except (asyncio.CancelledError, GeneratorExit):
            self._reserve.back(trace)
            trace.status = "aborted"
            with suppress(Unavailable):  # or the record of its completion was on its way already
                await asyncio.shield(self._p.recorder.record(trace, "call.aborted", None))
            raise
        except Exception as bug:  # ours: the client reads of it, and neither budget nor record may be missing
            self._reserve.back(trace)
            trace.status, trace.error = "failed", type(bug).__name__
            with suppress(Unavailable):
                await self._p.recorder.record(trace, "call.failed", None)
            raise

    async def _closing(self, trace: Trace, dialect: Dialect, status: int, error: BedplateError) -> Answer:
        self._reserve.back(trace)
        try:
            await self._p.recorder.record(trace, f"call.{trace.status}", None)
        except Unavailable as away:
            return self._error(trace, dialect, 503, away)
        return self._error(trace, dialect, status, error)

    def _told(self, trace: Trace, dialect: Dialect, failed: UpstreamFailed) -> Answer:
        """Tell the client what went wrong upstream: what it did wrong itself in the upstream's own words."""
        if failed.body:
            return Answer(failed.status, headers(trace), failed.body)
        answer = self._error(trace, dialect, failed.status, failed)
        later = [("retry-after", failed.retry_after)] if failed.retry_after else []
        return replace(answer, headers=answer.headers + later)

    def _error(self, trace: Trace, dialect: Dialect, status: int, error: BedplateError) -> Answer:
        content = json_bytes(dialect.error(status, str(error), error.code, trace.reasons, trace.id))
        return Answer(status, headers(trace), content)

    async def _governed(
        self,
        snapshot: Snapshot,
        recipe: Recipe | None,
        action: Action,
        trace: Trace,
        request: Request,
        passed: Carried,
    ) -> Answer:
        held = self._handouts.of(snapshot, trace) if action is CALL else None
        if held is not None and (answer := await self._handed(held, snapshot, recipe, trace, request)) is not None:
            return answer
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
        if recipe is None or (plan := snapshot.plan(trace.subject)) is None:
            raise Unavailable("the release is not loaded yet", hint="try again in a second")
        _let(trace, recipe, plan)
        self._prompted(recipe, trace, request)
        reason = await self._incoming.guarded(plan, recipe, trace, request)
        if reason is not None:
            trace.reasons = [reason]
            return None
        return plan

    async def _handed(
        self, held: Held, snapshot: Snapshot, recipe: Recipe | None, trace: Trace, request: Request
    ) -> Answer | None:
        """Answer with what was held of exactly this request, or with why it stays held; None makes the call anew."""
        plan = snapshot.plan(trace.subject)
        if plan is None or recipe is None or not self._p.recorder.healthy:
            return None  # nothing is answered, and it is said why
        reasons = self._decided(snapshot, recipe, CALL, trace, request, paid=True)
        if reasons or trace.rung == RUNGS[Rung.READ]:
            return None
        _let(trace, recipe, plan)
        if not held.granted(trace.started):
            return await self._handouts.withheld(held, trace, request)
        try:
            kept = await self._handouts.fetched(held, recipe, trace)
        except NeedsApproval as asked:
            return await self._handouts.withheld(held, trace, request, asked.approval)
        except Denied as refused:
            trace.reasons = [*refused.reasons]
            return await self._refused(trace, request.dialect)
        if kept is None:
            return None
        self._prompted(recipe, trace, request)
        reason = await self._incoming.guarded(plan, recipe, trace, request, agreed=True)
        if reason is not None:
            trace.reasons = [reason]
            return await self._refused(trace, request.dialect)
        trace.answer_of = held.call
        return await self._handouts.handed(kept, plan, recipe, trace, request)

    def _prompted(self, recipe: Recipe, trace: Trace, request: Request) -> None:
        """Render the released prompt that the client names, or see which one it says that it has rendered."""
        if request.prompt is not None:
            messages, trace.prompt_id, trace.prompt_version = self._p.render(recipe.release, request.prompt)
            request.dialect.prompted(request.body, messages)
            request.settle()
        elif trace.prompt_id:  # rendered by the client, who says from what
            name, version, known = self._p.verify(recipe.release, trace.prompt_id)
            trace.prompt_id, trace.prompt_version = name, version if known else "not verified"

    def _decided(
        self,
        snapshot: Snapshot,
        recipe: Recipe | None,
        action: Action,
        trace: Trace,
        request: Request,
        *,
        paid: bool = False,
    ) -> tuple[Reason, ...]:
        standing = snapshot.standings.get(trace.subject)
        if standing is not None:
            trace.tier, trace.rung = standing.tier, RUNGS[standing.rung]
            trace.release = standing.release
        spent = UNSPENT if paid else self._p.budgets.today(trace.subject, trace.started)
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
            "index": recipe.index if recipe else "",
            "agent": trace.agent,
            "halted": snapshot.halted,
        }
        attempt = Attempt(action, trace.key, trace.subject, facts)
        case = Case(attempt, trace.started, snapshot.model, standing, age=self._p.follower.age)
        verdict = decide(case, self._controls(case))
        if isinstance(verdict, Allow):
            return ()
        if action is CALL and recipe is not None and facts["named"] == "no":
            self._p.noticed("model", request.model, trace.subject, trace.route)
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
        return Answer(403, headers(trace), json_bytes(dialect.error(403, message, code, trace.reasons, trace.id)))

    async def _served(self, plan: TierPlan, recipe: Recipe, trace: Trace, request: Request, passed: Carried) -> Answer:
        if trace.route == "live" and (over := self._reserve.take(plan, recipe, trace, request)) is not None:
            trace.reasons = [over]
            return await self._refused(trace, request.dialect)
        if plan.intent:
            trace.status = "intended"
            await self._p.recorder.record(replace(trace, id=f"{trace.id}/intent"), "call.intent", None)
        dialect = request.dialect
        question = dialect.question(request.body) if recipe.index else ""
        passages = await self._p.retrieve(recipe.index, question, recipe.top) if recipe.index else ()
        trace.passages = [p.ref for p in passages]
        session = Session(self._p, plan, recipe, trace, request, passages)
        if trace.route == "live" and trace.rung == RUNGS[Rung.READ]:
            text = quote(passages, "") or recipe.unanswered  # nothing is generated
            said = Said(text, "quoted passages", trace.started // 1_000_000, trace.id)
            if request.stream:
                return Answer(200, headers(trace), events=session.streamed(Spoken(dialect.stream(said))))
            content = await session.whole(Reply(json_bytes(dialect.whole(said))))
            return Answer(200, headers(trace), content)
        asked = Asked(dialect, composed(recipe, request, passages), request.stream, passed)
        targets, tokens = targets_of(recipe, request), request.size // 4
        try:
            if request.stream:
                flow = await self._p.switchboard.open(targets, asked, trace, tokens)
                return Answer(200, headers(trace) + carried(flow.headers), events=session.streamed(flow))
            began = self._p.clock()
            reply = await self._p.switchboard.ask(targets, asked, trace, tokens)
            trace.upstream_us = max(0, self._p.clock() - began)  # clocks step back
            content = await session.whole(reply)
            return Answer(200, headers(trace) + carried(reply.headers), content)
        except UpstreamFailed as failed:
            trace.status, trace.error = "failed", failed.message
            await session.commit("call.failed")
            return self._told(trace, dialect, failed)


def _let(trace: Trace, recipe: Recipe, plan: TierPlan) -> None:
    trace.verdict = "allow"
    trace.release, trace.prompt, trace.index = recipe.release, recipe.prompt_digest, recipe.index
    trace.model, trace.sampled = recipe.model, _sampled(trace.id, plan.sample_percent)


def _sampled(call_id: str, percent: int) -> bool:
    """Choose calls for a person to look at: by the id, so that nobody can steer it and everybody can recompute it."""
    return int(sha256(call_id.encode())[:8], 16) % 100 < percent
