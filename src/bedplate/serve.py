"""The serving process: gateway, API and console on one port, the worker beside them."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import threading
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from bedplate import logs
from bedplate.api.access import METADATA, Access
from bedplate.api.agents import ROOT, Agents
from bedplate.api.chat import Chat
from bedplate.api.mcp import ROOT as MCP
from bedplate.api.mcp import Mcp
from bedplate.api.traces import Traces
from bedplate.bootstrap import open_installation
from bedplate.config import Settings
from bedplate.console.app import create as create_console
from bedplate.gateway.metrics import CONTENT_TYPE
from bedplate.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from bedplate.gateway.door import Door
    from bedplate.installation import Installation

log = logging.getLogger(__name__)


class Front:
    """Sends `/v1` straight to the gateway, traces and other enforcement points to theirs, the rest to pages and API.

    `door` is what `api.protocol` serves without coming through here.
    """

    def __init__(
        self,
        chat: ASGIApp,
        traces: ASGIApp,
        access: ASGIApp,
        rest: ASGIApp,
        door: Door,
        beside: Mapping[str, ASGIApp] = MappingProxyType({}),
    ) -> None:
        """Take what answers; `beside` is what else is not of pages and API, by how its paths begin."""
        self.door = door
        self._chat = chat
        self._traces = traces
        self._access = access
        self._rest = rest
        self._beside = tuple(beside.items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Dispatch one connection."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path == "/v1/traces":
            await self._traces(scope, receive, send)
        elif path.startswith("/v1/"):
            await self._chat(scope, receive, send)
        elif path.startswith("/access/") or path == METADATA:
            await self._access(scope, receive, send)
        else:
            app = next((app for prefix, app in self._beside if path.startswith(prefix)), self._rest)
            await app(scope, receive, send)


class _Governance:
    """The API under `/api`, built when it is first asked for.

    A process that only carries calls never holds it (some 13 MB), and the first page does not wait for it.
    """

    def __init__(self, at: Installation) -> None:
        self._at = at
        self._app: ASGIApp | None = None
        self._one = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on one request."""
        app = self._app
        if app is None:
            app = await asyncio.to_thread(self._built)
        await app(scope, receive, send)

    def _built(self) -> ASGIApp:
        with self._one:
            if self._app is None:
                from bedplate.api.app import create  # noqa: PLC0415  half of what the whole server takes to import

                self._app = create(self._at)
            return self._app


def create_for(at: Installation, *, alone: bool = False) -> Front:
    """Build the whole application over an installation; it is started and closed with the application.

    `alone`: this process does nothing else.
    """
    worker = Worker(at)

    @asynccontextmanager
    async def running(_app: Starlette) -> AsyncIterator[None]:
        at.follower.start()
        at.pump.start()
        worker.start()
        if alone:
            _settle()
        log.info("bedplate.up", extra={"upstreams": [u.name for u in at.upstreams.values()], "shard": at.journal.shard})
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
        await asyncio.to_thread(at.pump.flush)
        return Response(await asyncio.to_thread(at.metrics.text), media_type=CONTENT_TYPE)

    rest = Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Mount("/api", _Governance(at)),
            Mount("/", create_console(at)),
        ],
        lifespan=running,
    )
    return Front(
        Chat(at),
        Traces(at.observer, at.metrics.came_in, agents=at.agents),
        Access(at.door),
        rest,
        at.door,
        {f"{ROOT}/": Agents(at.agents), f"{MCP}/": Mcp(at.agents, at.toolservers)},
    )


def _settle() -> None:
    """Put aside what was made to start, which stays for good, and give back to the system what was only needed for it.

    What is put aside is not looked through again by every collection of garbage.
    """
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)


def create() -> Front:
    """Build the application from the environment; uvicorn's factory, in every serving process."""
    logs.configure()
    return create_for(open_installation(Settings(), apart=True), alone=True)
