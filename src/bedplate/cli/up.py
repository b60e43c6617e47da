"""`bedplate up`: read the settings, take the port, and become the server."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bedplate.errors import InvalidInput

from .output import HERE, Screen

if TYPE_CHECKING:
    from bedplate.config import Settings

BACKLOG = 2048  # connections that may wait


def up(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on. Otherwise $BEDPLATE_HOST.")] = None,
    port: Annotated[int | None, Parameter(help="Port; 0 takes a free one. Otherwise $BEDPLATE_PORT.")] = None,
    data: Annotated[Path | None, Parameter(help="Folder of the records. Otherwise $BEDPLATE_DATA.")] = None,
    processes: Annotated[int | None, Parameter(help="Serving processes. Otherwise $BEDPLATE_PROCESSES.")] = None,
    screen: Screen = HERE,
) -> int:
    """Run the server. Ctrl-C stops it.

    Gateway, API and console share one port. Logs go to stderr.
    """
    from .host import settings

    at = settings(data=data, host=host, port=port, processes=processes)
    new = not at.database and not (at.data / "bedplate.db").exists()
    sock = _bound(at)
    os.environ.update(BEDPLATE_DATA=str(at.data), BEDPLATE_HOST=at.host, BEDPLATE_PORT=str(sock.getsockname()[1]))
    os.environ["BEDPLATE_PROCESSES"] = str(at.processes)
    command = [sys.executable, "-m", "bedplate.launch", str(sock.fileno()), screen.output, "new" if new else "known"]
    sock.set_inheritable(True)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(command[0], command)  # noqa: S606  no shell, ourselves


def _bound(at: Settings) -> socket.socket:
    """Listen before anything is opened: a port that is taken is told at once, and the folder is left alone."""
    try:
        listening = socket.create_server(
            (at.host, at.port), family=socket.AF_INET6 if ":" in at.host else socket.AF_INET, backlog=BACKLOG
        )
    except OSError as wrong:
        why = wrong.strerror or str(wrong)
        raise InvalidInput(f"cannot listen on {at.host} port {at.port}: {why}", hint="choose another: --port") from None
    # Connections inherit it. asyncio sets it only where the socket names its protocol, and this one does not:
    # without it every answer on a kept connection would wait 40 ms for the client's acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
