"""`bedplate up`: the server, in this process."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bedplate.errors import Conflict, InvalidInput

from .output import HERE, Screen, fields, note, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import uvicorn

    from bedplate.config import Settings


GRACE_S = 3  # open event streams would hold up the end for ever
BACKLOG = 2048  # connections that may wait
HEALTHY_S = 30  # a process that starts on a busy machine must not be taken for one that hangs


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
    with _bound(at) as sock:
        address, number = sock.getsockname()[:2]
        os.environ.update(BEDPLATE_DATA=str(at.data), BEDPLATE_HOST=at.host, BEDPLATE_PORT=str(number))
        os.environ["BEDPLATE_PROCESSES"] = str(at.processes)
        shown = f"[{address}]" if ":" in address else address
        shown = "127.0.0.1" if shown == "0.0.0.0" else "[::1]" if shown == "[::]" else shown  # noqa: S104  shown, not bound
        told = {"url": f"http://{shown}:{number}", "upstream": _upstream(at), "data": str(at.data.absolute())}
        _logs()
        _serve(at, sock, lambda: _announce(told, screen, new=new, open_to_all=not address.startswith(("127.", "::1"))))
    return 0


def _serve(at: Settings, sock: socket.socket, ready: Callable[[], None]) -> None:
    import uvicorn

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    config = uvicorn.Config(
        "bedplate.serve:create",
        factory=True,
        http="bedplate.api.protocol:GatewayProtocol" if at.http == "fast" else "httptools",
        workers=at.processes,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_worker_healthcheck=HEALTHY_S,
        server_header=False,
    )
    if at.processes > 1:
        _serve_together(config, sock, ready)
        return
    server = Announced(config)
    try:
        server.run(sockets=[sock])
    except KeyboardInterrupt:
        note("stopped")
    if not server.started:
        raise Conflict("the server did not start", hint="the log above says why")


def _serve_together(config: uvicorn.Config, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Serve in several processes: each takes connections from the one socket, and has a shard of its own."""
    from uvicorn.supervisors import Multiprocess

    # A process takes as many waiting connections at once as its queue may hold. With a queue of one each takes one and
    # the next is whoever is free; the kernel's own queue, which that shortens too, is made long again from here.
    config.backlog = 1
    together = Multiprocess(config, sockets=[sock])
    threading.Thread(target=_long_queue, args=(sock,), daemon=True).start()
    threading.Thread(target=_once_answering, args=(sock, ready), daemon=True).start()
    together.run()


def _long_queue(sock: socket.socket) -> None:
    """Keep the queue of waiting connections long, whenever a process began to listen."""
    while True:
        sock.listen(BACKLOG)
        time.sleep(0.2)


def _once_answering(sock: socket.socket, ready: Callable[[], None]) -> None:
    """Say that it is up once a process answers."""
    import http.client

    address, number = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104  asked, not bound
    while True:
        connection = http.client.HTTPConnection(host, number, timeout=60)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:  # noqa: PLR2004  the one that means it
                ready()
                return
        time.sleep(0.1)


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
