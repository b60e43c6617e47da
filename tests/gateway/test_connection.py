"""The keep-alive client against a server on raw sockets: what it keeps, what it gives up, and what it never leaks."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import socket
import ssl
import struct
import zlib
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bedplate.gateway import connection as connection_module
from bedplate.gateway import pool as pool_module
from bedplate.gateway.connection import HIGH_WATER, MAX_HEAD
from bedplate.gateway.pool import Pool, head_of
from bedplate.gateway.response import MAX_ANSWER, Broken, Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    Behaviour = Callable[["Peer", bytes], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\n"
SHORT = OK + b"content-length: 2\r\n\r\nhi"
MIB = 1 << 20


@dataclass
class Peer:
    """One connection as the server sees it."""

    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    def reset(self) -> None:
        """End the connection with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Raw:
    """A server that reads requests and does with each what `behave` says."""

    behave: Behaviour
    port: int = 0
    peers: list[Peer] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)

    async def arrived(self, requests: int) -> None:
        """Wait until so many requests are here."""
        while len(self.seen) < requests:  # noqa: ASYNC110  a test may look
            await asyncio.sleep(0.005)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(len(self.peers), reader, writer)
        self.peers.append(peer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                body = await reader.readexactly(length)
                self.seen.append(body)
                peer.requests += 1
                await self.behave(peer, body)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            peer.gone.set()
            writer.close()


@asynccontextmanager
async def running(behave: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Raw]:
    raw = Raw(behave)
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=tls)
    raw.port = server.sockets[0].getsockname()[1]
    try:
        yield raw
    finally:
        server.close()
        for peer in raw.peers:
            peer.writer.transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)


def sends(*pieces: bytes) -> Behaviour:
    async def behave(peer: Peer, _body: bytes) -> None:
        await peer.send(*pieces)

    return behave


def ends(*pieces: bytes) -> Behaviour:
    """Send this, then close."""

    async def behave(peer: Peer, _body: bytes) -> None:
        await peer.send(*pieces)
        peer.writer.close()

    return behave


async def hangs(_peer: Peer, _body: bytes) -> None:
    await asyncio.Event().wait()


def pool(raw: Raw, **times: float) -> Pool:
    times = {"connect": 5.0, "first": 10.0, "idle": 10.0, "total": 3600.0, **times}
    return Pool(
        "127.0.0.1",
        raw.port,
        None,
        connect=times["connect"],
        first=times["first"],
        idle=times["idle"],
        total=times["total"],
    )


async def post(to: Pool, body: bytes = b"?", *, whole: bool = False) -> Response:
    head = head_of("POST", "/x", "h", [])
    return await to.send(b"%bcontent-length: %d\r\n\r\n" % (head, len(body)), body, whole=whole)


async def said(to: Pool, body: bytes = b"?", *, whole: bool = True) -> bytes:
    response = await post(to, body, whole=whole)
    if whole:
        return await response.read()
    return b"".join([part async for part in response])


def chunked(*pieces: bytes, trailer: bytes = b"") -> bytes:
    made = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces)
    return OK + b"transfer-encoding: chunked\r\n\r\n" + made + b"0\r\n" + trailer + b"\r\n"


ANSWERS = {
    "a length": (SHORT, b"hi", True),
    "no body": (OK + b"content-length: 0\r\n\r\n", b"", True),
    "chunks": (chunked(b"h", b"i"), b"hi", True),
    "chunks with an extension and a trailer": (
        OK + b"transfer-encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\nx: y\r\n\r\n",
        b"hi",
        True,
    ),
    "gzip": (OK + b"content-encoding: gzip\r\n" + b"content-length: %d\r\n\r\n%b", b"hi" * 999, True),
    "deflate": (OK + b"content-encoding: deflate\r\n" + b"content-length: %d\r\n\r\n%b", b"hi" * 999, True),
    "identity": (OK + b"content-encoding: identity\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
    "close": (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi", b"hi", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi", False),
    "HTTP/1.0 kept": (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi", b"hi", True),
    "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n" + SHORT, b"hi", True),
    "after 103 twice": (
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\ncontent-length: 9\r\n\r\n" * 2 + SHORT,
        b"hi",
        True,
    ),
}
PACKED: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("bytewise", [False, True])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_however_it_is_framed_and_cut(name: str, *, bytewise: bool, whole: bool) -> None:
    answer, expected, kept = ANSWERS[name]
    if name in PACKED:
        packed = PACKED[name](expected)
        answer %= (len(packed), packed)

    async def run() -> None:
        pieces = [answer[at : at + 1] for at in range(len(answer))] if bytewise else [answer]
        async with running(sends(*pieces)) as raw:
            to = pool(raw)
            for _ in range(3):
                assert await said(to, whole=whole) == expected
            assert len(raw.peers) == (1 if kept else 3)
            to.close()

    asyncio.run(run())


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_without_a_length_ends_with_its_connection(*, whole: bool) -> None:
    async def run() -> None:
        async with running(ends(OK + b"\r\n", b"hi", b" there")) as raw:
            to = pool(raw)
            assert [await said(to, whole=whole) for _ in range(2)] == [b"hi there"] * 2
            assert len(raw.peers) == 2

    asyncio.run(run())


def test_the_headers_are_those_of_the_answer_and_not_of_what_came_before() -> None:
    async def run() -> None:
        early = b"HTTP/1.1 103 Early Hints\r\nx-early: yes\r\n\r\n"
        async with running(sends(early + OK + b"X-Late: Yes\r\ncontent-length: 0\r\n\r\n")) as raw:
            response = await post(pool(raw))
            assert dict(response.headers) == {"x-late": "Yes", "content-length": "0"}
            response.close()

    asyncio.run(run())


def test_calls_one_after_the_other_share_a_connection_and_calls_at_once_do_not() -> None:
    async def run() -> None:
        async with running(sends(SHORT)) as raw:
            to = pool(raw)
            for _ in range(10):
                await said(to)
            assert len(raw.peers) == 1
            await asyncio.gather(*(said(to) for _ in range(8)))
            assert 1 < len(raw.peers) <= 8
            before = len(raw.peers)
            await asyncio.gather(*(said(to) for _ in range(before)))
            assert len(raw.peers) == before

    asyncio.run(run())


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_kept_connection_that_was_closed_meanwhile_is_replaced_unnoticed(how: str) -> None:
    async def behave(peer: Peer, _body: bytes) -> None:
        if peer.number == 0 and peer.requests == 2:  # it took the request, and closes without a word
            peer.reset() if how == "rst" else peer.writer.close()
            return
        await peer.send(SHORT)

    async def run() -> None:
        async with running(behave) as raw:
            to = pool(raw)
            assert [await said(to, b"one"), await said(to, b"two")] == [b"hi", b"hi"]
            assert raw.seen == [b"one", b"two", b"two"]
            assert [peer.requests for peer in raw.peers] == [2, 1]

    asyncio.run(run())


def test_a_request_is_sent_a_second_time_once_and_not_again() -> None:
    async def behave(peer: Peer, _body: bytes) -> None:
        if peer.number == 0 and peer.requests == 1:
            await peer.send(SHORT)
        else:
            peer.writer.close()

    async def run() -> None:
        async with running(behave) as raw:
            to = pool(raw)
            await said(to, b"one")
            with pytest.raises(Broken) as told:
                await said(to, b"two")
            assert (told.value.kind, told.value.before) == ("cut", True)
            assert raw.seen == [b"one", b"two", b"two"]

    asyncio.run(run())


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\n", OK + b"content-length: 9\r\n\r\nhi"])
def test_a_kept_connection_that_ends_after_a_byte_of_the_answer_is_not_tried_again(first: bytes) -> None:
    async def behave(peer: Peer, _body: bytes) -> None:
        if peer.requests == 1:
            await peer.send(SHORT)
        else:
            await peer.send(first)
            peer.writer.close()

    async def run() -> None:
        async with running(behave) as raw:
            to = pool(raw)
            await said(to, b"one")
            with pytest.raises(Broken) as told:
                await said(to, b"two")
            assert (told.value.kind, told.value.before) == ("cut", False)
            assert raw.seen == [b"one", b"two"]

    asyncio.run(run())


@pytest.mark.parametrize("extra", [SHORT, b"x", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"])
@pytest.mark.parametrize("later", [False, True])
def test_bytes_that_nobody_asked_for_are_not_the_answer_to_the_next_call(extra: bytes, *, later: bool) -> None:
    async def behave(peer: Peer, body: bytes) -> None:
        answer = OK + b"content-length: %d\r\n\r\n%b" % (len(body), body)
        await (peer.send(answer + extra) if not later else peer.send(answer, extra))

    async def run() -> None:
        async with running(behave) as raw:
            to = pool(raw)
            for number in range(5):
                assert await said(to, b"call %d" % number) == b"call %d" % number
                await asyncio.sleep(0.01)
            assert len(raw.peers) == 5
            assert all(peer.requests == 1 for peer in raw.peers)

    asyncio.run(run())


def test_bytes_behind_an_answer_do_not_take_away_what_of_it_is_not_read_yet() -> None:
    go = asyncio.Event()

    async def behave(peer: Peer, _body: bytes) -> None:
        await peer.send(SHORT)
        await go.wait()
        await peer.send(b"behind")

    async def run() -> None:
        async with running(behave) as raw:
            response = await post(pool(raw))
            go.set()
            await raw.peers[0].gone.wait()
            assert await response.read() == b"hi"

    asyncio.run(run())


PACK = gzip.compress(b"hi" * 99)
FAULTS: dict[str, tuple[Behaviour, str, bool]] = {
    "closed at once": (ends(), "cut", True),
    "closed in the head": (ends(b"HTTP/1.1 200"), "cut", False),
    "closed in the body": (ends(OK + b"content-length: 9\r\n\r\nhi"), "cut", False),
    "closed between chunks": (ends(chunked(b"hi")[:-5]), "cut", False),
    "closed in a packed body": (ends(OK + b"content-encoding: gzip\r\n\r\n" + PACK[:-4]), "cut", False),
    "not HTTP": (ends(b"SSH-2.0-OpenSSH_9.2\r\n"), "garbage", False),
    "two lengths": (sends(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi!"), "garbage", False),
    "a negative length": (sends(OK + b"content-length: -2\r\n\r\nhi"), "garbage", False),
    "length and chunks": (
        sends(OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        "garbage",
        False,
    ),
    "a chunk's size that is no number": (
        sends(OK + b"transfer-encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n"),
        "garbage",
        False,
    ),
    "a huge chunk's size": (sends(OK + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n"), "garbage", False),
    "another protocol": (
        sends(b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
        "garbage",
        False,
    ),
    "an endless head": (sends(OK, *[b"x: " + b"y" * 8000 + b"\r\n"] * 10), "garbage", False),
    "an unknown packing": (sends(OK + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nhi"), "garbage", False),
    "not packed": (sends(OK + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi"), "garbage", False),
}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_and_its_connection_dropped(name: str, *, whole: bool) -> None:
    behave, kind, before = FAULTS[name]

    async def run() -> None:
        async with running(behave) as raw:
            to = pool(raw)
            with pytest.raises(Broken) as told:
                await said(to, whole=whole)
            assert (told.value.kind, told.value.before) == (kind, before)
            assert not to._kept
            assert not to._connections
            await asyncio.wait_for(raw.peers[0].gone.wait(), 5)

    asyncio.run(run())


@pytest.mark.parametrize(("sent", "before"), [(b"", True), (OK, False), (OK + b"content-length: 9\r\n\r\nhi", False)])
@pytest.mark.parametrize("whole", [True, False])
def test_a_reset_is_a_cut(sent: bytes, *, before: bool, whole: bool) -> None:
    async def behave(peer: Peer, _body: bytes) -> None:
        await peer.send(sent)
        await asyncio.sleep(0.02)
        peer.reset()

    async def run() -> None:
        async with running(behave) as raw:
            with pytest.raises(Broken) as told:
                await said(pool(raw), whole=whole)
            assert (told.value.kind, told.value.before) == ("cut", before)

    asyncio.run(run())


def test_an_answer_without_a_length_that_is_reset_is_not_whole() -> None:
    async def behave(peer: Peer, _body: bytes) -> None:
        await peer.send(OK + b"\r\nhi")
        await asyncio.sleep(0.02)
        peer.reset()

    async def run() -> None:
        async with running(behave) as raw:
            with pytest.raises(Broken, match="middle"):
                await said(pool(raw))

    asyncio.run(run())


def test_nobody_at_the_address_is_told_as_such() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    to = Pool("127.0.0.1", port, None, connect=5, first=5, idle=5)

    with pytest.raises(Broken) as told:
        asyncio.run(post(to))
    assert (told.value.kind, told.value.before) == ("connect", True)


def test_a_connection_that_does_not_come_about_is_given_up() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]  # fill the line of those who want in
        try:
            for one in waiting:
                one.settimeout(0)
                with suppress(BlockingIOError):
                    one.connect(full.getsockname())
            to = Pool("127.0.0.1", full.getsockname()[1], None, connect=0.2, first=5, idle=5)
            with pytest.raises(Broken) as told:
                asyncio.run(post(to))
        finally:
            for one in waiting:
                one.close()
    assert (told.value.kind, told.value.before) == ("timeout", True)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("sent", "times", "before"),
    [
        ((), {"first": 0.2}, True),
        ((OK,), {"first": 9, "idle": 0.2}, True),
        ((OK + b"content-length: 9\r\n\r\nhi",), {"idle": 0.2}, False),
        ((OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",), {"idle": 0.2}, False),
    ],
    ids=["before the head", "in the head", "in the body", "between chunks"],
)
def test_silence_is_given_up(sent: tuple[bytes, ...], times: dict[str, float], *, before: bool, whole: bool) -> None:
    async def behave(peer: Peer, body: bytes) -> None:
        await peer.send(*sent)
        await hangs(peer, body)

    async def run() -> None:
        async with running(behave) as raw:
            to = pool(raw, **times)
            with pytest.raises(Broken) as told:
                await said(to, whole=whole)
            assert (told.value.kind, told.value.before) == ("timeout", before)
            assert not to._connections

    asyncio.run(run())


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_only_trickles_is_given_up_when_its_time_is_over(*, whole: bool) -> None:
    async def behave(peer: Peer, _body: bytes) -> None:
        await peer.send(OK + b"content-length: 999\r\n\r\n")
        while True:
            await peer.send(b".")
            await asyncio.sleep(0.05)

    async def run() -> None:
        async with running(behave) as raw:
            with pytest.raises(Broken, match="in time"):
                await said(pool(raw, idle=5, total=0.3), whole=whole)

    asyncio.run(run())


def test_an_answer_that_only_trickles_is_waited_for_within_its_time() -> None:
    async def behave(peer: Peer, _body: bytes) -> None:
        await peer.send(OK + b"content-length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.05)
            await peer.send(b".")

    async def run() -> None:
        async with running(behave) as raw:
            assert await said(pool(raw, idle=0.3)) == b"." * 10

    asyncio.run(run())


def test_a_reader_that_takes_its_time_is_no_silence_of_the_upstream() -> None:
    async def run() -> None:
        async with running(sends(OK + b"content-length: %d\r\n\r\n" % (4 * MIB), b"x" * (4 * MIB))) as raw:
            response = await post(pool(raw, idle=0.2))
            size = 0
            async for part in response:
                if not size:
                    await asyncio.sleep(0.6)
                size += len(part)
            assert size == 4 * MIB

    asyncio.run(run())


def test_a_slow_reader_makes_the_upstream_wait_and_not_the_memory_grow() -> None:
    sent = 0

    async def behave(peer: Peer, _body: bytes) -> None:
        nonlocal sent
        await peer.send(OK + b"content-length: %d\r\n\r\n" % (256 * MIB))
        for _ in range(256):
            await peer.send(b"x" * MIB)
            sent += MIB

    async def run() -> None:
        async with running(behave) as raw:
            to = pool(raw)
            response = await post(to)
            (connection,) = to._connections
            async with aclosing(cast("AsyncGenerator[bytes, None]", aiter(response))) as parts:
                most = 0
                for _ in range(20):
                    await anext(parts)
                    for _ in range(50):
                        await asyncio.sleep(0)
                    await asyncio.sleep(0.005)
                    most = max(most, sum(map(len, connection.parts)))
            assert most < HIGH_WATER + MIB
            assert sent < 64 * MIB  # the rest of what is under way is in the kernel's buffers

    asyncio.run(run())


def test_a_large_answer_comes_whole() -> None:
    block = os.urandom(MIB)

    async def run() -> None:
        async with running(sends(OK + b"content-length: %d\r\n\r\n" % (50 * MIB), *[block] * 50)) as raw:
            to = pool(raw)
            for whole in (True, False):
                assert await said(to, whole=whole) == block * 50
            assert len(raw.peers) == 1

    asyncio.run(run())


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_never_ends_is_cut_at_the_limit(*, whole: bool) -> None:
    async def behave(peer: Peer, _body: bytes) -> None:
        await peer.send(OK + b"\r\n")
        while True:
            await peer.send(b"x" * MIB)

    async def run() -> None:
        async with running(behave) as raw:
            with pytest.raises(Broken) as told:
                await (await post(pool(raw), whole=whole)).read()
            assert told.value.kind == "too-large"
            await raw.peers[0].gone.wait()

    asyncio.run(run())


@pytest.mark.parametrize("whole", [True, False])
def test_a_bomb_is_not_unpacked_beyond_the_limit(*, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "MAX_ANSWER", 4 * MIB)
    bomb = gzip.compress(b"\0" * (64 * MIB))
    size = 0

    async def run() -> None:
        nonlocal size
        packed = OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(bomb), bomb)
        async with running(sends(packed)) as raw:
            response = await post(pool(raw), whole=whole)
            async for part in response:
                size += len(part)

    with pytest.raises(Broken) as told:
        asyncio.run(run())
    assert told.value.kind == "too-large"
    assert size <= 4 * MIB


@pytest.mark.parametrize("sent", [b"", OK + b"content-length: 9\r\n\r\nhi"], ids=["before the head", "in the body"])
@pytest.mark.parametrize("whole", [True, False])
def test_who_is_cancelled_takes_the_connection_along_at_once(sent: bytes, *, whole: bool) -> None:
    asked = asyncio.Event()

    async def behave(peer: Peer, _body: bytes) -> None:
        await peer.send(sent)
        asked.set()

    async def run() -> None:
        async with running(behave) as raw:
            to = pool(raw)
            task = asyncio.ensure_future(said(to, whole=whole))
            await asked.wait()
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(raw.peers[0].gone.wait(), 1)
            assert not to._connections

    asyncio.run(run())


def test_who_is_cancelled_while_connecting_leaves_nothing() -> None:
    async def run() -> None:
        async with running(sends(SHORT)) as raw:
            to = pool(raw)
            for steps in range(12):
                task = asyncio.ensure_future(said(to))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            await asyncio.sleep(0.05)
            assert await said(to) == b"hi"
            assert to._connections == set(to._kept)

    asyncio.run(run())


def test_an_answer_that_is_let_go_is_not_read_on_and_harms_nobody() -> None:
    async def run() -> None:
        async with running(sends(SHORT)) as raw:
            to = pool(raw)
            first = await post(to)
            parts = aiter(first)
            assert await anext(parts) == b"hi"
            first.close()
            second = await post(to)
            assert len(raw.peers) == 1  # they share it, one after the other
            with pytest.raises(Broken, match="let go"):
                await anext(parts)
            await cast("AsyncGenerator[bytes, None]", parts).aclose()
            first.close()
            assert await second.read() == b"hi"
            assert len(to._kept) == 1

    asyncio.run(run())


def test_closing_the_pool_ends_what_waits() -> None:
    async def run() -> None:
        async with running(hangs) as raw:
            to = pool(raw)
            tasks = [asyncio.ensure_future(said(to, whole=whole)) for whole in (True, False)]
            await raw.arrived(2)
            to.close()
            for task in tasks:
                with pytest.raises(Broken):
                    await asyncio.wait_for(task, 1)

    asyncio.run(run())


def test_a_closed_pool_keeps_nothing() -> None:
    async def run() -> None:
        async with running(sends(SHORT)) as raw:
            to = pool(raw)
            response = await post(to)
            to._closed = True  # it was closed while the answer was on its way
            assert await response.read() == b"hi"
            await raw.peers[0].gone.wait()
            assert not to._kept

    asyncio.run(run())


def test_connections_that_a_rush_has_left_grow_old_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "KEPT_S", 0.1)

    async def run() -> None:
        async with running(sends(SHORT)) as raw:
            to = pool(raw)
            await asyncio.gather(*(said(to) for _ in range(16)))
            rush = len(raw.peers)
            assert rush > 1
            for _ in range(10):
                await asyncio.sleep(0.05)
                await said(to)
            assert len(to._connections) == 1
            assert sum(not peer.gone.is_set() for peer in raw.peers) == 1

    asyncio.run(run())


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """Return the file of a CA of one's own, and a server's context with a certificate of it for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("ca")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "A test's own CA")])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "An upstream")])
    now = datetime.now(UTC)

    def made(
        subject: x509.Name, public: ec.EllipticCurvePublicKey, *extensions: tuple[x509.ExtensionType, bool]
    ) -> Any:
        begun = x509.CertificateBuilder(ca_name, subject, public, x509.random_serial_number())
        begun = begun.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        for extension, critical in extensions:
            begun = begun.add_extension(extension, critical)
        return begun.sign(ca_key, hashes.SHA256())

    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    own = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    root = made(
        ca_name, ca_key.public_key(), (x509.BasicConstraints(ca=True, path_length=0), True), (usage, True), (own, False)
    )
    signed = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    leaf = made(name, key.public_key(), (names, False), (signed, False))
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(pem) + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "leaf.pem")
    return folder / "ca.pem", server


def test_tls_with_a_ca_of_ones_own(authority: tuple[Path, ssl.SSLContext]) -> None:
    ca, server = authority

    async def run() -> None:
        block = b"x" * (2 * MIB)
        async with running(sends(OK + b"content-length: %d\r\n\r\n" % len(block), block), server) as raw:
            tls = ssl.create_default_context(cafile=str(ca))
            to = Pool("127.0.0.1", raw.port, tls, connect=10, first=10, idle=10)
            for whole in (True, False, True):
                assert await said(to, b"y" * MIB, whole=whole) == block
            assert len(raw.peers) == 1
            to.close()
            await asyncio.sleep(0.05)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("trusted", "host", "why"), [(False, "127.0.0.1", "CERTIFICATE"), (True, "localhost", "CERTIFICATE")]
)
def test_a_certificate_that_is_not_trusted_or_of_another_name_is_refused_before_a_word_is_said(
    authority: tuple[Path, ssl.SSLContext], host: str, why: str, *, trusted: bool
) -> None:
    ca, server = authority

    async def run() -> None:
        async with running(sends(SHORT), server) as raw:
            tls = ssl.create_default_context(cafile=str(ca) if trusted else None)
            to = Pool(host, raw.port, tls, connect=10, first=10, idle=10)
            with pytest.raises(Broken, match=why) as told:
                await said(to)
            assert (told.value.kind, told.value.before) == ("connect", True)
            assert raw.seen == []
            assert not to._connections
            await asyncio.sleep(0.05)

    asyncio.run(run())


def test_a_server_without_tls_is_refused(authority: tuple[Path, ssl.SSLContext]) -> None:
    ca, _ = authority

    async def run() -> None:
        async with running(sends(SHORT)) as raw:
            to = Pool("127.0.0.1", raw.port, ssl.create_default_context(cafile=str(ca)), connect=1, first=5, idle=5)
            with pytest.raises(Broken) as told:
                await said(to)
            assert told.value.kind in {"connect", "timeout"}
            assert raw.seen == []

    asyncio.run(run())


def test_an_address_that_may_not_be_spoken_to_gets_no_word() -> None:
    async def run() -> None:
        async with running(sends(SHORT)) as raw:
            to = Pool("localhost", raw.port, None, connect=5, first=5, idle=5, refuses=lambda address: f"not {address}")
            with pytest.raises(Broken, match=r"not (127|::1)") as told:
                await said(to)
            assert (told.value.kind, told.value.before) == ("connect", True)
            assert raw.seen == []
            assert not to._connections

    asyncio.run(run())


def test_mixed_exchanges_leak_no_descriptor() -> None:
    """2,000 exchanges of every kind, those that fail among them."""
    kinds: list[Behaviour] = [
        sends(SHORT),
        sends(chunked(b"a" * 9000)),
        ends(OK + b"\r\nhi"),
        ends(),
        ends(OK + b"content-length: 9\r\n\r\nhi"),
        sends(SHORT + b"more"),
        sends(b"garbage\r\n\r\n"),
        sends(SHORT),
    ]

    async def behave(peer: Peer, body: bytes) -> None:
        await kinds[int(body) % len(kinds)](peer, body)

    async def one(to: Pool, number: int) -> bool:
        with suppress(Broken):
            response = await post(to, b"%d" % number, whole=number % 3 == 0)
            if number % 5 == 0:
                await response.read()
            elif number % 7:
                async for _ in response:
                    if number % 11 == 0:
                        break
            response.close()
            return True
        return False

    async def run() -> None:
        async with running(behave) as raw:
            to = pool(raw)
            before = descriptors()
            good = 0
            for start in range(0, 2000, 20):
                good += sum(await asyncio.gather(*(one(to, start + n) for n in range(20))))
            assert 1000 < good < 2000
            gc.collect()
            to.close()
            async with asyncio.timeout(10):
                while descriptors() > before:  # noqa: ASYNC110  there is nothing that would tell
                    await asyncio.sleep(0.01)
            assert not to._connections

    asyncio.run(run())


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_head_may_be_as_large_as_allowed() -> None:
    async def run() -> None:
        head = OK + b"x: " + b"y" * (MAX_HEAD - 200) + b"\r\n"
        async with running(sends(head, b"content-length: 2\r\n\r\n", b"hi")) as raw:
            assert await said(pool(raw)) == b"hi"

    asyncio.run(run())


def test_what_is_larger_than_the_limit_is_named_with_it() -> None:
    assert MAX_ANSWER >= 50 * MIB  # the 50 MB answer has to fit
