"""From the upstream's first byte to the record: the answer guarded, measured, priced and committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from bedplate.errors import Denied, InvalidInput, Unavailable
from bedplate.kernel.standing import Rung

from .dialect import Said, json_bytes
from .relay import Relay, finish_of
from .texts import slots, unspelled
from .upstream import UpstreamFailed

if TYPE_CHECKING:
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.control import Control
    from bedplate.kernel.model import TierPlan

    from .budget import Budgets
    from .call import Request, Trace
    from .dialect import Body
    from .finding import Guarded
    from .grounding import Numbered
    from .guardrail import Guard
    from .recipe import Recipe
    from .snapshot import Follower
    from .switchboard import Switchboard
    from .upstream import Flow, Reply

PROPOSE = Rung.PROPOSE.name.lower()
DRAFT = "Draft, to be confirmed by a person before use.\n\n"
LONGEST_APOLOGY = 200  # characters that may stand around the sentence that declines
CARRIED = ("x-request-id", "request-id", "openai-processing-ms", "openai-version", "retry-after")
CARRIED_FROM = ("x-ratelimit-", "anthropic-ratelimit-")
Headers = list[tuple[str, str]]

_decode = msgspec.json.Decoder().decode


class Recorder(Protocol):
    """Where calls are recorded; returns only after the record is durable."""

    @property
    def healthy(self) -> bool:
        """Tell whether records can be taken."""
        ...

    async def record(self, trace: Trace, kind: str, content: Mapping[str, Any] | None) -> None:
        """Commit one record; `Unavailable` or `Full` if that cannot be done now."""
        ...


class Grounded(Protocol):
    """What is measured of an answer."""

    @property
    def unanswered(self) -> bool:
        """Whether the sources did not answer."""
        ...

    @property
    def permille(self) -> int:
        """How much of the answer is cited and borne out."""
        ...


class Priced(Protocol):
    """What tokens cost."""

    @property
    def id(self) -> str:
        """What the record calls it."""
        ...

    def cost(self, tokens_in: int, cached_in: int, tokens_out: int) -> int:
        """Return nano-US-dollars."""
        ...


Retrieve = Callable[[str, str, int], Awaitable[Sequence["Numbered"]]]
Assess = Callable[[str, Sequence[tuple[str, str]], str], Grounded]
PriceOf = Callable[[str, str, int], Priced]  # model, upstream's address, microseconds
Render = Callable[[str, object], tuple[list[dict[str, str]], str, str]]  # release, prompt -> messages, id, digest


Agree = Callable[[str, str, dict[str, Any]], Awaitable[None]]  # key, use case, facts; NeedsApproval, Denied


async def _nobody_to_ask(_key: str, _subject: str, _facts: dict[str, Any]) -> None:
    raise Denied("there is nobody here who could be asked", hint="take it out of the prompt and send again")


def _nothing_released(_release: str, _prompt: object) -> tuple[list[dict[str, str]], str, str]:
    raise InvalidInput("this release carries no prompts that can be named")


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


@dataclass(frozen=True, slots=True)
class Parts:
    """What the door works with; the composition root hands them over."""

    follower: Follower
    recorder: Recorder
    switchboard: Switchboard
    retrieve: Retrieve
    assess: Assess
    budgets: Budgets
    price: PriceOf
    controls: tuple[Control, ...]
    clock: Clock
    identify: Callable[[], str]
    onward: Callable[[str, str], str] = lambda _call, _parent: ""  # traceparent for the upstream
    agree: Agree = _nobody_to_ask
    render: Render = _nothing_released
    verify: Callable[[str, str], tuple[str, str, bool]] = lambda _release, _header: ("", "", False)


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

    async def whole(self, reply: Reply) -> bytes:
        """Return the guarded answer after its record is durable."""
        content = await self._guarded(reply.content)
        self._trace.status = "ok"
        await self.commit("call.completed")
        return content

    async def streamed(self, flow: Flow) -> AsyncIterator[bytes]:
        """Yield server-sent events; the record is durable before the one that says the answer is whole."""
        trace = self._trace
        relay = Relay(self._dialect, self._guard, self._draft, whole=self._recipe.guard_answer.holds)
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
                    if relay.withheld:
                        break
                out = await self._finished(relay)
                flow.ended()
            finally:
                flow.close()
            trace.status = "ok"
            await self.commit("call.completed")
            yield out
        except UpstreamFailed as error:
            trace.status, trace.error = "failed", error.message
            self._seen(relay)
            yield await self._broken(error)
        except Unavailable as error:
            yield self._error(503, error.message, error.code)
        except (asyncio.CancelledError, GeneratorExit):
            trace.status = "aborted"
            self._seen(relay)
            with suppress(Unavailable):  # or the record of its completion was on its way already
                await asyncio.shield(self.commit("call.aborted"))
            raise

    async def _finished(self, relay: Relay) -> bytes:
        """End the stream: what is left of it, or what is said instead of it."""
        begun, left = relay.begun, relay.said
        out = relay.finish()
        labels = relay.withheld or await self._judged(relay.answer)
        self._seen(relay)
        if not labels:
            return out
        text = f"\n\n{withheld(labels)}" if left else self._draft + withheld(labels)
        self._trace.answer = left + text
        said = self._said(text)
        pieces = self._dialect.stopping(said, begun) if begun else self._dialect.stream(said)
        return b"".join(pieces)

    def _seen(self, relay: Relay) -> None:
        self._trace.answer = relay.said
        self._trace.findings += [f"output: {label}" for label in relay.findings]
        self._trace.finish, self._trace.answered_by = relay.finish_reason, relay.answered_by
        if relay.usage is not None:
            self._trace.tokens_in, self._trace.tokens_out, self._trace.cached_in = relay.usage

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
            changed, labels = self._changed(body)
            trace.answer = dialect.answer(body)
            labels = labels or await self._judged(trace.answer)
            if labels:
                said = self._said(self._draft + withheld(labels))
                body, changed = {**dialect.whole(said), **_usage_of(body)}, True
            elif self._draft:
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

    def _changed(self, body: Body) -> tuple[bool, list[str]]:
        """Change every text that has to be; return whether any was, and what must not leave at all."""
        guard = self._guard
        if guard.idle:
            return False, []
        found = slots(body)
        if guard.clear(["\n".join([slot.text for slot in found])]):
            return False, []
        changed, stopping = False, []
        for slot in found:
            guarded = guard.apply(slot.text)
            labels = [f.label for f in guarded.findings]
            self._trace.findings += [f"output: {label}" for label in labels]
            # Arguments are for a machine: they go as they are, or not at all.
            if guarded.blocked or guarded.asks or (slot.machine and guarded.text != slot.text):
                stopping += labels
            elif guarded.text != slot.text:
                slot.holder[slot.key] = guarded.text
                changed = True
        if changed:
            unspelled(body)
        return changed, stopping

    async def _judged(self, answer: str) -> list[str]:
        """Judge the answer as a whole; return what it must not leave for."""
        guard = self._recipe.guard_answer
        if guard.idle:
            return []
        guarded = await judge(guard, answer)
        labels = [f.label for f in guarded.findings]
        self._trace.findings += [f"output: {label}" for label in labels]
        return labels if guarded.blocked or guarded.asks or guarded.text != answer else []

    async def _broken(self, error: UpstreamFailed) -> bytes:
        try:
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
        trace, recipe = self._trace, self._recipe
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
        if recipe.index:
            found = self._p.assess(trace.answer, [(p.ref, p.text) for p in self._passages], recipe.unanswered)
            trace.unanswered, trace.grounded = found.unanswered, found.permille
        else:  # nothing to cite where nothing is retrieved
            short = len(trace.answer) <= 2 * len(recipe.unanswered) + LONGEST_APOLOGY
            trace.unanswered = short and _plain(recipe.unanswered) in _plain(trace.answer)
        await self._p.recorder.record(trace, kind, self._content())

    def _content(self) -> dict[str, Any]:
        body = self._request.body
        kept = {k: v for k, v in body.items() if k not in {"messages", "input", "system", "instructions"}}
        return {"messages": self._dialect.messages(body), "parameters": kept, "answer": self._trace.answer}


async def judge(guard: Guard, text: str) -> Guarded:
    """Judge a text as a whole, asking models where the policy says so."""
    return (await guard.apply_slow([text]))[0] if guard.slow else guard.apply(text)


def carried(headers: Mapping[str, str]) -> Headers:
    """Return those of an upstream's headers that mean something to our client."""
    return [(k, v) for k, v in headers.items() if k in CARRIED or k.startswith(CARRIED_FROM)]


def withheld(labels: Sequence[str]) -> str:
    """Return what is said instead of an answer."""
    return "This answer was withheld: it held " + ", ".join(sorted(set(labels))) + "."


def _usage_of(body: Body) -> Body:
    return {"usage": body["usage"]} if isinstance(body.get("usage"), dict) else {}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
