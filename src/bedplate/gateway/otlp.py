"""OTLP as it comes in: the spans of an ExportTraceServiceRequest, from JSON or protobuf, as plain values.

OpenTelemetry Protocol 1.x, section OTLP/HTTP. JSON needs nothing; protobuf needs the extra `otel`.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.errors import InvalidInput

from .nesting import depths

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_BODY = 4 << 20  # bytes, before and after decompression
MAX_SPANS = 2000
MAX_PARTS = 300_000  # lists and objects: each takes far more time and memory than its two bytes
MAX_DEPTH = 32  # of a value within an attribute
JSON, PROTOBUF = "application/json", "application/x-protobuf"
SPECIFIED = "see opentelemetry.io/docs/specs/otlp"
UNSUPPORTED = "unsupported-media-type"
TRACE_ID, SPAN_ID = re.compile(r"(?!0{32})[0-9a-f]{32}"), re.compile(r"(?!0{16})[0-9a-f]{16}")
ERROR = 2  # of the status codes unset, ok, error

Attributes = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened in a span."""

    name: str
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it was sent. Ids in lower-case hexadecimal, times in microseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    started: int
    ended: int
    attributes: Attributes
    events: tuple[SpanEvent, ...]
    error: str  # "" unless the status is an error
    resource: Attributes = field(default_factory=dict)

    @property
    def valid(self) -> bool:
        """Whether its ids and times are what they must be."""
        ids = TRACE_ID.fullmatch(self.trace_id) and SPAN_ID.fullmatch(self.span_id)
        return bool(ids) and 0 < self.started <= self.ended


def decode(body: bytes, content_type: str) -> list[Span]:
    """Read the spans of a request.

    Raises InvalidInput; its code is "unsupported-media-type" where the format cannot be read here.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        found = list(_from_json(body))
    elif kind == PROTOBUF:
        found = list(_from_protobuf(body))
    else:
        raise InvalidInput(
            f"{kind or 'a request without a content type'} is not read here",
            hint=f"send {JSON} or {PROTOBUF}",
            code=UNSUPPORTED,
        )
    if len(found) > MAX_SPANS:
        raise InvalidInput(
            f"there are {len(found)} spans; {MAX_SPANS} may come at once", hint="lower the exporter's batch size"
        )
    return found


class _Value(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    bytes_value: str | None = None
    array_value: _Values | None = None
    kvlist_value: _Pairs | None = None


class _Values(msgspec.Struct):
    values: list[_Value] = []


class _Pair(msgspec.Struct):
    key: str = ""
    value: _Value | None = None


class _Pairs(msgspec.Struct):
    values: list[_Pair] = []


class _Event(msgspec.Struct):
    name: str = ""
    attributes: list[_Pair] = []


class _Status(msgspec.Struct):
    code: int | str = 0
    message: str = ""


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_Pair] = []
    events: list[_Event] = []
    status: _Status | None = None


class _Scope(msgspec.Struct):
    spans: list[_Span] = []


class _Resource(msgspec.Struct):
    attributes: list[_Pair] = []


class _Resources(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_Scope] = []


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_Resources] = []


_decode = msgspec.json.Decoder(_Request).decode


def _from_json(body: bytes) -> Iterator[Span]:
    if body.count(b"[") + body.count(b"{") > MAX_PARTS and any(n > MAX_PARTS for n, _ in enumerate(depths(body), 1)):
        raise InvalidInput(
            f"the body holds more than {MAX_PARTS} lists and objects",
            hint="lower the exporter's batch size",
            code="request-too-large",
        )
    try:
        request = _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as wrong:
        raise InvalidInput(
            f"the body is not OTLP in JSON: {wrong}", hint="see opentelemetry.io/docs/specs/otlp"
        ) from None
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes) if group.resource is not None else {}
        for scope in group.scope_spans:
            for span in scope.spans:
                failed = span.status is not None and span.status.code in {ERROR, "STATUS_CODE_ERROR"}
                yield Span(
                    span.trace_id.lower(),
                    span.span_id.lower(),
                    span.parent_span_id.lower(),
                    span.name,
                    _whole(span.start_time_unix_nano) // 1000,
                    _whole(span.end_time_unix_nano) // 1000,
                    _attributes(span.attributes),
                    tuple(SpanEvent(e.name, _attributes(e.attributes)) for e in span.events),
                    ((span.status.message if span.status else "") or "error") if failed else "",
                    resource,
                )


def _attributes(pairs: Iterable[_Pair], depth: int = 0) -> Attributes:
    return {pair.key: _plain(pair.value, depth) for pair in pairs}


def _plain(value: _Value | None, depth: int = 0) -> Any:  # noqa: ANN401  an attribute is what it is
    if value is None or depth > MAX_DEPTH:
        return None
    if value.array_value is not None:
        return [_plain(inner, depth + 1) for inner in value.array_value.values]
    if value.kvlist_value is not None:
        return _attributes(value.kvlist_value.values, depth + 1)
    if value.int_value is not None:
        return _whole(value.int_value)
    if isinstance(value.double_value, str):  # NaN and the infinities are written as text
        return None
    plain = (value.string_value, value.bool_value, value.double_value, value.bytes_value)
    return next((v for v in plain if v is not None), None)


def _whole(value: int | str) -> int:
    """Read a 64-bit number, which JSON may hold as text; 0 where it is none."""
    try:
        number = int(value) if len(str(value)) <= 20 else 0  # noqa: PLR2004  digits of 2**64
    except ValueError:
        return 0
    return number if -(2**63) <= number < 2**64 else 0


def _from_protobuf(body: bytes) -> Iterator[Span]:
    try:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415  the extra may not be there
            ExportTraceServiceRequest,
        )
    except ImportError:
        hint = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/json, or install the extra here: pip install 'bedplate[otel]'"
        raise InvalidInput("protobuf cannot be read here", hint=hint, code=UNSUPPORTED) from None
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except import_module("google.protobuf.message").DecodeError:
        raise InvalidInput("the body is not OTLP in protobuf", hint=SPECIFIED) from None
    for group in request.resource_spans:
        resource = _told(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    span.start_time_unix_nano // 1000,
                    span.end_time_unix_nano // 1000,
                    _told(span.attributes),
                    tuple(SpanEvent(e.name, _told(e.attributes)) for e in span.events),
                    (span.status.message or "error") if span.status.code == ERROR else "",
                    resource,
                )


def _told(pairs: Iterable[Any], depth: int = 0) -> Attributes:
    return {pair.key: _value(pair.value, depth) for pair in pairs}


def _value(value: Any, depth: int) -> Any:  # noqa: ANN401  a protobuf message, and what is in it
    kind = value.WhichOneof("value")
    if kind is None or depth > MAX_DEPTH:
        return None
    if kind == "array_value":
        return [_value(inner, depth + 1) for inner in value.array_value.values]
    if kind == "kvlist_value":
        return _told(value.kvlist_value.values, depth + 1)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)


def response(rejected: int, why: str, content_type: str) -> bytes:
    """Write an ExportTraceServiceResponse in the format of the request."""
    if content_type.startswith(PROTOBUF):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415  as above
            ExportTraceServiceResponse,
        )

        made = ExportTraceServiceResponse()
        if rejected or why:
            made.partial_success.rejected_spans = rejected
            made.partial_success.error_message = why
        return bytes(made.SerializeToString())
    partial: Mapping[str, str] = {"rejectedSpans": str(rejected), "errorMessage": why}
    return msgspec.json.encode({"partialSuccess": partial} if rejected or why else {})


def status(code: int, message: str, content_type: str) -> bytes:
    """Write a google.rpc.Status, as OTLP wants its errors, in the format of the request."""
    if content_type.startswith(PROTOBUF):
        try:
            made = import_module("google.rpc.status_pb2").Status(code=code, message=message)
        except ImportError:
            return message.encode()
        return bytes(made.SerializeToString())
    return msgspec.json.encode({"code": code, "message": message})
