"""From the upstream's first byte to the record: the answer guarded, measured, priced and committed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.errors import BedplateError, InvalidInput, NeedsApproval, Unavailable
from bedplate.kernel.standing import Rung

from .dialect import Said, json_bytes
from .held import CONTROL, MAX_KEPT, Kept, sentence, waiting
from .keeper import Keeper
from .outgoing import MAX_NAMED, Judged, change, judged, withheld
from .parts import Parts, Recorder, Retrieve
from .relay import Relay, finish_of
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from bedplate.kernel.model import TierPlan

    from .call import Request, Trace
    from .dialect import Body
    from .grounding import Numbered
    from .guardrail import Guard
    from .recipe import Recipe
    from .upstream import Flow, Reply

__all__ = ["DRAFT", "Answer", "Parts", "Recorder", "Retrieve", "Session", "carried"]
PROPOSE = Rung.PROPOSE.name.lower()
DRAFT = "Draft, to be confirmed by a person before use.\n\n"
LONGEST_APOLOGY = 200  # characters that may stand around the sentence that declines
CARRIED = ("x-request-id", "request-id", "openai-processing-ms", "openai-version", "retry-after")
CARRIED_FROM = ("x-ratelimit-", "anthropic-ratelimit-")
Headers = list[tuple[str, str]]

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client: a status, headers, and either content or a stream of server-sent events."""

    status: int
    headers: Headers
    content: bytes | None = None
    events: AsyncIterator[bytes] | None = None

    @property
    def body(self) -> dict[str, Any] | None:
        """The content, read."""
        return dict(_decode(self.content)) if self.content is not None else None


class Stream:
    """The events of an answer. Close it: then it is on record however it ended, even if nobody began to read it."""

    def __init__(self, events: AsyncGenerator[bytes, None], unread: Callable[[], Awaitable[None]]) -> None:
        self._events, self._unread = events, unread
        self._begun = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Begin to read."""
        self._begun = True
        return self._events

    async def __anext__(self) -> bytes:
        """Read one event."""
        return await anext(aiter(self))

    async def aclose(self) -> None:
        """End it, and what runs upstream. A generator that was never begun would end without a word."""
        begun, self._begun = self._begun, True
        if not begun:
            await self._unread()
        await self._events.aclose()


class Session:
    """One served call."""

    def __init__(
        self,
        parts: Parts,
        plan: TierPlan,
        recipe: Recipe,
        trace: Trace,
        request: Request,
        passages: Sequence[Numbered],
    ) -> None:
        self._p = parts
        self._recipe = recipe
        self._trace = trace
        self._request = request
        self._passages = passages
        self._dialect = request.dialect
        self._guard: Guard = recipe.guard_out
        draft = trace.route == "live" and trace.rung == PROPOSE and plan.drafts
        self._draft = DRAFT if draft else ""
        # Vectors are no text that people could agree to.
        self._asks = recipe.asks and trace.route == "live" and request.dialect.name != "embeddings"
        self._kept: Kept | None = None  # what people are asked about
        self._told = False  # what the stream said of itself is in the trace

    async def whole(self, reply: Reply) -> bytes:
        """Return the guarded answer after its record is durable."""
        content = await self._guarded(reply.content)
        self._trace.status = "ok"
        await self.commit("call.completed")
        return content

    def streamed(self, flow: Flow) -> Stream:
        """Return server-sent events; the record is durable before the one that says the answer is whole."""
        return Stream(self._relayed(flow), partial(self._unread, flow))

    async def _unread(self, flow: Flow) -> None:
        flow.close()
        self._trace.status = "aborted"
        with suppress(Unavailable):
            await asyncio.shield(self.commit("call.aborted"))

    async def _relayed(self, flow: Flow) -> AsyncGenerator[bytes, None]:
        trace = self._trace
        relay = Relay(self._dialect, self._guard, self._draft, whole=self._recipe.guard_answer.holds)
        keeper = Keeper(self._dialect, self._recipe.guard_kept) if self._asks else None
        try:
            try:
                async for chunk in flow:
                    if not trace.first_us:
                        trace.first_us = max(1, self._p.clock() - trace.started)  # clocks step back
                    out = relay.feed(chunk)
                    if out:
                        yield out
                    if relay.failed is not None:
                        raise relay.failed
                    if _enough(relay, keeper, chunk, out):
                        break
                out = await self._finished(relay, keeper)
                flow.ended()
            finally:
                flow.close()
            trace.status = "ok"
            await self.commit("call.completed")
            yield out
        except UpstreamFailed as error:
            yield await self._broken(relay, error)
        except Unavailable as error:
            yield self._error(503, error.message, error.code)
        except (asyncio.CancelledError, GeneratorExit):
            trace.status = "aborted"
            self._seen(relay)
            with suppress(Unavailable):  # or the record of its completion was on its way already
                await asyncio.shield(self.commit("call.aborted"))
            raise

    async def _finished(self, relay: Relay, keeper: Keeper | None) -> bytes:
        """End the stream: what is left of it, or what is said instead of it."""
        begun, left = relay.begun, relay.said
        out = relay.finish()
        found = Judged() if relay.withheld else await self._judged(relay.answer)
        labels = relay.withheld or found.stopping
        if not labels:
            self._seen(relay)
            return out
        kept = await self._kept_stream(keeper, found) if keeper is not None else None
        self._seen(relay, keeper.relay if keeper is not None and kept is not None else None)
        text = await self._asked(labels, kept)
        if kept is not None and keeper is not None and not text:
            rest = keeper.rest(kept.content, self._draft)
            if rest is not None:
                self._trace.answer = self._draft + kept.answer
                return rest
            text = withheld(labels)
        text = f"\n\n{text}" if left else self._draft + text
        self._trace.answer = left + text
        said = self._said(text)
        pieces = self._dialect.stopping(said, begun) if begun else self._dialect.stream(said)
        return b"".join(pieces)

    async def _kept_stream(self, keeper: Keeper, found: Judged) -> Kept | None:
        """Return a stream as it may go out if people agree; None if it may not."""
        content = None if found.blocked else keeper.finish()
        answer = keeper.relay.answer
        if content is None or (not found.stopping and (await self._judged(answer)).blocked):
            return None
        return Kept(content, answer, stream=True)

    def _seen(self, relay: Relay, all_of_it: Relay | None = None) -> None:
        told = all_of_it or relay
        self._trace.answer = relay.said
        if self._told:  # the client left once all had come
            return
        self._told = True
        self._trace.findings += [f"output: {label}" for label in told.findings]
        self._trace.finish, self._trace.answered_by = told.finish_reason, told.answered_by
        if told.usage is not None:
            self._trace.tokens_in, self._trace.tokens_out, self._trace.cached_in = told.usage

    async def _guarded(self, content: bytes) -> bytes:
        """Return what may go out of a whole answer: the bytes that came, unless something had to be changed."""
        try:
            body = _decode(content)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise UpstreamFailed("the upstream did not answer JSON") from None
        if type(body) is not dict:
            raise UpstreamFailed("the upstream did not answer a JSON object")
        if body.get("error"):
            raise UpstreamFailed("the upstream answered an error")
        dialect, trace = self._dialect, self._trace
        try:
            usage = dialect.usage(body)
            changed, stopping, findings = change(self._guard, body)
            trace.findings += [f"output: {label}" for label in findings]
            trace.answer = dialect.answer(body)
            found = Judged() if stopping else await self._judged(trace.answer)
            labels = stopping or found.stopping
            kept = await self._kept_body(content, found) if labels else None
            text = await self._asked(labels, kept) if labels else ""
            if text:
                said = self._said(self._draft + text)
                body, changed = {**dialect.whole(said), **_usage_of(body)}, True
            elif kept is not None:  # people need not be asked now
                content, body, changed = kept.content, _decode(kept.content), False
            if self._draft and not text:
                dialect.prefix(body, self._draft)
                changed = True
        except (InvalidInput, ValueError, KeyError, TypeError, AttributeError) as wrong:
            raise UpstreamFailed(f"the upstream's answer cannot be read: {wrong}") from None
        if usage is not None:
            trace.tokens_in, trace.tokens_out, trace.cached_in = usage
        trace.answered_by, trace.finish = str(body.get("model", "")), finish_of(body)
        if not changed:
            return content
        trace.answer = dialect.answer(body)
        return json_bytes(body)

    async def _kept_body(self, content: bytes, found: Judged) -> Kept | None:
        """Return a whole answer as it may go out if people agree; None if it may not."""
        if not self._asks or found.blocked:
            return None
        body = _decode(content)
        changed, stopping, _ = change(self._recipe.guard_kept, body)
        answer = self._dialect.answer(body)
        if stopping or (not found.stopping and (await self._judged(answer)).blocked):
            return None
        return Kept(json_bytes(body) if changed else content, answer, stream=False)

    async def _judged(self, answer: str) -> Judged:
        """Judge the answer as a whole."""
        found = await judged(self._recipe.guard_answer, answer)
        self._trace.findings += [f"output: {label}" for label in found.findings]
        return found

    async def _asked(self, labels: Sequence[str], kept: Kept | None) -> str:
        """Ask people whether a held answer may go out; return what is said instead of it, "" if nobody has to agree."""
        said, trace = withheld(labels), self._trace
        if kept is None or len(kept.content) > MAX_KEPT:
            return said
        unanswered, grounded = self._measure(kept.answer)
        self._kept = kept = replace(kept, unanswered=unanswered, grounded=grounded)
        found = (f.partition(": ")[2] for f in trace.findings if f.startswith("output: "))
        named = ", ".join(dict.fromkeys(found))[:MAX_NAMED]
        facts = {"key": trace.key, "protocol": self._dialect.name, "request_sha256": trace.request_sha256}
        facts |= {"call": trace.id, "answer_sha256": kept.sha256, "findings": named}
        try:
            await self._p.give(trace.key, trace.subject, facts, trace.id)
        except NeedsApproval as asked:
            reason = waiting(named, asked.approval)
            trace.verdict, trace.reasons = "ask", [reason]
            return f"{said} {sentence(reason)}"
        except BedplateError as refused:  # then it is as if it were blocked
            self._kept = None
            trace.reasons = [(CONTROL, f"nobody could be asked about the answer: {refused.message}", refused.hint)]
            return said
        self._kept = None
        return ""

    async def _broken(self, relay: Relay, error: UpstreamFailed) -> bytes:
        trace = self._trace
        try:
            if relay.withheld:  # it has its end anyway, and nobody is asked about half an answer
                out = await self._finished(relay, None)
                trace.status = "ok"
                await self.commit("call.completed")
                return out
            trace.status, trace.error = "failed", error.message
            self._seen(relay)
            await self.commit("call.failed")
        except Unavailable as away:
            return self._error(503, away.message, away.code)
        return self._error(error.status, str(error), error.code)

    def _error(self, status: int, message: str, code: str) -> bytes:
        return self._dialect.error_event(self._dialect.error(status, message, code, (), self._trace.id))

    def _said(self, text: str) -> Said:
        return Said(text, self._trace.model, self._trace.started // 1_000_000, self._trace.id)

    async def commit(self, kind: str) -> None:
        """Measure, price and record the call; returns after the record is durable."""
        self._paid()
        self._measured()
        await self._p.recorder.record(self._trace, kind, self._content())

    def _paid(self) -> None:
        trace = self._trace
        bought = trace.attempts > 0 and (trace.status == "ok" or trace.answer != "")
        if bought and not trace.tokens_in:
            trace.tokens_in, trace.tokens_out = self._request.size // 4 + 1, len(trace.answer) // 4 + 1
        if bought:
            price = self._p.price(trace.model, trace.address, trace.started)
            trace.price = price.id
            trace.cost_nano = price.cost(trace.tokens_in, trace.cached_in, trace.tokens_out)
        if trace.reservation is not None:
            self._p.budgets.settle(trace.reservation, trace.tokens_in + trace.tokens_out, trace.cost_nano)
            trace.reservation = None  # settled once, even where a second commit is tried

    def _measured(self) -> None:
        self._trace.unanswered, self._trace.grounded = self._measure(self._trace.answer)

    def _measure(self, answer: str) -> tuple[bool, int]:
        """Tell whether an answer declines, and how much of it, in thousandths, is borne out."""
        recipe = self._recipe
        if recipe.index:
            found = self._p.assess(answer, [(p.ref, p.text) for p in self._passages], recipe.unanswered)
            return found.unanswered, found.permille
        # Nothing to cite where nothing is retrieved.
        short = len(answer) <= 2 * len(recipe.unanswered) + LONGEST_APOLOGY
        return short and _plain(recipe.unanswered) in _plain(answer), self._trace.grounded

    def _content(self) -> dict[str, Any]:
        body = self._request.body
        kept = {k: v for k, v in body.items() if k not in {"messages", "input", "system", "instructions"}}
        held = {"held": self._kept.sealed()} if self._kept is not None else {}
        return {"messages": self._dialect.messages(body), "parameters": kept, "answer": self._trace.answer, **held}


def _enough(relay: Relay, keeper: Keeper | None, chunk: bytes, out: bytes) -> bool:
    """Tell whether more of a stream could change nothing."""
    held = bool(relay.withheld)
    return not keeper.take(chunk, out, held=held) if keeper is not None else held


def carried(headers: Mapping[str, str]) -> Headers:
    """Return those of an upstream's headers that mean something to our client."""
    return [(k, v) for k, v in headers.items() if k in CARRIED or k.startswith(CARRIED_FROM)]


def _usage_of(body: Body) -> Body:
    return {"usage": body["usage"]} if isinstance(body.get("usage"), dict) else {}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
