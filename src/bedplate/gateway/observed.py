"""Calls that others made and told of in traces: GenAI spans of several dialects, read into one shape."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from .call import MAX_NAME
from .genai import count, text, told
from .otlp import decode
from .toolspan import toolspan

if TYPE_CHECKING:
    from .genai import Message
    from .otlp import Attributes, Span
    from .toolspan import ToolSpan

MAX_MESSAGES = 2000  # of one span
CODE = re.compile(r"[A-Za-z0-9_.:-]{1,60}")


@dataclass(frozen=True, slots=True)
class Observed:
    """One call that did not pass the gateway. Times in microseconds since the epoch."""

    dialect: str  # gen_ai, gen_ai.system, traceloop, openinference
    trace_id: str
    span_id: str
    parent_id: str
    service: str
    operation: str
    provider: str
    model: str
    address: str  # of whoever answered: a host, or ""
    started: int
    ended: int
    response_model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cached_in: int = 0
    messages: tuple[Message, ...] = ()  # {"role", "content"}
    answer: str = ""
    finish: str = ""
    error: str = ""  # its kind: what may stand in a record
    message: str = ""  # what was said of it: content

    def id(self, subject: str) -> str:
        """Return the id of its record: the same for the same span of the same use case (UUIDv8, RFC 9562, section 5.8).

        The time is that of the span, so that it sorts among the others; a span sent twice is one call.
        """
        digest = sha256(f"{subject}\0{self.trace_id}\0{self.span_id}".encode()).digest()
        rest = int.from_bytes(digest[:10], "big")
        number = (self.started // 1000 & (1 << 48) - 1) << 80 | rest & (1 << 80) - 1
        number = number & ~(0xF << 76) | 0x8 << 76
        return str(UUID(int=number & ~(0b11 << 62) | 0b10 << 62))


class Found(NamedTuple):
    """What was in a request: calls, how many spans are neither, how many cannot be read, and calls of tools."""

    calls: list[Observed]
    ignored: int
    rejected: int
    tools: list[ToolSpan]


def spans(body: bytes, content_type: str, own: frozenset[str] = frozenset()) -> Found:
    """Read the calls in an OTLP request; `InvalidInput` where it cannot be read at all.

    `own` are the addresses ("host" or "host:port") under which the gateway itself is reached: a span of a client that
    called the gateway is not a call beside it.
    """
    calls, tools, ignored, rejected = [], [], 0, 0
    for span in decode(body, content_type):
        call = observed(span) if span.valid else None
        tool = toolspan(span) if span.valid and call is None else None
        if not span.valid:
            rejected += 1
        elif tool is not None:
            tools.append(tool)
        elif call is None or _through(span.attributes, own):
            ignored += 1
        else:
            calls.append(call)
    return Found(calls, ignored, rejected, tools)


def observed(span: Span) -> Observed | None:
    """Read one span; None if it is not a call of a model, or is one of the gateway's own."""
    if "bedplate.call.id" in span.attributes:
        return None
    found = told(span)
    if found is None or not found.model:
        return None
    return Observed(
        dialect=found.dialect,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        service=text(span.resource, "service.name")[:MAX_NAME],
        operation=found.operation,
        provider=found.provider[:MAX_NAME],
        model=found.model[:MAX_NAME],
        address=text(span.attributes, "server.address", "net.peer.name")[:MAX_NAME],
        started=span.started,
        ended=span.ended,
        response_model=found.response_model[:MAX_NAME],
        tokens_in=found.tokens_in,
        tokens_out=found.tokens_out,
        cached_in=found.cached_in,
        messages=tuple(found.messages[:MAX_MESSAGES]),
        answer=found.answer,
        finish=found.finish[:MAX_NAME],
        error=_error(span),
        message=span.error[:MAX_NAME],
    )


def _through(said: Attributes, own: frozenset[str]) -> bool:
    address = text(said, "server.address")
    return bool(address) and (address in own or f"{address}:{count(said, 'server.port')}" in own)


def _error(span: Span) -> str:
    kind = text(span.attributes, "error.type")
    if CODE.fullmatch(kind):
        return kind
    return "error" if kind or span.error else ""
