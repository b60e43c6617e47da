"""One request of a person to one page: who asks, what was sent, and how the answer is rendered."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from bedplate.errors import BedplateError, InvalidInput, NeedsApproval, Unauthenticated
from bedplate.people.views import SignedIn, who

from . import chrome
from .problem import Problem, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jinja2 import Environment
    from starlette.requests import Request

    from bedplate.installation import Installation
    from bedplate.paths.feedback import Desk

    from .findings import Findings
    from .ledger import Checked
    from .tail import Viewers
    from .tally import Tally

log = logging.getLogger(__name__)
MAX_FORM = 64 << 10
MAX_TEXT = 4_000
PAGE = 100  # rows


@dataclass(slots=True)
class Console:
    """What the pages share. `checked` is the newest full check that somebody asked for."""

    at: Installation
    environment: Environment
    tally: Tally
    findings: Findings
    desk: Desk
    viewers: Viewers
    opened: int
    checked: Checked | None = None
    lately: dict[str, tuple[int, object, Any]] = field(default_factory=dict)  # what was worked out, when and of what


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, read."""

    console: Console
    request: Request
    me: SignedIn | None
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def at(self) -> Installation:
        """What this server runs."""
        return self.console.at

    @property
    def by(self) -> str:
        """The person who asks; `Unauthenticated` if nobody signed in."""
        if self.me is None:
            raise Unauthenticated("sign in first", hint="open /sign-in")
        return self.me.person

    def worked_out(self, name: str, of: object, keep: int, work: Callable[[], Any]) -> Any:  # noqa: ANN401  whatever it was
        """Return what costs much to work out: what is known, if it was made `of` the same and within `keep`, µs."""
        at, same, known = self.console.lately.get(name, (0, None, None))
        now = self.at.clock()
        if not at or same != of or not 0 <= now - at < keep:
            known = work()
            self.console.lately[name] = (now, of, known)
        return known

    @property
    def fragment(self) -> bool:
        """Tell whether htmx asks for a part of a page."""
        return self.request.headers.get("hx-request") == "true"

    def part(self, name: str) -> str:
        """Return a part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str:
        """Return a parameter of the query; "" if it is not there."""
        return self.request.query_params.get(name, "").strip()[:MAX_TEXT]

    def number(self, name: str, least: int = 0) -> int:
        """Return a whole number from the query, `least` if there is none."""
        text = self.query(name)
        return max(least, int(text)) if text.isascii() and text.isdigit() and len(text) < 16 else least  # noqa: PLR2004  below 2^53

    def said(self, name: str) -> str:
        """Return a field of the form; `InvalidInput` if it is too long."""
        text = self.form.get(name, "").strip()
        if len(text) > MAX_TEXT:
            raise InvalidInput(f"{name} has {len(text)} characters; {MAX_TEXT} are kept", hint="say it shorter")
        return text

    def show(self, template: str, status: int = 200, **context: Any) -> HTMLResponse:  # noqa: ANN401  a template's values
        """Render a template, with what every page shows."""
        known = chrome.of(self)
        text = self.console.environment.get_template(template).render(**known, **context)
        return HTMLResponse(text, status)

    def go(self, path: str) -> Response:
        """Send the person to another page of ours."""
        if self.fragment:
            return Response(status_code=200, headers={"hx-redirect": path})
        return RedirectResponse(path, 303)

    def wrong(self, problem: Problem) -> HTMLResponse:
        """Say what is wrong and how to mend it: in place for htmx, as a page otherwise."""
        return self.show("_problem.html" if self.fragment else "problem.html", problem.status, problem=problem)


@dataclass(frozen=True, slots=True)
class Page:
    """A path, how it is asked for, and what answers. `everybody`: also to people who have not signed in."""

    path: str
    handler: Callable[[Visit], Response]
    method: str = "GET"
    everybody: bool = False

    def route(self, console: Console) -> Route:
        """Make the route. The handler runs in a thread: a database that waits must not hold up the calls."""

        async def endpoint(request: Request) -> Response:
            try:
                form = await _form(request) if self.method == "POST" else {}
            except InvalidInput as unreadable:
                return await run_in_threadpool(Visit(console, request, None).wrong, problem_of(unreadable))
            return await run_in_threadpool(self.answer, console, request, form)

        return Route(self.path, endpoint, methods=[self.method])

    def answer(self, console: Console, request: Request, form: Mapping[str, str]) -> Response:
        """Find out who asks, and answer; every error becomes a page or a part of one."""
        visit = Visit(console, request, signed_in(console.at, request), form)
        if visit.me is None and not self.everybody:
            back = request.url.path if self.method == "GET" else "/"
            return visit.go("/sign-in" if back == "/" else f"/sign-in?next={quote(back)}")
        try:
            return self.handler(visit)
        except NeedsApproval as asked:
            if visit.fragment:
                return visit.wrong(problem_of(asked))
            return visit.go(f"/approvals/{asked.approval.removeprefix('approval/')}")
        except BedplateError as error:
            return visit.wrong(problem_of(error))
        except Exception as broken:
            log.exception("console.failed", extra={"path": request.url.path, "error": type(broken).__name__})
            return visit.wrong(problem_of(broken))


def cookie_name(request: Request) -> str:
    """Name the session's cookie; over TLS the prefix pins it to this host."""
    return "__Host-bedplate_session" if request.url.scheme == "https" else "bedplate_session"


def signed_in(at: Installation, request: Request) -> SignedIn | None:
    """Return whose session came with the request; None if there is none that holds."""
    token = request.cookies.get(cookie_name(request), "")
    if not token:
        return None
    purposes = ("session", "cli") if at.settings.demo else ("session",)  # demo links hold a CLI token
    try:
        return who(at.engine, token, at.clock(), *purposes)
    except Unauthenticated:
        return None


async def _form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise InvalidInput(f"the form holds more than {MAX_FORM} bytes", hint="send less", code="request-too-large")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        raise InvalidInput("the form cannot be read", hint="send it from the page") from None
