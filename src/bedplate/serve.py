"""The serving process: gateway, API and console on one port, the worker beside them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from bedplate.api.app import create as create_api
from bedplate.api.chat import Chat
from bedplate.bootstrap import Installation, open_installation
from bedplate.config import Settings
from bedplate.console.app import create as create_console
from bedplate.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

log = structlog.get_logger(__name__)


class Front:
    """Sends `/v1` straight to the gateway and everything else to the pages and the API."""

    def __init__(self, chat: ASGIApp, rest: ASGIApp) -> None:
        self._chat = chat
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch one connection."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            await self._chat(scope, receive, send)
        else:
            await self._rest(scope, receive, send)


def create_for(at: Installation) -> Front:
    """Build the whole application over an installation; it is started and closed with the application."""
    worker = Worker(at)

    @asynccontextmanager
    async def running(_app: Starlette) -> AsyncIterator[None]:
        at.follower.start()
        worker.start()
        log.info("bedplate.up", upstreams=[u.name for u in at.upstreams.values()], shard=at.journal.shard)
        try:
            yield
        finally:
            worker.stop()
            await at.close()

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_request: Request) -> Response:
        wrong = at.ready()
        model = at.follower.snapshot.model
        posture = model.authority.posture if model is not None else "none"
        return JSONResponse({"ready": not wrong, "why_not": wrong, "posture": posture}, 503 if wrong else 200)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    rest = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Mount("/api", create_api(at)),
            Mount("/", create_console(at)),
        ],
        lifespan=running,
    )
    return Front(Chat(at), rest)


def create() -> Front:
    """Build the application from the environment; uvicorn's factory."""
    return create_for(open_installation(Settings(), apart=True))
