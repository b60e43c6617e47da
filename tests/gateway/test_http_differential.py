"""The fast mode against the safe mode: the same bytes in, the same answers out, whatever the bytes are.

Both are the real protocols of the server over one application and a door that echoes what it was given. Most of it
runs on a transport in memory; some of it on sockets, TLS among them. Where the two differ, the fast mode is stricter:

- a request's head is bounded (`MAX_HEAD`); the safe mode leaves that to whatever is in front of it;
- HTTP/2.0 and HTTP/0.9 written in the request line are not kept alive.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httptools
import pytest
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from bedplate.api import chat as module
from bedplate.api import protocol as fast_module
from bedplate.api.chat import Chat
from bedplate.api.protocol import MAX_HEAD, GatewayProtocol, SafeProtocol
from bedplate.errors import Unauthenticated
from bedplate.gateway.session import Answer
from bedplate.serve import Front

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from bedplate.gateway.dialect import Dialect

CALL = "/v1/chat/completions"
KEY = b"authorization: Bearer k\r\n"
NO_HTTP = b"Invalid HTTP request received."
MOST = 4096  # bytes of a body, here, so that what is too large is not slow


class Echo:
    """Stands in for the door: answers with what it was given, in pieces where `stream` is in the body."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.ended: Counter[str] = Counter()

    async def complete(
        self, secret: str, content: bytes, dialect: Dialect, headers: Sequence[tuple[bytes, bytes]]
    ) -> Answer:
        self.calls.append(content)
        await asyncio.sleep(0)
        if secret == "fail":
            raise RuntimeError("a defect")
        seen = {
            "dialect": dialect.name,
            "secret": secret,
            "sha256": hashlib.sha256(content).hexdigest(),
            "headers": [[k.decode("latin-1"), v.decode("latin-1")] for k, v in headers],
        }
        told = [("x-bedplate-call-id", f"call-{len(content)}")]
        if b"stream" in content:
            return Answer(200, told, events=self._pieces(seen, forever=b"forever" in content))
        return Answer(404 if b"nothing" in content else 200, told, json.dumps(seen).encode())

    async def _pieces(self, seen: dict[str, Any], *, forever: bool) -> AsyncIterator[bytes]:
        try:
            for _ in range(3):
                await asyncio.sleep(0)
                yield b"data: " + json.dumps(seen).encode() + b"\n\n"
            while forever:
                await asyncio.sleep(0.001)
                yield b": more\n\n"
            yield b""
            yield b"data: [DONE]\n\n"
            self.ended["whole"] += 1
        except (GeneratorExit, asyncio.CancelledError):
            self.ended["left"] += 1
            raise

    def models(self, secret: str) -> list[str]:
        if not secret:
            raise Unauthenticated("this key is not known here")
        return ["a-model"]


async def rest(scope: Any, receive: Any, send: Any) -> None:
    """Everything that is not under `/v1`: reads the body, and says which path was asked for."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    content = json.dumps({"path": scope["path"], "sha256": hashlib.sha256(body).hexdigest()}).encode()
    told = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": told})
    await send({"type": "http.response.body", "body": content})


def application(door: Echo) -> Front:
    at: Any = SimpleNamespace(door=door)
    return Front(Chat(at), rest, rest, rest, cast("Any", door))


def config(app: Front, http: type[asyncio.Protocol], **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=http, lifespan="off", log_config=None, access_log=False, server_header=False, ws="none", **more
    )


MODES: dict[str, type[asyncio.Protocol]] = {"fast": GatewayProtocol, "safe": SafeProtocol}


class Wire(asyncio.Transport):
    """A transport in memory: what is written is kept; what is received waits while reading is paused."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = bytearray()
        self.closing = self.lost = False
        self.waiting: list[bytes] = []
        self.paused = False

    def receive(self, data: bytes) -> None:
        self.waiting.append(data)
        self._deliver()

    def _deliver(self) -> None:
        while self.waiting and not self.paused and not self.closing:
            self.protocol.data_received(self.waiting.pop(0))

    def write(self, data: Any) -> None:
        if not self.lost and not self.closing:
            self.written += data

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self._gone, None)

    def _gone(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(error)

    def client_leaves(self) -> None:
        self.closing = True
        self._gone(None)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        asyncio.get_running_loop().call_soon(self._deliver)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        del name
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del high, low


@dataclass
class Parsed:
    """One answer as a client reads it."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    whole: bool = False

    @property
    def shape(self) -> Any:
        """Return what has to be the same: headers in any order, without what tells the time."""
        headers = sorted((k, v) for k, v in self.headers if k != "date")
        return self.status, headers, self.body, self.whole


class Reader:
    """Reads answers, with httptools."""

    def __init__(self) -> None:
        self.answers: list[Parsed] = []

    def on_message_begin(self) -> None:
        self.answers.append(Parsed())

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answers[-1].headers.append((name.decode().lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self.answers[-1].body += body

    def on_message_complete(self) -> None:
        self.answers[-1].whole = True

    def read(self, raw: bytes) -> list[Parsed]:
        """Return the answers; a HEAD's body is none, so it is cut there by hand."""
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.on_status_of = parser
        parser.feed_data(raw)
        return self.answers

    def on_headers_complete(self) -> None:
        self.answers[-1].status = self.on_status_of.get_status_code()


@dataclass
class Outcome:
    """What came of some bytes: the answers, whether the connection is open, and what the door was asked."""

    raw: bytes
    open: bool
    calls: list[bytes]
    ended: Counter[str]

    @property
    def answers(self) -> list[Parsed]:
        return Reader().read(self.raw)

    @property
    def shape(self) -> Any:
        return [answer.shape for answer in self.answers], self.open, self.calls


async def _through(mode: str, pieces: Sequence[bytes], *, settled: bool, leaves: bool) -> Outcome:
    door = Echo()
    made = config(application(door), MODES[mode])
    made.load()
    state = ServerState()
    state.default_headers = [(b"date", b"now")]
    protocol = cast("Any", MODES[mode])(made, state, {}, asyncio.get_running_loop())
    wire = Wire(protocol)
    protocol.connection_made(wire)
    for piece in pieces:
        wire.receive(piece)
        if settled:
            await settle(wire)
    await settle(wire)
    was_open = not wire.closing
    if leaves:
        wire.client_leaves()
    outcome = Outcome(bytes(wire.written), was_open, door.calls, door.ended)
    wire.client_leaves()
    protocol._unset_keepalive_if_required()
    for task in list(state.tasks):
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)
    await asyncio.sleep(0)
    return outcome


async def settle(wire: Wire) -> None:
    """Let everything happen that happens without more bytes."""
    quiet, size = 0, -1
    while quiet < 25:
        await asyncio.sleep(0)
        quiet = quiet + 1 if len(wire.written) == size else 0
        size = len(wire.written)


def through(mode: str, *pieces: bytes, settled: bool = False, leaves: bool = False) -> Outcome:
    return asyncio.run(_through(mode, pieces, settled=settled, leaves=leaves))


def both(*pieces: bytes, settled: bool = False) -> tuple[Outcome, Outcome]:
    """Return what comes of these bytes in the fast mode and in the safe one."""

    async def run() -> tuple[Outcome, Outcome]:
        fast = await _through("fast", pieces, settled=settled, leaves=False)
        return fast, await _through("safe", pieces, settled=settled, leaves=False)

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def _small_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in (module, fast_module):
        monkeypatch.setattr(part, "MAX_BODY", MOST)
        monkeypatch.setattr(part, "MAX_DRAINED", 4 * MOST)


def post(
    body: bytes = b'{"a": 1}',
    *headers: bytes,
    path: str = CALL,
    key: bytes = KEY,
    length: bool = True,
    end: str = "1.1",
) -> bytes:
    told = b"content-length: %d\r\n" % len(body) if length else b""
    lines = b"".join(header + b"\r\n" for header in headers)
    return f"POST {path} HTTP/{end}\r\nhost: h\r\n".encode() + key + told + lines + b"\r\n" + body


def chunks(*pieces: bytes, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    made = b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension, p) for p in pieces if p)
    return made + b"0\r\n" + trailer + b"\r\n"


def chunked(*pieces: bytes, headers: tuple[bytes, ...] = (), **more: bytes) -> bytes:
    return post(b"", b"transfer-encoding: chunked", *headers, length=False) + chunks(*pieces, **more)


HEALTH = b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
TE = b"transfer-encoding: chunked"
CORPUS: dict[str, bytes] = {
    "a call": post(),
    "a stream": post(b'{"stream": true}'),
    "nothing there": post(b"nothing"),
    "a defect of ours": post(key=b"authorization: Bearer fail\r\n"),
    "no key": post(key=b""),
    "a key of another kind": post(key=b"authorization: Basic k\r\n"),
    "an x-api-key": post(key=b"x-api-key: k\r\n"),
    "an empty body": post(b""),
    "no length at all": post(b"", length=False),
    "upper-case names": post().replace(b"authorization", b"AUTHORIZATION").replace(b"content-l", b"CONTENT-L"),
    "a query": post(path=f"{CALL}?a=b"),
    "a query of a query": post(path=f"{CALL}?a=b?c#d"),
    "a fragment": post(path=f"{CALL}#a"),
    "another protocol": post(path="/v1/messages"),
    "a path of nobody": post(path="/v1/nothing"),
    "traces": post(path="/v1/traces"),
    "a slash at the end": post(path=f"{CALL}/"),
    "two slashes": post(path=f"/{CALL}"),
    "dots": post(path="/v1/x/../chat/completions"),
    "percent": post(path="/v1/chat%2Fcompletions"),
    "percent of a letter": post(path="/v1/chat/completion%73"),
    "absolute": post(path=f"http://h{CALL}"),
    "absolute with a port": post(path=f"http://other:99{CALL}?x"),
    "no slash": post(path=CALL[1:]),
    "a star": post(path="*"),
    "an authority": b"CONNECT h:443 HTTP/1.1\r\nhost: h\r\n\r\n",
    "models": b"GET /v1/models HTTP/1.1\r\nhost: h\r\n" + KEY + b"\r\n",
    "models of nobody": b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n",
    "models with a body": b"GET /v1/models HTTP/1.1\r\ncontent-length: 3\r\n" + KEY + b"\r\nabc" + HEALTH,
    **{
        f"{m} of a call": b"%b %b HTTP/1.1\r\nhost: h\r\n\r\n" % (m.encode(), CALL.encode())
        for m in ("GET", "OPTIONS", "PUT")
    },
    "an unknown method": b"BREW /v1/messages HTTP/1.1\r\nhost: h\r\n\r\n",
    "HTTP/1.0": post(end="1.0"),
    "HTTP/1.0 kept": post(b"{}", b"connection: keep-alive", end="1.0") + HEALTH,
    "HTTP/1.0 a stream": post(b"stream", end="1.0"),
    "HTTP/1.9": post(end="1.9"),
    "HTTP/3.0": post(end="3.0"),
    "HTTP/1": post(end="1"),
    "close": post(b"{}", b"connection: close"),
    "close, and more": post(b"{}", b"connection: close") + post() + HEALTH,
    "close without a key, and more": post(b"{}", b"connection: close", key=b"") + post() + HEALTH,
    "close and keep": post(b"{}", b"connection: close, keep-alive") + HEALTH,
    "upgrade to a socket": post(b"{}", b"connection: upgrade", b"upgrade: websocket"),
    "upgrade to HTTP/2": post(b"{}", b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAM"),
    "upgrade not meant": post(b"{}", b"upgrade: h2c") + HEALTH,
    "HTTP/2 itself": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "expected": post(b"{}", b"expect: 100-continue"),
    "expected in capitals": post(b"{}", b"Expect: 100-CONTINUE"),
    "expected without a key": post(b"{}", b"expect: 100-continue", key=b""),
    "expected and too large": post(b"", b"expect: 100-continue", b"content-length: 99999999", length=False),
    "expected behind a stream": post(b"stream") + post(b"{}", b"expect: 100-continue"),
    "expected behind a page": HEALTH + post(b"{}", b"expect: 100-continue"),
    "expects something else": post(b"{}", b"expect: a-miracle"),
    # bodies
    "as large as allowed": post(b"x" * MOST) + HEALTH,
    "too large": post(b"x" * (MOST + 1)) + HEALTH,
    "much too large": post(b"x" * (5 * MOST)) + HEALTH,
    "much too large, and more": post(b"x" * (5 * MOST)) + post(b"2") + HEALTH,
    "much too large, in chunks": chunked(*[b"x" * 999] * 20) + HEALTH,
    "too large, in chunks": chunked(*[b"x" * 999] * 5) + HEALTH,
    "as large as allowed, in chunks": chunked(b"x" * (MOST - 1), b"x") + HEALTH,
    "too large and without a key": post(b"x" * (MOST + 1), key=b"") + HEALTH,
    "chunks": chunked(b'{"a"', b": 1}") + HEALTH,
    "chunks without a key": post(b"", TE, length=False, key=b"") + chunks(b"abc") + HEALTH,
    "no chunks": chunked() + HEALTH,
    "chunks with extensions": chunked(b"abc", extension=b';a=b;c="d"') + HEALTH,
    "chunks with a long extension": chunked(b"abc", extension=b";" + b"a" * 9000) + HEALTH,
    "chunks with a line in an extension": chunked(b"abc", extension=b";a\n") + HEALTH,
    "chunks with a trailer": chunked(b"abc", trailer=b"x-t: 1\r\ncontent-length: 99\r\n") + HEALTH,
    "a chunk's size in capitals": post(b"", TE, length=False) + b"A\r\n0123456789\r\n0\r\n\r\n" + HEALTH,
    "a chunk's size with zeros": post(b"", TE, length=False) + b"0003\r\nabc\r\n000\r\n\r\n" + HEALTH,
    "a chunk's size with 0x": post(b"", TE, length=False) + b"0x3\r\nabc\r\n0\r\n\r\n" + HEALTH,
    "a chunk's size with a plus": post(b"", TE, length=False) + b"+3\r\nabc\r\n0\r\n\r\n" + HEALTH,
    "a chunk's size with a minus": post(b"", TE, length=False) + b"-3\r\nabc\r\n0\r\n\r\n" + HEALTH,
    "a chunk's size with a blank": post(b"", TE, length=False) + b"3 \r\nabc\r\n0\r\n\r\n" + HEALTH,
    "a chunk's size before a blank": post(b"", TE, length=False) + b" 3\r\nabc\r\n0\r\n\r\n" + HEALTH,
    "no chunk's size": post(b"", TE, length=False) + b"\r\nabc\r\n0\r\n\r\n" + HEALTH,
    "a huge chunk's size": post(b"", TE, length=False) + b"f" * 16 + b"\r\nabc\r\n0\r\n\r\n" + HEALTH,
    "too huge a chunk's size": post(b"", TE, length=False) + b"1" + b"0" * 16 + b"\r\nabc\r\n0\r\n\r\n" + HEALTH,
    "a chunk too long": post(b"", TE, length=False) + b"3\r\nabcd\r\n0\r\n\r\n" + HEALTH,
    "a chunk too short": post(b"", TE, length=False) + b"5\r\nabc\r\n0\r\n\r\n" + HEALTH,
    "chunks with bare LF": post(b"", TE, length=False) + b"3\nabc\n0\n\n" + HEALTH,
    "chunks with CR": post(b"", TE, length=False) + b"3\rabc\r0\r\r" + HEALTH,
    # smuggling
    "CL.TE": post(b"0\r\n\r\n" + SMUGGLED, TE),
    "TE.CL": post(b"", b"content-length: 4", TE, length=False) + b"5c\r\n" + SMUGGLED + b"\r\n0\r\n\r\n",
    "TE before CL": post(b"", TE, b"content-length: 3", length=False) + chunks(b"abc") + SMUGGLED,
    "TE.TE": post(b"", TE, b"transfer-encoding: identity", length=False) + chunks(b"abc") + SMUGGLED,
    "TE twice": post(b"", TE, TE, length=False) + chunks(b"abc") + SMUGGLED,
    "TE x": post(b"", b"transfer-encoding: x", length=False) + chunks(b"abc") + SMUGGLED,
    "TE x, chunked": post(b"", b"transfer-encoding: x, chunked", length=False) + chunks(b"abc") + SMUGGLED,
    "TE chunked, x": post(b"", b"transfer-encoding: chunked, x", length=False) + chunks(b"abc") + SMUGGLED,
    "TE gzip": post(b"abc", b"transfer-encoding: gzip") + SMUGGLED,
    "TE xchunked": post(b"abc", b"transfer-encoding: xchunked") + SMUGGLED,
    "TE with a tab": post(b"", b"transfer-encoding:\tchunked", length=False) + chunks(b"abc") + SMUGGLED,
    "TE with a vertical tab": post(b"abc", b"transfer-encoding: \x0bchunked") + SMUGGLED,
    "TE in quotes": post(b"abc", b'transfer-encoding: "chunked"') + SMUGGLED,
    "TE in capitals": post(b"", b"Transfer-Encoding: CHUNKED", length=False) + chunks(b"abc") + SMUGGLED,
    "TE of HTTP/1.0": post(b"", TE, length=False, end="1.0") + chunks(b"abc") + SMUGGLED,
    "TE before a blank": post(b"abc", b"transfer-encoding : chunked") + SMUGGLED,
    "TE folded": post(b"", b"transfer-encoding:\r\n chunked", length=False) + chunks(b"abc") + SMUGGLED,
    "two lengths, the same": post(b"abc", b"content-length: 3") + SMUGGLED,
    "two lengths": post(b"abc", b"content-length: 30") + SMUGGLED,
    "two lengths in one": post(b"abc", b"content-length: 3, 3", length=False) + SMUGGLED,
    "a length with a plus": post(b"abc", b"content-length: +3", length=False) + SMUGGLED,
    "a length with a minus": post(b"abc", b"content-length: -3", length=False) + SMUGGLED,
    "a length in hex": post(b"abc", b"content-length: 0x3", length=False) + SMUGGLED,
    "a length with a blank": post(b"abc", b"content-length: 3 ", length=False) + SMUGGLED,
    "a length with a blank within": post(b"abc", b"content-length: 1 3", length=False) + SMUGGLED,
    "a length of nothing": post(b"abc", b"content-length:", length=False) + SMUGGLED,
    "a length with a letter": post(b"abc", b"content-length: 3a", length=False) + SMUGGLED,
    "a length of zeros": post(b"abc", b"content-length: 0003", length=False) + SMUGGLED,
    "a huge length": post(b"abc", b"content-length: 18446744073709551615", length=False) + SMUGGLED,
    "too huge a length": post(b"abc", b"content-length: 18446744073709551617", length=False) + SMUGGLED,
    "a length of other digits": post(b"abc", "content-length: ٣".encode(), length=False) + SMUGGLED,
    "folded": post(b"{}", b"x-a: 1\r\n more", b"x-b: 2") + HEALTH,
    "folded with a tab": post(b"{}", b"x-a: 1\r\n\tcontent-length: 99") + HEALTH,
    "bare LF": post().replace(b"\r\n", b"\n") + HEALTH,
    "bare LF in the end": post(b"{}").replace(b"\r\n\r\n", b"\n\n") + HEALTH,
    "bare CR": post(b"{}", b"x-a: 1\rx-b: 2") + HEALTH,
    "CR CR LF": post(b"{}").replace(b"\r\n\r\n", b"\r\r\n\r\n") + HEALTH,
    "a NUL in a value": post(b"{}", b"x-a: 1\x002") + HEALTH,
    "a NUL in a name": post(b"{}", b"x\x00a: 1") + HEALTH,
    "a blank in a name": post(b"{}", b"x a: 1") + HEALTH,
    "a line without a colon": post(b"{}", b"x-a") + HEALTH,
    "a name of nothing": post(b"{}", b": 1") + HEALTH,
    "letters beyond ASCII": post(b"{}", "x-ü: ü漢".encode()) + HEALTH,
    "no host": post(b"{}").replace(b"host: h\r\n", b"") + HEALTH,
    "two hosts": post(b"{}", b"host: other") + HEALTH,
    "two keys": post(b"{}", b"authorization: Bearer other", b"x-api-key: third") + HEALTH,
    "a blank before the first line": b" " + post() + HEALTH,
    "an empty line before": b"\r\n\r\n" + post() + b"\r\n\r\n" + HEALTH,
    "a first line with blanks": post().replace(b"POST ", b"POST  ", 1) + HEALTH,
    "a first line with a tab": post().replace(b" HTTP", b"\tHTTP", 1) + HEALTH,
    "a NUL in the target": post(path=f"{CALL}\x00") + HEALTH,
    "a blank in the target": post(path=f"{CALL} x") + HEALTH,
    "garbage behind": post() + b"garbage",
    "garbage behind a stream": post(b"stream") + b"\x00\x01",
    # pipelines
    "two calls": post(b"1") + post(b"2"),
    "five calls": b"".join(post(b"%d" % n) for n in range(5)),
    "a page and a call": HEALTH + post(b"1"),
    "a call and a page": post(b"1") + HEALTH,
    "mixed": HEALTH + post(b"stream") + HEALTH + chunked(b"1") + post(b"", key=b"") + HEALTH,
    "a call that fails and others": post(b"1") + post(b"", key=b"authorization: Bearer fail\r\n") + post(b"2"),
    "too large and others": post(b"1") + post(b"x" * (MOST + 1)) + post(b"2"),
    "large ones": post(b"x" * 3000) + post(b"y" * 3000) + post(b"stream" + b"z" * 3000) + HEALTH,
}


@pytest.mark.parametrize("pace", ["at once", "cut in two", "byte by byte"])
@pytest.mark.parametrize("raw", CORPUS.values(), ids=CORPUS)
def test_what_is_odd_is_answered_alike(raw: bytes, pace: str) -> None:
    pieces = {"at once": [raw], "cut in two": [raw[: len(raw) // 2], raw[len(raw) // 2 :]]}.get(pace)
    if pieces is None:
        pieces = [raw[at : at + 1] for at in range(min(len(raw), 700))] + [raw[700:]]

    fast, safe = both(*pieces, settled=pace == "cut in two")

    assert fast.shape == safe.shape


def test_no_body_smuggles_a_request() -> None:
    for name, raw in CORPUS.items():
        if SMUGGLED in raw:
            for mode in MODES:
                answers = through(mode, raw).answers
                statuses = [answer.status for answer in answers]
                # Either the framing is refused and nothing after it is read, or what follows was meant to follow.
                if statuses.count(200) == 2:
                    assert raw.endswith(SMUGGLED), name
                    assert not raw.partition(b"\r\n\r\n")[0].count(b"-encoding") > 1, name
                else:
                    assert b"/smuggled" not in b"".join(answer.body for answer in answers), name


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("path", [CALL, "/v1/models", "/healthz", "/v1/none"])
def test_a_head_is_answered_as_a_get_without_its_body(method: str, path: str) -> None:
    outcomes = both(f"{method} {path} HTTP/1.1\r\nhost: h\r\nx-api-key: k\r\n\r\n".encode())

    assert outcomes[0].raw.replace(b"date: now\r\n", b"") == outcomes[1].raw.replace(b"date: now\r\n", b"")
    assert (outcomes[0].raw.partition(b"\r\n\r\n")[2] == b"") == (method == "HEAD")


def test_the_fast_mode_answers_as_the_corpus_expects() -> None:
    """A differential test says nothing where both are wrong the same way: some answers by hand."""
    expected = {
        "a call": [200],
        "a stream": [200],
        "no key": [401],
        "a defect of ours": [500],
        "a path of nobody": [404],
        "GET of a call": [405],
        "expected": [100, 200],
        "expected without a key": [401],
        "expected and too large": [413],
        "too large": [413],
        "much too large": [413],
        "CL.TE": [400],
        "TE.CL": [400],
        "two lengths": [400],
        "a length with a minus": [400],
        "too huge a chunk's size": [400],
        "bare LF": [400],
        "close, and more": [200],
        "close without a key, and more": [401],
        "mixed": [200, 200, 200, 200, 401, 200],
        "five calls": [200] * 5,
        "HTTP/1.0": [200],
    }
    for name, statuses in expected.items():
        outcome = through("fast", CORPUS[name])
        if name == "a defect of ours":
            assert [a.status for a in outcome.answers] == statuses
            continue
        assert [a.status for a in outcome.answers] == statuses, name
        assert all(a.whole for a in outcome.answers), name


HEADERS = st.lists(
    st.sampled_from(
        [
            b"x-a: 1",
            b"content-length: 3",
            b"content-length: 0",
            b"transfer-encoding: chunked",
            b"Transfer-Encoding: x",
            b"connection: close",
            b"connection: keep-alive",
            b"expect: 100-continue",
            b"upgrade: h2c",
            b"connection: upgrade",
            b"x-b: 1\r\n folded",
            b"accept: */*",
            b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ]
    ),
    max_size=3,
)
BODIES = st.sampled_from([b"", b"{}", b"stream", b"nothing", b"abc" * 99, b"x" * MOST, b"x" * (MOST + 1)]) | st.binary(
    max_size=40
)
PATHS = st.sampled_from([CALL, "/v1/messages", "/healthz", "/v1/models", "/v1/x", f"{CALL}?a", f"http://h{CALL}"])
REQUESTS = st.builds(
    lambda method, path, headers, body, key, framed, version: b"".join(
        [
            f"{method} {path} HTTP/{version}\r\nhost: h\r\n".encode(),
            key,
            b"".join(h + b"\r\n" for h in headers),
            {
                "length": b"content-length: %d\r\n\r\n%b" % (len(body), body),
                "chunks": TE + b"\r\n\r\n" + chunks(body),
                "none": b"\r\n",
            }[framed],
        ]
    ),
    st.sampled_from(["POST"] * 5 + ["GET", "OPTIONS", "PUT"]),
    PATHS,
    HEADERS,
    BODIES,
    st.sampled_from([KEY] * 4 + [b"", b"x-api-key: k\r\n"]),
    st.sampled_from(["length", "length", "chunks", "none"]),
    st.sampled_from(["1.1"] * 6 + ["1.0"]),
)
MANY = settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def cuts(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    at = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    return [raw[a:b] for a, b in pairwise([0, *at, len(raw)]) if a < b]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[bytes], bool]:
    """Draw one to five requests behind each other, perhaps with a byte changed or the end missing, cut anywhere."""
    raw = b"".join(draw(st.lists(REQUESTS, min_size=1, max_size=5)))
    if draw(st.booleans()):
        place = draw(st.integers(0, len(raw) - 1))
        raw = (
            raw[:place]
            + draw(st.sampled_from([b"", b"\n", b"\r", b"\x00", b" ", b":", b"0", b"\xff"]))
            + raw[place + 1 :]
        )
    if draw(st.booleans()):
        raw = raw[: draw(st.integers(1, len(raw)))]
    return cuts(draw, raw), draw(st.booleans())


@MANY
@given(conversations())
@example(([post(b"stream") + post(b"{}", b"expect: 100-continue")], False))
def test_any_conversation_is_answered_alike(conversation: tuple[list[bytes], bool]) -> None:
    pieces, settled = conversation

    alike(*both(*pieces, settled=settled))


@MANY
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_answered_alike(raw: bytes, behind: bool) -> None:  # noqa: FBT001  drawn
    alike(*both(*([post(b"{}")] if behind else []), raw))


def alike(fast: Outcome, safe: Outcome) -> None:
    """Assert that both answer alike.

    What is no HTTP is refused as soon as it is seen, by uvicorn, and the connection closed. What was asked before it
    may be answered by then or not.
    """
    if not (refused(fast) or refused(safe)):
        assert fast.shape == safe.shape
        return
    assert not fast.open
    assert not safe.open
    earlier = [[a.shape for a in outcome.answers if a.body != NO_HTTP] for outcome in (fast, safe)]
    assert all(one == other for one, other in zip(*earlier, strict=False))
    assert all(one == other for one, other in zip(fast.calls, safe.calls, strict=False))


def refused(outcome: Outcome) -> bool:
    return bool(outcome.answers) and outcome.answers[-1].body == NO_HTTP


# What only one of them does


@pytest.mark.parametrize("size", [MAX_HEAD - 200, MAX_HEAD + 1, 10 * MAX_HEAD])
@pytest.mark.parametrize("where", ["a header", "many headers", "the target"])
def test_a_head_that_is_too_large_is_refused_in_the_fast_mode(size: int, where: str) -> None:
    if where == "the target":
        raw = post(path=f"{CALL}?{'a' * size}")
    else:
        raw = post(b"{}", *([b"x: " + b"y" * size] if where == "a header" else [b"x: " + b"y" * 96] * (size // 97 + 1)))
    pieces = [raw[at : at + 4096] for at in range(0, len(raw), 4096)]

    fast, safe = both(*pieces)

    assert where == "the target" or safe.answers[0].status == 200  # httptools bounds targets by itself
    if size < MAX_HEAD:
        assert fast.shape == safe.shape
    else:
        assert ([a.status for a in fast.answers], fast.open, fast.calls) == ([400], False, [])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pace", ["at once", "cut in two", "settled"])
@pytest.mark.parametrize("key", [KEY, b"x-api-key: k\r\n"])
def test_a_key_behind_the_body_is_none(key: bytes, pace: str, mode: str) -> None:
    head, behind = post(b"", TE, length=False, key=b""), chunks(b"a", trailer=key) + HEALTH
    pieces = [head + behind] if pace == "at once" else [head, behind]

    outcome = through(mode, *pieces, settled=pace == "settled")

    assert [a.status for a in outcome.answers] == [401, 200]
    assert outcome.calls == []


@pytest.mark.parametrize("mode", MODES)
def test_what_trails_a_body_is_not_shown_to_the_door(mode: str) -> None:
    outcome = through(mode, chunked(b"a", trailer=b"traceparent: 00-1-2-3\r\nexpect: 100-continue\r\n"))

    assert [a.status for a in outcome.answers] == [200]
    assert b"traceparent" not in outcome.answers[0].body


def test_another_major_version_is_not_kept_alive() -> None:
    for version in ("2.0", "0.9"):
        fast, safe = both(post(b"{}", end=version))
        assert [a.status for a in fast.answers] == [a.status for a in safe.answers]
        assert not fast.open


# Clients that leave


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("behind", [b"", HEALTH, post(b"1"), post(b"stream forever")])
def test_a_client_that_leaves_stops_what_is_answered_and_nothing_behind_it_is_begun(mode: str, behind: bytes) -> None:
    if mode == "safe" and behind:
        pytest.skip("uvicorn tells only the last request of a connection that its client left")

    async def run() -> tuple[Outcome, Echo]:
        door = Echo()
        made = config(application(door), MODES[mode])
        made.load()
        state = ServerState()
        protocol = cast("Any", MODES[mode])(made, state, {}, asyncio.get_running_loop())
        wire = Wire(protocol)
        protocol.connection_made(wire)
        wire.receive(post(b"stream forever") + behind)
        while b"more" not in wire.written:  # noqa: ASYNC110  a test may look
            await asyncio.sleep(0.001)
        wire.client_leaves()
        for _ in range(50):
            await asyncio.sleep(0)
        assert not state.tasks
        return Outcome(bytes(wire.written), open=False, calls=door.calls, ended=door.ended), door

    outcome, door = asyncio.run(run())
    assert outcome.ended == {"left": 1}
    assert door.calls == [b"stream forever"]


@pytest.mark.parametrize("mode", MODES)
def test_nothing_of_one_answer_stands_in_another(mode: str) -> None:
    raw = post(b"stream") + post(b"{}", b"expect: 100-continue") + post(b"stream") + HEALTH

    answers = through(mode, raw).answers

    assert [a.status for a in answers] == [200, 100, 200, 200, 200]
    assert all(a.whole for a in answers)
    assert b"HTTP/1.1" not in b"".join(a.body for a in answers)


@pytest.mark.parametrize("mode", MODES)
def test_a_body_in_as_many_pieces_as_bytes_takes_no_more_room_than_its_bytes(mode: str) -> None:
    import tracemalloc  # noqa: PLC0415  it slows everything down

    async def run() -> int:
        door = Echo()
        made = config(application(door), MODES[mode])
        made.load()
        protocol = cast("Any", MODES[mode])(made, ServerState(), {}, asyncio.get_running_loop())
        wire = Wire(protocol)
        protocol.connection_made(wire)
        wire.receive(post(b"", TE, length=False))
        tracemalloc.start()
        for _ in range(MOST // 2 - 1):
            wire.receive(b"2\r\nab\r\n")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        wire.client_leaves()
        for _ in range(20):
            await asyncio.sleep(0)
        return most

    assert asyncio.run(run()) < 8 * MOST


# On sockets


@contextmanager
def serving(mode: str, **more: Any) -> Iterator[tuple[int, Echo]]:
    """Run a server in a thread; yields its port."""
    door = Echo()
    server = uvicorn.Server(config(application(door), MODES[mode], timeout_graceful_shutdown=1, **more))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1], door
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def exchange(port: int, pieces: Sequence[bytes], *, shut: bool = False, until: int = 1) -> bytes:
    """Send pieces, each in a segment of its own, and read so many answers or to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        if shut:
            client.shutdown(socket.SHUT_WR)
        got = b""
        while until > sum(a.whole for a in Reader().read(got)) if got else True:
            try:
                piece = client.recv(1 << 16)
            except ConnectionResetError:
                break
            if not piece:
                break
            got += piece
        return got


SOCKETS: dict[str, tuple[list[bytes], int]] = {
    "a call": ([post()], 1),
    "a slow body": ([post()[at : at + 1] for at in range(len(post()))], 1),
    "slow chunks": ([chunked(b"abc", b"def")[at : at + 1] for at in range(len(chunked(b"abc", b"def")))], 1),
    "a pipeline": ([CORPUS["mixed"]], 6),
    "a pipeline of large ones": ([CORPUS["large ones"]], 4),
    "smuggling": ([CORPUS["CL.TE"]], 9),
    "a close": ([CORPUS["close, and more"]], 9),
    "too large": ([CORPUS["much too large"]], 9),
    "no HTTP": ([CORPUS["TLS"]], 9),
    "HTTP/1.0": ([CORPUS["HTTP/1.0"]], 9),
}


def test_on_sockets_they_agree_as_well() -> None:
    got: dict[str, dict[str, Any]] = {}
    for mode in MODES:
        with serving(mode) as (port, _):
            got[mode] = {
                name: [a.shape for a in Reader().read(exchange(port, pieces, until=until))]
                for name, (pieces, until) in SOCKETS.items()
            }
    assert got["fast"] == got["safe"]
    assert [shape[0] for shape in got["fast"]["a pipeline"]] == [200, 200, 200, 200, 401, 200]


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_will_send_no_more_has_left(mode: str) -> None:
    with serving(mode) as (port, door):
        assert exchange(port, [post(b"stream forever")], shut=True, until=9).count(b"[DONE]") == 0
        for _ in range(200):
            if door.ended["left"]:
                break
            threading.Event().wait(0.01)
        assert door.ended == {"left": 1}


def test_a_client_that_does_not_read_makes_the_answer_wait() -> None:
    with serving("fast") as (port, door), socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(post(b"stream forever") + post(b"1") * 20)
        threading.Event().wait(0.2)
        assert len(door.calls) == 1
        client.close()
        for _ in range(300):
            if door.ended["left"]:
                break
            threading.Event().wait(0.01)
        assert door.ended == {"left": 1}
