"""`/v1`: OpenAI's protocol for use cases, straight on ASGI. Nothing here decides; the door does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import Counter, Histogram

from bedplate.errors import Unauthenticated
from bedplate.gateway.call import MAX_BODY, error_body
from bedplate.gateway.session import Answer
from bedplate.gateway.upstream import monotonic_ms

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

    from bedplate.bootstrap import Installation

MAX_DRAINED = 8 * MAX_BODY
CALLS = Counter("bedplate_calls_total", "Calls answered, by status and verdict.", ("status", "verdict"))
SECONDS = Histogram("bedplate_call_seconds", "Time from the request's last byte to the answer's last byte.")


class Chat:
    """Serves `/v1/chat/completions` and `/v1/models`."""

    def __init__(self, at: Installation) -> None:
        self._at = at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, method = scope["path"], scope["method"]
        secret = _bearer(scope)
        if path == "/v1/models" and method == "GET":
            await self._models(send, secret)
        elif path != "/v1/chat/completions":
            await _json(send, 404, [], error_body(f"{path} is not served here", "not-found"))
        elif method != "POST":
            await _json(send, 405, [("allow", "POST")], error_body("use POST", "method-not-allowed"))
        elif not secret:
            message = "send the use case's key: Authorization: Bearer bpk_..."
            await _json(send, 401, [("www-authenticate", "Bearer")], error_body(message, "unauthenticated"))
        else:
            await self._complete(scope, receive, send, secret)

    async def _complete(self, scope: Scope, receive: Receive, send: Send, secret: str) -> None:
        try:
            body = await _body(scope, receive)
        except ConnectionError:
            return  # nobody is left to be told, and what was asked is not known
        if body is None:
            message = f"the body is larger than {MAX_BODY} bytes"
            await _json(send, 413, [("connection", "close")], error_body(message, "request-too-large"))
            return
        task = asyncio.current_task()
        leaving = asyncio.ensure_future(_gone(receive, task))
        try:
            await self._answer(send, secret, body)
        except asyncio.CancelledError:
            if task is None or not leaving.done():
                raise
            task.uncancel()  # the client left; that is on record
        finally:
            leaving.cancel()

    async def _answer(self, send: Send, secret: str, body: bytes) -> None:
        began = monotonic_ms()
        answer = await self._at.door.complete(secret, body)
        if answer.events is not None:
            await _events(send, answer, answer.events)
        else:
            await _json(send, answer.status, answer.headers, answer.body or {})
        verdict = dict(answer.headers).get("x-bedplate-verdict", "none")
        CALLS.labels(str(answer.status), verdict).inc()
        SECONDS.observe((monotonic_ms() - began) / 1000)

    async def _models(self, send: Send, secret: str) -> None:
        try:
            names = self._at.door.models(secret)
        except Unauthenticated as error:
            await _json(send, 401, [("www-authenticate", "Bearer")], error_body(str(error), error.code))
            return
        data = [{"id": n, "object": "model", "created": 0, "owned_by": "bedplate"} for n in names]
        await _json(send, 200, [], {"object": "list", "data": data})


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """Read the body; None if it is larger than allowed, `ConnectionError` if the client left before its end.

    What is too large is still taken in and thrown away, up to a bound: a client that only sends would never read why.
    """
    told = next((v for k, v in scope["headers"] if k == b"content-length"), b"")
    if told.isdigit() and int(told) > MAX_DRAINED:
        return None
    body, length, more = bytearray(), 0, True
    while more and length <= MAX_DRAINED:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left")
        piece = message.get("body", b"")
        length += len(piece)
        if length <= MAX_BODY:
            body += piece
        more = message.get("more_body", False)
    return bytes(body) if length <= MAX_BODY else None


async def _gone(receive: Receive, task: asyncio.Task[Any] | None) -> None:
    """End the task when the client leaves: it stops what runs upstream, and records what happened so far."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if task is not None:
        task.cancel()


async def _json(send: Send, status: int, headers: list[tuple[str, str]], body: dict[str, Any]) -> None:
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    told = [("content-type", "application/json"), ("content-length", str(len(content))), *headers]
    await send({"type": "http.response.start", "status": status, "headers": _encoded(told)})
    await send({"type": "http.response.body", "body": content})


async def _events(send: Send, answer: Answer, events: AsyncIterator[bytes]) -> None:
    told = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-store"), *answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": _encoded(told)})
    async with aclosing(cast("AsyncGenerator[bytes, None]", events)):
        async for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in headers]


def _bearer(scope: Scope) -> str:
    value = next((v for k, v in scope["headers"] if k == b"authorization"), b"")
    kind, _, secret = value.decode("latin-1").partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""
