"""Upstreams: whoever answers behind the gateway, all in the shape of OpenAI's chat completions."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from bedplate.errors import BedplateError

from .extractive import answer
from .grounding import parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import aiohttp

    from .localmodel import LocalModel

EMBEDDED_MODEL = "bedplate-extractive-1"
MAX_ANSWER = 16 << 20  # bytes; more than that from an upstream is a fault of it


class UpstreamFailed(BedplateError):
    """The upstream could not be reached, was too slow, answered an error, or stopped in the middle."""

    code = "upstream-failed"

    def __init__(self, message: str, *, status: int = 502, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status  # what our client is told


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer: the JSON body of a chat completion."""

    body: dict[str, Any]


class Upstream(Protocol):
    """A model behind the gateway."""

    name: str

    async def complete(self, body: dict[str, Any]) -> Reply:
        """Answer at once; `UpstreamFailed` otherwise."""
        ...

    def stream(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the chunks of a streamed answer, without the closing `[DONE]`; `UpstreamFailed` when it breaks."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Embedded:
    """The honest default: quotes sentences from the passages it is given, and says so when they do not answer."""

    name = "embedded extractive answerer"

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    async def complete(self, body: dict[str, Any]) -> Reply:
        """Answer from the passages in the system message."""
        text = self._answer(body)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return Reply({**self._frame(body, "chat.completion"), "choices": [choice], "usage": usage(body, text)})

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the answer word by word."""
        frame = self._frame(body, "chat.completion.chunk")
        text = self._answer(body)
        yield {**frame, "choices": [_delta({"role": "assistant", "content": ""})]}
        for word in _words(text):
            yield {**frame, "choices": [_delta({"content": word})]}
        yield {**frame, "choices": [_delta({}, "stop")], "usage": usage(body, text)}

    async def close(self) -> None:
        """Nothing is held."""

    def _answer(self, body: dict[str, Any]) -> str:
        messages = body["messages"]
        system = "\n".join(text_of(m) for m in messages if m.get("role") == "system")
        question = next((text_of(m) for m in reversed(messages) if m.get("role") == "user"), "")
        unanswered = str(body.get("metadata", {}).get("unanswered", "I cannot answer this from my sources."))
        return answer(question, parse(system), unanswered=unanswered)

    def _frame(self, body: dict[str, Any], kind: str) -> dict[str, Any]:
        created = self._clock() // 1_000_000
        return {
            "id": f"chatcmpl-{created}",
            "object": kind,
            "created": created,
            "model": body.get("model", EMBEDDED_MODEL),
        }


class Remote:
    """Any endpoint that speaks OpenAI's chat completions."""

    def __init__(self, url: str, key: str, timeout_s: float, name: str = "", owned: LocalModel | None = None) -> None:
        self._owned = owned  # a server that lives and ends with this upstream
        self.name = name or url
        self._url = url.rstrip("/") + "/chat/completions"
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._timeout = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def complete(self, body: dict[str, Any]) -> Reply:
        """Pass the call on and return the whole answer."""
        async with self._sent(body) as response:
            content = await response.content.read(MAX_ANSWER + 1)
            while len(content) <= MAX_ANSWER and not response.content.at_eof():
                content += await response.content.read(MAX_ANSWER + 1 - len(content))
            return Reply(_checked(content))

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Pass the call on and yield each server-sent event as it comes."""
        done = False
        async with self._sent({**body, "stream": True}) as response:
            async for line in response.content:
                if not line.startswith(b"data:"):
                    continue
                data = line[5:].strip()
                if data == b"[DONE]":
                    done = True
                    break
                yield _event(data)
        if not done:
            raise UpstreamFailed(
                "the upstream stopped in the middle of its answer", hint="what came so far is on record"
            )

    async def close(self) -> None:
        """Close pooled connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._owned is not None:
            self._owned.close()

    @asynccontextmanager
    async def _sent(self, body: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp  # noqa: PLC0415  costs 150 ms; only a remote upstream needs it
        from aiohttp.http_exceptions import HttpProcessingError  # noqa: PLC0415  as above: a line too long, say

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=min(10, self._timeout), sock_read=self._timeout)
            self._session = aiohttp.ClientSession(timeout=timeout, headers=self._headers, auto_decompress=True)
        try:
            async with self._session.post(self._url, data=_encoded(body), headers=_JSON) as response:
                if response.status != 200:  # noqa: PLR2004  the one status that carries an answer
                    raise _refused(response.status)
                yield response
        except TimeoutError:
            raise UpstreamFailed(
                f"the upstream was silent for {self._timeout:g} s", status=504, hint="try again"
            ) from None
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as broken:
            raise UpstreamFailed(f"the upstream failed: {type(broken).__name__}", hint="try again") from broken


_JSON = {"content-type": "application/json"}


def text_of(message: dict[str, Any]) -> str:
    """Return the text of a message, whether its content is text or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (p.get("text", "") for p in content if isinstance(p, dict))
        return "\n".join(p for p in parts if isinstance(p, str))
    return ""


def usage(body: dict[str, Any], text: str) -> dict[str, int]:
    """Estimate token counts as OpenAI's `usage` object: four characters a token."""
    prompt = sum(len(text_of(m)) for m in body.get("messages", ())) // 4 + 1
    completion = len(text) // 4 + 1
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def monotonic_ms() -> int:
    """Return a clock for durations, in milliseconds."""
    return time.monotonic_ns() // 1_000_000


def _encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _refused(status: int) -> UpstreamFailed:
    passed_on = {429: 429, 503: 503}
    return UpstreamFailed(f"the upstream answered {status}", status=passed_on.get(status, 502), hint="try again later")


def _checked(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_ANSWER:
        raise UpstreamFailed(f"the upstream sent more than {MAX_ANSWER} bytes")
    body = _event(content)
    choices = body.get("choices")
    if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
        raise UpstreamFailed("the upstream's answer has no choices")
    return body


def _event(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data, parse_constant=_no_constant)
        json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate would break on the way out
    except (ValueError, RecursionError) as broken:
        raise UpstreamFailed("the upstream did not answer JSON") from broken
    if not isinstance(body, dict):
        raise UpstreamFailed("the upstream did not answer a JSON object")
    if "error" in body:
        raise UpstreamFailed("the upstream answered an error in the middle")
    return body


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _delta(delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}


def _words(text: str) -> list[str]:
    """Split into pieces that concatenate to the text."""
    pieces = text.split(" ")
    return [p if i == 0 else " " + p for i, p in enumerate(pieces)]
