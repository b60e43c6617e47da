"""`/v1`: the protocols that clients speak, straight on ASGI. Nothing here decides; the door does.

This is the safe mode: it runs on any ASGI server. `api.protocol` serves the same door with less between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from bedplate.errors import Unauthenticated
from bedplate.gateway.call import MAX_BODY
from bedplate.gateway.dialect import json_bytes
from bedplate.gateway.dialects import CHAT, MESSAGES, SERVED
from bedplate.gateway.session import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from starlette.types import Receive, Scope, Send

    from bedplate.gateway.dialect import Dialect
    from bedplate.gateway.session import Headers
    from bedplate.installation import Installation

MAX_DRAINED = 4 * MAX_BODY
NO_KEY = "send the use case's key: Authorization: Bearer bpk_... (or x-api-key)"
TOO_LARGE = f"the body is larger than {MAX_BODY} bytes"
UNFORESEEN = "the gateway failed on this call"
log = logging.getLogger("uvicorn.error")


class Chat:
    """Serves the protocols' paths and `/v1/models`."""

    def __init__(self, at: Installation) -> None:
        self._at = at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, method, headers = scope["path"], scope["method"], scope["headers"]
        secret = secret_of(headers)
        dialect = SERVED.get(path)
        if path == "/v1/models" and method == "GET":
            status, told, content = models(self._at, secret, headers)
            await _whole(send, status, told, content)
        elif dialect is None:
            content = refusal(CHAT, 404, f"{path} is not served here", "not-found")
            await _whole(send, 404, [], content)
        elif method != "POST":
            await _whole(send, 405, [("allow", "POST")], refusal(dialect, 405, "use POST", "method-not-allowed"))
        elif not secret:
            told = [("www-authenticate", "Bearer")]
            await _whole(send, 401, told, refusal(dialect, 401, NO_KEY, "unauthenticated"))
        else:
            await self._complete(scope, receive, send, secret, dialect)

    async def _answer(self, secret: str, body: bytes, dialect: Dialect, scope: Scope) -> Answer:
        try:
            return await self._at.door.complete(secret, body, dialect, scope["headers"])
        except Exception:
            log.exception(UNFORESEEN)
            return Answer(500, [("connection", "close")], refusal(dialect, 500, UNFORESEEN, "internal"))

    async def _complete(self, scope: Scope, receive: Receive, send: Send, secret: str, dialect: Dialect) -> None:
        try:
            body = await _body(scope, receive)
        except ConnectionError:
            return  # nobody is left to be told, and what was asked is not known
        if body is None:
            content = refusal(dialect, 413, TOO_LARGE, "request-too-large")
            await _whole(send, 413, [("connection", "close")], content)
            return
        task = asyncio.current_task()
        leaving = asyncio.ensure_future(_gone(receive, task))
        try:
            answer = await self._answer(secret, body, dialect, scope)
            if answer.events is not None:
                await _events(send, answer, answer.events)
            else:
                await _whole(send, answer.status, answer.headers, answer.content or b"")
        except asyncio.CancelledError:
            if task is None or not leaving.done():
                raise
            task.uncancel()  # the client left; that is on record
        finally:
            leaving.cancel()


def secret_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the key that came with a request, as OpenAI's clients or as Anthropic's send it; "" for none."""
    for name, value in headers:
        if name == b"authorization":
            kind, _, secret = value.decode("latin-1").partition(" ")
            return secret.strip() if kind.lower() == "bearer" else ""
    return next((v.decode("latin-1").strip() for k, v in headers if k == b"x-api-key"), "")


def length_of(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return how long a request says that its body is, in bytes; 0 where it does not."""
    told = next((v for k, v in headers if k == b"content-length"), b"")
    return int(told[:20]) if told.isdigit() else 0


def refusal(dialect: Dialect, status: int, message: str, code: str) -> bytes:
    """Return an error of the protocol, before there is a call."""
    return json_bytes(dialect.error(status, message, code, (), ""))


def models(at: Installation, secret: str, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, Headers, bytes]:
    """List the models a key may ask for, as OpenAI does or, for its clients, as Anthropic does."""
    anthropic = any(k == b"anthropic-version" for k, _ in headers)
    try:
        names = at.door.models(secret)
    except Unauthenticated as error:
        dialect: Dialect = MESSAGES if anthropic else CHAT
        return 401, [("www-authenticate", "Bearer")], refusal(dialect, 401, str(error), error.code)
    if anthropic:
        epoch = "1970-01-01T00:00:00Z"  # not known here
        data: list[dict[str, Any]] = [{"id": n, "type": "model", "display_name": n, "created_at": epoch} for n in names]
        ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None, "has_more": False}
        return 200, [], json_bytes({"data": data, **ends})
    data = [{"id": n, "object": "model", "created": 0, "owned_by": "bedplate"} for n in names]
    return 200, [], json_bytes({"object": "list", "data": data})


async def _body(scope: Scope, receive: Receive) -> bytes | None:
    """Read the body; None if it is larger than allowed, `ConnectionError` if the client left before its end.

    What is too large is still taken in and thrown away, up to a bound: a client that only sends would never read why.
    """
    if length_of(scope["headers"]) > MAX_DRAINED:
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


async def _whole(send: Send, status: int, headers: Headers, content: bytes) -> None:
    told = [("content-type", "application/json"), ("content-length", str(len(content))), *headers]
    await send({"type": "http.response.start", "status": status, "headers": _encoded(told)})
    await send({"type": "http.response.body", "body": content})


async def _events(send: Send, answer: Answer, events: AsyncIterator[bytes]) -> None:
    told = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-store"), *answer.headers]
    # Before the head is written: whoever leaves while it is leaves a call that was let through, and that is on record.
    async with aclosing(cast("AsyncGenerator[bytes, None]", events)):
        await send({"type": "http.response.start", "status": answer.status, "headers": _encoded(told)})
        async for event in events:
            await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in headers]
