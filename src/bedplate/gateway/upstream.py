"""Upstreams: whoever answers behind the gateway, in the protocol that the client speaks."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from bedplate.errors import BedplateError

from .dialect import Body, Dialect, Said, event_bytes, json_bytes, text_of
from .extractive import answer
from .grounding import parse
from .pool import Pool, head_of
from .response import EMPTY, Broken, Response
from .route import Outcome, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from .localmodel import LocalModel
    from .route import Kind
    from .supplier import Dialect as Name
    from .supplier import Supplier

EMBEDDED_MODEL = "bedplate-extractive-1"


class UpstreamFailed(BedplateError):
    """The upstream could not be reached, was too slow, answered an error, or stopped in the middle.

    `status` is what our client is told; `outcome` is how the attempt ended; `body` is the upstream's own answer where
    the fault is the client's, to be passed on as it is.
    """

    code = "upstream-failed"

    def __init__(
        self,
        message: str,
        *,
        status: int = 502,
        hint: str = "",
        code: str = "",
        outcome: Outcome | None = None,
        retry_after: str = "",
        body: bytes = b"",
    ) -> None:
        super().__init__(message, hint=hint, code=code or "upstream-failed")
        self.status = status
        self.outcome = outcome or Outcome("garbage", error=message)
        self.retry_after = retry_after
        self.body = body


@dataclass(frozen=True, slots=True)
class Asked:
    """What an upstream is asked: the body as it is to be sent, and the few headers of the client that go with it."""

    dialect: Dialect
    body: Body
    stream: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer, as the bytes that came, and the headers it came with."""

    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Flow(Protocol):
    """A streamed answer whose head has come: its bytes as they come. `close` stops it upstream as well."""

    headers: Mapping[str, str]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield bytes; `UpstreamFailed` when it breaks."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...

    def ended(self) -> None:
        """Note that the answer came whole."""
        ...


class Upstream(Protocol):
    """A model behind the gateway."""

    name: str

    async def ask(self, asked: Asked) -> Reply:
        """Return the whole answer; `UpstreamFailed` otherwise."""
        ...

    async def open(self, asked: Asked) -> Flow:
        """Return the streamed answer once its head has come; `UpstreamFailed` otherwise."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Spoken:
    """A flow whose pieces are all here."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.headers: Mapping[str, str] = EMPTY
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces."""
        for piece in self._pieces:
            yield piece

    def close(self) -> None:
        """Nothing is held."""

    def ended(self) -> None:
        """Nothing more is to be done."""


class Embedded:
    """The honest default: quotes sentences from the passages it is given, and says so when they do not answer."""

    name = "embedded extractive answerer"

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    async def ask(self, asked: Asked) -> Reply:
        """Answer from the passages in what the model is told as `system`."""
        body, dialect = asked.body, asked.dialect
        if dialect.name == "embeddings":
            hint = "release with a model that does"
            raise UpstreamFailed(f"the {self.name} makes no embeddings", status=404, hint=hint)
        text = self._answer(asked)
        whole = dialect.whole(self._said(body, text))
        if dialect.name == "chat":
            whole["usage"] = usage(dialect, body, text)
        return Reply(json_bytes(whole))

    async def open(self, asked: Asked) -> Flow:
        """Answer word by word where the protocol is ours to cut, in one piece otherwise."""
        body, dialect = asked.body, asked.dialect
        text = self._answer(asked)
        said = self._said(body, text)
        events = dialect.stream(said)
        if dialect.name != "chat":
            return Spoken(events)
        frame = {"id": said.id, "object": "chat.completion.chunk", "created": said.created, "model": said.model}
        chunks: list[Body] = [{**frame, "choices": [_delta({"role": "assistant", "content": ""})]}]
        chunks += [{**frame, "choices": [_delta({"content": word})]} for word in _words(text)]
        chunks.append({**frame, "choices": [_delta({}, "stop")], "usage": usage(dialect, body, text)})
        return Spoken([*(event_bytes(c) for c in chunks), events[-1]])

    async def close(self) -> None:
        """Nothing is held."""

    def _answer(self, asked: Asked) -> str:
        body, dialect = asked.body, asked.dialect
        told = dialect.messages(body)
        system = "\n".join(text_of(m.get("content")) for m in told if m.get("role") == "system")
        given = body.get("metadata")
        unanswered = given.get("unanswered") if isinstance(given, dict) else None
        sentence = unanswered if isinstance(unanswered, str) else "I cannot answer this from my sources."
        return answer(dialect.question(body), parse(system), unanswered=sentence)

    def _said(self, body: Body, text: str) -> Said:
        created = self._clock() // 1_000_000
        return Said(text, str(body.get("model", EMBEDDED_MODEL)), created, f"chatcmpl-{created}")


class Remote:
    """Any endpoint that speaks the client's protocol, as it is configured. `name` is what records call it."""

    def __init__(self, supplier: Supplier, name: str = "", owned: LocalModel | None = None) -> None:
        self._supplier = supplier
        self._owned = owned  # a server that lives and ends with this upstream
        self.name = name or supplier.name
        at, times = supplier.site, supplier.timeouts
        tls = ssl.create_default_context(cafile=supplier.ca_file or None) if at.tls else None
        self._pool = Pool(
            at.host,
            at.port,
            tls,
            connect=times.connect_ms / 1000,
            first=times.first_byte_ms / 1000,
            idle=times.idle_ms / 1000,
            total=times.total_ms / 1000,
            refuses=supplier.refuses,
        )
        self._heads: dict[tuple[str, int], bytes] = {}  # of requests, as far as they are the same

    async def ask(self, asked: Asked) -> Reply:
        """Pass the call on and return the whole answer."""
        try:
            response = await self._sent(asked)
            return Reply(await response.read(), response.headers)
        except Broken as broken:
            raise failed(broken) from None

    async def open(self, asked: Asked) -> Flow:
        """Pass the call on and return what comes."""
        try:
            response = await self._sent(asked)
        except Broken as broken:
            raise failed(broken) from None
        if not response.headers.get("content-type", "text/event-stream").startswith("text/event-stream"):
            response.close()
            raise UpstreamFailed("the upstream did not answer a stream of events")
        return _Flowing(response)

    async def close(self) -> None:
        """Close pooled connections."""
        self._pool.close()
        if self._owned is not None:
            self._owned.close()

    async def _sent(self, asked: Asked) -> Response:
        body = json_bytes(asked.body)
        told = self._supplier.headers(time.monotonic_ns() // 1000)
        target = self._supplier.request_target(cast("Name", asked.dialect.name), asked.body["model"])
        if asked.headers:  # what the client says of its own version goes before what is configured
            theirs = {name for name, _ in asked.headers}
            own = [pair for pair in told if pair[0] not in theirs]
            head = head_of("POST", target, self._supplier.site.authority, [*_JSON, *own, *asked.headers])
        else:
            known = target, id(told)  # the list is the same until the key is another
            if known not in self._heads:
                if len(self._heads) > MAX_HEADS:
                    self._heads.clear()
                self._heads[known] = head_of("POST", target, self._supplier.site.authority, [*_JSON, *told])
            head = self._heads[known]
        head = b"%bcontent-length: %d\r\n\r\n" % (head, len(body))
        response = await self._pool.send(head, body, whole=not asked.stream)
        if response.status != 200:  # noqa: PLR2004  the one status that carries an answer
            raise await refused(response)
        return response


class _Flowing:
    """A response that is read as it comes, its failures in the words of upstreams."""

    def __init__(self, response: Response) -> None:
        self._response = response
        self.headers = response.headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield bytes."""
        try:
            async for part in self._response:
                yield part
        except Broken as broken:
            raise failed(broken) from None

    def close(self) -> None:
        """Stop it."""
        self._response.close()

    def ended(self) -> None:
        """Nothing more is to be done."""


_JSON = ((b"content-type", b"application/json"), (b"accept-encoding", b"identity"))
MAX_REFUSAL = 1 << 20
MAX_HEADS = 256
KINDS: Mapping[str, Kind] = {"connect": "unreachable", "timeout": "timeout", "cut": "cut"}


def failed(broken: Broken) -> UpstreamFailed:
    """Say a broken exchange in our client's terms."""
    outcome = Outcome(KINDS.get(broken.kind, "garbage"), error=broken.message)
    if broken.kind == "timeout":
        return UpstreamFailed(broken.message, status=504, hint="try again", outcome=outcome)
    return UpstreamFailed(f"the upstream failed: {broken.message}", hint="try again", outcome=outcome)


async def refused(response: Response) -> UpstreamFailed:
    """Say an upstream's refusal; its body is kept for the client, in case the fault is the client's."""
    body = b""
    try:
        body = await response.read(MAX_REFUSAL)
    except Broken:
        response.close()
    headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in response.headers.items()}
    outcome = Outcome("status", response.status, retry_after(headers, time.time_ns() // 1000))
    own = body if body.lstrip().startswith(b"{") else b""
    return UpstreamFailed(f"the upstream answered {response.status}", outcome=outcome, body=own)


def usage(dialect: Dialect, body: Body, text: str) -> dict[str, int]:
    """Estimate token counts as OpenAI's `usage` object: four characters a token."""
    prompt = sum(len(text_of(m.get("content"))) for m in dialect.messages(body)) // 4 + 1
    completion = len(text) // 4 + 1
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _delta(delta: dict[str, str], reason: str | None = None) -> Body:
    return {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}


def _words(text: str) -> list[str]:
    """Split into pieces that concatenate to the text."""
    pieces = text.split(" ")
    return [p if i == 0 else " " + p for i, p in enumerate(pieces)]
