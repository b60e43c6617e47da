"""The upstream that everything is measured against: OpenAI-shaped, at once, and as cheap as Python can.

`upstream.py PORT` serves it. A body that asks for a stream gets fifty events, each written by itself; one that also
holds `PACED` gets them 20 ms apart. `GET` tells how many calls and events went out so far.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, cast

import httptools

PACED = b"[every 20 ms]"
PACE_S = 0.02
EVENTS = 50
SAID = "Twenty-six days, and the bank holidays besides. A part of it may be carried over until the end of March."
MODEL = "gpt-4o-mini"
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 480, "completion_tokens": 24, "total_tokens": 504},
}


def _whole(body: Any) -> bytes:  # noqa: ANN401  JSON
    content = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(content),
        content,
    )


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def _event(choices: list[dict[str, Any]], **more: object) -> bytes:
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": choices}
    return _chunk(b"data: %b\n\n" % json.dumps({**body, **more}).encode())


def _said(text: str, finish: str | None = None) -> bytes:
    return _event([{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}])


WHOLE = _whole(ANSWER)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORDS = SAID.split()
SPOKEN = [_said(WORDS[n % len(WORDS)] + " ") for n in range(EVENTS)]
STOP = _said("", "stop")
USAGE = _event([], usage=ANSWER["usage"])  # only to those who ask for it, as OpenAI does
DONE = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection."""

    calls = 0  # over all connections
    events = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._parts: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Answer."""
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        write = self._transport.write
        if self._parser.get_method() == b"GET":
            write(_whole({"calls": Upstream.calls, "events": Upstream.events}))
            return
        Upstream.calls += 1
        if b'"stream":true' not in body and b'"stream": true' not in body:
            write(WHOLE)
            return
        write(HEAD)
        end = USAGE + DONE if b'"include_usage"' in body else DONE
        if PACED in body:
            self._next(0, end)
            return
        Upstream.events += EVENTS
        for event in SPOKEN:
            write(event)
        write(STOP + end)

    def _next(self, number: int, end: bytes) -> None:
        if self._transport.is_closing():
            return
        if number == EVENTS:
            self._transport.write(STOP + end)
            return
        Upstream.events += 1
        self._transport.write(SPOKEN[number])
        asyncio.get_running_loop().call_later(PACE_S, self._next, number + 1, end)


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    with suppress(ImportError):  # a faster loop, where there is one: the upstream is not what is measured
        import_module("uvloop").install()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(int(sys.argv[1])))
