"""Tool calls that others made and told of in traces: spans of several dialects, read into one shape.

OpenTelemetry's GenAI conventions (`execute_tool`) and its MCP conventions (`tools/call`), OpenInference (TOOL) and
Traceloop (tool). What the arguments and results were, only those say that were told to capture content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from .call import MAX_NAME
from .genai import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from .otlp import Attributes, Span

OWN = ("bedplate.action.id", "bedplate.call.id")  # what passed a door of ours says so
ARGUMENTS = (
    "gen_ai.tool.call.arguments",
    "tool.parameters",
    "tool_call.function.arguments",
    "traceloop.entity.input",
    "input.value",
)
RESULTS = ("gen_ai.tool.call.result", "traceloop.entity.output", "output.value")
RUNS = ("gen_ai.conversation.id", "session.id", "mcp.session.id")


@dataclass(frozen=True, slots=True)
class ToolSpan:
    """One tool call. Times in microseconds since the epoch; `server` is "" where the span does not say."""

    dialect: str  # gen_ai, mcp, openinference, traceloop
    trace_id: str
    span_id: str
    agent: str
    run: str  # the conversation or session, or ""
    server: str
    tool: str
    arguments: dict[str, Any] = field(hash=False)
    result: Any = field(hash=False)
    started: int
    ended: int
    error: str = ""


KINDS: tuple[tuple[str, Callable[[Attributes], bool]], ...] = (  # the first that knows a span reads it
    ("mcp", lambda said: said.get("mcp.method.name") == "tools/call"),
    ("gen_ai", lambda said: said.get("gen_ai.operation.name") == "execute_tool"),
    ("openinference", lambda said: text(said, "openinference.span.kind").upper() == "TOOL"),
    ("traceloop", lambda said: said.get("traceloop.span.kind") == "tool"),
)


def toolspan(span: Span) -> ToolSpan | None:
    """Read a span; None if it is no tool call, or is one of ours."""
    said = span.attributes
    dialect = next((name for name, knows in KINDS if knows(said)), "")
    name = text(said, "gen_ai.tool.name", "mcp.tool.name", "tool.name", "traceloop.entity.name") or _named(span.name)
    if not dialect or not name or any(mark in said for mark in OWN):
        return None
    server, _, bare = name.rpartition("/")
    return ToolSpan(
        dialect=dialect,
        trace_id=span.trace_id,
        span_id=span.span_id,
        agent=text(said, "gen_ai.agent.name", "gen_ai.agent.id", "agent.name")[:MAX_NAME],
        run=text(said, *RUNS)[:MAX_NAME],
        server=(server or text(said, "mcp.server.name"))[:MAX_NAME],
        tool=bare[:MAX_NAME],
        arguments=_arguments(said),
        result=next((_plain(said[name]) for name in RESULTS if said.get(name) is not None), None),
        started=span.started,
        ended=span.ended,
        error=(text(said, "error.type") or span.error)[:MAX_NAME],
    )


def _named(name: str) -> str:
    """Return the tool in a span's name, as the conventions write it: `execute_tool pay`, `tools/call pay`."""
    for prefix in ("execute_tool ", "tools/call "):
        if name.startswith(prefix):
            return name.removeprefix(prefix).strip()
    return ""


def _arguments(said: Attributes) -> dict[str, Any]:
    for name in ARGUMENTS:
        found = _plain(said.get(name))
        if isinstance(found, dict):
            inner = found.get("inputs")  # as Traceloop wraps what LangChain was given
            return inner if name.startswith("traceloop") and isinstance(inner, dict) else found
    return {}


def _plain(value: object) -> Any:  # noqa: ANN401  whatever the JSON holds
    """Return what a structured attribute holds, whether it came as a structure or as JSON in a text."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return value
