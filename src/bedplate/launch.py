"""The server's own process: `python -m bedplate.launch`, which `bedplate up` turns into once it has read its settings.

A process that serves for months should not hold what the command line needed for a moment.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING

from bedplate import logs
from bedplate.config import Settings
from bedplate.errors import BedplateError, Conflict
from bedplate.supervisor import BACKLOG, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GRACE_S = 3  # open event streams would hold up the end for ever
FORMAT_VERSION = 1


def main(fileno: str, output: str, known: str) -> int:
    """Serve until told to stop, with the settings of the environment. Returns the exit code of the process."""
    logs.configure()
    at = Settings()
    with socket.socket(fileno=int(fileno)) as sock:
        try:
            ready = partial(_announce, at, sock, as_json=output == "json", new=known == "new")
            if at.processes > 1:
                Supervisor(at.processes, _serve_one_of_several, sock, ready).run()
            else:
                _serve(at, sock, ready)
        except BedplateError as error:
            from bedplate.cli.main import tell

            return tell(error, as_json=output == "json")
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
    return 0


def _serve(at: Settings, sock: socket.socket, ready: Callable[[], None], backlog: int = BACKLOG) -> None:
    import uvicorn

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    config = uvicorn.Config(
        "bedplate.serve:create",
        factory=True,
        http=f"bedplate.api.protocol:{'GatewayProtocol' if at.http == 'fast' else 'SafeProtocol'}",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        backlog=backlog,
    )
    server = Announced(config)
    server.run(sockets=[sock])
    if not server.started:
        raise Conflict("the server did not start", hint="the log above says why")


def _serve_one_of_several(sock: socket.socket, ready: Callable[[], None]) -> None:
    """Serve in one of several processes: each takes connections from the one socket, and has a shard of its own.

    A process takes as many waiting connections at once as its queue may hold. With a queue of one each takes one and
    the next is whoever is free; the kernel's own queue, which that shortens too, is made long again by the supervisor.
    """
    logs.configure()
    try:
        _serve(Settings(), sock, ready, backlog=1)
    except BedplateError as error:
        from bedplate.cli.main import tell

        sys.exit(tell(error, as_json=False))


def _announce(at: Settings, sock: socket.socket, *, as_json: bool, new: bool) -> None:
    address, number = sock.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    shown = "127.0.0.1" if shown == "0.0.0.0" else "[::1]" if shown == "[::]" else shown  # noqa: S104  shown, not bound
    told = {"url": f"http://{shown}:{number}", "upstream": _upstream(at), "data": str(at.data.absolute())}
    if as_json:
        print(json.dumps({"format_version": FORMAT_VERSION, **told}, indent=2), flush=True)
        return
    _fields({"Bedplate is up": told["url"], "answers come from": told["upstream"], "records are in": told["data"]})
    if not address.startswith(("127.", "::1")):
        print("Others on the network reach this port. Put HTTPS in front of it.", file=sys.stderr)
    if new:
        print(
            f"Nobody is invited yet. Begin with: bedplate invite YOU --name NAME --data {told['data']}", file=sys.stderr
        )


def _fields(told: Mapping[str, str]) -> None:
    """Print names with their values as the command line does, without what it takes to do so everywhere."""
    dim, plain = ("\x1b[2m", "\x1b[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")
    wide = max(map(len, told)) + 2
    for name, value in told.items():
        print(f"{dim}{name:<{wide}}{plain}{value}")
    sys.stdout.flush()


def _upstream(at: Settings) -> str:
    if at.local_llm:
        return "a small model in this process"
    if at.upstream_url:
        return f"{at.upstream_url} ({at.upstream_model})"
    return "embedded (quotes the sources; set BEDPLATE_UPSTREAM_URL for a model)"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
