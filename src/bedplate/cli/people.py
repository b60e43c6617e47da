"""Signing in and out, and inviting others."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bedplate.errors import BedplateError, InvalidInput

from . import remembered
from .output import fields, line, moment, note
from .server import THERE, Server


def invite(
    person: str,
    *,
    name: Annotated[str, Parameter(help="The person's name, as others will see it.")],
    data: Annotated[
        Path | None, Parameter(help="On the server's host: invite as its operator, straight into this data folder.")
    ] = None,
    server: Server = THERE,
) -> int:
    """Invite PERSON, by a code that works once.

    Prints the code and the link that holds it; both end after seven days.
    PERSON is the id that the operating model uses, such as mara.quinn.
    """
    code = _invite_on_host(person, name, data) if data is not None else _invite_there(server, person, name)
    link = f"{server.address}/sign-in?code={code}"

    def text() -> None:
        fields({"code": code, "link": link})
        note(f"Hand it to {name} over a channel you trust. There: bedplate login --url {server.address} --code CODE")

    server.show({"person": person, "code": code, "link": link}, text)
    return 0


def login(
    *,
    code: Annotated[str, Parameter(help="The code of your invitation.")] = "",
    person: Annotated[str, Parameter(help="Sign in with a password: $BEDPLATE_PASSWORD, or typed when asked.")] = "",
    server: Server = THERE,
) -> int:
    """Sign in.

    The token is kept in a file that only you can read. $BEDPLATE_TOKEN goes before it.
    """
    if bool(code) and bool(person):
        raise InvalidInput("sign in with a code or as a person, not both")
    if not code and not person:
        code = _typed("", "Invitation code: ", "give the invitation's code: bedplate login --code CODE")
    client = server.stranger()
    if person:
        password = _typed("BEDPLATE_PASSWORD", "Password: ", "set BEDPLATE_PASSWORD, or use a terminal")
        told = client.login(person=person, password=password)
    else:
        told = client.login(code=code)
    file = remembered.keep_token(server.address, told["person"], told["token"])
    _see_keys(server)
    if server.address.startswith("http://") and not _loopback(server.address):
        note("Warning: over http:// the token travels readable by others. Use https://.", "yellow")
    shown = {"person": told["person"], "name": told["name"], "url": server.address, "file": str(file)}
    server.show(shown, lambda: line(f"signed in at {server.address} as {told['person']} ({told['name']})"))
    return 0


def logout(*, server: Server = THERE) -> int:
    """End your token at the server and forget it here."""
    from bedplate.errors import Unauthenticated

    client = server.client()
    try:
        client.post("/api/logout", {})
    except Unauthenticated:
        note("The token had ended already.")
    remembered.forget_token(server.address)
    server.show({"url": server.address}, lambda: line(f"signed out at {server.address}"))
    return 0


def whoami(*, server: Server = THERE) -> int:
    """Say who you are here, and your seats."""
    me = server.client().me()

    def text() -> None:
        fields(
            {
                "person": f"{me['person']} ({me['name']})",
                "seats": ", ".join(me["seats"]) or "none in the operating model in force",
                "organisation": me["organisation"] or "no operating model is in force yet",
                "posture": me["posture"] if me["posture"] == "solo" else "",
                "locked": f"no password is taken until {moment(me['locked_until'])}" if me["locked_until"] else "",
                "server": server.address,
            }
        )

    server.show({**me, "url": server.address}, text)
    return 0


def password(*, server: Server = THERE) -> int:
    """Set your own password.

    It is read from $BEDPLATE_PASSWORD, or typed when asked, and has 12 characters or more.
    """
    client = server.client()
    chosen = _typed("BEDPLATE_PASSWORD", "New password: ", "set BEDPLATE_PASSWORD, or use a terminal")
    if not os.environ.get("BEDPLATE_PASSWORD") and _typed("", "Once more: ", "") != chosen:
        raise InvalidInput("the two are not the same")
    told = client.post("/api/me/password", {"password": chosen})
    server.show(told, lambda: line("your password is set"))
    return 0


def _invite_there(server: Server, person: str, name: str) -> str:
    return str(server.client().post("/api/invitations", {"person": person, "name": name})["code"])


def _invite_on_host(person: str, name: str, data: Path) -> str:
    from pydantic import ValidationError

    from bedplate.kernel.authority import OPERATOR
    from bedplate.people.actions import invite as act
    from bedplate.wire import Invitation

    from .host import governor, settings

    try:
        body = Invitation(person=person, name=name)
    except ValidationError as wrong:
        raise InvalidInput("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in wrong.errors())) from None
    return act(governor(settings(data=data)), OPERATOR, body.person, body.name).text


def _typed(variable: str, prompt: str, hint: str) -> str:
    """Return a secret from the environment or, at a terminal only, from the keyboard."""
    given = os.environ.get(variable, "") if variable else ""
    if given:
        return given
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInput("there is no terminal to ask at", hint=hint)
    from getpass import getpass

    return getpass(prompt, stream=sys.stderr).strip()


def _see_keys(server: Server) -> None:
    """Keep the public keys on the first sight of a server; say so when it shows others later."""
    try:
        shown = server.stranger().public_keys().split()
    except BedplateError:
        return  # `verify` says that it has no key
    known = remembered.keys(server.address)
    if not known:
        remembered.keep_keys(server.address, shown)
    elif set(known) != set(shown):
        note(
            "Warning: this server's public keys are not those seen before; the old ones stay in use. "
            "If the change is known to you: bedplate keys --replace",
            "bold yellow",
        )


def _loopback(url: str) -> bool:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}
