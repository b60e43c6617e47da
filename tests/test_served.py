"""What the tests of the running server stand on: ports that no other test process has."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests import served

TOLD = "from tests import served; print(*served.our_ports(), flush=True); input()"


def test_two_test_processes_never_have_a_port_in_common() -> None:
    ours = set(served.our_ports())
    program = [sys.executable, "-c", TOLD]
    folder = Path(__file__).parents[1]
    with subprocess.Popen(
        program, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(folder)}
    ) as other:
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        other.communicate("\n")
    assert len(theirs) == len(ours) == served.OURS
    assert not theirs & ours
    assert theirs | ours <= set(served.PORTS)


def test_a_port_is_given_in_turn_and_never_one_that_is_listened_on() -> None:
    first = served.free_port()
    with socket.create_server(("127.0.0.1", first)):
        given = [served.free_port() for _ in range(3 * served.OURS)]
    assert first not in given
    assert served.upstream_port() not in given
    assert len(set(given[: served.OURS - 2])) == served.OURS - 2
