"""The real server in a process of its own, on a data folder that was populated once and is copied; and an upstream."""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from openai import OpenAI
from ruamel.yaml import YAML

from bedplate import bootstrap
from bedplate.config import Settings
from bedplate.errors import NeedsApproval
from bedplate.people.actions import invite
from bedplate.people.blank import blank_model
from bedplate.sdk import Client
from bedplate.store.engine import open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from sqlalchemy import Engine

EXAMPLE = Path(__file__).parents[1] / "examples" / "harbour-mutual"
PORTS = range(8700, 8800)
OURS = 8  # ports of one test process: a server each, and the last for its upstream
HR, RIGHTS, CLAIMS = "hr-policy-assistant", "cover-assistant", "claims-helper"  # live, live in tier 3, only accepted
LEAVE = "How many days of annual leave do I get?"
UNANSWERED = "The handbook does not cover this."
SERIAL, TURN = count(), count()
CLIENTS: dict[str, list[OpenAI]] = {}  # by the server's URL
Kind = Literal["embedded", "remote"]


def free_port() -> int:
    """Return a port nobody listens on now, and no other test process is given: a server takes it only later.

    Whoever looked for a free one alone could be answered by another test's server, until that one ended.
    """
    ours = our_ports()[:-1]
    for _ in ours:
        port = ours[next(TURN) % len(ours)]
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                taken.bind(("127.0.0.1", port))
                return port
    raise OSError(f"no port of {ours} is free")


@cache
def our_ports() -> range:
    """Take some ports for this test process alone, until it ends."""
    for first in range(PORTS.start, PORTS.stop - OURS + 1, OURS):
        with suppress(OSError):  # another user's
            held = os.open(Path(tempfile.gettempdir(), f"bedplate-tests-{first}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(held)
                continue
            return range(first, first + OURS)
    raise OSError("every port between 8700 and 8799 is held by a test process")


class Server:
    """`bedplate up` on a data folder. A context manager: it ends with SIGTERM."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data.with_name(f"{data.name}.{next(SERIAL)}.log")
        self.python = sys.executable
        self._environment = {
            **os.environ,
            "BEDPLATE_DATA": str(data),
            "BEDPLATE_PORT": str(self.port),
            **{f"BEDPLATE_{name.upper()}": value for name, value in environment.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, answering: bool = True) -> Self:
        """Start the process; with `answering`, return only once it answers, and fail with its log if it ends."""
        program = [self.python, "-m", "bedplate", "up"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(program, env=self._environment, stdout=log, stderr=log)
        if answering and not self.answers():
            self.kill()
            raise AssertionError(f"the server did not start:\n{self.said()[-4000:]}")
        return self

    def answers(self, within: float = 60) -> bool:
        """Wait until it is healthy; False if it ended, or did not get there in time."""
        assert self.process is not None
        until = time.monotonic() + within
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if fetch(self.url, "/healthz")[0] == 200 and self.url in self.said():  # it, and nobody else
                    return True
            time.sleep(0.03)
        return False

    def said(self) -> str:
        """Return what the process printed."""
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """End it as an operator does, and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """End it as a power cut of one process does: kill -9."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def __enter__(self) -> Self:
        return self if self.process is not None else self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for client in CLIENTS.pop(self.url, ()):
            client.close()
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
                raise


def fetch(
    url: str, path: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Make one plain HTTP request on a connection of its own: status, headers in lower case, body."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Harbour:
    """Harbour Mutual on a running server: its people's tokens, and a key of each use case."""

    url: str
    tokens: Mapping[str, str]
    keys: Mapping[str, str]

    def person(self, name: str) -> Client:
        """Return a client signed in as this person: `leo.fischer`, or only `leo`."""
        return Client(self.url, self.token(name))

    def token(self, name: str) -> str:
        """Return this person's bearer token."""
        return next(token for person, token in self.tokens.items() if person.startswith(name))

    def openai(self, use_case: str = HR) -> OpenAI:
        """Return the official client with the base URL and the key, and nothing else."""
        return self.with_key(self.keys[use_case])

    def with_key(self, key: str) -> OpenAI:
        """Return the official client with another key. It is closed with the server."""
        client = OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)
        CLIENTS.setdefault(self.url, []).append(client)
        return client

    def call(self, body: bytes | Mapping[str, Any], use_case: str = HR, **headers: str) -> tuple[int, Any]:
        """Post a body as it is to the chat endpoint; returns status and parsed answer."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = {"authorization": f"Bearer {self.keys[use_case]}", "content-type": "application/json", **headers}
        status, _, content = fetch(self.url, "/v1/chat/completions", "POST", raw, told)
        return status, json.loads(content)

    def api(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        """Make a request of the API as it is; returns status and parsed answer (text where it is not JSON)."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        raw = None
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["content-type"] = "application/json"
        status, told, content = fetch(self.url, path, method, raw, headers)
        return status, json.loads(content) if "json" in told.get("content-type", "") else content.decode()

    def record(self, call_id: str) -> dict[str, Any]:
        """Return what is on record of a call, with its content."""
        return self.person("victor").call(call_id)

    def approve(self, asked: Callable[[], object], *voters: str) -> None:
        """Do what needs an approval, and have these people agree."""
        try:
            asked()
        except NeedsApproval as needed:
            self.agree(needed.approval, *voters)
        else:
            raise AssertionError("nobody had to agree")

    def agree(self, approval: str, *voters: str) -> str:
        """Have these people vote yes; returns the state afterwards."""
        state = "asked"
        for voter in voters:
            state = str(self.person(voter).vote(approval, "yes", "agreed")["state"])
        return state


def ask(question: Any = LEAVE, **more: Any) -> dict[str, Any]:
    """Return the body of a chat completion."""
    return {"model": "default", "messages": [{"role": "user", "content": question}], **more}


def harbour(server: Server) -> Harbour:
    """Return Harbour Mutual as it was populated into the server's data folder."""
    known = json.loads((server.data / "known.json").read_text())
    return Harbour(server.url, known["tokens"], known["keys"])


@cache
def root() -> Path:
    """Return a folder in memory, if there is one, that is removed when the process ends."""
    shm = Path("/dev/shm")  # noqa: S108  memory: the tests of power cuts have their own disk
    folder = Path(tempfile.mkdtemp(prefix="bedplate-served-", dir=shm if shm.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def fresh(kind: Kind = "embedded") -> Path:
    """Return a data folder of one's own in which Harbour Mutual is founded, accepted and released."""
    folder = root() / f"data-{next(SERIAL)}"
    shutil.copytree(template(kind), folder)
    return folder


def engine_of(data: Path) -> Engine:
    """Open the database of a data folder."""
    return open_engine(Settings(data=data).database_url)


@cache
def template(kind: Kind) -> Path:
    """Populate a data folder, once in this process."""
    data = root() / f"template-{kind}"
    tokens = found(data)
    if kind == "remote":
        with RecordingUpstream() as upstream, Server(data, upstream_url=upstream.url) as server:
            keys = populate(Harbour(server.url, tokens, {}))
    else:
        with Server(data) as server:
            keys = populate(Harbour(server.url, tokens, {}))
    (data / "known.json").write_text(json.dumps({"tokens": tokens, "keys": keys}))
    return data


def found(data: Path) -> dict[str, str]:
    """Make an installation and invite Harbour Mutual's people; returns their codes, each turned into a token later."""
    settings = Settings(data=data)
    engine = bootstrap.open_engine_and_migrate(settings)
    ledger, declared, identities = bootstrap.open_ledger(engine, bootstrap.wall_clock)
    governor = bootstrap.open_governor(ledger, declared, bootstrap.wall_clock, identities)
    people = YAML().load((EXAMPLE / "people.yaml").read_text())["people"]
    codes = {str(p["id"]): invite(governor, "operator", str(p["id"]), str(p["name"])).text for p in people}
    engine.dispose()
    return codes


def populate(at: Harbour) -> dict[str, str]:
    """Sign everybody in, put the operating model in force, and have three use cases; returns their keys."""
    codes = dict(at.tokens)
    for person, code in codes.items():
        client = Client(at.url)
        client.login(code=code)
        at.tokens[person] = client.token  # type: ignore[index]  # a dict here, and only here
    model = blank_model("Harbour Mutual", (EXAMPLE / "people.yaml").read_text())
    priya, leo = at.person("priya"), at.person("leo")
    at.approve(lambda: priya.apply("operating-model", "operating-model.yaml", model), "jonas", "ruth")
    accept(at, leo, use_case(), "hanna")
    accept(at, leo, use_case(RIGHTS, affects_rights="yes"), "jonas", "ruth")
    claims = use_case(CLAIMS, domain="claims", owner="daniel.moreau")
    accept(at, at.person("daniel"), claims, "sofia")
    go_live(at, files_of(use_case()), "hanna")
    go_live(at, files_of(use_case(RIGHTS, affects_rights="yes")), "jonas", "ruth")
    keys = {name: str(leo.issue_key(name, "tests")["key"]) for name in (HR, RIGHTS)}
    return {**keys, CLAIMS: str(at.person("daniel").issue_key(CLAIMS, "tests")["key"])}


def accept(at: Harbour, by: Client, spec: str, *voters: str) -> None:
    """Propose a use case and have it accepted."""
    at.approve(lambda: by.apply("use-case", "use-case.yaml", spec), *voters)


def go_live(at: Harbour, files: Mapping[str, str], *voters: str) -> str:
    """Release a use case of the people's domain, attach what its tier owes, and have it agreed; returns the digest."""
    leo = at.person("leo")
    found = re.search(r"^id: (.*)$", files["use-case.yaml"], re.MULTILINE)
    assert found is not None
    made = leo.release(found[1], files)
    if made["state"] == "denied":
        for line in made["gate"]:
            if line["state"] != "proven":
                if line["control"] == "stop-drilled":
                    drilled(leo, found[1])
                    continue
                shown = {"control": line["control"], "outcome": "proven", "summary": "shown"}
                at.person("priya").post(f"/api/use-cases/{found[1]}/evidence", shown)
        made = leo.release(found[1], files)
    assert made["state"] == "waiting", made
    assert at.agree(made["approval"], *voters) == "spent"
    return str(made["release"])


def drilled(by: Client, name: str) -> None:
    """Drill the stop until every door was in time: how long that takes is the machine's."""
    for _ in range(10):
        if by.post(f"/api/use-cases/{name}/drill", {})["outcome"] == "in-force":
            return
    raise AssertionError("no drill was in time")


def use_case(
    name: str = HR, *, domain: str = "people", owner: str = "mara.quinn", budget: int = 5000, **answers: str
) -> str:
    """Return the YAML of the example, under another name, owner and answers."""
    text = (EXAMPLE / HR / "use-case.yaml").read_text()
    for before, after in (
        (f"id: {HR}", f"id: {name}"),
        ("title: HR policy assistant", f"title: {name}"),
        ("domain: people", f"domain: {domain}"),
        ("owner: mara.quinn", f"owner: {owner}"),
        ("calls_per_day: 5000", f"calls_per_day: {budget}"),
        ("pass_percent: 75", "pass_percent: 20"),  # what one case can show
        *((f"{key.replace('_', '-')}: no", f"{key.replace('_', '-')}: {yes}") for key, yes in answers.items()),
    ):
        assert before in text, before
        text = text.replace(before, after)
    return text


def files_of(spec: str) -> dict[str, str]:
    """Return the files of a use case's folder: two pages of the handbook, one eval case."""
    folder = EXAMPLE / HR
    pages = ("03-annual-leave.md", "10-expenses-and-travel.md")
    return {
        "use-case.yaml": spec,
        "evals.yaml": "cases:\n  - id: moon\n    question: Who walked on the Moon?\n    expect: {unanswered: true}\n",
        "prompts/system.md": (folder / "prompts" / "system.md").read_text(),
        "runbook.md": (folder / "runbook.md").read_text(),
        **{f"handbook/{page}": (EXAMPLE / "handbook" / page).read_text() for page in pages},
    }


@dataclass(slots=True)
class Seen:
    """One request as it arrived at the upstream. `gone` is set when the caller closed the connection."""

    path: str
    headers: dict[str, str]
    raw: bytes
    gone: threading.Event

    @property
    def body(self) -> Any:
        """The body, parsed."""
        return json.loads(self.raw)


@cache
def upstream_port() -> int:
    """Return the port of this process's upstream: a release is bound to the address it was made with."""
    return our_ports()[-1]


class RecordingUpstream:
    """An OpenAI-shaped upstream on raw sockets, in a thread: keeps what it is sent, answers as `behave` says.

    It listens where the `remote` template expects it, so there is one at a time.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.behave: Callable[[Seen, asyncio.StreamWriter], Awaitable[None]] = says(UNANSWERED)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.port = upstream_port()

    @property
    def url(self) -> str:
        """The base URL, as an operator writes it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Refuse connections for a while."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        yield
        self._server = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)

    async def _open(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        seen = Seen(head[0].split()[1], headers, b"", threading.Event())
        if "chunked" in headers.get("transfer-encoding", ""):
            while size := int(await reader.readline(), 16):
                seen.raw += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            seen.raw = await reader.readexactly(int(headers.get("content-length", "0")))
        self.seen.append(seen)
        watch = asyncio.ensure_future(self._watch(reader, seen))
        try:
            await self.behave(seen, writer)
            await writer.drain()
        finally:
            watch.cancel()

    async def _watch(self, reader: asyncio.StreamReader, seen: Seen) -> None:
        with suppress(OSError):
            await reader.read(1)
        seen.gone.set()


def head(status: int = 200, kind: str = "application/json", **more: str) -> bytes:
    """Return the status line and headers of an answer that ends when the connection does."""
    lines = [f"HTTP/1.1 {status} Whatever", f"content-type: {kind}", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def completion(text: str, **more: Any) -> dict[str, Any]:
    """Return the body of a whole answer."""
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        **more,
    }


def events(pieces: Iterable[str], *, done: bool = True) -> list[bytes]:
    """Return the server-sent events of a streamed answer, one for each piece, then the end."""
    frame = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1_750_000_000, "model": "gpt-4o-mini"}
    deltas: Sequence[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        *(({"content": piece}, None) for piece in pieces),
        *([({}, "stop")] if done else []),
    ]
    made = [{**frame, "choices": [{"index": 0, "delta": d, "finish_reason": why}]} for d, why in deltas]
    return [b"data: " + json.dumps(e).encode() + b"\n\n" for e in made] + ([b"data: [DONE]\n\n"] if done else [])


def says(text: str) -> Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]:
    """Answer every call with this text, word by word where a stream is asked for."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.body.get("stream"):
            writer.write(head(kind="text/event-stream") + b"".join(events(re.findall(r"\S+\s*", text))))
        else:
            writer.write(head() + json.dumps(completion(text)).encode())

    return behave


def sends(
    *pieces: bytes, pause: float = 0, hangs: bool = False
) -> Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]:
    """Answer with these bytes, each in a segment of its own, then close, or `hangs` and keep the connection."""

    async def behave(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if hangs:
            await asyncio.sleep(3600)

    return behave
