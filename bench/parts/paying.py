"""An installation with an agent that may use every tool of one MCP server, pinned, in a folder of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests import served
from tests.served import EXAMPLE, HR, Harbour, Server

from bedplate.document import parse
from bedplate.paths.pinning import pinned
from bedplate.paths.toolfile import servers_of
from bedplate.people.blank import blank_model
from bedplate.sdk import Client

if TYPE_CHECKING:
    from pathlib import Path

TOOL = "  - {{name: {name}, class: read, output: untrusted, digest: {pin}}}\n"


def prepared(folder: Path, url: str, may: str = "{}") -> str:
    """Found, release and write `tools.yaml`; returns the agent's key. The server at `url` has to be up.

    `may`: what of its resources and prompts agents may read.
    """
    tools = f"kind: tools\nservers:\n  - {{name: every, url: '{url}'}}\n"
    (folder / "tools.yaml").write_text(tools)
    pins = asyncio.run(_pins(tools))
    listed = "".join(TOOL.format(name=name, pin=pin) for name, pin in pins.items())
    agent = f"agents:\n  - {{id: payer, title: Reads, autonomy: act, tools: [{', '.join(pins)}]}}\n"
    spec = served.use_case().replace("runbook:", "agents: agents.yaml\nrunbook:")
    files = {
        **served.files_of(spec),
        "agents.yaml": f"kind: agents\nservers: {{every: {may}}}\ntools:\n{listed}{agent}",
    }
    codes = served.found(folder / "data")
    with Server(folder / "data") as server:
        tokens: dict[str, str] = {}
        for person, code in codes.items():
            client = Client(server.url)
            client.login(code=code)
            tokens[person] = client.token
        at = Harbour(server.url, tokens, {})
        model = blank_model("Harbour Mutual", (EXAMPLE / "people.yaml").read_text())
        at.approve(lambda: at.person("priya").apply("operating-model", "om.yaml", model), "jonas", "ruth")
        leo = at.person("leo")
        served.accept(at, leo, spec, "hanna")
        at.agree(leo.release(HR, files)["approval"], "hanna")
        return str(leo.issue_key(HR, "bench", agent="payer")["key"])


async def _pins(tools: str) -> dict[str, str]:
    servers = servers_of(parse(tools.encode(), "tools.yaml"), {})
    try:
        return await pinned(servers, {"every"})
    finally:
        servers.close()
