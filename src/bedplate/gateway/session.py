"""One answer on its way out: from the upstream's first byte to the durable record, guarded and measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bedplate.errors import Unavailable
from bedplate.kernel.standing import Rung

from .call import error_body
from .extractive import quote
from .grounding import Numbered
from .guardrail import apply
from .upstream import UpstreamFailed, usage

if TYPE_CHECKING:
    from bedplate.kernel.clock import Clock
    from bedplate.kernel.control import Control
    from bedplate.kernel.model import TierPlan

    from .budget import Budgets
    from .call import Request, Trace
    from .recipe import Recipe
    from .snapshot import Follower
    from .upstream import Upstream

DRAFT = "Draft, to be confirmed by a person before use.\n\n"
Headers = list[tuple[str, str]]


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


class Serving(Protocol):
    """Where an answer comes from, as a whole or in chunks."""

    async def whole(self) -> dict[str, Any]:
        """Return the body of a chat completion."""
        ...

    def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the chunks of one."""
        ...


@dataclass(frozen=True, slots=True)
class Asking:
    """The upstream answers."""

    upstream: Upstream
    body: dict[str, Any]

    async def whole(self) -> dict[str, Any]:
        """Return the upstream's answer."""
        return (await self.upstream.complete(self.body)).body

    def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the upstream's chunks."""
        return self.upstream.stream(self.body)


@dataclass(frozen=True, slots=True)
class Quoting:
    """Nothing is generated: the passages are quoted."""

    passages: Sequence[Numbered]
    unanswered: str

    async def whole(self) -> dict[str, Any]:
        """Return the quotations."""
        message = {"role": "assistant", "content": quote(self.passages, "") or self.unanswered}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {
            "id": "quote",
            "object": "chat.completion",
            "created": 0,
            "model": "quoted passages",
            "choices": [choice],
        }

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the quotations at once."""
        frame = {"id": "quote", "object": "chat.completion.chunk", "created": 0, "model": "quoted passages"}
        text = quote(self.passages, "") or self.unanswered
        yield {
            **frame,
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
        }
        yield {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


class Session:
    """From the upstream's first byte to the record: guards the answer, measures it, commits it."""

    def __init__(
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

    async def whole(self, serving: Serving) -> dict[str, Any]:
        """Return the guarded answer after its record is durable."""
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

    async def streamed(self, serving: Serving) -> AsyncIterator[bytes]:
        """Yield server-sent events; the record is durable before `[DONE]` leaves."""
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
    last: dict[str, Any] = next((c for h in reversed(held) for c in h.get("choices", ()) if c.get("finish_reason")), {})
    return {"index": 0, "delta": {}, "finish_reason": last.get("finish_reason", "stop")}


def _sse(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
