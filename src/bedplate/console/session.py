"""Signing in and out, and one's own page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bedplate.errors import BedplateError, InvalidInput, Unauthenticated
from bedplate.people import actions, views
from bedplate.people.account import hash_password
from bedplate.people.tables import password as passwords
from bedplate.store.engine import writing
from bedplate.store.projector import upsert

from .problem import Problem, problem_of
from .visit import Page, Visit, cookie_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

LASTS = 12 * 3600  # seconds; the token itself ends then
MAX_PASSWORD = 200
LOOPBACK = frozenset({"127.0.0.1", "::1"})
LOCAL_NAMES = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Link:
    """Somebody who can be signed in with one click, in a demonstration."""

    person: str
    name: str
    seats: Sequence[str]
    token: str


def form(visit: Visit) -> Response:
    """Show the form; in a demonstration, exchange the link's code or person at once."""
    code, person = visit.query("code"), visit.query("as")
    try:
        if (code or person) and demo(visit) and visit.request.headers.get("sec-fetch-site", "none") != "cross-site":
            return _begin(visit, _exchange(visit, code) if code else _borrowed(visit, person))
        invited = views.who(visit.at.engine, code, visit.at.clock(), "invitation") if code else None
    except BedplateError as error:
        return _form(visit, problem_of(error))
    return _form(visit, None, code=code if invited is not None else "", name=invited.name if invited else "")


def sign_in(visit: Visit) -> Response:
    """Begin a session with an invitation's code, or as a person with a password."""
    at, code, person = visit.at, visit.said("code"), visit.said("person")
    try:
        if code:
            return _begin(visit, _exchange(visit, code))
        at.attempts.password(person, visit.form.get("password", "")[:MAX_PASSWORD], _address(visit))
        return _begin(visit, actions.sign_in(at.governor, person, "session").text)
    except BedplateError as error:
        return _form(visit, problem_of(error), person=person)


def sign_out(visit: Visit) -> Response:
    """End the session, here and on record."""
    if visit.me is not None:
        actions.sign_out(visit.at.governor, visit.me.person, visit.me.token)
    answer = visit.go("/sign-in")
    answer.delete_cookie(cookie_name(visit.request), path="/", httponly=True, samesite="lax")
    return answer


def myself(visit: Visit) -> Response:
    """Show who is signed in, with which seats."""
    return _myself(visit, None)


def change_password(visit: Visit) -> Response:
    """Set one's own password."""
    person, at = visit.by, visit.at
    if visit.form.get("password", "") != visit.form.get("again", ""):
        return _myself(visit, problem_of(InvalidInput("The two passwords differ.", hint="Type the same twice.")))
    try:
        hashed = hash_password(visit.form.get("password", "")[:MAX_PASSWORD])
    except InvalidInput as wrong:
        return _myself(visit, problem_of(wrong))

    def keep() -> None:
        with writing(at.engine.connect()) as connection, connection.begin():
            upsert(connection, passwords, {"person": person}, {"hash": hashed})

    actions.set_password(at.governor, person, keep)
    return visit.go("/me?done=password")


def demo(visit: Visit) -> bool:
    """Tell whether links may sign people in: only where it was switched on, and only for this very machine."""
    request = visit.request
    direct = not any(name in request.headers for name in ("x-forwarded-for", "forwarded"))
    client = request.client.host if request.client is not None else ""
    # The name as well: a page elsewhere may point its own name at this machine.
    named = urlsplit(f"//{request.headers.get('host', '')}").hostname
    return visit.at.settings.demo and direct and client in LOOPBACK and named in LOCAL_NAMES


def links(visit: Visit) -> list[Link]:
    """List who can be signed in with one click; nobody outside a demonstration."""
    path = visit.at.settings.data / "demo-links.json"
    if not demo(visit) or not path.exists():
        return []
    try:
        told = json.loads(path.read_text())
        return [Link(person, str(x["name"]), tuple(x["seats"]), str(x["token"])) for person, x in told.items()]
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise InvalidInput("demo-links.json cannot be read", hint="start the demonstration again") from broken


def _exchange(visit: Visit, code: str) -> str:
    at = visit.at
    with at.attempts.counted(_address(visit)):
        invited = views.who(at.engine, code, at.clock(), "invitation")
    return actions.sign_in(at.governor, invited.person, "session", spend=invited.token).text


def _address(visit: Visit) -> str:
    return visit.request.client.host if visit.request.client is not None else ""


def _borrowed(visit: Visit, person: str) -> str:
    found = next((link for link in links(visit) if link.person == person), None)
    if found is None:
        raise Unauthenticated(f"There is no link for {person}.", hint="Choose one from the list.")
    views.who(visit.at.engine, found.token, visit.at.clock(), "session", "cli")
    # A session of its own: signing out ends that, and the link still works.
    return actions.sign_in(visit.at.governor, person, "session").text


def _begin(visit: Visit, token: str) -> Response:
    answer = visit.go(_local(visit.form.get("next", "") or visit.query("next")))
    secure = visit.request.url.scheme == "https"
    answer.set_cookie(
        cookie_name(visit.request), token, max_age=LASTS, path="/", secure=secure, httponly=True, samesite="lax"
    )
    return answer


def _form(visit: Visit, problem: Problem | None, *, code: str = "", name: str = "", person: str = "") -> Response:
    shown = {"code": code, "name": name, "person": person, "next": _local(visit.query("next")), "links": links(visit)}
    return visit.show("sign_in.html", problem.status if problem else 200, problem=problem, **shown)


def _myself(visit: Visit, problem: Problem | None) -> Response:
    model = visit.at.model()
    known = model.authority.people.get(visit.by) if model is not None else None
    seats = [str(seat) for seat in known.seats] if known is not None else []
    may = sorted(a.doc for a in visit.at.catalogue.actions.values() if _may(visit, a.needs, seats))
    status = problem.status if problem else 200
    locked = visit.at.attempts.waits(visit.by)
    return visit.show("me.html", status, problem=problem, seats=seats, may=may, done=visit.query("done"), locked=locked)


def _may(visit: Visit, permission: str, seats: list[str]) -> bool:
    model = visit.at.model()
    domains = {seat.partition("@")[2] for seat in seats}
    return model is not None and any(model.authority.allowed(visit.by, permission, d) for d in domains)


def _local(path: str) -> str:
    """Return a path on this server, and never another's address that looks like one."""
    given = urlsplit(path)
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and not given.netloc and path.isprintable()
    return path if safe else "/"


PAGES = (
    Page("/sign-in", form, everybody=True),
    Page("/sign-in", sign_in, "POST", everybody=True),
    Page("/sign-out", sign_out, "POST"),
    Page("/me", myself),
    Page("/me/password", change_password, "POST"),
)
