"""The console's application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def create(_at: object) -> Starlette:
    return Starlette(routes=[Route("/", lambda _r: PlainTextResponse("soon"))])
