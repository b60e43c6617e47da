"""Servers over standard input: one process for all clients, with nothing of ours in it, and never a silent end."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.agents.acting import acting
from tests.agents.mcp.talker import TOOLS
from tests.agents.mcp.test_proxy import Bench, recorded

from bedplate.agents.mcp.pin import pins
from bedplate.api.mcp import Mcp
from bedplate.document import InvalidDocument, parse
from bedplate.gateway.response import Broken
from bedplate.paths import toolprocess
from bedplate.paths.pinning import pinned
from bedplate.paths.toolfile import servers_of
from bedplate.paths.toolprocess import ToolProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import House

    from bedplate.paths.toolserver import ToolServers

TALKER = Path(__file__).with_name("talker.py")


def servers(more: str = "", **environment: str) -> ToolServers:
    command = json.dumps([sys.executable, str(TALKER)])
    text = f"kind: tools\nservers:\n  - name: talker\n    command: {command}\n{more}"
    return servers_of(parse(text, "tools.yaml"), environment)


@asynccontextmanager
async def talker(more: str = "", **environment: str) -> AsyncIterator[ToolProcess]:
    found = servers(more, **environment)
    try:
        process = found.servers["talker"]
        assert isinstance(process, ToolProcess)
        yield process
    finally:
        found.close()


async def call(at: ToolProcess, tool: str, number: Any = 7, **arguments: Any) -> Any:
    params = {"name": tool, "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    answer = await at.send("POST", [], json.dumps(body).encode(), 0)
    found = json.loads(await answer.read())
    assert (answer.status, found["id"]) == (200, number)
    return json.loads(found["result"]["content"][0]["text"])


def test_clients_that_use_the_same_ids_get_their_own_answers() -> None:
    async def scene() -> list[Any]:
        async with talker() as at:
            return await asyncio.gather(*(call(at, "echo", 1, who=who) for who in range(20)))

    assert [found["who"] for found in asyncio.run(scene())] == list(range(20))


def test_a_clients_handshake_is_answered_from_ours() -> None:
    async def scene() -> tuple[Any, list[int]]:
        async with talker() as at:
            hello = {"jsonrpc": "2.0", "id": "h", "method": "initialize", "params": {}}
            told = json.loads(await (await at.send("POST", [], json.dumps(hello).encode(), 0)).read())
            done = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
            return told, [(await at.send(method, [], done, 0)).status for method in ("POST", "GET", "DELETE")]

    told, statuses = asyncio.run(scene())
    assert (told["id"], told["result"]["serverInfo"]["name"]) == ("h", "talker")
    assert statuses == [202, 405, 405]


def test_it_gets_the_variables_that_are_named_and_nothing_else_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDPLATE_SECRET_OF_OURS", "x")

    async def scene() -> Any:
        async with talker("    env: [{name: BANK_KEY, key: {env: OURS}}]\n", OURS="s3cret") as at:
            return await call(at, "variables")

    found = asyncio.run(scene())
    assert found["BANK_KEY"] == "s3cret"
    assert set(found) <= {*toolprocess.KEPT, "BANK_KEY", "LC_CTYPE"}


def test_what_it_asks_clients_is_refused_and_what_is_none_of_an_answer_is_left_out() -> None:
    async def scene() -> list[Any]:
        async with talker() as at:
            return [await call(at, "ask"), await call(at, "garbage"), await call(at, "wrong")]

    refused, *others = asyncio.run(scene())
    assert refused == "sampling/createMessage is not let through to clients"
    assert [found["name"] for found in others] == ["garbage", "wrong"]


@pytest.mark.parametrize(
    ("tool", "kind"), [("die", "cut"), ("hang", "timeout"), pytest.param("long", "cut", marks=pytest.mark.slow)]
)
def test_who_waits_is_told_when_it_dies_hangs_or_floods(tool: str, kind: str) -> None:
    async def scene() -> Broken:
        async with talker("    timeouts: {total_ms: 2000}\n" if tool == "hang" else "") as at:
            with pytest.raises(Broken) as broken:
                await call(at, tool)
            return broken.value

    broken = asyncio.run(scene())
    assert (broken.kind, broken.before) == (kind, False)


def test_one_that_died_is_started_again_but_not_at_once() -> None:
    now = [1_000.0]

    async def scene() -> tuple[str, Any]:
        at = ToolProcess("talker", [sys.executable, str(TALKER)], {}, start_s=60, call_s=60, clock=lambda: now[0])
        try:
            await call(at, "echo")
            with pytest.raises(Broken, match="it ended"):
                await call(at, "die")
            assert at._process is not None
            await at._process.wait()
            with pytest.raises(Broken) as soon:
                await call(at, "echo")
            now[0] += toolprocess.PATIENCE_S
            return soon.value.message, await call(at, "echo", again=True)
        finally:
            at.close()

    said, again = asyncio.run(scene())
    assert "started again in 1 s" in said
    assert again["again"] is True


def test_its_end_is_the_end_of_its_process() -> None:
    async def scene() -> int | None:
        async with talker() as at:
            await call(at, "echo")
            process = at._process
        assert process is not None
        return await asyncio.wait_for(process.wait(), 10)

    assert asyncio.run(scene()) is not None


def test_whoever_holds_what_it_listed_is_told_when_that_changed_or_it_began_anew() -> None:
    async def scene() -> list[str]:
        told: list[str] = []
        async with talker() as at:
            at.changed.append(lambda: told.append("changed"))
            await call(at, "echo")
            assert told == ["changed"]
            await call(at, "change")
            return told

    assert asyncio.run(scene()) == ["changed", "changed"]


def test_its_tools_are_pinned_as_any_others() -> None:
    found = servers()
    try:
        assert set(asyncio.run(pinned(found, {"talker"}))) == {"talker/echo", "talker/die"}
    finally:
        found.close()


def test_what_cannot_be_started_says_so() -> None:
    found = servers_of(
        parse("kind: tools\nservers:\n  - {name: none, command: [/no/such/program]}\n", "tools.yaml"), {}
    )
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()
    with pytest.raises(Broken, match="cannot be started"):
        asyncio.run(found.servers["none"].send("POST", [], body, 0))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("{name: a}", "a `url`, or a `command`"),
        ("{name: a, url: 'https://a.example/', command: [a]}", "a `url`, or a `command`"),
        ("{name: a, command: [a], key: {env: K}}", "name it under env"),
        ("{name: a, url: 'https://a.example/', env: [{name: K, key: {env: K}}]}", "only a process has variables"),
        ("{name: a, command: [a], env: [{name: K}]}", "say where its value stands"),
        ("{name: a, command: [a], env: [{name: K, key: {env: MISSING}}]}", "MISSING is not set"),
        ("{name: a, command: [a], env: [{name: K, key: s3cret}]}", "a key is never written here"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(part: str, said: str) -> None:
    with pytest.raises(InvalidDocument) as wrong:
        servers_of(parse(f"kind: tools\nservers:\n  - {part}\n", "tools.yaml"), {"K": "k"})
    assert said in str(wrong.value)
    assert "s3cret" not in str(wrong.value)
    assert "tools.yaml:3" in str(wrong.value)


def test_behind_the_gate_it_is_like_any_other_and_who_was_killed_in_the_middle_is_unknown(
    house: House, tmp_path: Path
) -> None:
    pin = pins(TOOLS)
    yaml = (
        "kind: agents\nservers: {bank: {}}\ntools:\n"
        f"  - {{name: bank/echo, class: read, digest: {pin['echo']}}}\n"
        f"  - {{name: bank/die, class: write, sensitive: [], digest: {pin['die']}}}\n"
        "agents:\n  - {id: payer, title: Talks, tools: [bank/echo, bank/die], autonomy: act}\n"
        "  - {id: clerk, title: Listens, tools: [bank/echo], autonomy: act}\n"
    )
    command = json.dumps([sys.executable, str(TALKER)])
    text = f"kind: tools\nservers:\n  - {{name: bank, command: {command}}}\n"
    with acting(house, tmp_path / "data", 3, yaml) as agent:
        agent.begin(task="Say hello, then die.")

        async def scene() -> None:
            found = servers_of(parse(text, "tools.yaml"), {})
            try:
                bench = Bench(agent, None, Mcp(agent.door, found))  # type: ignore[arg-type]  # it has no address
                listed = await bench.ask("tools/list")
                assert [tool["name"] for tool in listed.json["result"]["tools"]] == ["echo", "die"]
                assert json.loads((await bench.call("echo", {"said": "hello"})).text)["said"] == "hello"
                assert "did not answer" in (await bench.call("die")).text
            finally:
                found.close()

        asyncio.run(scene())
        assert [e["kind"] for e in recorded(agent)][-2:] == ["act.intent", "act.unknown"]
