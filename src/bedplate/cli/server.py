"""Which server a command talks to, and as whom."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bedplate.errors import InvalidInput, Unauthenticated

from . import remembered
from .output import Screen

if TYPE_CHECKING:
    from bedplate.sdk import Client


@Parameter(name="*")
@dataclass(frozen=True)
class Server(Screen):
    """A command's server."""

    url: Annotated[
        str,
        Parameter(
            help="The server's address. Otherwise $BEDPLATE_URL, or where you signed in last.", show_default=False
        ),
    ] = ""

    @property
    def address(self) -> str:
        """The address in force."""
        url = (self.url or os.environ.get("BEDPLATE_URL", "") or remembered.last_url()).rstrip("/")
        if not url.startswith(("http://", "https://")):
            raise InvalidInput(f"{url!r} is not a server's address", hint="it begins with http:// or https://")
        return url

    def client(self, *, timeout_s: float = 120) -> Client:
        """Return a client that speaks as whoever signed in; `Unauthenticated` if nobody did."""
        token = remembered.token(self.address)
        if not token:
            raise Unauthenticated(
                f"you are not signed in at {self.address}",
                hint="bedplate login --code CODE; whoever runs the server makes one: bedplate invite",
            )
        from bedplate.sdk import Client

        return Client(self.address, token, timeout_s=timeout_s)

    def stranger(self) -> Client:
        """Return a client for what needs no sign-in."""
        from bedplate.sdk import Client

        return Client(self.address)


THERE = Server()
