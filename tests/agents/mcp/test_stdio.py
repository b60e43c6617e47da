"""The bridge for clients that start servers themselves, and the pins that a listing gives."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import uvicorn
from tests.agents.acting import SECRET, acting
from tests.agents.mcp.test_proxy import YAML
from tests.agents.mcp.upstream import Upstream

from bedplate.api.mcp import Mcp
from bedplate.document import parse
from bedplate.errors import InvalidInput, Unreachable
from bedplate.paths.pinning import pinned, written
from bedplate.paths.toolfile import servers_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import House

    from bedplate.paths.toolserver import ToolServers


def servers(url: str) -> ToolServers:
    return servers_of(parse(f"kind: tools\nservers:\n  - {{name: bank, url: '{url}'}}\n", "tools.yaml"), {})


def test_a_client_that_starts_a_command_is_judged_like_any_other(house: House, tmp_path: Path) -> None:
    with acting(house, tmp_path / "data", 2, YAML) as agent:
        agent.at.follower.start()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        async def serve() -> bytes:
            async with Upstream() as upstream:
                behind = servers(upstream.url)
                config = uvicorn.Config(Mcp(agent.door, behind), port=port, log_level="error", lifespan="off")
                server = uvicorn.Server(config)
                serving = asyncio.create_task(server.serve())
                asked = (
                    {"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": params}
                    for n, params in enumerate(({"name": "inbox"}, {"name": "wipe"}))
                )
                lines = "".join(json.dumps(one) + "\n" for one in asked).encode()
                command = [sys.executable, "-m", "bedplate", "mcp", "stdio", "bank", "--run", "run-9"]
                own = {**os.environ, "BEDPLATE_URL": f"http://127.0.0.1:{port}", "BEDPLATE_AGENT_KEY": SECRET}
                done = await asyncio.to_thread(
                    subprocess.run, command, input=lines, capture_output=True, check=True, env=own
                )
                server.should_exit = True
                await serving
                behind.close()
                assert len(upstream.calls) == 1
                return done.stdout

        said = {told["id"]: told["result"] for told in map(json.loads, asyncio.run(serve()).splitlines())}
        assert said[0]["content"][0]["text"] == "done"
        assert "payer may not use bank/wipe" in said[1]["content"][0]["text"]
        assert {s.tool for s in agent.at.runs.steps("run-9")} == {"bank/inbox", "bank/wipe"}  # asked at once


def test_pins_are_read_from_the_server_and_written_where_they_belong() -> None:
    text = "kind: agents  # ours\ntools:\n  - {name: bank/pay, class: irreversible, digest: old}\n"

    async def read() -> dict[str, str]:
        async with Upstream() as upstream:
            return await pinned(servers(upstream.url), {"bank"})

    found = asyncio.run(read())
    new, changed = written(text, found)
    assert [(name, before) for name, before, _ in changed] == [("bank/pay", "old")]
    assert "# ours" in new
    assert found["bank/pay"] in new
    assert written(new, found)[1] == []
    with pytest.raises(InvalidInput, match="does not list bank/nope"):
        written("tools:\n  - {name: bank/nope}\n", found)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(Unreachable, match=r"bank at http://127\.0\.0\.1:9"):
        asyncio.run(pinned(servers("http://127.0.0.1:9/mcp"), {"bank"}))
    with pytest.raises(InvalidInput, match="no server 'files'; known: bank"):
        asyncio.run(pinned(servers("http://127.0.0.1:9/mcp"), {"files"}))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{name: bank, url: 'http://bank.example/mcp'}", "use https://"),
        ("{name: bank, url: 'https://u:p@bank.example/mcp'}", "no name or password"),
        ("{name: bank, url: 'http://169.254.169.254/mcp'}", "insecure: yes"),
        ("{name: bank, url: 'https://bank.example/mcp', key: secret}", "a key is never written here"),
        ("{name: bank, url: 'https://bank.example/mcp', key: {env: NOT_SET_ANYWHERE}}", "NOT_SET_ANYWHERE is not set"),
        ("{name: Bank, url: 'https://bank.example/mcp'}", "servers.0.name"),
        ("{name: bank, url: 'https://bank.example/mcp', keys: x}", "keys"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(line: str, says: str) -> None:
    with pytest.raises(InvalidInput) as wrong:
        servers_of(parse(f"kind: tools\nservers:\n  - {line}\n", "tools.yaml"), {})
    assert says in str(wrong.value)
    assert "tools.yaml:3" in str(wrong.value)
