"""The barest pass-through in Python: a raw ASGI application on uvicorn, aiohttp behind it, and nothing governed.

`uvicorn passthrough:app`, with `UPSTREAM` as the base URL, in an environment that has both.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]

aiohttp: Any = import_module("aiohttp")
URL = os.environ.get("UPSTREAM", "") + "/chat/completions"
JSON = {"content-type": "application/json", "authorization": "Bearer none"}
_sessions: list[Any] = []


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Hand one request on, and its answer back."""
    if scope["type"] != "http":
        return
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    if not _sessions:
        _sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False))
    async with _sessions[0].post(URL, data=b"".join(parts), headers=JSON) as answer:
        kind = answer.headers.get("content-type", "").encode()
        if answer.content_length is not None:
            content = await answer.read()
            head = [(b"content-type", kind), (b"content-length", b"%d" % len(content))]
            await send({"type": "http.response.start", "status": answer.status, "headers": head})
            await send({"type": "http.response.body", "body": content})
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": [(b"content-type", kind)]})
        async for piece in answer.content.iter_any():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
