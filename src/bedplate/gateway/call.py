"""One call: what the client sent, read strictly, and what goes on record about it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from bedplate.errors import InvalidInput
from bedplate.kernel.clock import rfc3339

from .nesting import depths
from .texts import slots

if TYPE_CHECKING:
    from bedplate.kernel.event import Value

    from .budget import Reservation
    from .dialect import Body, Dialect
    from .texts import Slot

MAX_BODY = 16 << 20  # pictures travel in it
MAX_TEXT = 4 << 20  # characters that a guardrail has to read
MAX_VALUES = 300_000  # texts, numbers, lists and objects: each costs more than the bytes it is written in
MAX_NAME = 200  # characters of a model's name: it is quoted in reasons, and a record has its bounds
# What is judged under one spelling must not be read under another: some upstreams do not tell `Model` from `model`.
JUDGED = frozenset(
    {"model", "messages", "input", "system", "instructions", "prompt", "stream", "background", "conversation"}
    | {"previous_response_id", "n", "max_tokens", "max_completion_tokens", "max_output_tokens"}
)
OTHER_MODELS = ("models", "fallbacks")  # by which some upstreams let a request name others to answer it

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Request:
    """A request as the client sent it. `texts` are all its texts, where guardrails may change them."""

    dialect: Dialect
    body: Body
    model: str
    stream: bool
    texts: list[Slot]
    size: int  # characters of all texts
    prompt: Body | None = None  # a released prompt that the client names, with the values for it

    def settle(self) -> None:
        """Check the request and list its texts; once more after a prompt was put into it."""
        self.dialect.check(self.body)
        self.texts = slots(self.body)
        self.size = sum([len(slot.text) for slot in self.texts])
        if self.size > MAX_TEXT:
            raise InvalidInput(f"the body holds more than {MAX_TEXT} characters of text", code="request-too-large")


@dataclass(slots=True)
class Trace:
    """What happened to a call so far; it becomes its record. Times in microseconds."""

    id: str
    subject: str
    key: str
    route: str  # live, evaluation, canary or observed
    started: int
    request_sha256: str
    tier: int = 0
    release: str = ""
    rung: str = ""
    model: str = ""
    upstream: str = ""
    prompt: str = ""
    index: str = ""
    verdict: str = "deny"
    status: str = "refused"  # ok, failed, aborted, refused
    reasons: list[tuple[str, str, str]] = field(default_factory=list)
    passages: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    answer: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    grounded: int = 1000
    unanswered: bool = False
    error: str = ""
    sampled: bool = False
    dialect: str = "chat"
    cached_in: int = 0
    cost_nano: int = 0  # nano-US-dollars
    price: str = ""  # which price applied; "" while nothing was bought
    attempts: int = 0  # how often an upstream was asked
    first_us: int = 0  # from the start to the upstream's first byte
    upstream_us: int = 0  # spent waiting for the upstream, the whole answer
    latency_us: int = 0  # from the start to the record
    prompt_id: str = ""
    prompt_version: str = ""
    answer_of: str = ""  # the call whose held answer this one got
    agent: str = ""  # who made it, where an agent's key was used
    run: str = ""  # of that agent
    # Not on record:
    finish: str = ""  # why the answer ended, as the upstream says
    answered_by: str = ""  # the model that the upstream says answered
    traceparent: str = ""  # of whoever called us (W3C Trace Context)
    warns: bool = False  # the budget is nearly used up
    asked: dict[str, Any] | None = None  # what people are asked to agree to
    address: str = ""  # of the upstream, by which it is priced
    reservation: Reservation | None = None  # what was counted of the budget, while it is not settled


def read(dialect: Dialect, content: bytes) -> Request:
    """Read a request; `InvalidInput` says what is wrong with it.

    Where an object has the same key twice the last one counts, and only that one is sent on: what is judged is what
    goes upstream.
    """
    body = decoded(content)
    _spelled(body)
    model, stream = body.get("model"), body.get("stream")
    stream = False if stream is None else stream
    if type(model) is not str or not 0 < len(model) <= MAX_NAME:
        raise InvalidInput(
            f"`model` must be text of 1 to {MAX_NAME} characters",
            hint="name the approved model, the use case, or `default`",
        )
    if type(stream) is not bool:
        raise InvalidInput("`stream` must be true or false")
    if stream and not dialect.streams:
        raise InvalidInput(f"{dialect.name} are not streamed", hint="leave `stream` out")
    prompt = body.pop("prompt") if type(body.get("prompt")) is dict else None
    request = Request(dialect, body, model, stream, [], 0, prompt)
    if prompt is None:
        request.settle()
    return request


def decoded(content: bytes) -> Body:
    """Read a JSON object that may have come from anybody; `InvalidInput` says what is wrong with it."""
    if len(content) > MAX_BODY:
        raise InvalidInput(f"the body is larger than {MAX_BODY} bytes", code="request-too-large")
    large = len(content) > MAX_VALUES  # each value takes a byte and more: in a smaller body there cannot be too many
    if (
        large
        and content.count(b"[") + content.count(b"{") > MAX_VALUES
        and any(n > MAX_VALUES for n, _ in enumerate(depths(content), 1))
    ):
        raise _too_many()
    try:
        body = _decode(content)
    except RecursionError:
        raise InvalidInput("the body is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as wrong:
        raise InvalidInput(f"the body is not JSON: {wrong}") from None
    if type(body) is not dict:
        raise InvalidInput("the body must be a JSON object")
    if large and _crowded(content, body):
        raise _too_many()
    return body


def _too_many() -> InvalidInput:
    return InvalidInput(f"the body holds more than {MAX_VALUES} values", code="request-too-large")


def _crowded(content: bytes, body: Body) -> bool:
    """Tell whether there are more values than may be looked through while others wait."""
    if content.count(b",") + content.count(b"[") + content.count(b"{") < MAX_VALUES:
        return False  # each value stands behind one of them
    count = 0
    left: list[Any] = [body]
    while left and count <= MAX_VALUES:
        part = left.pop()
        count += len(part)
        if count <= MAX_VALUES:
            left += [v for v in (part.values() if type(part) is dict else part) if type(v) is dict or type(v) is list]
    return count > MAX_VALUES


def _spelled(body: Body) -> None:
    """Refuse names that an upstream could read as one that is judged here, and names of models that nobody judged."""
    for name in body:
        if name not in JUDGED and (folded := name.casefold()) in JUDGED:
            raise InvalidInput(f"`{folded}` is spelt otherwise", hint=f"write it in small letters: {folded}")
    for name in OTHER_MODELS:
        if body.get(name):
            raise InvalidInput(
                f"`{name}` lets models answer that are not asked for by `model`",
                hint="leave it out; what may answer instead is part of the release",
            )


def entry(trace: Trace, kind: str, ended: int, sealed: dict[str, Value]) -> bytes:
    """Write the record of a call as the exact bytes that are hashed. Content itself is not in it, only digests.

    Fields are only ever added; a reader takes one that is missing as its default.
    """
    return _encode(
        {  # in the order of their names
            "agent": trace.agent,
            "answer_of": trace.answer_of,
            "answer_sha256": sha256(trace.answer.encode()),
            "attempts": trace.attempts,
            "cached_in": trace.cached_in,
            "content": sealed,
            "cost_nano": trace.cost_nano,
            "dialect": trace.dialect,
            "ended": rfc3339(ended),
            "error": trace.error,
            "findings": counted(trace.findings) if trace.findings else [],
            "first_us": trace.first_us,
            "grounded_permille": trace.grounded,
            "id": trace.id,
            "index": trace.index,
            "key": trace.key,
            "kind": kind,
            "latency_us": trace.latency_us,
            "model": trace.model,
            "passages": trace.passages,
            "price": trace.price,
            "prompt": trace.prompt,
            "prompt_id": trace.prompt_id,
            "prompt_version": trace.prompt_version,
            "reasons": trace.reasons,
            "release": trace.release,
            "request_sha256": trace.request_sha256,
            "route": trace.route,
            "run": trace.run,
            "rung": trace.rung,
            "sampled": int(trace.sampled),
            "started": rfc3339(trace.started),
            "status": trace.status,
            "tier": trace.tier,
            "tokens_in": trace.tokens_in,
            "tokens_out": trace.tokens_out,
            "unanswered": int(trace.unanswered),
            "upstream": trace.upstream,
            "use_case": trace.subject,
            "v": 1,
            "verdict": trace.verdict,
        }
    )


def headers(trace: Trace) -> list[tuple[str, str]]:
    """Return what an answer's head says of the call."""
    warning = [("x-bedplate-budget", "warn")] if trace.warns else []
    return [
        *warning,
        ("x-bedplate-call-id", trace.id),
        ("x-bedplate-verdict", trace.verdict),
        ("x-bedplate-tier", str(trace.tier)),
        ("x-bedplate-release", trace.release),
        ("x-bedplate-rung", trace.rung),
    ]


def counted(findings: list[str]) -> list[str]:
    """Return each finding once, with how often it was made: a record has its bounds."""
    return [f"{what} × {n}" if n > 1 else what for what, n in Counter(findings).items()]


def sha256(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()
