"""`POST /v1/traces`: OpenTelemetry's traces come in over OTLP/HTTP, and calls of models in them become records."""

from __future__ import annotations

import asyncio
import time
import zlib
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bedplate.agents.trace import Traced
from bedplate.errors import BedplateError, InvalidInput, Unauthenticated, Unavailable
from bedplate.gateway import otlp
from bedplate.gateway.observed import spans
from bedplate.gateway.observer import AHEAD, OLDEST, Outcome
from bedplate.gateway.throttle import Rate, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import Receive, Scope, Send

    from bedplate.agents.door import AgentDoor
    from bedplate.gateway.observer import Observer
    from bedplate.gateway.toolspan import ToolSpan

TOO_LARGE = "request-too-large"
STATUSES = {TOO_LARGE: 413, otlp.UNSUPPORTED: 415}
INVALID, EXHAUSTED, UNAVAILABLE, UNAUTHENTICATED = 3, 8, 14, 16  # google.rpc.Code
SECOND = 1_000_000  # microseconds
RATE = Rate(calls_per_minute=600, tokens_per_minute=60_000)  # requests and spans, of one key in one process


def monotonic() -> int:
    """Return microseconds since some moment."""
    return time.monotonic_ns() // 1_000


class Traces:
    """Serves `/v1/traces` for the keys of use cases.

    `agents` judges calls of tools that traces tell of; None leaves them out.
    `counted` is told how many spans came to which outcome. `own` are addresses (host:port) under which the gateway is
    reached, besides the one that the request names. `now` is in monotonic microseconds.
    """

    def __init__(
        self,
        observer: Observer,
        counted: Callable[[str, int], None],
        *own: str,
        agents: AgentDoor | None = None,
        rate: Rate = RATE,
        now: Callable[[], int] = monotonic,
    ) -> None:
        self._observer = observer
        self._agents = agents
        self._counted = counted
        self._own = frozenset(own)
        self._rate, self._now = rate, now
        self._throttles: dict[str, Throttle] = {}  # by key: only those that were issued get here

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            response = await self._answered(request)
        except ClientDisconnect:
            return  # nobody is left to be told; it will send the spans again
        await response(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "")
        if request.method != "POST":
            return _error(405, INVALID, "use POST", otlp.JSON, {"allow": "POST"})
        try:
            secret = _bearer(request)
            subject, actor = self._observer.identify(secret)
            throttle = self._throttles.setdefault(actor, Throttle(0, 0, self._rate))
            if wait := throttle.wait(1, self._now()):
                return _later(wait, kind)
            throttle.pay(0)
            body = await _body(request)
            own = self._own | {request.headers.get("host", "")}
            found = await asyncio.to_thread(spans, body, kind, own - {""})
            throttle.settle(
                len(found.calls) + len(found.tools) + found.ignored + found.rejected
            )  # maybe more than there was: it owes it
            outcome = await self._observer.observe(subject, actor, found.calls)
            acted = await self._acted(secret, found.tools)
        except Unauthenticated as error:
            return _error(401, UNAUTHENTICATED, str(error), kind, {"www-authenticate": "Bearer"})
        except InvalidInput as error:
            return _error(STATUSES.get(error.code, 400), INVALID, str(error), kind)
        except Unavailable as error:
            return _error(503, UNAVAILABLE, str(error), kind, {"retry-after": "1"})
        except BedplateError as error:
            return _error(503, UNAVAILABLE, str(error), kind)
        rejected = found.rejected + outcome.rejected + acted.rejected
        ignored = found.ignored + (len(found.tools) if self._agents is None else 0)
        counts = {"call": outcome.recorded, "known": outcome.known + acted.known, "ignored": ignored}
        counts |= {"rejected": rejected} | ({"action": acted.recorded} if found.tools and self._agents else {})
        for name, count in counts.items():
            self._counted(name, count)
        unread = f"{found.rejected} spans have no valid ids or times" if found.rejected else ""
        why = "; ".join(filter(None, (unread, outcome.why or acted.why)))
        return Response(otlp.response(rejected, why, kind), media_type=_media(kind))

    async def _acted(self, secret: str, tools: Sequence[ToolSpan]) -> Outcome:
        """Hand on what agents did beside the door of actions."""
        if not tools or self._agents is None:
            return Outcome(0, 0, 0)
        witness, now = self._agents.witness(secret), self._agents.parts.clock()
        timely = [t for t in tools if now - OLDEST <= t.started and t.ended <= now + AHEAD]
        made = [
            await self._agents.observed(
                witness,
                Traced(
                    trace=t.trace_id,
                    span=t.span_id,
                    agent=t.agent,
                    run=t.run,
                    server=t.server,
                    tool=t.tool,
                    arguments=t.arguments,
                    result=t.result,
                    started=t.started,
                    ended=t.ended,
                    error=t.error,
                ),
            )
            for t in sorted(timely, key=lambda t: t.started)
        ]
        late = len(tools) - len(timely)
        why = f"{late} spans are older than a week, or of the future" if late else ""
        return Outcome(sum(made), len(made) - sum(made), late, why)


async def _body(request: Request) -> bytes:
    """Read the body, decompressed; neither form may be larger than allowed."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise InvalidInput(f"the content encoding {encoding} is not read here", hint="gzip, or none")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > otlp.MAX_BODY:
            raise _too_large()
    return _inflated(bytes(body)) if encoding == "gzip" else bytes(body)


def _inflated(body: bytes) -> bytes:
    inflating = zlib.decompressobj(wbits=31)  # a gzip header and trailer
    try:
        plain = inflating.decompress(body, otlp.MAX_BODY + 1)
    except zlib.error:
        raise InvalidInput("the body is not gzip") from None
    if len(plain) > otlp.MAX_BODY:
        raise _too_large()
    if not inflating.eof:
        raise InvalidInput("the body is not a whole gzip")
    return plain


def _too_large() -> InvalidInput:
    hint = "lower the exporter's batch size"
    return InvalidInput(f"the body is larger than {otlp.MAX_BODY} bytes", hint=hint, code=TOO_LARGE)


def _later(wait: int, kind: str) -> Response:
    """Ask for it again, and when; before the body is read, for reading it is most of the work."""
    message = "more traces came with this key than are taken in a minute"
    return _error(429, EXHAUSTED, message, kind, {"retry-after": str(-(-wait // SECOND))})


def _bearer(request: Request) -> str:
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise Unauthenticated(
            "no key came with the traces", hint="OTEL_EXPORTER_OTLP_HEADERS='authorization=Bearer bpk_...'"
        )
    return secret.strip()


def _error(status: int, code: int, message: str, kind: str, headers: dict[str, str] | None = None) -> Response:
    return Response(otlp.status(code, message, kind), status, headers, media_type=_media(kind))


def _media(kind: str) -> str:
    return otlp.PROTOBUF if kind.startswith(otlp.PROTOBUF) else otlp.JSON
