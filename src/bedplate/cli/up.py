"""`bedplate up`: the server, in this process."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bedplate.errors import Conflict, InvalidInput

from .output import HERE, Screen, fields, note, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bedplate.config import Settings

GRACE_S = 3  # open event streams would hold up the end for ever


def up(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on. Otherwise $BEDPLATE_HOST.")] = None,
    port: Annotated[int | None, Parameter(help="Port; 0 takes a free one. Otherwise $BEDPLATE_PORT.")] = None,
    data: Annotated[Path | None, Parameter(help="Folder of the records. Otherwise $BEDPLATE_DATA.")] = None,
    screen: Screen = HERE,
) -> int:
    """Run the server. Ctrl-C stops it.

    Gateway, API and console share one port. Logs go to stderr.
    """
    from .host import settings

    at = settings(data=data, host=host, port=port)
    new = not at.database and not (at.data / "bedplate.db").exists()
    with _bound(at) as sock:
        address, number = sock.getsockname()[:2]
        os.environ.update(BEDPLATE_DATA=str(at.data), BEDPLATE_HOST=at.host, BEDPLATE_PORT=str(number))
        shown = f"[{address}]" if ":" in address else address
        shown = "127.0.0.1" if shown == "0.0.0.0" else "[::1]" if shown == "[::]" else shown  # noqa: S104  shown, not bound
        told = {"url": f"http://{shown}:{number}", "upstream": _upstream(at), "data": str(at.data.absolute())}
        _logs()
        _serve(sock, lambda: _announce(told, screen, new=new, open_to_all=not address.startswith(("127.", "::1"))))
    return 0


def _serve(sock: socket.socket, ready: Any) -> None:  # noqa: ANN401  a callable without arguments
    import uvicorn

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    server = Announced(
        uvicorn.Config(
            "bedplate.serve:create",
            factory=True,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_S,
            server_header=False,
        )
    )
    try:
        server.run(sockets=[sock])
    except KeyboardInterrupt:
        note("stopped")
    if not server.started:
        raise Conflict("the server did not start", hint="the log above says why")


def _bound(at: Settings) -> socket.socket:
    """Listen before anything is opened: a port that is taken is told at once, and the folder is left alone."""
    try:
        listening = socket.create_server(
            (at.host, at.port), family=socket.AF_INET6 if ":" in at.host else socket.AF_INET, backlog=2048
        )
    except OSError as wrong:
        why = wrong.strerror or str(wrong)
        raise InvalidInput(f"cannot listen on {at.host} port {at.port}: {why}", hint="choose another: --port") from None
    # Connections inherit it. asyncio sets it only where the socket names its protocol, and this one does not:
    # without it every answer on a kept connection would wait 40 ms for the client's acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _upstream(at: Settings) -> str:
    if at.local_llm:
        return "a small model in this process"
    if at.upstream_url:
        return f"{at.upstream_url} ({at.upstream_model})"
    return "embedded (quotes the sources; set BEDPLATE_UPSTREAM_URL for a model)"


def _announce(told: Mapping[str, str], screen: Screen, *, new: bool, open_to_all: bool) -> None:
    if screen.output == "json":
        print_json(told, sys.stdout)
    else:
        fields({"Bedplate is up": told["url"], "answers come from": told["upstream"], "records are in": told["data"]})
        if open_to_all:
            note("Others on the network reach this port. Put HTTPS in front of it.", "yellow")
        if new:
            note(f"Nobody is invited yet. Begin with: bedplate invite YOU --name NAME --data {told['data']}")
    sys.stdout.flush()


def _logs() -> None:
    """Send the logs of every library to stderr: lines for people at a terminal, JSON for everything else."""
    import logging

    import structlog

    common: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*common, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=common, processor=last))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
