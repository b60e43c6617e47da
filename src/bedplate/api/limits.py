"""Bodies above a limit are refused while they arrive, before anything reads them; JSON of too many parts as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from bedplate.errors import InvalidInput
from bedplate.gateway.nesting import depths

from .problem import body_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 20 << 20
MAX_DEPTH = 64
MAX_PARTS = 100_000  # lists and objects: each takes far more memory than the two bytes it is written in


class BodyLimit:
    """Reads the whole body first: at most 20 MiB, at most 64 levels of brackets and 100,000 of them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body, or answer 413 or 400."""
        if scope["type"] != "http" or scope["method"] not in {"POST", "PUT", "PATCH"}:
            await self._app(scope, receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BYTES:
                error = InvalidInput(f"the body is larger than {MAX_BYTES} bytes", code="request-too-large")
                await JSONResponse(body_of(error), 413)(scope, receive, send)
                return
        if why := too_intricate(bytes(body)):
            error = InvalidInput(why)
            await JSONResponse(body_of(error), 400)(scope, receive, send)
            return
        await self._app(scope, _replay(bytes(body), receive), send)


def too_intricate(body: bytes) -> str:
    """Say what about the brackets outside of texts is more than anything here needs; "" if nothing is."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return ""
    for parts, depth in enumerate(depths(body), 1):
        if depth > MAX_DEPTH:
            return f"the body is nested more than {MAX_DEPTH} levels deep"
        if parts > MAX_PARTS:
            return f"the body holds more than {MAX_PARTS} lists and objects"
    return ""


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
