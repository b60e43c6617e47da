"""The governance API under `/api`: OpenAPI 3.1, one error shape, every endpoint's permission decided by the kernel."""

from __future__ import annotations

import logging
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

import bedplate
from bedplate.document import in_words
from bedplate.errors import BedplateError, InvalidInput, TooMany
from bedplate.installation import Installation
from bedplate.status import status_of

from . import (
    bodies,
    content,
    contracts,
    cost,
    evals,
    evidence,
    feedback,
    flow,
    gateway,
    ideas,
    incidents,
    maturity,
    model,
    oversight,
    paths,
    people,
    planning,
    portfolio,
    prompts,
    releases,
    runs,
    shadow,
    upstreams,
    value,
    vendors,
)
from .limits import BodyLimit
from .problem import body_of

log = logging.getLogger(__name__)
ROUTERS = (
    people.router,
    model.router,
    maturity.router,
    bodies.router,
    portfolio.router,
    ideas.router,
    planning.router,
    releases.router,
    evals.router,
    prompts.router,
    gateway.router,
    runs.router,
    oversight.router,
    content.router,
    feedback.router,
    cost.router,
    value.router,
    upstreams.router,
    incidents.router,
    flow.router,
    evidence.router,
    paths.router,
    shadow.router,
    contracts.router,
    vendors.router,
)
DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
DOCS = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bedplate API</title>
<link rel="stylesheet" href="static/vendor/swagger-ui.css"></head>
<body><div id="swagger-ui"></div><script src="static/vendor/swagger-ui-bundle.js"></script>
<script src="static/docs.js"></script></body></html>"""


def create(at: Installation) -> FastAPI:
    """Build the API over an installation. Mount it under `/api`."""
    app = FastAPI(
        title="Bedplate",
        version=bedplate.__version__,
        summary="The operating model for an organisation's AI.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        servers=[{"url": "/api"}],
        middleware=[Middleware(BodyLimit)],
        responses={
            400: {"description": "not readable"},
            401: {"description": "not signed in"},
            403: {"description": "denied, with reasons and fixes"},
            404: {"description": "no such thing"},
            409: {"description": "in conflict with what is on record"},
            413: {"description": "too large"},
            422: {"description": "invalid, with what was expected"},
            429: {"description": "too often; `Retry-After` says when again"},
            503: {"description": "cannot be done now"},
        },
    )
    app.state.installation = at
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(BedplateError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.mount("/static", StaticFiles(directory=str(resources.files("bedplate.api").joinpath("static"))))

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(DOCS, headers={"content-security-policy": DOCS_CSP})

    return app


def _told(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, BedplateError):
        raise error
    status = status_of(error)
    if status >= 500:  # noqa: PLR2004  ours to look into
        log.error("api.failed", extra={"code": error.code, "why": error.message})
    headers = {"www-authenticate": "Bearer"} if status == 401 else {}  # noqa: PLR2004  HTTP's own number
    if isinstance(error, TooMany):
        headers["retry-after"] = str(error.wait_s)
    return JSONResponse(body_of(error), status, headers)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    told = InvalidInput("; ".join(_in_words(e) for e in error.errors()[:20]), hint="see /api/docs")
    return JSONResponse(body_of(told), 422)


def _in_words(error: Any) -> str:  # noqa: ANN401  what pydantic found, a mapping
    where = ".".join(map(str, error["loc"][1:] or error["loc"]))
    message = {"missing": "is needed", "extra_forbidden": "is not known here"}.get(error["type"]) or in_words(error)
    given = error.get("input")
    shown = f" {given[:60]!r}" if isinstance(given, str) and error["type"] != "missing" else ""
    return f"{where}{shown} {message[:1].lower()}{message[1:]}"


def _http(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    codes = {404: "not-found", 405: "method-not-allowed", 400: "invalid-input"}
    body: dict[str, Any] = {
        "code": codes.get(error.status_code, "error"),
        "message": str(error.detail),
        "hint": "see /api/docs",
    }
    return JSONResponse({"error": body}, error.status_code, error.headers)
