"""Who is asking: the bearer token of a person, and nothing else. A use case's key opens no governance endpoint."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bedplate.errors import Unauthenticated
from bedplate.installation import Installation
from bedplate.people.views import SignedIn, who

_bearer = HTTPBearer(auto_error=False, description="A token from `bedplate login`.")


def installation(request: Request) -> Installation:
    """Return what this server runs."""
    at: Installation = request.app.state.installation
    return at


At = Annotated[Installation, Depends(installation)]


def address_of(request: Request) -> str:
    """Return the address that a request came from, as the server sees it; "" if it does not."""
    return request.client.host if request.client is not None else ""


def signed_in(at: At, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> SignedIn:
    """Return the person whose token came with the request."""
    if given is None:
        raise Unauthenticated("sign in first", hint="send Authorization: Bearer TOKEN; get one with bedplate login")
    return who(at.engine, given.credentials, at.clock(), "cli", "session")


Me = Annotated[SignedIn, Depends(signed_in)]
