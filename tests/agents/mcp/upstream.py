"""An MCP server on a socket that does as it is told: answers, hangs, dies, lies, floods."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Self

TOOLS: list[dict[str, Any]] = [
    {
        "name": "pay",
        "description": "Pay an amount.",
        "inputSchema": {"type": "object", "properties": {"payee": {"type": "string"}, "amount": {"type": "number"}}},
    },
    {"name": "inbox", "description": "Read what came in.", "inputSchema": {"type": "object"}},
    {"name": "wipe", "description": "Delete everything.", "inputSchema": {"type": "object"}},
]


@dataclass
class Upstream:
    """What it got, and how it behaves from now on: see `_call`."""

    behaves: str = "well"
    tools: list[dict[str, Any]] = field(default_factory=lambda: [dict(tool) for tool in TOOLS])
    text: str = "done"
    got: list[dict[str, Any]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    session: str = ""
    port: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The calls of tools that reached it."""
        return [m for m in self.got if m.get("method") == "tools/call"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # whoever asked left, or the test is over
        finally:
            self.gone.set()
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        head = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:] if line)}
        self.heads.append(head)
        body = await reader.readexactly(int(head.get("content-length", 0)))
        message = json.loads(body) if body else {}
        self.got.append(message)
        match message.get("method"):
            case "tools/call":
                return await self._call(message, writer)
            case "tools/list":
                self._json(writer, message, {"tools": self.tools})
            case "resources/list":
                self._json(writer, message, {"resources": [{"uri": "doc://open"}, {"uri": "doc://secret"}]})
            case "prompts/list":
                self._json(writer, message, {"prompts": [{"name": "greet"}, {"name": "admin"}]})
            case "initialize":
                self._json(writer, message, {"protocolVersion": "2025-11-25", "capabilities": {}})
            case None:
                self._send(writer, b"", "202 Accepted")
            case _:
                self._json(writer, message, {})
        return True

    async def _call(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        result = {"content": [{"type": "text", "text": self.text}], "isError": False}
        match self.behaves:
            case "hangs":
                await asyncio.sleep(30)
            case "dies":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{")
                await writer.drain()
                return False
            case "garbage":
                self._send(writer, b'{"jsonrpc": "2.0", "id": 1, "resu')
            case "wrong id":
                self._json(writer, {**message, "id": "another"}, result)
            case "floods":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 60000000\r\n\r\n")
                for _ in range(60):
                    writer.write(b"x" * 1_000_000)
                    await writer.drain()
            case "refuses":
                self._json(writer, message, {"content": [{"type": "text", "text": "no money"}], "isError": True})
            case "streams" | "asks" | "wants":
                self._more(message, writer, result)
            case "ends early":
                self._send(writer, b": nothing\n\n", kind="text/event-stream")
            case _:
                self._json(writer, message, result)
        await writer.drain()
        return True

    def _more(self, message: dict[str, Any], writer: asyncio.StreamWriter, result: dict[str, Any]) -> None:
        """Say more than the answer, or ask something of the client: on the way to the answer, or in its place."""
        if self.behaves == "wants":
            wanted = {"who": {"method": "elicitation/create", "params": {"message": "your password?"}}}
            self._json(writer, message, {"resultType": "input_required", "inputRequests": wanted})
            return
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        if self.behaves == "streams":
            note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
            lie = {"jsonrpc": "2.0", "id": "another", "result": {"content": []}}
            self._events(writer, note, lie, answer)
            return
        params = {"messages": [], "maxTokens": 9}
        ask = {"jsonrpc": "2.0", "id": "own-1", "method": "sampling/createMessage", "params": params}
        self._events(writer, ask, answer)

    def _events(self, writer: asyncio.StreamWriter, *events: dict[str, Any]) -> None:
        data = b"".join(b"event: message\ndata: " + json.dumps(e).encode() + b"\n\n" for e in events)
        self._send(writer, data, kind="text/event-stream")

    def _json(self, writer: asyncio.StreamWriter, message: dict[str, Any], result: dict[str, Any]) -> None:
        self._send(writer, json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode())

    def _send(
        self, writer: asyncio.StreamWriter, body: bytes, status: str = "200 OK", kind: str = "application/json"
    ) -> None:
        session = f"mcp-session-id: {self.session}\r\n" if self.session else ""
        head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{session}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
