"""The console's application: its routes, its guard, and what answers when nothing else does."""

from __future__ import annotations

import logging
from importlib import resources
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from . import (
    agents,
    approvals,
    board,
    calls,
    contracts,
    cost,
    evals,
    flow,
    guardrails,
    home,
    ideas,
    incidents,
    ledger,
    maturity,
    model,
    oversight,
    parked,
    paths,
    people,
    planning,
    portfolio,
    prompts,
    runs,
    session,
    shadow,
    stops,
    tail,
    upstreams,
    usecase,
    value,
    vendors,
)
from .findings import Findings
from .guard import Guard
from .problem import TITLES, Problem
from .render import environment
from .tail import Viewers
from .tally import Tally
from .visit import Console, Visit, signed_in

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

    from bedplate.installation import Installation

log = logging.getLogger(__name__)
PLANES = (
    session,
    home,
    planning,
    ideas,
    portfolio,
    usecase,
    approvals,
    people,
    incidents,
    tail,  # its address would be a call's
    calls,
    guardrails,
    contracts,
    vendors,
    upstreams,
    cost,
    flow,
    prompts,
    evals,
    agents,
    parked,
    runs,
    oversight,
    stops,
    ledger,
    model,
    maturity,
    paths,
    value,
    board,
    shadow,
)
OTHER_SITE = Problem(
    403,
    "Refused: this was not sent from a page of this console",
    "The browser says that another site sent it, or does not say who did. Nothing was changed.",
    "Open the page here and send it again; behind a proxy, let it pass on Host and Origin.",
)


def create(at: Installation) -> Starlette:
    """Build the console over an installation. Mount it at `/`."""
    console = Console(at, environment(), Tally(at.calls), Findings(at.calls), at.desk, Viewers(), at.clock())
    routes: list[BaseRoute] = [stream.route(console) for stream in tail.STREAMS]
    routes += [page.route(console) for plane in PLANES for page in plane.PAGES]
    folder = resources.files("bedplate.console").joinpath("static")
    routes.append(Mount("/static", StaticFiles(directory=str(folder))))

    def refuse(scope: Scope) -> Response:
        request = Request(scope)
        return Visit(console, request, None).wrong(OTHER_SITE)

    async def missing(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        status = error.status_code
        message = "Nothing is kept under this address." if status == 404 else str(error.detail)  # noqa: PLR2004  not found
        problem = Problem(status, TITLES.get(status, "It cannot be done"), message, "Start from the home page.")
        return await run_in_threadpool(lambda: Visit(console, request, signed_in(at, request)).wrong(problem))

    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, refuse=refuse)],
        exception_handlers={HTTPException: missing},
    )
