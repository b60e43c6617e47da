"""One answer on its way out: from the upstream's first byte to the durable record, guarded and measured."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
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
            self._guard(choice)
        self._trace.answer = "\n".join(_contents(body))
        self._count(body.get("usage"))
        self._trace.status = "ok"
        await self._commit("call.completed")
        return body

    async def streamed(self, serving: Serving) -> AsyncIterator[bytes]:
        """Yield server-sent events; the record is durable before `[DONE]` leaves."""
        trace = self._trace
        held: list[dict[str, Any]] = []
        said = Said()
        try:
            if self._draft and not self._holds:
                said.add(0, DRAFT)
                yield _sse({**_frame(self._recipe), "choices": [_text_delta(DRAFT)]})
            async for chunk in serving.chunks():
                said.take(chunk)
                self._count(chunk.get("usage"))
                if self._holds or held or _ends(chunk):  # what says that the answer is whole waits for the record
                    held.append(chunk)
                    continue
                yield _sse(chunk)
            out = [_sse(chunk) for chunk in (self._released(said, held) if self._holds else held)]
            trace.answer = said.whole()
            trace.status = "ok"
            await self._commit("call.completed")
            for event in out:
                yield event
            yield b"data: [DONE]\n\n"
        except UpstreamFailed as error:
            trace.status, trace.error, trace.answer = "failed", error.message, self._left(said)
            yield await self._broken(error)
        except Unavailable as error:
            yield _sse(error_body(str(error), error.code, call_id=trace.id))
        except (asyncio.CancelledError, GeneratorExit):
            trace.status, trace.answer = "aborted", self._left(said)
            with suppress(Unavailable):  # or the record of its completion was on its way already
                await asyncio.shield(self._commit("call.aborted"))
            raise

    async def _broken(self, error: UpstreamFailed) -> bytes:
        try:
            await self._commit("call.failed")
        except Unavailable as away:
            return _sse(error_body(str(away), away.code, call_id=self._trace.id))
        return _sse(error_body(str(error), error.code, call_id=self._trace.id))

    def _left(self, said: Said) -> str:
        """Return what the client may have seen of an answer that broke off; of a held one it saw nothing."""
        return "" if self._holds else said.whole()

    def _guard(self, choice: dict[str, Any]) -> None:
        """Change a choice to what may go out."""
        message = choice.get("message")
        if not isinstance(message, dict):
            return
        content = message.get("content")
        text = content if isinstance(content, str) else ""
        out, withheld = self._out(text, list(_arguments(message).values()))
        if withheld:
            message.pop("tool_calls", None)
            choice["finish_reason"] = "stop"
        if withheld or isinstance(content, str):
            message["content"] = out
        if not out.endswith(text) and "logprobs" in choice:
            choice["logprobs"] = None  # they spell out what was taken out

    def _released(self, said: Said, held: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what may go of a held stream: each choice's text as one piece, guarded; everything else as it came."""
        out, stopped = [], set()
        for index, text in list(said.texts.items()):
            said.texts[index], withheld = self._out(text, said.arguments(index))
            if withheld:
                stopped.add(index)
            out.append({**_frame(self._recipe), "choices": [{**_text_delta(said.texts[index]), "index": index}]})
        for chunk in held:
            choices = chunk.get("choices")
            rest = [_bare(c, stopped) for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
            if chunk.get("usage") or any(c["delta"] or c.get("finish_reason") for c in rest):
                out.append({**chunk, "choices": rest})
        return out

    def _out(self, text: str, arguments: Sequence[str]) -> tuple[str, bool]:
        """Guard a text and the arguments of its tool calls: the text to send, and whether the answer is withheld."""
        guarded, called = apply(text, self._policy), [apply(a, self._policy) for a in arguments]
        findings = [f for g in (guarded, *called) for f in g.findings]
        self._trace.findings += [f"output: {f.label}" for f in findings]
        # Arguments are for a machine: they go as they are, or not at all.
        withheld = guarded.blocked or any(g.text != a or g.blocked for g, a in zip(called, arguments, strict=True))
        text = guarded.text
        if withheld:
            text = "This answer was withheld: it held " + ", ".join(sorted({f.label for f in findings})) + "."
        return DRAFT + text if self._draft else text, withheld

    def _count(self, told: object) -> None:
        if isinstance(told, dict):
            self._trace.tokens_in = _whole(told.get("prompt_tokens"))
            self._trace.tokens_out = _whole(told.get("completion_tokens"))

    async def _commit(self, kind: str) -> None:
        trace = self._trace
        if not trace.tokens_out:
            estimated = usage(self._request.body, trace.answer)
            trace.tokens_in, trace.tokens_out = estimated["prompt_tokens"], estimated["completion_tokens"]
        if trace.route == "live":
            used = trace.tokens_in + trace.tokens_out
            self._p.budgets.settle(trace.subject, self._estimate, used, trace.started)
            self._estimate = used  # settled once, even where a second commit is tried
        found = self._p.assess(trace.answer, [(p.ref, p.text) for p in self._passages], self._recipe.unanswered)
        trace.unanswered = found.unanswered
        trace.grounded = found.permille if self._recipe.index else 1000  # nothing to cite where nothing is retrieved
        content = {"messages": self._request.body["messages"], "answer": trace.answer}
        await self._p.recorder.record(trace, kind, content)


class Said:
    """What a stream has said so far: its text and the arguments of its tool calls, by choice."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}
        self._called: dict[tuple[int, int], str] = {}

    def add(self, index: int, text: str) -> None:
        """Take a piece of a choice's text."""
        self.texts[index] = self.texts.get(index, "") + text

    def take(self, chunk: dict[str, Any]) -> None:
        """Take what a chunk says."""
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            if isinstance(delta, dict):
                index = _whole(choice.get("index"))
                content = delta.get("content")
                self.add(index, content if isinstance(content, str) else "")
                for call, text in _arguments(delta).items():
                    self._called[index, call] = self._called.get((index, call), "") + text

    def arguments(self, index: int) -> list[str]:
        """Return the arguments of a choice's tool calls."""
        return [text for (choice, _), text in self._called.items() if choice == index]

    def whole(self) -> str:
        """Return the texts of all choices, as a whole answer's are joined."""
        return "\n".join(self.texts.values())


def _arguments(message: dict[str, Any]) -> dict[int, str]:
    calls = message.get("tool_calls")
    found: dict[int, str] = {}
    for place, call in enumerate(calls if isinstance(calls, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        text = function.get("arguments") if isinstance(function, dict) else None
        if isinstance(text, str):
            found[_whole(call.get("index", place))] = text
    return found


def _bare(choice: dict[str, Any], stopped: set[int]) -> dict[str, Any]:
    """Return a choice of a held chunk without its text and what spells it out; without tool calls if it is stopped."""
    withheld = _whole(choice.get("index")) in stopped
    given = choice.get("delta")
    left_out = {"role", "content", "refusal", *(("tool_calls", "function_call") if withheld else ())}
    delta = {k: v for k, v in given.items() if k not in left_out} if isinstance(given, dict) else {}
    bare = {**{k: v for k, v in choice.items() if k != "logprobs"}, "delta": delta}
    return {**bare, "finish_reason": "stop"} if withheld and bare.get("finish_reason") else bare


def _contents(body: dict[str, Any]) -> list[str]:
    messages = (c.get("message") for c in body["choices"])
    return [m["content"] for m in messages if isinstance(m, dict) and isinstance(m.get("content"), str)]


def _ends(chunk: dict[str, Any]) -> bool:
    choices = chunk.get("choices")
    return isinstance(choices, list) and any(isinstance(c, dict) and c.get("finish_reason") for c in choices)


def _frame(recipe: Recipe) -> dict[str, Any]:
    return {"id": "bedplate", "object": "chat.completion.chunk", "created": 0, "model": recipe.model}


def _text_delta(text: str) -> dict[str, Any]:
    return {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}


def _sse(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
